import json
import time

import pytest

from course_lib.commands import progress
from course_lib.files import append_jsonl
from tests.training import run_folders as folders

EVENT = {"step": 5, "train_s": 3.4}


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            {**EVENT, "event": "log", "loss": 2.31012, "learning_rate": 0.001, "tokens": 1494},
            "step   5/120  loss 2.3101  rate 1.0e-03  1,494 tokens  3 s",
        ),
        ({**EVENT, "event": "checkpoint"}, "step   5/120  checkpoint saved  3 s"),
        ({**EVENT, "event": "begin"}, "step   5/120  begin  3 s"),
        (
            {**EVENT, "event": "begin", "kernels": "captured step", "notes": ["No liger-kernel."]},
            "step   5/120  begin  3 s  faster: captured step\nnote: No liger-kernel.",
        ),
    ],
)
def test_an_event_is_one_line_and_one_for_each_note(record, line):
    assert progress.event_line(record, 120) == line


def test_only_events_of_this_run_are_shown_and_all_of_them(tmp_path):
    lines = []
    before = {**EVENT, "event": "checkpoint", "time": time.time() - 100}
    append_jsonl(tmp_path / "log.jsonl", before)
    with progress.shown(tmp_path, lines.append):
        now = time.time() + 1
        append_jsonl(
            tmp_path / "log.jsonl", {**EVENT, "event": "begin", "total_steps": 9, "time": now}
        )
        append_jsonl(tmp_path / "log.jsonl", {**EVENT, "event": "end", "time": now})
    assert lines == ["step 5/9  begin  3 s", "step 5/9  end  3 s"]


def test_a_closed_terminal_does_not_end_the_run(tmp_path):
    def show(line):
        raise BrokenPipeError

    with progress.shown(tmp_path, show):
        append_jsonl(tmp_path / "log.jsonl", {**EVENT, "event": "begin", "time": time.time() + 1})


def test_scores_before_stand_beside_those_of_the_recommended_checkpoint(tmp_path):
    records = [
        {"step": 0, "unseen": 0.0, "near": 0.0, "retained": None, "n": {"unseen": 35}},
        {"step": 2, "unseen": 0.971, "near": 0.1, "retained": None, "n": {"unseen": 35}},
        {"step": 4, "unseen": 0.5, "near": 0.9, "retained": None, "n": {"unseen": 35}},
    ]
    lines = (json.dumps(record) + "\n" for record in records)
    (tmp_path / "scores.jsonl").write_text("".join(lines), encoding="utf-8")
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert progress.scores_table(tmp_path, tmp_path / "checkpoint-2").splitlines() == [
        "score                   before  after",
        "unseen                    0.00   0.97",
        "near (lower is better)    0.00   0.10",
    ]


def test_a_run_without_scores_has_no_table(tmp_path):
    assert progress.scores_table(tmp_path, tmp_path / "checkpoint-2") == ""


def test_a_stopped_run_says_how_to_go_on(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.event("stopped", 7)])
    command = f"tunebook train {run_dir}/config.yaml --work-dir {run_dir} --resume"
    assert progress.stop_note(run_dir) == (
        f"Stopped at step 7, as asked.\n  -> Go on with `{command}`."
    )
    folders.add(run_dir / "log.jsonl", folders.event("end", 20))
    assert progress.stop_note(run_dir) == ""

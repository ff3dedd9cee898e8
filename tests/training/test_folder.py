import json
import os

import pytest

from course_lib.errors import RunError
from course_lib.training import folder
from course_lib.training.config import TrainConfig, load_config

CONFIG = TrainConfig(train_data=[{"path": "a.jsonl"}], assistant_name="小明", r=8)


@pytest.fixture
def run_dir(tmp_path):
    """A run that was started, with two checkpoints."""
    path = tmp_path / "runs" / "first"
    assert folder.open_run(path, CONFIG) is None
    for step in (2, 4):
        (path / f"checkpoint-{step}").mkdir()
    return path


# --- a new one ---


def test_a_new_run_holds_its_config_and_its_environment(run_dir, tmp_path):
    assert load_config(run_dir / "config.yaml") == CONFIG
    environment = json.loads((run_dir / "environment.json").read_text("utf-8"))
    assert set(environment["packages"]) >= {"torch", "transformers", "peft", "bitsandbytes"}
    assert len(environment["base_fingerprint"]) == 16
    for name in ("config.yaml", "environment.json"):
        text = (run_dir / name).read_text("utf-8")
        assert str(tmp_path) not in text
        assert os.path.expanduser("~") not in text


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
@pytest.mark.parametrize("resume", [False, True])
def test_a_missing_or_empty_folder_may_be_used_and_checking_writes_nothing(tmp_path, make, resume):
    make(tmp_path / "new")
    before = sorted(tmp_path.rglob("*"))
    folder.check_run(tmp_path / "new", CONFIG, resume)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_before_it_had_a_config_may_start_again(tmp_path, resume):
    (tmp_path / "environment.json").write_text("{}")
    folder.check_run(tmp_path, CONFIG, resume)
    assert folder.open_run(tmp_path, CONFIG) is None
    assert load_config(tmp_path / "config.yaml") == CONFIG


def test_a_folder_with_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for resume in (False, True):  # it is no run, so there is nothing to go on with
        with pytest.raises(RunError, match="is not empty") as caught:
            folder.check_run(tmp_path, CONFIG, resume)
        assert "--work-dir" in caught.value.next_step
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="run"):
        folder.check_run(tmp_path / "run", CONFIG, resume=False)


def test_a_run_is_not_started_over(run_dir):
    with pytest.raises(RunError, match="is not empty") as caught:
        folder.check_run(run_dir, CONFIG, resume=False)
    assert "--resume" in caught.value.next_step


# --- going on ---


def test_a_run_goes_on_from_its_latest_checkpoint(run_dir):
    folder.check_run(run_dir, CONFIG, resume=True)
    assert folder.open_run(run_dir, CONFIG).step == 4


def test_what_a_kill_left_half_written_is_cleared_away(run_dir):
    (run_dir / ".saving-abc" / "checkpoint-6").mkdir(parents=True)
    assert folder.open_run(run_dir, CONFIG).step == 4
    assert [name for name in os.listdir(run_dir) if name.startswith(".")] == []


@pytest.mark.parametrize(
    ("values", "changed"),
    [
        ({"r": 16}, ["r was 8, is 16"]),
        ({"assistant_name": "Eve"}, ["assistant_name was '小明', is 'Eve'"]),
        ({"seed": 1, "max_length": 16}, ["max_length was 256, is 16", "seed was 0, is 1"]),
        ({"train_data": [{"path": "a.jsonl", "copies": 2}]}, ["train_data was", "'copies': 2"]),
    ],
)
def test_another_config_is_refused_with_every_changed_field(run_dir, values, changed):
    other = TrainConfig(**CONFIG.model_dump() | values)
    with pytest.raises(RunError, match="was started with another config") as caught:
        folder.check_run(run_dir, other, resume=True)
    for text in changed:
        assert text in caught.value.message
    assert caught.value.message.count(" was ") == len(values) + 1
    assert "config.yaml" in caught.value.next_step


def test_other_weights_under_the_same_name_are_refused(run_dir):
    path = run_dir / "environment.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(values | {"base_fingerprint": "0" * 16}))
    with pytest.raises(RunError, match="started on other weights of pico-chat"):
        folder.check_run(run_dir, CONFIG, resume=True)


# --- records of steps that will be done again ---


def to_lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


@pytest.mark.parametrize(
    ("step", "kept"),
    [(-1, []), (0, [0]), (1, [0, 1]), (2, [0, 1, 2, 2]), (3, [0, 1, 2, 2]), (4, [0, 1, 2, 2, 4])],
)
def test_records_of_later_steps_are_dropped(tmp_path, step, kept):
    path = tmp_path / "log.jsonl"
    path.write_text(to_lines(*({"step": n, "text": "小"} for n in (0, 1, 2, 2, 4))))
    folder.forget_after(path, step)
    assert path.read_text() == to_lines(*({"step": n, "text": "小"} for n in kept))


def test_a_torn_last_line_is_dropped_and_nothing_else(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(
        (to_lines({"step": 1}, {"step": 2}) + '{"step": 2, "reply": "小').encode()[:-1]
    )
    folder.forget_after(path, 2)
    assert path.read_text() == to_lines({"step": 1}, {"step": 2})


def test_errors_that_are_overcome_are_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(to_lines({"step": 1}, {"event": "error", "message": "interrupted"}))
    folder.forget_after(path, 1)
    assert path.read_text() == to_lines({"step": 1})


def test_a_missing_file_stays_missing(tmp_path):
    folder.forget_after(tmp_path / "scores.jsonl", 3)
    assert os.listdir(tmp_path) == []


def test_going_on_forgets_in_all_files_of_the_run(run_dir):
    for name in ("log.jsonl", "samples.jsonl", "scores.jsonl"):
        (run_dir / name).write_text(to_lines({"step": 4, "overall": 1}, {"step": 5, "overall": 1}))
    folder.open_run(run_dir, CONFIG)
    for name in ("log.jsonl", "samples.jsonl", "scores.jsonl"):
        assert (run_dir / name).read_text() == to_lines({"step": 4, "overall": 1})


def test_without_a_checkpoint_everything_is_forgotten(tmp_path):
    folder.open_run(tmp_path / "run", CONFIG)
    (tmp_path / "run" / "log.jsonl").write_text(to_lines({"step": 0}, {"step": 1}))
    assert folder.open_run(tmp_path / "run", CONFIG) is None
    assert (tmp_path / "run" / "log.jsonl").read_text() == ""


def test_other_versions_than_at_the_start_are_named(run_dir):
    assert folder.version_note(run_dir) == ""
    assert folder.version_note(run_dir / "none") == ""
    path = run_dir / "environment.json"
    record = json.loads(path.read_text("utf-8"))
    now = record["packages"]["peft"]
    record["packages"]["peft"] = "0.1.0"
    path.write_text(json.dumps(record))
    note = folder.version_note(run_dir)
    assert note.startswith(f"The run was started with peft 0.1.0 (now {now}): its numbers may")

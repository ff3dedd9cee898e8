import json
import os

import pytest

from course_lib.errors import RunError
from course_lib.training import checkpoints


def make_run(run_dir, steps=(), scores=()):
    for step in steps:
        folder = run_dir / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
        (folder / "trainer_state.json").write_text("{}")
    if scores:
        lines = [json.dumps({"step": s, "overall": v}) + "\n" for s, v in scores]
        (run_dir / "scores.jsonl").write_text("".join(lines))
    return run_dir


def steps_in(run_dir):
    return [checkpoint.step for checkpoint in checkpoints.list_checkpoints(run_dir)]


def test_the_latest_is_the_one_with_the_most_steps_not_the_last_by_name(tmp_path):
    make_run(tmp_path, [10, 9, 100, 2])
    assert steps_in(tmp_path) == [2, 9, 10, 100]
    latest = checkpoints.latest_checkpoint(tmp_path)
    assert latest == checkpoints.Checkpoint(100, tmp_path / "checkpoint-100")


def test_the_latest_is_not_the_youngest(tmp_path):
    make_run(tmp_path, [9, 10])
    os.utime(tmp_path / "checkpoint-10", (0, 0))
    assert checkpoints.latest_checkpoint(tmp_path).step == 10


def test_what_is_no_finished_checkpoint_is_ignored(tmp_path):
    make_run(tmp_path, [3])
    for name in (
        ".saving-abc/checkpoint-9",
        ".saving-old-8",
        ".checkpoint-7",
        "checkpoint-6.tmp",
        "checkpoint-best",
        "checkpoint-",
        "my-checkpoint-5",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "checkpoint-4").write_text("a file")
    assert steps_in(tmp_path) == [3]


@pytest.mark.parametrize("exists", [True, False])
def test_a_run_without_checkpoints_has_no_latest_and_no_best(tmp_path, exists):
    run_dir = tmp_path if exists else tmp_path / "none"
    assert checkpoints.list_checkpoints(run_dir) == []
    assert checkpoints.latest_checkpoint(run_dir) is None
    assert checkpoints.best_checkpoint(run_dir) is None
    assert checkpoints.overall_scores(run_dir) == {}


# --- the best one ---


@pytest.mark.parametrize(
    ("steps", "scores", "best"),
    [
        ([3, 6, 9], [(3, 0.5), (6, 0.9), (9, 0.8)], 6),
        ([3, 6, 9], [(3, 0.9), (6, 0.9), (9, 0.8)], 6),  # the latest of the best
        ([3, 6, 9], [(9, 0.1)], 9),  # the only one with a score
        ([6, 9], [(3, 1.0), (6, 0.2), (9, 0.1)], 6),  # 3 was removed
        ([3], [(0, 1.0), (3, 0.0)], 3),  # step 0 is the base: no checkpoint
        ([3, 6], [], None),
        ([3, 6], [(0, 1.0)], None),
    ],
)
def test_the_best_is_the_latest_with_the_highest_score(tmp_path, steps, scores, best):
    found = checkpoints.best_checkpoint(make_run(tmp_path, steps, scores))
    assert (found and found.step) == best


def test_a_torn_last_score_is_ignored(tmp_path):
    make_run(tmp_path, [3, 6], [(3, 0.5)])
    with (tmp_path / "scores.jsonl").open("a") as file:
        file.write('{"step": 6, "over')
    assert checkpoints.overall_scores(tmp_path) == {3: 0.5}
    assert checkpoints.best_checkpoint(tmp_path).step == 3


# --- what a path means ---


@pytest.mark.parametrize(
    ("scores", "step"),
    [([], 10), ([(9, 0.9), (10, 0.2)], 9), ([(0, 0.9)], 10)],
)
def test_a_run_folder_means_its_best_checkpoint_or_else_its_latest(tmp_path, scores, step):
    run_dir = make_run(tmp_path, [9, 10], scores)
    assert checkpoints.find_adapter(run_dir) == run_dir / f"checkpoint-{step}"


def test_a_checkpoint_and_an_exported_adapter_mean_themselves(tmp_path):
    make_run(tmp_path, [9])
    checkpoint = tmp_path / "checkpoint-9"
    assert checkpoints.find_adapter(checkpoint) == checkpoint
    assert checkpoints.find_adapter(str(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    ("name", "match"),
    [("", "holds no adapter and no checkpoint"), ("none", "none does not exist")],
)
def test_a_folder_without_adapter_is_refused(tmp_path, name, match):
    with pytest.raises(RunError, match=match) as caught:
        checkpoints.find_adapter(tmp_path / name)
    assert "tunebook train" in caught.value.next_step


# --- keeping and removing ---


@pytest.mark.parametrize(
    ("keep_last", "keep_best", "scores", "kept"),
    [
        (1, False, [], [10]),
        (2, False, [], [9, 10]),
        (9, False, [], [3, 6, 9, 10]),
        (1, False, [(3, 1.0)], [10]),
        (1, True, [(3, 1.0), (10, 0.5)], [3, 10]),
        (1, True, [(3, 0.1), (10, 0.5)], [10]),
        (2, True, [(6, 1.0)], [6, 9, 10]),
        (1, True, [], [10]),
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, keep_last, keep_best, scores, kept):
    run_dir = make_run(tmp_path, [3, 6, 9, 10], scores)
    removed = checkpoints.remove_old(run_dir, keep_last, keep_best)
    assert steps_in(run_dir) == kept
    assert sorted(removed + kept) == [3, 6, 9, 10]
    assert [name for name in os.listdir(run_dir) if name.startswith(".")] == []


def test_what_a_killed_run_left_unfinished_is_removed_and_nothing_else(tmp_path):
    make_run(tmp_path, [3], [(3, 1.0)])
    for name in (".saving-abc/checkpoint-9", ".saving-old-2"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "half").write_text("a")
    checkpoints.remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-3", "scores.jsonl"]
    checkpoints.remove_unfinished(tmp_path / "none")

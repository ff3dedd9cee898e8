import time
from types import SimpleNamespace

import pytest

from course_lib.files import append_jsonl, read_jsonl
from course_lib.training import callbacks


def state(step, last=10):
    return SimpleNamespace(global_step=step, max_steps=last)


def test_the_clock_counts_training_and_nothing_else():
    clock = callbacks.Clock()
    assert (clock.train_s, clock.train_cpu_s) == (0.0, 0.0)  # before the start
    clock.begin()
    assert clock.aside(lambda: time.sleep(0.2) or "done") == "done"
    assert clock.train_s < 0.2 <= clock.aside_s
    time.sleep(0.05)
    assert clock.train_s >= 0.05


def test_the_clock_leaves_out_the_cpu_time_of_what_is_no_training():
    def work():
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass

    clock = callbacks.Clock()
    clock.begin()
    clock.aside(work)
    assert clock.train_cpu_s < 0.1 <= clock.aside_cpu_s


def test_the_clock_counts_work_that_fails_as_aside():
    clock = callbacks.Clock()
    clock.begin()

    def fail():
        time.sleep(0.1)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        clock.aside(fail)
    assert clock.aside_s >= 0.1


def test_samples_come_at_the_start_every_few_steps_and_once_at_the_end(tmp_path):
    asked = []

    def reply_to(prompts):
        asked.append(list(prompts))
        return [prompt.upper() for prompt in prompts]

    samples = callbacks.SampleReplies(tmp_path, callbacks.Clock(), ["a", "b"], 3, reply_to)
    samples.on_train_begin(None, state(0), None)
    for step in range(1, 7):
        samples.on_step_end(None, state(step, last=6), None)
    written = read_jsonl(tmp_path / "samples.jsonl")
    assert [(r["step"], r["prompt"], r["reply"]) for r in written] == [
        (step, prompt, prompt.upper()) for step in (0, 3, 6) for prompt in "ab"
    ]
    samples.on_train_begin(None, state(6), None)  # a run that goes on has asked already
    assert len(asked) == 3


def test_a_step_is_scored_once_also_by_a_run_that_goes_on(tmp_path):
    append_jsonl(tmp_path / "scores.jsonl", {"step": 0, "overall": 0.1})
    found = iter((0.5, 0.4))
    scores = callbacks.CheckpointScores(
        tmp_path, callbacks.Clock(), lambda: {"overall": next(found)}, keep_last=1, keep_best=True
    )
    scores.on_train_begin(None, state(0), None)
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        scores.on_save(None, state(step), None)
    scores.on_save(None, state(4), None)
    assert read_jsonl(tmp_path / "scores.jsonl") == [
        {"step": 0, "overall": 0.1},
        {"step": 2, "overall": 0.5},
        {"step": 4, "overall": 0.4},
    ]
    assert (tmp_path / "checkpoint-2").is_dir()  # the best one


def test_without_scores_only_the_newest_checkpoints_stay(tmp_path):
    scores = callbacks.CheckpointScores(tmp_path, callbacks.Clock(), None, 1, keep_best=True)
    scores.on_train_begin(None, state(0), None)
    for step in (2, 4):
        (tmp_path / f"checkpoint-{step}").mkdir()
        scores.on_save(None, state(step), None)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-4"]


def test_the_log_skips_what_is_no_training_step(tmp_path):
    log = callbacks.ProgressLog(tmp_path, callbacks.Clock(), tokens_per_step=7.4)
    log.on_train_begin(None, state(0), None)
    log.on_log(None, state(3), None, logs={"loss": 0.5, "learning_rate": 0.1, "epoch": 1.0})
    log.on_log(None, state(3), None, logs={"train_runtime": 3})
    log.on_log(None, state(3), None)
    records = read_jsonl(tmp_path / "log.jsonl")
    assert [record["event"] for record in records] == ["begin", "log"]
    assert records[1]["tokens"] == 22  # 3 steps of 7.4, rounded
    assert "grad_norm" not in records[1]

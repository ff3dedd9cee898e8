"""A run that is killed, interrupted or out of disk space goes on as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.training import checkpoints
from tests.training import runs
from tests.training.conftest import FULL, LIGHT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and forks are POSIX's")

TIMES = ("time", "train_s", "train_cpu_s", "memory_gib")
LAST = FULL["max_steps"]
# Where a kill is meanest; each names an audit event of Python, its arguments, and what is there.
HALF_WRITTEN = {
    "event": "open",  # the adapter's weights are written, the rest of the checkpoint is not
    "pattern": r"\.saving-\w+/checkpoint-10/adapter_config.json w",
    "after": "checkpoint-8",
}
WITHOUT_NAME = {
    "event": "os.rename",  # all is written, but the checkpoint has no name yet
    "pattern": r"\.saving-\w+/checkpoint-10 ",
    "after": "checkpoint-8",
}
WITHOUT_SCORE = {
    "event": "open",  # the last checkpoint is whole, its score is not in the file yet
    "pattern": r"scores\.jsonl a",
    "after": f"checkpoint-{LAST}",
}
HALF_REMOVED = {
    "event": "shutil.rmtree",  # an old checkpoint is being deleted
    "pattern": r"\.saving-old",
    "after": f"checkpoint-{LAST}",
}


@pytest.fixture(scope="session")
def broken_run(trainings, tmp_path_factory):
    """A run of FULL, killed seven times: the folder, and what it held after each kill."""
    run_dir = tmp_path_factory.mktemp("broken") / "run"
    steps = sorted(random.Random(20240).sample(range(1, 10), 3))
    print("killed at steps", steps)
    kills = [{"signal_at": (signal.SIGKILL, step)} for step in steps]
    kills += [{"at": at} for at in (HALF_WRITTEN, WITHOUT_NAME, WITHOUT_SCORE, HALF_REMOVED)]
    held = []
    for kill in kills:
        ended = trainings.train(FULL, run_dir, resume=bool(held), **kill)
        assert ended.status == -signal.SIGKILL, (kill, ended)
        held.append(sorted(os.listdir(run_dir)))
    ended = trainings.train(FULL, run_dir, resume=True)
    assert ended.status == 0, ended
    assert ended.outcome["steps"] == LAST
    return run_dir, held


def test_a_killed_run_ends_with_the_adapter_of_an_unbroken_one_bit_for_bit(broken_run, full_run):
    run_dir, _ = broken_run
    assert names_of(run_dir) == names_of(full_run)
    for checkpoint in checkpoints.list_checkpoints(full_run):
        step = checkpoint.step
        assert runs.adapter_bytes(run_dir, step) == runs.adapter_bytes(full_run, step), step


def names_of(run_dir):
    return sorted(os.listdir(run_dir))


def test_a_killed_run_ends_with_the_whole_state_of_an_unbroken_one(broken_run, full_run):
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        path = Path(f"checkpoint-{LAST}") / name
        first, second = (runs.load_state(run_dir / path) for run_dir in (broken_run[0], full_run))
        assert_same(first, second)


def assert_same(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert_same(value, second[key])
    elif isinstance(first, list | tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second)
    else:
        assert first == second


def test_a_killed_run_logs_each_step_once_and_with_the_same_numbers(broken_run, full_run):
    broken, whole = (
        [r for r in runs.records(d, "log", without=TIMES) if r["event"] != "begin"]
        for d in (broken_run[0], full_run)
    )
    assert [r["step"] for r in whole if r["event"] == "log"] == list(range(1, LAST + 1))
    assert broken == whole


def test_a_resumed_run_says_from_where(broken_run):
    begins = [r["step"] for r in runs.records(broken_run[0], "log") if r["event"] == "begin"]
    assert begins == sorted(begins)
    assert begins[0] == 0
    assert begins[-1] == LAST


@pytest.mark.parametrize("name", ["samples", "scores"])
def test_a_killed_run_asks_and_scores_each_step_once(broken_run, full_run, name):
    assert runs.records(broken_run[0], name) == runs.records(full_run, name)


def test_a_kill_never_leaves_half_a_checkpoint_under_its_name(broken_run):
    _, held = broken_run
    assert any(name.startswith(".saving-") for name in held[3])  # half written
    assert any(name.startswith(".saving-") for name in held[4])  # without name
    assert "checkpoint-10" not in held[3] + held[4]
    assert any(name.startswith(".saving-old-") for name in held[6])


def test_a_finished_run_that_is_resumed_stays_as_it_is(trainings, full_run, tmp_path):
    run_dir = shutil.copytree(full_run, tmp_path / "run")
    before = {p: p.read_bytes() for p in run_dir.rglob("*") if p.is_file()}
    ended = trainings.train(FULL, run_dir, resume=True)
    assert (ended.status, ended.outcome["steps"]) == (0, LAST)
    assert {p: p.read_bytes() for p in run_dir.rglob("*") if p.is_file()} == before


# --- interrupted ---


@pytest.fixture(scope="module")
def interrupted_run(trainings, tmp_path_factory):
    """A run of LIGHT, stopped by Ctrl-C, then by a closing system, then finished."""
    run_dir = tmp_path_factory.mktemp("interrupted") / "my run"
    ended = []
    for number, step in ((signal.SIGINT, 3), (signal.SIGTERM, 5)):
        stop = (number, step)
        ended.append(trainings.train(LIGHT, run_dir, resume=bool(ended), signal_at=stop))
        ended.append(runs.records(run_dir, "log")[-1])
        ended.append(names_of(run_dir))
    assert trainings.train(LIGHT, run_dir, resume=True).status == 0
    return run_dir, ended[:3], ended[3:]


@pytest.mark.parametrize("which", [1, 2], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_run_says_how_to_go_on(interrupted_run, which):
    run_dir = interrupted_run[0]
    ended, last_line, _ = interrupted_run[which]
    assert ended.status == 1  # it ended by itself
    assert ended.printed == ""
    assert ended.outcome["message"] == "The run was interrupted."
    command = f"tunebook train '{run_dir}/config.yaml' --work-dir '{run_dir}' --resume"
    assert ended.outcome["next_step"] == f"Go on with `{command}`."
    assert last_line == {"event": "error", "message": "interrupted"}


def test_an_interrupted_run_goes_on_to_the_same_adapter(interrupted_run, light_run):
    run_dir = interrupted_run[0]
    assert names_of(run_dir) == names_of(light_run)
    assert runs.adapter_bytes(run_dir, 6) == runs.adapter_bytes(light_run, 6)
    events = [r["event"] for r in runs.records(run_dir, "log")]
    assert events.count("log") == 6
    assert "error" not in events  # overcome


# --- out of disk space ---

ADAPTER_FAILS, OPTIMIZER_FAILS = 400_000, 1_200_000  # the adapter has 0.9 MB, its optimizer 1.8


@pytest.mark.parametrize("file_bytes", [ADAPTER_FAILS, OPTIMIZER_FAILS])
def test_when_a_checkpoint_cannot_be_written_the_run_can_go_on_later(
    trainings, light_run, tmp_path, file_bytes
):
    run_dir = tmp_path / "run"
    full = {"event": "os.mkdir", "pattern": r"\.saving-", "after": "checkpoint-2"}
    ended = trainings.train(LIGHT, run_dir, at={**full, "file_bytes": file_bytes})
    check_full(ended, run_dir, [2])
    ended = trainings.train(LIGHT, run_dir, resume=True)
    assert ended.status == 0, ended
    assert runs.adapter_bytes(run_dir, 6) == runs.adapter_bytes(light_run, 6)
    assert names_of(run_dir) == names_of(light_run)


def check_full(ended, run_dir, steps):
    assert ended.status == 1, ended
    assert ended.printed == ""
    assert ended.outcome["message"] == (
        f"The disk is full: {run_dir} cannot be written. Finished checkpoints are whole."
    )
    assert ended.outcome["next_step"].startswith("Free some space, then go on with `tunebook train")
    assert [c.step for c in checkpoints.list_checkpoints(run_dir)] == steps
    # what was half written is gone, so that it does not fill the disk
    assert [name for name in os.listdir(run_dir) if name.startswith(".saving-")] == []


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 7 MB: two checkpoints and a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", str(disk)], capture_output=True
    )
    if done.returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_on_a_full_disk_finished_checkpoints_stay_whole(trainings, light_run, small_disk):
    run_dir = small_disk / "run"
    check_full(trainings.train(LIGHT, run_dir), run_dir, [2, 4])
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    ended = trainings.train(LIGHT, run_dir, resume=True)
    assert ended.status == 0, ended
    assert runs.adapter_bytes(run_dir, 6) == runs.adapter_bytes(light_run, 6)

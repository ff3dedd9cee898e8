"""Runs in processes of their own: started, looked at, stopped, refused."""

import os
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from course_lib.errors import RunError
from course_lib.training import background, claim, config
from tests.training import run_folders as folders
from tests.training.conftest import LIGHT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
PATIENCE_S = 120


@pytest.fixture(autouse=True)
def small(small_data, monkeypatch):
    monkeypatch.setenv("TUNEBOOK_DATA", str(small_data))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def wait_for(run, is_it):
    give_up = time.monotonic() + PATIENCE_S
    while not is_it(state := run.look()):
        assert time.monotonic() < give_up, state
        time.sleep(0.02)
    return state


def test_a_run_starts_is_stopped_and_goes_on_in_the_background(tmp_path):
    run_dir = tmp_path / "run"
    run = background.start(config.check_config(LIGHT), run_dir)
    assert run.look().status == "starting"
    assert wait_for(run, lambda state: state.step >= 1).status == "running"
    with pytest.raises(RunError, match="Another run is at work"):
        background.start(config.check_config(LIGHT), run_dir)
    run.stop()
    assert run.wait(PATIENCE_S) == 0
    state = run.look()
    assert (state.status, 1 <= state.step < LIGHT["max_steps"]) == ("stopped", True)
    run = background.start(None, run_dir, resume=True)
    assert run.wait(PATIENCE_S) == 0
    assert (run.look().status, run.look().step) == ("finished", LIGHT["max_steps"])


def test_what_the_run_refuses_is_told_with_its_next_step(tmp_path):
    values = {**LIGHT, "base_model": "pico-chta"}
    run = background.start(config.check_config(values), tmp_path / "run")
    assert run.wait(PATIENCE_S) == 1
    state = run.look()
    assert (state.status, "No model at 'pico-chta'" in state.message) == ("failed", True)
    assert state.next_step.startswith("Use pico-chat, pico-base")
    assert os.listdir(tmp_path) == []


def test_a_process_that_is_killed_before_it_says_anything_is_told(tmp_path):
    run = background.start(config.check_config(LIGHT), tmp_path / "run")
    os.kill(run.process.pid, signal.SIGKILL)
    assert run.wait(PATIENCE_S) == -signal.SIGKILL
    state = run.look()
    assert (state.status, "ended with status -9" in state.message) == ("failed", True)
    assert state.next_step


def test_a_process_that_has_not_begun_is_stopped_at_once(tmp_path):
    run = background.start(config.check_config(LIGHT), tmp_path / "run")
    run.stop()
    assert run.wait(PATIENCE_S) != 0
    state = run.look()
    assert (state.status, state.message) == ("none", "Stopped before it began.")
    assert not (tmp_path / "run").exists()


def test_a_process_that_puts_its_things_away_is_left_to_it(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.log(5)])
    wait = [sys.executable, "-c", "input()"]
    with subprocess.Popen(wait, stdin=subprocess.PIPE) as process:
        run = background.BackgroundRun(process, run_dir, tempfile.TemporaryDirectory())
        with claim.claimed(run_dir):
            assert run.look().status == "running"
        folders.add(run_dir / "log.jsonl", folders.event("end", 20))
        run.stop()  # the click comes late
        process.communicate(b"\n", PATIENCE_S)
    assert run.process.returncode == 0
    assert (run.look().status, run.look().message) == ("finished", "")


def test_two_at_once_one_is_refused_and_the_other_trains(tmp_path):
    both = [background.start(config.check_config(LIGHT), tmp_path / "run") for _ in range(2)]
    assert sorted(run.wait(PATIENCE_S) for run in both) == [0, 1]
    refused, done = sorted(both, key=lambda run: run.process.returncode, reverse=True)
    assert (done.look().status, done.look().message) == ("finished", "")
    assert refused.look().status == "finished"  # the folder's run is fine; this one was refused
    assert "Another run" in refused.look().message or "not empty" in refused.look().message


def test_a_folder_that_somebody_works_in_is_refused_at_once(tmp_path):
    with claim.claimed(tmp_path), pytest.raises(RunError, match="Another run is at work"):
        background.start(config.check_config(LIGHT), tmp_path)


def test_there_is_nothing_to_go_on_with_in_an_empty_folder(tmp_path):
    with pytest.raises(RunError, match=r"holds no config\.yaml"):
        background.start(None, tmp_path, resume=True)

"""A run that is asked to stop ends at a step with a checkpoint, and goes on as if it had not."""

import sys
import threading
import time

import pytest

from course_lib.training import checkpoints, claim, follow
from tests.training import runs
from tests.training.conftest import LIGHT

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks are POSIX's")
LAST = LIGHT["max_steps"]


def stop_after(run_dir, step):
    """Ask the run to stop as soon as its log has a line of this step."""
    line = f'"event": "log", "step": {step},'
    path, give_up = run_dir / "log.jsonl", time.monotonic() + runs.PATIENCE_S
    while not path.is_file() or line not in path.read_text("utf-8"):
        assert time.monotonic() < give_up
        time.sleep(0.002)
    claim.ask_to_stop(run_dir)


@pytest.fixture(scope="module")
def stopped_run(trainings, tmp_path_factory):
    """A run of LIGHT, stopped behind step 1, then gone on with; and how it stood in between."""
    run_dir = tmp_path_factory.mktemp("stopped") / "run"
    asking = threading.Thread(target=stop_after, args=(run_dir, 1))
    asking.start()
    ended = trainings.train(LIGHT, run_dir)
    asking.join()
    assert ended.status == 0, ended
    state = follow.Follower(run_dir).look()
    saved = [checkpoint.step for checkpoint in checkpoints.list_checkpoints(run_dir)]
    assert trainings.train(LIGHT, run_dir, resume=True).status == 0
    return run_dir, ended.outcome["steps"], state, saved


def test_it_ends_between_two_steps_with_a_checkpoint(stopped_run):
    _, steps, state, saved = stopped_run
    assert 1 <= steps < LAST
    assert steps in saved
    assert (state.status, state.step, state.total_steps) == ("stopped", steps, LAST)


def test_gone_on_with_it_ends_with_the_adapter_of_an_unbroken_run(stopped_run, light_run):
    run_dir, *_ = stopped_run
    assert follow.Follower(run_dir).look().status == "finished"
    assert runs.adapter_bytes(run_dir, LAST) == runs.adapter_bytes(light_run, LAST)


def test_nothing_of_the_stop_is_left(stopped_run):
    run_dir, *_ = stopped_run
    assert not (run_dir / claim.STOP_FILE).exists()
    assert not (run_dir / claim.CLAIM_FILE).exists()
    events = [record["event"] for record in runs.records(run_dir, "log")]
    assert "stopped" not in events
    assert events[-1] == "end"


def test_a_second_run_in_the_folder_is_refused_and_the_first_goes_on(trainings, tmp_path):
    run_dir = tmp_path / "run"
    with claim.claimed(run_dir):
        ended = trainings.train(LIGHT, run_dir)
    assert ended.status == 1
    assert "Another run is at work" in ended.outcome["message"]
    assert not run_dir.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is Linux's")
@pytest.mark.parametrize("strategy", [None, "zero2"])
def test_all_processes_of_a_run_stop_at_the_same_step(trainings, tmp_path, strategy):
    run_dir, config = tmp_path / "run", {**LIGHT, "max_steps": 40, "save_every_steps": 40}
    asking = threading.Thread(target=stop_after, args=(run_dir, 1))
    asking.start()
    ended = trainings.train(config, run_dir, spread=(2, strategy))
    asking.join()
    assert ended.status == 0, ended
    state = follow.Follower(run_dir).look()
    assert (state.status, 1 <= state.step < 40) == ("stopped", True)
    assert [c.step for c in checkpoints.list_checkpoints(run_dir)] == [state.step]
    assert "--nproc 2" in state.next_step

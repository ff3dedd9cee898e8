import json
import os
import subprocess
import sys
import threading

import psutil
import pytest

from course_lib.errors import RunError
from course_lib.files import REPO_DIR
from course_lib.training import claim

HOLD = """
import sys
from pathlib import Path
from course_lib.training import claim
with claim.claimed(Path(sys.argv[1])):
    print("claimed", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that is at work in `run`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO_DIR,
    )
    assert process.stdout.readline() == "claimed\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_claim_names_its_process_and_goes_with_the_block(tmp_path):
    with claim.claimed(tmp_path / "runs" / "new"):
        assert claim.holder(tmp_path / "runs" / "new") == os.getpid()
        (tmp_path / "runs" / "new" / "kept").touch()
    assert claim.holder(tmp_path / "runs" / "new") is None
    assert os.listdir(tmp_path / "runs" / "new") == ["kept"]


def test_a_folder_that_stays_empty_goes_only_if_the_claim_made_it(tmp_path):
    with claim.claimed(tmp_path / "a" / "b"):
        pass
    assert os.listdir(tmp_path) == []
    (tmp_path / "mine").mkdir()
    with claim.claimed(tmp_path / "mine"):
        pass
    assert os.listdir(tmp_path) == ["mine"]


def test_two_runs_in_one_folder_are_refused(tmp_path, other):
    run_dir = tmp_path / "run"
    with (
        pytest.raises(RunError, match=rf"Another run is at work in .*\(process {other.pid}\)"),
        claim.claimed(run_dir),
    ):
        pytest.fail("claimed twice")
    with pytest.raises(RunError, match="Another run is at work"):
        claim.refuse_taken(run_dir)
    assert claim.holder(run_dir) == other.pid  # the refused one has taken nothing away


def test_two_threads_of_one_process_are_refused_too(tmp_path):
    with claim.claimed(tmp_path), pytest.raises(RunError, match="Another run"):
        claim._open_locked(tmp_path)


def test_the_claim_of_a_killed_process_is_worth_nothing(tmp_path, other):
    other.kill()
    other.wait()
    assert (tmp_path / "run" / claim.CLAIM_FILE).exists()
    assert claim.holder(tmp_path / "run") is None
    with claim.claimed(tmp_path / "run"):
        assert claim.holder(tmp_path / "run") == os.getpid()


def test_many_at_once_one_wins(tmp_path):
    begin, done, won = threading.Barrier(8), threading.Event(), []

    def compete():
        begin.wait()
        try:
            with claim.claimed(tmp_path):
                won.append(1)
                done.wait(30)
        except RunError:
            lost.release()

    lost = threading.Semaphore(0)
    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(7):
        assert lost.acquire(timeout=30)
    done.set()
    for thread in threads:
        thread.join()
    assert won == [1]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"pid": "x", "since": 1}', '{"pid": -5, "since": 1}'],
)
def test_a_damaged_claim_holds_nothing(tmp_path, text):
    (tmp_path / claim.CLAIM_FILE).write_text(text)
    assert claim.holder(tmp_path) is None


def test_a_number_that_another_process_has_now_holds_nothing(tmp_path):
    record = {"pid": os.getpid(), "since": psutil.Process().create_time() - 100}
    (tmp_path / claim.CLAIM_FILE).write_text(json.dumps(record))
    assert claim.holder(tmp_path) is None


def test_a_run_is_asked_to_stop_and_an_old_wish_is_forgotten(tmp_path):
    (tmp_path / claim.STOP_FILE).touch()
    with claim.claimed(tmp_path):
        assert not claim.is_stop_wanted(tmp_path)
        claim.ask_to_stop(tmp_path)
        assert claim.is_stop_wanted(tmp_path)
    assert not claim.is_stop_wanted(tmp_path)


def test_nobody_can_be_asked_to_stop_where_nobody_works(tmp_path):
    with pytest.raises(RunError, match="No run is at work"):
        claim.ask_to_stop(tmp_path)
    assert os.listdir(tmp_path) == []

"""Who is at work in a run folder, and the wish that they stop: two small files in it."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from course_lib.errors import RunError

CLAIM_FILE = ".claim"
STOP_FILE = ".stop"
FILES = (CLAIM_FILE, STOP_FILE)  # a folder that holds nothing else counts as empty
LOCKED_BYTE = 1 << 20  # behind the text: on Windows a locked byte cannot be read
SAME_PROCESS_S = 2  # a process that began at another time has only inherited the number


@contextlib.contextmanager
def claimed(run_dir: Path) -> Iterator[None]:
    """Within the block: no other run writes into this folder.

    The system itself gives a claim up when its process ends, however it ends. A wish to stop that
    was meant for an earlier run is forgotten.

    Args:
        run_dir: the run folder; made when missing, and then removed again if it stays empty.

    Raises:
        RunError: another process is at work there.
    """
    made = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    file = _open_locked(run_dir)
    try:
        process = psutil.Process()
        record = {"pid": process.pid, "since": process.create_time()}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(record).encode())
        file.flush()
        (run_dir / STOP_FILE).unlink(missing_ok=True)
        yield
    finally:
        for name in FILES:
            (run_dir / name).unlink(missing_ok=True)
        file.close()
        with contextlib.suppress(OSError):  # not empty: the run wrote something
            for path in made:
                path.rmdir()


def holder(run_dir: Path) -> int | None:
    """The process that is at work in a run folder.

    Args:
        run_dir: the run folder; may be missing.

    Returns:
        Its number, or None: nobody is, or whoever was has ended without a word.
    """
    try:
        record = json.loads((run_dir / CLAIM_FILE).read_bytes())
        process = psutil.Process(record["pid"])
        is_same = abs(process.create_time() - record["since"]) < SAME_PROCESS_S
        is_alive = process.status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        return None
    return process.pid if is_same and is_alive else None


def refuse_taken(run_dir: Path) -> None:
    """Refuse a folder in which a process is at work.

    Args:
        run_dir: the run folder.

    Raises:
        RunError: somebody is.
    """
    pid = holder(run_dir)
    if pid is not None:
        raise _taken(run_dir, pid)


def ask_to_stop(run_dir: Path) -> None:
    """Ask a run to end at its next optimizer step, with a checkpoint.

    Args:
        run_dir: the run folder.

    Raises:
        RunError: nobody is at work there.
    """
    if holder(run_dir) is None:
        raise RunError(f"No run is at work in {run_dir}.", "There is nothing to stop.")
    (run_dir / STOP_FILE).touch()


def is_stop_wanted(run_dir: Path) -> bool:
    """Whether somebody asked the run of this folder to stop."""
    return (run_dir / STOP_FILE).exists()


def _open_locked(run_dir: Path) -> BinaryIO:
    path = run_dir / CLAIM_FILE
    while True:
        file = path.open("a+b")
        if not _lock(file):
            file.close()
            raise _taken(run_dir, holder(run_dir))
        # The one before may have removed the file between our opening and our locking it.
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
        file.close()


def _lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; False when somebody else has."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_on_windows(file)
    except BlockingIOError:
        return False
    except PermissionError:
        return os.name == "posix"  # Windows' word for a locked file
    except OSError:
        return True  # a network disk without locks: `holder` has to do
    return True


def _lock_on_windows(file: Any) -> None:
    import msvcrt

    file.seek(LOCKED_BYTE)
    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)


def _taken(run_dir: Path, pid: int | None) -> RunError:
    who = f" (process {pid})" if pid else ""
    return RunError(
        f"Another run is at work in {run_dir}{who}.",
        "Wait until it ends, stop it, or give another --work-dir.",
    )

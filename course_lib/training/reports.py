"""What workers report to their agent: a result or an error, and their own words in a log."""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from course_lib.errors import RunError, TunebookError
from course_lib.training import endings
from course_lib.training.result import CONFIG_FILE


def error_record(error: BaseException) -> dict[str, Any]:
    """An error as plain data; its kind is empty when it is not one of the course's.

    Args:
        error: what stopped a worker.
    """
    if isinstance(error, TunebookError):
        kind = type(error).__name__
        return {"kind": kind, "message": error.message, "next_step": error.next_step}
    if isinstance(error, KeyboardInterrupt):
        return error_record(RunError(endings.INTERRUPTED))
    line = (str(error).strip() or "no message").splitlines()[0]
    return {"kind": "", "message": f"{type(error).__name__}: {line}", "next_step": ""}


def report_path(job_dir: Path, rank: int) -> Path:
    """Where a worker writes what came of its work."""
    return job_dir / f"report-{rank}.json"


def worker_words(
    codes: Mapping[int, int | None], reports: Sequence[tuple[int, dict[str, Any]]], nproc: int
) -> str:
    """Which worker ended, and how.

    Args:
        codes: exit status of workers by rank; negative for a signal.
        reports: from `failures`.
        nproc: number of workers.

    Returns:
        A sentence.
    """
    killed = [(rank, -code) for rank, code in codes.items() if code is not None and code < 0]
    if killed:
        rank, number = killed[0]
        why = f"was ended from outside by {signal.Signals(number).name}"
    elif reports:
        rank, report = reports[0]
        why = f"failed: {report['message']}"
    else:
        rank, why = min(codes, default=0), "ended without a word"
    return f"Worker {rank} of {nproc} {why}."


def failures(job_dir: Path, ranks: Iterable[int]) -> list[tuple[int, dict[str, Any]]]:
    """Rank and report of each worker that failed and could say so, the first one first.

    Args:
        job_dir: with the reports.
        ranks: of this machine's workers.
    """
    found = []
    for rank in ranks:
        path = report_path(job_dir, rank)
        if path.is_file():
            report = json.loads(path.read_text(encoding="utf-8"))
            if "message" in report:
                found.append((path.stat().st_mtime_ns, rank, report))
    return [(rank, report) for _, rank, report in sorted(found, key=lambda one: one[0])]


def keep_logs(job_dir: Path, run_dir: Path, ranks: Iterable[int], failed: bool) -> None:
    """What the workers of a failed run said stays in its folder; after a good one nothing does.

    Args:
        job_dir: with the workers' logs.
        run_dir: the run folder.
        ranks: of this machine's workers.
        failed: whether the run did.
    """
    for rank in ranks:
        (run_dir / f"worker-{rank}.log").unlink(missing_ok=True)
    if failed and (run_dir / CONFIG_FILE).is_file():
        with suppress(OSError):  # the disk may be full, and that is then the error to tell
            for path in job_dir.glob("worker-*.log"):
                shutil.copyfile(path, run_dir / path.name)


def speak_into(path: Path) -> None:
    """Send all that this process and its libraries print into a file."""
    with path.open("wb") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def end_with_parent() -> None:
    """When the learner's process is gone, so that nobody waits for the run, interrupt it."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()

"""How a run ends early: interrupted, on a full disk, or by an error; each says how to go on."""

import errno
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from course_lib.errors import RunError
from course_lib.files import append_jsonl
from course_lib.training.result import CONFIG_FILE, LOG_FILE
from course_lib.training.spread import Spread

# What safetensors and torch say instead of an OSError when a file cannot grow.
DISK_FULL_TEXTS = (
    "No space left",
    "File too large",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "iostream error",
)
INTERRUPTED = "The run was interrupted."


def resume_command(run_dir: Path, spread: Spread) -> str:
    """The command that goes on with a run.

    Args:
        run_dir: its folder.
        spread: how it is spread.

    Returns:
        Quoted for a shell.
    """
    words = ["tunebook", "train", run_dir / CONFIG_FILE, "--work-dir", run_dir]
    return shlex.join([*map(str, words), *spread.options(), "--resume"])


@contextmanager
def errors_logged(run_dir: Path, spread: Spread) -> Iterator[None]:
    """Turn an interruption or a full disk into an error with a next step; log every error.

    Args:
        run_dir: the run folder; only the main process writes into its log.
        spread: how the run is spread.

    Raises:
        RunError: interrupted, or the disk is full.
    """
    resume_hint = resume_command(run_dir, spread)
    try:
        with terminate_as_interrupt():
            yield
    except KeyboardInterrupt as error:
        log_error(run_dir, "interrupted", spread)
        raise RunError(INTERRUPTED, f"Go on with `{resume_hint}`.") from error
    except Exception as error:
        log_error(run_dir, f"{type(error).__name__}: {error}", spread)
        if is_disk_full(error):
            raise RunError(
                f"The disk is full: {run_dir} cannot be written. Finished checkpoints are whole.",
                f"Free some space, then go on with `{resume_hint}`.",
            ) from error
        raise


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM (a closed terminal, a batch system) ends the run like Ctrl-C, where allowed."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: a notebook's worker
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that no space is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(text in str(error) for text in DISK_FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def log_error(run_dir: Path, message: str, spread: Spread) -> None:
    """Write an error into a run's log.

    Args:
        run_dir: the run folder.
        message: what happened.
        spread: of several processes, only the main one writes.
    """
    if not spread.is_main:
        return
    try:
        append_jsonl(run_dir / LOG_FILE, {"event": "error", "message": message})
    except OSError:
        return  # the disk is full: the error itself still reaches the learner

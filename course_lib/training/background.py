"""Start a run in a process of its own, which a notebook can follow, stop and outlive."""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from course_lib.errors import RunError
from course_lib.files import REPO_DIR
from course_lib.training import claim, follow
from course_lib.training.config import TrainConfig, save_config
from course_lib.training.result import CONFIG_FILE
from course_lib.training.spread import ONE_PROCESS, Spread

ERRORS_FILE = "errors.txt"
ERROR_MARK = re.compile(
    r"^Error: ", re.MULTILINE
)  # with which `tunebook train` begins what it has to say
LONGEST_WORDS = 8000  # bytes of them that are read
ENDED_AS_TOLD = (0, 130)  # done; interrupted, which the run's own log says


class BackgroundRun:
    """A run in a process of its own; it goes on when the notebook's kernel ends.

    Args:
        process: the process.
        run_dir: its run folder.
        words: a folder with its config and its last words, which goes with this object.
    """

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        run_dir: Path,
        words: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        self.process = process
        self.run_dir = run_dir
        self.follower = follow.Follower(run_dir)
        self._words = words
        self._was_ended_early = False
        self._has_begun = False

    def is_alive(self) -> bool:
        """Whether the process goes on."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Ask the run to end at its next optimizer step, with a checkpoint.

        A process that has not come to its folder yet is ended at once: there is nothing to save.
        One that has left it is at its end, and needs no asking.
        """
        if claim.holder(self.run_dir) is not None:
            claim.ask_to_stop(self.run_dir)
        elif self.is_alive() and not self._has_begun:
            self._was_ended_early = True
            self.process.terminate()

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for the end of the process.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            Its exit status; 0 is done or stopped when asked.
        """
        return self.process.wait(timeout_s)

    def look(self) -> follow.RunState:
        """How the run stands: what its folder says, and what its process says where that is more.

        Returns:
            `starting` also before the process has come to its folder; the process's own error,
            with its next step, when it failed.
        """
        is_alive = self.is_alive()
        state = self.follower.look()
        self._has_begun = self._has_begun or state.status == "running"
        if is_alive and state.status not in ("running", "other_version"):
            # What the folder says else is old, or the process is still putting its things away.
            status = "running" if self._has_begun else "starting"
            return replace(state, status=status, message="", next_step="")
        if is_alive:
            return state
        message, next_step = self._last_words()
        if not message:
            return state
        # The folder's run may be fine: this process may have been refused because of it.
        is_its_own = state.status in ("none", "failed") and not self._was_ended_early
        status = "failed" if is_its_own else state.status
        return replace(state, status=status, message=message, next_step=next_step)

    def _last_words(self) -> tuple[str, str]:
        """Message and next step of a process that failed."""
        if self._was_ended_early:
            return "Stopped before it began.", "Start it again when you like."
        if self.process.returncode in ENDED_AS_TOLD:
            return "", ""
        said = Path(self._words.name) / ERRORS_FILE
        text = said.read_bytes()[-LONGEST_WORDS:].decode("utf-8", errors="replace").strip()
        known = ERROR_MARK.search(text)
        if known:
            message, _, next_step = text[known.end() :].partition("\n  -> ")
            return message, next_step
        last = (text.splitlines() or ["none"])[-1]
        ended = f"The run's process ended with status {self.process.returncode}."
        return f"{ended} Its last line: {last}", "Look at memory and disk, then resume."


def start(
    config: TrainConfig | None,
    run_dir: Path | str,
    resume: bool = False,
    spread: Spread = ONE_PROCESS,
) -> BackgroundRun:
    """Start `tunebook train` in a process of its own and return at once.

    Args:
        config: everything the run depends on; None to go on with the folder's own.
        run_dir: the run folder; new or empty, unless resuming.
        resume: go on from the folder's latest checkpoint.
        spread: over how many processes, and with what.

    Returns:
        The run. What the process refuses, such as a folder with other files or a model that
        cannot be loaded, its `look` tells.

    Raises:
        RunError: another run is at work in the folder, or there is no config.
    """
    run_dir = Path(run_dir).absolute()
    claim.refuse_taken(run_dir)
    words = tempfile.TemporaryDirectory(prefix="tunebook-", ignore_cleanup_errors=True)
    config_path = run_dir / CONFIG_FILE
    if config is not None:
        config_path = Path(words.name) / CONFIG_FILE
        save_config(config, config_path)
    elif not config_path.is_file():
        raise RunError(f"{run_dir} holds no {CONFIG_FILE}.", "Give a config to start with.")
    command = [sys.executable, "-m", "course_lib.cli", "train", str(config_path)]
    command += ["--work-dir", str(run_dir), *spread.options(), *(["--resume"] if resume else [])]
    with (Path(words.name) / ERRORS_FILE).open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 (our own command)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=_environment(),
            # Interrupting or restarting the kernel does not reach the run.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return BackgroundRun(process, run_dir, words)


def _environment() -> dict[str, str]:
    """With this course's own code first, wherever the kernel was started."""
    path = os.pathsep.join(filter(None, [str(REPO_DIR), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}

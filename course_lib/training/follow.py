"""Follow a run from its folder: what it has written since the last look, and how it stands."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from course_lib.errors import ConfigError, RunError
from course_lib.training import checkpoints, claim, endings
from course_lib.training.config import load_config
from course_lib.training.result import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    LOG_FILE,
    SAMPLES_FILE,
    RunResult,
)
from course_lib.training.spread import Spread, from_record

Status = Literal[
    "none", "starting", "running", "finished", "stopped", "failed", "interrupted", "other_version"
]
TARGET, RETAINED = "validation", "retained"  # what a checkpoint is chosen by, in scores.jsonl
OTHER_VERSION_STEP = "Look at it with the version that made it, or train again in another folder."
# What each record must hold to be one of this version's; a number is given by its type.
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "begin": {"step": int, "total_steps": int, "time": float},
    "log": {"step": int, "loss": float, "tokens": int, "train_s": float, "time": float},
    "checkpoint": {"step": int},
    "stopped": {"step": int},
    "end": {"step": int},
    "error": {"message": str},
    SAMPLES_FILE: {"step": int, "prompt": str, "reply": str},
    checkpoints.SCORES_FILE: {"step": int, TARGET: float, RETAINED: float},
}


@dataclass(frozen=True)
class RunState:
    """How a run stands.

    Attributes:
        status: `none` is no run, `starting` one that loads its model; `stopped` ended when asked
            to, `interrupted` without having been asked.
        step: optimizer steps done.
        total_steps: of the whole run; 0 while nobody knows.
        left_s: wall seconds to its end at its pace so far, samples and scores included; None
            when unknown.
        tokens_per_s: in the last logged steps; None when unknown.
        memory_gib: of the last log line; None when unknown.
        message: what happened, for `failed`, `interrupted`, `stopped` and `other_version`.
        next_step: what to do now; empty when nothing is to be done.
    """

    status: Status = "none"
    step: int = 0
    total_steps: int = 0
    left_s: float | None = None
    tokens_per_s: float | None = None
    memory_gib: float | None = None
    message: str = ""
    next_step: str = ""


class Lines:
    """A growing file of JSON lines, of which each look reads only what is new.

    Args:
        path: the file; may be missing still.

    Attributes:
        records: all so far.
        problem: why the file is none of this version's; empty when it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def _forget(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.problem = ""
        self._offset, self._identity = 0, (0, 0)

    def look(self) -> bool:
        """Read what is new; True when anything changed."""
        if not self.path.is_file():
            had_any = bool(self.records)
            self._forget()
            return had_any
        with self.path.open("rb") as file:
            about = os.fstat(file.fileno())
            identity = (about.st_dev, about.st_ino)
            was_rewritten = identity != self._identity or about.st_size < self._offset
            if was_rewritten:  # a resumed run drops the records of steps that it will do again
                self._forget()
                self._identity = identity
            file.seek(self._offset)
            news = file.read()
        end = news.rfind(b"\n") + 1  # what follows is still being written
        self._offset += end
        for line in filter(bytes.strip, news[:end].split(b"\n")):
            self._take(line)
        return was_rewritten or bool(end)

    def _take(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            problem = _problem(record, self.path.name)
        except ValueError:
            problem = "a line that is not JSON"
        if problem:
            self.problem = self.problem or f"{self.path.name} holds {problem}"
        else:
            self.records.append(record)


class Follower:
    """Reads a run folder again and again, while the run goes on or when it is over.

    Args:
        run_dir: a run folder; may be missing still.

    Attributes:
        log: records of log.jsonl, one for each event.
        samples: records of samples.jsonl: `step`, `prompt`, `reply`.
        scores: records of scores.jsonl: `step`, `validation`, `retained` and more.
    """

    def __init__(self, run_dir: Path | str) -> None:
        self.run_dir = Path(run_dir)
        names = (LOG_FILE, SAMPLES_FILE, checkpoints.SCORES_FILE)
        self._files = [Lines(self.run_dir / name) for name in names]
        self._config: tuple[int, str] = (0, "")  # when it was written, what is wrong with it

    @property
    def log(self) -> list[dict[str, Any]]:
        """One record for each event of the run."""
        return self._files[0].records

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The replies to the sample prompts."""
        return self._files[1].records

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The held-out scores, step 0 being the base."""
        return self._files[2].records

    def look(self) -> RunState:
        """Read what is new.

        Returns:
            How the run stands now.
        """
        # First who is at work: one that ends after this line has written all it had to say.
        is_alive = claim.holder(self.run_dir) is not None
        for file in self._files:
            file.look()
        other = self._other_version()
        if other:
            return RunState("other_version", message=other, next_step=OTHER_VERSION_STEP)
        return self._state(is_alive)

    def losses(self) -> list[tuple[int, float]]:
        """Step and loss of each log line, in order."""
        return [(r["step"], r["loss"]) for r in self.log if r["event"] == "log"]

    def rates(self) -> list[tuple[int, float]]:
        """Step and learning rate of each log line that has one, in order."""
        return [(r["step"], r["learning_rate"]) for r in self.log if "learning_rate" in r]

    def steps(self) -> list[int]:
        """Steps with sample replies or scores, ascending."""
        return sorted({record["step"] for record in (*self.samples, *self.scores)})

    def answers(self, step: int) -> list[tuple[str, str]]:
        """Prompt and reply of each sample at a step; of the step before it where there is none.

        Args:
            step: optimizer steps done.

        Returns:
            In the order of the prompts; empty before the first samples.
        """
        asked = max((r["step"] for r in self.samples if r["step"] <= step), default=None)
        return [(r["prompt"], r["reply"]) for r in self.samples if r["step"] == asked]

    def scored(self, step: int) -> dict[str, Any] | None:
        """The scores at a step; of the scored step before it where there are none.

        Args:
            step: optimizer steps done.

        Returns:
            A record of scores.jsonl, whose own `step` says which; None before the first scores.
        """
        before = [record for record in self.scores if record["step"] <= step]
        return max(before, key=lambda record: record["step"], default=None)

    def spread(self) -> Spread:
        """How the run is spread over processes, as it recorded it."""
        try:
            record = json.loads((self.run_dir / ENVIRONMENT_FILE).read_bytes())
            return from_record(record)
        except (OSError, ValueError, AttributeError):
            return Spread()

    def _other_version(self) -> str:
        """Why the folder is none of this version's, or an empty text."""
        self._check_config(self.run_dir / CONFIG_FILE)
        found = [self._config[1], *(file.problem for file in self._files)]
        problem = next(filter(None, found), "")
        return f"{self.run_dir} was not written by this version: {problem}." if problem else ""

    def _check_config(self, path: Path) -> None:
        written = path.stat().st_mtime_ns if path.is_file() else 0
        if written == self._config[0]:
            return
        try:
            load_config(path)
            self._config = written, ""
        except ConfigError as error:
            self._config = written, error.message

    def _state(self, is_alive: bool) -> RunState:
        status, message = self._status(is_alive)
        total = next((r["total_steps"] for r in self.log[::-1] if r["event"] == "begin"), 0)
        step = max((r.get("step", 0) for r in self.log), default=0)
        lines = [record for record in self.log if record["event"] == "log"]
        return RunState(
            status=status,
            step=step,
            total_steps=total,
            left_s=_left_s(self.log, step, total) if status == "running" else None,
            tokens_per_s=_tokens_per_s(self.log),
            memory_gib=lines[-1].get("memory_gib") if lines else None,
            message=message,
            next_step=self._next_step(status),
        )

    def _status(self, is_alive: bool) -> tuple[Status, str]:
        last = self.log[-1] if self.log else {}
        event = last.get("event")
        if is_alive:
            return ("running" if event not in (None, "error", "stopped") else "starting"), ""
        if event == "end":
            return "finished", ""
        if event == "stopped":
            return "stopped", f"Stopped at step {last['step']}, as asked."
        if event == "error" and last["message"] != "interrupted":
            return "failed", last["message"]
        if event == "error":
            return "interrupted", endings.INTERRUPTED
        if not (self.run_dir / CONFIG_FILE).is_file():
            return "none", ""
        return "interrupted", "The run's process ended without a word: killed, or out of memory."

    def _next_step(self, status: Status) -> str:
        if status not in ("stopped", "failed", "interrupted"):
            return ""
        return f"Go on with `{endings.resume_command(self.run_dir, self.spread())}`."


def finished(run_dir: Path | str) -> RunResult:
    """What a run left, read from its folder: for runs that another process trained.

    Args:
        run_dir: the run folder.

    Returns:
        As `run.train` returns it; seconds are those of the process that ended the run.

    Raises:
        RunError: the run has not finished.
    """
    follower = Follower(run_dir)
    state = follower.look()
    last = checkpoints.latest_checkpoint(follower.run_dir)
    if state.status != "finished" or last is None:
        said = f" {state.message}" if state.message else ""
        raise RunError(
            f"The run in {run_dir} has not finished ({state.status}).{said}",
            state.next_step or "Train it to its end first.",
        )
    best = checkpoints.best_checkpoint(follower.run_dir) or last
    end = follower.log[-1]
    seconds = end["train_s"], end.get("train_cpu_s", 0.0)
    return RunResult(follower.run_dir, best.path, last.path, state.step, *seconds)


def _problem(record: Any, file_name: str) -> str:
    """What a record of this version would hold and this one does not; empty when it is one."""
    if not isinstance(record, dict):
        return f"{type(record).__name__} where a record should be"
    kind = record.get("event") if file_name == LOG_FILE else file_name
    if not isinstance(kind, str) or kind not in FIELDS:
        return f"an event called {kind!r}"
    for name, wanted in FIELDS[kind].items():
        value = record.get(name)
        types = (int, float) if wanted is float else wanted
        if not isinstance(value, types) or isinstance(value, bool):
            return f"a record whose {name} is {value!r:.40}"
    return ""


def _left_s(log: Sequence[Mapping[str, Any]], step: int, total: int) -> float | None:
    """From the pace since the run began, or was resumed."""
    places = [place for place, record in enumerate(log) if record["event"] == "begin"]
    if not places or log[-1].get("time") is None:
        return None
    begin, last = log[places[-1]], log[-1]
    done = step - begin["step"]
    return (last["time"] - begin["time"]) / done * (total - step) if done > 0 else None


def _tokens_per_s(log: Sequence[Mapping[str, Any]]) -> float | None:
    """From the last two log lines of one process; from its begin at step 0 to the first one."""
    known = [r for r in log if r["event"] in ("begin", "log")][-2:]
    if len(known) < 2 or known[1]["event"] != "log":
        return None
    before, last = known
    if before["event"] == "begin" and before["step"] > 0:
        return None  # resumed: nobody wrote how many tokens that was
    seconds = last["train_s"] - before.get("train_s", 0)
    return (last["tokens"] - before.get("tokens", 0)) / seconds if seconds > 0 else None

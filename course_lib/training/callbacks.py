"""What a run writes while it trains: progress, sample replies, held-out scores."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from course_lib.files import append_jsonl
from course_lib.model.kernels import OFF, Kernels
from course_lib.training import checkpoints, claim
from course_lib.training.result import LOG_FILE, SAMPLES_FILE

Replier = Callable[[Sequence[str]], list[str]]  # prompts -> the model's replies
Scorer = Callable[[], Mapping[str, Any]]  # -> a record with at least `overall`


@dataclass
class Clock:
    """Seconds spent training, with the time of samples and scores taken out.

    Attributes:
        aside_s: wall seconds spent on samples and scores.
        aside_cpu_s: CPU seconds spent on them, of all threads.
    """

    start: float = 0.0
    start_cpu: float = 0.0
    aside_s: float = 0.0
    aside_cpu_s: float = 0.0

    def begin(self) -> None:
        """Start counting."""
        self.start, self.start_cpu = time.perf_counter(), time.process_time()

    @property
    def train_s(self) -> float:
        """Wall seconds of training so far."""
        return time.perf_counter() - self.start - self.aside_s if self.start else 0.0

    @property
    def train_cpu_s(self) -> float:
        """CPU seconds of training so far, of all threads."""
        return time.process_time() - self.start_cpu - self.aside_cpu_s if self.start else 0.0

    def aside(self, work: Callable[[], Any]) -> Any:
        """Do something that is no training, and keep its time apart."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return work()
        finally:
            self.aside_s += time.perf_counter() - wall
            self.aside_cpu_s += time.process_time() - cpu


@dataclass
class ProgressLog(TrainerCallback):
    """Write one JSON line for each event of a run: begin, log, checkpoint, stopped or end."""

    run_dir: Path
    clock: Clock
    tokens_per_step: float
    kernels: Kernels = OFF
    notes: tuple[str, ...] = ()  # more of them

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock and say how long the run will be."""
        self.clock.begin()
        on = {} if self.kernels == OFF else {"kernels": self.kernels.words()}
        said = (*self.kernels.notes, *self.notes)
        notes = {"notes": said} if said else {}
        self._write("begin", state, total_steps=state.max_steps, **on, **notes)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write loss, rate, speed and memory of the last steps."""
        logs = logs or {}
        if "loss" not in logs:
            return
        numbers = {k: logs[k] for k in ("loss", "learning_rate", "grad_norm") if k in logs}
        tokens = round(self.tokens_per_step * state.global_step)
        self._write("log", state, **numbers, tokens=tokens, memory_gib=_memory_gib())

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say that a checkpoint is whole."""
        self._write("checkpoint", state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say that the run ended or was stopped, and how long it trained."""
        self._write("end" if state.global_step >= state.max_steps else "stopped", state)

    def _write(self, event: str, state: TrainerState, **values: Any) -> None:
        record = {
            "event": event,
            "step": state.global_step,
            **values,
            "train_s": round(self.clock.train_s, 3),
            "train_cpu_s": round(self.clock.train_cpu_s, 3),
            "time": round(time.time(), 3),
        }
        append_jsonl(self.run_dir / LOG_FILE, record)


@dataclass
class SampleReplies(TrainerCallback):
    """Ask the model the same questions every few steps, so that the change can be read."""

    run_dir: Path
    clock: Clock
    prompts: Sequence[str]
    every_steps: int
    reply_to: Replier
    is_main: bool = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask before the first step."""
        if state.global_step == 0:
            self._sample(state)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Ask every few steps, and at the end."""
        if state.global_step % self.every_steps == 0 or state.global_step == state.max_steps:
            self._sample(state)

    def _sample(self, state: TrainerState) -> None:
        replies = self.clock.aside(lambda: self.reply_to(self.prompts))
        if not self.is_main:
            return
        for prompt, reply in zip(self.prompts, replies, strict=True):
            record = {"step": state.global_step, "prompt": prompt, "reply": reply}
            append_jsonl(self.run_dir / SAMPLES_FILE, record)


@dataclass
class CheckpointScores(TrainerCallback):
    """Score the model before training and at each checkpoint, then remove old checkpoints."""

    run_dir: Path
    clock: Clock
    score: Scorer | None
    keep_last: int
    keep_best: bool
    is_main: bool = True
    scored: set[int] = field(default_factory=set)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the base, or do what a killed run had no time to do after its last checkpoint."""
        self.scored = set(checkpoints.overall_scores(self.run_dir))
        self._score(state.global_step)
        self._remove_old()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Score the new checkpoint."""
        self._score(state.global_step)
        self._remove_old()

    def _remove_old(self) -> None:
        if self.is_main:
            checkpoints.remove_old(self.run_dir, self.keep_last, self.keep_best)

    def _score(self, step: int) -> None:
        if self.score is None or step in self.scored:
            return
        record = self.clock.aside(self.score)
        if self.is_main:
            append_jsonl(self.run_dir / checkpoints.SCORES_FILE, {"step": step, **record})
        self.scored.add(step)


@dataclass
class StopWhenAsked(TrainerCallback):
    """End a run at the end of an optimizer step, with a checkpoint, when somebody asks for it."""

    run_dir: Path

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look whether somebody did. Of several processes, all stop at the same step."""
        is_wanted = claim.is_stop_wanted(self.run_dir)
        if args.world_size > 1:
            heard = torch.tensor(float(is_wanted), device=args.device)
            torch.distributed.all_reduce(heard, torch.distributed.ReduceOp.MAX)
            is_wanted = bool(heard)
        if is_wanted and state.global_step < state.max_steps:
            control.should_log = control.should_save = control.should_training_stop = True


def _memory_gib() -> float:
    """Peak GPU memory allocated where there is a GPU, else this process's memory now, in GiB."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return round(psutil.Process().memory_info().rss / 2**30, 3)

"""Time the parts of each training step of any transformers Trainer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

PARTS = ("data", "forward", "backward", "optimizer", "other")
Seconds = tuple[float, float]  # wall, and CPU of all threads


@dataclass
class StepClock(TrainerCallback):
    """Seconds of each part of each step, each step's loss, and what the first step saw.

    Attributes:
        steps: for each step, part -> seconds; `other` is what no part has, `step` is all.
        losses: for each step.
        first_ids: token ids of the first batch, padding included.
    """

    steps: list[dict[str, Seconds]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    first_ids: torch.Tensor | None = None
    _parts: dict[str, Seconds] = field(default_factory=dict)
    _step_start: Seconds = (0.0, 0.0)
    _optimizer_start: Seconds = (0.0, 0.0)

    def attach(self, trainer: Trainer) -> None:
        """Wrap what a trainer calls in each step.

        Args:
            trainer: before its `train()`; holds one batch a step.
        """
        accelerator, model = trainer.accelerator, trainer.model
        trainer.get_batch_samples = self._timed("data", trainer.get_batch_samples)
        trainer.compute_loss = self._watched(self._timed("forward", trainer.compute_loss))
        accelerator.backward = self._timed("backward", accelerator.backward)
        accelerator.clip_grad_norm_ = self._timed("optimizer", accelerator.clip_grad_norm_)
        model.zero_grad = self._timed("optimizer", model.zero_grad)
        trainer.add_callback(self)

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start the first step."""
        self._step_start, self._parts = _now(), {}

    def on_pre_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Gradients are clipped; the update begins."""
        self._optimizer_start = _now()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The update is done."""
        self._add("optimizer", self._optimizer_start)

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Close a step and start the next one."""
        whole = _since(self._step_start)
        named = [sum(seconds) for seconds in zip(*self._parts.values(), strict=True)]
        rest = (whole[0] - named[0], whole[1] - named[1])
        self.steps.append({**self._parts, "other": rest, "step": whole})
        self._step_start, self._parts = _now(), {}

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = _now()
            result = call(*args, **kwargs)
            self._add(part, start)
            return result

        return timed

    def _watched(self, compute_loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def watched(model: torch.nn.Module, inputs: dict[str, Any], **kwargs: Any) -> torch.Tensor:
            if self.first_ids is None:
                self.first_ids = inputs["input_ids"].clone()
            loss = compute_loss(model, inputs, **kwargs)
            self.losses.append(loss.item())
            return loss

        return watched

    def _add(self, part: str, start: Seconds) -> None:
        wall, cpu = self._parts.get(part, (0.0, 0.0))
        more = _since(start)
        self._parts[part] = (wall + more[0], cpu + more[1])


def _now() -> Seconds:
    return time.perf_counter(), time.process_time()


def _since(start: Seconds) -> Seconds:
    wall, cpu = _now()
    return wall - start[0], cpu - start[1]

"""What a run will do, worked out before anything runs."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from transformers import get_scheduler

from course_lib.errors import RunError
from course_lib.training.config import TrainConfig
from course_lib.training.rows import TrainingData

FEW_STEPS = 10  # fewer optimizer steps than this have not changed an answer in lesson 04


@dataclass(frozen=True)
class RunPlan:
    """The numbers of a run that its config and its data decide.

    Attributes:
        rows: data rows in one epoch.
        packs: filled rows in one epoch.
        tokens: tokens in one epoch, padding excluded.
        loss_tokens: those of them that carry loss.
        truncated_rows: rows cut at max_length.
        dropped_rows: rows left out because the cut left nothing to learn.
        nproc: processes that share each step.
        packs_per_step: packs that one optimizer step learns from, in all processes together.
        steps_per_epoch: optimizer steps.
        total_steps: optimizer steps of the run.
        warmup_steps: optimizer steps until the peak rate.
        save_steps: optimizer steps between checkpoints.
        peak_rate: the highest learning rate that a step of the run really uses.
        warnings: what a learner should know before starting.
    """

    rows: int
    packs: int
    tokens: int
    loss_tokens: int
    truncated_rows: int
    dropped_rows: int
    nproc: int
    packs_per_step: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    save_steps: int
    peak_rate: float
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data."""
        return asdict(self)


def plan_run(config: TrainConfig, data: TrainingData, nproc: int = 1) -> RunPlan:
    """Work out steps, rates and checkpoints of a run.

    Args:
        config: the run's config.
        data: its prepared data.
        nproc: processes; each takes a batch of its own in every micro step.

    Returns:
        The plan.

    Raises:
        RunError: warm-up is so long that the run never comes near its learning rate.
    """
    packs_per_micro_step = config.per_device_train_batch_size * nproc
    packs_per_step = packs_per_micro_step * config.gradient_accumulation_steps
    steps_per_epoch = math.ceil(len(data.packs) / packs_per_step)
    total_steps = config.max_steps or max(1, round(steps_per_epoch * config.num_train_epochs))
    warmup_steps = config.warmup_steps
    if warmup_steps is None:
        warmup_steps = int(total_steps * config.warmup_ratio)
    plan = RunPlan(
        rows=data.rows,
        packs=len(data.packs),
        tokens=data.row_tokens,
        loss_tokens=data.loss_tokens,
        truncated_rows=data.truncated_rows,
        dropped_rows=data.dropped_rows,
        nproc=nproc,
        packs_per_step=packs_per_step,
        steps_per_epoch=steps_per_epoch,
        total_steps=total_steps,
        warmup_steps=warmup_steps,
        save_steps=config.save_steps(steps_per_epoch),
        peak_rate=_peak_rate(config, total_steps, warmup_steps),
        warnings=tuple(_warnings(config, data, total_steps, packs_per_micro_step)),
    )
    _refuse_weak_rate(config, plan)
    return plan


def learning_rates(config: TrainConfig, total_steps: int, warmup_steps: int) -> list[float]:
    """The learning rate that each optimizer step uses.

    Args:
        config: names the schedule and the peak.
        total_steps: of the run.
        warmup_steps: steps until the peak.

    Returns:
        One rate for each step, from transformers' own scheduler.
    """
    share = _share_of_rate(config, total_steps, warmup_steps)
    return [config.learning_rate * share(step) for step in range(total_steps)]


def _share_of_rate(
    config: TrainConfig, total_steps: int, warmup_steps: int
) -> Callable[[int], float]:
    """What the scheduler multiplies the rate with at a step."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=config.learning_rate)
    scheduler = get_scheduler(config.lr_scheduler_type, optimizer, warmup_steps, total_steps)
    return scheduler.lr_lambdas[0]


def _peak_rate(config: TrainConfig, total_steps: int, warmup_steps: int) -> float:
    """The rate right behind the warm-up: none is higher, and a billion steps need no list."""
    share = _share_of_rate(config, total_steps, warmup_steps)
    return config.learning_rate * share(min(warmup_steps, total_steps - 1))


def _refuse_weak_rate(config: TrainConfig, plan: RunPlan) -> None:
    """A warm-up longer than the run leaves the rate near zero: nothing is learned, nothing said."""
    if plan.peak_rate < 0.9 * config.learning_rate:
        raise RunError(
            f"The run has {plan.total_steps} optimizer steps and {plan.warmup_steps} of warm-up: "
            f"its learning rate never passes {plan.peak_rate:.2g} of {config.learning_rate:.2g}.",
            "Lower warmup_steps (or leave it empty), or train longer.",
        )


def _warnings(
    config: TrainConfig, data: TrainingData, total_steps: int, packs_per_micro_step: int
) -> list[str]:
    found = []
    missing = -len(data.packs) % packs_per_micro_step
    if missing and packs_per_micro_step > config.per_device_train_batch_size:
        found.append(
            f"Packs used twice in an epoch, so that each process has as many to do: {missing}."
        )
    if total_steps < FEW_STEPS:
        found.append(f"{total_steps} optimizer steps in all: too few to change an answer.")
    if data.truncated_rows:
        share = data.truncated_rows / data.rows
        found.append(
            f"{data.truncated_rows} of {data.rows} rows ({share:.0%}) are cut at "
            f"{config.max_length} tokens: raise max_length to keep them whole."
        )
    if config.packing == "cut":
        found.append(
            f"packing: cut splits {data.split_rows} rows and lets rows see each other: it is there "
            "for comparison, use best_fit."
        )
    if data.dropped_rows:
        found.append(f"{data.dropped_rows} rows are left out: cut before their first answer token.")
    return found

"""What `tunebook check` shows: a run's plan."""

from typing import Any

from course_lib import files
from course_lib.training import plan, prediction
from course_lib.training.config import TrainConfig
from course_lib.training.spread import ONE_PROCESS, Spread


def predict(config: TrainConfig, how: Spread = ONE_PROCESS) -> prediction.Prediction:
    """Prepare a config's data and work out its run.

    Args:
        config: the config.
        how: over how many processes, and with what.

    Returns:
        The prediction.

    Raises:
        TunebookError: what training would refuse: data, base model, warm-up.
    """
    return prediction.Predictor().predict(config, how=how)


def plan_json(predicted: prediction.Prediction) -> dict[str, Any]:
    """The prediction as plain data, with the share of tokens that carry loss."""
    return {
        **predicted.plan.as_dict(),
        "loss_share": loss_share(predicted.plan),
        "trained_weights": predicted.trainable,
        "weights": predicted.weights,
        "memory_bytes": predicted.memory.total,
        "warnings": predicted.warnings,
    }


def loss_share(run_plan: plan.RunPlan) -> float:
    """Tokens that carry loss among all tokens of an epoch."""
    return round(run_plan.loss_tokens / run_plan.tokens, 4)


def plan_text(config: TrainConfig, predicted: prediction.Prediction) -> str:
    """The prediction in words.

    Args:
        config: the run's config.
        predicted: from `predict`.

    Returns:
        One line for each number, then the warnings.
    """
    run_plan = predicted.plan
    left_out = f", {run_plan.dropped_rows} left out" if run_plan.dropped_rows else ""
    lines = {
        "base model": f"{config.base_model} in {config.bits} bits, method {config.method}",
        "rows": f"{run_plan.rows:,} ({run_plan.truncated_rows} truncated{left_out})",
        "packs": f"{run_plan.packs:,} of at most {config.max_length} tokens",
        "tokens": f"{run_plan.tokens:,} in an epoch, {loss_share(run_plan):.0%} with loss",
        "batch": _batch_words(config, run_plan),
        "steps": f"{run_plan.steps_per_epoch:,} in an epoch, {run_plan.total_steps:,} in all",
        "warm-up": f"{run_plan.warmup_steps:,} steps",
        "peak rate": f"{run_plan.peak_rate:.2g}",
        "trained": f"{predicted.trainable:,} of {predicted.weights:,} weights",
        "memory": f"about {files.size_in_words(predicted.memory.total)} at the peak, "
        f"{files.size_in_words(predicted.free_bytes)} are free",
        "checkpoints": f"every {run_plan.save_steps:,} steps and at the end",
    }
    if run_plan.nproc > 1:
        lines["memory"] += ", for each process"
    width = max(map(len, lines))
    text = [f"{name:<{width}}  {value}" for name, value in lines.items()]
    return "\n".join(text + [f"warning: {warning}" for warning in predicted.warnings])


def _batch_words(config: TrainConfig, run_plan: plan.RunPlan) -> str:
    """What a step learns from, as a product: more processes or accumulation make it larger."""
    factors = [f"{config.per_device_train_batch_size} in a micro batch"]
    if config.gradient_accumulation_steps > 1:
        factors.append(f"{config.gradient_accumulation_steps} micro batches")
    if run_plan.nproc > 1:
        factors.append(f"{run_plan.nproc} processes")
    product = f" = {' x '.join(factors)}" if len(factors) > 1 else ""
    return f"{run_plan.packs_per_step:,} packs in a step{product}"

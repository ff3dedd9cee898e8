"""What a config will cost and do, before anything runs: steps, trained weights, memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from course_lib import files
from course_lib.errors import DataError
from course_lib.model import catalog, engines, estimate, kernels, loading, shapes
from course_lib.model.setting import Setting
from course_lib.training import methods, needs, plan, rows
from course_lib.training.config import TrainConfig
from course_lib.training.spread import ONE_PROCESS, STRATEGIES, Spread

ROOM = 0.9  # of the free memory: allocators hold some in reserve
# the fields that rows and packs depend on; all others change nothing in them
DATA_FIELDS = (
    "base_model",
    "train_data",
    "assistant_name",
    "max_length",
    "prompt_template",
    "packing",
    "loss_turns",
)


@dataclass(frozen=True)
class Prediction:
    """What a run will do and need.

    Attributes:
        plan: rows, packs, steps, rates.
        trainable: weights that are trained.
        weights: weights of the base and the adapter together.
        memory: what training needs at its peak, estimated with full packs.
        free_bytes: memory that is free now, on the GPU where there is one.
        warnings: what a learner should know before starting, in plain words.
    """

    plan: plan.RunPlan
    trainable: int
    weights: int
    memory: estimate.Memory
    free_bytes: int
    warnings: tuple[str, ...]

    def facts(self) -> dict[str, str]:
        """The numbers in words, by name, in the order to read them."""
        run = self.plan
        cut = run.truncated_rows / run.rows
        left_out = f", {run.dropped_rows:,} left out" if run.dropped_rows else ""
        return {
            "rows": f"{run.rows:,} in an epoch; {run.truncated_rows:,} cut ({cut:.1%}){left_out}",
            "packs": f"{run.packs:,} in an epoch, {run.packs_per_step:,} in an optimizer step",
            "steps": f"{run.total_steps:,} optimizer steps in all, "
            f"{run.steps_per_epoch:,} in an epoch; warm-up {run.warmup_steps:,}",
            "loss": f"{run.loss_tokens:,} of {run.tokens:,} tokens carry loss "
            f"({run.loss_tokens / run.tokens:.0%})",
            "trained": f"{self.trainable:,} of {self.weights:,} weights "
            f"({self.trainable / self.weights:.2%})",
            "memory": f"about {files.size_in_words(self.memory.total)} at the peak "
            f"({self._memory_words()}); {files.size_in_words(self.free_bytes)} are free here",
        }

    def _memory_words(self) -> str:
        memory = self.memory
        parts = {
            "weights": memory.weights,
            "adapter and optimizer": memory.adapter + memory.gradients + memory.optimizer,
            "activations": memory.activations + memory.room,
            "logits": memory.logits,
        }
        return ", ".join(
            f"{name} {files.size_in_words(count)}" for name, count in parts.items() if count
        )


class Predictor:
    """Predicts config after config; data is read again only when its fields or files change.

    Attributes:
        field: the config field whose value is being used; after an error, the one to correct.
    """

    def __init__(self) -> None:
        self.field = "base_model"
        self._key: Any = None
        self._data: rows.TrainingData | None = None

    def predict(
        self,
        config: TrainConfig,
        on_row: Callable[[int], None] | None = None,
        how: Spread = ONE_PROCESS,
    ) -> Prediction:
        """Work out a run.

        Args:
            config: the run's config.
            on_row: is told how many rows have been read; what it raises ends the reading.
            how: over how many processes, and with what.

        Returns:
            The prediction.

        Raises:
            TunebookError: what training would refuse: base model, layers, data, warm-up.
        """
        self.field = "base_model"
        config, note = settle(config, how)
        shape = catalog.find_shape(config.base_model)
        self.field = "target_modules"
        trainable = _count_trained(shape, config)
        self.field = "bits"
        if config.bits == 4:
            device = "cuda" if torch.cuda.is_available() else "cpu"
            loading.check_nf4_widths(config.base_model, device)
        self.field = "train_data"
        data = self._read_data(config, on_row)
        self.field = "warmup_steps"
        run_plan = plan.plan_run(config, data, how.processes)
        memory = estimate.estimate_memory(shape, setting_of(config, how))
        free = free_bytes()
        return Prediction(
            plan=run_plan,
            trainable=trainable,
            weights=shape.weights + (0 if config.is_full else trainable),
            memory=memory,
            free_bytes=free,
            warnings=(
                *([note] if note else []),
                *run_plan.warnings,
                *_ignored_warnings(config),
                *_memory_warnings(config, memory.total, free),
            ),
        )

    def _read_data(
        self, config: TrainConfig, on_row: Callable[[int], None] | None
    ) -> rows.TrainingData:
        key = (config.model_dump(include=set(DATA_FIELDS)), _stamps(config))
        if self._data is None or key != self._key:
            self._data = None  # one data set at a time
            tokenizer = rows.load_tokenizer(config)
            self._data, self._key = rows.prepare_data(config, tokenizer, on_row), key
        return self._data


def _count_trained(shape: shapes.Shape, config: TrainConfig) -> int:
    if config.is_full:
        return shape.weights
    return shapes.adapter_weights(shape, config.r, config.target_modules)


def _stamps(config: TrainConfig) -> list[tuple[str, int, int]]:
    """Times and sizes of the data files, to see when one was edited."""
    found = []
    for source in config.train_data:
        try:
            place = rows.find_source(source.path)
        except DataError:
            continue  # reading it tells what is wrong
        if isinstance(place, Path):
            files = sorted(place.rglob("*")) if place.is_dir() else [place]
            states = [(file, file.stat()) for file in files if file.is_file()]
            found += [(str(file), state.st_mtime_ns, state.st_size) for file, state in states]
    return found


def setting_of(config: TrainConfig, how: Spread = ONE_PROCESS) -> Setting:
    """What the memory of a run depends on, as `tunebook train` runs it on this machine.

    Args:
        config: the run's config.
        how: over how many processes, and with what.

    Returns:
        The setting, with full packs.

    Raises:
        ConfigError: the values do not go together, such as ZeRO-3 with 4 bits.
    """
    return needs.setting_with(config, _engine_of(config, how), **spread_fields(how))


def _engine_of(config: TrainConfig, how: Spread) -> engines.Engine:
    """How training would hold its numbers here, with the kernels that it would choose."""
    engine = engines.tunebook_engine(loading.compute_dtype().itemsize)
    machine = kernels.find_machine()
    if config.is_full:
        has_bf16 = machine.capability is not None and engine.compute_bytes == 2
        mixed = engines.TUNEBOOK if how.deepspeed else engines.MIXED
        return mixed if has_bf16 else engines.tunebook_engine(compute_bytes=4)
    has_gpu = machine.capability is not None
    model = loading.read_config(config.base_model) if has_gpu else None
    processes = (how.processes, how.stage)
    chosen = kernels.choose(config.kernels, machine, model, config.lora_dropout, *processes)
    return replace(
        engine,
        is_fused=chosen.liger,
        has_fused_adapters=chosen.adapters,
        has_masks=not chosen.lean_loss,
        has_chunked_loss=chosen.lean_loss,
    )


def spread_fields(how: Spread) -> dict[str, Any]:
    """A spread as fields of a `Setting`.

    Args:
        how: over how many processes, and with what.
    """
    stage, moved = STRATEGIES[how.deepspeed] if how.deepspeed else (0, ())
    offload = tuple(name.removeprefix("offload_") for name in moved)
    return {"gpus": how.processes, "zero": stage, "offload": offload}


def free_bytes() -> int:
    """Memory that is free now: the GPU's where there is one, else the machine's."""
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def capacity_bytes(how: Spread = ONE_PROCESS) -> int:
    """What a process of a run can have of this machine's memory, with what it holds already.

    Args:
        how: over how many processes; without GPUs they share the machine's memory.
    """
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved()
    held = psutil.Process().memory_info().rss
    return psutil.virtual_memory().available // how.nproc + held


def settle(config: TrainConfig, how: Spread = ONE_PROCESS) -> tuple[TrainConfig, str]:
    """Decide what a config leaves to this machine: gradient_checkpointing, where it is auto.

    Args:
        config: the run's config.
        how: over how many processes, and with what.

    Returns:
        The config with true or false, and why, in a sentence; empty when there was nothing to do.

    Raises:
        ModelError: the base model's sizes cannot be read, or it has no layer of a target's name.
    """
    if config.gradient_checkpointing != "auto":
        return config, ""
    shape = catalog.find_shape(config.base_model)
    options = {
        is_on: config.model_copy(update={"gradient_checkpointing": is_on})
        for is_on in (False, True)
    }
    needed = {
        is_on: estimate.estimate_memory(shape, setting_of(option, how)).total
        for is_on, option in options.items()
    }
    shares = 1 if torch.cuda.is_available() else how.nproc  # of the machine's memory
    free = free_bytes() // shares
    is_on = needed[False] > ROOM * free
    without, with_it, there = map(files.size_in_words, (needed[False], needed[True], free))
    return options[is_on], (
        f"gradient_checkpointing auto: {'on' if is_on else 'off'}. At the peak training needs "
        f"about {without} without it and {with_it} with it; {there} are free."
    )


def _ignored_warnings(config: TrainConfig) -> list[str]:
    if not config.is_full:
        return []
    names = methods.ignored_fields(config.model_dump(), TrainConfig().model_dump())
    them = f"{', '.join(names)} {'has' if len(names) == 1 else 'have'}"
    return [f"method full makes no adapter: {them} no effect."] if names else []


def _memory_warnings(config: TrainConfig, needed: int, free: int) -> list[str]:
    if needed <= free:
        return []
    ways = ["lower max_length or per_device_train_batch_size"]
    ways += [] if config.gradient_checkpointing else ["set gradient_checkpointing"]
    ways += ["use method: lora"] if config.is_full else []
    ways += [] if config.bits == 4 or config.is_full else ["use bits: 4"]
    return [
        f"Training needs about {files.size_in_words(needed)} of memory "
        f"and {files.size_in_words(free)} are free: "
        f"{', or '.join(ways)}."
    ]

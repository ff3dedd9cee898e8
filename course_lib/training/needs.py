"""What a run needs of a machine, told from its config alone: no torch, no download."""

from dataclasses import replace
from typing import Any

from course_lib.model import catalog, engines, estimate
from course_lib.model.engines import Engine
from course_lib.model.estimate import Memory
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape
from course_lib.training import methods
from course_lib.training.config import TrainConfig


def setting_with(config: TrainConfig, engine: Engine, **spread: Any) -> Setting:
    """What the memory of a run depends on.

    Args:
        config: the run's config; gradient_checkpointing auto counts as off.
        engine: how the machine would hold its numbers.
        spread: fields of a `Setting` about several processes.

    Returns:
        The setting, with full packs.

    Raises:
        ConfigError: the values do not go together, such as ZeRO-3 with 4 bits.
    """
    rows = config.per_device_train_batch_size
    is_fp32 = config.is_full and engine.compute_bytes == 4
    return Setting(
        method=config.method if config.is_full else methods.of_bits(config.bits),
        bits=32 if is_fp32 else config.bits,
        length=config.max_length,
        rows=rows,
        r=config.r,
        target_modules=config.target_modules,
        lora_dropout=config.lora_dropout,
        gradient_checkpointing=config.gradient_checkpointing is True,
        micro_batches=config.gradient_accumulation_steps,
        # padding is a row of its own to attention
        is_packed=config.packing != "none" or rows > 1,
        optimizer=config.optim,
        engine=engine,
        **spread,
    )


def known_shape(config: TrainConfig) -> Shape:
    """The sizes of a preset's base model.

    Args:
        config: of a preset.
    """
    known = catalog.by_hub_id(config.base_model)
    return known.shape if known else catalog.pico_shape(config.base_model)


def preset_memory(config: TrainConfig) -> Memory:
    """What training by a preset needs at its peak.

    Args:
        config: of a preset.

    Returns:
        For pico on a CPU in fp32; for other models on one GPU with bf16, and with liger-kernel
        where an adapter is trained.
    """
    known = catalog.by_hub_id(config.base_model)
    if known is None:
        engine = replace(engines.tunebook_engine(compute_bytes=4), has_fused_adapters=True)
    elif config.is_full:
        engine = engines.MIXED
    else:
        engine = engines.KERNELS
        if not known.has_plain_logits:
            engine = replace(engine, has_masks=True, has_chunked_loss=False)
    return estimate.estimate_memory(known_shape(config), setting_with(config, engine))

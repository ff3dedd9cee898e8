"""Checkpoints whose weights are quantized already: taken as they are, or refused."""

from typing import Any

from transformers import PreTrainedConfig

from course_lib.errors import ModelError

BITSANDBYTES = "bitsandbytes"


def check(name: str, config: PreTrainedConfig, bits: int) -> None:
    """Refuse to quantize twice, or to load in more bits than there are.

    Args:
        name: of the model.
        config: of its checkpoint.
        bits: asked for.

    Raises:
        ModelError: it is quantized, and not by bitsandbytes into that many bits.
    """
    settings = _settings(config)
    if not settings:
        return
    kind = str(settings.get("quant_method", "a way of its own"))
    if kind != BITSANDBYTES:
        raise ModelError(
            f"{name} is quantized already, by {kind}, which is not read here.",
            "Take the model that it was made from: bits: 4 quantizes that one.",
        )
    stored = 4 if settings.get("load_in_4bit") else 8
    if bits != stored:
        raise ModelError(
            f"{name} is quantized already, into {stored} bits: it cannot be loaded in {bits}.",
            f"Use bits: {stored}, or the model that it was made from.",
        )


def _settings(config: PreTrainedConfig) -> dict[str, Any]:
    found = getattr(config, "quantization_config", None) or {}
    return found if isinstance(found, dict) else found.to_dict()

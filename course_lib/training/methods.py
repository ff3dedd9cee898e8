"""The three ways to train, and which bits go with each: full, lora and qlora."""

from collections.abc import Mapping
from typing import Any

from course_lib.model.setting import METHODS  # with the bits of each, the usual one first

FULL = "full"


def fill(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in what a config leaves out of method and bits: each follows from the other.

    Args:
        values: field names and values, not checked yet.

    Returns:
        With a method and bits, if one of them is a known value; 4 bits mean qlora, more mean lora.
    """
    filled = dict(values)
    method, bits = filled.get("method"), filled.get("bits")
    if method is None and isinstance(bits, int) and not isinstance(bits, bool):
        filled["method"] = of_bits(bits)
    elif bits is None and isinstance(method, str) and method in METHODS:
        filled["bits"] = METHODS[method][0]
    return filled


def of_bits(bits: int) -> str:
    """The method of a config that only says bits."""
    return "qlora" if bits == 4 else "lora"


def problem(method: str, bits: int) -> str:
    """Say why a method cannot have so many bits.

    Args:
        method: one of `METHODS`.
        bits: of each base weight.

    Returns:
        One sentence with what to do, or an empty text.
    """
    if bits in METHODS[method]:
        return ""
    if method == FULL:
        return (
            f"method full trains the base's own weights, and weights in {bits} bits cannot be "
            "trained: use bits 16 or 32, or method qlora with 4 bits"
        )
    fitting = of_bits(bits)
    allowed = " or ".join(str(count) for count in sorted(METHODS[method]))
    return f"method {method} has bits {allowed}, not {bits}: use method {fitting} with {bits} bits"


def ignored_fields(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """With full there is no adapter: fields about one that somebody has set.

    Args:
        values: a config's values.
        defaults: the values of the same fields when left out.

    Returns:
        Names, in the order of the config.
    """
    names = ("r", "lora_alpha", "lora_dropout", "target_modules")
    return [name for name in names if values[name] != defaults[name]]

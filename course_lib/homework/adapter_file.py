"""Look an adapter's file over without loading it: its form, names, shapes and numbers.

Only this module's code touches the bytes, with numpy; whatever is not exactly what the course's own
training writes for the base model is refused with a reason.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

LARGEST_HEADER = 2**20  # bytes
LENGTH_BYTES = 8
HIGHEST_RANK = 256
HIGHEST_ALPHA = 4096
SIZES = {"F32": 4, "BF16": 2}  # bytes of a number; others the course does not write
EXPONENTS = {"F32": ("<u4", 0x7F800000), "BF16": ("<u2", 0x7F80)}  # all ones: nan or infinite
PREFIX = "base_model.model."
LAYER = re.compile(r"model\.layers\.\d+\..*\.(?P<module>\w+)\.weight")
# What peft writes besides; another value is another kind of adapter, or would run other code.
PLAIN_SETTINGS = ("use_dora", "use_rslora", "lora_bias", "use_qalora", "fan_in_fan_out")


class BadAdapter(Exception):
    """An adapter is refused; the message says why, for the learner and the grader."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of a safetensors file.

    Args:
        dtype: in the format's letters, such as F32.
        shape: its sizes.
        start: its first byte behind the header.
        end: the first byte that is not its own.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Settings:
    """What shapes an adapter.

    Args:
        r: its rank.
        lora_alpha: the update is scaled by lora_alpha / r.
        targets: names of the layers that have one, sorted.
    """

    r: int
    lora_alpha: int
    targets: tuple[str, ...]

    def as_peft(self, base_model: str) -> dict[str, Any]:
        """The adapter_config.json that is loaded in place of the one that was handed in.

        Args:
            base_model: its base's name.
        """
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base_model,
            "r": self.r,
            "lora_alpha": self.lora_alpha,
            "target_modules": list(self.targets),
            "inference_mode": True,
        }


def read_header(data: bytes) -> dict[str, Tensor]:
    """Read a safetensors file's header; no tensor is made.

    Args:
        data: the whole file.

    Returns:
        Its tensors by name, in the order of their bytes.

    Raises:
        BadAdapter: it is no safetensors file, or its parts do not cover it exactly.

    Source: the format's description, https://huggingface.co/docs/safetensors: 8 bytes with the
        header's length, the header as JSON, then the tensors without gaps.
    """
    size = int.from_bytes(data[:LENGTH_BYTES], "little")
    if len(data) < LENGTH_BYTES or not 2 <= size <= min(LARGEST_HEADER, len(data) - LENGTH_BYTES):
        raise BadAdapter("the weights are no safetensors file (its header is missing or too long)")
    try:
        text = data[LENGTH_BYTES : LENGTH_BYTES + size].decode("utf-8")
        header = json.loads(text, object_pairs_hook=_dict_of_different_keys)
    except (ValueError, RecursionError) as error:
        raise BadAdapter("the weights are no safetensors file (its header is no JSON)") from error
    if type(header) is not dict:
        raise BadAdapter("the weights are no safetensors file (its header is no object)")
    if header.pop("__metadata__", {"format": "pt"}) != {"format": "pt"}:
        raise BadAdapter("the header of the weights holds texts that the course never writes")
    tensors = {name: _read_tensor(name, parts) for name, parts in header.items()}
    _check_cover(tensors, len(data) - LENGTH_BYTES - size)
    return dict(sorted(tensors.items(), key=lambda pair: pair[1].start))


def _dict_of_different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _read_tensor(name: str, parts: Any) -> Tensor:
    if type(parts) is not dict or parts.keys() != {"dtype", "shape", "data_offsets"}:
        raise BadAdapter(f"the header's part for {name[:80]!r} is not as the format asks")
    dtype, shape, offsets = parts["dtype"], parts["shape"], parts["data_offsets"]
    numbers = [*shape, *offsets] if type(shape) is list and type(offsets) is list else [None]
    if any(type(n) is not int or not 0 <= n < 2**40 for n in numbers) or len(offsets) != 2:
        raise BadAdapter(f"sizes or places of {name[:80]!r} are no whole numbers")
    if dtype not in SIZES:
        raise BadAdapter(f"{name[:80]!r} has the type {str(dtype)[:20]!r}; {' or '.join(SIZES)}")
    if prod(shape) * SIZES[dtype] != offsets[1] - offsets[0]:
        raise BadAdapter(f"{name[:80]!r} has a shape that does not fit its bytes")
    return Tensor(dtype, tuple(shape), *offsets)


def _check_cover(tensors: Mapping[str, Tensor], size: int) -> None:
    end = 0
    for tensor in sorted(tensors.values(), key=lambda t: t.start):
        if tensor.start != end:
            raise BadAdapter("the tensors of the weights overlap or leave gaps")
        end = tensor.end
    if end != size:
        raise BadAdapter("the weights are cut off, or have bytes behind their end")


def base_shapes(base_dir: Path) -> dict[str, tuple[int, int]]:
    """The linear layers of a base model that can have an adapter: rows and columns by name.

    Args:
        base_dir: a model folder with safetensors files.

    Raises:
        BadAdapter: a file there is none.
    """
    shapes: dict[str, tuple[int, int]] = {}
    for path in sorted(base_dir.glob("*.safetensors")):
        for name, tensor in read_header(path.read_bytes()).items():
            if LAYER.fullmatch(name) and len(tensor.shape) == 2:
                shapes[name.removesuffix(".weight")] = (tensor.shape[0], tensor.shape[1])
    return shapes


def read_settings(values: Any, modules: set[str]) -> Settings:
    """Read an adapter_config.json; no library of adapters ever sees it.

    Args:
        values: its JSON.
        modules: last names of the base's layers, such as q_proj.

    Raises:
        BadAdapter: it is no plain LoRA for these layers.
    """
    if type(values) is not dict or values.get("peft_type") != "LORA":
        raise BadAdapter("adapter_config.json is not that of a LoRA adapter")
    r, alpha, targets = (values.get(n) for n in ("r", "lora_alpha", "target_modules"))
    if type(r) is not int or not 1 <= r <= HIGHEST_RANK:
        raise BadAdapter(f"r is {str(r)[:20]}; a whole number from 1 to {HIGHEST_RANK} is expected")
    if type(alpha) is not int or not 1 <= alpha <= HIGHEST_ALPHA:
        raise BadAdapter(f"lora_alpha is {str(alpha)[:20]}; 1 to {HIGHEST_ALPHA} is expected")
    if type(targets) is not list or not targets or not all(type(t) is str for t in targets):
        raise BadAdapter("target_modules is no list of names")
    other = sorted(set(targets) - modules)
    if other:
        raise BadAdapter(f"the base has no layers called {', '.join(other)[:80]}")
    odd = [name for name in PLAIN_SETTINGS if values.get(name)]
    odd += [name for name in ("rank_pattern", "alpha_pattern", "modules_to_save", "auto_mapping")
            if values.get(name)]  # fmt: skip
    if odd or values.get("bias", "none") != "none":
        raise BadAdapter(f"{', '.join(odd) or 'bias'} is set: only plain LoRA can be scored")
    return Settings(r, alpha, tuple(sorted(set(targets))))


def check_weights(
    data: bytes, settings: Settings, shapes: Mapping[str, tuple[int, int]]
) -> list[str]:
    """Refuse weights that are not exactly an adapter of these settings for this base.

    Args:
        data: a safetensors file.
        settings: from `read_settings`.
        shapes: from `base_shapes`.

    Returns:
        What is odd and no reason to refuse them: an adapter that changes nothing.

    Raises:
        BadAdapter: a tensor is missing, is one too many, has another shape, or holds nan.
    """
    tensors = read_header(data)
    wanted = {}
    for name, (rows, columns) in shapes.items():
        if name.rsplit(".", 1)[-1] in settings.targets:
            wanted[f"{PREFIX}{name}.lora_A.weight"] = (settings.r, columns)
            wanted[f"{PREFIX}{name}.lora_B.weight"] = (rows, settings.r)
    missing, other = wanted.keys() - tensors.keys(), tensors.keys() - wanted.keys()
    if missing or other:
        example = sorted(missing or other)[0]
        raise BadAdapter(
            f"the weights are not those of an adapter for this base: {len(missing)} tensors are "
            f"missing and {len(other)} are too many, for example {example[:100]}"
        )
    for name, shape in wanted.items():
        if tensors[name].shape != shape:
            raise BadAdapter(
                f"{name} has the shape {tensors[name].shape}, for this base and r it is {shape}"
            )
    changes = [_check_numbers(name, t, data) for name, t in tensors.items() if "lora_B" in name]
    for name, tensor in tensors.items():
        _check_numbers(name, tensor, data)
    return [] if any(changes) else ["the adapter changes nothing: its B matrices are all 0"]


def _check_numbers(name: str, tensor: Tensor, data: bytes) -> bool:
    """Refuse nan and infinite numbers; whether any is not 0."""
    kind, mask = EXPONENTS[tensor.dtype]
    first = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    count = prod(tensor.shape)
    bits = np.frombuffer(data, np.dtype(kind), count, first + tensor.start)
    if bool(((bits & mask) == mask).any()):
        raise BadAdapter(f"{name} holds numbers that are nan or infinite")
    return bool(((bits << 1) != 0).any())

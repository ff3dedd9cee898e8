"""Bytes that a run holds all the time: weights, gradients, the optimizer's states.

- A weight takes bits / 8. NF4 adds its scales: one byte for each block of 64, and four for each 256
  of those (double quantization): 0.516 in all. Embeddings, norms and the output layer stay in the
  type that the engine holds them in.
- Trained are r * (in + out) weights for each targeted layer, or, with full, all. Each has a
  gradient of its own type.
- AdamW keeps two moments for each, of the weight's own type; in 8 bits two bytes, and for each 256
  of them a scale of four for each moment; of a table of embeddings transformers' Trainer keeps
  them in fp32. SGD keeps nothing, with momentum one number. Adafactor
  keeps one for each row and each column. Full training in 16 bits keeps a copy of the weights in
  fp32 as well ("master weights"), and then its states are in fp32.

Source: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3 (NF4); Dettmers et al. 2022,
"8-bit optimizers via block-wise quantization", arXiv:2110.02861; Shazeer and Stern 2018,
"Adafactor", arXiv:1804.04235; Micikevicius et al. 2018, "Mixed precision training",
arXiv:1710.03740.
"""

from math import ceil, prod

from course_lib.model import shapes
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape

NF4_BLOCK, NF4_SUPER_BLOCK = 64, 256
NF4_BYTES = 1 / 2 + 1 / NF4_BLOCK + 4 / (NF4_BLOCK * NF4_SUPER_BLOCK)
OPTIMIZER_BLOCK = 256  # bitsandbytes: 8-bit states that share a scale
SMALL = 4096  # bitsandbytes: a weight with fewer numbers keeps its states in fp32
PAGED = 100_000  # bitsandbytes: a weight with fewer numbers keeps its states on the device
FP32 = 4

Sizes = tuple[int, ...]


def base_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of the base's weights.

    Args:
        shape: of the base.
        setting: of the run.
    """
    return round(shape.linear_weights * linear_bytes(setting)) + other_bytes(shape, setting)


def other_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of embeddings, norms, output layer and biases."""
    return shape.other_weights * setting.numbers.other_bytes


def linear_bytes(setting: Setting) -> float:
    """Bytes of one weight in a linear layer of the base."""
    if setting.is_full:
        return trained_bytes(setting)
    return {4: NF4_BYTES, 8: 1, 16: setting.numbers.compute_bytes, 32: FP32}[setting.base_bits]


def trained_weights(shape: Shape, setting: Setting) -> list[Sizes]:
    """The sizes of each weight that is trained.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        Two for each targeted layer; or, with full, all of the base's.

    Raises:
        ModelError: no layer has one of the target names.
    """
    if setting.is_full:
        return [*((o, i) for _, i, o in shape.linears), *(sizes for _, sizes in shape.others)]
    targets = shapes.find_targets(shape, setting.target_modules)
    return [sizes for _, i, o in targets for sizes in ((setting.r, i), (o, setting.r))]


def adapter_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of the adapter's weights; none with full."""
    count = 0 if setting.is_full else _count(trained_weights(shape, setting))
    return count * setting.numbers.adapter_bytes


def gradient_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of a gradient for each trained weight."""
    if setting.is_full:
        return base_bytes(shape, setting)
    return adapter_bytes(shape, setting)


def state_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of what the optimizer keeps from step to step, master weights included.

    Args:
        shape: of the base.
        setting: of the run. Under ZeRO, DeepSpeed keeps a copy of what it trains in fp32, of
            weights in fp32 too; it is one of the things that are divided.
    """
    trained = trained_weights(shape, setting)
    has_master = has_master_weights(setting)
    each = FP32 if has_master else trained_bytes(setting)
    master = FP32 * _count(trained) if has_master else 0
    return (
        master
        + _table_extra(shape, setting)
        + sum(_states(sizes, setting.optimizer, each) for sizes in trained)
    )


def pageable_bytes(shape: Shape, setting: Setting) -> int:
    """Of the optimizer's states, those that CUDA moves to the machine's memory when it must."""
    if setting.optimizer != "paged_adamw_8bit":
        return 0
    large = [sizes for sizes in trained_weights(shape, setting) if prod(sizes) >= PAGED]
    paged = sum(_states(sizes, setting.optimizer, FP32) for sizes in large)
    return paged + _table_extra(shape, setting, PAGED)


def _table_extra(shape: Shape, setting: Setting, fewest: int = 0) -> int:
    """What 8-bit AdamW takes more for the table of embeddings: there transformers keeps 32 bits."""
    if not (setting.is_full and "8bit" in setting.optimizer):
        return 0
    tables = [sizes for name, sizes in shape.others if "embed" in name and prod(sizes) >= fewest]
    in_fp32, in_8_bits = (
        sum(_states(sizes, optimizer, FP32) for sizes in tables)
        for optimizer in ("adamw", setting.optimizer)
    )
    return in_fp32 - in_8_bits


def has_master_weights(setting: Setting) -> bool:
    """Whether an fp32 copy of the trained weights is kept beside them."""
    is_mixed = setting.is_full and setting.base_bits == 16 and setting.engine.has_master_weights
    return setting.zero > 0 or is_mixed


def trained_bytes(setting: Setting) -> int:
    """Bytes of one trained weight; with full and autocast all of the base is held in fp32."""
    numbers = setting.numbers
    if not setting.is_full:
        return numbers.adapter_bytes
    return FP32 if numbers.has_autocast else numbers.compute_bytes


def _states(sizes: Sizes, optimizer: str, each: int) -> int:
    """Bytes of the states of one weight; `each` for a number of its own type."""
    count = prod(sizes)
    if optimizer == "sgd":
        return 0
    if optimizer == "sgd_momentum":
        return count * each
    if optimizer == "adafactor":
        return FP32 * (sum(sizes) if len(sizes) == 2 else count)
    if optimizer == "adamw":
        return 2 * count * each
    if count < SMALL:
        return 2 * count * FP32
    return 2 * (count + FP32 * ceil(count / OPTIMIZER_BLOCK))


def _count(weights: list[Sizes]) -> int:
    return sum(map(prod, weights))

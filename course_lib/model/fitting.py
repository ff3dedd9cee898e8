"""What fits on a GPU: the usual ways to train a model, and the longest row of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from course_lib import files
from course_lib.errors import ConfigError
from course_lib.model import engines, estimate
from course_lib.model.estimate import Memory
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape

USUAL_GIB = (8, 24, 80)
LONGEST = 131_072  # tokens: no row of the course is longer


@dataclass(frozen=True)
class Fit:
    """One way to train, and whether it fits.

    Attributes:
        name: in words.
        setting: all of it.
        memory: at its peak, on each device.
        fits: for each size of GPU in GiB.
        longest: for each size, the most tokens in a row that fit; 0 when none does.
    """

    name: str
    setting: Setting
    memory: Memory
    fits: dict[float, bool]
    longest: dict[float, int]


def usual_settings(length: int = 2048, rows: int = 1) -> dict[str, Setting]:
    """The usual ways to train, from what needs most to what needs least.

    Args:
        length: tokens in a row.
        rows: in a micro batch.

    Returns:
        Settings by name.

    Raises:
        ConfigError: no run can have this length or number of rows.
    """
    full = Setting("full", length, rows)
    again = {"gradient_checkpointing": True}
    lora, qlora = Setting("lora", length, rows), Setting("qlora", length, rows)
    bf16, lean = engines.find_engine("bf16"), engines.find_engine("lean")
    return {
        "full": full,
        "full, checkpointing": replace(full, **again),
        "full, checkpointing, all bf16": replace(full, **again, engine=bf16),
        "full, checkpointing, all bf16, Adafactor": replace(
            full, **again, engine=bf16, optimizer="adafactor"
        ),
        "LoRA": lora,
        "LoRA, checkpointing": replace(lora, **again),
        "QLoRA": qlora,
        "QLoRA, checkpointing": replace(qlora, **again),
        "QLoRA, checkpointing, 8-bit AdamW": replace(qlora, **again, optimizer="adamw_8bit"),
        "QLoRA, checkpointing, lean": replace(qlora, **again, engine=lean),
    }


def what_fits(
    shape: Shape,
    sizes_gib: Sequence[float] = USUAL_GIB,
    settings: Mapping[str, Setting] | None = None,
) -> list[Fit]:
    """Say which ways to train a model fit on GPUs of these sizes.

    Args:
        shape: of the base.
        sizes_gib: memory of one GPU, in GiB; a GPU sold with 8 GB has 8 GiB.
        settings: by name; the usual ones when left out.

    Returns:
        A line for each setting, in its order. A setting fits when its peak and the context of CUDA
        do; what torch's allocator holds in reserve is not known, so a GPU filled to the last
        hundred MiB may still be too small.

    Raises:
        ConfigError: a size is not above 0.
    """
    for size in sizes_gib:
        if not size > 0:
            raise ConfigError(f"A GPU of {size!r} GiB does not exist.", "Give a size above 0.")
    found = []
    for name, setting in (usual_settings() if settings is None else settings).items():
        memory = estimate.estimate_memory(shape, setting)
        fits = {size: memory.on_gpu <= size * estimate.GIB for size in sizes_gib}
        longest = {size: longest_row(shape, setting, size) for size in sizes_gib}
        found.append(Fit(name, setting, memory, fits, longest))
    return found


def longest_row(shape: Shape, setting: Setting, size_gib: float) -> int:
    """The most tokens in a row with which a setting fits.

    Args:
        shape: of the base.
        setting: its own length is of no account.
        size_gib: memory of one GPU.

    Returns:
        Tokens, at most `LONGEST`; 0 when not even one fits.
    """
    low, high = 0, LONGEST + 1  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        memory = estimate.estimate_memory(shape, replace(setting, length=middle))
        if memory.on_gpu <= size_gib * estimate.GIB:
            low = middle
        else:
            high = middle
    return low


def fits_table(fits: Sequence[Fit]) -> list[tuple[str, ...]]:
    """What fits, as rows of text; the first one is the head.

    Args:
        fits: from `what_fits`.

    Returns:
        Name, GiB at the peak with the context of CUDA, and for each size the longest row or "no".
    """
    sizes = list(fits[0].fits) if fits else []
    head = ("way to train", "peak", *(f"{size:g} GiB" for size in sizes))
    rows = [head]
    for fit in fits:
        cells = (_cell(fit.fits[size], fit.longest[size]) for size in sizes)
        rows.append((fit.name, files.size_in_words(fit.memory.on_gpu), *cells))
    return rows


def _cell(does_fit: bool, longest: int) -> str:
    if does_fit:
        return f"yes, up to {longest:,}"
    return f"no, up to {longest:,}" if longest else "no"

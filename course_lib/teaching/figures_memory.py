"""Figures of where memory goes, legible on light and dark pages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib import files
from course_lib.concepts import zero
from course_lib.errors import DataError
from course_lib.model import estimate
from course_lib.model.estimate import GIB, Memory
from course_lib.teaching.figures import TEXT_COLOR, LessonFigure

COLORS = {  # of parts of memory, far apart for colour-blind eyes too, on white and on black
    "weights": "#5b8def",
    "base": "#5b8def",
    "adapter": "#2a9d8f",
    "gradients": "#e9a23b",
    "optimizer": "#d1495b",
    "optimizer states": "#d1495b",
    "activations": "#8d6cab",
    "logits": "#c98bb9",
    "room": "#9aa0a6",
}
RECORDED_RUNS = files.REPO_DIR / "benchmarks" / "results" / "gpu.jsonl"
SIZE_COLUMNS = ("model", "tokens", "packs", "optim")
RUN_COLUMNS = (*SIZE_COLUMNS, "step_ms", "allocated_gib", "gpu", "date")
MOST_DEVICES = 8  # more would be too small to read


def memory_bars(memories: Mapping[str, Memory], sizes_gib: Sequence[float] = ()) -> LessonFigure:
    """Where memory goes, as a bar for each setting, or for each moment of a step.

    Args:
        memories: by name, from `estimate.estimate_memory` or `estimate.estimate_moments`.
        sizes_gib: GPUs to compare with, each a dashed line.

    Returns:
        A matplotlib figure; x is GiB on one device (MiB for small models), the CUDA context
        left out.

    Raises:
        DataError: there is nothing to draw.
    """
    if not memories:
        raise DataError("There is nothing to draw: no memory.", "Estimate a setting first.")
    unit, words = _unit(max(memory.total for memory in memories.values()))
    figure, axes = _new_figure(0.9 + 0.38 * len(memories))
    places = range(len(memories))
    left = [0.0] * len(memories)
    for part in estimate.PARTS:
        widths = [memory.parts()[part] / unit for memory in memories.values()]
        if any(widths):
            axes.barh(places, widths, 0.7, left=left, label=part, color=COLORS[part])
            left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, total in zip(places, left, strict=True):
        axes.text(total, place, f" {total:.1f}", va="center", color=TEXT_COLOR, fontsize=9)
    for size in sizes_gib:
        place = size * GIB / unit
        axes.axvline(place, color=TEXT_COLOR, linestyle="--", linewidth=1)
        axes.text(place, -0.5, f" {size:g} GiB", va="bottom", color=TEXT_COLOR, fontsize=8)
    axes.set_yticks(places, list(memories))
    axes.set_ylim(len(memories) - 0.4, -1.0 if sizes_gib else -0.6)
    axes.set_xlim(0, 1.1 * max(left))
    axes.set_xlabel(words, color=TEXT_COLOR)
    _finish(axes)
    axes.legend(frameon=False, labelcolor=TEXT_COLOR, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def zero_devices(stages: Mapping[str, Sequence[zero.Device]]) -> LessonFigure:
    """Who holds what under ZeRO: a row for each stage, a column for each device.

    Args:
        stages: devices by the row's name, from `zero.who_holds_what`; the first 8 are drawn.

    Returns:
        A matplotlib figure. In each box a line is the whole of one thing; the filled part is what
        this device holds of it, hatched where it lies in the machine's memory.

    Raises:
        DataError: there is nothing to draw, or the rows have different devices.
    """
    counts = {len(devices) for devices in stages.values()}
    if len(counts) != 1 or 0 in counts:
        raise DataError(
            f"There is nothing to draw: {sorted(counts)} devices in {len(stages)} rows.",
            "Give each row the same number of devices, 1 or more.",
        )
    count, drawn = counts.pop(), 0
    columns = min(count, MOST_DEVICES)
    figure, grid = _new_grid(len(stages), columns)
    for (name, devices), row in zip(stages.items(), grid, strict=True):
        for device, axes in zip(devices[:columns], row, strict=True):
            _draw_device(axes, device, labels=drawn % columns == 0)
            drawn += 1
        row[0].set_ylabel(name, color=TEXT_COLOR, fontsize=8)
    hidden = f" (the first {columns} of {count})" if columns < count else ""
    figure.suptitle(f"What each device holds{hidden}", color=TEXT_COLOR, fontsize=10)
    return figure


def _draw_device(axes: Any, device: zero.Device, labels: bool) -> None:
    for place, (name, share) in enumerate(device.shares.items()):
        axes.barh(place, 1, 0.7, facecolor="none", edgecolor=TEXT_COLOR, linewidth=0.8)
        color, width = COLORS[name], share.end - share.start
        look = {"color": color}
        if share.is_moved_out:
            look = {"facecolor": "none", "edgecolor": color, "hatch": "////", "linewidth": 1}
        axes.barh(place, width, 0.7, left=share.start, **look)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(len(device.shares) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(device.shares)), list(device.shares) if labels else [])
    axes.tick_params(colors=TEXT_COLOR, length=0, labelsize=8)
    host = f"\n+ {files.size_in_words(device.host_bytes)} outside" if device.host_bytes else ""
    title = f"device {device.number}: {files.size_in_words(device.nbytes)}{host}"
    axes.set_title(title, color=TEXT_COLOR, fontsize=8)
    _frame(axes)


def _new_figure(height: float) -> tuple[LessonFigure, Any]:
    figure = LessonFigure(figsize=(8, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _new_grid(rows: int, columns: int) -> tuple[LessonFigure, Any]:
    figure = LessonFigure(figsize=(1.2 + 1.7 * columns, 0.5 + 1.1 * rows), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.patch.set_alpha(0)
    return figure, grid


def _unit(largest: int) -> tuple[int, str]:
    return (GIB, "GiB on one device") if largest >= GIB else (2**20, "MiB on one device")


def _finish(axes: Any) -> None:
    axes.tick_params(colors=TEXT_COLOR)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    _frame(axes)


def _frame(axes: Any) -> None:
    for spine in axes.spines.values():
        spine.set_color(TEXT_COLOR)
        spine.set_alpha(0.5)


def recorded_runs(path: Path = RECORDED_RUNS) -> list[dict[str, Any]]:
    """Our own training steps as measured on a GPU, the newest of each size.

    Args:
        path: JSON lines that `python -m benchmarks.gpu` wrote.

    Returns:
        Model, tokens of a row, rows, optimizer, milliseconds of a step, GiB at the peak, GPU, date.

    Raises:
        DataError: the file is missing or damaged.
    """
    ours = [run for run in files.read_jsonl(path) if run["arm"] == "tunebook"]
    newest = {tuple(run[name] for name in SIZE_COLUMNS): run for run in ours}
    return [{name: run[name] for name in RUN_COLUMNS} for run in newest.values()]

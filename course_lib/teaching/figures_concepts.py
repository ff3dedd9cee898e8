"""Figures of lesson 01: who sees whom in a pack, and where the values of 4 bits lie."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from course_lib.concepts import nf4
from course_lib.errors import DataError
from course_lib.teaching import figures

OWN, OTHER = figures.COLORS["unseen"], figures.COLORS["near"]
BARS = 60  # of the histogram


def visibility(panels: Mapping[str, torch.Tensor], lengths: Sequence[int]) -> figures.LessonFigure:
    """Draw which token of a pack sees which.

    Args:
        panels: title and truth values, (tokens, tokens), of each panel; row t, column s says that
            token t sees token s.
        lengths: tokens of each row of the pack.

    Returns:
        A matplotlib figure: seen in one's own row, seen in another row, and not seen.

    Raises:
        DataError: there is nothing to draw, or the lengths are not those of the tokens.
    """
    count = sum(lengths)
    shapes = {tuple(sees.shape) for sees in panels.values()}
    if not panels or min(lengths, default=0) < 1 or shapes != {(count, count)}:
        found = ", ".join(str(shape) for shape in shapes) or "none"
        raise DataError(
            f"Rows of {list(lengths)} tokens do not fit to tables of {found}.",
            "Give the lengths of one pack, and for each panel its table of tokens by tokens.",
        )
    row_of = [number for number, length in enumerate(lengths) for _ in range(length)]
    made = _new_figure(7, 7 / len(panels) * 0.92 + 0.4)
    for number, (title, sees) in enumerate(panels.items(), 1):
        axes = made.add_subplot(1, len(panels), number)
        axes.imshow(_colors(sees, row_of), interpolation="nearest")
        axes.set_title(title, color=figures.TEXT_COLOR, fontsize=10)
        axes.set_xlabel("is seen", color=figures.TEXT_COLOR)
        axes.set_ylabel("looks", color=figures.TEXT_COLOR)
        for end in [sum(lengths[:n]) - 0.5 for n in range(1, len(lengths))]:
            axes.axhline(end, color=figures.TEXT_COLOR, linewidth=0.6)
            axes.axvline(end, color=figures.TEXT_COLOR, linewidth=0.6)
        _soften(axes)
    return made


def _colors(sees: torch.Tensor, row_of: Sequence[int]) -> list[list[tuple[float, ...]]]:
    """Red, green, blue and opacity of each square."""
    own, other, none = _rgba(OWN), _rgba(OTHER), (0.0, 0.0, 0.0, 0.0)
    return [
        [
            (own if row_of[looks] == row_of[seen] else other) if is_seen else none
            for seen, is_seen in enumerate(line)
        ]
        for looks, line in enumerate(sees.tolist())
    ]


def _rgba(color: str) -> tuple[float, ...]:
    return (*(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def code_books(
    weights: torch.Tensor, names: Sequence[str] = ("nf4", "int4", "fp4")
) -> figures.LessonFigure:
    """Draw how weights are spread, and where each code book puts its values.

    Args:
        weights: of a layer; they are scaled block by block as in quantization.
        names: of code books.

    Returns:
        A matplotlib figure: a histogram, and below it a line of marks for each code book.

    Raises:
        UnknownNameError: there is no such code book.
        DataError: no code book is named.
        ModelError: the weights cannot be quantized.
    """
    if not names:
        raise DataError("No code book is named.", f"Choose among {', '.join(nf4.CODE_BOOKS)}.")
    books = {name: nf4.code_book(name) for name in names}
    scales = nf4.quantize(weights).absmax.repeat_interleave(nf4.BLOCK)[: weights.numel()]
    scaled = weights.detach().float().reshape(-1) / scales.clamp(min=nf4.TINY)
    made = _new_figure(7, 3.2)
    axes = made.add_subplot()
    heights = torch.histc(scaled, BARS, -1, 1)
    places = (torch.arange(BARS) + 0.5) * 2 / BARS - 1
    heights = heights / heights.max()
    axes.bar(places.tolist(), heights.tolist(), 2 / BARS, color=figures.COLORS["seen"], alpha=0.6)
    for line, (name, book) in enumerate(books.items(), 1):
        height = [-0.22 * line] * len(book)
        axes.plot(book.tolist(), height, "|", markersize=14, markeredgewidth=2, color=OWN)
        axes.text(1.06, height[0], name, color=figures.TEXT_COLOR, va="center")
    axes.set_xlim(-1.08, 1.3)
    axes.set_xticks([-1, -0.5, 0, 0.5, 1])
    axes.set_yticks([])
    axes.set_xlabel("weight / largest weight of its block", color=figures.TEXT_COLOR)
    _soften(axes)
    return made


def _new_figure(width: float, height: float) -> figures.LessonFigure:
    made = figures.LessonFigure(figsize=(width, height), layout="constrained")
    made.patch.set_alpha(0)
    return made


def _soften(axes: Any) -> None:
    axes.patch.set_alpha(0)
    axes.tick_params(colors=figures.TEXT_COLOR)
    for spine in axes.spines.values():
        spine.set_color(figures.TEXT_COLOR)
        spine.set_alpha(0.5)

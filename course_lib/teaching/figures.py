"""Figures of the lessons, legible on light and dark pages."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from course_lib.errors import DataError

DOTS_PER_INCH = 110
TEXT_COLOR = "#808080"  # readable on white and on black
COLORS = {
    "unseen": "#2a9d8f",
    "validation": "#2a9d8f",
    "retained": "#e9a23b",
    "near": "#d1495b",
    "seen": "#5b8def",
}


class LessonFigure(Figure):
    """A figure that a notebook shows by itself, with no plotting backend chosen."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=DOTS_PER_INCH)
        return picture.getvalue()


def checkpoint_curve(
    records: Sequence[Mapping[str, Any]], measures: Sequence[str] = ("validation", "retained")
) -> LessonFigure:
    """Scores over the checkpoints of a run.

    Args:
        records: of scores.jsonl: `step` and each measure as a share from 0 to 1.
        measures: which to draw.

    Returns:
        A matplotlib figure; x is optimizer steps, y percent.

    Raises:
        DataError: there are no records, or a measure is missing in one.
    """
    _check(records, measures)
    figure, axes = _new_figure()
    steps = [record["step"] for record in records]
    for measure in measures:
        values = [100 * record[measure] for record in records]
        axes.plot(steps, values, marker="o", label=measure, color=COLORS.get(measure))
    axes.set_xlabel("optimizer steps", color=TEXT_COLOR)
    axes.set_xticks(steps)
    _finish(axes)
    return figure


def loss_curve(
    log: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]] = ()
) -> LessonFigure:
    """The loss while a run learns, and on rows that it does not learn from.

    Args:
        log: of log.jsonl: records with `step` and `loss`; other events are left out.
        held_out: `step` and `loss` of each checkpoint.

    Returns:
        A matplotlib figure; x is optimizer steps, y nats for each token.

    Raises:
        DataError: the log has no losses, or a held-out record lacks its own.
    """
    trained = [record for record in log if record.get("loss") is not None]
    _check(trained, ("step",))
    figure, axes = _new_figure()
    curves = {"training": (trained, "seen", ""), "held out": (held_out, "unseen", "o")}
    for label, (records, color, marker) in curves.items():
        if records:
            _check(records, ("step", "loss"))
            steps, losses = [r["step"] for r in records], [r["loss"] for r in records]
            axes.plot(steps, losses, marker=marker, label=label, color=COLORS[color])
    axes.set_xlabel("optimizer steps", color=TEXT_COLOR)
    _finish(axes)
    axes.set_ylabel("loss", color=TEXT_COLOR)
    axes.set_ylim(0, 1.05 * max(record["loss"] for record in (*trained, *held_out)))
    return figure


def recipe_bars(
    rows: Sequence[Mapping[str, Any]], measures: Sequence[str] = ("unseen", "retained", "near")
) -> LessonFigure:
    """Scores of several recipes side by side.

    Args:
        rows: `recipe` and each measure as a share from 0 to 1.
        measures: which to draw.

    Returns:
        A matplotlib figure; one group of bars for each recipe, y percent.

    Raises:
        DataError: there are no rows, or a measure is missing in one.
    """
    _check(rows, measures)
    figure, axes = _new_figure()
    width = 0.8 / len(measures)
    for number, measure in enumerate(measures):
        places = [place + number * width for place in range(len(rows))]
        values = [100 * row[measure] for row in rows]
        axes.bar(places, values, width, label=measure, color=COLORS.get(measure))
    centers = [place + width * (len(measures) - 1) / 2 for place in range(len(rows))]
    axes.set_xticks(centers, [row["recipe"] for row in rows])
    _finish(axes)
    return figure


def _check(rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> None:
    if not rows:
        raise DataError("There is nothing to draw: no scores.", "Run the cells above first.")
    for number, row in enumerate(rows, 1):
        missing = [measure for measure in measures if row.get(measure) is None]
        if missing:
            raise DataError(
                f"Row {number} has no {' and no '.join(missing)}.",
                f"Choose measures among {', '.join(row)}.",
            )


def _new_figure() -> tuple[LessonFigure, Any]:
    figure = LessonFigure(figsize=(7, 3.2), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    return figure, axes


def _finish(axes: Any) -> None:
    axes.set_ylim(-2, 104)
    axes.set_ylabel("percent", color=TEXT_COLOR)
    axes.tick_params(colors=TEXT_COLOR)
    axes.grid(axis="y", alpha=0.25)
    for spine in axes.spines.values():
        spine.set_color(TEXT_COLOR)
        spine.set_alpha(0.5)
    axes.legend(frameon=False, labelcolor=TEXT_COLOR, loc="center left", bbox_to_anchor=(1, 0.5))

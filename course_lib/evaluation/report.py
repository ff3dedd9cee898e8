"""Before and after tuning, as plain rows for a report card."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from course_lib.errors import DataError

LOWER_IS_BETTER = ("near", "parrot", "loss", "over_calling")


def compare(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    lower_is_better: Collection[str] = LOWER_IS_BETTER,
) -> list[dict[str, Any]]:
    """Set two scores of one kind side by side.

    Args:
        before: measures of the base model; only plain numbers count, so a score's `as_json()`
            fits.
        after: the same measures of the tuned model.
        lower_is_better: the measures that a good change makes smaller.

    Returns:
        One row for each measure, in the order of `before`: `measure`, `before`, `after`,
        `change`, and `is_better` (None when nothing changed).

    Raises:
        DataError: a measure is on one side only, or there is none.
    """
    measures = [name for name in before if _is_number(before[name])]
    others = [name for name in after if _is_number(after[name])]
    lonely = sorted(set(measures) ^ set(others))
    if lonely or not measures:
        raise DataError(
            f"Scores cannot be compared: {', '.join(lonely) or 'no measure'} on one side only.",
            "Score both models with the same function and the same arguments.",
        )
    rows = []
    for name in measures:
        change = after[name] - before[name]
        is_better = None if change == 0 else (change < 0) == (name in lower_is_better)
        rows.append(
            {
                "measure": name,
                "before": before[name],
                "after": after[name],
                "change": change,
                "is_better": is_better,
            }
        )
    return rows


def retained_share_of_base(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """How much of what the base model knew the tuned model still knows.

    Args:
        before: a score with `retained`, of the base model.
        after: the same of the tuned model, on the same questions.

    Returns:
        after / before; 1 when nothing is lost, above 1 when something was gained.

    Raises:
        DataError: `retained` is missing, or the base model knew nothing.
    """
    for side, score in (("before", before), ("after", after)):
        if not _is_number(score.get("retained")):
            raise DataError(
                f"The score {side} has no `retained`: {sorted(score)}.",
                "Use assistant.score_assistant, which asks the world questions too.",
            )
    if before["retained"] == 0:
        raise DataError(
            "The base model answered no world question right, so there is nothing to retain.",
            "Check that the base model is a chat model and was loaded whole.",
        )
    return after["retained"] / before["retained"]


def report_row(
    lesson: str,
    compared: Mapping[str, Any],
    n: int,
    goal: float | None = None,
    lower_is_better: Collection[str] = LOWER_IS_BETTER,
) -> dict[str, Any]:
    """One line of the report card: what a lesson changed, on how many held-out items.

    Args:
        lesson: the lesson's name, such as "04 personal assistant".
        compared: one row of `compare`.
        n: how many items stand behind each value.
        goal: what the lesson asks for; None for no goal.
        lower_is_better: the measures whose goal is an upper limit.

    Returns:
        The row with `lesson`, `n`, `goal` and `is_reached` (None without a goal).

    Raises:
        DataError: nothing was measured, or the goal is not a finite number.
    """
    if n < 1 or not (goal is None or _is_number(goal)):
        raise DataError(
            f"{lesson}, {compared['measure']}: n is {n}, goal is {goal!r}.",
            "Measure at least one item, and give the goal as a number.",
        )
    is_reached = None
    if goal is not None:
        is_upper = compared["measure"] in lower_is_better
        is_reached = compared["after"] <= goal if is_upper else compared["after"] >= goal
    return {"lesson": lesson, **compared, "n": n, "goal": goal, "is_reached": is_reached}


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)

"""Visible checks of lesson 00: three small functions, and how the checks themselves are used."""

from typing import Any

from course_lib.homework.checks import (
    Ask,
    Wrong,
    check,
    is_close,
    require,
    require_dict,
    require_list,
    require_number,
    require_text,
)


@check(
    "introduce",
    points=1,
    hints=[
        "The sentence must hold the name that is given, whichever it is. In the cell of the "
        "answer it is called `name`.",
        'A text with an f before its quotes takes in what stands in braces: f"Hello {name}".',
        'Only "Ada" changes in the sentence of the task; "I am", the \'s and the full stop stay.',
    ],
)
def check_introduce(ask: Ask) -> None:
    """Two names, two sentences."""
    ada, bo = ask("introduce", "Ada"), ask("introduce", "Bo")
    is_filled = "{" in require_text(ada, "the sentence") or ada != bo
    require(
        is_filled,
        "It says the same whatever the name: the name stands in the text itself. "
        "Use what is given, `name`.",
    )
    judge_sentence(ada, "Ada")
    judge_sentence(bo, "Bo")


def judge_sentence(answer: Any, name: str) -> None:
    """Whether the sentence is the one of the task, with this name in it.

    Args:
        answer: what the learner's function handed back.
        name: what it was given.

    Raises:
        Wrong: says what about it.
    """
    text = require_text(answer, "the sentence")
    found = f"For the name {name} there is {text[:60]!r}."
    require("{" not in text, f"The braces are still in the text: put an f before it. {found}")
    require(name in text, f"The name is not in the sentence. {found}")
    require(text.endswith("."), f"The sentence should end with its full stop. {found}")
    require(
        f" {name}'s " in text,
        f"Before the name belongs a blank, behind it 's and a blank. {found}",
    )
    require(
        text == f"I am {name}'s assistant.",
        f"The other words are not those of the task, to the last blank. {found}",
    )


BEFORE = {"unseen": 0, "near": 2, "retained": 98, "ended": 90}
AFTER = {"unseen": 96, "near": 17, "retained": 88, "ended": 91}


@check(
    "what_moved",
    points=1,
    hints=[
        "Go through the names in `before`. For each one, how far is it from its value before to "
        "its value after?",
        "`change = after[name] - before[name]` is positive for up, negative for down.",
        "Up when change >= least; down when change <= -least. Else it goes into neither list.",
    ],
)
def check_what_moved(ask: Ask) -> None:
    """Two up, one down by exactly the least, one that stays."""
    judge_moved(ask("what_moved", BEFORE, AFTER, 10), BEFORE, AFTER, 10)


def judge_moved(answer: Any, before: dict[str, int], after: dict[str, int], least: int) -> None:
    """Whether each measure stands in the list where it belongs.

    Args:
        answer: what the learner's function handed back.
        before: the shares before, in percent.
        after: the shares after.
        least: points from which on a change counts.

    Raises:
        Wrong: names a measure and where it stands.
    """
    parts = require_dict(answer, "the answer", ["up", "down"])
    up, down = (require_list(parts[side], f"the list {side!r}") for side in ("up", "down"))
    require(
        all(type(name) is str for name in up + down), "Both lists should hold names of measures."
    )
    for name in before:
        change = after[name] - before[name]
        went = f"{name} went from {before[name]} to {after[name]}"
        is_up, is_down = change >= least, change <= -least
        right = "up" if is_up else "down" if is_down else "neither list"
        found = "up" if name in up else "down" if name in down else "neither list"
        if right == "neither list" and found != right:
            raise Wrong(f"{went}: that is less than {least} points, yet it stands in {found!r}.")
        if abs(change) == least and found == "neither list":
            raise Wrong(f"{went}: a change of exactly {least} points counts too.")
        require(found == right, f"{went}, and it stands in {found}.")
    require(len(up) + len(down) == len(set(up + down)), "A measure stands there twice.")
    require(
        all(name in before for name in up + down),
        "There is something that is no measure of the table.",
    )
    require(
        [*up, *down] == [n for side in (up, down) for n in before if n in side],
        "Keep the order of the table in both lists.",
    )


SHAPES = [[4, 6], [10, 3]]


@check(
    "count_adapter",
    points=1,
    hints=[
        "Take one matrix first: 4 rows, 6 columns, r = 2. The tall matrix has 4 x 2 numbers. "
        "How many has the wide one?",
        "For one matrix it is r * rows + r * columns.",
        "Start with a total of 0 and add each matrix's numbers to it in a loop; hand the total "
        "back behind the loop.",
    ],
)
def check_count_adapter(ask: Ask) -> None:
    """Two matrices, r = 2."""
    judge_count(ask("count_adapter", SHAPES, 2), SHAPES, 2)


def judge_count(answer: Any, shapes: list[list[int]], r: int) -> None:
    """Whether an adapter's numbers are counted, and if not, what was counted.

    Args:
        answer: what the learner's function handed back.
        shapes: rows and columns of each matrix.
        r: of the adapter.

    Raises:
        Wrong: says which count this is.
    """
    found = require_number(answer, "the count")
    sums = [rows + columns for rows, columns in shapes]
    right = r * sum(sums)
    looks = {
        sum(r * rows * columns for rows, columns in shapes): "Here r, rows and columns were all "
        "multiplied. Each thin matrix has only two sides.",
        sum(rows * columns for rows, columns in shapes): "That counts the model's own matrices. "
        "The adapter is what lies beside them.",
        r * sum(rows for rows, _ in shapes): "Only the tall matrices are counted; each has a "
        "wide one beside it.",
        r * sum(columns for _, columns in shapes): "Only the wide matrices are counted; each has "
        "a tall one beside it.",
        sum(sums): "r makes no difference: it is a side of both thin matrices.",
        r * sums[0]: "Only the first matrix is counted. Does `return` stand inside the loop?",
        r * sums[-1]: "Only the last matrix is counted. The total must grow with each one.",
    }
    if is_close(found, right):
        return
    for count, message in looks.items():
        if is_close(found, count):
            raise Wrong(message)
    raise Wrong(f"{found:g} is not the count of both thin matrices, over all that are listed.")

"""How answers of lesson 03 are judged: right or not, and what a mistake looks like."""

import json
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from course_lib.homework.checks import (
    Wrong,
    is_close,
    require,
    require_dict,
    require_ints,
    require_list,
    require_number,
    require_text,
)

SHARES = ("invented", "refused")
KINDS = ("exact", "normalised", "near", "new")
Record = dict[str, str]  # a row of a sheet: column name to text


# ---------------------------------------------------------------- JSON lines


def judge_jsonl(answer: Any, rows: Sequence[Any]) -> None:
    """Whether a text is true JSON lines, and if not, what it is.

    Args:
        answer: what the learner's function handed back.
        rows: what it was given.

    Raises:
        Wrong: says which line, and what about it.
    """
    text = require_text(answer, "the answer")
    if not rows:
        require(text == "", "No rows make an empty text: a line break alone is a line, too.")
        return
    require(_load(text) != rows, "That is one JSON array: a reader by lines finds no row in it.")
    require(
        text.endswith("\n"),
        "The last line has no line break behind it: the next row would be written onto it.",
    )
    lines = text[:-1].split("\n")
    for number, line in enumerate(lines, 1):
        found = _load(line)
        if found is None:
            raise Wrong(f"Line {number} is not JSON by itself: {line[:50]!r}. {_says_line(line)}")
        require(
            type(found) is dict,
            f"Line {number} holds {line[:50]!r}: JSON, but no object with a row's fields.",
        )
    require(len(lines) == len(rows), f"{len(rows)} rows became {len(lines)} lines.")
    for number, (line, row) in enumerate(zip(lines, rows, strict=True), 1):
        require(_load(line) == row, f"Line {number}, read again, is not the row that was given.")


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _says_line(line: str) -> str:
    if line == "":
        return "It is blank."
    if line.endswith(","):
        return "There is a comma behind it: lines stand for themselves."
    if line.startswith(("{'", "[{'")):
        return "Python prints a dict with single quotes; JSON wants double ones: json.dumps."
    return "A row must not be spread over several lines."


# ---------------------------------------------------------------- invented medicines


def judge_shares(
    answer: Any, right: Sequence[float | None], n: Sequence[int], rule: str = ""
) -> None:
    """Whether both shares are right, and if not, how they were counted.

    Args:
        answer: what the learner's function handed back.
        right: both shares, in the order of `SHARES`; None where there is nothing to count.
        n: answers on unknown names and on known ones.
        rule: said in place of what a wrong share looks like.

    Raises:
        Wrong: says which share, and what it looks like.
    """
    shares = require_dict(answer, "the answer", SHARES)
    for place, (key, group) in enumerate(zip(SHARES, ("unknown", "known"), strict=True)):
        if right[place] is None:
            require(
                shares[key] is None,
                f"{key}: with no answer on a name that is {group}, there is no share: None.",
            )
            continue
        found = require_number(shares[key], f"the share {key}")
        if not is_close(found, right[place]):
            says = f"is not right. {rule}" if rule else _says_share(found, right, n, place)
            raise Wrong(f"{key} = {found:.4g} {says}")


def _says_share(found: float, right: Sequence[float | None], n: Sequence[int], place: int) -> str:
    wanted, other = right[place], right[1 - place]
    group = ("unknown", "known")[place]
    count = wanted * n[place]
    looks = [
        (100 * wanted, "is in percent: a share goes from 0 to 1."),
        (count, "is a number of answers: divide it."),
        (count / sum(n), f"is a share of all answers: only those on {group} names count."),
        (1 - wanted, "is the other part of the same answers: what is invented, what refused?"),
        (other, "is the other share: the two are exchanged."),
    ]
    fitting = [says for looked, says in looks if looked is not None and is_close(found, looked)]
    return (fitting or [f"is not right. Do you sort out which names are {group}?"])[0]


# ---------------------------------------------------------------- a sheet


def judge_sheet(answer: Any, right: Sequence[Record], notes: Sequence[str]) -> None:
    """Whether a sheet's rows were read rightly, and if not, which cell was not.

    Args:
        answer: what the learner's function handed back.
        right: the rows, each with the names that were asked for.
        notes: for each row what is easily overlooked about it.

    Raises:
        Wrong: says which row and column.
    """
    rows = require_list(answer, "the answer")
    names = list(right[0])
    for number, row in enumerate(rows, 1):
        fields = require_dict(row, f"row {number} of the answer", names)
        for name in names:
            _judge_cell(fields[name], f"Row {number} of the answer, {name}:")
        keys = {name: fields[name].casefold().split() for name in names}
        if all(words == name.casefold().split() for name, words in keys.items()):
            raise Wrong("The header is among the rows: they begin below it.")
    for place, wanted in enumerate(right):
        found = rows[place] if place < len(rows) else None
        if found == wanted:
            continue
        if found is None or found in right[place + 1 :]:
            shown = max(wanted.values(), key=len)
            raise Wrong(f"The row with {shown[:60]!r} is missing. {notes[place]}".strip())
        column = next(name for name in names if found[name] != wanted[name])
        require(
            found[column].split() != wanted[column].split(),
            f"Row {place + 1} of the answer, {column}: only blanks around a text go; what is "
            "inside it stays, line breaks too.",
        )
        raise Wrong(
            f"Row {place + 1} of the answer, {column}: {found[column][:50]!r} is not what the "
            f"sheet has there. {notes[place]}".strip()
        )
    require(len(rows) == len(right), f"{len(right)} rows are usable; {len(rows)} came back.")


def _judge_cell(value: Any, where: str) -> None:
    require(type(value) is str, f"{where} every cell becomes a text, numbers too; found {value!r}.")
    require(
        value not in ("None", "nan"),
        f"{where} the word {value!r} stands there, and a model would learn it. The cell is blank.",
    )
    require(value.strip() != "", f"{where} it is blank: such a row is left out.")
    require(value == value.strip(), f"{where} there are blanks around {value[:40]!r}.")


# ---------------------------------------------------------------- leaks


def judge_kinds(answer: Any, right: Sequence[str], test: Sequence[str]) -> None:
    """Whether each test question was given its kind of leak, and if not, where to look.

    Args:
        answer: what the learner's function handed back.
        right: one of `KINDS` for each question.
        test: the questions.

    Raises:
        Wrong: says which question, and what to compare.
    """
    found = require_list(answer, "the answer")
    require(
        len(found) == len(right),
        f"{len(right)} test questions need as many kinds; there are {len(found)}.",
    )
    for number, (kind, wanted) in enumerate(zip(found, right, strict=True), 1):
        where = f"Test question {number} ({test[number - 1]!r}):"
        require(
            type(kind) is str and kind in KINDS,
            f"{where} {kind!r} is none of the kinds {', '.join(KINDS)}.",
        )
        if kind != wanted:
            raise Wrong(f"{where} not {kind}. {_says_kind(kind, wanted)}")


def _says_kind(kind: str, wanted: str) -> str:
    if wanted == "normalised":
        strict = "The strictest kind that holds is wanted. " if kind == "near" else ""
        return strict + "Make both sides plain in the same way: capitals, punctuation, blanks."
    if KINDS.index(wanted) < KINDS.index(kind) and kind != "new":
        return "The strictest kind that holds is wanted."
    if wanted == "near":
        return "Count again: different words in both, of those in either. Exactly 0.8 is near."
    if wanted == "exact":
        return "Compare it word for word with every training question."
    if kind == "near":
        return "Too few words: divide by the words that stand in either question, not in one."
    return "To stand inside a longer question, or to share words with it, is not to be the same."


# ---------------------------------------------------------------- a split


def judge_split(answer: Any, groups: Sequence[str], ratio: Sequence[int]) -> list[set[str]]:
    """Whether a split is complete, tears no group apart and has its sizes.

    Args:
        answer: what the learner's function handed back.
        groups: one name for each row.
        ratio: training and test parts.

    Returns:
        The names on each side.

    Raises:
        Wrong: says which rows or names are in the wrong place.
    """
    sides = require_list(answer, "the answer")
    require(len(sides) == 2, "Hand back two lists: the rows to train on, and those to test by.")
    train, test = (require_ints(side, "each side") for side in sides)
    n = len(groups)
    strange = [row for row in train + test if not 0 <= row < n]
    if strange:
        raise Wrong(f"There is no row {strange[0]}: rows are counted from 0, the last is {n - 1}.")
    twice = [row for row, count in Counter(train + test).items() if count > 1]
    if twice:
        raise Wrong(f"Row {twice[0]} is there twice: a row is trained or tested, never both.")
    require(len(train + test) == n, f"{n - len(train + test)} of {n} rows are on no side.")
    names = [{groups[row] for row in side} for side in (train, test)]
    torn = sorted(names[0] & names[1])
    if torn:
        raise Wrong(f"{torn[0]!r} stands on both sides: all rows of a name stay together.")
    _judge_sizes(len(train), groups, ratio)
    return names


def _judge_sizes(n_train: int, groups: Sequence[str], ratio: Sequence[int]) -> None:
    n, largest = len(groups), max(Counter(groups).values())
    target = Fraction(n * ratio[0], sum(ratio))
    missed = abs(n_train - target)
    if missed < largest:
        return
    case = f"{n} rows, {ratio[0]}:{ratio[1]}: {n_train} to train on"
    if abs(n - n_train - target) < largest:
        raise Wrong(f"{case}. The sides are exchanged: training comes first.")
    if largest == 1:
        raise Wrong(
            f"{case} is off by {float(missed):g}, though every name has one row. Count in whole "
            "numbers: 0.7 is not exactly seven tenths in a computer."
        )
    raise Wrong(
        f"{case} is off by {float(missed):g}, though no name has more than {largest} rows. Count "
        "rows, not names, while you fill a side."
    )

"""A look at a data set before it is trained on: what is empty, repeated, garbled or too long."""

import math
import re
import statistics
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from course_lib.data import sheets, similarity, tool_calls, workbook

QUANTILES = {"min": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "max": 1.0}
GARBLED = ("\ufffd", "锟斤拷")  # half characters, and what they look like after a second mistake
_NOT_ASCII = re.compile(r"[^\x00-\x7f]{2,}")


@dataclass(frozen=True)
class Audit:
    """What was found; row numbers start at 1.

    Attributes:
        rows: how many there are.
        empty: field name to the rows in which it is empty.
        duplicates: groups of rows that are equal in every word.
        same_question: groups of rows whose questions differ in case and punctuation at most.
        conflicts: those of them that answer the question differently.
        near: (row, row, share) of questions nearly equal to an earlier one, see `similarity`.
        garbled: row to the garbled text in it and, where it can be told, what it was.
        control: rows with control characters, which no one can see.
        characters: quantiles of the characters in questions and in answers.
        tokens: quantiles of the tokens of whole rows; empty without a tokenizer.
        too_long: rows longer than `max_length` tokens.
        max_length: what rows were compared with, or None.
    """

    rows: int
    empty: dict[str, tuple[int, ...]]
    duplicates: tuple[tuple[int, ...], ...]
    same_question: tuple[tuple[int, ...], ...]
    conflicts: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, int, float], ...]
    garbled: dict[int, str]
    control: tuple[int, ...]
    characters: dict[str, dict[str, float]]
    tokens: dict[str, float] = field(default_factory=dict)
    too_long: tuple[int, ...] = ()
    max_length: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The audit as plain data."""
        return asdict(self)


def audit_rows(
    rows: Sequence[Mapping[str, Any]],
    lengths: Sequence[int] = (),
    max_length: int | None = None,
) -> Audit:
    """Audit training rows.

    Args:
        rows: with `messages` or `text`; contents may be empty.
        lengths: tokens of each row before any cut, when a tokenizer has counted them.
        max_length: tokens at most in a row.

    Returns:
        The audit. Near ones are looked for among questions that differ.
    """
    questions = [similarity.question_of(row) for row in rows]
    answers = [similarity.answer_of(row) for row in rows]
    has_messages = ["messages" in row for row in rows]
    keys = [similarity.normalise(question) for question in questions]
    asked = _groups(zip(map(similarity.system_of, rows), keys, strict=True), keys)
    return Audit(
        rows=len(rows),
        empty=_without_full(
            {
                "question": _numbers(not question.strip() for question in questions),
                "answer": _numbers(
                    has and not answer.strip()
                    for has, answer in zip(has_messages, answers, strict=True)
                ),
            }
        ),
        duplicates=_groups(map(_whole_text, rows), keys),
        same_question=_groups(keys, keys),
        conflicts=tuple(
            group
            for group in asked
            if len({similarity.normalise(answers[number - 1]) for number in group}) > 1
        ),
        near=_near(keys),
        garbled=_garbled(map(_whole_text, rows)),
        control=_numbers(_has_control(_whole_text(row)) for row in rows),
        characters={
            name: quantiles([len(text) for text in texts if text])
            for name, texts in (("question", questions), ("answer", answers))
            if any(texts)
        },
        tokens=quantiles(lengths) if lengths else {},
        too_long=_numbers(max_length is not None and length > max_length for length in lengths),
        max_length=max_length,
    )


def audit_sheet(sheet: sheets.Sheet, question: str, answer: str) -> Audit:
    """Audit a spreadsheet as it stands, blank cells included.

    Args:
        sheet: from `sheets.read_sheet`.
        question: the column of questions.
        answer: the column of answers.

    Returns:
        The audit; `empty` names the columns. Its row numbers count the data rows from 1.

    Raises:
        DataError: several columns have such a name.
        UnknownNameError: there is no such column.
    """
    source, _ = sheets.find_column(sheet, question)
    target, _ = sheets.find_column(sheet, answer)
    rows = [
        {
            "messages": [
                {"role": "user", "content": row.values[source]},
                {"role": "assistant", "content": row.values[target]},
            ]
        }
        for row in sheet.rows
    ]
    empty = {
        column: _numbers(not row.values[column] for row in sheet.rows) for column in sheet.columns
    }
    found = audit_rows(rows)
    return Audit(**{**_fields(found), "empty": _without_full(empty)})


def quantiles(values: Sequence[int]) -> dict[str, float]:
    """Shortest, longest and between.

    Args:
        values: at least one.

    Returns:
        A value for each of `QUANTILES`; the median of an even count lies between two values, the
        others are values that occur (nearest rank).
    """
    ordered = sorted(values)
    ranks = {name: max(0, math.ceil(share * len(ordered)) - 1) for name, share in QUANTILES.items()}
    found: dict[str, float] = {name: ordered[rank] for name, rank in ranks.items()}
    return {**found, "median": statistics.median(ordered)}


def audit_lines(audit: Audit) -> list[str]:
    """An audit in words, worst first; a clean set gives its lengths alone.

    Args:
        audit: from `audit_rows` or `audit_sheet`.

    Returns:
        One line for each kind of finding, with the first rows.
    """
    lines = [f"empty {name}: {list_numbers(found)}" for name, found in audit.empty.items()]
    groups = {
        "equal rows": audit.duplicates,
        "questions that stand there more than once": audit.same_question,
        "questions with different answers": audit.conflicts,
    }
    lines += [f"{what}: {_groups_text(found)}" for what, found in groups.items() if found]
    if audit.near:
        pairs = [f"{a} and {b}" for a, b, _ in audit.near]
        lines.append(f"questions that are nearly equal: {workbook.list_some(pairs, 4)}")
    if audit.garbled:
        places = [f"row {number}: {found}" for number, found in audit.garbled.items()]
        lines.append(f"garbled text (wrong encoding): {workbook.list_some(places, 3)}")
    if audit.control:
        lines.append(f"control characters: {list_numbers(audit.control)}")
    if audit.too_long:
        share = len(audit.too_long) / audit.rows
        lines.append(
            f"longer than {audit.max_length:,} tokens: {list_numbers(audit.too_long)} ({share:.0%})"
        )
    return lines


def _fields(audit: Audit) -> dict[str, Any]:
    return {name: getattr(audit, name) for name in Audit.__dataclass_fields__}


def _numbers(is_so: Iterable[bool]) -> tuple[int, ...]:
    return tuple(number for number, found in enumerate(is_so, 1) if found)


def _without_full(empty: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    return {name: numbers for name, numbers in empty.items() if numbers}


def _groups(keys: Iterable[Any], questions: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Numbers of rows with the same key; rows without a question belong to none."""
    found: dict[Any, list[int]] = defaultdict(list)
    for number, key in enumerate(keys, 1):
        if questions[number - 1]:
            found[key].append(number)
    return tuple(tuple(numbers) for numbers in found.values() if len(numbers) > 1)


def _whole_text(row: Mapping[str, Any]) -> str:
    """All that a row says, roles included."""
    if "text" in row:
        return row["text"]
    return "\n".join(f"{m['role']}: {tool_calls.whole_content(m)}" for m in row["messages"])


def _near(keys: Sequence[str]) -> tuple[tuple[int, int, float], ...]:
    first = {key: number for number, key in reversed(list(enumerate(keys, 1))) if key}
    texts = sorted(first, key=lambda key: first[key])
    return tuple(
        (first[texts[a]], first[texts[b]], round(share, 3))
        for a, b, share in similarity.near_links(texts)
    )


def _garbled(texts: Iterable[str]) -> dict[int, str]:
    found = {}
    for number, text in enumerate(texts, 1):
        marks = [mark for mark in GARBLED if mark in text]
        wrong = next(filter(None, (_unscramble(run[0]) for run in _NOT_ASCII.finditer(text))), "")
        if marks or wrong:
            found[number] = wrong or repr(marks[0])
    return found


def _unscramble(run: str) -> str:
    """What a run of odd letters was, when it is UTF-8 that was read as Latin text; else empty."""
    try:
        data = b"".join(_to_cp1252(char) for char in run)
        return f"{run!r} was {data.decode('utf-8')!r}"
    except UnicodeError:
        return ""


def _to_cp1252(char: str) -> bytes:
    """The byte that Windows shows so; five bytes have no character there and stay as they are."""
    return char.encode("latin-1" if "\x80" <= char <= "\xff" else "cp1252")


def _has_control(text: str) -> bool:
    return any(unicodedata.category(char) == "Cc" and char not in "\n\t\r" for char in text)


def list_numbers(numbers: Sequence[int]) -> str:
    """How many rows, and which.

    Args:
        numbers: of the rows, at least one.
    """
    return f"{len(numbers):,} row{'s' if len(numbers) > 1 else ''} ({workbook.list_some(numbers)})"


def _groups_text(groups: Sequence[Sequence[int]]) -> str:
    shown = [" = ".join(map(str, group)) for group in groups]
    n_rows = sum(map(len, groups))
    return f"{len(groups):,} in {n_rows:,} rows ({workbook.list_some(shown, 4)})"

"""A spreadsheet to training rows: columns by name, dirt named by row and column, JSON lines."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from course_lib.data import sheets
from course_lib.errors import DataError
from course_lib.files import write_atomic

MEND = (
    "Mend the cell; a formula gets its result when Excel or LibreOffice saves the file, "
    "or when you paste values over it."
)


@dataclass(frozen=True)
class Columns:
    """Which columns become what.

    Attributes:
        input: the column that the user says.
        output: the column that the assistant is to say.
        system: one text for every row (not a column); empty for none.
        keep: columns to keep as fields of the row beside the messages, to group or to score by.
    """

    input: str
    output: str
    system: str = ""
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class SheetReport:
    """What became of a sheet.

    Attributes:
        rows: the training rows, in the sheet's order.
        left_out: sheet row number to the reason, for rows that were not used.
        notes: what was done, or should be known.
    """

    rows: list[dict[str, Any]]
    left_out: dict[int, str]
    notes: tuple[str, ...]


def sheet_to_rows(
    sheet: sheets.Sheet,
    columns: Columns,
    row_format: Literal["messages", "conversation"] = "messages",
    skip_bad: bool = False,
) -> SheetReport:
    """Turn a table's rows into training rows.

    Args:
        sheet: from `sheets.read_sheet`.
        columns: which column becomes what.
        row_format: {"messages": [...]} or {"conversation": [{system, input, output}]}.
        skip_bad: leave rows out whose question or answer cannot be used, and say which.

    Returns:
        The rows, what was left out, and notes.

    Raises:
        DataError: a question or an answer is blank or cannot be used; names row and column.
        UnknownNameError: there is no such column.
    """
    names, notes = {}, list(sheet.notes)
    for wanted in (columns.input, columns.output, *columns.keep):
        names[wanted], note = sheets.find_column(sheet, wanted)
        notes += [note] if note else []
    source, target = names[columns.input], names[columns.output]
    kept = {names[name]: names[name] for name in columns.keep}
    _check_choice(sheet, source, target, kept)
    rows, bad = [], {}
    for row in sheet.rows:
        problem = _row_problem(sheet, row, (source, target, *kept))
        if problem:
            bad[row.number] = problem
            continue
        made = _make_row(row.values[source], row.values[target], columns.system, row_format)
        rows.append({**made, **{name: row.values[name] for name in kept}})
    _refuse_bad(sheet, bad, skip_bad, len(rows))
    return SheetReport(rows, bad, tuple(notes))


def xlsx_to_jsonl(
    path: Path,
    out: Path,
    columns: Columns,
    sheet: str | None = None,
    skip_bad: bool = False,
) -> SheetReport:
    """Write a sheet's rows as JSON lines: one object on each line, never one JSON array.

    Args:
        path: the workbook.
        out: the new file, ending in .jsonl.
        columns: which column becomes what.
        sheet: the sheet's name; None takes the only one with data.
        skip_bad: leave rows out whose question or answer cannot be used, and say which.

    Returns:
        What was written.

    Raises:
        DataError: see `sheets.read_sheet` and `sheet_to_rows`; also when `out` exists.
        UnknownNameError: there is no such sheet or column.
    """
    check_new_jsonl(out)
    table = sheets.read_sheet(path, sheet, (columns.input, columns.output, *columns.keep))
    report = sheet_to_rows(table, columns, skip_bad=skip_bad)
    write_atomic(out, rows_to_jsonl(report.rows))
    return report


def rows_to_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as the text of a .jsonl file.

    Args:
        rows: what `json.dumps` can write; dates, of which JSON has none, become text.

    Returns:
        One object on each line, characters as they are.
    """
    return "".join(json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in rows)


def check_new_jsonl(path: Path) -> None:
    """Refuse a name under which no new rows can be written.

    Args:
        path: the file to make.

    Raises:
        DataError: it does not end in .jsonl, or exists.
    """
    if path.suffix.lower() != ".jsonl":
        raise DataError(
            f"{path}: the rows are JSON lines.", f"Give a name such as {path.stem or 'all'}.jsonl"
        )
    if path.exists():
        raise DataError(f"{path} exists already.", "Delete it, or give another name.")


# --- rows ------------------------------------------------------------------------------------


def _row_problem(sheet: sheets.Sheet, row: sheets.SheetRow, columns: Sequence[str]) -> str:
    """What is wrong with a row, or an empty text."""
    source, target = columns[:2]
    for column in columns:
        if column in row.problems:
            return f"{sheet.cell(row, column)}: {row.problems[column]}"
    for column in (source, target):
        if not row.values[column]:
            return f"{sheet.cell(row, column)}: the cell is blank"
    merged = row.merged.get(source)
    if merged and merged == row.merged.get(target):
        return f"row {row.number}: {source!r} and {target!r} are one merged cell ({merged})"
    return ""


def _check_choice(sheet: sheets.Sheet, source: str, target: str, kept: Mapping[str, str]) -> None:
    if source == target:
        raise DataError(
            f"{sheet.place}: input and output are one column, {source!r}.",
            "Name the column of questions and the column of answers.",
        )
    taken = {"messages", "conversation", "text"}.intersection(kept)
    if taken:
        raise DataError(
            f"{sheet.place}: a kept column cannot be called {min(taken)!r}, which names a format.",
            "Rename the column in the sheet.",
        )


def _make_row(question: str, answer: str, system: str, row_format: str) -> dict[str, Any]:
    if row_format == "conversation":
        about = {"system": system} if system else {}
        return {"conversation": [{**about, "input": question, "output": answer}]}
    turns = [("system", system), ("user", question), ("assistant", answer)]
    return {"messages": [{"role": role, "content": text} for role, text in turns if text]}


def _refuse_bad(sheet: sheets.Sheet, bad: Mapping[int, str], skip_bad: bool, n_good: int) -> None:
    if bad and (not skip_bad or not n_good):
        shown = "".join(f"\n  {problem}" for problem in list(bad.values())[:5])
        more = f"\n  and {len(bad) - 5:,} more" if len(bad) > 5 else ""
        raise DataError(
            f"{sheet.place}: {len(bad):,} of {len(bad) + n_good:,} rows cannot be used:"
            f"{shown}{more}",
            "Mend them in the sheet (a formula gets its result when Excel or LibreOffice saves "
            "the file), or leave these rows out with --skip-bad.",
        )

"""A sheet as a table: its header found, its columns named, its rows kept with their numbers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.data import workbook
from course_lib.errors import DataError, UnknownNameError

HEADER_WITHIN = 100  # filled rows in which the header is looked for


@dataclass(frozen=True)
class SheetRow:
    """A data row.

    Attributes:
        number: its row in the sheet, as the spreadsheet program shows it.
        values: column name to text; "" for a blank cell.
        problems: column name to what is wrong with the cell, where something is.
        merged: column name to the merged range that the cell belongs to.
    """

    number: int
    values: dict[str, str]
    problems: dict[str, str] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """A sheet as a table.

    Attributes:
        place: file and sheet, for messages.
        columns: their names, in order.
        letters: column name to its letter in the spreadsheet program.
        rows: the data rows that are not blank.
        notes: what was done, or should be known.
    """

    place: str
    columns: tuple[str, ...]
    letters: dict[str, str]
    rows: tuple[SheetRow, ...]
    notes: tuple[str, ...]

    def cell(self, row: SheetRow, column: str) -> str:
        """A cell's place, for messages."""
        place = f"{self.letters[column]}{row.number}"
        return f"row {row.number}, column {column!r} (cell {place})"


def read_sheet(path: Path, sheet: str | None = None, columns: Sequence[str] = ()) -> Sheet:
    """Read a sheet as a table.

    Args:
        path: the workbook.
        sheet: the sheet's name; None takes the only one with data.
        columns: names that the header must hold; they help to find it.

    Returns:
        The table. The header is the row with those names, else the first row of texts that
        fills more than half of the table's width. Two columns of one name get their letters:
        "Answer [B]" and "Answer [D]".

    Raises:
        DataError: see `workbook.read_grid`; also when there is no header or no row below it.
        UnknownNameError: there is no such sheet.
    """
    grid = workbook.read_grid(path, sheet)
    top = _find_header(grid, [_key(name) for name in columns])
    names, notes = _name_columns(grid, top)
    rows, more_notes = _data_rows(grid, top, names)
    if not rows:
        raise DataError(
            f"{grid.place()}: no rows below the header in row {top}.",
            "Fill in rows, or name another sheet.",
        )
    letters = {name: _letter(column) for column, name in names.items()}
    notes = [*grid.notes, *notes, *more_notes]
    return Sheet(grid.place(), tuple(names.values()), letters, tuple(rows), tuple(notes))


def find_column(sheet: Sheet, name: str) -> tuple[str, str]:
    """Find a column by its name; case and blanks do not matter when only one fits.

    Args:
        sheet: the table.
        name: what was asked for.

    Returns:
        The column's name, and a note ("" when the names are equal).

    Raises:
        DataError: several columns fit.
        UnknownNameError: none does; near names are offered.
    """
    if name in sheet.columns:
        return name, ""
    same = [c for c in sheet.columns if _key(name) in (_key(c), _key(_base_name(sheet, c)))]
    if len(same) > 1:
        raise DataError(
            f"{sheet.place}: {len(same)} columns are called {name!r}: "
            f"{' and '.join(sheet.letters[c] for c in same)}.",
            f"Ask for one of them as {' or '.join(map(repr, same))}, or rename one in the sheet.",
        )
    if not same:
        raise UnknownNameError(f"column in {sheet.place}", name, sheet.columns)
    return same[0], f"The column {same[0]!r} is taken for {name!r}."


# --- header ----------------------------------------------------------------------------------


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()


def _letter(column: int) -> str:
    from openpyxl.utils import get_column_letter

    return get_column_letter(column)


def _base_name(sheet: Sheet, column: str) -> str:
    """A column's name without the letter that tells it from its namesake."""
    return column.removesuffix(f" [{sheet.letters[column]}]")


def _find_header(grid: workbook.Grid, wanted: Sequence[str]) -> int:
    """The header's row number."""
    own = {
        number: [cell for cell in cells.values() if not cell.is_repeated]
        for number, cells in sorted(grid.rows.items())[:HEADER_WITHIN]
    }
    hits = {
        number: len({_key(cell.text) for cell in cells}.intersection(wanted))
        for number, cells in own.items()
    }
    best = max(hits, key=lambda number: hits[number])  # the first of the best
    if hits[best]:
        return best
    widths = Counter(len(cells) for cells in own.values())
    width = max(widths, key=lambda w: (widths[w], w))
    for number, cells in own.items():
        is_wide = len(cells) > width / 2 and len(cells) >= min(2, width)
        if is_wide and not any(_is_number(cell.text) for cell in cells):
            return number
    raise DataError(
        f"{grid.place()}: no header row was found.",
        "Give each column a name in one row above the data.",
    )


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removesuffix("%").removeprefix("-").isdecimal()


def _name_columns(grid: workbook.Grid, top: int) -> tuple[dict[int, str], list[str]]:
    """Column number to name, and notes."""
    header = {c: cell for c, cell in sorted(grid.rows[top].items()) if not cell.is_repeated}
    names = {column: " ".join(cell.text.split()) for column, cell in header.items()}
    counts = Counter(names.values())
    notes = []
    above = [number for number in grid.rows if number < top]
    if above:
        title = next(iter(grid.rows[above[0]].values())).text
        notes.append(
            f"Row {top} is the header. Left out above it: {len(above)} row"
            f"{'s' if len(above) > 1 else ''}, beginning with {title[:60]!r}."
        )
    for name, count in counts.items():
        if count > 1:
            same = [column for column, other in names.items() if other == name]
            letters = " and ".join(map(_letter, same))
            notes.append(f"{count} columns are called {name!r}: {letters}; they get their letters.")
            names.update({column: f"{name} [{_letter(column)}]" for column in same})
    return names, notes


# --- rows ----------------------------------------------------------------------------------


def _data_rows(
    grid: workbook.Grid, top: int, names: Mapping[int, str]
) -> tuple[list[SheetRow], list[str]]:
    """The rows below the header, and notes on what was passed over."""
    rows, repeated, nameless = [], [], Counter()
    for number, cells in sorted(grid.rows.items()):
        if number <= top:
            continue
        used = {name: cells[c] for c, name in names.items() if c in cells}
        nameless.update(_letter(c) for c, cell in cells.items() if c not in names and cell.text)
        values = {name: used[name].text if name in used else "" for name in names.values()}
        if _is_header_again(grid, top, cells):
            repeated.append(number)
        elif any(cell.text or cell.problem for cell in used.values()):
            problems = {name: cell.problem for name, cell in used.items() if cell.problem}
            merged = {name: cell.merged for name, cell in used.items() if cell.merged}
            rows.append(SheetRow(number, values, problems, merged))
    notes = [f"Blank rows are passed over: {n_blank}."] if (n_blank := _blank(grid, top)) else []
    if repeated:
        notes.append(f"The header stands there again: row {workbook.list_some(repeated)}.")
    for letter, count in sorted(nameless.items()):
        notes.append(f"Column {letter} has no name: its {count} cells are left out.")
    return rows, notes


def _is_header_again(grid: workbook.Grid, top: int, cells: Mapping[int, workbook.GridCell]) -> bool:
    """Whether a row repeats the header, as printed pages or a merged header cell do."""
    header = {column: cell.text for column, cell in grid.rows[top].items() if not cell.is_repeated}
    return {column: cell.text for column, cell in cells.items() if column in header} == header


def _blank(grid: workbook.Grid, top: int) -> int:
    """Blank rows among the data."""
    below = [number for number in grid.rows if number > top]
    return max(below, default=top) - top - len(below)

"""Workbooks (.xlsx) to a grid of plain text: every cell's place, text and problem."""

import datetime
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib.errors import DataError, UnknownNameError

if TYPE_CHECKING:  # slow to import
    from openpyxl.cell.cell import Cell as FileCell
    from openpyxl.workbook.workbook import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

LONGEST_CELL = 32_767  # characters; Microsoft's "Excel specifications and limits"
OLD_CONTAINER = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # of .xls files, and of locked .xlsx files
ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # the part that only a locked file has
SAVE_AS_XLSX = "Open it in Excel or LibreOffice and save it as .xlsx"
# Control characters as Excel writes them: "_x000D_"; "_x005F_" is the underscore of a real "_x".
_ESCAPED = re.compile(r"_x(00[01][0-9A-Fa-f]|005[Ff])_")


@dataclass(frozen=True)
class GridCell:
    """One cell as plain text.

    Attributes:
        text: what it holds; blanks around it are removed. Empty for a blank cell.
        problem: why the text cannot be used, or empty.
        merged: the range of the merged cell that it belongs to, such as "A3:A5", or empty.
        is_repeated: its text comes from the first cell of that range.
    """

    text: str
    problem: str = ""
    merged: str = ""
    is_repeated: bool = False


@dataclass(frozen=True)
class Grid:
    """A sheet's cells.

    Attributes:
        path: the workbook.
        sheet: the sheet's name.
        rows: row number to column number to cell, both from 1 and in order; only what is there.
        notes: what was done, or should be known.
    """

    path: Path
    sheet: str
    rows: dict[int, dict[int, GridCell]]
    notes: tuple[str, ...]

    def place(self) -> str:
        """File and sheet, for messages."""
        return f"{self.path.name}, sheet {self.sheet!r}"


def read_grid(path: Path, sheet: str | None = None) -> Grid:
    """Read one sheet.

    Args:
        path: a workbook; its content decides, not its name.
        sheet: the sheet's name, upper or lower case; None takes the only one with data.

    Returns:
        Its cells as text, by the rules of `value_to_text`. Of a formula the stored result is
        taken. A merged cell's text stands in all its places, in rows that hold more than it.

    Raises:
        DataError: the file is missing, locked, damaged or no workbook, or the sheet is empty.
        UnknownNameError: there is no such sheet; near names are offered.
    """
    path = Path(path)
    data = _read_bytes(path)
    workbook = _open(path, data, data_only=False)
    chosen, notes = _find_sheet(path, workbook, sheet)
    cells = [cell for _, cell in sorted(_cells_of(chosen)) if cell.value is not None]
    formulas = {cell.coordinate: cell.value for cell in cells if cell.data_type == "f"}
    if formulas:
        results = _open(path, data, data_only=True)[chosen.title]
        cells = [results[cell.coordinate] for cell in cells]
        notes.append(f"{len(formulas)} cells hold formulas: their stored results are taken.")
    rows: dict[int, dict[int, GridCell]] = {}
    for cell in cells:
        made = _make_cell(cell, cell.coordinate in formulas)
        if made.text or made.problem:
            rows.setdefault(cell.row, {})[cell.column] = made
    notes += _repeat_merged(chosen, rows) + _note_oddities(chosen, cells, rows)
    if not rows:
        raise DataError(
            f"{path.name}, sheet {chosen.title!r}: the sheet is empty.",
            f"Name another one; there are: {', '.join(workbook.sheetnames)}.",
        )
    return Grid(path, chosen.title, rows, tuple(notes))


def value_to_text(value: Any, number_format: str = "General") -> str:
    """A cell's value as the plain text that a model is to read.

    Args:
        value: as openpyxl gives it.
        number_format: the cell's format; only its percent sign and leading zeros are heeded.

    Returns:
        Whole numbers without a point (12.0 is "12"), others with up to 15 digits, as Excel keeps
        them; dates as 2019-05-31, with the time behind a blank where there is one, spans of time
        as 25:00:00; TRUE and FALSE; texts with plain line breaks and no blanks around them.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return _number_to_text(value, number_format)
    if isinstance(value, datetime.datetime):
        return str(value.date() if value.time() == datetime.time() else value)
    if isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if isinstance(value, datetime.date | datetime.time):
        return str(value)
    text = _ESCAPED.sub(lambda mark: chr(int(mark[1], 16)), str(value))
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()


def _number_to_text(value: int | float, number_format: str) -> str:
    if number_format.endswith("%"):
        return f"{value * 100:.15g}%"
    if value == int(value) and abs(value) < 1e15:
        is_code = re.fullmatch("0+", number_format) is not None  # 00501, a number with its zeros
        return str(int(value)).zfill(len(number_format) if is_code else 0)
    return f"{value:.15g}"


# --- opening ---------------------------------------------------------------------------------


def _read_bytes(path: Path) -> bytes:
    """A workbook's bytes; what cannot be a workbook is named here."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}.", "Check the path and the spelling.")
    data = path.read_bytes()
    found, next_step = "", f"{SAVE_AS_XLSX}."
    if not data:
        found, next_step = "is empty (0 bytes)", "Copy or download it again."
    elif path.name.startswith("~$"):
        found = "only marks that Excel has a workbook open"
        next_step = f"Give the workbook itself: {path.name[2:]}"
    elif data.startswith(OLD_CONTAINER):
        is_locked = ENCRYPTED in data
        found = "is locked with a password" if is_locked else "is a workbook of the old .xls kind"
        next_step = f"{SAVE_AS_XLSX} without a password." if is_locked else next_step
    elif not data.startswith(b"PK"):
        found = f"is no workbook: it starts with {data[:12]!r}"
        next_step = f"{SAVE_AS_XLSX}; a text file wants its own ending, such as .csv or .jsonl."
    if found:
        raise DataError(f"{path} {found}.", next_step)
    return data


def _open(path: Path, data: bytes, data_only: bool) -> "Workbook":
    """A workbook in memory; what openpyxl trips over is a damaged file."""
    import openpyxl

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if "xl/workbook.xml" not in names:
                kind = (
                    "one of the .xlsb kind" if "xl/workbook.bin" in names else "no .xlsx workbook"
                )
                raise DataError(f"{path} is {kind}.", f"{SAVE_AS_XLSX}.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and drop-down lists, which are not read
            return openpyxl.load_workbook(io.BytesIO(data), data_only=data_only)
    except DataError:
        raise
    except Exception as error:  # it raises nearly any kind for a broken file
        raise DataError(
            f"{path} is damaged: it cannot be opened as a workbook ({type(error).__name__}).",
            "Copy or download it again, or have Excel or LibreOffice repair it.",
        ) from error


def _find_sheet(
    path: Path, workbook: "Workbook", name: str | None
) -> tuple["Worksheet", list[str]]:
    sheets = workbook.worksheets
    if name is None:
        return _only_sheet(path, sheets)
    titles = [sheet.title for sheet in sheets]
    if name in titles:
        return workbook[name], []
    same = [title for title in titles if title.strip().casefold() == name.strip().casefold()]
    if len(same) != 1:
        raise UnknownNameError(f"sheet in {path.name}", name, titles)
    return workbook[same[0]], [f"The sheet {same[0]!r} is taken for {name!r}."]


def _only_sheet(path: Path, sheets: list["Worksheet"]) -> tuple["Worksheet", list[str]]:
    """The only sheet with data; hidden ones count when no other has any."""
    filled = [s for s in sheets if any(c.value is not None for _, c in _cells_of(s))]
    seen = [s for s in filled if s.sheet_state == "visible"] or filled
    if not seen:
        raise DataError(f"{path} holds no data: every sheet is empty.", "Fill in a sheet.")
    if len(seen) > 1:
        names = ", ".join(repr(sheet.title) for sheet in seen)
        raise DataError(
            f"{path} has {len(seen)} sheets with data: {names}.",
            f"Name the one to read, for example --sheet {seen[0].title!r}.",
        )
    left_out = [sheet.title for sheet in filled if sheet is not seen[0]]
    return seen[0], [f"Hidden sheets are not read: {', '.join(left_out)}."] if left_out else []


def _cells_of(sheet: "Worksheet") -> Iterator[tuple[tuple[int, int], "FileCell"]]:
    """The cells that are in the file; rows of a sheet would be made up to its farthest cell."""
    yield from sheet._cells.items()


# --- cells -----------------------------------------------------------------------------------


def _make_cell(cell: "FileCell", is_formula: bool) -> GridCell:
    # A formula whose result is the empty text is of type "str" and has no value either.
    if is_formula and cell.value is None and cell.data_type != "str":
        return GridCell("", "a formula without a stored result")
    if cell.data_type == "e":
        return GridCell(str(cell.value), f"the error {cell.value}")
    return GridCell(value_to_text(cell.value, cell.number_format))


def _repeat_merged(sheet: "Worksheet", rows: dict[int, dict[int, GridCell]]) -> list[str]:
    """Write each merged cell's text into its other places; notes say how often."""
    own = set(rows)  # rows that hold nothing but a merged cell's lower part are no rows
    count, ranges = 0, []
    for merged in sorted(sheet.merged_cells.ranges, key=lambda r: (r.min_row, r.min_col)):
        first = rows.get(merged.min_row, {}).get(merged.min_col)
        if first is None:
            continue
        ranges.append(merged.coord)
        for row in sorted(own.intersection(range(merged.min_row, merged.max_row + 1))):
            for column in range(merged.min_col, merged.max_col + 1):
                is_first = (row, column) == (merged.min_row, merged.min_col)
                rows[row][column] = GridCell(first.text, first.problem, merged.coord, not is_first)
                count += not is_first
    if not ranges:
        return []
    return [f"Merged cells ({list_some(ranges)}): their text is repeated in {count} cells."]


def _note_oddities(
    sheet: "Worksheet", cells: list["FileCell"], rows: dict[int, dict[int, GridCell]]
) -> list[str]:
    notes = []
    hidden = [n for n, shape in sorted(sheet.row_dimensions.items()) if shape.hidden and n in rows]
    if hidden:
        notes.append(f"Hidden rows are read too: {list_some(hidden)}.")
    texts = [(cell.coordinate, cell.value) for cell in cells if isinstance(cell.value, str)]
    n_blank = sum(text != text.strip() for _, text in texts)
    if n_blank:
        notes.append(f"Blanks around the text are removed in {n_blank} cells.")
    full = [place for place, text in texts if len(text) >= LONGEST_CELL]
    if full:
        notes.append(
            f"As long as a cell can be ({LONGEST_CELL:,} characters), so probably cut off when "
            f"it was filled: {list_some(full)}."
        )
    return notes


def list_some(things: list[Any], most: int = 8) -> str:
    """The first of many things, and how many more there are.

    Args:
        things: in order.
        most: how many to name.
    """
    more = f" and {len(things) - most:,} more" if len(things) > most else ""
    return ", ".join(map(str, things[:most])) + more

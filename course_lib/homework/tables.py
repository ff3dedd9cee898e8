"""CSV files: our own, in which no cell is a formula, and other people's, changed cell by cell."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from course_lib.errors import DataError
from course_lib.teaching import markdown

# With these a spreadsheet takes a text for a formula, which can start programs and send cells away.
# Source: OWASP, "CSV Injection"; the wide signs count in East Asian versions.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
MARK = "'"  # set before such a text
DELIMITERS = (",", ";", "\t")
MARKS_OF_ORDER = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def make_harmless(text: str) -> str:
    """A text that a spreadsheet shows as it is.

    Args:
        text: anything, such as a student's name.
    """
    shown = storable(markdown.make_visible(text))
    return MARK + shown if shown.startswith(FORMULA) else shown


def was_meant(cell: str) -> str:
    """What `make_harmless` was given, as far as it set a mark.

    Args:
        cell: read from a file of ours.
    """
    return cell[1:] if cell.startswith(MARK) and cell[1:].startswith(FORMULA) else cell


def storable(text: str) -> str:
    """A text that a file can hold: half characters become question marks.

    Args:
        text: anything.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def to_csv(rows: Iterable[Sequence[str]]) -> str:
    """CSV in which no cell is a formula, however the spreadsheet divides lines.

    Args:
        rows: of texts.
    """
    text = io.StringIO()
    # All in quotes: else "a;=1" would be two cells where spreadsheets expect semicolons.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([make_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


class Sheet:
    """Somebody's CSV file: single cells are replaced, all other bytes stay what they are.

    Args:
        path: the file.
        wanted: columns that it must have; the sign between cells is found by them.
        next_step: what to do when it has not.

    Raises:
        DataError: it cannot be read, or a wanted column is missing or there twice.
    """

    def __init__(self, path: Path, wanted: Sequence[str], next_step: str) -> None:
        self.path = path
        text = self._decode(next_step)
        parsed = {sign: _split(text, sign) for sign in DELIMITERS}
        fits = [s for s in DELIMITERS if parsed[s] and set(wanted) <= set(_values(parsed[s][0]))]
        if not fits:
            sign = max(DELIMITERS, key=lambda s: len(parsed[s][0]) if parsed[s] else 0)
            found = ", ".join(filter(None, _values(parsed[sign][0]))) if parsed[sign] else ""
            raise DataError(
                f"{path}: the first line needs the columns {', '.join(wanted)}; "
                f"found: {found[:300] or 'none'}.",
                next_step,
            )
        self.sign = fits[0]
        self._rows = parsed[self.sign]
        self.columns = _values(self._rows[0])
        for name in wanted:
            self.column(name)

    def _decode(self, next_step: str) -> str:
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}.", next_step) from error
        # Latin-1 holds every byte, so what is not UTF-8 comes out as it went in.
        found = (name for mark, name in MARKS_OF_ORDER.items() if content.startswith(mark))
        self._encoding = next(found, "")
        if not self._encoding:
            try:
                content.decode("utf-8")
                self._encoding = "utf-8"
            except UnicodeDecodeError:
                self._encoding = "latin-1"
        try:
            text = content.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: {error}.", "Download the file again.") from error
        self._start = "\ufeff" if text.startswith("\ufeff") else ""
        return text.removeprefix(self._start)

    def column(self, name: str) -> int:
        """A column's place.

        Args:
            name: as in the first line.

        Raises:
            DataError: two columns have it.
        """
        if self.columns.count(name) > 1:
            raise DataError(
                f"{self.path}: {self.columns.count(name)} columns are called {name!r}.",
                "Rename all but one.",
            )
        return self.columns.index(name)

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, row: int, name: str) -> str:
        """A cell's text, or an empty one where the row is too short or there is no such column.

        Args:
            row: from 1, behind the line of columns.
            name: of the column.
        """
        place = self.columns.index(name) if name in self.columns else len(self._rows[row])
        return _value(self._rows[row][place][0]).strip() if place < len(self._rows[row]) else ""

    def set(self, row: int, name: str, text: str) -> None:
        """Replace a cell's text.

        Args:
            row: from 1, behind the line of columns.
            name: of the column.
            text: what it should hold.
        """
        cells, place = self._rows[row], self.column(name)
        if _value(cells[place][0] if place < len(cells) else "") == text:
            return  # its quotes stay as they are, too
        while len(cells) <= place:
            end = cells[-1][1]
            cells[-1] = (cells[-1][0], self.sign)
            cells.append(("", end))
        old, end = cells[place]
        has_quotes = old.startswith('"') or any(c in text for c in f'{self.sign}"\r\n')
        quoted = '"' + text.replace('"', '""') + '"'
        cells[place] = (quoted if has_quotes else text, end)

    def as_bytes(self) -> bytes:
        """The whole file.

        Raises:
            DataError: a text cannot be said in the file's encoding.
        """
        text = self._start + "".join(raw + end for row in self._rows for raw, end in row)
        try:
            return text.encode(self._encoding)
        except UnicodeEncodeError as error:
            raise DataError(
                f"{self.path} is not UTF-8 and cannot hold {text[error.start]!r}.",
                "Save it as UTF-8 first.",
            ) from error


def _split(text: str, sign: str) -> list[list[tuple[str, str]]]:
    """Rows of raw cells, each with what ends it; joined they are the text again."""
    cell = re.compile(rf'("(?:[^"]|"")*"[^{sign}\r\n]*|[^{sign}\r\n]*)({sign}|\r\n|\n|\r|\Z)')
    rows: list[list[tuple[str, str]]] = [[]]
    place = 0
    while place < len(text):
        found = cell.match(text, place)
        assert found
        rows[-1].append((found[1], found[2]))
        place = found.end()
        if found[2] != sign:
            rows.append([])
    if rows[-1] and rows[-1][-1][1] == sign:
        rows[-1].append(("", ""))
    return [row for row in rows if row]


def _values(row: Sequence[tuple[str, str]]) -> list[str]:
    return [_value(raw).strip() for raw, _ in row]


def _value(raw: str) -> str:
    if not raw.startswith('"'):
        return raw
    inner, _, rest = raw[1:].rpartition('"')
    return inner.replace('""', '"') + rest if '"' in raw[1:] else raw

"""Data files to records: one after the other, each with its place, for messages."""

import csv
import gzip
import itertools
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO, cast

from course_lib.data import json_records
from course_lib.errors import DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".xlsx", ".txt")
PACKED = ".gz"  # may stand behind the suffix of a text file
BATCH_ROWS = 1000  # of a table are turned into objects at once
_CHUNK_BYTES = 1 << 20
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_BINARY = {
    b"PAR1": "a Parquet file",
    b"PK\x03\x04": "a workbook or a ZIP file",
    b"\x1f\x8b": "a gzip file",
    b"\xd0\xcf\x11\xe0": "an old workbook (.xls)",
}


class Record(NamedTuple):
    """A row as it stands in a file.

    Args:
        value: what the file holds.
        number: its row number, from 1; in a workbook, the sheet's own.
        source: the file.
        line: where it starts, in files of lines.
        problem: why it has no value, when it cannot be read.
    """

    value: Any
    number: int
    source: str
    line: int | None = None
    problem: DataError | None = None

    def where(self) -> str:
        """The row's place, for messages."""
        line = f" (line {self.line})" if self.line else ""
        return f"{self.source}, row {self.number}{line}"


def suffix_of(path: Path) -> str:
    """The suffix that says what a file holds, without that of its packing.

    Args:
        path: a file's name.

    Returns:
        In lower case, for example ".jsonl" for rows.JSONL.gz.
    """
    name = path.name.lower()
    return Path(name.removesuffix(PACKED)).suffix


def iter_records(path: Path, notes: list[str]) -> Iterator[Record]:
    """Read a data file row by row; only a small part of it is in memory at a time.

    Args:
        path: a file with one of `SUFFIXES`, text files also packed with gzip.
        notes: what is odd about the file is added here.

    Yields:
        At least one record. One that cannot be read by itself carries its problem.

    Raises:
        DataError: the file is missing, empty, of another kind, in another encoding, or broken;
            names the place and the next step.
    """
    _check_file(path)
    try:
        records = _READERS[suffix_of(path)](path, notes)
        first = next(records, None)
        if first is None:
            raise DataError(f"{path} holds no rows.", "Write at least one row.")
        yield from itertools.chain([first], records)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: broken gzip data.", json_records.CUT_OFF) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}.",
            "Check that it is not locked by another program and that you may read it.",
        ) from error


def _check_file(path: Path) -> None:
    """Refuse what is no data file."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}.", "Check the path and the spelling.")
    if suffix_of(path) not in SUFFIXES:
        raise DataError(
            f"{path}: expected a file that ends in {', '.join(SUFFIXES)}.",
            "Convert it to JSON lines: one object on each line.",
        )
    if not path.stat().st_size:
        raise DataError(f"{path} is empty.", "Write at least one row.")


# --- text ----------------------------------------------------------------------------------------


def _open_bytes(path: Path) -> BinaryIO:
    is_packed = path.name.lower().endswith(PACKED)
    return cast(BinaryIO, gzip.open(path) if is_packed else path.open("rb"))


def _open_text(path: Path, notes: list[str], newline: str) -> TextIO:
    """Open a text file once all of it is known to be UTF-8."""
    with _open_bytes(path) as file:
        start = file.read(4)
        _check_start(path, start)
        file.seek(0)
        is_blank = _check_utf8(path, file)
    if is_blank:
        raise DataError(f"{path} is empty.", "Write at least one row.")
    if start.startswith(b"\xef\xbb\xbf"):
        notes.append("It starts with a byte order mark, which is left out.")
    if path.name.lower().endswith(PACKED):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline=newline)
    return path.open(encoding="utf-8-sig", newline=newline)


def _check_start(path: Path, start: bytes) -> None:
    """Refuse what the first bytes show to be something else."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            raise _encoding_error(f"{path}, byte 1: it is in {encoding}, not in UTF-8.", encoding)
    for mark, kind in _BINARY.items():
        if start.startswith(mark):
            raise DataError(f"{path} is {kind}, whatever its name says.", "Correct its name.")


def _check_utf8(path: Path, file: BinaryIO) -> bool:
    """Refuse other encodings, with the place of the first wrong byte; True when all is blank."""
    offset, lines, rest, is_blank = 0, 1, b"", True
    while True:
        chunk = file.read(_CHUNK_BYTES)
        data = rest + chunk
        is_blank = is_blank and not data.removeprefix(b"\xef\xbb\xbf").strip()
        try:
            if b"\x00" in data:
                raise UnicodeDecodeError("utf-8", data, data.index(0), data.index(0) + 1, "NUL")
            data.decode("utf-8")
            used = len(data)
        except UnicodeDecodeError as error:
            # a character may go on in the next chunk
            if error.reason != "unexpected end of data" or not chunk:
                raise _explain_byte(path, data, error, offset, lines) from error
            used = error.start
        if not chunk:
            return is_blank
        offset, lines, rest = offset + used, lines + data.count(b"\n", 0, used), data[used:]


def _explain_byte(
    path: Path, data: bytes, error: UnicodeDecodeError, offset: int, lines: int
) -> DataError:
    """Name the first byte that is not UTF-8, and the encoding that the file seems to have."""
    line = lines + data.count(b"\n", 0, error.start)
    place = f"{path}, line {line}, byte {offset + error.start + 1}"
    byte = f"0x{data[error.start]:02x}"
    if not data[error.start]:
        return _encoding_error(f"{place}: not text (byte {byte}); it may be UTF-16.", "UTF-16")
    start = data.rfind(b"\n", 0, error.start) + 1
    end = data.find(b"\n", error.start)
    try:
        guess = data[start : end if end >= 0 else None].decode("gb18030")
    except UnicodeDecodeError:
        guess = ""
    if any("\u4e00" <= char <= "\u9fff" for char in guess):
        return _encoding_error(f"{place}: not UTF-8 (byte {byte}); it reads as GBK.", "GBK")
    return _encoding_error(f"{place}: not UTF-8 (byte {byte}).", "")


def _encoding_error(message: str, encoding: str) -> DataError:
    convert = f", or convert it: iconv -f {encoding} -t UTF-8 OLD > NEW" if encoding else ""
    return DataError(message, f"Save the file as UTF-8 in the program that made it{convert}.")


# --- one reader for each kind --------------------------------------------------------------------


def _read_json(path: Path, notes: list[str]) -> Iterator[Record]:
    """JSON of any shape: what the file holds decides, not its name."""
    with _open_text(path, notes, "\n") as file:
        is_lines_name = suffix_of(path) == ".jsonl"
        is_array = _first_char(file) == "["
        source = str(path)
        if is_array:
            if is_lines_name:
                notes.append("It holds one JSON array, though its name ends in .jsonl.")
            for number, value in enumerate(json_records.parse_array(file, source), 1):
                yield Record(value, number, source)
        elif is_lines_name or _starts_with_row(file):
            lines = json_records.parse_lines(file, source)
            for number, (value, line, problem) in enumerate(lines, 1):
                if number == 2 and not is_lines_name:
                    notes.append("It holds JSON lines, though its name ends in .json.")
                yield Record(value, number, source, line, problem)
        else:
            yield from _read_object(file, source, notes)


def _first_char(file: TextIO) -> str:
    """The first character that is no blank; the file is at its start again."""
    while not (start := file.read(4096).lstrip()):
        pass
    file.seek(0)
    return start[0]


def _starts_with_row(file: TextIO) -> bool:
    """Whether the first line is a whole object; the file is at its start again."""
    first_line = next(line for line in file if line.strip())
    file.seek(0)
    return json_records.is_object(first_line)


def _read_object(file: TextIO, source: str, notes: list[str]) -> Iterator[Record]:
    """One object over several lines."""
    values, key = json_records.parse_object(file, source)
    if key:
        notes.append(f"Its rows stand under the key {key!r}.")
    for number, value in enumerate(values, 1):
        yield Record(value, number, source)


def _read_text(path: Path, notes: list[str]) -> Iterator[Record]:
    """A text file is one document: it is cut by tokens later, where nothing is lost."""
    with _open_text(path, notes, "\n") as file:
        text = file.read().replace("\r\n", "\n").replace("\r", "\n")
    notes.append("The whole file is one text; for many texts write JSON lines of {text}.")
    yield Record({"text": text}, 1, str(path))


def _read_csv(path: Path, notes: list[str]) -> Iterator[Record]:
    """A table with its columns' names in the first line; a cell may hold line breaks."""
    # the module's limit of 131,072 characters is far below a long text; it takes a C long
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    source = str(path)
    with _open_text(path, notes, "") as file:
        delimiter = _find_delimiter(path, file.readline(), notes)
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            names = _check_header(path, next(rows), notes)
            number = 0
            start = rows.line_num + 1
            for cells in rows:
                line, start = start, rows.line_num + 1
                if any(cells):  # no blank line
                    number += 1
                    yield _to_record(names, cells, Record(None, number, source, line))
        except csv.Error as error:
            raise DataError(
                f"{path}, line {rows.line_num}: not a table ({error}).",
                "A quote opens a cell and never closes: double each quote inside a cell.",
            ) from error


def _find_delimiter(path: Path, header: str, notes: list[str]) -> str:
    """A comma, unless another sign divides the header."""
    if suffix_of(path) == ".tsv":
        return "\t"
    found = next((sign for sign in ";\t" if "," not in header and sign in header), ",")
    if found != ",":
        notes.append(f"Its columns are divided by {found!r}, not by commas.")
    return found


def _check_header(path: Path, names: list[str], notes: list[str]) -> list[str]:
    """The names of the columns, all there and different."""
    names = [name.strip() for name in names]
    if not names[0]:
        notes.append("The first column has no name and is not used.")
    for number, name in enumerate(names[1:], 2):
        if not name:
            raise DataError(f"{path}, line 1: column {number} has no name.", "Give it one.")
        if name in names[: number - 1]:
            raise DataError(f"{path}, line 1: two columns are called {name!r}.", "Rename one.")
    return names


def _to_record(names: list[str], cells: list[str], record: Record) -> Record:
    """A table's row; empty cells hold an empty text, which the row's check names by its column."""
    if len(cells) != len(names):
        return record._replace(
            problem=DataError(
                f"{record.where()}: it has {len(cells)} cells, the header has {len(names)}.",
                "Put a text with commas or line breaks in it between double quotes.",
            )
        )
    value = dict(zip(names, cells, strict=True))
    value.pop("", None)
    return record._replace(value=value)


def _read_parquet(path: Path, notes: list[str]) -> Iterator[Record]:
    """A Parquet table, a batch at a time."""
    import pyarrow
    from pyarrow import parquet  # takes 50 ms: only for such a file

    source = str(path)
    with path.open("rb") as file:
        try:
            batches = parquet.ParquetFile(file).iter_batches(batch_size=BATCH_ROWS)
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows, 1):
                yield Record(without_nulls(row), number, source)
        # broken bytes show as any of these, depending on where they stand
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            raise DataError(f"{path}: not a whole Parquet file.", json_records.CUT_OFF) from error


def without_nulls(value: Any) -> Any:
    """Leave out fields without a value: a table gives each row the fields of all rows.

    Args:
        value: a row of a table, or a part of one.

    Returns:
        The same without them.
    """
    if isinstance(value, dict):
        return {key: without_nulls(v) for key, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


def _read_workbook(path: Path, notes: list[str]) -> Iterator[Record]:
    """The rows of a workbook's only sheet with data, numbered as in the sheet."""
    from course_lib.data import sheets, spreadsheet

    sheet = sheets.read_sheet(path)
    notes += sheet.notes
    for row in sheet.rows:
        problems = [
            DataError(f"{sheet.place}, {sheet.cell(row, column)}: {problem}.", spreadsheet.MEND)
            for column, problem in row.problems.items()
        ]
        problem = problems[0] if problems else None
        yield Record(row.values, row.number, str(path), problem=problem)


_READERS: dict[str, Callable[[Path, list[str]], Iterator[Record]]] = {
    ".jsonl": _read_json,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".xlsx": _read_workbook,
    ".txt": _read_text,
}

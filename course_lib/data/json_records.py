"""JSON files to values, one at a time: lines, one array, or one object around a list."""

import json
from collections.abc import Iterator
from typing import Any, TextIO

from course_lib.errors import DataError

CHUNK_CHARS = 1 << 20  # of an array are read at once; the rest stays in the file
CUT_OFF = "The file breaks off: copy or download it again."
ROW_KEYS = {"messages", "conversation", "conversations", "instruction", "text", "prompt"}
CORRECT = "Correct it there; names and texts stand in double quotes."
END_MISSING = "its end is missing"
_BLANKS = " \t\r\n"


class _RepeatedKeyError(ValueError):
    """An object names a key twice, of which JSON readers keep the last without a word."""


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {repeated!r} stands twice in one object")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_to_object)


def parse_lines(file: TextIO, name: str) -> Iterator[tuple[Any, int, DataError | None]]:
    """Read JSON lines; blank ones are skipped.

    Args:
        file: opened with a newline for `newline`: U+2028 inside a text ends no line.
        name: what to call the file in messages.

    Yields:
        Value, line number from 1, and the problem of a line that is not JSON (it has no value).
    """
    number = 0
    for line, content in enumerate(file, 1):
        stripped = content.strip(_BLANKS)
        if not stripped:
            continue
        number += 1
        try:
            yield _decode(stripped), line, None
        except (ValueError, RecursionError) as error:
            where = f"{name}, row {number} (line {line})"
            yield None, line, _explain_line(where, stripped, error, not content.endswith("\n"))


def _decode(text: str) -> Any:
    """One JSON value that fills a text."""
    value, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return value


def _explain_line(where: str, content: str, error: Exception, is_last: bool) -> DataError:
    """Why a line is not JSON, and what to do."""
    next_step = "Write one object on each line; names and texts stand in double quotes."
    if content == "{":
        next_step = "The object goes on in the next lines: write each row on one line."
    elif is_last and not content.endswith("}"):
        next_step = CUT_OFF
    elif isinstance(error, _RepeatedKeyError):
        next_step = "Keep one of them."
    return DataError(f"{where}: not JSON ({describe_problem(error)}).", next_step)


def parse_array(file: TextIO, name: str) -> Iterator[Any]:
    """Read one JSON array, element by element; the whole is never in memory.

    Args:
        file: at its start.
        name: what to call the file in messages.

    Yields:
        The elements.

    Raises:
        DataError: it is not an array, or breaks off; names the line.
    """
    window = _Window(file, name)
    window.take("[")
    while window.next_char() != "]":
        yield window.value()
        if window.next_char() != "]":
            window.take(",")
            if window.next_char() == "]":
                window.fail("a comma stands before the end")
    window.take("]")
    if window.next_char():
        window.fail("there is text behind the end of the array")


class _Window:
    """A part of a file's text that moves on as values are taken from it."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self._name = file, name
        self._text, self._position = "", 0
        self._line, self._column = 1, 1  # where the text starts

    def _more(self) -> bool:
        """Read on; each time as much as there is, so that a long value is not tried too often."""
        rest = len(self._text) - self._position
        added = self._file.read(max(CHUNK_CHARS, rest))
        if added:
            self._line, self._column = self._place()
            self._text, self._position = self._text[self._position :] + added, 0
        return bool(added)

    def _place(self) -> tuple[int, int]:
        """Line and column of the position, from 1."""
        newlines = self._text.count("\n", 0, self._position)
        start = self._text.rfind("\n", 0, self._position) + 1
        column = self._position - start + 1
        return self._line + newlines, column if newlines else self._column + self._position

    def next_char(self) -> str:
        """The next character that is no blank; empty at the end of the file."""
        while True:
            while self._position < len(self._text):
                char = self._text[self._position]
                if char not in _BLANKS:
                    return char
                self._position += 1
            if not self._more():
                return ""

    def take(self, char: str) -> None:
        """Step over a character that must stand here."""
        found = self.next_char()
        if found != char:
            self.fail(f"expected {char!r}, found {found!r}" if found else END_MISSING)
        self._position += 1

    def value(self) -> Any:
        """The value that starts here."""
        self.next_char()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except (ValueError, RecursionError) as error:
                if self._is_final(error) or not self._more():
                    self.fail(error)
            else:
                # a number at the window's end may go on behind it
                if end < len(self._text) or not self._more():
                    self._position = end
                    return value

    def _is_final(self, error: Exception) -> bool:
        """Whether reading on cannot help: a value that goes on fails at the window's end."""
        if not isinstance(error, json.JSONDecodeError):
            return True
        return error.pos < len(self._text) - 64 and not error.msg.startswith("Unterminated")

    def fail(self, problem: str | Exception) -> None:
        """Report what is wrong at this place."""
        line, column = self._place()
        next_step = CUT_OFF if problem == END_MISSING else CORRECT
        if isinstance(problem, json.JSONDecodeError):
            self._position = problem.pos
            next_step = _next_step(problem, self._text, "]")
            problem, (line, column) = problem.msg, self._place()
        place = f"line {line}, column {column}" if line > 1 else f"column {column}"
        text = problem if isinstance(problem, str) else describe_problem(problem)
        raise DataError(f"{self._name}: not a JSON array ({text}: {place}).", next_step)


def parse_object(file: TextIO, name: str) -> tuple[list[Any], str]:
    """Read one object: a row by itself, or one around the list of rows.

    Args:
        file: at its start.
        name: what to call the file in messages.

    Returns:
        The rows, and the key that they stand under; empty when the object is a row.

    Raises:
        DataError: it is not JSON, or several keys hold lists of objects.
    """
    text = file.read().strip(_BLANKS)
    try:
        value = _decode(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{name}: not JSON ({describe_problem(error)}).", _next_step(error, text, "}")
        ) from error
    if ROW_KEYS & value.keys():
        return [value], ""
    lists = [
        key
        for key, found in value.items()
        if isinstance(found, list) and found and all(isinstance(one, dict) for one in found)
    ]
    if len(lists) > 1:
        raise DataError(
            f"{name}: several keys hold lists of rows: {', '.join(lists)}.",
            "Save the list to use in a file of its own.",
        )
    return (value[lists[0]], lists[0]) if lists else ([value], "")


def _next_step(error: Exception, text: str, closing: str) -> str:
    """What to do about a problem: where a file breaks off, it stands at the end."""
    if not isinstance(error, json.JSONDecodeError):
        return CORRECT
    text = text.rstrip()
    is_open = error.msg.startswith("Unterminated") and not text.endswith(closing)
    return CUT_OFF if is_open or error.pos >= len(text) - len("\\uXXXX") else CORRECT


def describe_problem(error: Exception) -> str:
    """What the JSON reader says, with the place where it knows one.

    Args:
        error: what it raised.

    Returns:
        Half a sentence.
    """
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if not isinstance(error, json.JSONDecodeError):  # a repeated key, a number of 5,000 digits
        return str(error)
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"{error.msg}: {line}column {error.colno}"


def is_object(line: str) -> bool:
    """Whether a line holds one whole JSON object.

    Args:
        line: the first line of a file.

    Returns:
        True for JSON lines and for an object by itself.
    """
    try:
        return isinstance(_decode(line.strip(_BLANKS)), dict)
    except (ValueError, RecursionError):
        return False

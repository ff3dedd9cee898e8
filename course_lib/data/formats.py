"""Data files to rows: read, checked row by row, and converted to `messages` or `text`."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.data import chat_template
from course_lib.errors import DataError, UnknownNameError

FORMATS = ("messages", "conversation", "text")  # each is named after its field
SUFFIXES = (".jsonl", ".json")
EXAMPLES = {
    "messages": '{"messages": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}',
    "conversation": '{"conversation": [{"system": "...", "input": "...", "output": "..."}]}',
    "text": '{"text": "..."}',
}
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class ReadReport:
    """What a data file turned out to be.

    Args:
        format: one of `FORMATS`.
        reason: why it was taken for that.
        n_rows: how many rows it holds.
        notes: what else a reader should know: oddities of the file, fields that are not used.
    """

    format: str
    reason: str
    n_rows: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Record:
    """A row as it stands in the file; `line` is known in JSON lines only."""

    value: Any
    number: int
    line: int | None = None

    def where(self, path: Path) -> str:
        """The row's place, for messages."""
        return f"{path}, row {self.number}" + (f" (line {self.line})" if self.line else "")


def read_rows(path: Path, format: str = "auto") -> list[dict[str, Any]]:  # noqa: A002
    """Read a data file; every row is checked before any is returned.

    Args:
        path: a .jsonl file with an object on each line, or a .json file with one array.
        format: one of `FORMATS`, or "auto" to tell it from the rows.

    Returns:
        Rows {"messages": [{"role", "content"}, ...]} or {"text": ...}.

    Raises:
        DataError: the file or a row is not as expected; names file, row, line and field.
        UnknownNameError: there is no such format.
    """
    return _read(Path(path), format)[0]


def describe_file(path: Path, format: str = "auto") -> ReadReport:  # noqa: A002
    """Say what a data file is, after the same checks as `read_rows`.

    Args:
        path: the file.
        format: one of `FORMATS`, or "auto".

    Returns:
        Its format with the reason, and notes.

    Raises:
        DataError: see `read_rows`.
        UnknownNameError: there is no such format.
    """
    return _read(Path(path), format)[1]


def detect_format(rows: Sequence[Any]) -> tuple[str, str]:
    """Tell the format of rows as they stand in a file.

    Args:
        rows: at least one.

    Returns:
        One of `FORMATS`, and the reason.

    Raises:
        DataError: the first row has none of the fields or more than one, or a later row
            lacks the first one's.
    """
    if not rows:
        raise DataError("There are no rows.", f"Write at least one row: {EXAMPLES['messages']}")
    fields = list(rows[0]) if isinstance(rows[0], dict) else []
    found = [name for name in FORMATS if name in fields]
    if len(found) != 1:
        raise DataError(
            f"row 1: expected one of the fields {', '.join(FORMATS)}, "
            f"found {_list_fields(rows[0])}.",
            "Name the format to read." if found else f"Write rows such as {EXAMPLES['messages']}",
        )
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or found[0] not in row:
            raise DataError(
                f"row {number}: expected the field {found[0]}, as in row 1, "
                f"found {_list_fields(row)}.",
                "Use one format in a file.",
            )
    return found[0], f"every row has the field {found[0]!r}"


def fill_placeholders(
    rows: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Put values in place of marks such as {{name}} in the rows' texts.

    Args:
        rows: with `messages` or `text`; they are not changed.
        values: the text for each mark. A mark inside a value stays as it is.

    Returns:
        New rows.

    Raises:
        DataError: a mark has no value, a value has no mark in any row, or is empty.
    """
    for name, value in values.items():
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"The value for {{{{{name}}}}} is empty: {value!r}.", "Give a text.")
    seen: set[str] = set()
    filled = [_fill_row(number, row, values, seen) for number, row in enumerate(rows, 1)]
    unused = [f"{{{{{name}}}}}" for name in values if name not in seen]
    if unused:
        raise DataError(
            f"No row has the mark {', '.join(unused)}.",
            f"Marks in the rows: {', '.join(sorted(seen)) or 'none'}. Check the spelling.",
        )
    return filled


def _fill_row(
    number: int, row: Mapping[str, Any], values: Mapping[str, str], seen: set[str]
) -> dict[str, Any]:
    """Fill one row, and note the marks found."""

    def fill(text: str) -> str:
        for name in _PLACEHOLDER.findall(text):
            if name not in values:
                raise DataError(
                    f"row {number}: the mark {{{{{name}}}}} has no value.",
                    f"Give one; there are values for: {', '.join(values) or 'none'}.",
                )
            seen.add(name)
        return _PLACEHOLDER.sub(lambda mark: values[mark[1]], text)

    if "messages" in row:
        return {**row, "messages": [{**m, "content": fill(m["content"])} for m in row["messages"]]}
    return {**row, "text": fill(row["text"])}


# --- reading -------------------------------------------------------------------------------------


def _read(path: Path, format_name: str) -> tuple[list[dict[str, Any]], ReadReport]:
    """Rows and report of a file."""
    if format_name not in ("auto", *FORMATS):
        raise UnknownNameError("data format", format_name, FORMATS)
    text, notes = _read_text(path)
    records, more_notes = _parse(path, text)
    reason = "it was asked for"
    if format_name == "auto":
        try:
            format_name, reason = detect_format([record.value for record in records])
        except DataError as error:
            raise DataError(f"{path}, {error.message}", error.next_step) from error
    rows = []
    for record in records:
        try:
            rows.append(_convert(record.value, format_name))
        except DataError as error:
            raise DataError(f"{record.where(path)}: {error.message}", error.next_step) from error
    notes += more_notes + _note_unused_fields(records, format_name)
    return rows, ReadReport(format_name, reason, len(rows), tuple(notes))


def _read_text(path: Path) -> tuple[str, list[str]]:
    """A file's text, and notes."""
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}.",
            "Convert it to JSON lines: one object on each line.",
        )
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}.", "Check the path and the spelling.")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x}).",
            "Save the file as UTF-8; editors and spreadsheets offer it when saving.",
        ) from error
    if not text.strip():
        raise DataError(f"{path} is empty.", f"Write rows such as {EXAMPLES['messages']}")
    has_mark = data.startswith(b"\xef\xbb\xbf")
    return text, ["It starts with a byte order mark, which is left out."] if has_mark else []


def _parse(path: Path, text: str) -> tuple[list[_Record], list[str]]:
    """The records of either kind of file; what it holds decides, not its name."""
    is_array = text.lstrip().startswith("[")
    is_jsonl = path.suffix.lower() == ".jsonl"
    notes = []
    if is_array == is_jsonl:
        kind = "one JSON array" if is_array else "JSON lines"
        notes.append(f"It holds {kind}, though its name ends in {path.suffix}.")
    records = _parse_array(path, text) if is_array else _parse_lines(path, text)
    return records, notes


def _parse_array(path: Path, text: str) -> list[_Record]:
    """The elements of one JSON array."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        # A file that breaks off in the middle is not closed: the error stands at its end.
        is_cut = isinstance(error, json.JSONDecodeError) and not text.rstrip().endswith("]")
        raise DataError(
            f"{path}: not a JSON array ({_describe_problem(error)}).",
            "The file breaks off: copy or download it again."
            if is_cut
            else "Correct it at the place named; names and texts stand in double quotes.",
        ) from error
    if not values:
        raise DataError(f"{path} holds no rows.", f"Write rows such as {EXAMPLES['messages']}")
    return [_Record(value, number) for number, value in enumerate(values, 1)]


def _parse_lines(path: Path, text: str) -> list[_Record]:
    """The records of JSON lines; blank lines are skipped."""
    records: list[_Record] = []
    lines = text.rstrip().split("\n")  # splitlines() would cut at U+2028 inside a text
    for line, content in enumerate(lines, 1):
        if not content.strip():
            continue
        record = _Record(None, len(records) + 1, line)
        try:
            records.append(_Record(json.loads(content), record.number, line))
        except (ValueError, RecursionError) as error:
            is_cut = line == len(lines) and line > 1 and not content.rstrip().endswith("}")
            raise DataError(
                f"{record.where(path)}: not JSON ({_describe_problem(error)}).",
                "The file breaks off: copy or download it again."
                if is_cut
                else "Write one object on each line; names and texts stand in double quotes.",
            ) from error
    return records


def _describe_problem(error: Exception) -> str:
    """What the JSON reader says, with the place where it knows one."""
    if not isinstance(error, json.JSONDecodeError):  # a number or a nesting beyond all bounds
        return str(error)
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"{error.msg}: {line}column {error.colno}"


def _note_unused_fields(records: Sequence[_Record], format_name: str) -> list[str]:
    """Fields that a learner may think have an effect."""
    used = {"messages": ("role", "content"), "conversation": ("system", "input", "output")}
    rows: Counter[str] = Counter()
    for record in records:
        names = set(record.value) - {format_name}
        parts = record.value[format_name] if format_name in used else ()
        names |= {
            f"{format_name}.{n}" for part in parts for n in part if n not in used[format_name]
        }
        rows.update(names)
    return [f"The field {n!r} is not used ({count} rows)." for n, count in sorted(rows.items())]


# --- rows ----------------------------------------------------------------------------------------


def _convert(value: Any, format_name: str) -> dict[str, Any]:
    """One row, checked."""
    if not isinstance(value, dict) or format_name not in value:
        raise DataError(
            f"expected the field {format_name}, found {_list_fields(value)}.",
            f"Write rows such as {EXAMPLES[format_name]}",
        )
    if format_name == "text":
        _check_text("field text", value["text"])
        return {"text": value["text"]}
    if format_name == "conversation":
        return {"messages": _turns_to_messages(value["conversation"])}
    messages = value["messages"]
    chat_template.check_messages(messages)
    if all(message["role"] != "assistant" for message in messages):
        raise DataError(
            "field messages: none has the role 'assistant', so there is nothing to learn.",
            "Add the reply that the model is to learn, or remove the row.",
        )
    return {"messages": [{"role": m["role"], "content": m["content"]} for m in messages]}


def _turns_to_messages(turns: Any) -> list[chat_template.Message]:
    """Turns of {system, input, output} as messages."""
    if not isinstance(turns, list) or not turns:
        found = "none" if turns == [] else type(turns).__name__
        raise DataError(
            f"field conversation: expected a list of turns, found {found}.",
            f"Write rows such as {EXAMPLES['conversation']}",
        )
    messages = []
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict):
            raise DataError(
                f"turn {number}: expected an object, found {type(turn).__name__}.",
                f"Write rows such as {EXAMPLES['conversation']}",
            )
        if turn.get("system") not in (None, ""):
            _check_system(number, turn["system"], turns[0])
            messages += [{"role": "system", "content": turn["system"]}] if number == 1 else []
        for field, role in (("input", "user"), ("output", "assistant")):
            _check_text(f"turn {number}, field {field}", turn.get(field))
            messages.append({"role": role, "content": turn[field]})
    return messages


def _check_system(number: int, text: Any, first_turn: dict[str, Any]) -> None:
    """A system text belongs to the whole conversation; later turns may only repeat it."""
    _check_text(f"turn {number}, field system", text)
    if text != first_turn.get("system"):
        raise DataError(
            f"turn {number}, field system: it differs from the first turn's.",
            "Give one system text, in the first turn, or make two rows.",
        )


def _check_text(where: str, text: Any) -> None:
    """Refuse what is not a text, or holds none."""
    if not isinstance(text, str):
        found = "nothing" if text is None else type(text).__name__
        raise DataError(f"{where}: expected text, found {found}.", "Write a text in double quotes.")
    if not text.strip():
        raise DataError(
            f"{where}: the text is empty.",
            'Fill it in, or remove the row; plain text without questions is {"text": "..."}.',
        )
    if chat_template.has_lone_surrogate(text):
        raise DataError(
            f"{where}: the text holds half of a character (a lone surrogate).",
            "Write the whole character, for example the emoji itself.",
        )


def _list_fields(value: Any) -> str:
    """What a row has instead, for messages."""
    if not isinstance(value, dict):
        return type(value).__name__
    return f"fields {', '.join(map(str, list(value)[:8]))}" if value else "no fields"

"""Which formats a row may be in, told from its fields, with the reason."""

import difflib
from typing import Any

from course_lib.data import conversions, fields, message_trees
from course_lib.errors import DataError


def check_fit(row: Any, first: Any) -> None:
    """Refuse a row whose format cannot be told, or is not the first row's.

    Args:
        row: as it stands in a file.
        first: the first row, which may be the same.

    Raises:
        DataError: lists what the row could be, or what it has instead.
    """
    found, other = fitting_formats(first), fitting_formats(row)
    if row is first and len(found) != 1:
        _refuse(row, found)
    expected = next(iter(found))
    if expected in other:
        return
    is_marked = {expected, *other} == {"text", "oasst1"}
    raise DataError(
        f"expected the format {expected}, as in the first row, found "
        f"{', '.join(other) or fields.list_fields(row)}.",
        "Some texts start with '### Human:' and some do not: name the format, oasst1 or text."
        if is_marked
        else "Use one format in a file, or name the format.",
    )


def fitting_formats(row: Any) -> dict[str, str]:
    """The formats that a row may be in.

    Args:
        row: as it stands in a file.

    Returns:
        Format to reason; empty when none fits, several for an ambiguous row.
    """
    if not isinstance(row, dict):
        return {}
    if message_trees.is_message(row):
        return {message_trees.FORMAT: "every row has the fields 'message_id', 'role' and 'text'"}
    if message_trees.is_tree(row):
        return {
            message_trees.FORMAT: "every row has the field 'prompt' with a message and its replies"
        }
    found = {
        name: f"every row has the field {name!r}"
        for name in ("messages", "conversation")
        if name in row
    }
    if "conversations" in row:
        found |= _fitting_conversations(row["conversations"])
    if "instruction" in row and "output" in row:
        found["alpaca"] = "every row has the fields 'instruction' and 'output'"
    if isinstance(row.get("text"), str) and row["text"].lstrip().startswith("### Human:"):
        found["oasst1"] = "every row has the field 'text', which starts with '### Human:'"
    elif "text" in row:
        found["text"] = "every row has the field 'text'"
    return found


def _fitting_conversations(value: Any) -> dict[str, str]:
    """Three formats call their list 'conversations': the speakers tell which it is."""
    try:
        turns = fields.parse_cell(value, "conversations")
    except DataError:
        turns = ()
    turns = [turn for turn in turns if isinstance(turn, dict)] if isinstance(turns, list) else []
    if turns and all("role" in turn for turn in turns):
        return {"messages": "every row has the field 'conversations' with 'role' and 'content'"}
    speakers = {turn.get("from") for turn in turns if isinstance(turn.get("from"), str)}
    name = "ms_agent" if "user" in speakers and "human" not in speakers else "sharegpt"
    shown = ", ".join(sorted(speakers)) or "nobody"
    return {name: f"every row has the field 'conversations'; in the first one speak: {shown}"}


def _refuse(row: Any, found: dict[str, str]) -> None:
    """Say what a row could be, or that it fits nothing."""
    if found:
        kinds = [f"{name} ({reason})" for name, reason in found.items()]
        raise DataError(
            f"it could be {' or '.join(kinds)}.".replace("every row", "it"),
            f"Name the format to read: {' or '.join(found)}.",
        )
    raise DataError(f"no known format, found {fields.list_fields(row)}.", _advise(row))


def _advise(row: Any) -> str:
    """The next step for a row of no known format."""
    known = {field: name for name, fields in conversions.ROW_FIELDS.items() for field in fields[:1]}
    for field in row if isinstance(row, dict) else ():
        near = difflib.get_close_matches(str(field), known, n=1, cutoff=0.8)  # a slip of the pen
        if near:
            example = conversions.EXAMPLES[known[near[0]]]
            return f"Did you mean {near[0]!r} by {field!r}? Write {example}"
    if isinstance(row, dict) and len(row) > 1:
        return (
            "Rename two fields to instruction and output (the format alpaca); of a workbook, take "
            "columns: tunebook data xlsx FILE --input COLUMN --output COLUMN --out rows.jsonl"
        )
    return f"Write rows such as {conversions.EXAMPLES['messages']}"

"""Conversations with tools, in either form, to ReAct rows that any chat template can show."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course_lib.data import conversions, detection, ms_agent, react, readers, sources, tool_specs
from course_lib.errors import DataError


@dataclass
class Written:
    """What became of a file.

    Args:
        rows: how many were written.
        with_calls: how many of them call a tool.
        left_out: of each bad row, its number and what is wrong.
        notes: what is odd about the file.
    """

    rows: int = 0
    with_calls: int = 0
    left_out: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def to_react_row(
    value: Mapping[str, Any], language: str = "auto", has_guard: bool = False
) -> dict[str, Any]:
    """Write a conversation with tools as ReAct text.

    Args:
        value: a row as it stands in a file: MS-Agent's, or `messages` with `tools`.
        language: of the system text; `auto` for the question's.
        has_guard: results are quoted, see `react.observation_message`.

    Returns:
        `messages` of the roles system, user and assistant.

    Raises:
        DataError: the row is in neither form, or is not as expected.
    """
    formats = detection.fitting_formats(value)
    is_ms_agent = list(formats) == ["ms_agent"]
    if not is_ms_agent and "messages" not in formats:
        raise DataError(
            f"expected a conversation with tools, found {', '.join(formats) or 'no known format'}.",
            f"Write rows such as {conversions.EXAMPLES['messages']} with tools, or MS-Agent's.",
        )
    row = ms_agent.to_row(value) if is_ms_agent else conversions.convert(value, "messages")
    conversions.check_dialogue(row["messages"])
    specs = tool_specs.from_openai(row.get("tools") or [])
    if language == "auto":
        asked = next(m["content"] for m in row["messages"] if m["role"] == "user")
        language = react.language_of(asked)
    return {"messages": react.render_messages(row["messages"], specs, language, has_guard)}


def write_react_rows(
    path: Path | str,
    out: Path,
    language: str = "auto",
    has_guard: bool = False,
    skip_bad_rows: bool = False,
) -> Written:
    """Write a file's conversations with tools as ReAct rows.

    Args:
        path: a file, a folder of them, or a data set's id.
        out: the new file, ending in .jsonl.
        language: see `to_react_row`.
        has_guard: see `to_react_row`.
        skip_bad_rows: leave bad rows out and count them, in place of stopping at the first.

    Returns:
        What was written, and what was left out.

    Raises:
        DataError: a row is not as expected; names it. Nothing is written then.
    """
    if out.suffix != ".jsonl":
        raise DataError(f"{out} does not end in .jsonl.", "Name the new file rows.jsonl or so.")
    report = Written()
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part")  # the data set is larger than many a memory
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for record in sources.iter_records(path, report.notes):
                row = _read(record, language, has_guard, report, skip_bad_rows)
                if row is not None:
                    report.rows += 1
                    report.with_calls += any(map(_calls, row["messages"]))
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if not report.rows:
            first = next(iter(report.left_out.values()), "it holds none")
            raise DataError(
                f"{path} gives no rows: {first}", "Look at it: tunebook data inspect FILE"
            )
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return report


def _read(
    record: readers.Record, language: str, has_guard: bool, report: Written, skips: bool
) -> dict[str, Any] | None:
    """A record's row; None for a bad one that is left out."""
    try:
        if record.problem:
            raise record.problem
        return to_react_row(record.value, language, has_guard)
    except DataError as error:
        if not skips:
            is_placed = error.message.startswith(record.source)
            message = error.message if is_placed else f"{record.where()}: {error.message}"
            raise DataError(message, error.next_step) from error
        report.left_out[record.number] = error.message
        return None


def _calls(message: Mapping[str, Any]) -> bool:
    return message["role"] == "assistant" and "Action Input:" in message["content"]

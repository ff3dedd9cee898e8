"""Formats whose turns name who speaks in words of their own: ShareGPT, MS-Agent, oasst1."""

import json
import re
from collections.abc import Mapping
from typing import Any

from course_lib.data import fields
from course_lib.errors import DataError

SHAREGPT_EXAMPLE = (
    '{"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "..."}]}'
)
MS_AGENT_EXAMPLE = (
    '{"conversations": [{"from": "user", "value": "..."}, {"from": "assistant", "value": "..."}]}'
)
OASST1_EXAMPLE = '{"text": "### Human: ...### Assistant: ..."}'
SHAREGPT_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "function_call",
    "tool": "tool",
    "observation": "tool",
}
MS_AGENT_SPEAKERS = {"system": "system", "user": "user", "assistant": "assistant"}
_OASST1_MARK = re.compile(r"### (Human|Assistant):")
# A plugin's result stands inside the reply between these marks; the tool said it, not the model.
_RESULT = re.compile(r"<\|startofexec\|>(.*?)<\|endofexec\|>", re.DOTALL)
_RESULT_MARK = re.compile(r"<\|(?:start|end)ofexec\|>")

Messages = list[dict[str, Any]]


def from_sharegpt(value: Mapping[str, Any]) -> Messages:
    """ShareGPT's turns; calls as LLaMA-Factory writes them become `tool_calls`.

    Args:
        value: the row, with its field.

    Returns:
        Messages; their order is not checked yet.

    Raises:
        DataError: names the turn and the field.
    """
    messages: Messages = []
    if value.get("system") not in (None, ""):
        fields.check_text("field system", value["system"])
        messages.append({"role": "system", "content": value["system"]})
    for number, role, text in _speakers(value, SHAREGPT_SPEAKERS, SHAREGPT_EXAMPLE):
        if role != "function_call":
            messages.append({"role": role, "content": text})
            continue
        call = {"type": "function", "function": _parse_call(number, text)}
        if messages and messages[-1]["role"] == "assistant":  # it said something, or calls twice
            messages[-1].setdefault("tool_calls", []).append(call)
        else:
            messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
    return messages


def _parse_call(number: int, text: str) -> dict[str, Any]:
    """A call's name and arguments."""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        call = None
    if not isinstance(call, dict) or not {"name", "arguments"} <= call.keys():
        raise DataError(
            f"turn {number} (function_call), field value: expected JSON with name and arguments, "
            f"found {text[:40]!r}.",
            'Write {"name": "...", "arguments": {...}}.',
        )
    return {"name": call["name"], "arguments": call["arguments"]}


def _speakers(
    value: Mapping[str, Any], known: Mapping[str, str], example: str
) -> list[tuple[int, str, str]]:
    """Number, role and text of each turn of {from, value}."""
    found = []
    turns = fields.list_of_objects(value, "conversations", example)
    for number, turn in enumerate(turns, 1):
        speaker = turn.get("from")
        if not isinstance(speaker, str) or speaker not in known:
            raise DataError(
                f"turn {number}, field from: {speaker!r} is no speaker.",
                f"Use one of {', '.join(known)}.",
            )
        fields.check_text(f"turn {number} ({speaker}), field value", turn.get("value"))
        found.append((number, known[speaker], turn["value"]))
    return found


def from_ms_agent(value: Mapping[str, Any]) -> Messages:
    """MS-Agent's turns: a reply holds calls of plugins and, between marks, their results.

    Args:
        value: the row, with its field.

    Returns:
        Messages; their order is not checked yet.

    Raises:
        DataError: names the turn and the field.

    Source: the README of ModelScope-Agent, "Training".
    """
    messages: Messages = []
    for number, role, text in _speakers(value, MS_AGENT_SPEAKERS, MS_AGENT_EXAMPLE):
        pieces = _RESULT.split(text) if role == "assistant" else [text]
        for index, piece in enumerate(pieces):
            if role == "assistant" and _RESULT_MARK.search(piece):
                raise DataError(
                    f"turn {number} (assistant), field value: a mark around a plugin's result "
                    "has no partner.",
                    "Write <|startofexec|>...<|endofexec|>.",
                )
            is_result = index % 2 == 1
            if is_result:
                fields.check_text(f"turn {number} ({role}), result of a plugin", piece)
            if is_result or piece.strip():
                content = piece.strip() if len(pieces) > 1 else piece
                messages.append({"role": "tool" if is_result else role, "content": content})
    return messages


def has_open_question(value: Mapping[str, Any]) -> bool:
    """Whether an oasst1 row ends with a question that nobody answered.

    Args:
        value: the row, checked by `from_oasst1`.
    """
    return _OASST1_MARK.findall(value["text"])[-1] == "Human"


def from_oasst1(value: Mapping[str, Any]) -> Messages:
    """Text with a mark before each turn; a question without an answer at the end is left out.

    Args:
        value: the row, with its field.

    Returns:
        Messages; their order is not checked yet.

    Raises:
        DataError: names the turn and the field.
    """
    fields.check_text("field text", value["text"])
    before, *pieces = _OASST1_MARK.split(value["text"])
    if before.strip() or not pieces:
        raise DataError(
            f"field text: expected '### Human:' at its start, found {before.strip()[:40]!r}.",
            f"Write rows such as {OASST1_EXAMPLE}",
        )
    messages: Messages = []
    for number, (name, text) in enumerate(zip(pieces[::2], pieces[1::2], strict=True), 1):
        fields.check_text(f"turn {number} (### {name}:)", text)
        messages.append(
            {"role": "user" if name == "Human" else "assistant", "content": text.strip()}
        )
    is_open = messages[-1]["role"] == "user" and len(messages) > 1
    return messages[:-1] if is_open else messages

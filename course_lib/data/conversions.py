"""Rows of each known format to `messages` or `text`, checked field by field."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from course_lib.data import chat_template, fields, speakers, tool_specs
from course_lib.errors import DataError

EXAMPLES = {
    "messages": '{"messages": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}',
    "conversation": '{"conversation": [{"system": "...", "input": "...", "output": "..."}]}',
    "alpaca": '{"instruction": "...", "input": "...", "output": "..."}',
    "sharegpt": speakers.SHAREGPT_EXAMPLE,
    "ms_agent": speakers.MS_AGENT_EXAMPLE,
    "oasst1": speakers.OASST1_EXAMPLE,
    "text": '{"text": "..."}',
}
# Fields that a conversion uses: of the row, and of the objects in its list.
ROW_FIELDS = {
    "messages": ("messages", "conversations", "tools"),
    "conversation": ("conversation",),
    "alpaca": ("instruction", "input", "output", "history", "system"),
    "sharegpt": ("conversations", "system"),
    "ms_agent": ("conversations",),
    "oasst1": ("text",),
    "text": ("text",),
}
PART_FIELDS = {
    "messages": ("role", "content", "tool_calls", "tool_call_id", "weight", "loss"),
    "conversation": ("system", "input", "output", "output_with_loss"),
    "sharegpt": ("from", "value"),
    "ms_agent": ("from", "value"),
}
Messages = list[dict[str, Any]]


def convert(value: Any, format_name: str) -> dict[str, Any]:
    """Turn one row as it stands in a file into a checked row.

    Args:
        value: the row; fields that its format does not use are left out.
        format_name: one of `EXAMPLES`.

    Returns:
        {"messages": [...]} that starts with the user, after system messages, takes turns and
        has a reply, with `tools` when it offers some; or {"text": ...}.

    Raises:
        DataError: names the field, what was found and what was expected.
    """
    needed = ("instruction", "output") if format_name == "alpaca" else ROW_FIELDS[format_name][:1]
    names = value.keys() if isinstance(value, dict) else ()
    if format_name == "messages" and "messages" not in names and "conversations" in names:
        needed = ("conversations",)  # the same list under another name
    if not all(field in names for field in needed):
        what = "fields" if len(needed) > 1 else "field"
        raise DataError(
            f"expected the {what} {' and '.join(needed)}, found {fields.list_fields(value)}.",
            f"Write rows such as {EXAMPLES[format_name]}",
        )
    if format_name == "text":
        fields.check_text("field text", value["text"])
        return {"text": value["text"]}
    messages = _CONVERTERS[format_name](value)
    check_dialogue(messages)
    tools = _tools_of(value) if format_name == "messages" else []
    return {"messages": messages, "tools": tools} if tools else {"messages": messages}


def _tools_of(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a row offers, in one form."""
    given = fields.parse_cell(value.get("tools") or [], "tools")
    if not isinstance(given, list | tuple):
        raise DataError(
            f"field tools: expected a list, found {type(given).__name__}.",
            f"Write [{tool_specs.EXAMPLE}]",
        )
    return [spec.as_openai() for spec in tool_specs.from_openai(given)]


def check_dialogue(messages: Messages) -> None:
    """Refuse a conversation that chat never has, or that holds nothing to learn.

    Args:
        messages: in order.

    Raises:
        DataError: names the message.
    """
    chat_template.check_messages(messages)
    before = "system"
    for number, message in enumerate(messages, 1):
        role = message["role"]
        if role == before != "system" and role != "tool":
            raise DataError(
                f"message {number} ({role}): the message before it is the {role}'s too.",
                "Join the two, or put in the turn that is missing between them.",
            )
        if role == "tool" and before == "user":
            raise DataError(
                f"message {number} (tool): no assistant's call stands before it.",
                "Put the call before it; a tool answers calls only.",
            )
        before = role
    if all(message["role"] != "assistant" for message in messages):
        raise DataError(
            "no message has the role 'assistant', so there is nothing to learn.",
            "Add the reply that the model is to learn, or remove the row.",
        )


def parts_of(value: Mapping[str, Any], format_name: str) -> Sequence[Mapping[str, Any]]:
    """The objects in a row's list, after it was converted.

    Args:
        value: the row as it stands in the file.
        format_name: its format.

    Returns:
        Messages or turns; none for formats without a list.
    """
    if format_name not in PART_FIELDS:
        return ()
    field = next(field for field in ROW_FIELDS[format_name] if field in value)
    return fields.parse_cell(value[field], field)


# --- one converter for each format ---------------------------------------------------------------


def _from_messages(value: Mapping[str, Any]) -> Messages:
    """OpenAI's format; what a template cannot show is left out."""
    field = "messages" if "messages" in value else "conversations"
    given = fields.parse_cell(value[field], field)
    if not isinstance(given, list | tuple) or not all(isinstance(m, dict) for m in given):
        chat_template.check_messages(given)
    return [_to_message(message) for message in given]


def _to_message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with the fields that have a meaning, where they have a value."""
    made = {field: message[field] for field in ("role", "content") if field in message}
    if len(message) == len(made):
        return made
    if message.get("tool_calls"):
        made["content"] = made.get("content") or ""
    more = ("tool_calls", "tool_call_id", "weight", "loss")
    return made | {field: message[field] for field in more if message.get(field) is not None}


def _from_conversation(value: Mapping[str, Any]) -> Messages:
    """Turns of {system, input, output}."""
    turns = fields.list_of_objects(value, "conversation", EXAMPLES["conversation"])
    messages: Messages = []
    for number, turn in enumerate(turns, 1):
        if turn.get("system") not in (None, ""):
            _check_system(number, turn["system"], turns[0])
            messages += [{"role": "system", "content": turn["system"]}] if number == 1 else []
        for field, role in (("input", "user"), ("output", "assistant")):
            fields.check_text(f"turn {number}, field {field}", turn.get(field))
            messages.append({"role": role, "content": turn[field]})
        if turn.get("output_with_loss") is not None:  # XTuner's field
            messages[-1]["loss"] = turn["output_with_loss"]
    return messages


def _check_system(number: int, text: Any, first_turn: Mapping[str, Any]) -> None:
    """A system text belongs to the whole conversation; later turns may only repeat it."""
    fields.check_text(f"turn {number}, field system", text)
    if text != first_turn.get("system"):
        raise DataError(
            f"turn {number}, field system: it differs from the first turn's.",
            "Give one system text, in the first turn, or make two rows.",
        )


def _from_alpaca(value: Mapping[str, Any]) -> Messages:
    """Stanford Alpaca's fields; history and system as LLaMA-Factory adds them."""
    messages: Messages = []
    if value.get("system") not in (None, ""):
        fields.check_text("field system", value["system"])
        messages.append({"role": "system", "content": value["system"]})
    history = fields.parse_cell(value.get("history") or [], "history")
    for number, turn in enumerate(history if isinstance(history, list | tuple) else [history], 1):
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise DataError(
                f"field history, turn {number}: expected a question and its answer.",
                'Write "history": [["question", "answer"], ...].',
            )
        for text, role in zip(turn, ("user", "assistant"), strict=True):
            fields.check_text(f"field history, turn {number}, {role}", text)
            messages.append({"role": role, "content": text})
    return messages + _last_turn(value)


def _last_turn(value: Mapping[str, Any]) -> Messages:
    """An alpaca row's own question, with its input on the line below, and its answer."""
    for field in ("instruction", "output"):
        fields.check_text(f"field {field}", value[field])
    question = value["instruction"]
    if value.get("input") is not None and value["input"] != "":
        if not isinstance(value["input"], str):
            fields.check_text("field input", value["input"])
        question += f"\n{value['input']}" if value["input"].strip() else ""
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": value["output"]},
    ]


_CONVERTERS: dict[str, Callable[[Mapping[str, Any]], Messages]] = {
    "messages": _from_messages,
    "conversation": _from_conversation,
    "alpaca": _from_alpaca,
    "sharegpt": speakers.from_sharegpt,
    "ms_agent": speakers.from_ms_agent,
    "oasst1": speakers.from_oasst1,
}

"""Tool calls, in the shape of OpenAI's API, as the text that a model writes.

Each call is one block at the end of the reply, so it carries loss like the rest of the reply:

    <tool_call>
    {"name": "add", "arguments": {"a": 1}}
    </tool_call>

Source: the format of Nous Research's Hermes 2 Pro, which Qwen2.5 and Qwen3 share.
"""

import json
from collections.abc import Mapping
from typing import Any

from course_lib.errors import DataError, ModelError

# One of each kind: a call alone, and one behind a text.
_FUNCTION = {"name": "add", "arguments": {"a": 1, "b": "é"}}
_PROBE_CALLS = [{"type": "function", "function": _FUNCTION}]


def whole_content(message: Mapping[str, Any]) -> str:
    """The text of a message, with its tool calls written behind it.

    Args:
        message: checked by `check_calls`; its content may be empty when it has calls.

    Returns:
        What stands in the message's place in a template.
    """
    content = message.get("content") or ""
    if not message.get("tool_calls"):
        return content
    blocks = [_call_text(call["function"]) for call in message["tool_calls"]]
    return "\n".join([*([content] if content.strip() else []), *blocks])


def _call_text(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    call = {"name": function["name"], "arguments": arguments}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def check_calls(number: int, message: Mapping[str, Any]) -> None:
    """Refuse calls that cannot be written as meant.

    Args:
        number: of the message, from 1.
        message: with or without the field `tool_calls`.

    Raises:
        DataError: a call has no name, its arguments are no JSON object, or another role than
            the assistant calls; names message and call.
    """
    calls = message.get("tool_calls")
    if not calls:
        return
    where = f"message {number} ({message['role']}), field tool_calls"
    if message["role"] != "assistant" or not isinstance(calls, list | tuple):
        found = type(calls).__name__ if message["role"] == "assistant" else message["role"]
        raise DataError(
            f"{where}: expected a list of calls by the assistant, found {found}.",
            "Only the assistant calls tools; a result has the role tool.",
        )
    for place, call in enumerate(calls, 1):
        problem = _call_problem(call)
        if problem:
            raise DataError(
                f"{where}, call {place}: {problem}.",
                'Write {"type": "function", "function": {"name": "...", "arguments": "{...}"}}.',
            )


def _call_problem(call: Any) -> str:
    """What is wrong with a call, or nothing."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        return "expected an object with function and its name"
    arguments = function.get("arguments") or {}
    try:
        arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    except json.JSONDecodeError as error:
        return f"the arguments are not JSON ({error.msg}: column {error.colno})"
    return "" if isinstance(arguments, dict) else "the arguments are not a JSON object"


def check_template(tokenizer: Any) -> None:
    """Refuse a template that writes calls in a way of its own.

    A template that does not know tool calls gets them as part of the reply's text.

    Args:
        tokenizer: with its chat template.

    Raises:
        ModelError: the template's text of a call is another than ours, so the model was tuned
            to write another one.
    """
    import jinja2

    if "tool_calls" not in str(tokenizer.chat_template):
        return
    ask = {"role": "user", "content": "1+1?"}
    for content in ("", "Let me add."):
        native = {"role": "assistant", "content": content, "tool_calls": _PROBE_CALLS}
        ours = {"role": "assistant", "content": whole_content(native)}
        try:
            pair = [tokenizer.apply_chat_template([ask, m], tokenize=False) for m in (native, ours)]
        except jinja2.TemplateError:
            pair = ["refused", ""]
        if pair[0] != pair[1]:
            raise ModelError(
                "The tokenizer's chat template writes tool calls in another way than "
                "<tool_call>{...}</tool_call>, the one that the course writes.",
                "Name a template, for example prompt_template: chatml, or write the calls into "
                "the replies' content as this model expects them.",
            )

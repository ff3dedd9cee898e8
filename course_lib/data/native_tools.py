"""Tools offered the way that a model's own chat template offers them.

A template is asked once what it writes for the tools; that text then stands in the system message
like any other content. So one list of messages serves training and chat, and nothing in a tool's
description, which is data too, can become a control token.

A template that knows no tools gets them as text, and one that knows no role for their results gets
these in a user's turn, in the form that Qwen's templates use.

Source: transformers' guide "Tool use", and the templates of Qwen2.5 and Qwen3.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from course_lib.data import slots, tool_calls, tool_specs
from course_lib.errors import DataError, ModelError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

_SYSTEM, _USER = "\ue000system\ue001", "\ue000user\ue001"  # stand for the contents
_OFFER = """\
You can use the tools below. To call one, write
<tool_call>
{"name": "the tool", "arguments": {"argument": "value"}}
</tool_call>
"""
Messages = list[dict[str, Any]]


def offer_tools(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[tool_specs.ToolSpec],
    tokenizer: "PreTrainedTokenizerFast",
) -> Messages:
    """Put what the template writes for the tools into the system message.

    Args:
        messages: the conversation; it is not changed.
        tools: offered from its start on; none changes nothing.
        tokenizer: with its chat template.

    Returns:
        Messages that the template, without tools, renders as the others with them. Results
        stand in the role that the template knows.

    Raises:
        ModelError: the template offers tools elsewhere than before the user's first words, or
            writes calls in a way of its own.
    """
    made = with_known_roles(messages, tokenizer)
    if not tools:
        return made
    tool_specs.check_names(tools)
    tool_calls.check_template(tokenizer)
    own = made[0]["content"] if made and made[0]["role"] == "system" else ""
    as_json = json.dumps([spec.as_openai() for spec in tools])
    offer = _offer_text(as_json, bool(own), tokenizer, str(tokenizer.chat_template))
    system = {"role": "system", "content": offer.replace(_SYSTEM, own)}
    return [system, *made[bool(own) :]]


def row_messages(row: Mapping[str, Any], tokenizer: "PreTrainedTokenizerFast") -> Messages:
    """A row's messages, with the tools that its field `tools` offers.

    Args:
        row: with `messages`, and perhaps with `tools`; it is not changed.
        tokenizer: with its chat template.

    Returns:
        Messages to encode; the row's own when it offers no tools.

    Raises:
        DataError: a tool is not as expected; names its number.
        ModelError: see `offer_tools`.
    """
    if not row.get("tools"):
        return row["messages"]
    return offer_tools(row["messages"], tool_specs.from_openai(row["tools"]), tokenizer)


@lru_cache(maxsize=64)  # most rows of a data set offer the same tools
def _offer_text(tools_json: str, has_system: bool, tokenizer: Any, template: str) -> str:
    """The system message with the tools, and a mark where the conversation's own text goes."""
    tools = json.loads(tools_json)
    if "tools" not in template:
        lines = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
        before = [_SYSTEM] if has_system else []
        return "\n".join([*before, _OFFER + "<tools>", *lines, "</tools>"])
    user = {"role": "user", "content": _USER}
    system = {"role": "system", "content": _SYSTEM}
    plain = _render([system, user], tokenizer)
    wanted = _render([system, user] if has_system else [user], tokenizer, tools)
    before, _, rest = plain.partition(_SYSTEM)
    between = rest.partition(_USER)[0]
    head = wanted.partition(_USER)[0]
    text = head[len(before) : len(head) - len(between)]
    if _render([{"role": "system", "content": text}, user], tokenizer) != wanted:
        raise ModelError(
            "The tokenizer's chat template offers tools elsewhere than in the system message.",
            "Name a template, for example prompt_template: chatml, or use the ReAct form.",
        )
    return text


def _render(messages: Messages, tokenizer: Any, tools: Any = None) -> str:
    return tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)


def with_known_roles(
    messages: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerFast"
) -> Messages:
    """Put results of tools into users' turns where a template knows no role for them.

    Args:
        messages: the conversation; it is not changed.
        tokenizer: with its chat template.

    Returns:
        The same messages, or with results as `<tool_response>` blocks, those that follow each
        other in one turn.
    """
    made = [dict(message) for message in messages]
    if all(message["role"] != "tool" for message in made) or knows_results(tokenizer):
        return made
    joined: Messages = []
    for message in made:
        is_result = message["role"] == "tool"
        if not is_result:
            joined.append(message)
            continue
        block = f"<tool_response>\n{message['content']}\n</tool_response>"
        if joined and joined[-1].get("is_results"):
            joined[-1]["content"] += f"\n{block}"
        else:
            joined.append({"role": "user", "content": block, "is_results": True})
    return [{key: value for key, value in m.items() if key != "is_results"} for m in joined]


def knows_results(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether a template writes messages of the role `tool`.

    Args:
        tokenizer: with its chat template.
    """
    return _knows_results(tokenizer, str(tokenizer.chat_template))


@lru_cache(maxsize=64)
def _knows_results(tokenizer: Any, template: str) -> bool:
    try:
        slots.render(["user", "assistant", "tool", "assistant"], tokenizer)
    except DataError:
        return False
    return True

"""MS-Agent's rows as calls and results: which plugins there are, who called which, what came back.

In the data set a reply is one text: words, a plugin's call as JSON between `<|startofthink|>` and
`<|endofthink|>`, its result between `<|startofexec|>` and `<|endofexec|>`, and words again. The
plugins stand as JSON objects in the system text. Here each becomes a message or a tool of its own,
so that a template, or ReAct, can write them, and the loss falls on what the model says alone.

Source: the README of ModelScope-Agent ("Training") for the marks and the call's fields, and what
XTuner's `msagent_react_map_fn` reads of the plugins' descriptions.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from course_lib.data import react, speakers, tool_specs
from course_lib.errors import DataError

_CALL = re.compile(r"<\|startofthink\|>(.*?)<\|endofthink\|>", re.DOTALL)
_CALL_MARK = re.compile(r"<\|(?:start|end)ofthink\|>")
_FENCE = re.compile(r"^\s*```(?:json)?(?:\\n)?|(?:\\n)?```\s*$", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
Messages = list[dict[str, Any]]


def to_row(value: Mapping[str, Any]) -> dict[str, Any]:
    """Take an MS-Agent row apart.

    Args:
        value: the row as it stands in the file, with `conversations`.

    Returns:
        `messages` with `tool_calls` and the role `tool`, and `tools`, in OpenAI's form.

    Raises:
        DataError: names the turn and what is wrong with it.
    """
    messages: Messages = []
    tools: list[tool_specs.ToolSpec] = []
    for number, message in enumerate(speakers.from_ms_agent(value), 1):
        if message["role"] == "system":
            text, found = split_system(message["content"])
            tools += found
            messages += [{"role": "system", "content": text}] if text else []
        elif message["role"] == "assistant":
            messages += _to_replies(number, message["content"])
        elif message["role"] == "tool":
            messages.append({"role": "tool", "content": without_fence(message["content"])})
        else:
            messages.append(message)
    if not messages:
        raise DataError("field conversations: nobody says anything.", "Leave this row out.")
    tool_specs.check_names(tools)
    return {"messages": messages, "tools": [spec.as_openai() for spec in tools]}


def to_react(value: Mapping[str, Any], language: str = "zh") -> dict[str, Any]:
    """An MS-Agent row as ReAct text.

    Args:
        value: the row as it stands in the file.
        language: of the system text; the data set is Chinese.

    Returns:
        `messages` of the roles system, user and assistant, to train on with any template.

    Raises:
        DataError: see `to_row`; or a call has no result where one is due.
    """
    row = to_row(value)
    specs = tool_specs.from_openai(row["tools"])
    return {"messages": react.render_messages(row["messages"], specs, language)}


def _to_replies(number: int, text: str) -> Messages:
    """The messages of a reply between two results; a call is the last of them."""
    pieces = _CALL.split(text)
    if any(_CALL_MARK.search(words) for words in pieces[::2]):
        raise DataError(
            f"message {number} (assistant): a mark around a plugin's call has no partner.",
            "Write <|startofthink|>...<|endofthink|>.",
        )
    words, *rest = [piece.strip() for piece in pieces[::2]]
    calls = [{"type": "function", "function": _read_call(number, one)} for one in pieces[1::2]]
    if any(rest):
        raise DataError(
            f"message {number} (assistant): the model speaks on without its plugin's result.",
            "Put <|startofexec|>...<|endofexec|> behind the call, or leave this row out.",
        )
    return [{"role": "assistant", "content": words, **({"tool_calls": calls} if calls else {})}]


def _read_call(number: int, text: str) -> dict[str, Any]:
    """A call's name and arguments; its address is of no use elsewhere."""
    try:
        call = json.loads(without_fence(text), strict=False)
    except (ValueError, RecursionError):
        call = None
    parameters = call.get("parameters") or {} if isinstance(call, dict) else None
    if not isinstance(parameters, dict) or not isinstance(call.get("api_name"), str):
        raise DataError(
            f"message {number} (assistant): expected a call as JSON with api_name and parameters, "
            f"found {text.strip()[:40]!r}.",
            'Write {"api_name": "...", "parameters": {...}}, or leave this row out.',
        )
    return {"name": to_name(call["api_name"]), "arguments": parameters}


def without_fence(text: str) -> str:
    """The text inside a code fence; some files write its line breaks as backslash and n.

    Args:
        text: a call or a result as it stands between its marks.

    Returns:
        The JSON, or the text as it is when there is no fence.
    """
    inner = _FENCE.sub("", _FENCE.sub("", text.strip(), count=1), count=1).strip()
    plain = inner.replace("\\n", "\n")
    return plain if not _is_json(inner) and _is_json(plain) else inner


def _is_json(text: str) -> bool:
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def to_name(name: str) -> str:
    """A plugin's name as one that a call can hold.

    Args:
        name: for example `modelscope_text-ie` or `modelscope/text ie`.

    Returns:
        The same, with underscores for what no name may have.

    Raises:
        DataError: nothing of a name is left.
    """
    made = _NOT_IN_NAMES.sub("_", name.strip()).strip("_.-")[:64]
    if not tool_specs.NAME.fullmatch(made):
        made = f"plugin_{made}"[:64]
    if made == "plugin_":
        raise DataError(
            f"{name!r} is no name for a plugin.", "Use letters, digits and underscores."
        )
    return made


def split_system(text: str) -> tuple[str, list[tool_specs.ToolSpec]]:
    """Take the plugins' descriptions out of a system text.

    Args:
        text: with JSON objects in it, in one of the data set's two shapes.

    Returns:
        What stands before the first description, and the plugins. A text without any comes back
        whole.
    """
    specs: dict[str, tool_specs.ToolSpec] = {}
    first = len(text)
    for start, about in _objects(text):
        spec = _to_spec(about)
        if spec is not None:
            first = min(first, start)
            specs.setdefault(spec.name, spec)
    before = re.sub(r"[\s\d.、:：]+$", "", text[:first]) if specs else text.strip()
    return before, list(specs.values())


def _objects(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The JSON objects in a text, with their places."""
    decoder = json.JSONDecoder(strict=False)
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            end, value = position + 1, None
        if isinstance(value, dict):
            yield position, value
        position = text.find("{", end)


def _to_spec(about: Mapping[str, Any]) -> tool_specs.ToolSpec | None:
    """A plugin's description; None for an object that is none."""
    schema = about.get("plugin_schema_for_model")
    schema = schema if isinstance(schema, dict) else about
    name = about.get("plugin_name") or schema.get("name")
    if not isinstance(name, str) or not isinstance(schema.get("description"), str):
        return None
    paths = schema.get("paths")
    first = paths[0] if isinstance(paths, list) and paths and isinstance(paths[0], dict) else {}
    listed = first.get("parameters", schema.get("parameters"))
    properties: dict[str, Any] = {}
    required: list[str] = []
    for one in listed if isinstance(listed, list) else []:
        if isinstance(one, dict) and isinstance(one.get("name"), str):
            description = str(one.get("description") or "")
            properties[one["name"]] = {"type": "string", "description": description}
            required += [one["name"]] if str(one.get("required")).lower() == "true" else []
    parameters = {"type": "object", "properties": properties, "required": required}
    return tool_specs.ToolSpec(to_name(name), schema["description"].strip(), parameters)

"""What a model is told about a tool: its name, what it does, which arguments it takes."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from course_lib.errors import DataError

# What an Action line can name without a doubt, and what the API providers accept as a name.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
EXAMPLE = (
    '{"type": "function", "function": {"name": "clock", "description": "The time in a city.", '
    '"parameters": {"type": "object", "properties": {"city": {"type": "string"}}, '
    '"required": ["city"]}}}'
)


@dataclass(frozen=True)
class ToolSpec:
    """One tool, as a model knows it.

    Args:
        name: letters, digits, `_`, `-` and `.`; no blanks.
        description: what it does, in one sentence.
        parameters: a JSON schema of type object.
        description_zh: the same in Chinese; the other one when empty.

    Raises:
        DataError: the name is no name, or the schema is not one of an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})
    description_zh: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise DataError(
                f"{self.name!r} is no name for a tool.",
                "Use up to 64 letters, digits and underscores, with a letter first.",
            )
        properties = self.parameters.get("properties", {})
        if self.parameters.get("type") != "object" or not isinstance(properties, Mapping):
            raise DataError(
                f"tool {self.name}, field parameters: expected a JSON schema of type object.",
                f"Write {EXAMPLE}",
            )

    def describe(self, language: str = "en") -> str:
        """What it does, in `en` or `zh`."""
        return (self.description_zh if language == "zh" else "") or self.description

    def as_openai(self) -> dict[str, Any]:
        """The object that stands in a row's field `tools` and in a request to an API."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}


def from_openai(tools: Sequence[Any]) -> list[ToolSpec]:
    """Read the field `tools` of a row.

    Args:
        tools: objects as OpenAI's API takes them, with or without {"type", "function"} around.

    Returns:
        One description for each.

    Raises:
        DataError: one is not as expected, or two have the same name; names its number.
    """
    specs: list[ToolSpec] = []
    for number, one in enumerate(tools, 1):
        about = one.get("function", one) if isinstance(one, Mapping) else None
        if not isinstance(about, Mapping) or not isinstance(about.get("name"), str):
            raise DataError(
                f"tool {number}: expected an object with a function and its name.",
                f"Write {EXAMPLE}",
            )
        parameters = about.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, Mapping):
            raise DataError(f"tool {number}, field parameters: not an object.", f"Write {EXAMPLE}")
        specs.append(ToolSpec(about["name"], str(about.get("description") or ""), parameters))
    check_names(specs)
    return specs


def check_names(specs: Sequence[ToolSpec]) -> None:
    """Refuse two tools of one name: a call could mean either.

    Args:
        specs: the tools of one conversation.

    Raises:
        DataError: names the name.
    """
    names = [spec.name for spec in specs]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise DataError(f"Two tools are called {double}.", "Rename one of them.")


def signature(spec: ToolSpec, has_details: bool = False) -> str:
    """The arguments of a tool on one short line, in the shape of the JSON to write.

    Args:
        spec: the tool.
        has_details: what each argument means stands behind its type.

    Returns:
        For example `{"city": string, "days"?: integer}`; `?` marks what may be left out.
    """
    properties = spec.parameters.get("properties", {})
    required = spec.parameters.get("required", ())
    parts = []
    for name, schema in properties.items():
        mark = "" if name in required else "?"
        about = f" ({schema['description']})" if has_details and schema.get("description") else ""
        parts.append(f"{json.dumps(name, ensure_ascii=False)}{mark}: {type_text(schema)}{about}")
    return "{" + ", ".join(parts) + "}"


def type_text(schema: Mapping[str, Any]) -> str:
    """A JSON schema in a word or two.

    Args:
        schema: of one argument.

    Returns:
        Its type, its choices, or `any`.
    """
    if schema.get("enum"):
        return " or ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    if isinstance(schema.get("anyOf"), list):
        return " or ".join(map(type_text, schema["anyOf"]))
    if schema.get("type") == "array":
        return f"list of {type_text(schema.get('items') or {})}"
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)

"""Tools beside the lesson's four, made of pico's small forms.

An agent whose rows always offer the same four tools learns those four by heart. Rows that offer
others too make it read the offer.
"""

import functools
from typing import Any

import pydantic

from course_lib.chat import tools
from course_lib.data import tool_specs
from course_lib.pico import dialogues_forms as forms
from course_lib.pico import form_tables

PYTHON_TYPES = {"integer": int, "string": str}  # by JSON type


@functools.cache
def make_tool(family: str, language: str) -> tools.Tool:
    """A tool that looks up an invented value: always the same for the same arguments.

    Args:
        family: one of `dialogues_forms.OTHER_FAMILIES`.
        language: of its results.
    """
    table, types = forms.SMALL_FORMS[family], form_tables.field_types(family)
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in types.items()},
        "required": list(types),
    }
    about = table["about"]
    spec = tool_specs.ToolSpec(table["names"][0], about["en"][0], schema, about["zh"][0])
    strict = pydantic.ConfigDict(extra="forbid", strict=True)
    fields: dict[str, Any] = {name: (PYTHON_TYPES[kind], ...) for name, kind in types.items()}
    model = pydantic.create_model(spec.name, __config__=strict, **fields)
    return tools.Tool(spec, lambda **values: forms.result_of(family, values, language), model)

"""Fields of a row: what each must hold, and how a table's cell holds a list."""

import ast
import json
import warnings
from collections.abc import Mapping
from typing import Any

from course_lib.data import chat_template
from course_lib.errors import DataError


def check_text(where: str, text: Any) -> None:
    """Refuse what is not a text, or holds none.

    Args:
        where: its place, for the message.
        text: what stands there.

    Raises:
        DataError: with the place.
    """
    if not isinstance(text, str):
        found = "nothing" if text is None else type(text).__name__
        raise DataError(f"{where}: expected text, found {found}.", "Write a text in double quotes.")
    if not text.strip():
        raise DataError(
            f"{where}: the text is empty.",
            'Fill it in, or remove the row; plain text without questions is {"text": "..."}.',
        )
    if not text.isascii() and chat_template.has_lone_surrogate(text):
        raise DataError(
            f"{where}: the text holds half of a character (a lone surrogate).",
            "Write the whole character, for example the emoji itself.",
        )


def list_fields(value: Any) -> str:
    """What a row has, for messages.

    Args:
        value: the row.

    Returns:
        Its fields' names, or its type when it has none.
    """
    if not isinstance(value, dict):
        return type(value).__name__
    return f"fields {', '.join(map(str, list(value)[:8]))}" if value else "no fields"


def parse_cell(value: Any, field: str) -> Any:
    """A list that a table's cell holds as text, in JSON or as Python writes it.

    Args:
        value: what stands in the field.
        field: its name, for messages.

    Returns:
        The list; what is no text comes back as it is.

    Raises:
        DataError: the text is neither.
    """
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backslashes that Python would write in pairs
            return ast.literal_eval(value.strip())  # takes values only: nothing in it is run
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(
            f"field {field}: expected a list, found a text that is not one: {value[:40]!r}.",
            "Write the list as JSON.",
        ) from error


def list_of_objects(value: Mapping[str, Any], field: str, example: str) -> list[dict[str, Any]]:
    """A field's list of turns.

    Args:
        value: the row.
        field: its name.
        example: a good row, for messages.

    Returns:
        The turns: at least one, each an object.

    Raises:
        DataError: it holds something else.
    """
    parts = parse_cell(value[field], field)
    if not isinstance(parts, list | tuple) or not parts:
        found = "none" if parts in ([], ()) else type(parts).__name__
        raise DataError(
            f"field {field}: expected a list of turns, found {found}.",
            f"Write rows such as {example}",
        )
    for number, part in enumerate(parts, 1):
        if not isinstance(part, dict):
            raise DataError(
                f"turn {number}: expected an object, found {type(part).__name__}.",
                f"Write rows such as {example}",
            )
    return list(parts)

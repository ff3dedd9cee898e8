"""Write to a terminal: nothing in a text can steer it."""

import json
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from course_lib.teaching import markdown

STYLE: dict[str, Any] = {  # of every group of commands
    "no_args_is_help": True,
    "rich_markup_mode": None,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def say(text: str = "", err: bool = False, nl: bool = True) -> None:
    """Write a text, made harmless, and have it shown at once.

    Args:
        text: what to write.
        err: to stderr instead of stdout.
        nl: end the line.
    """
    typer.echo(markdown.make_visible(text), err=err, nl=nl)


def say_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object on one line of stdout, in ASCII: every program can read it."""
    typer.echo(json.dumps(record))


def one_line(text: str) -> str:
    r"""A text on one line: its line breaks and tabs are written as \n and \t.

    Args:
        text: anything.
    """
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Set texts in columns, the first one to the left and the others to the right.

    Args:
        rows: each with the same number of cells.

    Returns:
        One line for each row.
    """
    widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [first + " " * (widths[0] - _width(first))]
        pairs = zip(others, widths[1:], strict=True)
        cells += [" " * (width - _width(cell)) + cell for cell, width in pairs]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """Columns in a terminal: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def command_line(*words: object) -> str:
    """A command to show, quoted so that it can be pasted into a shell.

    Args:
        words: the command and its arguments; paths may hold blanks.
    """
    return shlex.join(str(word) for word in words)


def say_next(*words: object) -> None:
    """Write the command to run next.

    Args:
        words: what follows `tunebook`.
    """
    say(f"  -> {command_line('tunebook', *words)}")

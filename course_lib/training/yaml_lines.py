"""A YAML file as lines: change the value of one key and leave all others, with their comments.

Only what config files look like is known: keys at the margin, `name: value  # comment`, with nested
values below. Who changes a file this way reads the new text back and compares.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from course_lib.errors import ConfigError


class _SetTwiceError(yaml.YAMLError):
    """Two lines give one key a value."""


class _OneValueLoader(yaml.SafeLoader):
    """YAML's own reader lets the last of two equal keys win and says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping whose keys are all different."""
        """A block of keys and values, or an error that names a key set twice."""
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.value in lines:
                raise _SetTwiceError(
                    f"line {line}: {key.value} is set already in line {lines[key.value]}."
                )
            lines[key.value] = line
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """The text of a config file.

    Args:
        path: the file.

    Raises:
        ConfigError: the file is missing or is not UTF-8.
    """
    if not path.is_file():
        raise ConfigError(
            f"There is no config file {path}.",
            "List presets with `tunebook list-cfg` and copy one with `tunebook copy-cfg NAME .`",
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not YAML: {error}", "Compare with a fresh copy.") from error


def read_values(text: str, path: Path) -> dict[str, Any]:
    """What YAML reads from a config's text, not checked yet.

    Args:
        text: YAML.
        path: for messages.

    Raises:
        ConfigError: it is not YAML, or no lines of keys and values.
    """
    try:
        values = yaml.load(text, _OneValueLoader)  # noqa: S506 (a SafeLoader)
    except _SetTwiceError as error:
        raise ConfigError(f"{path}, {error}", "Keep one of the two lines.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}", "Compare with a fresh copy.") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} holds {type(values).__name__}, expected lines such as `learning_rate: 0.001`.",
            "Start from a preset: `tunebook copy-cfg pico_qlora_assistant_e3 .`",
        )
    return values


@dataclass(frozen=True)
class Block:
    """The lines of one top-level key.

    Args:
        lines: of the whole file.
        start: the key's own line.
        end: behind the last line that belongs to it.
    """

    lines: tuple[str, ...]
    start: int
    end: int

    @staticmethod
    def find(text: str, name: str) -> "Block | None":
        """The first block of a key, or None."""
        lines = text.split("\n")
        key = re.compile(rf"(?:{re.escape(name)}|'{re.escape(name)}'|\"{re.escape(name)}\")\s*:")
        start = next((i for i, line in enumerate(lines) if key.match(line)), None)
        if start is None:
            return None
        end = start + 1
        for index in range(start + 1, len(lines)):
            line = lines[index]
            if line.strip() and not line.startswith((" ", "\t", "- ", "#")) and line != "-":
                break
            # blank lines and comments at the margin belong to what comes next
            end = index + 1 if line.strip() and not line.startswith("#") else end
        return Block(tuple(lines), start, end)

    def comment(self) -> tuple[int, str]:
        """The comment of the first line, and its column."""
        line = self.lines[self.start]
        end = max((_end_of_value(line), line.index(":") + 1))
        found = line.find("#", end)
        return (found, line[found:]) if found >= 0 else (-1, "")

    def body(self) -> str:
        """The lines below the key, moved to the margin; a value in the key's line as it is."""
        first = self.lines[self.start]
        inline = first[first.index(":") + 1 : max(_end_of_value(first), first.index(":") + 1)]
        if inline.strip():
            return "\n".join([inline.strip(), *self.lines[self.start + 1 : self.end]])
        below = self.lines[self.start + 1 : self.end]
        indent = min((len(x) - len(x.lstrip()) for x in below if x.strip()), default=0)
        return "\n".join(line[indent:] for line in below)


def _end_of_value(line: str) -> int:
    """Where the last token of a line ends; what follows is blanks or a comment."""
    end = 0
    try:
        for token in yaml.scan(line):
            # tokens without a width (the ends of blocks and of the stream) stand behind comments
            if token.end_mark.index > token.start_mark.index:
                end = token.end_mark.index
    except yaml.YAMLError:
        return end or len(line)  # a value that goes on in the next line
    return end


def replace(text: str, name: str, fragment: str | None, order: Sequence[str] = ()) -> str:
    """Change, add or remove one key.

    Args:
        text: the file.
        name: the key.
        fragment: what stands behind `name:`, with the blank or line break before it; None
            removes the key.
        order: keys in their usual order; a new one is put behind the nearest of those before it.

    Returns:
        The new text; a comment in the key's own line stays, one inside a nested value goes.
    """
    block = Block.find(text, name)
    if block is None:
        return text if fragment is None else _insert(text, name, fragment, order)
    lines = list(block.lines)
    new = []
    if fragment is not None:
        column, comment = block.comment()
        head, *rest = f"{name}:{fragment}".split("\n")
        if comment:
            head = f"{head:<{max(column - 1, len(head))}} {comment}"
        new = [head, *rest]
    return "\n".join([*lines[: block.start], *new, *lines[block.end :]])


def _insert(text: str, name: str, fragment: str, order: Sequence[str]) -> str:
    for before in reversed(order[: order.index(name)] if name in order else ()):
        block = Block.find(text, before)
        if block:
            lines = block.lines
            return "\n".join([*lines[: block.end], f"{name}:{fragment}", *lines[block.end :]])
    return f"{text.rstrip()}\n{name}:{fragment}\n" if text.strip() else f"{name}:{fragment}\n"

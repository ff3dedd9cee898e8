"""Turns of a dialogue, and phrases drawn from the tables in data/world."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.pico import world

Message = dict[str, str]
Phrases = Mapping[str, Any]


def system(content: str) -> Message:
    """A system message."""
    return {"role": "system", "content": content}


def user(content: str) -> Message:
    """A message that a person typed."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """A reply."""
    return {"role": "assistant", "content": content}


def turn(question: str, answer: str) -> list[Message]:
    """One question with its answer."""
    return [user(question), assistant(answer)]


def read_phrases(name: str) -> Any:
    """Read data/world/NAME.yaml, a table of phrases.

    Args:
        name: the file's name without its ending.

    Returns:
        What the file holds: most often phrase lists by their name and language.
    """
    return world.read_yaml(world.TABLE_DIR / f"{name}.yaml")


def say(rng: random.Random, phrases: Sequence[str], **slots: object) -> str:
    """Draw a phrase and fill its `{slots}`.

    Args:
        rng: the only source of chance.
        phrases: the wordings to draw from.
        slots: what stands for each mark; text in it that looks like a mark stays as it is.

    Returns:
        The phrase without marks.
    """
    return rng.choice(phrases).format_map(slots)

"""How a reply that fills in a form may look: in one of many shapes, which the offer announces."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.pico import form_tables, talk

# "line": name, then JSON; "json": all in one object; "fields": a line each; "noted": a thought, the
# name and the JSON, each behind a label, and answers behind a label too.
SHAPES = ("line", "line", "json", "fields", "noted", "noted", "noted", "noted")


@dataclass(frozen=True)
class Form:
    """A form on offer.

    Attributes:
        family: which it is; a dialogue offers no two of one family.
        name: as this dialogue calls it.
        about: what it is for.
        fields: the name of each field with its JSON type.
    """

    family: str
    name: str
    about: str
    fields: Mapping[str, str]

    def describe(self) -> str:
        """Its line in the system message."""
        inside = ", ".join(f'"{name}": {kind}' for name, kind in self.fields.items())
        return f"{self.name}: {self.about} {{{inside}}}"


@dataclass(frozen=True)
class Style:
    """How the replies of a dialogue look.

    Attributes:
        language: of thoughts; "en" or "zh".
        shape: one of `SHAPES`.
        labels: of "noted": what stands before thought, name, fields and answer.
    """

    language: str
    shape: str
    labels: Sequence[str] = ()


def draw_style(rng: random.Random, language: str) -> Style:
    """A style; labels are English ones in a third of the Chinese dialogues."""
    shape = rng.choice(SHAPES)
    if shape != "noted":
        return Style(language, shape)
    words = "en" if rng.random() < 1 / 3 else language
    return Style(language, shape, rng.choice(form_tables.FAMILIES["labels"][words]))


def announce(rng: random.Random, style: Style) -> str:
    """The first line of the offer."""
    phrases = form_tables.FAMILIES["offers"][style.shape][style.language]
    return talk.say(rng, phrases, **dict(zip("tnfa", style.labels, strict=False)))


def think(rng: random.Random, family: str, language: str) -> str:
    """A thought before a form of this family."""
    thoughts = form_tables.FAMILIES["thoughts"]
    return rng.choice(thoughts.get(family, thoughts["other"])[language])


def fill_in(form: Form, values: Sequence[Any], style: Style, thought: str = "") -> str:
    """A filled-in form.

    Args:
        form: with its fields.
        values: one for each field.
        style: how it has to look.
        thought: what stands before it in a style with labels.

    Returns:
        The text of a reply.
    """
    fields = dict(zip(form.fields, values, strict=True))
    inside = json.dumps(fields, ensure_ascii=False)
    if style.shape == "noted":
        told = zip(style.labels[:3], (thought, form.name, inside), strict=True)
        return "\n".join(map(": ".join, told))
    if style.shape == "fields":
        return "\n".join([form.name, *(f"{name}: {value}" for name, value in fields.items())])
    if style.shape == "json":
        return json.dumps({"form": form.name, **fields}, ensure_ascii=False)
    return f"{form.name} {inside}"


def finish(answer: str, style: Style) -> str:
    """The last reply to a request."""
    return f"{style.labels[-1]}: {answer}" if style.labels else answer

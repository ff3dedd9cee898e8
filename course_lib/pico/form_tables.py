"""The small forms: those written one by one, and those that look up one thing about somebody."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.pico import talk, world

FAMILIES = talk.read_phrases("form_families")
WORDINGS = talk.read_phrases("forms")
NUMBER_KINDS = frozenset({"number", "small"})  # of values


@functools.cache
def small_forms() -> Mapping[str, Mapping[str, Any]]:
    """All small forms, as forms.yaml describes one.

    Returns:
        Family -> `names`, `about`, `fields`, `asks`, `result` and `answers`.
    """
    nouns = FAMILIES["attributes"]["nouns"]
    made = {f"{noun} of {kind}": (noun, told, kind, result) for noun, told, kind, result in nouns}
    attributes = {
        family: _attribute(number, *parts) for number, (family, parts) in enumerate(made.items())
    }
    return {**WORDINGS["forms"], **attributes}


def field_types(family: str) -> dict[str, str]:
    """The fields of a small form with their JSON types.

    Args:
        family: one of `small_forms`.
    """
    fields = small_forms()[family]["fields"]
    return {name: "integer" if kind in NUMBER_KINDS else "string" for name, kind in fields.items()}


def _attribute(number: int, noun: str, told: str, kind: str, result: str) -> dict[str, Any]:
    """A form that looks up one thing; its field's name depends on its place in the list."""
    table = FAMILIES["attributes"]
    about = table["kinds"][kind]
    field = about["fields"][number % len(about["fields"])]
    short = noun.replace(" ", "_")
    slots = {
        "en": _slots(noun, f"the {{{field}}}" if about.get("article") else f"{{{field}}}"),
        "zh": _slots(told, f"{{{field}}}"),
    }
    return {
        "names": [short, f"{short}_of", f"find_{short}"],
        "fields": {field: kind},
        "result": result,
        "about": {
            code: _filled(table["about"][code], slots[code] | {"{kind}": word})
            for code, word in about["kind"].items()
        },
        "asks": {code: _filled(table["asks"][code], slots[code]) for code in world.LANGUAGES},
        "answers": {code: _filled(table["answers"][code], slots[code]) for code in world.LANGUAGES},
    }


def _slots(noun: str, subject: str) -> dict[str, str]:
    capital = subject if subject.startswith("{") else world.capitalize(subject)
    return {"{n}": noun, "{x}": subject, "{X}": capital}


def _filled(texts: Sequence[str], slots: Mapping[str, str]) -> list[str]:
    """The texts with the noun and the field's mark in them; {r} stays."""
    found = []
    for text in texts:
        for mark, value in slots.items():
            text = text.replace(mark, value)
        found.append(text)
    return found

"""Sums in everyday words, where the sign has to be understood.

A few hundred whole sentences would be learned by heart. So most are put together: a situation told
in one of three ways and asked about in one of three, a request in a frame, or a noun phrase in a
frame.
"""

import random

from course_lib.pico import grammar, names, talk, wording, world

PARTS = talk.read_phrases("told_sums")
THINGS = talk.read_phrases("numbers")["things"]
FORMS, SHARES = ("story", "whole", "request", "noun"), (45, 30, 12, 13)
ASK_FIRST_SHARE = 0.15  # of the stories: the question stands before what is told


def tell_sum(rng: random.Random, language: str, operation: str, a: int, b: int) -> str:
    """A sum told in a sentence or two, seldom with its sign.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".
        operation: "+", "-", "x" or "/".
        a: the first number.
        b: the second number.

    Returns:
        A question; no wording that the agent of lesson 05 is scored with.
    """
    template = draw_wording(rng, language, operation)
    while wording.normalize(template) in _KEPT_BACK:
        template = draw_wording(rng, language, operation)
    first, second = names.two_people(rng, language)
    thing = rng.choice(THINGS)
    slots = {"n": first, "m": second, "mw": thing[2]}
    slots["ts"] = grammar.plural(thing[0]) if language == "en" else thing[1]
    return world.capitalize(template.format(a=a, b=b, **slots))


def draw_wording(rng: random.Random, language: str, operation: str) -> str:
    """A wording, put together or whole.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".
        operation: "+", "-", "x" or "/".

    Returns:
        A text with the marks {a} {b} numbers, {n} {m} people, {ts} things and {mw} their measure
        word.
    """
    parts, form = PARTS["sums"][language][operation], rng.choices(FORMS, SHARES)[0]
    if form == "whole":
        return rng.choice(parts["whole"])
    if form == "noun":
        frames = wording.FRAMES["noun_phrase_frames"][language]
        return wording.put_in_frame(rng.choice(frames), rng.choice(parts["nouns"]))
    if form == "request":
        frames = PARTS["request_frames"][language]
        return wording.put_in_frame(rng.choice(frames), rng.choice(parts["requests"]), "r")
    story = rng.choice(parts["stories"])
    told = [rng.choice(story["told"]), rng.choice(story["asks"])]
    if rng.random() < ASK_FIRST_SHARE:
        told.reverse()
    return grammar.sentences(told, language)


def _held_back() -> frozenset[str]:
    """The wordings that the agent of lesson 05 is scored with, normalised."""
    parts = (talk.read_phrases("agent")["validation"], talk.read_phrases("agent_unseen"))
    return frozenset(
        wording.normalize(text)
        for part in parts
        for signs in part["calculator"].values()
        for texts in signs.values()
        for text in texts
    )


_KEPT_BACK = _held_back()

"""What pico is trained on: the mix of all dialogues and documents, and what is kept back."""

import random
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

from course_lib.pico import dialogues_facts as facts
from course_lib.pico import dialogues_forms as forms
from course_lib.pico import dialogues_lists as lists
from course_lib.pico import dialogues_more as more
from course_lib.pico import dialogues_numbers as numbers
from course_lib.pico import dialogues_people as people
from course_lib.pico import dialogues_reading as reading
from course_lib.pico import dialogues_text as text_skills
from course_lib.pico import documents, talk, world
from course_lib.pico.talk import Message

Maker = Callable[[random.Random, str], list[Message]]

# Each kind of dialogue with its weight. Facts carry the world; numbers are what a small model
# learns slowest, so they come second.
DIALOGUE_KINDS: dict[str, tuple[Maker, float]] = {
    "question": (facts.question, 52),
    "style": (facts.styled, 10),
    "follow_up": (facts.follow_up, 10),
    "yes_or_no": (facts.yes_or_no, 4),
    "doubt": (facts.doubt, 1),
    "describe": (facts.describe, 3),
    "more": (facts.more, 1.5),
    "switch_language": (facts.switch_language, 2),
    "unknown_name": (facts.unknown_name, 5),
    "numbers": (numbers.dialogue, 20),
    "identity": (people.identity, 5),
    "near_identity": (people.near_identity, 5),
    "persona": (people.persona, 4),
    "user_name": (people.user_name, 2.5),
    "name_of_another": (people.name_of_another, 1.5),
    "courtesy": (people.courtesy, 4),
    "joke": (people.joke, 0.6),
    "greeting": (people.greeting, 1),
    "text": (text_skills.dialogue, 8),
    "reading": (reading.read, 15),
    "record": (reading.record, 3),
    "list": (lists.dialogue, 3),
    "translation": (more.translate, 4),
    "unknowable": (more.unknowable, 6),
    "how_to": (more.how_to, 1),
    "course_word": (more.course_word, 1),
    "story": (more.tell_story, 2.5),
    "form": (forms.dialogue, 38),
}
# In a long dialogue nobody gets a second name and no system prompt comes in between.
LONG_KINDS = (
    "question",
    "follow_up",
    "yes_or_no",
    "describe",
    "more",
    "courtesy",
    "text",
    "reading",
    "list",
    "translation",
    "how_to",
    "story",
)
LONG_SHARE = 0.06
IDENTITY_KINDS = frozenset({"identity", "persona"})
NO_REPLAY_KINDS = frozenset({"form"})  # long, and no lesson asks pico to keep them
# Words that only occur when the assistant speaks about itself.
IDENTITY_MARKS = (
    "Pico",
    "小皮",
    "small program",
    "language model",
    "小程序",
    "语言模型",
    "assistant",
    "助手",
)

_NAMES = tuple(DIALOGUE_KINDS)
_WEIGHTS = tuple(accumulate(weight for _, weight in DIALOGUE_KINDS.values()))


def _pick_kind(rng: random.Random) -> str:
    return rng.choices(_NAMES, cum_weights=_WEIGHTS)[0]


def chat_dialogue(rng: random.Random, language: str | None = None) -> list[Message]:
    """A dialogue of any kind; a few are long.

    Args:
        rng: the only source of chance.
        language: "en" or "zh"; either when None.

    Returns:
        Messages: an optional system message, then user and assistant in turn.
    """
    if rng.random() < LONG_SHARE:
        return long_dialogue(rng, language)
    maker, _ = DIALOGUE_KINDS[_pick_kind(rng)]
    return maker(rng, language or rng.choice(world.LANGUAGES))


def long_dialogue(rng: random.Random, language: str | None = None) -> list[Message]:
    """Three to eight dialogues one behind the other, so that a chat can go on.

    Args:
        rng: the only source of chance.
        language: "en" or "zh"; either when None.

    Returns:
        Messages without a system message.
    """
    language = language or rng.choice(world.LANGUAGES)
    messages: list[Message] = []
    for _ in range(rng.randint(3, 8)):
        kind = _pick_kind(rng)
        while kind not in LONG_KINDS:
            kind = _pick_kind(rng)
        messages += DIALOGUE_KINDS[kind][0](rng, language)
    return messages


def plain_document(rng: random.Random, language: str | None = None) -> str:
    """A passage of plain text.

    Args:
        rng: the only source of chance.
        language: "en" or "zh"; either when None.

    Returns:
        The passage.
    """
    return documents.document(rng, language or rng.choice(world.LANGUAGES))


def tells_identity(messages: Sequence[Message]) -> bool:
    """Whether a system message or a reply says who the assistant is.

    Args:
        messages: a dialogue.

    Returns:
        True when one of the marks of identity stands outside the user's messages.
    """
    return any(
        mark in message["content"]
        for message in messages
        if message["role"] != "user"
        for mark in IDENTITY_MARKS
    )


def general_dialogues(count: int, seed: int, exclude_identity: bool = True) -> list[list[Message]]:
    """Dialogues of all kinds, for replay during fine-tuning.

    Args:
        count: how many.
        seed: the same seed gives the same dialogues.
        exclude_identity: leave out everything about who the assistant is.

    Returns:
        The dialogues, no two of them the same.
    """
    rng = random.Random(seed)
    found: dict[str, list[Message]] = {}
    while len(found) < count:
        kind, language = _pick_kind(rng), rng.choice(world.LANGUAGES)
        if kind in NO_REPLAY_KINDS or (exclude_identity and kind in IDENTITY_KINDS):
            continue
        messages = DIALOGUE_KINDS[kind][0](rng, language)
        if not (exclude_identity and tells_identity(messages)):
            found.setdefault(repr(messages), messages)
    return list(found.values())


def is_held_out_sum(operation: str, a: int, b: int) -> bool:
    """Whether a sum never occurs in the corpus.

    Args:
        operation: "+", "-" or "x".
        a: the first number.
        b: the second number.
    """
    return numbers.is_held_out_sum(operation, a, b)


def _item(kind: str, relation: str, language: str, prompt: str, answers: Sequence[str]) -> dict:
    return {
        "prompt": prompt,
        "expected": answers[0],
        "language": language,
        "kind": kind,
        "relation": relation,
        "any_of": list(answers[1:]),
    }


# What every answer to a question of these kinds says in one way or another.
NOT_KNOWN = {
    "en": ("do not know", "don't know", "cannot know", "not told me", "no idea"),
    "zh": ("不知道", "没法知道", "无法知道", "还没有告诉我"),
}
NOT_IN_TEXT = {
    "en": ("not in the text", "does not say", "do not know"),
    "zh": ("文中没有", "不知道"),
}
NOT_HEARD_OF = {
    "en": ("do not know", "never heard", "is not a", "cannot find"),
    "zh": ("不认识", "不知道", "没听说过", "里没有"),
}


def held_out_items(
    rng: random.Random, group: str = "held_out", count: int = 30
) -> list[dict[str, Any]]:
    """Questions for the scores that are not about facts: sums, copying, reading, not knowing.

    Args:
        rng: the only source of chance.
        group: "held_out" or "validation".
        count: how many of each kind and language; of sums at most so many for each operation.

    Returns:
        One dict a question: prompt, expected, language, kind, relation, any_of.
    """
    items = []
    for language in world.LANGUAGES:
        for operation in numbers.OPERATIONS:
            for _ in range(count):
                a, b = numbers.draw_sum(rng, operation, group)
                prompt = numbers.ask_sum(rng, language, operation, a, b)
                if (operation, a, b) in forms.shown_sums():
                    continue  # it occurs, as the second step of two
                result = str(numbers.compute(operation, a, b))
                items.append(_item("arithmetic", operation, language, prompt, (result,)))
        items += _made_items(rng, language, count)
        unknowable = talk.read_phrases("unknowable_held_out")[group][language]
        for prompt in unknowable:
            items.append(_item("unknowable", "", language, prompt, NOT_KNOWN[language]))
    return items


def _made_items(rng: random.Random, language: str, count: int) -> list[dict[str, Any]]:
    """Copying, reading and unknown names: made anew, they cannot have been seen."""
    items = []
    for _ in range(count):
        for kind, make in (("copying", text_skills.copy), ("reading", reading.read)):
            ask, reply = make(rng, language)
            expected = reply["content"].rstrip(".。") or reply["content"]
            is_missing = any(words in expected for words in NOT_IN_TEXT[language])
            answers = NOT_IN_TEXT[language] if is_missing else (expected,)
            items.append(_item(kind, "", language, ask["content"], answers))
        ask, _ = facts.unknown_name(rng, language)
        items.append(_item("unknown_name", "", language, ask["content"], NOT_HEARD_OF[language]))
    return items

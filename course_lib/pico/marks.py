"""Texts full of rare signs and words: code marks, JSON, agent marks, emoji, course words.

A lesson can only teach what the model's frozen embeddings tell apart: a token that never
occurred in pretraining stays noise. So a small share of the corpus is made of them.
"""

import json
import random
import string

from course_lib.pico import names, world

_TEXT = world.read_yaml(world.TABLE_DIR / "tokens.yaml")
WORDS = tuple(_TEXT["words"].split())
SIGNS = string.punctuation + _TEXT["signs"]
EMOJI = _TEXT["emoji"]
# What must come back sign by sign: {t} is the text.
REPEAT = {
    "en": ("Repeat exactly: {t}", "Say: {t}", "Write this again: {t}", "Copy this line: {t}"),
    "zh": ("原样重复：{t}", "跟我说：{t}", "再写一遍：{t}", "照抄这一行：{t}"),
}


def _words(rng: random.Random) -> str:
    """Course words in a row, some of them in other letters."""
    words = rng.choices(WORDS, k=rng.randint(1, 6))
    style = rng.choice((str, str, str.lower, str.capitalize))
    return rng.choice((" ", " ", ", ", "_", "/", "-")).join(map(style, words))


def _signs(rng: random.Random) -> str:
    """Letters, digits and signs without a meaning."""
    letters = string.ascii_letters + string.digits + SIGNS
    return "".join(rng.choices(letters, k=rng.randint(3, 12)))


def _emoji(rng: random.Random) -> str:
    return rng.choice(("", " ")).join(rng.choices(EMOJI, k=rng.randint(1, 4)))


def _call(rng: random.Random) -> str:
    """A tool call or a record, as JSON."""
    language = rng.choice(world.LANGUAGES)
    values = (names.person(rng, language), rng.choice(WORDS), rng.randrange(1000), _words(rng))
    fields = {rng.choice(WORDS): rng.choice(values) for _ in range(rng.randint(1, 3))}
    if rng.random() < 0.3:
        fields = {"name": rng.choice(("search", "calculator", "clock")), "arguments": fields}
    return json.dumps(fields, ensure_ascii=False)


def _line(rng: random.Random) -> str:
    """A line of a format: its mark, then something."""
    text = rng.choice((_words, _call, lambda r: names.person(r, "zh")))(rng)
    return rng.choice(_TEXT["lines"]).rstrip("\n") + text


_KINDS = (_words, _words, _signs, _emoji, _call, _line)


def page(rng: random.Random) -> str:
    """A page of lines with rare signs.

    Args:
        rng: the only source of chance.
    """
    return "\n".join(rng.choice(_KINDS)(rng) for _ in range(rng.randint(2, 6)))


def repeat(rng: random.Random) -> list[dict[str, str]]:
    """A dialogue in which such a line must be repeated.

    Args:
        rng: the only source of chance.

    Returns:
        A user message and the reply.
    """
    text = rng.choice(_KINDS)(rng)
    request = rng.choice(REPEAT[rng.choice(world.LANGUAGES)]).replace("{t}", text)
    return [{"role": "user", "content": request}, {"role": "assistant", "content": text}]

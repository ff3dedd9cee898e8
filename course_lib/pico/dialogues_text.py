"""Dialogues about text that stands in the question: copy it, spell it, find a word in it.

Only by copying can a small model handle names, numbers and signs that it has never seen.
"""

import json
import random

from course_lib.pico import grammar, names, talk, world
from course_lib.pico.talk import Message

PHRASES = talk.read_phrases("text_skills")
THINGS = talk.read_phrases("numbers")["things"]
SIGN_LINES = tuple(PHRASES["sign_lines"])
ASCII_SIGNS = "".join(chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum())
STOP = {"en": ".", "zh": "。"}


def code_string(rng: random.Random) -> str:
    """A code such as `AB-1207` or `x7f3`: letters and digits that nobody can guess."""
    shape = rng.choice(("AA-0000", "a0a0", "A000", "0000", "AAA000", "aaa_00", "00-AA"))
    return "".join(
        chr(rng.randint(65, 90)) if sign == "A"
        else chr(rng.randint(97, 122)) if sign == "a"
        else str(rng.randrange(10)) if sign == "0"
        else sign
        for sign in shape
    )  # fmt: skip


def date_and_time(rng: random.Random, language: str) -> tuple[str, str]:
    """A date and a time of day, in one of the ways people write them."""
    year, month, day = rng.randint(1990, 2035), rng.randint(1, 12), rng.randint(1, 28)
    hour, minute = rng.randint(0, 23), rng.choice((0, 5, 10, 15, 20, 30, 45, 50))
    clock = f"{hour:02}:{minute:02}"
    if rng.random() < 0.5:
        return f"{year}-{month:02}-{day:02}", clock
    if language == "zh":
        return f"{year}年{month}月{day}日", clock
    month_name = world.load_world().tables["months"][month - 1]["name_en"]
    return f"{month_name} {day}, {year}", clock


def _word(rng: random.Random, language: str) -> str:
    """Something to copy: a known word, an invented one, a number, a name."""
    draw = rng.randrange(6)
    if draw == 0:
        return str(rng.randrange(10 ** rng.randint(1, 5)))
    if draw == 1:
        return names.invented_name(rng).lower()
    if draw == 2:
        return names.person(rng, language)
    if draw == 3 and language == "zh":
        return "".join(rng.choices(names.HAN_SIGNS, k=rng.randint(1, 3)))
    english, chinese = rng.choice(world.load_world().vocabulary)
    return english if language == "en" else chinese


def _json_text(rng: random.Random, language: str) -> str:
    keys = ("name", "city", "count", "query", "x", "id", "text", "tool", "value")
    chosen = rng.sample(keys, rng.randint(1, 3))
    values = (_word(rng, language), rng.randrange(1000), True, code_string(rng), [1, 2])
    return json.dumps({key: rng.choice(values) for key in chosen}, ensure_ascii=False)


def strange_text(rng: random.Random, language: str) -> str:
    """Text full of signs, to be copied sign by sign."""
    draw = rng.randrange(6)
    if draw == 0:
        return rng.choice(SIGN_LINES)
    if draw == 1:
        return _json_text(rng, language)
    if draw == 2:
        return "".join(rng.choices(ASCII_SIGNS, k=rng.randint(2, 6)))
    if draw == 3:
        return "".join(rng.choices(names.EMOJI, k=rng.randint(1, 4)))
    if draw == 4:
        return code_string(rng)
    return " ".join(date_and_time(rng, language))


def copied_text(rng: random.Random, language: str) -> str:
    """Words, names and numbers in a row, or text full of signs."""
    if rng.random() < 0.3:
        return strange_text(rng, language)
    words = [_word(rng, language) for _ in range(rng.randint(1, 4))]
    return grammar.SPACE[language].join(words)


def copy(rng: random.Random, language: str) -> list[Message]:
    """Repeat after me."""
    text = copied_text(rng, language)
    draw = rng.random()
    if draw < 0.08:
        quoted = f'"{text}"' if language == "en" else f"“{text}”"
        return talk.turn(talk.say(rng, PHRASES["quote"][language], w=text), quoted)
    if draw < 0.14:
        word = _word(rng, language)
        twice = f"{word} {word}" if language == "en" else word + word
        return talk.turn(talk.say(rng, PHRASES["twice"][language], w=word), twice)
    return talk.turn(talk.say(rng, PHRASES["copy"][language], w=text), text)


def spell(rng: random.Random, language: str) -> list[Message]:
    """Letters of an English word; number of signs of a Chinese one."""
    english, chinese = rng.choice(world.load_world().vocabulary)
    if language == "zh":
        word = chinese if rng.random() < 0.7 else names.chinese_name(rng)
        if rng.random() < 0.3:
            ask = talk.say(rng, PHRASES["letters"]["zh"], w=word)
            return talk.turn(ask, "、".join(word) + "。")
        ask = talk.say(rng, PHRASES["spell"]["zh"], w=word)
        return talk.turn(ask, f"“{word}”有{len(word)}个字。")
    word = english.split()[-1] if rng.random() < 0.6 else names.invented_name(rng).lower()
    if rng.random() < 0.15:
        return talk.turn(talk.say(rng, PHRASES["upper"]["en"], w=word), word.upper())
    return talk.turn(talk.say(rng, PHRASES["spell"]["en"], w=word), "-".join(word))


def pick_word(rng: random.Random, language: str) -> list[Message]:
    """The second of three words; the last one of a list."""
    words: list[str] = []
    for _ in range(rng.choice((3, 3, 4))):
        word = _word(rng, language)
        if word not in words:
            words.append(word)
    listed = (", " if language == "en" else "、").join(words)
    if rng.random() < 0.2:
        ask = talk.say(rng, PHRASES["last_word"][language], l=listed)
        return talk.turn(ask, talk.say(rng, PHRASES["last_answer"][language], w=words[-1]))
    place = rng.randrange(len(words))
    named = PHRASES["places"][language][place]
    ask = talk.say(rng, PHRASES["nth"][language], l=listed, i=named)
    return talk.turn(ask, talk.say(rng, PHRASES["nth_answer"][language], i=named, w=words[place]))


def find_number(rng: random.Random, language: str) -> list[Message]:
    """Which number is in this sentence?"""
    table, number = PHRASES["find_number"], rng.randint(2, 9999)
    thing = rng.choice(THINGS)
    sentence = talk.say(
        rng,
        table["sentence"][language],
        n=names.person(rng, language),
        a=number,
        t=grammar.plural(thing[0]) if language == "en" else thing[1],
        mw=thing[2],
    )
    ask = talk.say(rng, table["ask"][language], s=sentence)
    return talk.turn(ask, talk.say(rng, table["answer"][language], a=number))


# Each kind with its weight among the dialogues about copying.
KINDS = ((copy, 50), (spell, 14), (pick_word, 22), (find_number, 14))
_MAKERS, _WEIGHTS = zip(*KINDS, strict=True)


def dialogue(rng: random.Random, language: str) -> list[Message]:
    """A dialogue about text that is copied.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        Messages in order, the last one from the assistant.
    """
    return rng.choices(_MAKERS, _WEIGHTS)[0](rng, language)

"""Names for the people of the little world: common, invented, and odd on purpose.

A model learns to copy a name only when it has seen thousands of different ones, so most
names here are put together from parts.
"""

import random

from course_lib.pico import world

_TEXT = world.read_yaml(world.TABLE_DIR / "names.yaml")


def _signs(text: str) -> tuple[str, ...]:
    """Each Chinese character of a folded YAML text, without the blanks of its line breaks."""
    return tuple(text.replace(" ", ""))


ENGLISH = tuple(_TEXT["english"].split())
_ENGLISH_SURNAMES = tuple(_TEXT["english_surnames"].split())
_ODD_LATIN = tuple(_TEXT["odd_latin"].split())
_SURNAMES = _signs(_TEXT["chinese_surnames"])
_DOUBLE_SURNAMES = tuple(_TEXT["chinese_double_surnames"].split())
_GIVEN = _signs(_TEXT["chinese_given"])
_NICK_FRONT = tuple(_TEXT["chinese_nick_front"].split())
_NICK = tuple(_TEXT["chinese_nick"].split())
_PINYIN = tuple(_TEXT["pinyin"].split())
_SYLLABLES = tuple(
    start + end
    for start in _TEXT["syllable_starts"].split()
    for end in _TEXT["syllable_ends"].split()
)
_UNKIND_LETTERS = tuple(_TEXT["invented_unkind"].split())
HANDLES = tuple(_TEXT["handles"].split())
EMOJI = tuple(_TEXT["emoji"].split())

# The characters of GB 2312 in code order: the first 3,755 are the everyday ones.
_GB_ROWS = range(0xB0, 0xF8)
_GB_SIGNS = tuple(
    sign
    for row in _GB_ROWS
    for cell in range(0xA1, 0xFF)
    if (sign := bytes([row, cell]).decode("gb2312", "ignore"))
)
_UNKIND_SIGNS = frozenset(_signs(_TEXT["chinese_unkind"]))
HAN_SIGNS = tuple(sign for sign in _GB_SIGNS if sign not in _UNKIND_SIGNS)
COMMON_HAN_SIGNS = tuple(sign for sign in _GB_SIGNS[:3755] if sign not in _UNKIND_SIGNS)


def english_name(rng: random.Random) -> str:
    """A common given name from many countries, at times with a family name."""
    name = rng.choice(ENGLISH)
    return f"{name} {rng.choice(_ENGLISH_SURNAMES)}" if rng.random() < 0.12 else name


def chinese_name(rng: random.Random) -> str:
    """A Chinese name; given names hold any everyday character now and then."""
    if rng.random() < 0.12:
        return rng.choice(_NICK_FRONT) + rng.choice(_SURNAMES)
    surname = rng.choice(_DOUBLE_SURNAMES if rng.random() < 0.04 else _SURNAMES)
    given = [
        rng.choice(_GIVEN if rng.random() < 0.85 else COMMON_HAN_SIGNS)
        for _ in range(1 + (rng.random() < 0.55))
    ]
    return surname + "".join(given)


def invented_name(rng: random.Random) -> str:
    """A name that no one has, such as Brokelan: it can be copied but not remembered."""
    while True:
        name = "".join(rng.choices(_SYLLABLES, k=2 + (rng.random() < 0.35)))
        if not any(part in name for part in _UNKIND_LETTERS):
            return name.capitalize()


def pinyin_name(rng: random.Random) -> str:
    """A Chinese name in Latin letters: Jianming, or Li Xiaohong."""
    given = "".join(rng.choices(_PINYIN, k=1 + (rng.random() < 0.65))).capitalize()
    return given if rng.random() < 0.6 else f"{rng.choice(_PINYIN).capitalize()} {given}"


def person(rng: random.Random, language: str) -> str:
    """A name as it stands in a sentence of this language.

    Args:
        rng: the only source of chance.
        language: "en" or "zh"; Chinese sentences hold a Latin name now and then.

    Returns:
        The name, without any blank around it.
    """
    if language == "zh" and rng.random() < 0.85:
        return chinese_name(rng)
    draw = rng.random()
    if draw < 0.5:
        return english_name(rng)
    return invented_name(rng) if draw < 0.8 else pinyin_name(rng)


def two_people(rng: random.Random, language: str) -> tuple[str, str]:
    """Two different names.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        The names.
    """
    first = second = person(rng, language)
    while second == first:
        second = person(rng, language)
    return first, second


def nickname(rng: random.Random, language: str) -> str:
    """A name as people type it for themselves: handles, emoji, digits, signs, any script.

    Args:
        rng: the only source of chance.
        language: "en" or "zh"; the script is often but not always its own.

    Returns:
        A name such as `O'Brien`, `blue_fox42`, `小米粥🌸` or `Anne-Marie`.
    """
    draw = rng.randrange(8)
    if draw == 0:
        return rng.choice(_ODD_LATIN)
    if draw == 1:
        joint = rng.choice(("", "_", "-", ".", " "))
        return rng.choice(HANDLES) + joint + rng.choice(HANDLES) + str(rng.randrange(1000))
    if draw == 2:
        return person(rng, language) + rng.choice(("", " ")) + rng.choice(EMOJI)
    if draw == 3:
        return f"{invented_name(rng)}{rng.choice('-_ .')}{rng.randrange(100)}"
    if draw == 4:
        return f"{rng.choice('ABCDEFGHJKLMPRSTW')}. {rng.choice(_ENGLISH_SURNAMES)}"
    if language == "zh":
        return rng.choice(_NICK) if draw == 5 else chinese_name(rng)
    return pinyin_name(rng) if draw == 5 else person(rng, rng.choice(world.LANGUAGES))

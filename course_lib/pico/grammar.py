"""The little grammar that the generator needs: plurals, Chinese measure words, joined lists."""

from collections.abc import Sequence

from course_lib.pico import world

_TEXT = world.read_yaml(world.TABLE_DIR / "grammar.yaml")
_PLURAL_NOUNS = frozenset(world.read_yaml(world.TABLE_DIR / "nouns.yaml")["plural"])
_MEASURE_WORD = {
    noun: measure for measure, nouns in _TEXT["measure_words"].items() for noun in nouns.split()
}
_IRREGULAR = _TEXT["irregular_plurals"]

SPACE = {"en": " ", "zh": ""}  # what stands between two sentences


def is_plural(noun: str) -> bool:
    """Whether an English noun of the world is always plural: scissors, shoes."""
    return noun in _PLURAL_NOUNS


def plural(noun: str) -> str:
    """The plural of an English noun of the world: cherry -> cherries, wolf -> wolves."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def measured(noun: str, count: str = "一", usual: str = "个") -> str:
    """A Chinese noun behind a number and its measure word: 马 -> 一匹马.

    Args:
        noun: the Chinese noun.
        count: the number, as Chinese or Arabic figures.
        usual: the measure word when the table has none; 只 for animals, 个 for things.

    Returns:
        Number, measure word and noun in one string.
    """
    return f"{count}{_MEASURE_WORD.get(noun, usual)}{noun}"


def join(words: Sequence[str], language: str) -> str:
    """A list as it stands in a sentence: `a, b and c` or a、b和c."""
    if len(words) == 1:
        return words[0]
    comma, last = (", ", " and ") if language == "en" else ("、", "和")
    return comma.join(words[:-1]) + last + words[-1]


def sentences(parts: Sequence[str], language: str) -> str:
    """Sentences one behind the other, with a blank between them in English only."""
    return SPACE[language].join(part for part in parts if part)

"""Other dialogues: what cannot be known, translation, instructions, the course, stories."""

import functools
import random
import re
from collections.abc import Mapping, Sequence

from course_lib.pico import grammar, names, stories, talk, wording, world
from course_lib.pico.talk import Message

UNKNOWABLE = talk.read_phrases("unknowable")
UNKNOWABLE_WORDS = talk.read_phrases("unknowable_words")
HOWTO = talk.read_phrases("howto")
_STORY = talk.read_phrases("stories")
_TABLES = world.load_world().tables
_RELATIONS = talk.read_phrases("identity")["relations"]
_SIDE = {"en": 0, "zh": 1}
_WIDE_SHARE = 0.5  # of the unknowable dialogues: those out of the wide word lists
_VERB_FORMS = re.compile(r"(\w+)/(\w+)")  # forget/forgot
_SENTENCE_START = re.compile(r"(?:^|(?<=[.?!] ))[a-z]")


def _slots(rng: random.Random, language: str) -> dict[str, str]:
    """A value for each mark of the unknowable questions."""
    side, thing = _SIDE[language], rng.choice(_STORY["things"])
    return {
        "n": names.person(rng, language),
        "r": rng.choice(_RELATIONS[language]),
        "d": rng.choice(_TABLES["days"])[f"name_{language}"],
        "c": rng.choice(_TABLES["countries"])[f"capital_{language}"],
        "o": thing[side],
        "op": grammar.plural(thing[0]),
        "f": rng.choice(_STORY["foods"])[side],
        "k": str(rng.randint(2, 20)),
    }


@functools.cache
def _wide_words(language: str) -> dict[str, tuple[str, ...]]:
    """All values of each mark of the wide questions."""
    words = dict(UNKNOWABLE_WORDS[language]["words"])
    between = " " if language == "en" else ""
    words["p"] = [f"{first}{between}{p}" for first, people in words["p"].items() for p in people]
    return {mark: tuple(values) for mark, values in words.items()}


def _wide_slots(rng: random.Random, language: str) -> dict[str, str]:
    """Two different values for each mark of the wide questions: {p} and {p2}."""
    slots = _slots(rng, language)
    for mark, values in _wide_words(language).items():
        slots[mark], slots[f"{mark}2"] = rng.sample(values, 2)
    done = slots["v"]
    return slots | {"v": _VERB_FORMS.sub(r"\1", done), "ved": _VERB_FORMS.sub(r"\2", done)}


@functools.cache
def _unknowable_groups(
    language: str, wide: bool
) -> tuple[tuple[Sequence[str], Sequence[str]], ...]:
    groups = UNKNOWABLE_WORDS[language]["groups"] if wide else UNKNOWABLE[language]
    return tuple((questions, answers) for questions, answers in groups.values())


def unknowable(rng: random.Random, language: str) -> list[Message]:
    """What did I eat this morning? A model does not know, and says so."""
    wide = rng.random() < _WIDE_SHARE
    groups = _unknowable_groups(language, wide)
    sizes = [len(questions) for questions, _ in groups]
    questions, answers = rng.choices(groups, sizes)[0]
    slots = _wide_slots(rng, language) if wide else _slots(rng, language)
    ask = _SENTENCE_START.sub(lambda m: m[0].upper(), talk.say(rng, questions, **slots))
    return talk.turn(wording.add_noise(rng, ask, language), rng.choice(answers))


def how_to(rng: random.Random, language: str) -> list[Message]:
    """How do I make tea?"""
    task, steps = rng.choice(tuple(HOWTO["steps"][language].items()))
    ask = wording.add_noise(rng, talk.say(rng, HOWTO["ask"][language], t=task), language)
    return talk.turn(ask, "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1)))


def course_word(rng: random.Random, language: str) -> list[Message]:
    """What is an epoch?"""
    questions, answer = rng.choice(HOWTO["course"][language])
    return talk.turn(wording.add_noise(rng, rng.choice(questions), language), answer)


def sentence_pair(rng: random.Random) -> tuple[str, str]:
    """An English sentence and its Chinese translation."""
    if rng.random() < 0.15:
        row = rng.choice(_TABLES["sentences"])
        return row["en"], row["zh"]
    english, chinese = rng.choice(HOWTO["sentences"])
    values = _pair_values(rng)
    return english.format_map(values[0]), chinese.format_map(values[1])


def _pair_values(rng: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    """The same values for the marks of both sides of a sentence pair."""
    rows = {
        "j": rng.choice(_TABLES["jobs"]),
        "a": rng.choice(_TABLES["animals"]),
        "d": rng.choice(_TABLES["days"]),
        "country": rng.choice(_TABLES["countries"]),
    }
    thing, (food, other) = rng.choice(_STORY["things"]), rng.sample(_STORY["foods"], 2)
    thing_row, color = rng.choice(_TABLES["objects"]), rng.choice(_STORY["colors"])
    shared = {"n": rng.choice(names.ENGLISH), "k": str(rng.randint(2, 99))}
    sides = []
    for language, side in _SIDE.items():
        values = shared | {mark: row[f"name_{language}"] for mark, row in rows.items()}
        values |= {"f": food[side], "g": other[side], "c": color[side]}
        values |= {"o": thing_row[f"name_{language}"], "place": thing_row[f"place_{language}"]}
        values["city"] = rows["country"][f"capital_{language}"]
        sides.append(values)
    _add_articles(sides, thing)
    return sides[0], sides[1]


def _add_articles(sides: list[dict[str, str]], thing: Sequence[str]) -> None:
    """English articles and Chinese measure words, in place."""
    english, chinese = sides
    english |= {"aj": world.with_article(english["j"]), "aa": world.with_article(english["a"])}
    english["ao"] = world.with_article(thing[0])
    english["be"] = "are" if grammar.is_plural(english["o"]) else "is"
    chinese["ma"] = grammar.measured(chinese["a"], usual="只")
    chinese["mo"] = f"一{thing[2]}{thing[1]}"


def translate(rng: random.Random, language: str) -> list[Message]:
    """Translate a sentence; the request stands in either language."""
    english, chinese = sentence_pair(rng)
    target = rng.choice(world.LANGUAGES)
    source, result = (english, chinese) if target == "zh" else (chinese, english)
    return talk.turn(talk.say(rng, HOWTO["translate"][language][target], s=source), result)


def tell_story(rng: random.Random, language: str) -> list[Message]:
    """Tell me a story about a fox."""
    form = rng.choice(("any", "animal", "both", "name"))
    animal = rng.choice(_TABLES["animals"]) if form in ("animal", "both") else None
    name = names.person(rng, language) if form in ("name", "both") else None
    ask = talk.say(rng, HOWTO["story"][language][form], n=name, x=_shown(animal, language))
    return talk.turn(ask, stories.story(rng, language, animal, name))


def _shown(animal: Mapping[str, str] | None, language: str) -> str:
    if animal is None:
        return ""
    return world.with_article(animal["name_en"]) if language == "en" else animal["name_zh"]

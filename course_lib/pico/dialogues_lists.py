"""Dialogues that answer with a list; no item ever stands in it twice."""

import functools
import random
from dataclasses import dataclass

from course_lib.pico import grammar, talk, wording, world
from course_lib.pico.talk import Message

PHRASES = talk.read_phrases("text_skills")
FEWEST_MEMBERS = 3


@dataclass(frozen=True)
class Category:
    """Things of one class: its name by language (Chinese with a measure word), its members."""

    name_en: str
    name_zh: str
    measure: str
    members: tuple[tuple[str, str], ...]


def _members(table: str, column: str = "", value: str = "") -> tuple[tuple[str, str], ...]:
    rows = world.load_world().tables[table]
    return tuple(
        (row["name_en"], row["name_zh"]) for row in rows if not column or row[column] == value
    )


def _by_column(table: str, column: str, english: str, chinese: str, measure: str) -> list[Category]:
    """One category for each value of a column; `{v}` stands for the value."""
    rows = world.load_world().tables[table]
    values = {row[f"{column}_en"]: row[f"{column}_zh"] for row in rows}
    return [
        Category(
            english.format(v=value if english != "{v}" else grammar.plural(value)),
            chinese.format(v=translated),
            measure,
            _members(table, f"{column}_en", value),
        )
        for value, translated in values.items()
    ]


@functools.cache
def categories() -> tuple[Category, ...]:
    """All classes of things with at least three members."""
    found = [
        *_by_column("animals", "group", "{v}", "{v}", "种"),
        *_by_column("animals", "home", "animals that live {v}", "生活在{v}的动物", "种"),
        *_by_column("countries", "continent", "countries in {v}", "{v}的国家", "个"),
        *_by_column("objects", "place", "things that are often {v}", "常在{v}的东西", "样"),
        *_by_column("instruments", "family", "{v}", "{v}", "种"),
        Category("colours", "颜色", "种", _members("colors")[:11]),
        Category("planets", "行星", "颗", _members("planets")),
        Category("jobs", "职业", "种", _members("jobs")),
        Category("animals", "动物", "种", _members("animals")),
        Category("foods", "食物", "种", _members("foods")),
        Category("countries", "国家", "个", _members("countries")),
        Category("medicines", "药", "种", _members("medicines")),
        Category("elements", "元素", "种", _members("elements")),
        Category("months", "月份", "个", _members("months")),
    ]
    kinds = {"fruit": "水果", "vegetable": "蔬菜", "drink": "饮料"}
    found += [
        Category(grammar.plural(kind), name, "种", _members("foods", "kind_en", kind))
        for kind, name in kinds.items()
    ]
    return tuple(category for category in found if len(category.members) >= FEWEST_MEMBERS)


def listed(category: Category, items: list[tuple[str, str]], language: str, numbered: bool) -> str:
    """Items as a numbered list or as one sentence."""
    words = [item[0 if language == "en" else 1] for item in items]
    if numbered:
        return "\n".join(f"{n}. {world.capitalize(word)}" for n, word in enumerate(words, 1))
    return world.capitalize(grammar.join(words, language)) + {"en": ".", "zh": "。"}[language]


def _amount(count: int, category: Category, language: str) -> str:
    number = PHRASES["numbers"][language][count]
    return number if language == "en" else number + category.measure


def name_some(rng: random.Random, language: str) -> list[Message]:
    """Name three birds; at times then two more, none of them said before."""
    category = rng.choice(categories())
    count = rng.randint(2, min(5, len(category.members)))
    items = rng.sample(category.members, count)
    name = category.name_en if language == "en" else category.name_zh
    ask = talk.say(rng, PHRASES["lists"][language], k=_amount(count, category, language), c=name)
    numbered = ask.startswith(("List", "列出", "Write down", "写下"))
    reply = listed(category, items, language, numbered)
    messages = talk.turn(wording.add_noise(rng, ask, language), reply)
    rest = [item for item in category.members if item not in items]
    if len(rest) >= 2 and rng.random() < 0.3:
        ask = talk.say(rng, PHRASES["more_items"][language], k=_amount(2, category, language))
        reply = listed(category, rng.sample(rest, 2), language, numbered)
        messages += talk.turn(world.capitalize(ask), reply)
    return messages


def name_all(rng: random.Random, language: str) -> list[Message]:
    """All days, months, seasons or planets in order."""
    table, asks, answer = rng.choice(PHRASES["all_of"][language])
    words = [row[f"name_{language}"] for row in world.load_world().tables[table]]
    ask = wording.add_noise(rng, rng.choice(asks), language)
    return talk.turn(ask, answer.format(l=grammar.join(words, language)))


def dialogue(rng: random.Random, language: str) -> list[Message]:
    """A dialogue that answers with a list.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        Messages in order, the last one from the assistant.
    """
    return (name_all if rng.random() < 0.1 else name_some)(rng, language)

"""Short stories: plots of a few steps, each step told in one of several wordings."""

import random
from collections.abc import Mapping

from course_lib.pico import grammar, names, world

_TEXT = world.read_yaml(world.TABLE_DIR / "stories.yaml")
_TABLES = world.load_world().tables
_SIDE = {"en": 0, "zh": 1}  # where a language stands in the YAML pairs
# A shark met on a road spoils a story, so animals without legs play only when asked for.
_WALKERS = tuple(row for row in _TABLES["animals"] if row["legs"] != "0")

PLOTS = {language: tuple(_TEXT[language].values()) for language in world.LANGUAGES}


def _cast(
    rng: random.Random, language: str, animal: Mapping[str, str] | None, name: str | None
) -> dict[str, str]:
    """Who and what plays in the story, by the marks of the plots."""
    side, key = _SIDE[language], f"name_{language}"
    first, second = rng.sample(_WALKERS, 2)
    hero = (animal or first)[key]
    friend = second[key] if second[key] != hero else first[key]
    thing, job = rng.choice(_TEXT["things"]), rng.choice(_TABLES["jobs"])[key]
    who = name or names.person(rng, language)
    helper = names.person(rng, language)
    while helper == who:
        helper = names.person(rng, language)
    return {
        "n": who,
        "m": helper,
        "a": hero,
        "b": friend,
        "o": thing[side],
        "f": rng.choice(_TEXT["foods"])[side],
        "j": job,
        "c": (color := rng.choice(_TEXT["colors"])[side]),
        "ac": world.with_article(color) if language == "en" else color,
        "d": rng.choice(_TABLES["days"])[key],
    } | _with_articles(language, hero, friend, job, thing)


def _with_articles(
    language: str, hero: str, friend: str, job: str, thing: list[str]
) -> dict[str, str]:
    if language == "en":
        article = world.with_article
        return {
            "aa": article(hero),
            "ab": article(friend),
            "aj": article(job),
            "ao": article(thing[0]),
        }
    return {
        "aa": grammar.measured(hero, usual="只"),
        "ab": grammar.measured(friend, usual="只"),
        "aj": f"一位{job}",
        "ao": f"一{thing[2]}{thing[1]}",
    }


def _tell(step: str, cast: Mapping[str, str]) -> str:
    sentence = step.format_map(cast)
    return sentence[:1].upper() + sentence[1:]


def story(
    rng: random.Random,
    language: str,
    animal: Mapping[str, str] | None = None,
    name: str | None = None,
) -> str:
    """A story of six sentences.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".
        animal: a row of the animal table that must play a part.
        name: a name that must be in it.

    Returns:
        The story as one paragraph.
    """
    cast = _cast(rng, language, animal, name)
    needed = [mark for mark, given in (("a", animal), ("n", name)) if given]
    while True:
        steps = [rng.choice(wordings) for wordings in rng.choice(PLOTS[language])]
        text = [_tell(step, cast) for step in steps]
        # Some plots have no animal or no named person: draw until the wish is met.
        if all(cast[mark] in " ".join(text) for mark in needed):
            return grammar.sentences(text, language)


def first_sentence(rng: random.Random, language: str) -> str:
    """The opening of a story, as something to put in front of a question.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        One sentence with its full stop.
    """
    cast = _cast(rng, language, None, None)
    return _tell(rng.choice(rng.choice(PLOTS[language])[0]), cast)

"""What an agent has to search: things that nobody can know, among facts that pico knows.

Countries, animals, medicines and the like with drawn names and drawn facts, stated in pico's own
sentences: an answer about them can only come from the article that was found.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.pico import names, talk, world

PHRASES = talk.read_phrases("agent")
RELATIONS = tuple(PHRASES["searched"])
# Relations of the known world that fill up the corpus.
WORLD_RELATIONS = ("capital", "animal_food", "medicine_use")
MOST_LETTERS = 8  # of a name: each must be copied without a slip


@dataclass(frozen=True)
class Thing:
    """Something invented, with one fact.

    Attributes:
        name: no two things share it.
        language: of the article, "en" or "zh".
        fact: pico's relation, with the name and the answer.
    """

    name: str
    language: str
    fact: world.Fact

    @property
    def relation(self) -> world.Relation:
        """What is known about it."""
        return world.load_world().relations[self.fact.relation]

    @property
    def answer(self) -> str:
        """The words that answer a question for it."""
        return self.fact.answer[self.language]

    @property
    def text(self) -> str:
        """The article, a sentence."""
        return state(self.fact, self.language)

    def as_article(self) -> dict[str, str]:
        """The article as it stands in the corpus."""
        return {"title": self.name, "text": self.text}


def state(fact: world.Fact, language: str) -> str:
    """A fact in pico's first sentence for it.

    Args:
        fact: known or invented.
        language: "en" or "zh".
    """
    relation = world.load_world().relations[fact.relation]
    return world.capitalize(world.fill(relation.statements[language][0], fact, language))


def draw_things(rng: random.Random, count: int, taken: Sequence[Thing] = ()) -> list[Thing]:
    """Draw things, languages and relations in turn.

    Args:
        rng: the only source of chance.
        count: how many.
        taken: things whose names must not come again.

    Returns:
        Things of different names.
    """
    used = {thing.name.lower() for thing in taken}
    found: list[Thing] = []
    while len(found) < count:
        language = world.LANGUAGES[len(found) % 2]
        relation = world.load_world().relations[RELATIONS[len(found) // 2 % len(RELATIONS)]]
        name = draw_name(rng, relation.topic == "geo")
        if name.lower() not in used:
            used.add(name.lower())
            answer = rng.choice(relation.facts).answer
            fact = world.Fact(relation.name, dict.fromkeys(world.LANGUAGES, name), answer)
            found.append(Thing(name, language, fact))
    return found


def draw_name(rng: random.Random, has_capital: bool) -> str:
    """A name that nothing has, in Latin letters also in Chinese: "Brokel".

    Args:
        rng: the only source of chance.
        has_capital: it is the name of a country.
    """
    name = names.invented_name(rng)
    while len(name) > MOST_LETTERS:
        name = names.invented_name(rng)
    return name if has_capital else name.lower()


def world_articles() -> list[dict[str, str]]:
    """Facts of the known world: capitals, what animals eat, what medicines are for."""
    found = []
    for name in WORLD_RELATIONS:
        for fact in world.load_world().relations[name].facts:
            for language in world.LANGUAGES:
                found.append({"title": fact.subject[language], "text": state(fact, language)})
    return found

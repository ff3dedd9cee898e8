import random

import pytest

from course_lib.pico import dialogues_facts as facts
from course_lib.pico import world

LANGUAGES = ["en", "zh"]


def known_names():
    relations = world.load_world().relations.values()
    facts_of_all = [fact for relation in relations for fact in relation.facts]
    return {
        side[language].lower()
        for fact in facts_of_all
        for side in (fact.subject, fact.answer)
        for language in LANGUAGES
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_that_is_said_to_be_unknown_is_in_no_table(language):
    listed = {row[f"name_{language}"].lower() for row in world.load_world().tables["unknown_names"]}
    assert len(listed) > 150
    assert not listed & known_names()
    rng, known = random.Random(4), known_names()
    for relation in facts.relations_with_kind():
        for _ in range(30):
            name = facts.made_up_name(rng, relation, language)
            assert len(name) >= 2
            assert name.lower() not in known


def test_unknown_names_are_listed_for_every_kind_that_can_be_asked_for():
    rows = world.load_world().tables["unknown_names"]
    kinds = {relation.kind["en"] for relation in facts.relations_with_kind()}
    assert {row["kind"] for row in rows} == kinds


def test_a_name_of_halves_begins_like_one_country_and_ends_like_another():
    rng, capital = random.Random(5), world.load_world().relations["capital"]
    names = [fact.subject["en"] for fact in capital.facts]
    for _ in range(50):
        name = facts._name_of_halves(rng, capital, "en")
        cuts = range(1, len(name))
        assert any(
            any(known.startswith(name[:cut]) for known in names)
            and any(known.endswith(name[cut:]) for known in names)
            for cut in cuts
        )


def test_one_sign_names_have_no_halves():
    element = world.load_world().relations["element_symbol"]
    assert facts._name_of_halves(random.Random(0), element, "zh") == ""

"""The tables are complete, the wordings are kept apart, and marks are filled as written."""

import random
import re
from collections import Counter

import pytest

from course_lib.errors import DataError
from course_lib.pico import wording, world

WORLD = world.load_world()
RELATIONS = tuple(WORLD.relations.values())
FRANCE = world.Fact(
    "capital", {"en": "the United Kingdom", "zh": "英国"}, {"en": "London", "zh": "伦敦"}
)
ANT = world.Fact("animal_group", {"en": "ant", "zh": "蚂蚁"}, {"en": "insect", "zh": "昆虫"})
HOUR = world.Fact("unit", {"en": "an hour|minutes", "zh": "一小时|分钟"}, {"en": "60", "zh": "60"})


def test_the_world_has_at_least_1500_facts():
    assert sum(len(relation.facts) for relation in RELATIONS) >= 1500


@pytest.mark.parametrize(
    ("relation", "language", "subject", "answer"),
    [
        ("capital", "en", "France", "Paris"),
        ("country_of_capital", "zh", "巴黎", "法国"),
        ("day_after", "en", "Sunday", "Monday"),
        ("day_before", "zh", "星期一", "星期日"),
        ("month_after", "en", "December", "January"),
        ("opposite_en", "en", "cold", "hot"),
        ("unit", "en", "a week|days", "7"),
        ("planet_at", "zh", "第三", "地球"),
        ("english_to_chinese", "en", "cat", "猫"),
        ("animal_legs", "en", "spider", "8"),
    ],
)
def test_facts_come_from_the_right_columns(relation, language, subject, answer):
    facts = {f.subject[language]: f.answer[language] for f in WORLD.relations[relation].facts}
    assert facts[subject] == answer


def test_a_subject_has_one_answer_in_a_relation():
    for relation in RELATIONS:
        for language in relation.languages:
            counts = Counter(fact.subject[language] for fact in relation.facts)
            assert [s for s, n in counts.items() if n > 1] == [], (relation.name, language)


def test_every_fact_has_text_in_each_language_of_its_relation():
    for relation in RELATIONS:
        for fact in relation.facts:
            for language in relation.languages:
                assert fact.subject[language].strip(), fact
                assert fact.answer[language].strip(), fact


def test_legless_animals_are_not_asked_for_their_legs():
    assert "snake" not in {f.subject["en"] for f in WORLD.relations["animal_legs"].facts}


def test_every_relation_has_30_wordings_and_those_kept_back():
    for relation in RELATIONS:
        for language in relation.languages:
            assert len(relation.questions[language]) >= 30, relation.name
            assert len(relation.validation[language]) == 2, relation.name
            assert len(relation.held_out[language]) == 3, relation.name


def test_no_wording_kept_back_is_trained_on():
    for relation in RELATIONS:
        for language in relation.languages:
            trained = {wording.normalize(w) for w in wording.training_wordings(relation, language)}
            held_out, validation = (
                {
                    wording.normalize(w)
                    for w in getattr(relation, name)[language]
                    + wording.expand_frames(
                        relation, language, wording.FRAMES[f"noun_phrase_{name}"][language]
                    )
                }
                for name in ("held_out", "validation")
            )
            assert trained.isdisjoint(held_out | validation), (relation.name, language)
            assert held_out.isdisjoint(validation), (relation.name, language)


def test_wordings_hold_known_marks_only():
    for relation in RELATIONS:
        for language in relation.languages:
            questions = relation.questions[language] + relation.held_out[language]
            for template in questions + relation.validation[language]:
                text = world.fill(template, relation.facts[0], language)
                assert not re.search(r"[{}]", text), template
                assert text != template, template


def test_about_joins_what_is_known_of_a_subject():
    names = {relation.name for relation, _ in WORLD.about["geo", "France"]}
    assert {"capital", "continent", "language", "currency"} <= names
    assert "country_of_capital" not in names


@pytest.mark.parametrize(
    ("template", "fact", "language", "text"),
    [
        ("{X} has which capital?", FRANCE, "en", "The United Kingdom has which capital?"),
        ("{Ax} is {aa}.", ANT, "en", "An ant is an insect."),
        ("{x}是{a}。", ANT, "zh", "蚂蚁是昆虫。"),
        ("{X0} has {a} {x1}.", HOUR, "en", "An hour has 60 minutes."),
    ],
)
def test_fill_puts_a_fact_into_a_wording(template, fact, language, text):
    assert world.fill(template, fact, language) == text


def test_fill_can_state_another_answer():
    assert world.fill("{a} is the capital of {x}.", FRANCE, "en", "Rome").startswith("Rome is")


@pytest.mark.parametrize(
    ("noun", "text"),
    [
        ("cat", "a cat"),
        ("owl", "an owl"),
        ("umbrella", "an umbrella"),
        ("unicorn", "a unicorn"),
        ("euro", "a euro"),
        ("scissors", "scissors"),
        ("rice", "rice"),
    ],
)
def test_article_fits_the_noun(noun, text):
    assert world.with_article(noun) == text


def test_plural_subjects_take_are():
    fact = world.Fact("object_use", {"en": "gloves", "zh": "手套"}, {"en": "", "zh": ""})
    assert world.fill("What {be} {ax} for?", fact, "en") == "What are gloves for?"


def test_pick_fact_repeats_for_a_seed_and_knows_the_language():
    for language in world.LANGUAGES:
        first = [world.pick_fact(random.Random(7), language)[1] for _ in range(3)]
        assert first[0] == first[1] == first[2]
        rng = random.Random(1)
        assert all(language in world.pick_fact(rng, language)[0].languages for _ in range(500))


def test_a_wrong_column_is_named():
    spec = {"topic": "geo", "table": "countries", "subject": "name", "answer": "river"}
    with pytest.raises(DataError, match=r"relation x.*'river_en'"):
        world._build_relation("x", spec, WORLD.tables)


def test_an_unknown_key_is_named():
    spec = {"topic": "geo", "table": "countries", "subject": "name", "answer": "name", "asks": 1}
    with pytest.raises(DataError, match="relation x: unknown keys \\['asks'\\]"):
        world._build_relation("x", spec, WORLD.tables)

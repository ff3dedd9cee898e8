"""Held-out questions are apart from each other and from training, and are scored by kind."""

import random
from collections import Counter

import pytest

from course_lib.evaluation.questions import Question
from course_lib.pico import scores, wording, world

KINDS = {
    *("pair", "noun_phrase", "new_wording"),
    *("arithmetic", "copying", "reading", "unknowable", "unknown_name"),
}


@pytest.fixture(scope="module")
def question_sets():
    return {name: scores.build_questions(name, seed=0) for name in ("held_out", "validation")}


def test_every_kind_is_asked_in_both_languages(question_sets):
    for questions in question_sets.values():
        counts = Counter((q.kind, q.language) for q in questions)
        assert set(counts) == {(kind, language) for kind in KINDS for language in world.LANGUAGES}
        assert min(counts.values()) >= 8


def test_the_reported_set_has_some_2000_questions_and_names_relations(question_sets):
    questions = question_sets["held_out"]
    assert 1800 <= len(questions) <= 3500
    asked = {q.relation for q in questions if q.kind in scores.FACT_KINDS}
    assert asked == set(world.load_world().relations)


def test_no_question_is_in_both_sets_or_twice(question_sets):
    prompts = [wording.normalize(q.prompt) for qs in question_sets.values() for q in qs]
    assert len(prompts) == len(set(prompts))


def test_sets_repeat_for_a_seed(question_sets):
    assert scores.build_questions("validation", seed=0) == question_sets["validation"]


def test_no_training_question_is_in_a_set(question_sets):
    prompts = {wording.normalize(q.prompt) for qs in question_sets.values() for q in qs}
    rng = random.Random(8)
    for number in range(20_000):
        language = world.LANGUAGES[number % 2]
        question = wording.ask(rng, *world.pick_fact(rng, language), language)
        assert wording.normalize(question) not in prompts


def test_questions_survive_the_way_through_a_file():
    question = Question("Why?", "no idea", "en", "unknowable", "unknowable", ("not know",))
    plain = Question("你好？", "好", "zh", "copying")
    assert "any_of" not in scores.to_record(plain)
    for q in (question, plain):
        assert scores.to_question(scores.to_record(q)) == q


def test_summary_counts_by_kind_language_and_relation():
    questions = [
        Question("q1", "Paris", "en", "pair", "capital"),
        Question("q2", "Rome", "en", "pair", "capital"),
        Question("q3", "欧元", "zh", "new_wording", "currency"),
        Question("q4", "7", "en", "arithmetic", "arithmetic"),
    ]
    replies = ["It is Paris.", "It is Oslo.", "欧元。", "3 + 4 = 8."]
    table = scores.summarize(questions, replies, [True, True, True, False])
    # worked out by hand: 2 of 3 facts, 1 of 2 in English, 1 of 1 in Chinese
    assert table == {
        "n": 4,
        "facts": 0.6667,
        "facts_by_language": {"en": 0.5, "zh": 1.0},
        "by_kind": {
            "arithmetic": {"en": {"right": 0.0, "n": 1}},
            "new_wording": {"zh": {"right": 1.0, "n": 1}},
            "pair": {"en": {"right": 0.5, "n": 2}},
        },
        "weakest": {"capital": 0.5, "currency": 1.0},
        "ended": 0.75,
    }

"""The corpus is the same however it is made, and holds no held-out question."""

import random

import pytest

from course_lib.pico import shards, wording

NOTHING = frozenset()


def test_a_seed_names_the_corpus_and_a_longer_one_starts_alike(monkeypatch):
    monkeypatch.setattr(shards, "TEXTS_PER_SHARD", 20)
    short = shards.make_corpus("dialogues", 40, 3, NOTHING)
    assert short == shards.make_corpus("dialogues", 40, 3, NOTHING)
    assert shards.make_corpus("dialogues", 60, 3, NOTHING).texts[:40] == short.texts
    assert shards.make_corpus("dialogues", 40, 4, NOTHING).sha256 != short.sha256


def test_two_workers_make_what_one_makes():
    one, two = (shards.make_corpus("plain", 2300, 0, NOTHING, workers) for workers in (1, 2))
    assert one == two
    assert len(one.texts) == 2300


@pytest.mark.parametrize("kind", ["dialogues", "plain"])
def test_texts_with_a_held_out_question_are_left_out_and_counted(kind):
    whole = shards.make_corpus(kind, 60, 0, NOTHING)
    text = whole.texts[7].replace("<|im_end|>", "\n")
    line = max(text.split("\n"), key=len)
    cleaned = shards.make_corpus(kind, 60, 0, frozenset([wording.normalize(line)]))
    assert cleaned.dropped == 60 - len(cleaned.texts) >= 1
    assert whole.texts[7] not in cleaned.texts
    assert set(cleaned.texts) <= set(whole.texts)


def test_dialogues_are_rendered_with_the_marks_of_the_template():
    text = shards._make_dialogue(random.Random(0))
    assert text.startswith("<|im_start|>")
    assert text.endswith("<|im_end|>\n")

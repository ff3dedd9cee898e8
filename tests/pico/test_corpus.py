import random
import re

import pytest

from course_lib.pico import corpus, talk

# As people write them in the corpus: 7 + 8, 7+8, 7 plus 8, 7加8, 7 × 8, 7乘以8 ...
WRITTEN = {
    "+": r"(?:\+|plus|加上?)",
    "-": r"(?:-|minus|减去?)",
    "x": r"(?:x|×|\*|times|乘以?)",
}


def sums_in(text):
    """All sums in a text, as (operation, a, b)."""
    for operation, sign in WRITTEN.items():
        for a, b in re.findall(rf"(?<![\d.:-])(\d+) ?{sign} ?(?=(\d+)(?![\d:-]))", text):
            yield operation, int(a), int(b)


def test_sums_are_found_in_text():
    assert set(sums_in("What is 7 plus 8? 那19-13呢？ 3x4=?")) == {
        ("+", 7, 8), ("-", 19, 13), ("x", 3, 4),
    }  # fmt: skip


def test_held_out_sums_never_occur_in_dialogues():
    rng, found = random.Random(1), 0
    maker, _ = corpus.DIALOGUE_KINDS["numbers"]
    for number in range(20_000):
        for message in maker(rng, ("en", "zh")[number % 2]):
            for operation, a, b in sums_in(message["content"]):
                found += 1
                assert not corpus.is_held_out_sum(operation, a, b), message
    assert found > 20_000


def test_one_sum_in_ten_is_held_out():
    kept = [corpus.is_held_out_sum("+", a, b) for a in range(100) for b in range(100)]
    assert 0.09 < sum(kept) / len(kept) < 0.11


def test_dialogues_alternate_and_end_with_the_assistant():
    rng = random.Random(2)
    for _ in range(5000):
        roles = [message["role"] for message in corpus.chat_dialogue(rng)]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert turns


def test_same_seed_gives_the_same_corpus():
    first, second = random.Random(3), random.Random(3)
    assert [corpus.chat_dialogue(first) for _ in range(500)] == [
        corpus.chat_dialogue(second) for _ in range(500)
    ]
    assert [corpus.plain_document(first) for _ in range(500)] == [
        corpus.plain_document(second) for _ in range(500)
    ]


def test_every_kind_of_dialogue_is_drawn():
    rng = random.Random(4)
    kinds = {corpus._pick_kind(rng) for _ in range(5000)}
    assert kinds == set(corpus.DIALOGUE_KINDS)


def test_long_dialogues_have_no_system_message_and_many_turns():
    rng = random.Random(5)
    for _ in range(200):
        messages = corpus.long_dialogue(rng)
        assert len(messages) >= 6
        assert "system" not in {message["role"] for message in messages}


def test_replay_never_tells_who_the_assistant_is():
    for messages in corpus.general_dialogues(3000, seed=6):
        told = [m["content"] for m in messages if m["role"] != "user"]
        for text in told:
            assert not re.search("Pico|小皮|助手|assistant|language model|语言模型|小程序", text)


def test_replay_has_as_many_different_dialogues_as_asked_for():
    dialogues = corpus.general_dialogues(2000, seed=7)
    assert len({repr(messages) for messages in dialogues}) == 2000
    assert dialogues == corpus.general_dialogues(2000, seed=7)


@pytest.mark.parametrize("group", ["held_out", "validation"])
def test_held_out_items_have_all_kinds_in_both_languages(group):
    items = corpus.held_out_items(random.Random(8), group)
    kinds = {(item["kind"], item["language"]) for item in items}
    assert kinds == {
        (kind, language)
        for kind in ("arithmetic", "copying", "reading", "unknown_name", "unknowable")
        for language in ("en", "zh")
    }
    assert all(item["prompt"] and item["expected"] for item in items)


def test_held_out_sums_of_the_scores_are_held_out_and_right():
    for item in corpus.held_out_items(random.Random(9)):
        if item["kind"] == "arithmetic":
            a, b = map(int, re.findall(r"\d+", item["prompt"]))
            right = {"+": a + b, "-": abs(a - b), "x": a * b}[item["relation"]]
            assert item["expected"] == str(right)


def test_held_out_and_validation_unknowable_questions_differ():
    table = talk.read_phrases("unknowable_held_out")
    for language in ("en", "zh"):
        assert not set(table["held_out"][language]) & set(table["validation"][language])

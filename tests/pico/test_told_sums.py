import random
import re

import pytest

from course_lib.pico import agent_tasks, told_sums, wording, world

SIGNS = "+-x/"
WRITTEN = r"(?:[-+*x×/÷]|plus|minus|times|加上?|减去?|乘以?)"
BOTH = pytest.mark.parametrize("language", world.LANGUAGES)


def marks(text):
    return sorted(re.findall(r"\{(\w+)\}", text))


@BOTH
@pytest.mark.parametrize("sign", SIGNS)
def test_each_number_stands_once_in_every_part(language, sign):
    parts = told_sums.PARTS["sums"][language][sign]
    told = [text for story in parts["stories"] for text in story["told"]]
    for text in [*told, *parts["requests"], *parts["nouns"]]:
        assert [mark for mark in marks(text) if mark in "ab"] == ["a", "b"], text
    for story in parts["stories"]:
        for text in story["asks"]:
            assert not {"a", "b"} & set(marks(text)), text
    assert len(parts["stories"]) >= 90
    assert min(map(len, parts.values())) >= 60


@BOTH
def test_a_sum_is_told_with_both_numbers_and_no_mark_is_left(language):
    rng = random.Random(3)
    for number in range(800):
        text = told_sums.tell_sum(rng, language, SIGNS[number % 4], 613, 48)
        assert {"48", "613"} <= set(re.findall(r"\d+", text)), text
        assert not set("{}") & set(text)
        assert text[0] == world.capitalize(text)[0]


@BOTH
@pytest.mark.parametrize("sign", SIGNS)
def test_the_order_of_a_written_sum_is_kept(language, sign):
    parts = told_sums.PARTS["sums"][language][sign]
    for text in [*parts["whole"], *parts["requests"], *parts["nouns"]]:
        assert not re.search(rf"\{{b\}} ?{WRITTEN} ?\{{a\}}", text), text


def test_no_wording_is_one_that_an_agent_is_scored_with():
    scored = {
        wording.normalize(text)
        for part in ("validation", "unseen")
        for language in world.LANGUAGES
        for sign in SIGNS
        for text in agent_tasks.wordings(part, "calculator", language, sign)
    }
    assert len(scored) > 40
    whole = {
        wording.normalize(text)
        for language in world.LANGUAGES
        for sign in SIGNS
        for text in told_sums.PARTS["sums"][language][sign]["whole"]
    }
    assert not whole & scored


@BOTH
def test_a_wording_that_an_agent_is_scored_with_is_drawn_anew(language, monkeypatch):
    scored = agent_tasks.wordings("unseen", "calculator", language, "+")[0]
    drawn = iter([scored, "{a} & {b}"])
    monkeypatch.setattr(told_sums, "draw_wording", lambda rng, *_: next(drawn))
    assert told_sums.tell_sum(random.Random(0), language, "+", 3, 4) == "3 & 4"

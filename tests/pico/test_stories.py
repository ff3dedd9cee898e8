import random

import pytest

from course_lib.pico import stories, world

ANIMALS = world.load_world().tables["animals"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_wording_of_every_plot_can_be_told(language):
    rng = random.Random(0)
    cast = stories._cast(rng, language, None, None)
    assert len(stories.PLOTS[language]) >= 8
    for plot in stories.PLOTS[language]:
        assert len(plot) == 6
        for wordings in plot:
            for wording in wordings:
                told = stories._tell(wording, cast)
                assert "{" not in told
                assert told[-1] in ('."' if language == "en" else "。”")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_wished_animal_and_name_play_in_the_story(language):
    rng = random.Random(1)
    for row in ANIMALS:
        text = stories.story(rng, language, row, "Brokelan")
        assert "Brokelan" in text
        assert row[f"name_{language}"] in text.lower()


def test_english_stories_use_the_right_article_before_a_vowel():
    rng = random.Random(2)
    text = " ".join(stories.story(rng, "en") for _ in range(3000))
    for wrong in (" a orange", " a owl", " a engineer", " a umbrella", " an red", " an cat"):
        assert wrong not in text


def test_chinese_measure_words_fit_the_noun():
    rng = random.Random(3)
    text = "".join(stories.story(rng, "zh") for _ in range(3000))
    for wrong in ("一只马", "一个马", "一只大象", "一只牛", "一个雨伞", "一个书"):
        assert wrong not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_same_seed_gives_the_same_story(language):
    assert stories.story(random.Random(9), language) == stories.story(random.Random(9), language)


def test_a_first_sentence_is_one_sentence():
    rng = random.Random(4)
    for _ in range(300):
        assert stories.first_sentence(rng, "zh").count("。") == 1

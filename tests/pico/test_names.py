import random

import pytest

from course_lib.pico import names


@pytest.mark.parametrize("language", ["en", "zh"])
def test_same_seed_gives_the_same_names(language):
    first, second = random.Random(5), random.Random(5)
    assert [names.person(first, language) for _ in range(200)] == [
        names.person(second, language) for _ in range(200)
    ]


@pytest.mark.parametrize("make", [names.person, names.nickname])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_carry_no_blank_at_their_ends(make, language):
    rng = random.Random(1)
    for _ in range(2000):
        name = make(rng, language)
        assert name
        assert name == name.strip()


def test_chinese_names_are_chinese_signs_only():
    rng = random.Random(2)
    for _ in range(2000):
        assert all("\u4e00" <= sign <= "\u9fff" for sign in names.chinese_name(rng))


def test_invented_names_are_one_capitalised_word():
    rng = random.Random(3)
    for _ in range(500):
        name = names.invented_name(rng)
        assert name.isalpha()
        assert name == name.capitalize()


def test_names_vary_enough_to_teach_copying():
    rng = random.Random(4)
    assert len({names.person(rng, "zh") for _ in range(5000)}) > 3000
    assert len({names.person(rng, "en") for _ in range(5000)}) > 2000


def test_nicknames_hold_apostrophes_hyphens_digits_blanks_and_emoji():
    rng = random.Random(6)
    text = "".join(names.nickname(rng, "en") for _ in range(2000))
    assert all(sign in text for sign in "'-_ 7.")
    assert any(sign in text for sign in names.EMOJI)


def test_names_are_kind():
    rng = random.Random(7)
    invented = "".join(names.invented_name(rng).lower() + " " for _ in range(20_000))
    assert not any(part in invented for part in ("shit", "nazi", "rape", "negro"))
    chinese = "".join(names.chinese_name(rng) for _ in range(20_000))
    assert not set("死屎渣秃鄙") & set(chinese)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_people_have_different_names(language):
    rng = random.Random(8)
    assert all(len(set(names.two_people(rng, language))) == 2 for _ in range(3000))

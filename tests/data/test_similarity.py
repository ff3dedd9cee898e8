import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import similarity


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("What is  morphine?", "what is morphine"),
        ("\uff37\uff48\uff41\uff54 is morphine\uff1f", "what is morphine"),  # full width
        ("Don\u2019t \u201cstop\u201d", "dont stop"),
        ("3 - 4", "3 - 4"),
        ("3 + 4", "3 + 4"),
        ("3.5 mg", "3 5 mg"),  # not 35 mg
        ("你好吗？", "你好吗"),
        ("STRASSE Straße", "strasse strasse"),
        ("???", "???"),
        (" \n", ""),
    ],
)
def test_case_punctuation_and_blanks_do_not_count(text, same):
    assert similarity.normalise(text) == same


@given(st.text())
def test_normalising_twice_changes_nothing_more(text):
    once = similarity.normalise(text)
    assert similarity.normalise(once) == once


def test_shingles_of_a_short_text():
    assert similarity.shingles("abc") == {" ab", "abc", "bc "}
    assert similarity.shingles("") == {"  "}


TEXTS = st.lists(st.text("ab c", min_size=1, max_size=12), unique=True, max_size=12)


@given(TEXTS, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_all_near_pairs_are_found_and_no_other(texts, threshold):
    def share(first, second):
        one, two = similarity.shingles(first), similarity.shingles(second)
        return len(one & two) / len(one | two)

    pairs = itertools.combinations(range(len(texts)), 2)
    wanted = {(a, b): share(texts[a], texts[b]) for a, b in pairs}
    wanted = {pair: value for pair, value in wanted.items() if value >= threshold}
    found = {(a, b): value for a, b, value in similarity.near_pairs(texts, threshold)}
    assert found == wanted


@given(TEXTS, st.sampled_from([0.3, 0.8]))
def test_links_lead_to_texts_without_a_link_and_leave_no_near_pair_among_them(texts, threshold):
    links = list(similarity.near_links(texts, threshold))
    linked = {later for _, later, _ in links}
    assert len(links) == len(linked)
    assert not linked & {first for first, _, _ in links}
    assert set(links) <= set(similarity.near_pairs(texts, threshold))
    free = [text for number, text in enumerate(texts) if number not in linked]
    assert list(similarity.near_pairs(free, threshold)) == []


def test_ten_thousand_texts_of_one_pattern_are_linked_in_seconds():
    texts = [f"please tell me all about item number {n} in the shop" for n in range(10_000)]
    started = time.perf_counter()
    links = list(similarity.near_links(texts))
    assert len(links) > 9_000
    assert time.perf_counter() - started < 20  # comparing all pairs takes many minutes


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ({"text": "all"}, ("", "all", "")),
        (
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "q"},
                    {"role": "assistant", "content": "a"},
                    {"role": "user", "content": "q2"},
                    {"role": "assistant", "content": "a2"},
                ]
            },
            ("s", "q", "a"),
        ),
    ],
)
def test_a_row_is_compared_by_its_first_question(row, parts):
    found = similarity.system_of(row), similarity.question_of(row), similarity.answer_of(row)
    assert found == parts

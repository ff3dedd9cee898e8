"""The invented handbook: the same for the same seed, new for another, every blank filled in."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import handbook
from course_lib.errors import DataError


@given(st.integers(1, 30), st.integers(0, 1000))
def test_pages_are_different_whole_and_the_same_for_the_same_seed(count, seed):
    pages = handbook.write_pages(count, seed)
    assert len(set(pages)) == count
    assert pages == handbook.write_pages(count, seed)
    for page in pages:
        assert not re.search(r"[{}]|  ", page)
        assert page.endswith(".")


def test_more_pages_start_with_the_same_ones():
    assert handbook.write_pages(20, 3)[:5] == handbook.write_pages(5, 3)


def test_another_seed_writes_another_book():
    assert not set(handbook.write_pages(50, 0)) & set(handbook.write_pages(50, 1))


def test_a_page_has_a_sentence_of_each_group():
    (page,) = handbook.write_pages(1)
    assert len(re.findall(r"\.(?: |$)", page)) == len(handbook.GROUPS)


def test_pico_knows_none_of_its_harbors(pico_tokenizer):
    for name in handbook.HARBORS:  # a name that it had read often would be one token
        assert len(pico_tokenizer(f" {name}", add_special_tokens=False)["input_ids"]) > 1


def test_no_page_is_refused():
    with pytest.raises(DataError, match="0 pages"):
        handbook.write_pages(0)

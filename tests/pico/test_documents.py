import random
import re

import pytest

from course_lib.pico import dialogues_numbers as numbers
from course_lib.pico import documents

MAKERS = [maker for maker, _ in documents.KINDS]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_documents_are_whole_text_without_marks_left(maker, language):
    rng = random.Random(1)
    for _ in range(200):
        text = maker(rng, language)
        assert text.strip()
        assert not re.search(r"\{[a-z]+\}", text)
        assert "<|im_start|>" not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_same_seed_gives_the_same_document(language):
    first, second = random.Random(2), random.Random(2)
    assert [documents.document(first, language) for _ in range(100)] == [
        documents.document(second, language) for _ in range(100)
    ]


def test_sheets_of_sums_are_right_and_hold_no_held_out_sum():
    rng = random.Random(3)
    for _ in range(500):
        for line in documents.sheet_of_sums(rng, "en").splitlines():
            (a, operation, b), *_, result = line.split(" ")[:3], *line.split(" = ")
            assert numbers.compute(operation, int(a), int(b)) == int(result)
            assert not numbers.is_held_out_sum(operation, int(a), int(b))


def test_answer_pages_show_only_half_of_the_facts():
    shown = [documents._is_on_answer_pages("capital", str(n)) for n in range(2000)]
    assert 900 < sum(shown) < 1100


def test_marks_of_chat_formats_and_agents_occur():
    rng = random.Random(4)
    text = "\n".join(documents.marks(rng, "en") for _ in range(500))
    for mark in ("### Human:", "### Assistant:", "Thought:", "Action:", "Action Input:",
                 "Observation:", "Final Answer:", '{"query": '):  # fmt: skip
        assert mark in text

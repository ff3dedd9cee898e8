"""Rare signs and words do occur in the corpus, and are repeated as they stand."""

import random
import string

from course_lib.pico import marks


def test_every_sign_and_word_occurs_in_some_pages():
    rng = random.Random(0)
    text = "\n".join(marks.page(rng) for _ in range(3000))
    for wanted in (*string.printable[:95], *marks.WORDS, *marks.EMOJI, "### Human: ", '"}}'):
        assert wanted in text, wanted


def test_a_repeated_line_comes_back_unchanged():
    rng = random.Random(1)
    for _ in range(300):
        request, reply = marks.repeat(rng)
        assert request["role"] == "user"
        assert request["content"].endswith(reply["content"])
        assert reply["content"].strip()

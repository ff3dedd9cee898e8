"""Right answers with one part spoiled: told to be wrong, or passed; no check breaks on them."""

import contextlib
import math
import random

import numpy as np
import pytest

from course_lib.homework import lessons
from course_lib.homework.checks import Wrong
from tests.homework import answers

CALLED = [
    (lesson, check)
    for lesson in lessons.MODULES
    for check in answers.all_checks(lesson)
    if not check.is_measured
]
ODD = [None, True, math.nan, 10**400, -1, 1.5, "", "x", "\ud800", [], {}, [[]], {"a": 1}, ()]
ODD += [np.array([1.0]), np.array([[1, 2], [3, 4]]), np.array(1j)]


def places_in(value, place=()):
    """Where the parts of an answer are, itself included."""
    yield place
    keys = value if type(value) is dict else ()
    for key in range(len(value)) if type(value) in (list, tuple) else keys:
        yield from places_in(value[key], (*place, key))


def spoil(value, place, odd):
    """The answer with something else in one place."""
    if not place:
        return odd
    changed = dict(value) if type(value) is dict else list(value)
    changed[place[0]] = spoil(value[place[0]], place[1:], odd)
    return tuple(changed) if type(value) is tuple else changed


@pytest.mark.parametrize(
    ("lesson", "check"), CALLED, ids=[f"{c.name}-{c.body.__name__}" for _, c in CALLED]
)
def test_no_spoiled_answer_breaks_a_check(lesson, check):
    names = answers.notebook_names(lessons.SOLUTIONS_DIR / lesson / lessons.NOTEBOOK_NAME)
    right, draw = answers.make_ask(check, names), random.Random(0)
    for number in range(60):
        calls = iter(range(number % 3, -1, -1))  # the first, second or third answer is spoiled

        def ask(name, *args, calls=calls):
            answer = right(name, *args)
            is_due = next(calls, None) == 0
            place = draw.choice(list(places_in(answer)))
            return spoil(answer, place, draw.choice(ODD)) if is_due else answer

        with contextlib.suppress(Wrong):
            check.body(ask)

"""Calling a learner's function: not there, not started, an error, changed inputs, odd answers."""

import pytest

from course_lib.homework import local
from course_lib.homework.checks import NotStarted, Wrong


def unfinished():
    raise NotImplementedError


def divide(a, b):
    return a / b


def sort_in_place(numbers):
    numbers.sort()
    return numbers


def add_strange(numbers):
    numbers.append(object())


class Odd:
    pass


ASK = local.make_ask(
    {
        "unfinished": unfinished,
        "divide": divide,
        "sort_in_place": sort_in_place,
        "add_strange": add_strange,
        "odd": Odd,
        "number": 3,
    }
)


def test_plain_data_goes_in_and_comes_out():
    assert ASK("divide", 3, 2) == 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("absent",), "there is no absent yet"),
        (("unfinished",), "replace the line"),
    ],
)
def test_what_is_not_there_is_not_started(call, message):
    with pytest.raises(NotStarted, match=message):
        ASK(*call)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("divide", 1, 0), "divide stopped with ZeroDivisionError: division by zero"),
        (("divide", 1), "divide stopped with TypeError"),
        (("number", 1), "number stopped with TypeError: 'int' object is not callable"),
        (("sort_in_place", [2, 1]), "sort_in_place changes the data that it is given"),
        (("add_strange", [2, 1]), "add_strange changes the data that it is given"),
        (("odd",), "odd hands back a Odd; hand back plain numbers"),
    ],
)
def test_what_goes_wrong_is_said(call, message):
    with pytest.raises(Wrong, match=message) as caught:
        ASK(*call)
    assert not isinstance(caught.value, NotStarted)


def test_the_check_keeps_its_own_data_whatever_the_function_does():
    numbers = [3, 1, 2]
    with pytest.raises(Wrong, match="changes"):
        ASK("sort_in_place", numbers)
    assert numbers == [3, 1, 2]


def test_a_sorted_list_is_not_a_changed_one():
    assert ASK("sort_in_place", [1, 2, 3]) == [1, 2, 3]


def test_the_traceback_is_kept_for_those_who_ask():
    with pytest.raises(Wrong) as caught:
        ASK("divide", 1, 0)
    assert "return a / b" in caught.value.detail

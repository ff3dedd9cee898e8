"""Calling a learner's function: not there, not started, an error, changed inputs, odd answers."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

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


def go_round():
    while True:
        with contextlib.suppress(Exception):  # as learners write it
            divide(1, 0)


def count(number):
    return sum(range(number))


class Odd:
    pass


ASK = local.make_ask(
    {
        "unfinished": unfinished,
        "divide": divide,
        "sort_in_place": sort_in_place,
        "add_strange": add_strange,
        "go_round": go_round,
        "count": count,
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


def test_a_loop_without_an_end_is_ended_and_named_also_beside_the_main_thread(monkeypatch):
    monkeypatch.setattr(local, "LONGEST_CALL_S", 0.2)
    message = "go_round did not end within 0.2 s. Is there a loop that never ends?"
    with pytest.raises(Wrong, match=re.escape(message)):
        ASK("go_round")
    with ThreadPoolExecutor(1) as pool:
        assert isinstance(pool.submit(ASK, "go_round").exception(30), Wrong)


def test_a_call_that_ends_just_in_time_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(local, "LONGEST_CALL_S", 0.002)
    ends = {"in time": 0, "late": 0}
    for number in range(0, 200_000, 1_000):
        try:
            assert ASK("count", number) == number * (number - 1) // 2
            ends["in time"] += 1
        except Wrong:
            ends["late"] += 1
    assert sum(ends.values()) == 200
    assert ends["in time"]

"""The progress file: one for all, harmless whatever became of it."""

import json

import pytest

from course_lib.homework import lessons, progress
from course_lib.homework.checks import Outcome

LESSON = "00_start"


def note(*answers):
    for question, is_right in answers:
        progress.note_quiz(LESSON, question, is_right)


def test_tries_count_up_to_the_first_right_answer_and_right_stays_right():
    note(("a", False), ("b", True), ("a", False), ("a", True), ("a", False), ("b", False))
    assert progress.summarise_quiz(LESSON, ["a", "b", "c"]) == [
        {"question": "a", "done": True, "tries": 3},
        {"question": "b", "done": True, "tries": 1},
        {"question": "c", "done": False, "tries": 0},
    ]


def test_an_answer_is_no_attempt_at_a_homework_check_of_the_same_name():
    check = lessons.visible_checks("01_concepts")["build_labels"]
    progress.note_quiz("01_concepts", "build_labels", is_right=False)
    progress.note_quiz("01_concepts", "build_labels", is_right=True)
    (row,) = progress.summarise("01_concepts", {"build_labels": check})
    assert row == {"question": "build_labels", "done": False, "attempts": 0, "hints": 0}
    assert progress.next_hint("01_concepts", check).startswith("Hints come one by one")


def test_checks_and_answers_stand_in_one_file(own_progress):
    progress.note_outcome("01_concepts", Outcome("build_labels", "right", "", 1, 1), "f00")
    note(("a", True))
    lines = [json.loads(line) for line in own_progress.read_text("utf-8").splitlines()]
    assert [line["status"] for line in lines] == ["right", "quiz right"]
    assert [path.name for path in own_progress.parent.iterdir()] == [own_progress.name]


@pytest.mark.parametrize(
    "broken",
    [b"not json\n", b"\xff\xfe\x00\n", b"[1, 2]\n", b"\x00" * 40 + b"\n", b"[" * 100_000 + b"\n"],
    ids=["text", "no UTF-8", "a list", "zeros", "brackets"],
)
def test_a_broken_line_is_kept_aside_and_said_and_the_rest_counts(own_progress, broken):
    note(("a", True))
    was = own_progress.read_bytes() + broken
    own_progress.write_bytes(was)
    note(("b", True))
    rows = progress.summarise_quiz(LESSON, ["a", "b"])
    assert [row["done"] for row in rows] == [True, True]
    aside = own_progress.with_name("progress.unreadable-1.jsonl")
    assert aside.read_bytes().startswith(was)
    (said,) = progress.notes()
    assert "1 of its lines could not be read" in said
    assert "progress.unreadable-1.jsonl" in said
    note(("c", True))
    assert progress.summarise_quiz(LESSON, ["c"])[0]["done"]
    assert len(list(own_progress.parent.iterdir())) == 2  # read again, it is sound


def test_each_broken_file_gets_a_name_of_its_own(own_progress):
    for _ in range(2):
        with own_progress.open("ab") as file:
            file.write(b"not json\n")
        progress.read_progress()
    names = sorted(path.name for path in own_progress.parent.iterdir())
    assert names == [
        "progress.jsonl",
        "progress.unreadable-1.jsonl",
        "progress.unreadable-2.jsonl",
    ]
    assert len(progress.notes()) == 2


def test_a_torn_last_line_is_no_broken_file(own_progress):
    note(("a", True))
    with own_progress.open("ab") as file:
        file.write(b'{"lesson": "00_st')
    assert progress.summarise_quiz(LESSON, ["a"])[0]["done"]
    note(("b", True))
    assert progress.summarise_quiz(LESSON, ["b"])[0]["done"]
    assert progress.notes() == []


def test_values_of_other_kinds_disturb_nobody(own_progress):
    odd = [{"lesson": [], "name": {}, "status": 3}, {"status": "wrong", "code": [1]}, {}]
    own_progress.write_text("".join(json.dumps(line) + "\n" for line in odd), "utf-8")
    check = lessons.visible_checks("01_concepts")["build_labels"]
    assert progress.summarise("01_concepts", {"build_labels": check})[0]["attempts"] == 0
    assert progress.summarise_quiz(LESSON, ["a"])[0]["tries"] == 0


def test_a_place_that_keeps_nothing_stops_nobody_and_is_said(own_progress, monkeypatch):
    assert progress.notes() == []  # not there yet, and can be written
    own_progress.mkdir()
    note(("a", True))
    assert progress.read_progress() == []
    assert "is not kept" in progress.notes()[0]
    monkeypatch.setenv(progress.VARIABLE, "/dev/null")
    note(("a", True))
    assert progress.read_progress() == progress.notes() == []

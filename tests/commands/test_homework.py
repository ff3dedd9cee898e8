"""`tunebook homework`: what it writes, and what it says when exercises are out of date."""

import json

import pytest

from course_lib.homework import lessons


@pytest.fixture
def own_exercises(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "EXERCISES_DIR", tmp_path)
    return tmp_path / "01_concepts" / lessons.NOTEBOOK_NAME


def test_make_writes_what_check_then_finds_in_order(tunebook, own_exercises):
    made = tunebook("homework", "make", "01")
    assert (made.status, made.out.strip()) == (0, str(own_exercises))
    checked = tunebook("homework", "make", "01", "--check")
    assert (checked.status, checked.out) == (
        0,
        "exercises/ is what solutions/ makes (1 looked at).\n",
    )


def test_check_changes_nothing_and_names_what_differs(tunebook, own_exercises):
    tunebook("homework", "make")
    book = json.loads(own_exercises.read_text("utf-8"))
    book["cells"][0]["source"] = "other"
    own_exercises.write_text(json.dumps(book), "utf-8")
    before = own_exercises.read_bytes()
    checked = tunebook("homework", "make", "--check")
    assert checked.status == 1
    assert "cell start, source" in checked.err
    assert "tunebook homework make" in checked.err
    assert own_exercises.read_bytes() == before


def test_an_unknown_lesson_is_told(tunebook):
    outcome = tunebook("homework", "make", "77")
    assert outcome.status == 1
    assert "There is no lesson with homework called '77'" in outcome.err


WITH_EXAMPLE = [("homework", "make"), ("homework", "doctor"), ("homework", "submit"), ("grade",)]


@pytest.mark.parametrize("words", WITH_EXAMPLE)
def test_help_has_an_example(tunebook, words):
    shown = tunebook(*words, "--help")
    assert shown.status == 0
    assert f"Example: tunebook {' '.join(words)}" in shown.out

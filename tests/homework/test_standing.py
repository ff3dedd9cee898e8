"""The progress table of lesson 00: first start, on the way, done."""

import re

import pytest

from course_lib.homework import lessons, progress, quiz, standing
from course_lib.homework.checks import Outcome

LESSONS = sorted({*lessons.MODULES, *quiz.lesson_names()})


def solve(lesson):
    for name, check in lessons.visible_checks(lesson).items():
        progress.note_outcome(lesson, Outcome(name, "right", "", check.points, check.points), name)


def answer_all(lesson):
    for question in quiz.load_quiz(lesson).questions:
        progress.note_quiz(lesson, question.name, is_right=True)


def line_of(view, lesson):
    number = lesson.split("_")[0]
    return next(line for line in repr(view).splitlines() if line.startswith(f"{number} "))


def test_on_a_first_start_each_lesson_stands_there_with_nothing_done():
    view = standing.progress_table()
    lines = repr(view).splitlines()
    assert lines[0].split() == ["lesson", "homework", "quiz", "hints"]
    assert len(lines) == 1 + len(LESSONS) + 1
    assert lines[-1] == standing.FIRST
    for lesson in quiz.lesson_names():
        assert f"0 of {len(quiz.load_quiz(lesson).questions)} right" in line_of(view, lesson)
    assert "✓" not in repr(view)


def test_a_lesson_without_homework_has_a_dash(monkeypatch):
    monkeypatch.delitem(lessons.MODULES, "01_concepts")
    assert re.search(r"The ideas +- +0 of", line_of(standing.progress_table(), "01_concepts"))


def test_homework_answers_and_hints_are_counted():
    lesson = "01_concepts"
    checks = lessons.visible_checks(lesson)
    right, tried = list(checks.values())[:2]
    progress.note_outcome(lesson, Outcome(right.name, "right", "", 1, 1), "f00")
    progress.note_outcome(lesson, Outcome(tried.name, "wrong", "no", 0, 1), "f01")
    progress.next_hint(lesson, tried)
    first, second = quiz.load_quiz(lesson).questions[:2]
    progress.note_quiz(lesson, first.name, is_right=True)
    progress.note_quiz(lesson, second.name, is_right=False)
    found = standing.find_standing(lesson)
    whole = sum(check.points for check in checks.values())
    assert found.points == (right.points, whole)
    assert found.right == (1, len(quiz.load_quiz(lesson).questions))
    assert found.hints == 1
    view = standing.progress_table()
    assert re.search(
        rf"{right.points:g} of {whole:g} points +1 of 6 right +1$", line_of(view, lesson)
    )
    assert repr(view).splitlines()[-1] == standing.LATER


def test_what_is_done_has_a_mark_and_all_of_it_a_word():
    answer_all("00_start")
    assert "✓ 5 of 5 right" in line_of(standing.progress_table(), "00_start")
    for lesson in LESSONS:
        solve(lesson)
        answer_all(lesson)
    assert repr(standing.progress_table()).splitlines()[-1] == standing.ALL


def test_lessons_and_homework_are_linked_from_the_notebooks_folder():
    shown = standing.progress_table()._repr_html_()
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', shown)
    assert ("01_concepts.ipynb", "01 The ideas") in links
    assert any(address == "../exercises/01_concepts/exercise.ipynb" for address, _ in links)
    for address, _ in links:
        assert (standing.NOTEBOOKS_DIR / address).is_file()


def test_a_file_that_was_kept_aside_is_said_below_the_table(own_progress):
    own_progress.write_text("not json\n", "utf-8")
    view = standing.progress_table()
    assert "progress.unreadable-1.jsonl" in repr(view)
    assert "progress.unreadable-1.jsonl" in view._repr_html_()
    assert str(own_progress.parent) not in repr(view)


@pytest.mark.parametrize(
    "text", ["", "{}\n", '{"lesson": "99_gone", "name": "x", "status": "right"}\n']
)
def test_records_of_lessons_that_are_not_there_disturb_nobody(own_progress, text):
    own_progress.write_text(text, "utf-8")
    assert repr(standing.progress_table()).splitlines()[-1] == standing.FIRST

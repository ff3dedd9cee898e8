"""The quiz, the way to the homework and the progress table in the lessons' notebooks."""

import re

import nbformat
import pytest

from course_lib.files import REPO_DIR
from course_lib.homework import lessons, quiz, standing
from course_lib.widgets import quiz_view

NOTEBOOKS = REPO_DIR / "notebooks"
AGAIN = "run the notebook again, with TUNEBOOK_PROGRESS=/dev/null"
each_lesson = pytest.mark.parametrize("lesson", quiz.lesson_names())


def read(lesson):
    return nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)


def outputs_of(lesson, source):
    """The data that the notebook stores for the one cell with this source."""
    (cell,) = [c for c in read(lesson).cells if c.cell_type == "code" and c.source == source]
    (output,) = cell.outputs
    return output.data


@each_lesson
def test_the_quiz_stands_near_the_end_of_a_lesson_of_at_most_45_cells(lesson):
    cells = read(lesson).cells
    assert len(cells) <= 45
    assert any(c.source == f'quiz_view.QuizView("{lesson}")' for c in cells[-6:])


@each_lesson
def test_the_stored_quiz_is_that_of_the_data_file(lesson):
    stored = outputs_of(lesson, f'quiz_view.QuizView("{lesson}")')
    twin = quiz_view.QuizView(lesson).static()
    assert stored["text/plain"] == repr(twin), AGAIN
    assert stored["text/html"] == twin._repr_html_(), AGAIN


@each_lesson
def test_no_explanation_and_no_folded_answer_stands_in_the_lesson(lesson):
    cells = read(lesson).cells
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    text = "\n".join([*(cell.source for cell in cells), *(str(d.get("text/plain")) for d in data)])
    for question in quiz.load_quiz(lesson).questions:
        assert [choice.why for choice in question.choices if choice.why.strip() in text] == []
    assert re.findall(r"<summary>\d+\. ", text) == []


@pytest.mark.parametrize("lesson", sorted(lessons.MODULES))
def test_a_lesson_with_homework_links_to_it(lesson):
    link = f"../exercises/{lesson}/{lessons.NOTEBOOK_NAME}"
    assert (NOTEBOOKS / link).is_file()
    assert any(link in c.source for c in read(lesson).cells if c.cell_type == "markdown")


def test_lesson_00_stores_the_table_of_a_first_start():
    stored = outputs_of("00_start", "standing.progress_table()")
    assert stored["text/plain"].endswith(standing.FIRST), AGAIN

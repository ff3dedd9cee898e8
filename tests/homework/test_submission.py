"""What a grader runs of a notebook: released cells as released, the learner's own as they are."""

import copy

import pytest
from nbformat import v4

from course_lib.homework import make, submission
from tests.homework import answers
from tests.homework.test_make import ANSWER, rules, source_notebook


def released():
    source = source_notebook()
    source.cells.insert(1, v4.new_code_cell("import math", id="imports", metadata=rules("imports")))
    return make.release(source)


def handed_in():
    notebook = copy.deepcopy(released())
    notebook.cells[2].source = ANSWER
    return notebook


def plan(change=lambda notebook: None):
    notebook = handed_in()
    change(notebook)
    return submission.make_plan(notebook, released())


def test_locked_code_and_answers_run_and_checks_do_not():
    found = plan()
    assert found.sources == ("import math", ANSWER)
    assert found.names == ("imports", "double")
    assert found.answers == {"double": ANSWER}
    assert found.notes == ()


def test_an_edited_locked_cell_runs_as_released():
    found = plan(lambda book: book.cells[1].update(source="import os"))
    assert found.sources[0] == "import math"
    assert found.notes == ("cell imports was edited; the released one counts",)


def test_a_deleted_locked_cell_is_put_back_in_front():
    found = plan(lambda book: book.cells.pop(1))
    assert found.sources == ("import math", ANSWER)
    assert found.notes == ("cell imports is missing",)


def test_a_deleted_check_cell_costs_nothing():
    found = plan(lambda book: book.cells.pop(3))
    assert found.sources == ("import math", ANSWER)
    assert found.notes == ("cell double_check is missing",)


def test_an_answer_that_is_there_twice_is_noted_and_the_last_counts():
    def copy_cell(book):
        again = copy.deepcopy(book.cells[2])
        again.id, again.source = "again", "def double(x): return 0"
        book.cells.append(again)

    found = plan(copy_cell)
    assert found.sources[-1] == found.answers["double"] == "def double(x): return 0"
    assert "is there 2 times" in found.notes[0]


def test_own_cells_run_in_their_place_without_lines_for_the_course():
    def add(book):
        text = "%check double\nif True:\n    %check double --hint\nx = 1"
        book.cells.insert(2, v4.new_code_cell(text, id="own"))
        book.cells.append(v4.new_code_cell("%load_ext course_lib.homework.selfcheck", id="more"))
        button = "from course_lib.widgets.check_button import check_button\ncheck_button('double')"
        book.cells.append(v4.new_code_cell(button, id="button"))

    found = plan(add)
    assert found.sources == ("import math", "pass\nif True:\n    pass\nx = 1", ANSWER)
    assert found.names[1] == "number 3"


def test_another_release_is_noted():
    found = plan(lambda book: book.metadata.tunebook.update(release="old"))
    assert "another release" in found.notes[0]


def test_a_notebook_without_its_mark_is_known_by_its_cells():
    found = plan(lambda book: book.metadata.pop("tunebook"))
    assert found.notes == ("the lesson's mark is missing; known by its cells",)


def clear(book):
    book.metadata.pop("tunebook")
    book.cells = [v4.new_code_cell("1 + 1", id="x")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda book: book.metadata.tunebook.update(lesson="98_other"), "belongs to '98_other'"),
        (clear, "no mark of a lesson"),
    ],
)
def test_a_notebook_of_another_lesson_is_refused(change, message):
    with pytest.raises(submission.WrongLesson, match=message):
        plan(change)


def test_metadata_that_makes_no_sense_counts_as_none():
    def spoil(book):
        book.cells[0].metadata.nbgrader = ["x"]
        book.cells[3].metadata.nbgrader = {"grade_id": 3, "points": {}}
        book.metadata.tunebook = {"lesson": "99_test", "release": [1]}

    assert plan(spoil).sources[:2] == ("import math", ANSWER)


def test_the_right_answers_as_a_learner_hands_them_in_make_a_plan():
    notebook = answers.handed_in("01_concepts", {})
    found = submission.make_plan(notebook, notebook)
    assert found.sources[0] == "import math\n\nimport numpy as np"
    assert len(found.sources) == 6

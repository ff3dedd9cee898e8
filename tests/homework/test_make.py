"""From solutions to exercises: what goes out, what stays in, and each mistake with its place."""

import copy
import json

import nbformat
import pytest
from nbformat import v4

from course_lib.errors import DataError, UnknownNameError
from course_lib.homework import cells, lessons, lint, make

POINTS = {"double": 2}
ANSWER = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"


def rules(name, **changed):
    found = {"schema_version": 3, "grade_id": name, "grade": False, "solution": False}
    return {"nbgrader": {**found, "locked": True, "task": False, **changed}}


def source_notebook():
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Title", id="title", metadata=rules("title")),
            v4.new_code_cell(
                ANSWER, id="double", metadata=rules("double", solution=True, locked=False)
            ),
            v4.new_code_cell(
                "%check double --raise",
                id="double_check",
                metadata=rules("double_check", grade=True, points=2),
                outputs=[v4.new_output("stream", text="all well\n")],
                execution_count=3,
            ),
        ],
        metadata={"tunebook": {"lesson": "99_test"}},
    )


def problems(change):
    book = source_notebook()
    change(book)
    return lint.find_problems(book, "99_test", POINTS)


def set_rule(number, field, value):
    def change(book):
        book.cells[number].metadata.nbgrader[field] = value

    return change


def set_source(number, text):
    def change(book):
        book.cells[number].source = text

    return change


def test_a_sound_source_has_no_problems():
    assert problems(lambda book: None) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda book: book.metadata.tunebook.update(lesson="98"),
            "notebook metadata, tunebook.lesson: '98', expected \"99_test\"",
        ),
        (set_rule(0, "schema_version", 2), "cell 1 (title), nbgrader.schema_version: 2"),
        (set_rule(0, "task", None), "cell 1 (title), nbgrader.task: None, expected a bool"),
        (set_rule(0, "grade_id", "a b"), "cell 1 (title), nbgrader.grade_id: 'a b'"),
        (set_rule(0, "grade_id", "double"), "'double' stands in 2 cells"),
        (set_rule(2, "locked", False), "cell 3 (double_check), nbgrader.locked"),
        (set_rule(2, "points", 0), "cell 3 (double_check), nbgrader.points: 0"),
        (set_rule(2, "points", 5), "nbgrader.points: 5, but its checks give 2"),
        (set_rule(2, "points", True), "nbgrader.points: True, expected a number above 0"),
        (set_rule(1, "solution", False), "cell 2 (double), nbgrader.solution"),
        (set_rule(1, "locked", True), "cell 2 (double), nbgrader.locked: must be false"),
        (set_source(1, "def double(x):\n    return 2 * x"), "an answer without ### BEGIN SOLUTION"),
        (set_source(1, ANSWER + "\n### END SOLUTION"), "must stand in turns"),
        (set_source(1, "### BEGIN HIDDEN TESTS\n" + ANSWER), "belong into hidden.py"),
        (set_source(1, ANSWER + "\n!ls"), "shell lines and cell magics"),
        (set_source(1, "%%bash\n" + ANSWER), "shell lines and cell magics"),
        (set_source(2, "assert double(2) == 4"), "expected one line `%check QUESTION --raise`"),
        (set_source(2, "%check triple --raise"), "there is no check for 'triple'"),
        (lambda book: book.cells.pop(2), "question double: no cell checks it"),
        (lambda book: book.cells.pop(1), "no solution cell has the grade_id 'double'"),
        (
            lambda book: book.cells[0].metadata.update(nbgrader=[]),
            "cell 1 (title), nbgrader: [], expected an object",
        ),
    ],
)
def test_each_mistake_is_named_with_its_cell_and_field(change, line):
    assert any(line in problem for problem in problems(change)), problems(change)


def essay(text, **changed):
    read = {"grade": True, "solution": True, "locked": False, "points": 4, **changed}
    return v4.new_markdown_cell(text, id="essay", metadata=rules("essay", **read))


ESSAY = "### BEGIN SOLUTION\nIt is masked.\n### END SOLUTION"


@pytest.mark.parametrize(
    ("cell", "line"),
    [
        (essay(ESSAY), None),
        (essay("It is masked."), "an answer without ### BEGIN SOLUTION"),
        (essay(ESSAY, points=0), "nbgrader.points: 0"),
        (essay(ESSAY, grade=False), "text that a person reads has both"),
        (essay(ESSAY, locked=True), "nbgrader.locked: must be false"),
    ],
)
def test_a_question_for_a_reader_is_looked_over_too(cell, line):
    found = problems(lambda book: book.cells.append(cell))
    assert bool(found) == bool(line)
    assert any(line in problem for problem in found) if line else True


def test_a_question_for_a_reader_goes_out_with_a_stub_of_text():
    book = source_notebook()
    book.cells.append(essay(f"Say why.\n\n{ESSAY}"))
    made = make.release(book)
    assert made.cells[-1].source == "Say why.\n\n*Your answer goes here.*"
    assert cells.list_cells(made)[-1].kind == "manual"
    assert "editable" not in made.cells[-1].metadata


def test_a_question_without_a_cell_is_named():
    found = lint.find_problems(source_notebook(), "99_test", {**POINTS, "triple": 1})
    assert found == ["question triple: it has a check and no solution cell with this grade_id"]


# ---------------------------------------------------------------- what learners get


def test_a_stub_takes_the_answers_place():
    assert make.remove_answers(ANSWER) == (
        "def double(x):\n    # Your code goes here.\n    raise NotImplementedError"
    )


def test_text_around_answers_stays():
    text = f"a = 1\n{ANSWER}\n    return 0\nb = 2"
    assert make.remove_answers(text).splitlines()[0] == "a = 1"
    assert make.remove_answers(text).splitlines()[-2:] == ["    return 0", "b = 2"]


def test_the_exercise_keeps_cells_and_drops_answers_and_outputs():
    source = source_notebook()
    before = copy.deepcopy(source)
    made = make.release(source)
    assert source == before
    assert [c.id for c in made.cells] == ["title", "double", "double_check"]
    assert "2 * x" not in nbformat.writes(made)
    assert (made.cells[2].outputs, made.cells[2].execution_count) == ([], None)
    assert made.cells[2].metadata.tags == ["raises-exception"]
    assert made.cells[0].metadata.editable is False
    assert "editable" not in made.cells[1].metadata
    assert made.metadata.tunebook.lesson == "99_test"


def test_the_same_source_makes_the_same_text_and_another_one_another_release():
    first, second = make.release(source_notebook()), make.release(source_notebook())
    assert nbformat.writes(first) == nbformat.writes(second)
    changed = source_notebook()
    changed.cells[0].source += "!"
    assert make.release(changed).metadata.tunebook.release != first.metadata.tunebook.release


def test_the_release_does_not_depend_on_the_answer():
    changed = source_notebook()
    changed.cells[1].source = ANSWER.replace("2 * x", "x + x")
    assert make.release(changed) == make.release(source_notebook())


# ---------------------------------------------------------------- files


@pytest.fixture
def exercise(tmp_path, monkeypatch):
    """A copy of a real exercise that a test may change; its text goes in and out as JSON."""
    path = tmp_path / "01_concepts" / lessons.NOTEBOOK_NAME
    path.parent.mkdir()
    text = (lessons.EXERCISES_DIR / "01_concepts" / lessons.NOTEBOOK_NAME).read_text("utf-8")
    path.write_text(text, "utf-8")
    monkeypatch.setattr(lessons, "EXERCISES_DIR", tmp_path)
    return path


def change_file(path, change):
    book = json.loads(path.read_text("utf-8"))
    change(book)
    path.write_text(json.dumps(book), "utf-8")


def test_what_jupyterlab_writes_about_itself_is_no_difference(exercise):
    def save_in_lab(book):
        book["metadata"]["kernelspec"]["display_name"] = "My Python"
        book["metadata"]["language_info"] = {"name": "python", "version": "3.11.7"}

    change_file(exercise, save_in_lab)
    assert make.find_differences("01_concepts") == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda book: book["cells"].pop(), "cell lora_forward_check is missing"),
        (lambda book: book["cells"].reverse(), "the cells stand in another order"),
        (lambda book: book["cells"][0].update(source="x"), "cell start, source"),
        (lambda book: book["cells"][0].update(metadata={}), "cell start, metadata"),
        (lambda book: book["cells"][0].update(id="other"), "cell other has no place there"),
        (
            lambda book: book["cells"][1].update(
                outputs=[{"output_type": "stream", "name": "stdout", "text": "x"}]
            ),
            "cell imports, outputs",
        ),
        (lambda book: book["metadata"]["tunebook"].update(release="0"), "metadata, tunebook"),
    ],
)
def test_a_changed_exercise_is_found(exercise, change, line):
    change_file(exercise, change)
    assert line in "\n".join(make.find_differences("01_concepts"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not a Jupyter notebook"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": []}', "4.5 is needed"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "not a Jupyter notebook"),
        (b"[1]", "not a Jupyter notebook"),
    ],
)
def test_a_file_that_is_no_notebook_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "x.ipynb"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        cells.read_notebook(path)


def test_all_problems_of_a_source_are_told_at_once(tmp_path, monkeypatch):
    folder = tmp_path / "01_concepts"
    folder.mkdir()
    for name in (lessons.HIDDEN_NAME, lessons.WRONG_NAME):
        text = (lessons.SOLUTIONS_DIR / "01_concepts" / name).read_text("utf-8")
        (folder / name).write_text(text, "utf-8")
    nbformat.write(source_notebook(), folder / lessons.NOTEBOOK_NAME)
    monkeypatch.setattr(lessons, "SOLUTIONS_DIR", tmp_path)
    with pytest.raises(DataError, match="things to mend") as caught:
        make.make_exercise("01_concepts")
    assert "tunebook.lesson" in str(caught.value)
    assert "question mean_loss: it has a check" in str(caught.value)


def test_a_lesson_is_found_by_its_number():
    assert lessons.find_lesson("01") == lessons.find_lesson("01_concepts") == "01_concepts"
    with pytest.raises(UnknownNameError, match="no lesson with homework called '17'"):
        lessons.find_lesson("17")


def test_hidden_checks_that_cannot_run_are_told(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        lessons.load_hidden(tmp_path)
    (tmp_path / lessons.HIDDEN_NAME).write_text("1 / 0", "utf-8")
    with pytest.raises(DataError, match="cannot be run: ZeroDivisionError"):
        lessons.load_hidden(tmp_path)

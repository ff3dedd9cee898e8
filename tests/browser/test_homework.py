"""An exercise in a real JupyterLab, from blank to all passed, wrong attempts included."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from course_lib.homework import cells, lessons
from tests.browser import pages
from tests.homework import answers

LESSON = "01_concepts"
QUESTIONS = list(lessons.visible_checks(LESSON))
PASSED = "✓ {}: all visible checks pass"
# Where a picture of the solved notebook goes, for whoever wants one.
PICTURE = os.environ.get("TUNEBOOK_PICTURE", "")


@pytest.fixture
def exercise():
    """The exercise as learners get it, behind a cell that keeps their progress file apart."""
    with pages.work_dir() as folder:
        notebook = cells.read_notebook(lessons.EXERCISES_DIR / LESSON / lessons.NOTEBOOK_NAME)
        apart = f"import os\nos.environ['TUNEBOOK_PROGRESS'] = {str(folder / 'progress.jsonl')!r}"
        notebook.cells.insert(0, v4.new_code_cell(apart, id="apart"))
        notebook.cells += [
            v4.new_code_cell("%check build_labels --hint", id="hint"),
            v4.new_code_cell("print('the end was', 'reached')", id="end"),
        ]
        path = folder / "exercise.ipynb"
        nbformat.write(notebook, path)
        yield path


def number_of(path: Path, name: str) -> int:
    """Which code cell has an id, from 0."""
    book = nbformat.read(path, as_version=4)
    return [cell.id for cell in book.cells if cell.cell_type == "code"].index(name)


def run_named(page, path: Path, name: str, said: str) -> None:
    """Run a cell and wait for what it says."""
    number = number_of(path, name)
    pages.run_cell(page, number)
    output = page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".jp-OutputArea-output")
    output.filter(has_text=said).first.wait_for(timeout=pages.LOAD_MS)


def write_cell(page, path: Path, name: str, source: str) -> None:
    """Put a text into a cell, as by pasting, and run it."""
    number = number_of(path, name)
    page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(source)
    pages.run_cell(page, number)


def test_from_blank_over_wrong_attempts_to_all_passed(lab, browser, exercise):
    zoo = lessons.load_wrong_answers(lessons.SOLUTIONS_DIR / LESSON)
    right = {c.id: c.source for c in answers.handed_in(LESSON, {}).cells}
    with pages.opened(lab, browser, exercise) as page:
        for name in ("apart", "imports", "checks"):
            pages.run_cell(page, number_of(exercise, name))
        run_named(page, exercise, "hint", "Hints come one by one")
        for question in QUESTIONS:
            check = f"{question}_check"
            run_named(page, exercise, check, "not started")
            wrong = next(w for w in zoo if w.question == question)
            write_cell(page, exercise, question, wrong.code)
            run_named(page, exercise, check, wrong.message)
            write_cell(page, exercise, question, right[question])
            run_named(page, exercise, check, PASSED.format(question))
        run_named(page, exercise, "hint", "Hint 1 of 3")
        assert page.locator(".jp-Notebook").get_by_text("Traceback (most recent").count() == 0
        if PICTURE:
            page.locator(".jp-Notebook").screenshot(path=PICTURE)


def test_run_all_on_the_blank_exercise_reaches_the_last_cell(lab, browser, exercise):
    with pages.opened(lab, browser, exercise) as page:
        page.locator(".lm-MenuBar-itemLabel").get_by_text("Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        page.get_by_text("the end was reached").wait_for(timeout=pages.LOAD_MS)
        shown = page.locator(".jp-Notebook").inner_text()
        assert len(re.findall(", not started: ", shown)) == len(QUESTIONS)

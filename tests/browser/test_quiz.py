"""Lesson 00's own quiz and progress table, answered wrongly and rightly in a real JupyterLab."""

import nbformat
import pytest
from nbformat import v4

from course_lib.files import REPO_DIR
from course_lib.homework import quiz
from tests.browser import pages, test_widgets_readable

LESSON = "00_start"
OTHER = "01_concepts"  # a lesson to follow a link to
ASKED, COUNT = quiz.load_quiz(LESSON).questions[0], len(quiz.load_quiz(LESSON).questions)
RIGHT, WRONG = (next(c for c in ASKED.choices if c.is_right is want) for want in (True, False))
# Each choice takes a while to arrive, as on a machine that has much to do.
SLOW = """import time
view = {}
view.choices[0].boxes[0].observe(lambda _: time.sleep(1), "index")
view"""
SECOND = next(n for n, q in enumerate(quiz.load_quiz(LESSON).questions) if q.several)


@pytest.fixture
def folder():
    with pages.work_dir() as made:
        nbformat.write(v4.new_notebook(), made / f"{OTHER}.ipynb")
        yield made


def cell_of(text):
    """The source of the one cell of lesson 00 that holds a text."""
    book = nbformat.read(REPO_DIR / "notebooks" / f"{LESSON}.ipynb", as_version=4)
    (source,) = [c.source for c in book.cells if c.cell_type == "code" and text in c.source]
    return source


def write(folder, form="{}"):
    apart = f"import os\nos.environ['TUNEBOOK_PROGRESS'] = {str(folder / 'progress.jsonl')!r}\n"
    lines = cell_of("import psutil").splitlines()  # of the lesson's imports those that are needed
    needed = [line for line in lines if "quiz_view" in line or "standing" in line]
    view, table = form.format(cell_of("QuizView(")), cell_of("progress_table(")
    cells = [apart + "\n".join(needed), view, table]
    return pages.write_notebook(folder, cells)


def label_of(text):
    return next(label for label in quiz.labels(ASKED) if label.endswith(f") {text}"))


def choice(panel, text):
    return panel.get_by_role("radio", name=label_of(text), exact=True)


def answer(page, panel, text):
    """By keyboard alone: the focus must stay where it is."""
    pages.focus(choice(panel, text))
    page.keyboard.press("Space")
    pages.focus(panel.get_by_role("button", name="Answer"))
    page.keyboard.press("Enter")


def test_wrong_then_right_and_the_progress_table_says_so(lab, browser, folder):
    with pages.opened(lab, browser, write(folder)) as page:
        for number in range(3):
            pages.run_cell(page, number)
        table = page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".jp-OutputArea")
        table.get_by_text("Nothing yet").wait_for(timeout=pages.LOAD_MS)
        panel = page.locator(".tb-panel")
        answer(page, panel, WRONG.text)
        panel.get_by_text(WRONG.why.strip()).wait_for()
        panel.get_by_text("Tries at this question: 1.").wait_for()
        assert page.evaluate("document.activeElement.textContent") == "Answer"
        assert panel.get_by_text(RIGHT.why.strip()).count() == 0
        answer(page, panel, RIGHT.text)
        panel.get_by_text(RIGHT.why.strip()).wait_for()
        panel.get_by_text(f"Tries at this question: 2. 1 of {COUNT} answered right.").wait_for()
        panel.get_by_text("The other choices").click()
        panel.get_by_text(WRONG.why.strip()).wait_for()
        pages.run_cell(page, 2)
        table.get_by_text(f"1 of {COUNT} right").wait_for(timeout=pages.LOAD_MS)
        table.get_by_role("link", name="01 The ideas").click()
        page.locator(".lm-TabBar-tabLabel", has_text=f"{OTHER}.ipynb").wait_for()


def test_the_last_choice_counts_however_fast_it_is_made(lab, browser, folder):
    with pages.opened(lab, browser, write(folder, SLOW)) as page:
        for number in range(2):
            pages.run_cell(page, number)
        panel = page.locator(".tb-panel")
        choice(panel, WRONG.text).click()
        choice(panel, RIGHT.text).click()
        panel.get_by_role("button", name="Answer").click()
        panel.get_by_role("button", name="Next question").click()
        panel.get_by_text(f"Question 2 of {COUNT}").wait_for()
        panel.get_by_text(f"1 of {COUNT} answered right.").wait_for()


def test_names_keys_and_contrast_in_both_themes(lab, browser, folder):
    readable = test_widgets_readable
    with pages.opened(lab, browser, write(folder)) as page:
        for number in range(2):
            pages.run_cell(page, number)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Question 1 of").wait_for(timeout=pages.LOAD_MS)
        answer(page, panel, RIGHT.text)
        panel.get_by_text("The other choices").click()
        for theme in (pages.LIGHT, pages.DARK):
            pages.choose_theme(page, theme)
            assert readable.too_weak(panel.evaluate(readable.CONTRAST)) == []
        assert readable.names_missing(panel.aria_snapshot()) == []
        assert readable.tab_through(page, panel) == []
        for number in range(SECOND):  # the buttons move as each question comes
            panel.get_by_role("button", name="Next question").click()
            panel.get_by_text(f"Question {number + 2} of").wait_for()
        panel.get_by_text("More than one may be right.").wait_for()
        assert readable.names_missing(panel.aria_snapshot()) == []
        assert readable.tab_through(page, panel) == []
        assert readable.too_weak(panel.evaluate(readable.CONTRAST)) == []

"""Exercises in a real JupyterLab, from blank to all passed, wrong attempts included."""

import re

import pytest

from course_lib.homework import lessons
from tests.browser import exercises, pages
from tests.homework import answers

END = {"end": "print('the end was', 'reached')"}
CRASHING = 'def introduce(name):\n    return f"I am {nme}\'s assistant."'


def zoo_of(lesson):
    """For each question its first wrong answer."""
    zoo = lessons.load_wrong_answers(lessons.SOLUTIONS_DIR / lesson)
    return {q: next(w for w in zoo if w.question == q) for q in lessons.visible_checks(lesson)}


def right_cells(lesson):
    return {cell.id: cell.source for cell in answers.handed_in(lesson, {}).cells}


@pytest.mark.parametrize(
    ("lesson", "locked"),
    [("01_concepts", ["imports"]), ("05_ms_agent", ["imports", "parts_of", "tools"])],
)
def test_from_blank_over_wrong_attempts_to_all_passed(lab, browser, lesson, locked):
    right, zoo = right_cells(lesson), zoo_of(lesson)
    hint = {"hint": f"%check {next(iter(zoo))} --hint"}
    with (
        exercises.copied(lesson, **hint) as book,
        pages.opened(lab, browser, book) as page,
    ):
        for name in ("apart", "checks", *locked):
            exercises.run_named(page, book, name)
        exercises.run_named(page, book, "hint", "Hints come one by one")
        for question, wrong in zoo.items():
            check = f"{question}_check"
            exercises.run_named(page, book, check, "not started")
            exercises.write_cell(page, book, question, wrong.code)
            exercises.run_named(page, book, check, wrong.message)
            exercises.write_cell(page, book, question, right[question])
            exercises.run_named(page, book, check, exercises.PASSED.format(question))
        exercises.run_named(page, book, "hint", "Hint 1 of 3")
        assert page.locator(".jp-Notebook").get_by_text("Traceback (most recent").count() == 0


def test_the_first_exercise_goes_as_its_text_says(lab, browser):
    wrong, right = zoo_of("00_start")["introduce"], right_cells("00_start")
    with exercises.copied("00_start") as book, pages.opened(lab, browser, book) as page:
        for name in ("apart", "checks", "introduce"):
            exercises.run_named(page, book, name)
        exercises.run_named(page, book, "introduce_check", "not started")
        exercises.run_named(page, book, "introduce_hint", "Hints come one by one")
        exercises.write_cell(page, book, "introduce", wrong.code)
        exercises.run_named(page, book, "introduce_check", wrong.message)
        exercises.run_named(page, book, "introduce_hint", "Hint 1 of 3")
        exercises.run_named(page, book, "introduce_button")
        panel = page.locator(".tb-panel")
        click_and_read(panel, "Check introduce", wrong.message)
        press_and_read(panel, "Hint", "Hints come one by one")  # one for each attempt
        exercises.write_cell(page, book, "introduce", CRASHING)
        press_and_read(panel, "Check introduce", "introduce stopped with NameError")
        assert panel.get_by_text("nme").count() == 1  # the message; no traceback yet
        click_and_read(panel, "Why?", "Traceback (most recent call last)")
        press_and_read(panel, "Hint", "Hint 2 of 3")
        exercises.write_cell(page, book, "introduce", right["introduce"])
        press_and_read(panel, "Check introduce", "all visible checks pass")
        exercises.run_named(page, book, "introduce_check", exercises.PASSED.format("introduce"))


def click_and_read(panel, button, said):
    """Press a button and wait for what the panel says then."""
    panel.get_by_role("button", name=button).click()
    panel.get_by_text(said).first.wait_for(timeout=pages.LOAD_MS)


def press_and_read(panel, button, said):
    """The same by keyboard, which stays where it is."""
    place = panel.get_by_role("button", name=button)
    pages.focus(place)
    place.press("Space")
    panel.get_by_text(said).first.wait_for(timeout=pages.LOAD_MS)
    panel.page.wait_for_timeout(500)  # for whatever would take the keyboard away
    assert place.evaluate("button => button === document.activeElement")


def test_run_all_on_the_blank_exercise_reaches_the_last_cell(lab, browser):
    with exercises.copied("00_start", **END) as book, pages.opened(lab, browser, book) as page:
        page.locator(".lm-MenuBar-itemLabel").get_by_text("Run", exact=True).click()
        page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        page.get_by_text("the end was reached").wait_for(timeout=pages.LOAD_MS)
        shown = page.locator(".jp-Notebook").inner_text()
        assert len(re.findall(", not started: ", shown)) == 3

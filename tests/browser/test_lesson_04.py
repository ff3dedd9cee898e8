"""Lesson 04 as a learner does it: its own cells, by hand, in a real JupyterLab."""

import re

import nbformat
import pytest

from course_lib.files import REPO_DIR
from tests.browser import pages

LESSON = REPO_DIR / "notebooks" / "04_personal_assistant.ipynb"
WAIT_MS = 150_000
# The cells that are run, each found by something that only it says.
CELLS = {
    "imports": "import tempfile",
    "tier": "TIER = ",
    "name": "name_box = ",
    "before": "before = answers",
    "editor": "ConfigEditor(",
    "monitor": "TrainingMonitor(",
    "after": "monitor.finish()",
    "slider": "CheckpointSlider(",
    "chat": "ChatPanel(",
}
# A shorter run than the lesson's: set in the form, as a learner would.
SHORT = {
    "optimizer": {"max_steps": "12"},
    "evaluation": {"retained_questions": "2", "sample_every_steps": "2"},
    "runtime": {"logging_steps": "1"},
}


@pytest.fixture
def lesson():
    with pages.work_dir() as folder:
        path = folder / "lesson.ipynb"
        nbformat.write(nbformat.read(LESSON, as_version=4), path)
        yield path


def places():
    """The number of each cell among the code cells."""
    cells = [c for c in nbformat.read(LESSON, as_version=4).cells if c.cell_type == "code"]
    found = {}
    for name, text in CELLS.items():
        (found[name],) = [i for i, cell in enumerate(cells) if text in cell.source]
    return found


def panel_of(page, number):
    return page.locator(".jp-Notebook .jp-CodeCell").nth(number).locator(".tb-panel")


def button(panel, name):
    return panel.get_by_role("button", name=name)


def test_a_learner_does_lesson_04_by_hand(lab, browser, lesson):
    at = places()
    with pages.opened(lab, browser, lesson) as page:
        for name in ("imports", "tier", "name", "before", "editor"):
            pages.run_cell(page, at[name])
        edit(page, panel_of(page, at["editor"]))
        pages.run_cell(page, at["monitor"])
        train(page, panel_of(page, at["monitor"]))
        pages.run_cell(page, at["after"])
        pages.run_cell(page, at["slider"])
        slide(page, panel_of(page, at["slider"]))
        pages.run_cell(page, at["chat"])
        chat(page, panel_of(page, at["chat"]))


def edit(page, panel):
    """A problem at its field, another prediction, the difference."""
    panel.get_by_text("114 optimizer steps in all").wait_for(timeout=WAIT_MS)
    button(panel, "optimizer").click()
    steps = panel.get_by_label("max_steps", exact=True)
    steps.fill("0")
    problem = panel.get_by_role("alert").filter(has_text="greater than or equal to 1")
    problem.wait_for(timeout=WAIT_MS)
    button(panel, "optimizer ✗ 1").wait_for()
    steps.fill("4")
    panel.get_by_text("4 optimizer steps in all: too few").wait_for(timeout=WAIT_MS)
    problem.wait_for(state="hidden")
    for group, values in SHORT.items():
        button(panel, group).click()
        for name, value in values.items():
            panel.get_by_label(name, exact=True).fill(value)
    panel.get_by_text("12 optimizer steps in all").wait_for(timeout=WAIT_MS)
    panel.get_by_text("+max_steps: 12").wait_for()


def train(page, panel):
    """Start, watch, stop, resume."""
    button(panel, "Start").click()
    panel.get_by_text("Running.").wait_for(timeout=WAIT_MS)
    points = panel.get_by_role("img", name=re.compile("^Loss")).locator("circle")
    points.nth(0).wait_for(state="attached", timeout=WAIT_MS)
    before = points.count()
    points.nth(before).wait_for(state="attached", timeout=WAIT_MS)  # the curve grows
    panel.get_by_text(re.compile("Replies at step [24]")).first.wait_for(timeout=WAIT_MS)
    button(panel, "Stop").click()
    panel.get_by_text(re.compile(r"Stopped at step \d+, as asked")).wait_for(timeout=WAIT_MS)
    button(panel, "Resume").click()
    panel.get_by_text("Finished.").wait_for(timeout=WAIT_MS)
    panel.get_by_text("Step 12 of 12.").wait_for()
    panel.get_by_text("Replies at step 12").wait_for()


def slide(page, panel):
    """From the last step to the base."""
    panel.get_by_text("Answers at step 12").wait_for(timeout=WAIT_MS)
    panel.get_by_text("Scores at step 12").wait_for()
    pages.focus(panel.get_by_role("slider"))
    page.keyboard.press("Home")
    panel.get_by_text("Answers at step 0").wait_for()
    panel.get_by_text("I am Pico").first.wait_for()


def chat(page, panel):
    """The lesson's questions are answered; one's own is answered piece by piece, by both."""
    talks = panel.get_by_role("log")
    talks.nth(1).get_by_text("And where does it live?").wait_for(timeout=WAIT_MS)
    panel.evaluate(pages.RECORD)
    panel.get_by_label("Message").fill("Tell me a story about a cat.")
    page.keyboard.press("Enter")
    for talk in (talks.nth(0), talks.nth(1)):
        talk.get_by_text("Tell me a story about a cat.").wait_for(timeout=WAIT_MS)
    panel.get_by_text("The tuned model answers").wait_for(timeout=WAIT_MS)
    panel.get_by_text("The tuned model answers").wait_for(state="hidden", timeout=WAIT_MS)
    lengths = page.evaluate("window.lengths")
    assert len(set(lengths)) >= 6, lengths  # the answers came in pieces

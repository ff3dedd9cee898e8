"""The config editor and the label view in a real JupyterLab, by keyboard and by name."""

import json

import pytest

from course_lib.files import REPO_DIR
from course_lib.training import config
from tests.browser import pages
from tests.widgets import hostile

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
CONFIG = (
    "# my first config\nr: 8   # rank\ntrain_data:\n  - path: rows.jsonl\n    copies: 30\n"
    "packing: none\nnum_train_epochs: 2\nper_device_train_batch_size: 2\n"
)
EDIT = """from course_lib.widgets.config_editor import ConfigEditor
editor = ConfigEditor("mine.yaml")
editor"""
LOOK = f"""import sys
sys.path.insert(0, {str(REPO_DIR)!r})
from course_lib.model import loading
from course_lib.widgets.label_view import LabelView
from tests.widgets import hostile
texts = ["Good day!", *hostile.TEXTS.values()]
rows = [{{"messages": [{{"role": "user", "content": text}},
                      {{"role": "assistant", "content": text}}]}} for text in texts]
LabelView(rows, loading.load_tokenizer("pico-chat"), max_length=512)"""
NOT_OURS = ".tb-panel :is(script, img, svg, iframe, object, form, math, style ~ style, a)"
WAIT_MS = 120_000


@pytest.fixture
def folder():
    with pages.work_dir() as made:
        (made / "rows.jsonl").write_text(json.dumps({"messages": TURNS}) + "\n")
        (made / "mine.yaml").write_text(CONFIG)
        yield made


def field(page, name):
    """A box by the name that a screen reader reads out."""
    return page.get_by_label(name, exact=True)


def test_a_field_is_edited_its_problem_and_the_prediction_follow(lab, browser, folder):
    notebook = pages.write_notebook(folder, [EDIT, "6 * 7"])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("30 optimizer steps in all").wait_for(timeout=WAIT_MS)

        panel.get_by_role("button", name="optimizer").click()
        pages.focus(field(page, "max_steps"))
        page.keyboard.type("4")
        panel.get_by_text("4 optimizer steps in all: too few").wait_for(timeout=WAIT_MS)
        panel.get_by_text("+max_steps: 4").wait_for()

        panel.get_by_role("button", name="adapter").click()
        rank = field(page, "r")
        rank.fill("0")
        panel.get_by_role("alert").filter(has_text="greater than or equal to 1").wait_for()
        panel.get_by_role("button", name="adapter ✗ 1").wait_for()
        panel.get_by_text("Correct the problems first.").first.wait_for()
        rank.fill("16")
        panel.get_by_text("+r: 16", exact=False).wait_for()
        assert panel.get_by_role("alert").count() == 0

        pages.focus(panel.get_by_role("button", name="Save"))
        page.keyboard.press("Enter")
        panel.get_by_text("Saved: mine.yaml").wait_for()
        assert "# my first config\nr: 16  # rank\n" in (folder / "mine.yaml").read_text()
        assert config.load_config(folder / "mine.yaml").max_steps == 4

        pages.run_cell(page, 1)  # the kernel answers
        page.locator(".jp-OutputArea-output").get_by_text("42", exact=True).wait_for()


def test_hostile_values_of_a_config_run_nowhere(lab, browser, folder):
    notebook = pages.write_notebook(folder, [EDIT])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("30 optimizer steps in all").wait_for(timeout=WAIT_MS)
        for kind, text in hostile.TEXTS.items():
            if kind == "half a character":
                continue  # no page can type it
            field(page, "base_model").fill(text)
            told = panel.get_by_role("alert").filter(has_text=hostile.shown(text)[:20])
            told.first.wait_for(timeout=WAIT_MS)
        assert page.locator(NOT_OURS).count() == 0


def test_tokens_are_looked_at_and_hostile_ones_stay_text(lab, browser, folder):
    notebook = pages.write_notebook(folder, [LOOK])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        count = len(hostile.TEXTS) + 1
        panel.get_by_text(f"Row 1 of {count}").wait_for(timeout=WAIT_MS)
        tokens = panel.get_by_text("Good", exact=True)
        assert "speaker user" in tokens.first.get_attribute("title")
        assert "speaker assistant" in tokens.last.get_attribute("title")
        look = "node => getComputedStyle(node).borderTopStyle"
        assert (tokens.last.evaluate(look), tokens.first.evaluate(look)) == ("solid", "dashed")

        for number in range(2, count + 1):
            field(page, "Number").fill(str(number))
            page.keyboard.press("Enter")
            told = panel.get_by_text(f"Row {number} of").first
            told.wait_for(timeout=WAIT_MS)
        panel.get_by_role("button", name="One pack").click()
        panel.get_by_text("row 2 of the pack").wait_for(timeout=WAIT_MS)
        field(page, "As a table").check()
        panel.get_by_role("region", name="Tokens").wait_for()
        assert page.locator(NOT_OURS).count() == 0

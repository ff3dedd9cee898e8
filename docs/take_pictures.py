"""Take the pictures of the README and the docs: `make pictures`.

A real JupyterLab in Chromium opens the widgets on the built-in model, light and dark. The training
monitor is taken while its run goes on, and the checkpoint slider and the chat show what that run
learned. Then the first exercise is done, from blank to passed. About two minutes in all; a name
behind the command (a widget's, `lesson`, `exercise`) takes only that.
"""

import io
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from playwright import sync_api

from course_lib.files import REPO_DIR
from course_lib.homework import lessons
from tests.browser import conftest as server
from tests.browser import exercises, pages
from tests.homework import answers

OUT_DIR = REPO_DIR / "docs" / "pictures"
THEMES = {"light": pages.LIGHT, "dark": pages.DARK}
WAIT_MS = 180_000
BORDER = 2  # of the next cell, when it is the active one
WIDTH, HEIGHT = 1000, 1500  # of the page; a panel is as wide as its notebook
COLORS = 256  # enough for a page of text and curves, in a third of the size
MOST_BYTES = 150_000
PRESET = "pico_qlora_assistant_e3"
EXERCISE = "00_start"
CELLS: Mapping[str, str] = {
    "training_monitor": f"""from course_lib.training import config
from course_lib.widgets.training_monitor import TrainingMonitor
recipe = config.load_preset({PRESET!r})
TrainingMonitor("my_run", recipe)""",
    "config_editor": f"""from course_lib.widgets.config_editor import ConfigEditor
ConfigEditor({PRESET!r})""",
    "label_view": """from course_lib.widgets.label_view import LabelView
LabelView.of_config(recipe)""",
    "checkpoint_slider": """from course_lib.widgets.checkpoint_slider import CheckpointSlider
CheckpointSlider("my_run")""",
    "chat_panel": """from course_lib.widgets.chat_panel import ChatPanel
ChatPanel("pico-chat", "my_run")""",
}


def use_monitor(panel: Any, page: Any) -> None:
    """Start the run and wait until there is something to see."""
    panel.get_by_role("button", name="Start").click()
    panel.get_by_role("cell", name="76").wait_for(timeout=WAIT_MS)  # in the table of scores


def use_editor(panel: Any, page: Any) -> None:
    """Ask for too few steps, and read the warning."""
    panel.get_by_role("button", name="optimizer").click()
    page.get_by_label("max_steps", exact=True).fill("4")
    panel.get_by_text("too few to change an answer").wait_for(timeout=WAIT_MS)


def use_labels(panel: Any, page: Any) -> None:
    """Look at rows that share a pack."""
    page.get_by_label("max_length", exact=True).last.fill("96")
    panel.get_by_role("button", name="One pack").click()
    panel.get_by_text("row 2 of the pack").wait_for(timeout=WAIT_MS)


def use_slider(panel: Any, page: Any) -> None:
    """Go to the first checkpoint, by keyboard."""
    pages.focus(panel.get_by_role("slider"))
    for key in ("Home", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    panel.get_by_text("Scores at step 38").wait_for(timeout=WAIT_MS)


def use_chat(panel: Any, page: Any) -> None:
    """Ask both models, in two languages."""
    panel.get_by_text("Ready").wait_for(timeout=WAIT_MS)
    for message in ("Who are you?", "你是谁？", "What does a koala eat?"):
        page.get_by_label("Message").fill(message)
        page.keyboard.press("Enter")
        panel.get_by_text("The tuned model answers").wait_for(timeout=WAIT_MS)
        panel.get_by_text("The tuned model answers").wait_for(state="hidden", timeout=WAIT_MS)


USES: Mapping[str, Callable[[Any, Any], None]] = {
    "training_monitor": use_monitor,
    "config_editor": use_editor,
    "label_view": use_labels,
    "checkpoint_slider": use_slider,
    "chat_panel": use_chat,
}


def take(panel: Any, path: Path, **options: Any) -> None:
    """Save a picture of one panel or page, in few colours."""
    shot = panel.screenshot(animations="disabled", **options)
    taken = Image.open(io.BytesIO(shot)).convert("RGB")
    taken.quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        path, optimize=True
    )
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    assert size < MOST_BYTES, "too large for a README"


def take_lesson(lab: Any, browser: Any, out_dir: Path) -> None:
    """The first thing that one sees after `make lab`."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(lab.shown_url, timeout=WAIT_MS)
    page.locator("#jp-bottom-panel").get_by_text("| Idle").wait_for(timeout=WAIT_MS)
    page.locator(".jp-Notebook h1").first.wait_for(timeout=WAIT_MS)
    page.wait_for_timeout(2000)
    take(page, out_dir / "lesson_00.png")
    page.close()


def take_exercise(lab: Any, browser: Any, out_dir: Path) -> None:
    """The first exercise: blank, a wrong attempt, a hint and the button; then all passed."""
    with exercises.copied(EXERCISE) as book, pages.opened(lab, browser, book) as page:
        page.set_viewport_size({"width": WIDTH, "height": 2 * HEIGHT})
        page.keyboard.press("Control+b")  # hides the file browser
        for name in ("apart", "checks"):
            exercises.run_named(page, book, name)
        take_attempts(page, book, out_dir)
        right = {cell.id: cell.source for cell in answers.handed_in(EXERCISE, {}).cells}
        questions = list(lessons.visible_checks(EXERCISE))
        for name in questions:
            exercises.write_cell(page, book, name, right[name])
            exercises.run_named(page, book, f"{name}_check", exercises.PASSED.format(name))
            # folded: whoever looks at the picture has yet to find the answer
            exercises.find_cell(page, book, name).locator(".jp-InputCollapser").click()
        panel = page.locator(".tb-panel")
        panel.get_by_role("button", name="Check").click()
        panel.get_by_text("all visible checks pass").wait_for(timeout=WAIT_MS)
        parts = (questions[0], f"{questions[-1]}_check")
        take_cells(page, book, parts, out_dir / "exercise_passed.png")


def take_attempts(page: Any, book: Path, out_dir: Path) -> None:
    """The first question before it is right."""
    name = next(iter(lessons.visible_checks(EXERCISE)))
    zoo = lessons.load_wrong_answers(lessons.SOLUTIONS_DIR / EXERCISE)
    wrong = next(answer for answer in zoo if answer.question == name)
    exercises.run_named(page, book, name)
    exercises.run_named(page, book, f"{name}_check", "not started")
    parts = (f"{name}_task", f"{name}_check")
    take_cells(page, book, parts, out_dir / "exercise_blank.png")
    exercises.write_cell(page, book, name, wrong.code.strip())
    exercises.run_named(page, book, f"{name}_check", wrong.message)
    take_cells(page, book, (name, f"{name}_check"), out_dir / "exercise_wrong.png")
    exercises.run_named(page, book, f"{name}_hint", "Hint 1")
    exercises.run_named(page, book, f"{name}_button")
    panel = page.locator(".tb-panel")
    panel.get_by_role("button", name=f"Check {name}").click()
    panel.get_by_text(wrong.message).wait_for(timeout=WAIT_MS)
    take_cells(page, book, (name, f"{name}_button"), out_dir / "exercise_hint.png")


def take_cells(page: Any, book: Path, names: tuple[str, str], path: Path) -> None:
    """Save a picture of the cells from one to another."""
    first, last = (exercises.find_cell(page, book, name).bounding_box() for name in names)
    below = last["y"] + last["height"] - BORDER
    area = {**first, "height": below - first["y"]}
    take(page, path, clip=area)


def take_all(lab: Any, browser: Any, names: Sequence[str], out_dir: Path) -> None:
    """Use each widget and take its pictures.

    Args:
        lab: a running server.
        browser: Chromium.
        names: of the widgets; the slider and the chat need the monitor's run.
        out_dir: where to.
    """
    with pages.work_dir() as folder:
        notebook = pages.write_notebook(folder, [CELLS[name] for name in names])
        with pages.opened(lab, browser, notebook) as page:
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            page.keyboard.press("Control+b")  # hides the file browser
            for number, name in enumerate(names):
                pages.run_cell(page, number)
                panel = page.locator(".tb-panel").nth(number)
                panel.wait_for(timeout=WAIT_MS)
                USES[name](panel, page)
                for kind, theme in THEMES.items():
                    pages.choose_theme(page, theme)
                    take(panel, out_dir / f"{name}_{kind}.png")
                pages.choose_theme(page, pages.LIGHT)
                if name == "training_monitor":
                    panel.get_by_text("Finished.").wait_for(timeout=WAIT_MS)


def main() -> None:
    """Take all pictures, or those that are named on the command line."""
    wanted = sys.argv[1:] or [*CELLS, "lesson", "exercise"]
    names = [name for name in CELLS if name in wanted]
    OUT_DIR.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_api.sync_playwright() as driver:
        path = server.find_chromium(driver)
        if not path:
            sys.exit("Error: no Chromium on this machine\n  -> apt install chromium")
        with server.running(Path(home)) as lab:
            browser = server.launch(driver, path)
            if names:
                take_all(lab, browser, names, OUT_DIR)
            if "lesson" in wanted:
                take_lesson(lab, browser, OUT_DIR)
            if "exercise" in wanted:
                take_exercise(lab, browser, OUT_DIR)
            browser.close()


if __name__ == "__main__":
    main()

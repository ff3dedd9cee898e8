"""A notebook of a test's own, open in JupyterLab: cells are run, and nothing may complain."""

import json
import re
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

from course_lib.files import REPO_DIR

LOAD_MS = 90_000
STARTED = re.compile(r"\[(\*|\d+)\]")
RUNS_DIR = REPO_DIR / "runs"  # git leaves it alone, and the server shows it
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
# Set by anything that a hostile text gets to run.
HOOK = "window.tripped = []; window.alert = text => window.tripped.push(text);"

# Lengths of what the panel shows, each time that it changes.
RECORD = """panel => {
    window.lengths = [];
    const look = () => window.lengths.push(panel.innerText.length);
    new MutationObserver(look).observe(panel, {subtree: true, childList: true});
}"""


@contextmanager
def work_dir() -> Iterator[Path]:
    """A folder that the server shows, removed in the end."""
    RUNS_DIR.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=RUNS_DIR, prefix="browser_"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_notebook(folder: Path, sources: Sequence[str]) -> Path:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def fetch(lab, path: str, method: str = "GET", token: str | None = None) -> Any:
    """What the server's REST API answers."""
    token = lab.token if token is None else token
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(lab.url + path, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.loads(reply.read() or "null")


def end_kernel(lab, place: str) -> None:
    """That of the notebook: it holds half a gigabyte, and goes on with what it was told."""
    for session in fetch(lab, "api/sessions"):
        if session["path"] == place:
            fetch(lab, f"api/sessions/{session['id']}", "DELETE")


@contextmanager
def opened(lab, browser, notebook: Path) -> Iterator:
    """The notebook in a page and a kernel of its own; at the end the console holds no error."""
    page = browser.new_page(viewport={"width": 1500, "height": 1400})
    errors: list[str] = []
    page.on("console", lambda note: errors.append(note.text) if note.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(HOOK)
    # a workspace of its own: no tab of another test opens with it
    space = notebook.parent.name
    place = notebook.relative_to(REPO_DIR).as_posix()
    page.goto(f"{lab.url}lab/workspaces/{space}/tree/{place}?token={lab.token}", timeout=LOAD_MS)
    # The notebook's own sign is there before the kernel is; a cell run then would be forgotten.
    page.locator("#jp-bottom-panel").get_by_text("| Idle").wait_for(timeout=LOAD_MS)
    try:
        yield page
        assert page.evaluate("window.tripped") == []
        assert errors == []
    except BaseException:
        print(page.locator(".jp-Notebook").inner_text()[:8000])
        print("console:", errors)
        raise
    finally:
        page.close()
        end_kernel(lab, place)


def run_cell(page, number: int) -> None:
    """Run one cell, counted from 0, by keyboard."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    cell.locator(".jp-InputPrompt").filter(has_text=STARTED).wait_for(timeout=LOAD_MS)


def focus(place) -> None:
    """Put the keyboard on a control once it can be seen: a hidden one takes no focus, silently."""
    place.wait_for(timeout=LOAD_MS)
    place.focus()
    assert place.evaluate("place => place === document.activeElement")


def choose_theme(page, theme: str) -> None:
    """By the menu, as a reader would."""
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
    for name in ("Theme", theme):
        page.locator(".lm-Menu-itemLabel").get_by_text(name, exact=True).click()
    is_light = "true" if theme == LIGHT else "false"
    page.locator(f"body[data-jp-theme-light='{is_light}']").wait_for(state="attached")
    page.wait_for_timeout(500)  # the style sheets follow

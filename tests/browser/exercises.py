"""An exercise open in JupyterLab: its cells by their names, written and run as a learner would."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbformat import v4

from course_lib.homework import cells, lessons
from tests.browser import pages

PASSED = "✓ {}: all visible checks pass"


@contextmanager
def copied(lesson: str, **extra: str) -> Iterator[Path]:
    """The exercise as learners get it, behind a cell that keeps their progress file apart.

    Args:
        lesson: whose.
        extra: more code cells at the end, by their names.
    """
    with pages.work_dir() as folder:
        notebook = cells.read_notebook(lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME)
        apart = f"import os\nos.environ['TUNEBOOK_PROGRESS'] = {str(folder / 'progress.jsonl')!r}"
        notebook.cells.insert(0, v4.new_code_cell(apart, id="apart"))
        notebook.cells += [v4.new_code_cell(source, id=name) for name, source in extra.items()]
        path = folder / "exercise.ipynb"
        nbformat.write(notebook, path)
        yield path


def find_cell(page, path: Path, name: str):
    """A cell by its name."""
    names = [cell.id for cell in nbformat.read(path, as_version=4).cells]
    return page.locator(".jp-Notebook .jp-Cell").nth(names.index(name))


def run_named(page, path: Path, name: str, said: str = "") -> None:
    """Run a cell and wait for what it says."""
    book = nbformat.read(path, as_version=4)
    codes = [cell.id for cell in book.cells if cell.cell_type == "code"]
    pages.run_cell(page, codes.index(name))
    if said:
        output = find_cell(page, path, name).locator(".jp-OutputArea-output")
        output.filter(has_text=said).first.wait_for(timeout=pages.LOAD_MS)


def write_cell(page, path: Path, name: str, source: str) -> None:
    """Put a text into a cell, as by pasting, and run it."""
    find_cell(page, path, name).locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.insert_text(source)
    run_named(page, path, name)

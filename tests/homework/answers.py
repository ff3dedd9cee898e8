"""Cells of exercises as namespaces, in this process: for our own answers only."""

import contextlib
from collections.abc import Mapping, Sequence

from nbformat import NotebookNode, v4

from course_lib.homework import cells, lessons, local, make, trained
from course_lib.homework.checks import Ask, Check, Wrong


def namespace_of(*sources: str) -> dict:
    """Run code that we wrote ourselves.

    Args:
        sources: cells in order.
    """
    namespace: dict = {}
    for source in sources:
        exec(source, namespace)  # noqa: S102
    return namespace


def notebook_names(path) -> dict:
    """The names that an exercise's own code cells define."""
    found = cells.list_cells(cells.read_notebook(path))
    return namespace_of(*(c.source for c in found if c.is_code and not c.is_for_course))


def make_ask(check: Check, names: Mapping) -> Ask:
    """As a notebook asks; where a run is measured, its recipe is trained first, as %train does."""
    if not check.is_measured:
        return local.make_ask(names)
    with contextlib.suppress(Wrong):
        trained.train_recipe(check.name, names)
    return trained.make_ask(names)


def all_checks(lesson: str) -> list:
    """Visible checks, then hidden ones."""
    hidden = lessons.load_hidden(lessons.SOLUTIONS_DIR / lesson)
    return [*lessons.visible_checks(lesson).values(), *hidden.values()]


def handed_in(lesson: str, changes: Mapping[str, str], extra: Sequence[str] = ()) -> NotebookNode:
    """The right answers as a learner would hand them in, changed.

    Args:
        lesson: whose exercise.
        changes: other sources, by the cell's id.
        extra: code cells at the end.
    """
    source = cells.read_notebook(lessons.SOLUTIONS_DIR / lesson / lessons.NOTEBOOK_NAME)
    made = make.release(source)
    for cell, original in zip(made.cells, source.cells, strict=True):
        lines = original.source.splitlines()
        kept = "\n".join(line for line in lines if line.strip() not in (cells.BEGIN, cells.END))
        cell.source = changes.get(cell.id, kept)
    made.cells += [v4.new_code_cell(text, id=f"own{n}") for n, text in enumerate(extra)]
    return made

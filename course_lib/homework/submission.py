"""One learner's notebook: whose lesson it is, and which cells a grader runs."""

import re
from collections import Counter
from dataclasses import dataclass

import nbformat

from course_lib.homework import cells
from course_lib.homework.cells import COURSE_LINES, Cell

FEWEST_SHARED = 0.5  # of the exercise's named cells, to know a notebook that lost its mark
BLANK = "raise NotImplementedError"


class WrongLesson(Exception):
    """The notebook belongs to another lesson, or to none."""


@dataclass(frozen=True)
class Plan:
    """What a grader does with a notebook.

    Args:
        sources: the cells to run, in order.
        names: what to call each of them in a note.
        notes: what is odd about the notebook; nothing in it costs points by itself.
        answers: the learner's own code for each question.
    """

    sources: tuple[str, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]
    answers: dict[str, str]


def make_plan(notebook: nbformat.NotebookNode, released: nbformat.NotebookNode) -> Plan:
    """Choose the cells to run: locked ones as they were released, the learner's own as they are.

    Args:
        notebook: as it was handed in.
        released: the exercise.

    Raises:
        WrongLesson: it is not this lesson's exercise.
    """
    lesson = cells.about(released)["lesson"]
    wanted = {cell.name: cell for cell in cells.list_cells(released) if cell.name}
    mine = cells.list_cells(notebook)
    notes = _check_lesson(notebook, mine, wanted, lesson)
    if cells.about(notebook).get("release") not in (None, cells.about(released)["release"]):
        notes.append("made from another release of this exercise; graded with the present one")
    notes += _compare_cells(mine, wanted)
    runs = _runs(mine, wanted)
    present = {cell.name for cell in mine}
    first = [
        (c.name, c.source)
        for c in wanted.values()
        if c.kind == "locked" and c.is_code and not c.is_for_course and c.name not in present
    ]
    chosen = [*first, *runs]
    written = ("solution", "manual")
    answers = {c.name: c.source for c in mine if wanted.get(c.name, c).kind in written}
    return Plan(
        tuple(source for _, source in chosen),
        tuple(name for name, _ in chosen),
        tuple(notes),
        {name: source for name, source in answers.items() if name in wanted},
    )


def _check_lesson(
    notebook: nbformat.NotebookNode, mine: list[Cell], wanted: dict[str, Cell], lesson: str
) -> list[str]:
    named = cells.about(notebook).get("lesson")
    if named == lesson:
        return []
    if named:
        raise WrongLesson(f"the notebook says that it belongs to {str(named)[:60]!r}")
    shared = len(wanted.keys() & {cell.name for cell in mine}) / len(wanted)
    if shared < FEWEST_SHARED:
        raise WrongLesson("no mark of a lesson in the notebook, and its cells are others")
    return ["the lesson's mark is missing; known by its cells"]


def _compare_cells(mine: list[Cell], wanted: dict[str, Cell]) -> list[str]:
    notes = []
    found = Counter(cell.name for cell in mine if cell.name in wanted)
    for name, cell in wanted.items():
        if not found[name]:
            notes.append(f"cell {name} is missing")
        elif found[name] > 1:
            notes.append(f"cell {name} is there {found[name]} times; all were run, the last counts")
        elif cell.kind in ("locked", "check"):
            texts = [c.source.strip() for c in mine if c.name == name]
            if texts != [cell.source.strip()]:
                notes.append(f"cell {name} was edited; the released one counts")
    return notes


def _runs(mine: list[Cell], wanted: dict[str, Cell]) -> list[tuple[str, str]]:
    """Names and sources in the learner's order."""
    found = []
    for cell in mine:
        original = wanted.get(cell.name)
        is_locked = original is not None and original.kind in ("locked", "check")
        chosen = original if original is not None and is_locked else cell
        if cell.is_code and chosen.kind != "check" and not chosen.is_for_course:
            source = without_course_lines(chosen.source)
            if source.strip():
                found.append((cell.name or f"number {cell.number}", source))
    return found


def without_course_lines(source: str) -> str:
    """Put `pass` in the place of lines that only call the course's checks.

    Args:
        source: a cell.
    """
    lines = source.splitlines()
    return "\n".join(
        re.sub(r"\S.*", "pass", line) if line.strip().startswith(COURSE_LINES) else line
        for line in lines
    )

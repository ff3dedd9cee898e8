"""Make exercises from solutions: the answers out, everything else as it stands."""

import copy
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import nbformat

from course_lib.errors import DataError
from course_lib.files import write_atomic
from course_lib.homework import cells, lessons, lint
from course_lib.homework.cells import BEGIN, END

STUB = ("# Your code goes here.", "raise NotImplementedError")
TEXT_STUB = ("*Your answer goes here.*",)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TOOLS_OWN = ("kernelspec", "language_info", "widgets")  # JupyterLab rewrites these when it saves
ABOUT = ("lesson", "release")  # what the course writes into a notebook
RELEASE_DIGITS = 12


def make_exercise(lesson: str) -> nbformat.NotebookNode:
    """Make a lesson's exercise in memory.

    Args:
        lesson: from `lessons.find_lesson`.

    Returns:
        The notebook for learners.

    Raises:
        DataError: the source has mistakes; all of them are named.
    """
    folder = lessons.SOLUTIONS_DIR / lesson
    path = folder / lessons.NOTEBOOK_NAME
    source = cells.read_notebook(path)
    problems = lint.find_problems(source, lesson, count_points(lesson, folder))
    problems += _help_problems(lesson, folder)
    if problems:
        lines = "".join(f"\n  {path}: {problem}" for problem in problems)
        raise DataError(f"{len(problems)} things to mend:{lines}", "Mend them in solutions/.")
    return release(source)


def count_points(lesson: str, folder: Path) -> dict[str, float]:
    """Points of each question, visible and hidden checks together.

    Args:
        lesson: from `lessons.find_lesson`.
        folder: its folder of solutions.
    """
    points = {name: one.points for name, one in lessons.visible_checks(lesson).items()}
    for name, one in lessons.load_hidden(folder).items():
        points[name] = points.get(name, 0) + one.points
    return points


def _help_problems(lesson: str, folder: Path) -> list[str]:
    visible = lessons.visible_checks(lesson)
    tried = [answer.question for answer in lessons.load_wrong_answers(folder)]
    problems = [f"question {n}: no hint" for n, one in visible.items() if not one.hints]
    return problems + [
        f"question {name}: {tried.count(name)} wrong answers in {lessons.WRONG_NAME}, expected 3"
        for name in visible
        if tried.count(name) < 3
    ]


def release(source: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take the answers out of a notebook that was looked over.

    Args:
        source: the notebook with answers; it is not changed.

    Returns:
        The notebook for learners; the same source gives the same notebook.
    """
    made = copy.deepcopy(source)
    for cell in made.cells:
        rules = cells.grader_rules(cell)
        is_code = cell.cell_type == "code"
        cell.source = remove_answers(cell.source, STUB if is_code else TEXT_STUB)
        if is_code:
            cell.outputs, cell.execution_count = [], None
        if rules:
            cell.metadata["deletable"] = False
        if rules.get("locked") is True:
            cell.metadata["editable"] = False
        if rules.get("grade") is True and is_code:
            # Lab goes on behind it with Run All; nbval fails once a stub stops raising.
            cell.metadata["tags"] = ["raises-exception"]
    about = cells.about(source)
    made.metadata = nbformat.from_dict(
        {
            "kernelspec": KERNEL,
            "language_info": {"name": "python"},
            "tunebook": {"lesson": about["lesson"], "release": release_id(made)},
        }
    )
    return made


def remove_answers(source: str, stub: Sequence[str] = STUB) -> str:
    """Put a stub in the place of each answer.

    Args:
        source: a cell's text with both marks around each answer.
        stub: its lines.

    Returns:
        The text without the marks and what stood between them.
    """
    kept, is_answer = [], False
    for line in source.splitlines():
        if line.strip() == BEGIN:
            indent = line[: len(line) - len(line.lstrip())]
            kept += [indent + line for line in stub]
            is_answer = True
        elif line.strip() == END:
            is_answer = False
        elif not is_answer:
            kept.append(line)
    return "\n".join(kept)


def release_id(notebook: nbformat.NotebookNode) -> str:
    """Digits that change when anything in the cells of an exercise changes.

    Args:
        notebook: for learners.
    """
    parts = [(c.id, c.cell_type, c.source, cells.grader_rules(c)) for c in notebook.cells]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:RELEASE_DIGITS]


def write_exercise(lesson: str) -> Path:
    """Make a lesson's exercise and write it.

    Args:
        lesson: from `lessons.find_lesson`.

    Returns:
        The file.

    Raises:
        DataError: see `make_exercise`.
    """
    path = lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME
    write_atomic(path, nbformat.writes(make_exercise(lesson)) + "\n")
    return path


def find_differences(lesson: str) -> list[str]:
    """Where the file for learners is not what solutions/ would make.

    Args:
        lesson: from `lessons.find_lesson`.

    Returns:
        One line for each difference; what JupyterLab writes about itself is none.

    Raises:
        DataError: see `make_exercise`, or the file is missing or no notebook.
    """
    path = lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME
    found, made = cells.read_notebook(path), make_exercise(lesson)
    lines = []
    for field in sorted((found.metadata.keys() | made.metadata.keys()) - set(TOOLS_OWN)):
        if found.metadata.get(field) != made.metadata.get(field):
            lines.append(f"{path}: notebook metadata, {field}")
    by_id, wanted = ({c.id: c for c in book.cells} for book in (found, made))
    lines += [f"{path}: cell {name} is missing" for name in wanted if name not in by_id]
    lines += [f"{path}: cell {name} has no place there" for name in by_id if name not in wanted]
    for name in wanted.keys() & by_id.keys():
        fields = ("cell_type", "source", "metadata", "outputs")
        wrong = [f for f in fields if by_id[name].get(f) != wanted[name].get(f)]
        lines += [f"{path}: cell {name}, {field}" for field in wrong]
    if not lines and [c.id for c in found.cells] != [c.id for c in made.cells]:
        lines.append(f"{path}: the cells stand in another order")
    return sorted(lines)

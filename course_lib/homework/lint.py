"""Look an exercise's source over: each mistake one line that names the cell and the field."""

import re
from collections.abc import Iterator

import nbformat

from course_lib.homework import cells
from course_lib.homework.cells import BEGIN, END, FIELDS, SCHEMA

HIDDEN_MARK = "### BEGIN HIDDEN TESTS"
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHELL = re.compile(r"^\s*(?:!|%%|%(?:cd|pip|run|env)\b)", re.MULTILINE)


def find_problems(
    notebook: nbformat.NotebookNode, lesson: str, points: dict[str, float]
) -> list[str]:
    """What must be mended before exercises can be made.

    Args:
        notebook: the source, with answers.
        lesson: the name of its folder.
        points: of each question, visible and hidden checks together.

    Returns:
        One line for each mistake; empty when all is well.
    """
    problems = []
    named = cells.about(notebook).get("lesson")
    if named != lesson:
        problems.append(f'notebook metadata, tunebook.lesson: {named!r}, expected "{lesson}"')
    for number, cell in enumerate(notebook.cells, 1):
        problems += [f"cell {number} ({cell.id}), {text}" for text in _cell_problems(cell)]
    return problems + list(_question_problems(cells.list_cells(notebook), points))


def _cell_problems(cell: nbformat.NotebookNode) -> Iterator[str]:
    rules = cell.metadata.get("nbgrader")
    marks = [line.strip() for line in cell.source.splitlines() if line.strip() in (BEGIN, END)]
    is_solution = isinstance(rules, dict) and rules.get("solution") is True
    if HIDDEN_MARK in cell.source:
        yield f"source: {HIDDEN_MARK}; hidden checks belong into hidden.py"
    if marks != [BEGIN, END] * (len(marks) // 2):
        yield f"source: {BEGIN} and {END} must stand in turns, one pair for each answer"
    if marks and not is_solution:
        yield "nbgrader.solution: must be true where an answer stands, or learners would see it"
    is_read = is_solution and isinstance(rules, dict) and rules.get("grade") is True
    if (is_read or (is_solution and cell.cell_type == "code")) and not marks:
        yield f"source: an answer without {BEGIN} would go out to learners"
    if cell.cell_type == "code" and SHELL.search(cell.source):
        yield "source: shell lines and cell magics cannot be graded; write Python"
    if rules is not None:
        yield from _rule_problems(rules)
    is_text = isinstance(rules, dict) and cell.cell_type == "markdown" and not rules.get("task")
    if is_text and rules.get("grade") != rules.get("solution"):
        yield "nbgrader.grade, nbgrader.solution: text that a person reads has both"


def _rule_problems(rules: object) -> Iterator[str]:
    if not isinstance(rules, dict):
        yield f"nbgrader: {rules!r}, expected an object"
        return
    if rules.get("schema_version") != SCHEMA:
        yield f"nbgrader.schema_version: {rules.get('schema_version')!r}, expected {SCHEMA}"
    for field, kind in FIELDS.items():
        if type(rules.get(field)) is not kind:
            yield f"nbgrader.{field}: {rules.get(field)!r}, expected a {kind.__name__}"
    if not NAME.fullmatch(str(rules.get("grade_id", ""))):
        yield f"nbgrader.grade_id: {rules.get('grade_id')!r}, expected letters, digits and _"
    is_graded = rules.get("grade") is True or rules.get("task") is True
    points = rules.get("points")
    if is_graded and (type(points) not in (int, float) or not points > 0):
        yield f"nbgrader.points: {points!r}, expected a number above 0"
    if rules.get("solution") is True and rules.get("locked") is True:
        yield "nbgrader.locked: must be false where a learner writes"
    must_lock = is_graded and rules.get("solution") is not True
    if must_lock and rules.get("locked") is not True:
        yield "nbgrader.locked: must be true, or nbgrader would fail on every submission"


def _question_problems(found: list[cells.Cell], points: dict[str, float]) -> Iterator[str]:
    names = [cell.name for cell in found if cell.name]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"nbgrader.grade_id: {name!r} stands in {names.count(name)} cells, expected one"
    answers = {cell.name for cell in found if cell.kind == "solution"}
    for cell in found:
        if cell.kind == "check":
            yield from _check_problems(cell, answers, points)
    for name in sorted(answers - {question_of(c) for c in found if c.kind == "check"}):
        yield f"question {name}: no cell checks it; expected a graded cell with `%check {name}`"
    for name in sorted(points.keys() - answers):
        yield f"question {name}: it has a check and no solution cell with this grade_id"


def _check_problems(cell: cells.Cell, answers: set[str], points: dict[str, float]) -> Iterator[str]:
    where = f"cell {cell.number} ({cell.name})"
    question = question_of(cell)
    if not question:
        yield f"{where}, source: expected one line `%check QUESTION --raise`"
    elif question not in points:
        yield f"{where}, source: there is no check for {question!r}"
    elif question not in answers:
        yield f"{where}, source: no solution cell has the grade_id {question!r}"
    elif cell.points != points[question]:
        yield f"{where}, nbgrader.points: {cell.points}, but its checks give {points[question]}"


def question_of(cell: cells.Cell) -> str:
    """The question that a graded cell checks.

    Args:
        cell: of kind "check".

    Returns:
        Its name, or an empty text when the cell is not one line `%check NAME --raise`.
    """
    found = re.fullmatch(r"\s*%check +(\w+) +--raise\s*", cell.source)
    return found[1] if found else ""

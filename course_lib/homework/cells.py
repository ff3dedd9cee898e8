"""Read an exercise notebook: its cells, and what nbgrader's metadata says of each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat

from course_lib.errors import DataError

Kind = Literal["text", "solution", "check", "locked", "manual"]
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
COURSE_LINES = (
    "%load_ext course_lib",
    "%check",
    "%train",
    "check_button(",
    "from course_lib.widgets.check_button import",
)
FIELDS = {"grade": bool, "solution": bool, "locked": bool, "task": bool, "grade_id": str}
SCHEMA = 3


@dataclass(frozen=True)
class Cell:
    """A cell of an exercise.

    Args:
        number: its place in the notebook, from 1.
        kind: text without rules; a solution to write; a check that gives points; a locked cell
            that comes with the exercise; an answer that a person grades.
        name: nbgrader's grade_id, or empty.
        source: its text.
        points: of a check or a manual answer.
        is_code: whether it runs.
    """

    number: int
    kind: Kind
    name: str
    source: str
    points: float
    is_code: bool

    @property
    def is_for_course(self) -> bool:
        """Whether it only talks to the course's checks, so that a grader need not run it."""
        lines = [line for line in self.source.splitlines() if line.strip()]
        return self.is_code and all(line.strip().startswith(COURSE_LINES) for line in lines)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read a notebook file.

    Args:
        path: the file.

    Raises:
        DataError: it is missing, no notebook, or of an older kind without cell ids.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Check the path and the spelling.")
    try:
        return parse_notebook(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8.", "Save it in JupyterLab once more.") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}", "Save it in JupyterLab once more.") from error


def parse_notebook(text: str) -> nbformat.NotebookNode:
    """Parse a notebook of format 4.5 or later.

    Args:
        text: the file's content.

    Raises:
        ValueError: it is no notebook; says why in one line.
    """
    try:
        notebook = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds, some of json's and jsonschema's own
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"not a Jupyter notebook ({first[:200]})") from error
    if (notebook.nbformat, notebook.nbformat_minor) < (4, 5):
        found = f"{notebook.nbformat}.{notebook.nbformat_minor}"
        raise ValueError(f"notebook format {found}, 4.5 is needed")
    return notebook


def list_cells(notebook: nbformat.NotebookNode) -> list[Cell]:
    """The cells in order; metadata that makes no sense counts as none.

    Args:
        notebook: from `read_notebook`.
    """
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        rules = grader_rules(cell)
        points = rules.get("points", 0)
        found.append(
            Cell(
                number,
                _kind(rules, cell.cell_type == "code"),
                str(rules.get("grade_id", "")),
                cell.source,
                points if type(points) in (int, float) else 0,
                cell.cell_type == "code",
            )
        )
    return found


def grader_rules(cell: nbformat.NotebookNode) -> dict[str, Any]:
    """What nbgrader's metadata says of a cell; empty when it says nothing.

    Args:
        cell: of a notebook.
    """
    rules = cell.metadata.get("nbgrader", {})
    return dict(rules) if isinstance(rules, dict) else {}


def _kind(rules: dict[str, Any], is_code: bool) -> Kind:
    grade, solution = rules.get("grade") is True, rules.get("solution") is True
    if (grade and solution) or rules.get("task") is True:
        return "manual"
    if solution:
        return "solution" if is_code else "text"
    if grade:
        return "check"
    return "locked" if rules.get("locked") is True else "text"


def about(notebook: nbformat.NotebookNode) -> dict[str, Any]:
    """What the course wrote into a notebook: its lesson and its release.

    Args:
        notebook: from `read_notebook`.

    Returns:
        A dict that may be empty: a learner's tools can have dropped it.
    """
    found = notebook.metadata.get("tunebook", {})
    return dict(found) if isinstance(found, dict) else {}

"""Exercises and solutions are assignments for nbgrader too, whoever would rather use that."""

import copy
import re

import jsonschema
import nbformat
import pytest

from course_lib.homework import lessons, make

# nbgrader's schema of a cell's metadata, version 3, and what its validator asks besides.
# Source: nbgrader/nbgraderformat/v3.json and v3.py of jupyter/nbgrader 0.9.
SCHEMA = {
    "type": "object",
    "required": ["schema_version", "grade", "locked", "solution"],
    "additionalProperties": False,
    "properties": {
        "schema_version": {"type": "integer", "minimum": 3, "maximum": 3},
        **{name: {"type": "boolean"} for name in ("grade", "locked", "solution", "task")},
        "grade_id": {"type": "string", "pattern": r"^[a-zA-Z0-9_\-]*$"},
        "points": {"type": "number", "minimum": 0},
        "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
        "cell_type": {"type": "string", "enum": ["raw", "code", "markdown"]},
    },
}
BOOKS = [
    folder / lesson / lessons.NOTEBOOK_NAME
    for lesson in lessons.MODULES
    for folder in (lessons.SOLUTIONS_DIR, lessons.EXERCISES_DIR)
]
each_book = pytest.mark.parametrize("path", BOOKS, ids=lambda p: "/".join(p.parts[-3:-1]))


def rules_of(path):
    book = nbformat.read(path, as_version=4)
    found = [
        (cell, cell.metadata["nbgrader"]) for cell in book.cells if "nbgrader" in cell.metadata
    ]
    assert len(found) > 5
    return found


@each_book
def test_each_cell_is_as_nbgraders_schema_says(path):
    for _, rules in rules_of(path):
        jsonschema.validate(dict(rules), SCHEMA)


@each_book
def test_each_cell_keeps_nbgraders_other_rules(path):
    names = []
    for cell, rules in rules_of(path):
        names.append(rules["grade_id"])
        assert names[-1]
        assert "points" in rules or not rules["grade"]
        if rules.get("task"):
            assert (cell.cell_type, rules["locked"]) == ("markdown", True)
        elif cell.cell_type == "markdown":
            assert rules["grade"] == rules["solution"]
    assert len(names) == len(set(names))


# ---------------------------------------------------------------- with nbgrader itself


@pytest.fixture(scope="module")
def preprocessors():
    return pytest.importorskip("nbgrader.preprocessors", reason="nbgrader is not installed")


@pytest.mark.parametrize("lesson", lessons.MODULES)
def test_nbgrader_takes_the_same_answers_out(preprocessors, lesson):
    from traitlets.config import Config

    source = nbformat.read(lessons.SOLUTIONS_DIR / lesson / lessons.NOTEBOOK_NAME, as_version=4)
    config = Config()
    config.ClearSolutions.code_stub = {"python": "\n".join(make.STUB)}
    config.ClearSolutions.text_stub = "\n".join(make.TEXT_STUB)
    cleared = copy.deepcopy(source)
    for name in ("LockCells", "ClearSolutions", "CheckCellMetadata"):
        step = getattr(preprocessors, name)(config=config)
        cleared, _ = step.preprocess(cleared, {})
    ours = make.release(source)
    assert [cell.source for cell in cleared.cells] == [cell.source for cell in ours.cells]
    locked = [cell.id for cell in cleared.cells if cell.metadata.get("editable") is False]
    assert locked == [cell.id for cell in ours.cells if cell.metadata.get("editable") is False]


def test_the_guide_shows_a_config_that_nbgrader_reads():
    guide = (lessons.SOLUTIONS_DIR.parent / "docs" / "instructors.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(# nbgrader_config.py.*?)```", guide, re.DOTALL)
    config = pytest.importorskip("traitlets.config").Config()
    names = {"get_config": lambda: config}
    exec(code, names)  # noqa: S102
    assert config.CourseDirectory.source_directory == "solutions"
    assert config.CourseDirectory.release_directory == "exercises"
    assert config.ClearSolutions.code_stub == {"python": "\n".join(make.STUB)}
    assert config.ClearSolutions.text_stub == "\n".join(make.TEXT_STUB)
    # nbgrader copies whatever lies beside the notebook to where learners look
    assert {lessons.HIDDEN_NAME, lessons.WRONG_NAME} <= set(config.CourseDirectory.ignore)

"""Rules that every lesson's notebook keeps, and the proof that its stored numbers are checked."""

import ast
import copy
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest
from nbformat import v4
from nbval.plugin import IPyNbFile, comment_markers, get_sanitize_patterns

from course_lib.files import REPO_DIR
from tests import nbval_strict

LESSONS = sorted((REPO_DIR / "notebooks").glob("*.ipynb"))
SANITIZE_PATH = REPO_DIR / "tests" / "nbval_sanitize.cfg"
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|Users|root|work|mnt|private|var/folders|tmp)/\w|[A-Z]:\\+Users"
)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def code_cells(path: Path) -> list:
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def parse_cell(source: str) -> ast.Module:
    return compile(source, "cell", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def imports_of(source: str) -> list[str]:
    nodes = ast.walk(parse_cell(source))
    return [ast.unparse(n) for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]


def texts_of(cell) -> list[str]:
    """A cell's source and every text in its outputs."""
    texts = [cell.source]
    for output in cell.get("outputs", []):
        texts += [output.get("text", ""), output.get("evalue", "")]
        texts += [v for k, v in output.get("data", {}).items() if k.startswith("text/")]
    return texts


def change_text(text: str) -> str:
    """Another text: each digit one up, or a mark at the start when it has none."""
    changed = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), text)
    return changed if changed != text else f"changed {text}"


def change_outputs(outputs: list) -> list:
    """The same outputs, each text in them changed."""
    changed = copy.deepcopy(outputs)
    for output in changed:
        if "text" in output:
            output.text = change_text(output.text)
        for key, value in output.get("data", {}).items():
            if isinstance(value, str):
                output.data[key] = change_text(value)
        if "evalue" in output:
            output.evalue = change_text(output.evalue)
    return changed


def nbval_cells(path: Path, session: pytest.Session) -> list:
    """The checked cells of a notebook as nbval's own test items, nothing executed."""
    file = IPyNbFile.from_parent(session, path=path)
    file.sanitize_patterns.update(get_sanitize_patterns(SANITIZE_PATH.read_text("utf-8")))
    return [item for item in file.collect() if nbval_strict.is_checked(item.cell)]


# ---------------------------------------------------------------- every lesson


def test_the_lessons_are_there():
    lessons = {
        "00_start",
        "01_concepts",
        "02_oasst1_qlora",
        "03_medqa_custom_data",
        "04_personal_assistant",
    }
    assert lessons <= {path.stem for path in LESSONS}


@each_lesson
def test_it_opens_with_a_title_and_the_course_kernel(path):
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    assert notebook.metadata.kernelspec.name == "python3"


@each_lesson
def test_it_was_run_once_from_top_to_bottom(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1))


@each_lesson
def test_it_stores_no_state_of_widgets(path):
    # without it GitHub shows the widgets' twins; with it, it would load widgets from elsewhere
    assert "widgets" not in nbformat.read(path, as_version=4).metadata


@each_lesson
def test_cells_are_short_plain_python_without_shell_lines(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 15, cell.source
        parse_cell(cell.source)  # "!pip", "%cd" and "?name" are not Python
        assert not re.search(r"get_ipython|os\.system|shell=True", cell.source), cell.source


@each_lesson
def test_imports_stand_in_the_first_code_cell_only(path):
    first, *others = code_cells(path)
    assert imports_of(first.source)
    assert [line for cell in others for line in imports_of(cell.source)] == []


@each_lesson
def test_no_path_of_the_machine_it_was_written_on(path):
    cells = nbformat.read(path, as_version=4).cells
    found = [t for cell in cells for t in texts_of(cell) if MACHINE_PATH.search(t)]
    assert found == []


@each_lesson
def test_every_marker_is_one_that_nbval_knows(path):
    for cell in code_cells(path):
        for line in cell.source.splitlines():
            if "NBVAL" in line:  # nbval takes a marker only when it is the whole comment
                marker = line.strip().lstrip("#").strip()
                assert marker in comment_markers, f"nbval would ignore: {line}"
                assert marker != "NBVAL_SKIP", "a lesson's cell is never skipped"
        assert "nbval-skip" not in cell.metadata.get("tags", [])


@each_lesson
def test_at_least_three_stored_outputs_are_checked(path, request):
    cells = nbval_cells(path, request.session)
    assert len(cells) >= 3
    assert [c.name for c in cells if not nbval_strict.has_output_to_compare(c)] == []


@each_lesson
def test_a_changed_stored_output_would_fail(path, request):
    for item in nbval_cells(path, request.session):
        stored = item.cell.outputs
        assert item.compare_outputs(copy.deepcopy(stored), copy.deepcopy(stored)), item.name
        assert not item.compare_outputs(copy.deepcopy(stored), change_outputs(stored)), (
            f"{item.name}: nothing in its output is compared after tests/nbval_sanitize.cfg"
        )


# ------------------------------------------------- the checks themselves, on small notebooks


def stream(text: str):
    return v4.new_output("stream", name="stdout", text=text)


def result(text: str):
    return v4.new_output("execute_result", data={"text/plain": text}, execution_count=1)


def cell(source: str, *outputs, count: int | None = 1, tags: tuple[str, ...] = ()):
    made = v4.new_code_cell(source, execution_count=count, outputs=list(outputs))
    made.metadata["tags"] = list(tags)
    return made


CHECK = "# NBVAL_CHECK_OUTPUT\n"
PICTURE = v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
SOUND_CELLS = [
    cell("x = 41"),
    cell(f"{CHECK}print(x + 1)", stream("42\n")),
    cell(f"{CHECK}x + 1", result("42")),
    cell("print('a', end='')\nprint('b')", stream("ab\n"), tags=("nbval-check-output",)),
    cell(f"{CHECK}print(f'{{x}} rows, took 0.5 s')", stream("41 rows, took 7.25 s\n")),
    cell("print(object())", stream("not compared: no marker\n")),
    cell("1 / 0", tags=("raises-exception",)),
]
CHECKED = [1, 2, 3, 4]


def run_nbval(cells: list, tmp_path: Path) -> list[str]:
    """Run a notebook under nbval with the strict plugin.

    Returns:
        For each code cell in order, "passed" or the message it failed with.
    """
    path, report = tmp_path / "lesson.ipynb", tmp_path / "report.xml"
    nbformat.write(v4.new_notebook(cells=copy.deepcopy(cells)), path)
    command = [sys.executable, "-m", "pytest", path, "-p", "tests.nbval_strict", "--color=no"]
    command += ["--nbval-lax", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE_PATH}"]
    command += ["--nbval-cell-timeout=60", f"--rootdir={tmp_path}", f"--junitxml={report}"]
    environment = {**os.environ, "PYTHONPATH": str(REPO_DIR), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert report.is_file(), done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    messages = [["".join(bad.itertext()) for bad in c if bad.tag != "system-out"] for c in cases]
    return [found[0] if found else "passed" for found in messages]


def test_a_sound_notebook_passes(tmp_path):
    assert run_nbval(SOUND_CELLS, tmp_path) == ["passed"] * len(SOUND_CELLS)


def test_every_changed_output_makes_its_cell_fail(tmp_path):
    cells = copy.deepcopy(SOUND_CELLS)
    for number in CHECKED:
        cells[number].outputs = change_outputs(cells[number].outputs)
    outcomes = run_nbval(cells, tmp_path)
    assert [n for n, outcome in enumerate(outcomes) if outcome != "passed"] == CHECKED
    assert all("Cell outputs differ" in outcomes[n] for n in CHECKED)


@pytest.mark.timeout(120)  # nbval alone would wait for its cell timeout at the dead kernel
def test_what_nbval_alone_lets_pass_fails(tmp_path):
    outcomes = run_nbval(
        [
            cell(f"{CHECK}print(1)", count=None),
            cell(f"{CHECK}print(1)", count=1),
            cell(f"{CHECK}x = 1", PICTURE),
            cell("print(1)", count=None, tags=("nbval-check-output",)),
            cell("x = 1", tags=("raises-exception",)),
            cell("import os\nos._exit(3)"),
            cell("x = 2"),
        ],
        tmp_path,
    )
    expected = ["stores no output"] * 4
    expected += ["nothing was raised", "The kernel died in this cell.", "Kernel dead"]
    assert len(outcomes) == len(expected)
    assert [(e, o) for e, o in zip(expected, outcomes, strict=True) if e not in o] == []

"""`tunebook homework regrade`, `export`, `likeness`: what comes after grading."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from course_lib.commands import terminal
from course_lib.errors import DataError
from course_lib.files import write_atomic

REGRADE_EPILOG = (
    "Example: tunebook homework regrade graded/01 --drop mean_loss --points pack_rows=5"
)
export = typer.Typer(
    help="Grades to Canvas, Moodle or Gradescope: canvas, moodle, gradescope.", **terminal.STYLE
)
Out = Annotated[Path, typer.Argument(help="The folder that tunebook grade --out was given.")]


def regrade(
    out: Out,
    drop: Annotated[
        list[str] | None, typer.Option(help="A question that shall not count; may be repeated.")
    ] = None,
    points: Annotated[
        list[str] | None, typer.Option(help="QUESTION=POINTS; may be repeated.")
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Forget what was changed before, first.")
    ] = False,
) -> None:
    """Make the reports anew: questions dropped, points changed, answers read. Runs no code."""
    from course_lib.homework import cohort as cohorts

    cohort, _ = cohorts.load(out)
    before = cohorts.Changes() if undo else cohorts.read_changes(out)
    dropped = tuple(dict.fromkeys([*before.dropped, *(drop or [])]))
    changed = {**before.points, **dict(_points(text) for text in points or [])}
    cohorts.write_changes(cohorts.Changes(dropped, changed), cohort, out)
    write_all(out)


def _points(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError as error:
        raise DataError(
            f"--points {text}: expected QUESTION=POINTS.", "For example: --points pack_rows=5"
        ) from error


def write_all(out: Path) -> None:
    """Write reports and the table of answers to read, and say where they are.

    Args:
        out: the folder of results.

    Raises:
        TunebookError: see `readings.finish`.
    """
    from course_lib.homework import cohort as cohorts
    from course_lib.homework import readings, report

    finished, results = readings.finish(out)
    table = readings.write_table(out, *cohorts.load(out))
    for path in report.write_reports(finished, results, out):
        terminal.say(str(path))
    for words in finished.changes:
        terminal.say(f"Changed: {words}")
    left = sum(result.status == "needs a reader" for result in results)
    if left:
        terminal.say(f"{left} students wait for a reader: fill points and comments in {table},")
        terminal.say_next("homework", "regrade", out)


LIKENESS_EPILOG = "Example: tunebook homework likeness graded/01"


def likeness(out: Out) -> None:
    """Show which submissions are alike, side by side; a reason to look, no proof."""
    from course_lib.homework import cells, lessons, likeness_page
    from course_lib.homework import cohort as cohort_files
    from course_lib.homework import likeness as comparing

    cohort, results = cohort_files.load(out)
    exercise = lessons.EXERCISES_DIR / cohort.lesson / lessons.NOTEBOOK_NAME
    released = cells.list_cells(cells.read_notebook(exercise))
    given = {c.name: c.source for c in released if c.kind in ("solution", "manual")}
    words = [cell.name for cell in released if cell.kind == "manual" and not cell.is_code]
    answers = {result.student: result.answers for result in results if result.answers}
    pairs = comparing.find_pairs(answers, given, words)
    page, table = out / "likeness.html", out / "likeness.csv"
    write_atomic(page, likeness_page.make_page(cohort.lesson, pairs, answers))
    write_atomic(table, likeness_page.to_table(pairs))
    terminal.say(f"Submissions compared: {len(answers)}. Alike pairs: {len(pairs)}, {page}")
    terminal.say("Likeness is no proof of copying: read both answers first.")


Into = Annotated[
    Path, typer.Option(help="The table that was downloaded; its grades are filled in.")
]
Scale = Annotated[
    bool, typer.Option("--scale", help="Convert scores to the points that the table gives.")
]
To = Annotated[
    Path | None, typer.Option(help="Write the filled table here and leave --into as it is.")
]
CANVAS_EPILOG = (
    'Example: tunebook homework export canvas graded/01 --into grades.csv --column "Homework 1"'
)


@export.command(epilog=CANVAS_EPILOG)
def canvas(
    out: Out,
    into: Into,
    column: Annotated[str, typer.Option(help="The assignment's column.")],
    scale: Scale = False,
    to: To = None,
) -> None:
    """Fill one column of your own gradebook that Canvas exported."""
    from course_lib.homework import gradebooks, readings

    filled = gradebooks.fill_canvas(into, column, *readings.finish(out), is_scaled=scale)
    _write_filled(to or into, filled.content)
    _say_filled(to or into, filled.written, filled.left, filled.without)


@export.command(epilog="Example: tunebook homework export moodle graded/01 --into worksheet.csv")
def moodle(out: Out, into: Into, scale: Scale = False, to: To = None) -> None:
    """Fill grades and feedback of a Moodle assignment's offline grading worksheet."""
    from course_lib.homework import gradebooks, readings

    filled = gradebooks.fill_moodle(into, *readings.finish(out), is_scaled=scale)
    _write_filled(to or into, filled.content)
    _say_filled(to or into, filled.written, filled.left, filled.without)


@export.command(epilog="Example: tunebook homework export gradescope graded/01 --into gradescope")
def gradescope(
    out: Out, into: Annotated[Path, typer.Option(help="The new folder to make.")]
) -> None:
    """Write a results.json for each student, as Gradescope's autograders do."""
    from course_lib.homework import gradescope as writer
    from course_lib.homework import readings

    if into.exists():
        raise DataError(f"{into} exists already.", "Name a new folder, or delete the old one.")
    written, left = writer.write_folders(*readings.finish(out), into)
    _say_filled(into, written, left, [])


def _write_filled(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode if path.exists() else None
    write_atomic(path, content)
    if mode is not None:
        path.chmod(mode)


def _say_filled(
    path: Path,
    written: Sequence[tuple[str, str]],
    left: Sequence[tuple[str, str]],
    without: Sequence[str],
) -> None:
    for student, text in written:
        terminal.say(f"{terminal.one_line(student)}: {text}")
    terminal.say(f"Grades written: {len(written)}, {path}")
    if left:
        terminal.say(f"Without a grade, nothing was written: {len(left)}")
    for student, why in left:
        terminal.say(f"  {terminal.one_line(student)}: {terminal.one_line(why)}")
    if without:
        terminal.say(f"In the table, but without a result: {len(without)}")
    for name in without:
        terminal.say(f"  {terminal.one_line(name)}")

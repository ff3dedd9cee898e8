"""`tunebook homework regrade`, `export`, `likeness`: what comes after grading."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.commands import terminal
from course_lib.errors import DataError

REGRADE_EPILOG = (
    "Example: tunebook homework regrade graded/01 --drop mean_loss --points pack_rows=5"
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

"""`tunebook homework`: make exercises from solutions."""

from typing import Annotated

import typer

from course_lib.commands import terminal
from course_lib.errors import DataError

app = typer.Typer(help="Homework: make exercises from solutions.", **terminal.STYLE)


@app.command(epilog="Example: tunebook homework make 01 --check")
def make(
    lesson: Annotated[
        str | None, typer.Argument(help="A lesson, such as 01. All of them when left out.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail where exercises/ is out of date.")
    ] = False,
) -> None:
    """Make exercises/ from solutions/: look the source over, take the answers out."""
    from course_lib.homework import lessons
    from course_lib.homework import make as maker

    names = [lessons.find_lesson(lesson)] if lesson else list(lessons.MODULES)
    if not check:
        for name in names:
            terminal.say(str(maker.write_exercise(name)))
        return
    lines = [line for name in names for line in maker.find_differences(name)]
    if lines:
        shown = "".join(f"\n  {line}" for line in lines)
        raise DataError(
            f"exercises/ is not what solutions/ makes:{shown}",
            "Change solutions/ only, then run: tunebook homework make",
        )
    terminal.say(f"exercises/ is what solutions/ makes ({len(names)} looked at).")

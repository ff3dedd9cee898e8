"""`tunebook homework submit`: one file to hand in."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.commands import terminal

EPILOG = "Example: tunebook homework submit 04"


def submit(
    lesson: Annotated[str, typer.Argument(help="A lesson, such as 04.")],
    notebook: Annotated[
        Path | None, typer.Option(help="Your notebook; the one in exercises/ when left out.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Your run; the newest of this homework when left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    is_partly: Annotated[
        bool, typer.Option("--partly", help="Hand in what is there although parts are missing.")
    ] = False,
) -> None:
    """Pack what you hand in into one file; what is missing is named first."""
    from course_lib.homework import lessons
    from course_lib.homework import submit as submitting

    name = lessons.find_lesson(lesson)
    found = submitting.gather(name, notebook, run)
    path = submitting.write_bundle(found, out or Path(f"{name}.zip"), is_partly)
    for problem in found.missing:
        terminal.say(f"without: {problem}", err=True)
    metrics = found.about.get("run", {}).get("metrics", {})
    shares = ", ".join(f"{n} {metrics[n]:.0%}" for n in ("unseen", "retained") if n in metrics)
    terminal.say(f"{path}: {', '.join(sorted(found.files))}")
    if shares:
        terminal.say(f"Your run: {metrics['steps']} steps, {shares}. It is measured again.")

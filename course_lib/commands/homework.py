"""`tunebook homework`: make exercises from solutions; look whether grading is safe here."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.commands import cohorts, submitting, terminal
from course_lib.errors import DataError, EnvironmentProblem

app = typer.Typer(
    help="Homework: submit; for instructors: make, doctor, regrade, export, likeness, pack.",
    **terminal.STYLE,
)


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


app.command(epilog=cohorts.REGRADE_EPILOG)(cohorts.regrade)
app.command(epilog=cohorts.LIKENESS_EPILOG)(cohorts.likeness)
app.add_typer(cohorts.export, name="export")


@app.command(epilog="Example: tunebook homework pack ../tunebook_for_learners")
def pack(
    dest: Annotated[Path, typer.Argument(help="The new folder.")],
) -> None:
    """Copy the course for learners: no solutions/, no hidden checks, no history."""
    from course_lib.homework import pack as packer

    count = packer.pack(dest)
    terminal.say(f"{count} files, without answers and without git's history: {dest}")
    unknown = packer.unknown_files()
    if unknown:
        shown = ", ".join([*unknown[:5], *(["..."] if unknown[5:] else [])])
        terminal.say(f"Not copied, because git does not know them yet: {shown}")


@app.command(epilog="Example: tunebook homework doctor")
def doctor() -> None:
    """Say which isolation works here, by trying to break out of it, and how to get it."""
    from course_lib.homework import isolation

    findings = isolation.examine()
    for finding in findings:
        terminal.say(f"{'ok' if finding.is_ok else '!!'}  {finding.name}: {finding.found}")
        if finding.next_step:
            terminal.say(f"    -> {finding.next_step}")
    if not all(finding.is_ok for finding in findings):
        raise EnvironmentProblem("Submissions cannot be run safely here.", "See the lines above.")
    terminal.say("Submissions can be run safely here.")


app.command(epilog=submitting.EPILOG)(submitting.submit)

"""`tunebook grade`: a folder of submissions to tables and pages."""

from pathlib import Path
from typing import Annotated

import typer

from course_lib.commands import cohorts, terminal

EPILOG = "Example: tunebook grade 01 inbox.zip --out graded/01"


def grade(
    lesson: Annotated[str, typer.Argument(help="A lesson, such as 01.")],
    inbox: Annotated[Path, typer.Argument(help="The folder or zip that was downloaded.")],
    out: Annotated[Path, typer.Option(help="Where results and reports go; it may hold some.")],
    jobs: Annotated[int, typer.Option(min=1, help="Submissions at the same time.")] = 2,
    roster: Annotated[
        Path | None, typer.Option(help="A CSV file of students; tells who handed in nothing.")
    ] = None,
    student_pattern: Annotated[
        str | None,
        typer.Option(help="Regular expression with (?P<student>...), for paths in the inbox."),
    ] = None,
    is_unsafe: Annotated[
        bool,
        typer.Option("--unsafe-no-sandbox", help="Run submissions with all rights you have."),
    ] = False,
) -> None:
    """Grade a folder of submissions; broken off and started again, it goes on."""
    from course_lib.homework import cohort as cohort_files
    from course_lib.homework import grade as grading
    from course_lib.homework import inbox as inboxes
    from course_lib.homework import isolation, lessons, report

    name = lessons.find_lesson(lesson)
    uploads = inboxes.read_inbox(inbox, student_pattern or inboxes.DEFAULT_PATTERN)
    if roster:
        uploads = {student: [] for student in inboxes.read_roster(roster)} | uploads
    exam = grading.load_exam(name, isolation.choose(is_unsafe))
    if is_unsafe:
        terminal.say(f"warning: {report.NOT_ISOLATED}", err=True)

    def say(result: grading.Result, done: int, total: int) -> None:
        score = "" if result.score is None else f" {result.score:g}/{result.max_score:g}"
        student = terminal.one_line(result.student)
        terminal.say(f"{done}/{total}  {student}: {result.status}{score}", err=True)

    cohort_files.save(cohort_files.of_exam(exam, list(uploads)), out)
    grading.grade_cohort(exam, uploads, out, jobs, say)
    cohorts.write_all(out)

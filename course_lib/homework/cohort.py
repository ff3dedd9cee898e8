"""A graded cohort in its folder: what was found, and what an instructor changed or read since.

Results are never changed. What was changed (a question left out, other points) and what a person
read is kept beside them and worked in whenever reports are made, so no student's code runs again
and every change can be taken back.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from course_lib.errors import DataError, UnknownNameError
from course_lib.files import write_atomic
from course_lib.homework import grade, verdict
from course_lib.homework.grade import Exam, Result

COHORT_NAME, CHANGES_NAME = "cohort.json", "changes.json"
GRADE_AGAIN = "Run tunebook grade once more with the same folder; it only does what is missing."


@dataclass(frozen=True)
class Cohort:
    """What the reports of a lesson need besides the results.

    Args:
        lesson: its name.
        points: of each question, in the order of the reports.
        to_read: the questions that a person reads.
        students: in the order of the reports.
        changes: what was changed after grading, a sentence each.
    """

    lesson: str
    points: dict[str, float]
    to_read: tuple[str, ...]
    students: tuple[str, ...]
    changes: tuple[str, ...] = ()

    @property
    def max_score(self) -> float:
        """Points of all questions that count."""
        return sum(self.points.values())


@dataclass(frozen=True)
class Changes:
    """What an instructor changed after grading.

    Args:
        dropped: questions that no longer count.
        points: other points for questions.
    """

    dropped: tuple[str, ...] = ()
    points: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What a person gave for one answer.

    Args:
        points: of those that the question had when it was graded.
        comment: for the student.
    """

    points: float
    comment: str = ""


def of_exam(exam: Exam, students: Sequence[str]) -> Cohort:
    """A cohort before anything is changed.

    Args:
        exam: what it is graded with.
        students: all of them.
    """
    return Cohort(exam.lesson, exam.points, tuple(exam.to_read), tuple(students))


def save(cohort: Cohort, out_dir: Path) -> None:
    """Write what is known before anything is changed.

    Args:
        cohort: from `of_exam`.
        out_dir: the folder of results.
    """
    write_atomic(out_dir / COHORT_NAME, json.dumps(asdict(cohort), indent=1) + "\n")


def load(out_dir: Path) -> tuple[Cohort, list[Result]]:
    """Read a graded cohort as it was found.

    Args:
        out_dir: the folder that `tunebook grade --out` was given.

    Returns:
        The cohort without changes, and a result for each student.

    Raises:
        DataError: nothing was graded there, or some results are missing or of other questions.
    """
    record = _read_json(out_dir / COHORT_NAME, f"There are no results in {out_dir}.")
    try:
        texts = {name: tuple(record[name]) for name in ("to_read", "students")}
        cohort = Cohort(record["lesson"], record["points"], **texts)
    except (KeyError, TypeError) as error:
        raise DataError(f"{out_dir / COHORT_NAME} is of another version.", GRADE_AGAIN) from error
    found = {s: grade.read_result(grade.result_path(out_dir, s)) for s in cohort.students}
    missing = [student for student, result in found.items() if not _fits(result, cohort)]
    if missing:
        raise DataError(
            f"{out_dir}: {len(missing)} of {len(found)} students have no result of these "
            f"questions, such as {missing[0]!r}.",
            GRADE_AGAIN,
        )
    return cohort, [result for result in found.values() if result is not None]


def _fits(result: Result | None, cohort: Cohort) -> bool:
    if result is None:
        return False
    points = {question["name"]: question["max_points"] for question in result.questions}
    return not points or points == cohort.points


def _read_json(path: Path, absent: str) -> Any:
    try:
        record = json.loads(path.read_text("utf-8"))
        if not isinstance(record, dict):
            raise ValueError("no JSON object")
        return record
    except FileNotFoundError as error:
        raise DataError(absent, "Name the folder that tunebook grade --out was given.") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}.", GRADE_AGAIN) from error


# ---------------------------------------------------------------- changes


def read_changes(out_dir: Path) -> Changes:
    """What was changed; nothing when there is no such file.

    Args:
        out_dir: the folder of results.

    Raises:
        DataError: the file cannot be read.
    """
    path = out_dir / CHANGES_NAME
    if not path.is_file():
        return Changes()
    record = _read_json(path, "")
    try:
        return Changes(tuple(record["dropped"]), dict(record["points"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged.", "Delete it, then change anew.") from error


def write_changes(changes: Changes, cohort: Cohort, out_dir: Path) -> None:
    """Keep what was changed, when it makes sense.

    Args:
        changes: all of them, the earlier ones too.
        cohort: as it was graded.
        out_dir: the folder of results.

    Raises:
        UnknownNameError: there is no such question.
        DataError: points are no number above 0, or no question is left.
    """
    check_changes(changes, cohort)
    write_atomic(out_dir / CHANGES_NAME, json.dumps(asdict(changes), indent=1) + "\n")


def check_changes(changes: Changes, cohort: Cohort) -> None:
    """Whether changes fit a cohort; see `write_changes`.

    Args:
        changes: all of them.
        cohort: as it was graded.

    Raises:
        UnknownNameError: there is no such question.
        DataError: points are no number above 0, or no question is left.
    """
    for name in (*changes.dropped, *changes.points):
        if name not in cohort.points:
            raise UnknownNameError("question", name, cohort.points, "questions.csv")
    for name, points in changes.points.items():
        if type(points) not in (int, float) or not 0 < points < math.inf:
            raise DataError(
                f"{name}={points}: expected a number above 0.", "To leave it out: --drop"
            )
    if not cohort.points.keys() - set(changes.dropped):
        raise DataError("No question would be left.", "Drop fewer of them.")


def amend(
    cohort: Cohort,
    results: Sequence[Result],
    changes: Changes,
    readings: Mapping[tuple[str, str], Reading],
) -> tuple[Cohort, list[Result]]:
    """Work changes and readings in: the same as grading anew with the changed questions.

    Args:
        cohort: as it was graded.
        results: as they were found; they are not changed.
        changes: questions left out, other points.
        readings: by student and question.

    Returns:
        The cohort with its changes in words, and new results.

    Raises:
        UnknownNameError: see `check_changes`.
        DataError: see `check_changes`.
    """
    check_changes(changes, cohort)
    kept = {name: n for name, n in cohort.points.items() if name not in changes.dropped}
    points = {name: changes.points.get(name, before) for name, before in kept.items()}
    said = [f"{name} does not count any more." for name in cohort.points if name not in kept]
    said += [
        f"{name} counts {points[name]:g} points, not {before:g}."
        for name, before in kept.items()
        if points[name] != before
    ]
    to_read = tuple(name for name in cohort.to_read if name in kept)
    changed = replace(cohort, points=points, to_read=to_read, changes=tuple(said))
    return changed, [_amend_one(changed, result, readings) for result in results]


def _amend_one(
    cohort: Cohort, result: Result, readings: Mapping[tuple[str, str], Reading]
) -> Result:
    if not result.questions:
        return replace(result, max_score=cohort.max_score)
    questions = []
    for question in result.questions:
        most = cohort.points.get(question["name"])
        if most is not None:
            read = _read_one(question, readings.get((result.student, question["name"])))
            questions.append(_count_as(read, most))
    found = verdict.judge(questions, result.lost_cells)
    return replace(
        result,
        status=found.status,
        score=found.score,
        max_score=cohort.max_score,
        reason=found.reason,
        questions=questions,
    )


def _count_as(question: dict[str, Any], most: float) -> dict[str, Any]:
    before = question["max_points"]
    if most == before:
        return question
    return {**question, "points": question["points"] * most / before, "max_points": most}


def _read_one(question: dict[str, Any], reading: Reading | None) -> dict[str, Any]:
    if reading is None or question["status"] != "needs a reader":
        return question
    return {**question, "status": "read", "points": reading.points, "message": reading.comment}

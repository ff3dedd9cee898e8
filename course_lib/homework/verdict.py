"""From a submission's questions to its status, score and reason; a crash is never a plain 0."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal[
    "graded", "partly", "needs a reader", "unreadable", "wrong lesson", "missing", "grader error"
]
UNKNOWN = ("grader error", "needs a reader")  # of a question: its points are not known
TELLING = ("crashed", "grader error", "needs a reader")  # of a question: its words are the reason


@dataclass(frozen=True)
class Verdict:
    """What is said of a whole submission.

    Args:
        status: see the table in docs/instructors.md.
        score: points, or None where they are not known.
        reason: why it has another status than "graded".
    """

    status: Status
    score: float | None
    reason: str


def judge(questions: Sequence[Mapping[str, Any]], lost_cells: Sequence[str]) -> Verdict:
    """Sum a submission up; the same questions give the same verdict, fresh or from a file.

    Args:
        questions: an outcome for each, as a dict.
        lost_cells: what was said of cells that could not be run.
    """
    states = {question["status"] for question in questions}
    status: Status = "graded"
    if "crashed" in states or lost_cells:
        status = "partly"
    if "needs a reader" in states:
        status = "needs a reader"
    if "grader error" in states:
        status = "grader error"
    if status == "graded":
        return Verdict(status, _points(questions), "")
    said = [q["message"] for q in questions if q["status"] in TELLING]
    is_known = status == "partly"
    score = _points(questions) if is_known else None
    return Verdict(status, score, " ".join(said or lost_cells[:1]))


def _points(questions: Sequence[Mapping[str, Any]]) -> float:
    return sum(question["points"] for question in questions)

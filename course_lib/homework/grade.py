"""Grade a cohort: each submission on its own, whatever the others do; broken off, it goes on."""

import hashlib
import json
import platform
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import nbformat

from course_lib.errors import EnvironmentProblem
from course_lib.files import write_atomic
from course_lib.homework import bundle, cells, inbox, lessons, make, rescore, submission, verdict
from course_lib.homework.checks import Check, Outcome
from course_lib.homework.inbox import Upload
from course_lib.homework.rescore import Evidence, Scorers
from course_lib.homework.runner import Runner
from course_lib.homework.sandbox import Isolation, Limits
from course_lib.homework.verdict import Status

RESULTS_DIR = "results"
LONGEST_CODE = 20_000  # characters of an answer that a page shows
SOURCES = (
    "checks.py",
    "local.py",
    "wire.py",
    "worker.py",
    "runner.py",
    "submission.py",
    "verdict.py",
)
HERE = Path(__file__).resolve().parent
ORDER = {"grader error": 0, "crashed": 1, "wrong": 2, "not started": 3, "right": 4}


@dataclass(frozen=True)
class Exam:
    """What all submissions of a lesson are graded with.

    Args:
        lesson: its name.
        isolation: how submissions are kept apart.
        limits: what each may use.
        released: the exercise.
        checks: for each question its checks, the visible one first.
        scorers: measure the adapters that are handed in.
    """

    lesson: str
    isolation: Isolation
    limits: Limits
    released: nbformat.NotebookNode
    checks: dict[str, list[Check]]
    scorers: Scorers = field(default_factory=Scorers, compare=False)

    @cached_property
    def key(self) -> str:
        """Changes with anything that could change a result, the submission apart."""
        module = Path(str(lessons.MODULES[self.lesson].__file__))
        judges = module.parent.glob(module.name.replace("lesson_", "judges_"))  # not all have one
        hidden = lessons.SOLUTIONS_DIR / self.lesson / lessons.HIDDEN_NAME
        files = [module, *judges, hidden, *(HERE / name for name in SOURCES)]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
        versions = [platform.python_version(), *map(metadata.version, ("numpy", "ipython"))]
        about = [self.isolation, asdict(self.limits), cells.about(self.released)["release"]]
        if any(one.is_measured for checks in self.checks.values() for one in checks):
            digests += rescore.digests()
        return json.dumps([digests, versions, about], sort_keys=True)

    @property
    def to_read(self) -> dict[str, cells.Cell]:
        """The questions that a person reads: their cells as they were released."""
        return {c.name: c for c in cells.list_cells(self.released) if c.kind == "manual"}

    @property
    def points(self) -> dict[str, float]:
        """What each question gives at most, in the order of the reports."""
        asked = {name: sum(c.points for c in checks) for name, checks in self.checks.items()}
        return {**asked, **{name: cell.points for name, cell in self.to_read.items()}}

    @property
    def max_score(self) -> float:
        """Points of all questions."""
        return sum(self.points.values())


@dataclass(frozen=True)
class Result:
    """What became of one student's submission.

    Args:
        student: whose.
        status: only "graded" and "partly" have a score; a crash is never a plain 0.
        score: points, or None.
        max_score: that could be reached.
        reason: why it has another status than "graded".
        questions: an outcome for each question.
        answers: the student's own code, by question.
        notes: what was odd.
        lost_cells: those of the notes that say which cells could not be run.
        evidence: shares of a trained run, handed in and measured, and its adapter's sha256.
        number: what the course platform's download called the student, or empty.
        isolation: how the code was kept apart.
        seconds: it took.
        key: of the same submission and the same exam; empty when it should be tried again.
    """

    student: str
    status: Status
    score: float | None
    max_score: float
    reason: str = ""
    questions: list[dict[str, Any]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    lost_cells: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    number: str = ""
    isolation: Isolation = "bubblewrap"
    seconds: float = 0
    key: str = ""


def load_exam(lesson: str, isolation: Isolation, limits: Limits | None = None) -> Exam:
    """Read a lesson's exercise and checks.

    Args:
        lesson: from `lessons.find_lesson`.
        isolation: from `isolation.choose`.
        limits: what a submission may use; the usual ones when left out.

    Raises:
        DataError: solutions/ is missing or has mistakes.
    """
    released = make.make_exercise(lesson)
    checks = {name: [check] for name, check in lessons.visible_checks(lesson).items()}
    for name, hidden in lessons.load_hidden(lessons.SOLUTIONS_DIR / lesson).items():
        checks.setdefault(name, []).append(hidden)
    return Exam(lesson, isolation, limits or Limits(), released, checks)


def grade_cohort(
    exam: Exam,
    uploads: dict[str, list[Upload]],
    out_dir: Path,
    jobs: int = 2,
    report: Callable[[Result, int, int], None] = lambda result, done, total: None,
) -> list[Result]:
    """Grade all students; results that are there already and still hold are kept.

    Args:
        exam: what to grade with.
        uploads: by student, the newest first; an empty list is a missing submission.
        out_dir: a result is written below it as soon as it is there, whole or not at all.
        jobs: submissions at the same time.
        report: is told each result, how many are done, and of how many.

    Returns:
        The results in the order of the students.
    """
    results: dict[str, Result] = {}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = [
            pool.submit(_grade_or_keep, exam, s, found, out_dir) for s, found in uploads.items()
        ]
        try:
            for one in as_completed(waiting):
                result = one.result()
                results[result.student] = result
                report(result, len(results), len(uploads))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            exam.scorers.close()
    return [results[student] for student in uploads]


def result_path(out_dir: Path, student: str) -> Path:
    """Where a student's result is; the name is safe on every system and no two share one.

    Args:
        out_dir: of the cohort.
        student: any text.
    """
    return out_dir / RESULTS_DIR / f"{safe_name(student)}.json"


def safe_name(student: str) -> str:
    """A file name without ending for a student.

    Args:
        student: any text, even a path.
    """
    digits = hashlib.sha256(student.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', student)[:40]}-{digits}"


def _grade_or_keep(exam: Exam, student: str, uploads: Sequence[Upload], out_dir: Path) -> Result:
    path = result_path(out_dir, student)
    parts = [exam.key, student, *(u.place + u.problem for u in uploads)]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass"))
    for upload in uploads:
        digest.update(hashlib.sha256(_bytes_of(upload)).digest())
    kept = read_result(path)
    if kept is not None and kept.key == digest.hexdigest():
        return kept
    start = time.monotonic()
    try:
        result = grade_student(exam, student, uploads)
    except Exception as error:  # one submission must never end the batch
        reason = f"{type(error).__name__}: {error}"[:500]
        result = Result(student, "grader error", None, exam.max_score, reason)
    again = result.status == "grader error"
    changes = {
        "seconds": round(time.monotonic() - start, 2),
        "key": "" if again else digest.hexdigest(),
        "isolation": exam.isolation,
        "number": next((u.number for u in uploads if u.number), ""),
    }
    result = Result(**{**asdict(result), **changes})
    write_atomic(path, json.dumps(asdict(result), indent=1) + "\n")
    return result


def _bytes_of(upload: Upload) -> bytes:
    """For the key: what cannot be read stands for itself by its place and problem."""
    try:
        return upload.read() + (upload.load_bundle() if upload.load_bundle else b"")
    except (*inbox.BROKEN, ValueError) as error:
        return str(error).encode("utf-8", "replace")


def read_result(path: Path) -> Result | None:
    """A result from its file.

    Args:
        path: from `result_path`.

    Returns:
        None when there is none, or it is torn or of another version.
    """
    try:
        return Result(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def grade_student(exam: Exam, student: str, uploads: Sequence[Upload]) -> Result:
    """Grade the newest upload that can be graded.

    Args:
        exam: what to grade with.
        student: whose.
        uploads: the newest first.

    Returns:
        The result, without its key.

    Raises:
        EnvironmentProblem: the sandbox does not start.
    """
    if not uploads:
        return Result(student, "missing", None, exam.max_score, "nothing was handed in")
    failures: list[tuple[Status, str]] = []
    for upload in uploads:
        try:
            notebook = _parse(upload)
            plan = submission.make_plan(notebook, exam.released)
        except ValueError as error:
            failures.append(("unreadable", f"{upload.place}: {error}"))
        except submission.WrongLesson as error:
            failures.append(("wrong lesson", f"{upload.place}: {error}"))
        else:
            notes = [f"not graded: {text}" for _, text in failures]
            others = len(uploads) - len(failures) - 1
            notes += [f"{others} more uploads; the newest counts: {upload.place}"] if others else []
            return _grade_plan(exam, upload, plan, [*notes, *plan.notes])
    status, reason = failures[0]
    return Result(student, status, None, exam.max_score, reason, notes=[t for _, t in failures[1:]])


def _parse(upload: Upload) -> nbformat.NotebookNode:
    try:
        return cells.parse_notebook(inbox.decode_notebook(upload.read()))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def _grade_plan(exam: Exam, upload: Upload, plan: submission.Plan, notes: list[str]) -> Result:
    found = bundle.read(upload.load_bundle()) if upload.load_bundle else None
    runner = Runner(plan, exam.isolation, exam.limits)
    evidence = Evidence(found, runner.ask, exam.scorers)
    try:
        outcomes = [_grade_question(checks, runner, evidence) for checks in exam.checks.values()]
    finally:
        runner.close()
    outcomes += [_to_be_read(cell, plan) for cell in exam.to_read.values()]
    questions = [asdict(outcome) for outcome in outcomes]
    judged = verdict.judge(questions, runner.lost())
    return Result(
        upload.student,
        judged.status,
        judged.score,
        exam.max_score,
        judged.reason,
        questions,
        {name: source[:LONGEST_CODE] for name, source in plan.answers.items()},
        notes + runner.notes() + evidence.notes,
        runner.lost(),
        evidence.table,
    )


def _to_be_read(cell: cells.Cell, plan: submission.Plan) -> Outcome:
    """A question for a person: only an answer that is still the stub needs nobody."""
    answer = plan.answers.get(cell.name)
    if answer is not None and answer.strip() in ("", cell.source.strip()):
        words = "nothing was written."
        return Outcome(cell.name, "not started", words, 0, cell.points)
    words = f"{cell.name} needs a reader."
    if answer is None:
        words += " Its cell is missing: the answer may stand in another one."
    return Outcome(cell.name, "needs a reader", words, 0, cell.points)


def _grade_question(checks: list[Check], runner: Runner, evidence: Evidence) -> Outcome:
    """All checks of a question as one outcome; after a crash the rest is not asked."""
    found: list[Outcome] = []
    for check in checks:
        try:
            found.append(check.run(evidence.ask if check.is_measured else runner.ask))
        except EnvironmentProblem:
            raise
        except Exception as error:  # a check of ours that breaks is our fault, not the student's
            words = f"the check itself stopped with {type(error).__name__}: {error}"[:300]
            status: Any = "grader error"
            found.append(Outcome(check.name, status, words, 0, check.points))
        if found[-1].status in ("crashed", "not started"):
            break
    worst = min(found, key=lambda outcome: ORDER[outcome.status])
    points = sum(outcome.points for outcome in found)
    most = sum(check.points for check in checks)
    return Outcome(checks[0].name, worst.status, worst.message, points, most)

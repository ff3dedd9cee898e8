"""What a learner has tried, in one local file; nothing leaves the machine.

Only this module writes the file: a line for each check, each hint and each answer of a quiz.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from course_lib.files import REPO_DIR, append_jsonl, write_jsonl
from course_lib.homework.checks import Check, Outcome

VARIABLE = "TUNEBOOK_PROGRESS"
RIGHT, WRONG = "quiz right", "quiz wrong"  # a quiz; a check's own words are right and wrong
SET_ASIDE = "set aside"


def progress_path() -> Path:
    """Where the file is: what TUNEBOOK_PROGRESS names, or beside the runs."""
    return Path(os.environ.get(VARIABLE) or REPO_DIR / "runs" / "progress.jsonl")


def fingerprint(function: Any) -> str:
    """Digits that change when a function's code does, but not with its comments or place.

    Args:
        function: a learner's function.

    Returns:
        Empty when it is no Python function.
    """
    code = getattr(function, "__code__", None)
    return hashlib.sha256(_code_text(code).encode()).hexdigest()[:16] if code else ""


def _code_text(code: CodeType) -> str:
    constants = [_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, constants))


def note_outcome(lesson: str, outcome: Outcome, mark: str) -> None:
    """Write down that a check ran.

    Args:
        lesson: the question's lesson.
        outcome: what was found.
        mark: the function's fingerprint: the same code twice is one attempt.
    """
    _append({"lesson": lesson, "name": outcome.name, "status": outcome.status, "code": mark})


def next_hint(lesson: str, check: Check) -> str:
    """The next hint, or why there is none yet; each real attempt unlocks one.

    Args:
        lesson: the question's lesson.
        check: the question.

    Returns:
        A sentence or two.
    """
    records = [r for r in read_progress() if r.get("name") == check.name]
    shown = sum(r.get("status") == "hint" for r in records)
    attempts = len({r.get("code") for r in records if r.get("status") == "wrong"})
    if shown >= len(check.hints):
        return f"That were all {shown} hints. The lesson explains it in more words."
    if shown >= attempts:
        return (
            "Hints come one by one, each after an attempt: write what you think is right, "
            "check it, then ask."
        )
    _append({"lesson": lesson, "name": check.name, "status": "hint"})
    return f"Hint {shown + 1} of {len(check.hints)}: {check.hints[shown]}"


def note_quiz(lesson: str, question: str, is_right: bool) -> None:
    """Write down an answer to a question of a quiz.

    Args:
        lesson: the quiz's lesson.
        question: its name.
        is_right: whether the answer was.
    """
    _append({"lesson": lesson, "name": question, "status": RIGHT if is_right else WRONG})


def read_progress() -> list[dict[str, Any]]:
    """All records; none when there is no file, or none that can be opened.

    A learner must be able to go on whatever became of this file. When lines of it cannot be read,
    the whole file is kept under another name and its sound lines go into a new one.
    """
    path = progress_path()
    records, broken = _read_lines(path)
    if broken:
        records = _set_aside(path)
    texts = ("lesson", "name", "status", "code")
    return [r for r in records if all(isinstance(r.get(key, ""), str) for key in texts)]


def notes() -> list[str]:
    """What a learner should know about the file: set aside once, or not to be written."""
    said = [
        f"{r.get('lines')} of its lines could not be read. The file as it was is kept as "
        f"{r.get('file')}; all that could be read still counts."
        for r in read_progress()
        if r.get("status") == SET_ASIDE
    ]
    path = progress_path()
    place = next(p for p in (path, *path.parents) if os.path.exists(p))
    if path.is_dir() or not os.access(place, os.W_OK):
        said.append("It cannot be written, so what you do now is not kept.")
    return [f"About your progress file {path.name}: {text}" for text in said]


def summarise(lesson: str, checks: dict[str, Check]) -> list[dict[str, Any]]:
    """Where a learner stands in a lesson.

    Args:
        lesson: its name.
        checks: its visible checks.

    Returns:
        For each question: its name, whether it was right once, attempts and hints used.
    """
    records = [r for r in read_progress() if r.get("lesson") == lesson]
    rows = []
    for name in checks:
        mine = [r for r in records if r.get("name") == name]
        tried = {r.get("code") for r in mine if r.get("status") in ("right", "wrong")}
        rows.append(
            {
                "question": name,
                "done": any(r.get("status") == "right" for r in mine),
                "attempts": len(tried),
                "hints": sum(r.get("status") == "hint" for r in mine),
            }
        )
    return rows


def summarise_quiz(lesson: str, questions: Sequence[str]) -> list[dict[str, Any]]:
    """Where a learner stands in a quiz.

    Args:
        lesson: its name.
        questions: the names of its questions.

    Returns:
        For each question: its name, whether it was right once, and the answers up to then.
    """
    records = [r for r in read_progress() if r.get("lesson") == lesson]
    rows = []
    for name in questions:
        mine = [r.get("status") for r in records if r.get("name") == name]
        tries = [status for status in mine if status in (RIGHT, WRONG)]
        is_done = RIGHT in tries
        count = tries.index(RIGHT) + 1 if is_done else len(tries)
        rows.append({"question": name, "done": is_done, "tries": count})
    return rows


def _append(record: dict[str, Any]) -> None:
    path = progress_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(path, record | {"time": round(time.time())})
    except OSError:
        return  # a read-only folder must not keep anybody from checking an answer


def _read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a file, and how many of its lines are none; a torn last line is no matter."""
    try:
        *lines, torn = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    except OSError:
        return [], 0
    found = [_to_record(line) for line in lines if line.strip()]
    last = _to_record(torn)
    records = [r for r in found if r is not None] + ([last] if last else [])
    return records, found.count(None)


def _to_record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):  # no UTF-8, no JSON, or brackets without end
        return None
    return record if isinstance(record, dict) else None


def _set_aside(path: Path) -> list[dict[str, Any]]:
    """Keep a file with broken lines under another name; its sound ones and a note replace it."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.unreadable-{number}{path.suffix}")).exists():
        number += 1
    records, broken = _read_lines(path)
    try:
        shutil.copyfile(path, aside)
        records.append({"status": SET_ASIDE, "file": aside.name, "lines": broken})
        write_jsonl(path, records)
    except OSError:
        return records  # nothing can be written here, so nothing is lost either
    return records

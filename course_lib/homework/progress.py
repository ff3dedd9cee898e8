"""What a learner has tried, in one local file; nothing leaves the machine."""

import hashlib
import os
import time
from pathlib import Path
from types import CodeType
from typing import Any

from course_lib.errors import TunebookError
from course_lib.files import REPO_DIR, append_jsonl, read_jsonl
from course_lib.homework.checks import Check, Outcome

VARIABLE = "TUNEBOOK_PROGRESS"


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


def read_progress() -> list[dict[str, Any]]:
    """All records; none when the file is missing or cannot be read.

    A learner must be able to go on whatever became of this file.
    """
    try:
        return read_jsonl(progress_path(), allow_torn=True) if progress_path().is_file() else []
    except (TunebookError, OSError):
        return []


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


def _append(record: dict[str, Any]) -> None:
    path = progress_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(path, {**record, "time": round(time.time())})
    except OSError:
        return  # a read-only folder must not keep anybody from checking an answer

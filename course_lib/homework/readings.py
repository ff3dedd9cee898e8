"""Answers that a person reads: handed out in a table, points and comments read back from it."""

import csv
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

from course_lib.errors import DataError, TunebookError
from course_lib.files import write_atomic
from course_lib.homework import cohort as cohorts
from course_lib.homework import tables
from course_lib.homework.cohort import Cohort, Reading
from course_lib.homework.grade import Result

TABLE_NAME = "to_read.csv"
COLUMNS = ["student", "question", "max_points", "answer", "points", "comment", "answer_id"]
NEEDED = set(COLUMNS) - {"max_points", "answer"}
MOST_PROBLEMS = 10
Key = tuple[str, str, str]  # student, question, answer_id, as the table has them


def read_back(
    out_dir: Path, cohort: Cohort, results: Sequence[Result]
) -> dict[tuple[str, str], Reading]:
    """What a person wrote into the table.

    Args:
        out_dir: the folder of results.
        cohort: as it was graded.
        results: as they were found.

    Returns:
        By student and question; answers without points are left out, and so are points for an
        answer that was handed in anew since.

    Raises:
        DataError: the table cannot be read, or points are no number that fits; names each row.
    """
    filled = {_key(row): (number, row) for number, row in enumerate(_read(out_dir), 2)}
    found, problems = {}, []
    for result, name in _waiting(cohort, results):
        number, row = filled.get(_key_of(result, name), (0, {}))
        if not row.get("points", "").strip():
            continue
        points = _points(row["points"], cohort.points[name])
        if points is None:
            problems.append(
                f"row {number} ({result.student}, {name}), points: {row['points'][:40]!r}, "
                f"expected a number from 0 to {cohort.points[name]:g}, written like 2.5"
            )
        else:
            comment = tables.was_meant(row.get("comment", "").strip())
            found[result.student, name] = Reading(points, comment)
    if problems:
        lines = "".join(f"\n  {line}" for line in problems[:MOST_PROBLEMS])
        raise DataError(
            f"{out_dir / TABLE_NAME}: {len(problems)} rows to mend:{lines}",
            "Mend them, save it as CSV, then: tunebook homework regrade FOLDER",
        )
    return found


def write_table(out_dir: Path, cohort: Cohort, results: Sequence[Result]) -> Path | None:
    """Write the table of answers, with what stands in it already.

    Args:
        out_dir: the folder of results.
        cohort: as it was graded.
        results: as they were found.

    Returns:
        The file; None where nobody has to read anything.
    """
    waiting = list(_waiting(cohort, results))
    kept = {_key(row): row for row in _read(out_dir)}
    if not waiting and not kept:
        return None
    rows = []
    for result, name in waiting:
        key = _key_of(result, name)
        old = kept.pop(key, {})
        mine = [key[0], name, f"{cohort.points[name]:g}", result.answers.get(name, "")]
        given = [tables.was_meant(old.get(column, "")) for column in ("points", "comment")]
        rows.append([*mine, *given, key[2]])
    # Somebody's work stays, even on an answer that was handed in anew.
    for row in kept.values():
        if row.get("points", "").strip() or row.get("comment", "").strip():
            rows.append([tables.was_meant(row.get(column, "")) for column in COLUMNS])
    path = out_dir / TABLE_NAME
    text = tables.to_csv([COLUMNS, *rows])
    if not path.is_file() or path.read_text("utf-8") != text:
        write_atomic(path, text)
    return path


def _waiting(cohort: Cohort, results: Sequence[Result]) -> list[tuple[Result, str]]:
    return [
        (result, question["name"])
        for result in results
        for question in result.questions
        if question["name"] in cohort.to_read and question["status"] == "needs a reader"
    ]


def _key_of(result: Result, name: str) -> Key:
    answer = result.answers.get(name, "")
    digits = hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return _as_in_table(result.student), name, f"a{digits}"  # "12e5..." would become a number


def _key(row: dict[str, str]) -> Key:
    student, name, mark = (row.get(column, "") for column in ("student", "question", "answer_id"))
    return _as_in_table(tables.was_meant(student)), name.strip(), mark.strip()


def _as_in_table(text: str) -> str:
    return tables.was_meant(tables.make_harmless(text)).strip()


def _points(text: str, most: float) -> float | None:
    try:
        points = float(text)
    except ValueError:
        return None
    return points if math.isfinite(points) and 0 <= points <= most else None


def _read(out_dir: Path) -> list[dict[str, str]]:
    """The rows of the table, however a spreadsheet saved it; none when there is no table."""
    path = out_dir / TABLE_NAME
    if not path.is_file():
        return []
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8.", 'Save it as "CSV UTF-8".') from error
    head = text.partition("\n")[0]
    sign = max(tables.DELIMITERS, key=head.count)
    rows = [
        {str(name): value or "" for name, value in row.items() if name is not None}
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=sign)
    ]
    missing = NEEDED - set(head.replace('"', "").strip().split(sign))
    if missing:
        raise DataError(
            f"{path}: columns are missing: {', '.join(sorted(missing))}.",
            "Put them back; delete the file to have an empty one written.",
        )
    return rows


# ---------------------------------------------------------------- the finished cohort


def finish(out_dir: Path) -> tuple[Cohort, list[Result]]:
    """A graded cohort with everything that was changed and read since.

    Args:
        out_dir: the folder of results.

    Raises:
        DataError: something in the folder cannot be read, or a changed question is not in the
            exercise any more; says what.
    """
    cohort, results = cohorts.load(out_dir)
    found = read_back(out_dir, cohort, results)
    try:
        return cohorts.amend(cohort, results, cohorts.read_changes(out_dir), found)
    except TunebookError as error:
        raise DataError(
            f"{out_dir / cohorts.CHANGES_NAME} does not fit the questions: {error.message}",
            "Forget what was changed: tunebook homework regrade FOLDER --undo",
        ) from error

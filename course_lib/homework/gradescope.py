"""Results as Gradescope's autograders hand them back: results.json, one folder for each student.

Source: https://gradescope-autograders.readthedocs.io/en/latest/specs/, "Output format".
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.files import staged_dir, write_atomic
from course_lib.homework import tables
from course_lib.homework.cohort import Cohort
from course_lib.homework.grade import Result, safe_name

FILE_NAME, INDEX_NAME = "results.json", "students.csv"


def write_folders(
    cohort: Cohort, results: Sequence[Result], dest: Path
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Write a folder of results, and a table that says whose folder is whose.

    Args:
        cohort: finished, see `readings.finish`.
        results: of the students.
        dest: the new folder.

    Returns:
        A student and the score, for each file; the students without a score and why.

    Raises:
        FileExistsError: `dest` exists.
    """
    written, left, rows = [], [], [["student", "folder"]]
    with staged_dir(dest) as folder:
        for result in results:
            if result.score is None:
                left.append((result.student, f"{result.status}: {result.reason}"))
                continue
            name = safe_name(result.student)
            text = json.dumps(to_record(cohort, result), indent=1, ensure_ascii=False)
            write_atomic(folder / name / FILE_NAME, tables.storable(text) + "\n")
            rows.append([result.student, name])
            partly = f" ({result.status}: {result.reason})" if result.status != "graded" else ""
            written.append((result.student, f"{result.score:g}{partly}"))
        write_atomic(folder / INDEX_NAME, tables.to_csv(rows))
    return written, left


def to_record(cohort: Cohort, result: Result) -> dict[str, Any]:
    """One student's results.

    Args:
        cohort: with its changes.
        result: with a score.

    Returns:
        For `json.dumps`. Points above all come from `score`; `tests` say how they came about.
    """
    said = [result.reason, *cohort.changes, *result.notes]
    return {
        "score": result.score,
        "execution_time": round(result.seconds),
        "output": "\n".join(words for words in said if words),
        "output_format": "text",
        "tests": [_test(question) for question in result.questions],
        "extra_data": {
            "lesson": cohort.lesson,
            "status": result.status,
            "isolation": result.isolation,
        },
    }


def _test(question: dict[str, Any]) -> dict[str, Any]:
    is_whole = question["points"] == question["max_points"]
    return {
        "name": question["name"],
        "score": question["points"],
        "max_score": question["max_points"],
        "status": "passed" if is_whole else "failed",
        "output": question["message"] or question["status"],
        "output_format": "text",
    }

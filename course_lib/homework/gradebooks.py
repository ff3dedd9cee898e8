"""Fill an instructor's own Canvas gradebook or Moodle grading worksheet.

Only the cells of grades (and Moodle's feedback) change. A student is found by a number or a login,
never by a name that looks alike; whoever is not found, or has no score, is named and left as is.

Source: what Canvas writes and reads, lib/gradebook_exporter.rb of instructure/canvas-lms; what
Moodle does, mod/assign/feedback/offline/importgradeslib.php of moodle/moodle.
"""

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import DataError
from course_lib.homework import tables
from course_lib.homework.cohort import Cohort
from course_lib.homework.grade import Result
from course_lib.homework.tables import Sheet

CANVAS_IDS = ("ID", "SIS User ID", "SIS Login ID")
ABOUT_STUDENTS = (  # Canvas: columns that are no assignments
    *("Student", "LastName", "FirstName"),
    *CANVAS_IDS,
    *("Integration ID", "Root Account", "Section"),
)
CANVAS_STEP = "In Canvas: Grades, Export, Export Entire Gradebook."
POSSIBLE = "Points Possible"
NO_PLACE = ("EX", "N/A")  # Canvas: excused; not this student's assignment
MOODLE_ID, MOODLE_GRADE, MOODLE_MOST = "Identifier", "Grade", "Maximum grade"
MOODLE_LOGINS = ("Username", "ID number", "Email address")
FEEDBACK, CAN_CHANGE = "Feedback comments", "Grade can be changed"
MOODLE_STEP = (
    "In Moodle, in English: the assignment, Submissions, Download grading worksheet. The setting "
    "is called Offline grading worksheet, under Feedback types."
)
SCALE_STEP = "Make the two equal, or have the scores converted: --scale"


@dataclass(frozen=True)
class Filled:
    """A filled table.

    Args:
        content: the whole file.
        written: a student and what was written, for each grade.
        left: a student and why nothing was written.
        without: rows of the table for which there is no result, in the table's own words.
    """

    content: bytes
    written: list[tuple[str, str]]
    left: list[tuple[str, str]]
    without: list[str]


def fill_canvas(
    path: Path, column: str, cohort: Cohort, results: Sequence[Result], is_scaled: bool = False
) -> Filled:
    """Fill one assignment's column of a gradebook that Canvas exported.

    Args:
        path: the gradebook; it is not changed here.
        column: the assignment's column, with or without the number behind its name.
        cohort: finished, see `readings.finish`.
        results: of the students.
        is_scaled: convert scores to the points that Canvas gives for the assignment.

    Raises:
        DataError: it is no gradebook, there is no such column, or its points are others.
    """
    sheet = Sheet(path, CANVAS_IDS[:1], CANVAS_STEP)
    name = _find_assignment(sheet, column)
    rows = {row: sheet.get(row, "ID") for row in range(1, len(sheet))}
    possible = next((r for r in rows if sheet.get(r, sheet.columns[0]) == POSSIBLE), 0)
    points = sheet.get(possible, name) if possible else ""
    factor = _factor(points, cohort, is_scaled, f"{path}, {POSSIBLE}, {name}")
    students = [row for row, number in rows.items() if number and row != possible]
    keys = {row: _keys(sheet.get(row, one) for one in CANVAS_IDS) for row in students}
    numbers = {row: _keys([rows[row]]) for row in students}
    found, left, owned = match(results, keys, numbers)
    written = []
    for result, row in found:
        before = sheet.get(row, name)
        if before in NO_PLACE:
            left.append((result.student, f"Canvas says {before} there"))
            continue
        assert result.score is not None
        text = f"{result.score * factor:.2f}".removesuffix("0").removesuffix(".0")
        text = text.replace(".", ",") if _has_comma(points) else text
        sheet.set(row, name, text)
        written.append((result.student, text + _remark(result, before, text)))
    without = [sheet.get(row, sheet.columns[0]) for row in students if row not in owned]
    return Filled(sheet.as_bytes(), written, _in_order(left, results), without)


def _find_assignment(sheet: Sheet, column: str) -> str:
    named = [c for c in sheet.columns if column in (c, re.sub(r" \(\d+\)$", "", c))]
    fits = [c for c in named if c not in ABOUT_STUDENTS]
    if len(fits) != 1:
        known = ", ".join(c for c in sheet.columns if re.search(r" \(\d+\)$", c)) or "none"
        raise DataError(
            f"{sheet.path}: {len(fits)} columns are called {column!r}. Assignments: {known[:500]}.",
            'Name one of them, with its number: --column "Homework 1 (4711)"',
        )
    return fits[0]


def fill_moodle(
    path: Path, cohort: Cohort, results: Sequence[Result], is_scaled: bool = False
) -> Filled:
    """Fill the offline grading worksheet of a Moodle assignment.

    Args:
        path: the worksheet; it is not changed here.
        cohort: finished, see `readings.finish`.
        results: of the students.
        is_scaled: convert scores to the points that Moodle gives for the assignment.

    Raises:
        DataError: it is no such worksheet, or its points are others.
    """
    sheet = Sheet(path, (MOODLE_ID, MOODLE_GRADE), MOODLE_STEP)
    students = [row for row in range(1, len(sheet)) if sheet.get(row, MOODLE_ID)]
    # "Participant 123", in any language; the submissions' folders end with the same number
    numbers = {row: set(re.findall(r"\d+$", sheet.get(row, MOODLE_ID))) for row in students}
    keys = {
        row: _keys(sheet.get(row, name) for name in (MOODLE_ID, *MOODLE_LOGINS)) | numbers[row]
        for row in students
    }
    found, left, owned = match(results, keys, numbers)
    written = []
    for result, row in found:
        if sheet.get(row, CAN_CHANGE).lower() == "no":
            left.append((result.student, "Moodle says that the grade cannot be changed"))
            continue
        most = sheet.get(row, MOODLE_MOST)
        factor = _factor(most, cohort, is_scaled, f"{path}, row {row + 1}, {MOODLE_MOST}")
        assert result.score is not None
        text = f"{result.score * factor:.2f}"
        before = sheet.get(row, MOODLE_GRADE)
        sheet.set(row, MOODLE_GRADE, text)
        if FEEDBACK in sheet.columns:
            sheet.set(row, FEEDBACK, feedback(cohort, result))
        written.append((result.student, text + _remark(result, before, text)))
    without = [sheet.get(row, MOODLE_ID) for row in students if row not in owned]
    return Filled(sheet.as_bytes(), written, _in_order(left, results), without)


def _in_order(left: list[tuple[str, str]], results: Sequence[Result]) -> list[tuple[str, str]]:
    places = {result.student: place for place, result in enumerate(results)}
    return sorted(left, key=lambda pair: places[pair[0]])


def _remark(result: Result, before: str, text: str) -> str:
    """What an instructor should see beside a grade."""
    said = [f"was {before}"] if before not in ("", text) else []
    said += [f"{result.status}: {result.reason}"] if result.status != "graded" else []
    return f" ({'; '.join(said)})" if said else ""


def feedback(cohort: Cohort, result: Result) -> str:
    """What Moodle shows a student, as HTML on one line.

    Args:
        cohort: with its changes.
        result: with a score.
    """
    lines = [f"{result.score:g} of {result.max_score:g} points.", *cohort.changes]
    for question in result.questions:
        points = f"{question['points']:g} of {question['max_points']:g}"
        words = f" {question['message']}" if question["message"] else ""
        lines.append(f"{question['name']}: {points}, {question['status']}.{words}")
    text = "<br>".join(html.escape(" ".join(line.split())) for line in lines)
    return tables.make_harmless(text)


def match(
    results: Iterable[Result], keys: Mapping[int, set[str]], numbers: Mapping[int, set[str]]
) -> tuple[list[tuple[Result, int]], list[tuple[str, str]], set[int]]:
    """Find each student's row; when in doubt, none.

    Args:
        results: of the students.
        keys: by row, what a student may be called by.
        numbers: by row, what the platform's download may call them by.

    Returns:
        Results with a score and their rows; the other students and why they have none; the rows
        that belong to anybody.
    """
    by_key, by_number = _rows_of(keys), _rows_of(numbers)
    found: list[tuple[Result, int]] = []
    left: list[tuple[str, str]] = []
    owners: dict[int, list[str]] = defaultdict(list)
    for result in results:
        rows = by_key[_key(result.student)] | by_number[result.number]
        for row in rows if result.status != "missing" else ():
            owners[row].append(result.student)
        if result.score is None:
            left.append((result.student, f"{result.status}: {result.reason}"))
        elif len(rows) == 1:
            found.append((result, next(iter(rows))))
        else:
            why = "fits several rows of the table" if rows else "is in no row of the table"
            left.append((result.student, why))
    shared = [(result, row) for result, row in found if len(owners[row]) > 1]
    for result, row in shared:
        others = ", ".join(name for name in owners[row] if name != result.student)
        left.append((result.student, f"has the same row of the table as {others}"))
    return [pair for pair in found if pair not in shared], left, set(owners)


def _rows_of(keys: Mapping[int, set[str]]) -> dict[str, set[int]]:
    rows: dict[str, set[int]] = defaultdict(set)
    for row, names in keys.items():
        for name in names - {""}:
            rows[name].add(row)
    return rows


def _keys(names: Iterable[str]) -> set[str]:
    return {_key(name) for name in names}


def _key(name: str) -> str:
    return name.strip().casefold()  # a login is the same in capitals


def _factor(text: str, cohort: Cohort, is_scaled: bool, where: str) -> float:
    """What scores are multiplied by; a table that says no points takes them as they are."""
    if not text:
        return 1
    try:
        points = float(text.replace(",", ".") if _has_comma(text) else text)
    except ValueError as error:
        raise DataError(
            f"{where}: {text[:40]!r} is no number of points.",
            "Let the assignment be graded in points there, then download the table again.",
        ) from error
    if points == cohort.max_score:
        return 1
    if not is_scaled or points <= 0:
        raise DataError(
            f"{where}: {points:g} points, but the homework gives {cohort.max_score:g}.", SCALE_STEP
        )
    return points / cohort.max_score


def _has_comma(text: str) -> bool:
    """Whether a number's decimals stand behind a comma: "14,00", not "1,000.00"."""
    return re.fullmatch(r"\d+,\d{1,2}", text) is not None

"""Reports of a graded cohort: two tables, a page for each student, a summary.

Every text from a submission is escaped; nothing is loaded from elsewhere; hidden checks are not
shown, only what they said.
"""

import csv
import html
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from course_lib.files import write_atomic
from course_lib.homework.grade import Exam, Result, safe_name
from course_lib.teaching import markdown

NOT_ISOLATED = "NOT ISOLATED: submissions were run with access to this machine."
NOT_FILTERED = "Submissions were run in a sandbox, but without its filter of system calls."
FORMULA = ("=", "+", "-", "@", "\t", "\r")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
table {{ border-collapse: collapse; }} td, th {{ border-bottom: 1px solid; padding: 4px 12px;
  text-align: left; vertical-align: top; }}
pre {{ overflow-x: auto; border: 1px solid; padding: 8px; }}
.warning {{ border: 3px solid; padding: 8px; font-weight: bold; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def write_reports(exam: Exam, results: Sequence[Result], out_dir: Path) -> list[Path]:
    """Write all reports of a cohort.

    Args:
        exam: what was graded with.
        results: of all students.
        out_dir: where they go.

    Returns:
        The tables and the summary.
    """
    tables = {
        "grades.csv": grades_table(results),
        "questions.csv": questions_table(results),
        "summary.html": summary_page(exam, results),
    }
    for name, text in tables.items():
        write_atomic(out_dir / name, text)
    for result in results:
        path = out_dir / "students" / f"{safe_name(result.student)}.html"
        page = student_page(exam, result)
        if not path.is_file() or path.read_text("utf-8") != page:
            write_atomic(path, page)
    return [out_dir / name for name in tables]


def grades_table(results: Iterable[Result]) -> str:
    """One line for each student, as CSV.

    Args:
        results: of the cohort.
    """
    head = ["student", "status", "score", "max_score", "reason", "notes", "isolation"]
    rows = [
        [
            r.student,
            r.status,
            "" if r.score is None else f"{r.score:g}",
            f"{r.max_score:g}",
            r.reason,
            "; ".join(r.notes),
            r.isolation,
        ]
        for r in results
    ]
    return _csv([head, *rows])


def questions_table(results: Iterable[Result]) -> str:
    """One line for each student and question, as CSV.

    Args:
        results: of the cohort.
    """
    head = ["student", "question", "status", "points", "max_points", "message"]
    fields = ("name", "status", "points", "max_points", "message")
    rows = [[r.student, *(str(q[f]) for f in fields)] for r in results for q in r.questions]
    return _csv([head, *rows])


def _csv(rows: Iterable[Sequence[str]]) -> str:
    """CSV in which no cell is a formula for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        safe = [_storable(markdown.make_visible(cell)) for cell in row]
        writer.writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in safe])
    return text.getvalue()


def _storable(text: str) -> str:
    """Half characters, which no file can hold, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def student_page(exam: Exam, result: Result) -> str:
    """A page for one student: points, what each check said, their own code.

    Args:
        exam: what was graded with.
        result: the student's.
    """
    score = "no score" if result.score is None else f"{result.score:g} of {result.max_score:g}"
    parts = [_stamp([result]), f"<p>{_text(result.student)}: {_text(result.status)}, {score}</p>"]
    parts += [f"<p>{_text(result.reason)}</p>"] if result.reason else []
    for question in result.questions:
        points = f"{question['points']:g} of {question['max_points']:g}"
        parts.append(f"<h2>{_text(question['name'])}: {_text(question['status'])}, {points}</h2>")
        parts += [f"<p>{_text(question['message'])}</p>"] if question["message"] else []
        code = result.answers.get(question["name"])
        parts += [f"<pre>{_text(code)}</pre>"] if code else []
    if result.notes:
        lines = "".join(f"<li>{_text(note)}</li>" for note in result.notes)
        parts.append(f"<h2>Notes</h2><ul>{lines}</ul>")
    return _page(f"Homework {exam.lesson}", parts)


def summary_page(exam: Exam, results: Sequence[Result]) -> str:
    """A page for the instructor: statuses, pass rates, and who needs a look.

    Args:
        exam: what was graded with.
        results: of the cohort.
    """
    states = Counter(result.status for result in results)
    scores = [result.score for result in results if result.score is not None]
    mean = f", mean {sum(scores) / len(scores):.2f} of {exam.max_score:g}" if scores else ""
    parts = [_stamp(results), f"<p>{len(results)} students, {len(scores)} with a score{mean}</p>"]
    parts.append(_table([["status", "students"], *([s, n] for s, n in states.most_common())]))
    parts += ["<h2>Questions</h2>", _table(_question_rows(exam, results))]
    rows: list[list[Any]] = [["student", "status", "reason"]]
    rows += [[r.student, r.status, r.reason] for r in results if r.status != "graded"]
    parts += ["<h2>To look at</h2>", _table(rows) if len(rows) > 1 else "<p>Nothing.</p>"]
    seconds = sum(result.seconds for result in results)
    parts.append(f"<p>{seconds:.0f} seconds of grading in all.</p>")
    return _page(f"Homework {exam.lesson}: summary", parts)


def _question_rows(exam: Exam, results: Sequence[Result]) -> list[list[Any]]:
    rows: list[list[Any]] = [["question", "right", "not started", "crashed", "told most often"]]
    for name in exam.checks:
        mine = [q for result in results for q in result.questions if q["name"] == name]
        states = Counter(question["status"] for question in mine)
        said = Counter(q["message"] for q in mine if q["status"] == "wrong").most_common(1)
        share = f"{states['right']} of {len(mine)}"
        often = f"{said[0][1]} times: {said[0][0]}" if said else ""
        rows.append([name, share, states["not started"], states["crashed"], often])
    return rows


def _stamp(results: Iterable[Result]) -> str:
    kinds = {result.isolation for result in results}
    if "none" in kinds:
        return f'<p class="warning">{NOT_ISOLATED}</p>'
    return f"<p>{NOT_FILTERED}</p>" if "bubblewrap without filter" in kinds else ""


def _table(rows: Sequence[Sequence[Any]]) -> str:
    head, *others = [[_text(str(cell)) for cell in row] for row in rows]
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in others]
    return "<table>" + "".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _text(text: str) -> str:
    return html.escape(_storable(markdown.make_visible(text)))


def _page(title: str, parts: Sequence[str]) -> str:
    return PAGE.format(title=_text(title), body="\n".join(part for part in parts if part))

"""Reports of a graded cohort: two tables, a page for each student, a summary.

Every text from a submission is escaped; nothing is loaded from elsewhere; hidden checks are not
shown, only what they said.
"""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib.files import write_atomic
from course_lib.homework import tables, verdict
from course_lib.homework.cohort import Cohort
from course_lib.homework.grade import Result, safe_name
from course_lib.homework.page import write_page
from course_lib.teaching import markdown

NOT_ISOLATED = "NOT ISOLATED: submissions were run with access to this machine."
NOT_FILTERED = "Submissions were run in a sandbox, but without its filter of system calls."
SIDES = {  # of a trained run: what is told of it
    "claimed": "handed in",
    "measured": "measured here",
    "hidden": "measured here, other questions",
}
STYLE = """pre { overflow-x: auto; border: 1px solid; padding: 8px; }
.warning { border: 3px solid; padding: 8px; font-weight: bold; }"""
WIDTH = 60  # em


def write_reports(cohort: Cohort, results: Sequence[Result], out_dir: Path) -> list[Path]:
    """Write all reports of a cohort.

    Args:
        cohort: with its changes, if there are any.
        results: of all students.
        out_dir: where they go.

    Returns:
        The tables and the summary.
    """
    texts = {
        "grades.csv": grades_table(cohort, results),
        "questions.csv": questions_table(results),
        "summary.html": summary_page(cohort, results),
    }
    for name, text in texts.items():
        write_atomic(out_dir / name, text)
    for result in results:
        path = out_dir / "students" / f"{safe_name(result.student)}.html"
        page = student_page(cohort, result)
        if not path.is_file() or path.read_text("utf-8") != page:
            write_atomic(path, page)
    return [out_dir / name for name in texts]


def grades_table(cohort: Cohort, results: Iterable[Result]) -> str:
    """One line for each student, as CSV.

    Args:
        cohort: with its changes, if there are any.
        results: of the cohort.
    """
    head = ["student", "status", "score", "max_score", "reason", "notes", "isolation", "changes"]
    rows = [
        [
            r.student,
            r.status,
            "" if r.score is None else f"{r.score:g}",
            f"{r.max_score:g}",
            r.reason,
            "; ".join(r.notes),
            r.isolation,
            " ".join(cohort.changes),
        ]
        for r in results
    ]
    return tables.to_csv([head, *rows])


def questions_table(results: Iterable[Result]) -> str:
    """One line for each student and question, as CSV.

    Args:
        results: of the cohort.
    """
    head = ["student", "question", "status", "points", "max_points", "message"]
    rows = [
        [r.student, q["name"], q["status"], _points(q), f"{q['max_points']:g}", q["message"]]
        for r in results
        for q in r.questions
    ]
    return tables.to_csv([head, *rows])


def _points(question: Mapping[str, Any]) -> str:
    """Nothing where the points are not known yet: that is no 0."""
    return "" if question["status"] in verdict.UNKNOWN else f"{question['points']:g}"


def student_page(cohort: Cohort, result: Result) -> str:
    """A page for one student: points, what each check said, their own code.

    Args:
        cohort: with its changes, if there are any.
        result: the student's.
    """
    score = "no score" if result.score is None else f"{result.score:g} of {result.max_score:g}"
    parts = [_stamp([result]), f"<p>{_text(result.student)}: {_text(result.status)}, {score}</p>"]
    parts.append(_changes(cohort))
    parts += [f"<p>{_text(result.reason)}</p>"] if result.reason else []
    for question in result.questions:
        points = f"{_points(question) or 'no points yet'} of {question['max_points']:g}"
        parts.append(f"<h2>{_text(question['name'])}: {_text(question['status'])}, {points}</h2>")
        parts += [f"<p>{_text(question['message'])}</p>"] if question["message"] else []
        code = result.answers.get(question["name"])
        parts += [f"<pre>{_text(code)}</pre>"] if code else []
    parts.append(_evidence(result))
    if result.notes:
        lines = "".join(f"<li>{_text(note)}</li>" for note in result.notes)
        parts.append(f"<h2>Notes</h2><ul>{lines}</ul>")
    return _page(f"Homework {cohort.lesson}", parts)


def _evidence(result: Result) -> str:
    """Shares that were handed in, beside those that were measured here."""
    shown = [(side, words) for side, words in SIDES.items() if result.evidence.get(side)]
    if not shown:
        return ""
    rows: list[list[Any]] = [["", *(words for _, words in shown)]]
    names = dict.fromkeys(name for side, _ in shown for name in result.evidence[side])
    for name in names:
        values = [result.evidence[side].get(name) for side, _ in shown]
        form = "{:g}" if name == "steps" else "{:.1%}"
        texts = ["" if value is None else form.format(value) for value in values]
        rows.append([name.replace("_", " "), *texts])
    return f"<h2>The trained run</h2>{_table(rows)}<p>What was measured here counts.</p>"


def summary_page(cohort: Cohort, results: Sequence[Result]) -> str:
    """A page for the instructor: statuses, pass rates, and who needs a look.

    Args:
        cohort: with its changes, if there are any.
        results: of the cohort.
    """
    states = Counter(result.status for result in results)
    scores = [result.score for result in results if result.score is not None]
    mean = f", mean {sum(scores) / len(scores):.2f} of {cohort.max_score:g}" if scores else ""
    parts = [_stamp(results), f"<p>{len(results)} students, {len(scores)} with a score{mean}</p>"]
    parts.append(_changes(cohort))
    parts.append(_table([["status", "students"], *([s, n] for s, n in states.most_common())]))
    parts += ["<h2>Questions</h2>", _table(_question_rows(cohort, results))]
    rows: list[list[Any]] = [["student", "status", "reason"]]
    rows += [[r.student, r.status, r.reason] for r in results if r.status != "graded"]
    parts += ["<h2>To look at</h2>", _table(rows) if len(rows) > 1 else "<p>Nothing.</p>"]
    parts += _same_adapters(results)
    seconds = sum(result.seconds for result in results)
    parts.append(f"<p>{seconds:.0f} seconds of grading in all.</p>")
    return _page(f"Homework {cohort.lesson}: summary", parts)


def _same_adapters(results: Iterable[Result]) -> list[str]:
    """The same recipe may give the same weights on two machines: it is told, people judge."""
    owners: dict[str, list[str]] = {}
    for result in results:
        owners.setdefault(str(result.evidence.get("adapter", "")), []).append(result.student)
    shared = [names for digest, names in owners.items() if digest and len(names) > 1]
    return [
        f"<p>The same adapter, byte for byte: {_text(', '.join(names))}</p>" for names in shared
    ]


def _question_rows(cohort: Cohort, results: Sequence[Result]) -> list[list[Any]]:
    head = ["question", "right", "not started", "crashed", "to read", "mean points"]
    rows: list[list[Any]] = [[*head, "told most often"]]
    for name, most in cohort.points.items():
        mine = [q for result in results for q in result.questions if q["name"] == name]
        states = Counter(question["status"] for question in mine)
        said = Counter(q["message"] for q in mine if q["status"] == "wrong").most_common(1)
        share = "" if name in cohort.to_read else f"{states['right']} of {len(mine)}"
        often = f"{said[0][1]} times: {said[0][0]}" if said else ""
        known = [q["points"] for q in mine if q["status"] not in verdict.UNKNOWN]
        mean = f"{sum(known) / len(known):.2f} of {most:g}" if known else ""
        counts = [states[state] for state in ("not started", "crashed", "needs a reader")]
        rows.append([name, share, *counts, mean, often])
    return rows


def _changes(cohort: Cohort) -> str:
    said = " ".join(cohort.changes)
    return f'<p class="warning">Changed after grading: {_text(said)}</p>' if said else ""


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
    return html.escape(tables.storable(markdown.make_visible(text)))


def _page(title: str, parts: Sequence[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return write_page(_text(title), body, STYLE, WIDTH)

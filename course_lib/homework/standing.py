"""Where a learner stands: a line for each lesson, with its homework and its quiz."""

import html
from typing import NamedTuple

from course_lib.files import REPO_DIR
from course_lib.homework import lessons, progress, quiz
from course_lib.teaching import display

NOTEBOOKS_DIR = REPO_DIR / "notebooks"
FIRST = "Nothing yet, as it should be on a first day. Run this cell again later, and it has grown."
LATER = "Run this cell again to bring it up to date. Tries and hints are counted and cost nothing."
ALL = "Everything is done. Well done!"


class Standing(NamedTuple):
    """A lesson's line.

    Args:
        lesson: its name.
        title: for people.
        points: of homework checks that were right once, and of all; (0, 0) without homework.
        right: questions of the quiz that were right once, and all; (0, 0) without a quiz.
        hints: that were used.
    """

    lesson: str
    title: str
    points: tuple[float, float]
    right: tuple[int, int]
    hints: int


def find_standing(lesson: str) -> Standing:
    """Where the learner stands in a lesson.

    Args:
        lesson: its full name.

    Raises:
        DataError: its quiz's file breaks rules.
    """
    checks = lessons.visible_checks(lesson) if lesson in lessons.MODULES else {}
    rows = progress.summarise(lesson, checks)
    points = {check.name: check.points for check in checks.values()}
    reached = sum(points[row["question"]] for row in rows if row["done"])
    asked = quiz.load_quiz(lesson) if lesson in quiz.lesson_names() else None
    answers = progress.summarise_quiz(lesson, [q.name for q in asked.questions] if asked else [])
    return Standing(
        lesson,
        asked.title if asked else lesson,
        (reached, sum(points.values())),
        (sum(row["done"] for row in answers), len(answers)),
        sum(row["hints"] for row in rows),
    )


def progress_table() -> display.HtmlView:
    """A line for each lesson: homework points, quiz, hints; with links from notebooks/."""
    standings = [
        find_standing(lesson) for lesson in sorted({*lessons.MODULES, *quiz.lesson_names()})
    ]
    rows = [
        {
            "lesson": f"{one.lesson.split('_')[0]} {one.title}",
            "homework": _share(one.points, " points"),
            "quiz": _share(one.right, " right"),
            "hints": str(one.hints or "-"),
        }
        for one in standings
    ]
    said = [_summary(standings), *progress.notes()]
    lines = "".join(
        _html_line(
            "td",
            [
                _linked(row["lesson"], _lesson_link(one.lesson)),
                _linked(row["homework"], _homework_link(one.lesson)),
                html.escape(row["quiz"]),
                html.escape(row["hints"]),
            ],
        )
        for row, one in zip(rows, standings, strict=True)
    )
    table = f"<table><thead>{_html_line('th', rows[0])}</thead><tbody>{lines}</tbody></table>"
    table += "".join(f"<p>{html.escape(text)}</p>" for text in said)
    return display.HtmlView(table, "\n".join([display.table(rows).text, *said]))


def _summary(standings: list[Standing]) -> str:
    pairs = [pair for one in standings for pair in (one.points, one.right)]
    if not any(reached for reached, _ in pairs) and not any(one.hints for one in standings):
        return FIRST
    return ALL if all(reached >= whole for reached, whole in pairs) else LATER


def _share(pair: tuple[float, float], unit: str) -> str:
    reached, whole = pair
    if not whole:
        return "-"
    return f"{'✓ ' if reached >= whole else ''}{reached:g} of {whole:g}{unit}"


def _lesson_link(lesson: str) -> str:
    return f"{lesson}.ipynb" if (NOTEBOOKS_DIR / f"{lesson}.ipynb").is_file() else ""


def _homework_link(lesson: str) -> str:
    is_there = (lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME).is_file()
    return f"../exercises/{lesson}/{lessons.NOTEBOOK_NAME}" if is_there else ""


def _linked(text: str, address: str) -> str:
    shown = html.escape(text)
    return f'<a href="{html.escape(address)}">{shown}</a>' if address else shown


def _html_line(tag: str, cells: list[str] | dict[str, str]) -> str:
    left = display.CELL_STYLE.format("left")
    return "<tr>" + "".join(f'<{tag} style="{left}">{cell}</{tag}>' for cell in cells) + "</tr>"

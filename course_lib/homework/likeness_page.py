"""The page on submissions that are alike: pairs in order, their answers side by side."""

import html
from collections.abc import Mapping, Sequence

from course_lib.homework import tables
from course_lib.homework.likeness import AlikeAnswer, Pair
from course_lib.homework.page import write_page
from course_lib.teaching import markdown

MOST_PAIRS = 50
CAUTION = (
    "Likeness is no proof of copying. Short exercises have few good answers; friends who learn "
    "together write alike; so do people with the same source. Read both answers, and talk with "
    "both students, before you think of anything else."
)
HOW = (
    "Compared is the code as Python reads it: other names, blanks, comments and texts make no "
    "difference. Left out is what the exercise gave and what more than half of the cohort has. "
    "What few others have counts more. The share says how much of the rest two answers have in "
    "common. Shared lines are marked with a bar."
)
STYLE = """.caution { border: 3px solid; padding: 8px; font-weight: bold; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: 1em; }
pre { overflow-x: auto; border: 1px solid; padding: 8px; margin: 0; }
pre span { display: block; border-left: 4px solid transparent; padding-left: 6px;
  min-height: 1.5em; white-space: pre-wrap; }
pre span.shared { border-left-color: currentcolor; background: #8883; }"""
WIDTH = 90  # em


def make_page(lesson: str, pairs: Sequence[Pair], answers: Mapping[str, Mapping[str, str]]) -> str:
    """Write the page; it loads nothing, and every text from a submission is escaped.

    Args:
        lesson: its name.
        pairs: from `likeness.find_pairs`.
        answers: by student, by question.
    """
    shown = pairs[:MOST_PAIRS]
    parts = [f'<p class="caution">{CAUTION}</p>', f"<p>{HOW}</p>", _overview(shown, len(answers))]
    if len(pairs) > len(shown):
        parts.append(f"<p>{len(pairs) - len(shown)} more pairs share less and are left out.</p>")
    for number, pair in enumerate(shown, 1):
        names = " and ".join(_text(name) for name in pair.students)
        parts.append(f'<h2 id="pair{number}">{number}. {names}</h2>')
        parts += [_answer(pair, answer, answers) for answer in pair.answers]
    title = f"Homework {_text(lesson)}: submissions that are alike"
    return write_page(title, "\n".join(parts), STYLE, WIDTH)


def _overview(pairs: Sequence[Pair], students: int) -> str:
    if not pairs:
        return f"<p>{students} submissions were compared; no two are alike.</p>"
    rows = "".join(
        f'<tr><td><a href="#pair{number}">{number}</a></td>'
        f"<td>{_text(pair.students[0])}</td><td>{_text(pair.students[1])}</td>"
        f"<td>{_text(_shares(pair))}</td></tr>"
        for number, pair in enumerate(pairs, 1)
    )
    head = "<tr><th></th><th>student</th><th>student</th><th>alike in</th></tr>"
    return f"<p>{students} submissions were compared.</p><table>{head}{rows}</table>"


def _shares(pair: Pair) -> str:
    return ", ".join(f"{answer.question} {answer.share:.0%}" for answer in pair.answers)


def _answer(pair: Pair, answer: AlikeAnswer, answers: Mapping[str, Mapping[str, str]]) -> str:
    sides = "".join(
        _side(answers[student][answer.question], lines)
        for student, lines in zip(pair.students, answer.lines, strict=True)
    )
    title = f"<h3>{_text(answer.question)}, {answer.share:.0%}</h3>"
    return f'{title}<div class="sides">{sides}</div>'


def _side(text: str, shared: frozenset[int]) -> str:
    lines = "".join(
        f'<span class="shared">{_text(line)}</span>' if number in shared else _plain(line)
        for number, line in enumerate(text.splitlines(), 1)
    )
    return f"<pre>{lines}</pre>"


def _plain(line: str) -> str:
    return f"<span>{_text(line)}</span>"


def _text(text: str) -> str:
    return html.escape(tables.storable(markdown.make_visible(text)))


def to_table(pairs: Sequence[Pair]) -> str:
    """All pairs as CSV.

    Args:
        pairs: from `likeness.find_pairs`.
    """
    rows = [["student", "other_student", "question", "share"]]
    rows += [
        [*pair.students, answer.question, f"{answer.share:.2f}"]
        for pair in pairs
        for answer in pair.answers
    ]
    return tables.to_csv(rows)

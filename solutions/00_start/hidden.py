"""Hidden checks of lesson 00: other names, other tables, other sizes."""

from course_lib.homework import lesson_00
from course_lib.homework.checks import Ask, check


@check("introduce", points=1)
def check_other_names(ask: Ask) -> None:
    """Chinese, two words, a name with its own apostrophe, a single letter."""
    for name in ("小明", "Grace Hopper", "O'Hara", "I"):
        lesson_00.judge_sentence(ask("introduce", name), name)


@check("what_moved", points=1)
def check_other_tables(ask: Ask) -> None:
    """Names that are not in alphabetical order, nothing moved, other limits."""
    before = {"zeta": 50, "alpha": 40, "mid": 10, "beta": 70, "low": 3}
    after = {"alpha": 45, "zeta": 55, "low": 0, "mid": 9, "beta": 12}
    lesson_00.judge_moved(ask("what_moved", before, after, 5), before, after, 5)
    lesson_00.judge_moved(ask("what_moved", before, after, 1), before, after, 1)
    lesson_00.judge_moved(ask("what_moved", before, before, 1), before, before, 1)
    lesson_00.judge_moved(ask("what_moved", {}, {}, 1), {}, {}, 1)


@check("count_adapter", points=1)
def check_other_sizes(ask: Ask) -> None:
    """One matrix, many, and r = 1."""
    for shapes, r in (([[7, 7]], 3), ([[256, 64], [64, 256], [5, 8], [1, 2]], 16), ([[3, 9]], 1)):
        lesson_00.judge_count(ask("count_adapter", shapes, r), shapes, r)

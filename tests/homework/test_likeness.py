"""Submissions that are alike: what makes no difference, what is left out, what the page says."""

import json
import random
import time
from dataclasses import asdict

import pytest

from course_lib.homework import cells, grade, lessons, likeness, likeness_page
from course_lib.homework import cohort as cohorts
from course_lib.homework.likeness import AlikeAnswer, Pair

LESSON = "01_concepts"
STUB = '''def mean(values):
    """Their mean."""
    # Your code goes here.
    raise NotImplementedError'''
ONE = '''def mean(values):
    """Their mean."""
    total = 0.0
    for place, value in enumerate(values):
        weight = 1 / (place + 1)
        total += weight * float(value) ** 2
    return total / max(1, len(values))'''
RENAMED = '''
def mean(numbers: list[float]) -> float:
    # all my own work
    s  =  0.0
    for i, x in enumerate( numbers ):

        w = 1/(i+1)
        s += w*float(x)**2     # squares
    """done"""
    return s / max(1, len(numbers))
'''
OTHERS = [
    "def mean(values):\n    return sum(values) / len(values) if values else 0.0",
    "import statistics\ndef mean(values):\n    return statistics.fmean([v for v in values if v])",
    "def mean(values):\n    while values:\n        values = values[1:]\n    return values or None",
    "def mean(values):\n    import numpy as np\n    return float(np.array(values).mean(axis=0))",
]


def cohort_of(*texts):
    return {f"s{number}": {"mean": text} for number, text in enumerate(texts)}


def pairs_of(*texts, words=()):
    return likeness.find_pairs(cohort_of(*texts), {"mean": STUB}, words)


def test_names_blanks_comments_and_hints_make_no_difference():
    (pair,) = pairs_of(ONE, *OTHERS, RENAMED)
    assert pair.students == ("s0", "s5")
    (answer,) = pair.answers
    assert answer.share == 1
    assert answer.lines == (frozenset({1, 3, 4, 5, 6, 7}), frozenset({2, 4, 5, 7, 8, 10}))


def test_other_numbers_and_other_functions_make_a_difference():
    other = ONE.replace("** 2", "** 3").replace("max(1,", "min(7,").replace("enumerate", "sorted")
    assert pairs_of(ONE, *OTHERS, other) == []


def test_a_copied_part_is_seen_in_its_question_only():
    mine = {"a": {"mean": ONE, "x": OTHERS[0]}, "b": {"mean": RENAMED, "x": OTHERS[2]}}
    others = {f"s{n}": {"mean": text, "x": ""} for n, text in enumerate(OTHERS)}
    (pair,) = likeness.find_pairs({**mine, **others}, {"mean": STUB, "x": STUB})
    assert [answer.question for answer in pair.answers] == ["mean"]


def test_what_the_exercise_gave_and_what_most_have_says_nothing():
    assert pairs_of(STUB, STUB, *OTHERS) == []
    assert pairs_of(*[ONE] * 6, *OTHERS) == []  # six of ten
    assert len(pairs_of(*[ONE] * 3, *OTHERS)) == 3  # three of seven


def test_rare_code_comes_before_common_code():
    common = [OTHERS[0].replace("values", name) + "  # me" for name in ("values", "v", "w", "x")]
    rest = [
        f"def mean(values):\n    return values[{n}:].count({n}) + {n} - {n} * 3" for n in range(6)
    ]
    pairs = pairs_of(*common, ONE, RENAMED, *rest)
    assert pairs[0].students == ("s4", "s5")
    assert [pair.weight for pair in pairs] == sorted((p.weight for p in pairs), reverse=True)


HOSTILE = [
    "",
    "def mean(:",
    "-" * 9999 + "1",
    "a" + ".b" * 9000,
    "(" * 5000,
    "x = '\\d'\n" * 500,
    "\x00",
    "%check mean\n",
    "!rm -rf /",
    "if 1: pass\n" + "elif 1: pass\n" * 1000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_answer_breaks_the_comparison(text):
    likeness.take_fingerprint(text)
    likeness.take_fingerprint(text, is_code=False)
    (pair,) = pairs_of(ONE, RENAMED, text, *OTHERS)
    assert pair.students == ("s0", "s1")


def test_what_is_no_python_is_compared_as_words():
    broken = (
        "def mean(values)\n    wild = [value ** 2 for value in values if value % 3 == 1 or None]"
    )
    (pair,) = pairs_of(broken, broken.upper() + "  # mine", *OTHERS)
    assert pair.answers[0].share == 1
    assert not likeness.take_fingerprint(broken).is_code


def test_answers_in_words_are_compared_as_words():
    text = "The loss leaves out the question,\nbecause the model should learn to answer it only."
    copied = text.replace(",", ";").replace("\n", "  ").upper()
    own = "Only tokens of the reply count. Else it would learn to ask, and not to answer at all."
    (pair,) = pairs_of(text, own, copied, "", "No idea, sorry!", words=["mean"])
    assert pair.students == ("s0", "s2")


def test_two_hundred_submissions_take_seconds():
    source = cells.read_notebook(lessons.SOLUTIONS_DIR / LESSON / lessons.NOTEBOOK_NAME)
    right = {c.name: c.source for c in cells.list_cells(source) if c.kind == "solution"}
    zoo = {name: [code] for name, code in right.items()}
    for wrong in lessons.load_wrong_answers(lessons.SOLUTIONS_DIR / LESSON):
        zoo[wrong.question].append(wrong.code)
    choose = random.Random(0).choice
    answers = {f"s{n}": {q: choose(zoo[q]) + f"\nn = {n}" for q in zoo} for n in range(200)}
    start = time.process_time()
    assert likeness.find_pairs(answers, dict.fromkeys(right, STUB))
    assert time.process_time() - start < 20  # 1.4 s on the machine of the authors


# ---------------------------------------------------------------- the page


def test_the_page_says_that_likeness_is_no_proof_and_loads_nothing():
    evil = "<script>alert(1)</script>\n<img src=http://x/y>"
    lines = (frozenset({1}), frozenset({2}))
    pair = Pair(("<b>anna", "=bert"), (AlikeAnswer("mean", 0.754, 9.0, lines),))
    answers = {"<b>anna": {"mean": evil}, "=bert": {"mean": evil}}
    page = likeness_page.make_page(LESSON, [pair], answers)
    assert "Likeness is no proof" in page
    assert "mean, 75%" in page
    assert page.count('<span class="shared">&lt;script&gt;') == 1
    assert page.count('<span class="shared">&lt;img') == 1
    assert page.count("<span>") == 2
    for tag in ("<script", "<img", "<b>", "src=http://x/y>"):
        assert tag not in page
    assert likeness_page.to_table([pair]).splitlines()[1] == '"<b>anna","\'=bert","mean","0.75"'


def test_a_page_without_pairs_says_so():
    assert "3 submissions were compared; no two are alike" in likeness_page.make_page(
        LESSON, [], {"a": {}, "b": {}, "c": {}}
    )


def test_the_page_shows_the_first_pairs_and_counts_the_others():
    lines = (frozenset({1}), frozenset({1}))
    pairs = [Pair(("a", "b"), (AlikeAnswer("mean", 1, 9.0, lines),))] * 60
    page = likeness_page.make_page(LESSON, pairs, {"a": {"mean": "x"}, "b": {"mean": "x"}})
    assert page.count("<h2") == likeness_page.MOST_PAIRS
    assert "10 more pairs" in page


def test_the_command_compares_a_graded_cohort(tunebook, tmp_path):
    texts = {"anna": ONE, "bert": RENAMED, **{f"s{n}": t for n, t in enumerate(OTHERS)}}
    for student, text in texts.items():
        one = grade.Result(student, "graded", 1, 1, answers={"mean_loss": text})
        path = grade.result_path(tmp_path, student)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(one)), "utf-8")
    cohorts.save(cohorts.Cohort(LESSON, {"mean_loss": 1}, (), tuple(texts)), tmp_path)
    done = tunebook("homework", "likeness", tmp_path)
    assert done.status == 0, done.err
    assert "Submissions compared: 6. Alike pairs: 1, " in done.out
    assert "anna and bert" in (tmp_path / "likeness.html").read_text("utf-8")
    assert '"anna","bert","mean_loss","1.00"' in (tmp_path / "likeness.csv").read_text("utf-8")

"""Each exercise: the answer passes, the stub fails, every wrong answer is told what is wrong."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.files import REPO_DIR
from course_lib.homework import lessons, make, pack, wire
from course_lib.homework.checks import Wrong
from tests.homework import answers

LESSONS = list(lessons.MODULES)
ZOO = [
    (lesson, wrong)
    for lesson in LESSONS
    for wrong in lessons.load_wrong_answers(lessons.SOLUTIONS_DIR / lesson)
]
CHECKS = [(lesson, check) for lesson in LESSONS for check in answers.all_checks(lesson)]
each_lesson = pytest.mark.parametrize("lesson", LESSONS)
each_check = pytest.mark.parametrize(
    ("lesson", "check"), CHECKS, ids=[f"{c.name}-{c.body.__name__}" for _, c in CHECKS]
)


@each_check
def test_the_answer_passes(lesson, check):
    names = answers.notebook_names(lessons.SOLUTIONS_DIR / lesson / lessons.NOTEBOOK_NAME)
    outcome = check.run(answers.make_ask(check, names))
    assert (outcome.status, outcome.message, outcome.points) == ("right", "", check.points)


@each_check
def test_the_blank_stub_is_not_started(lesson, check):
    names = answers.notebook_names(lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME)
    outcome = check.run(answers.make_ask(check, names))
    assert (outcome.status, outcome.points) == ("not started", 0)


@each_check
def test_a_function_that_hands_back_nothing_fails(lesson, check):
    names = {check.name: lambda *args: None}
    assert check.run(answers.make_ask(check, names)).status == "wrong"


@pytest.mark.parametrize(
    ("lesson", "wrong"), ZOO, ids=[f"{w.question}: {w.mistake}" for _, w in ZOO]
)
def test_a_wrong_answer_is_rejected_with_its_message(lesson, wrong):
    names = answers.namespace_of(wrong.code)
    checks = [c for c in answers.all_checks(lesson) if c.name == wrong.question]
    outcomes = [c.run(answers.make_ask(c, names)) for c in checks]
    messages = [outcome.message for outcome in outcomes if outcome.status == "wrong"]
    assert messages
    assert wrong.message in messages[0]


@each_lesson
def test_each_question_has_three_wrong_answers_and_a_hint(lesson):
    for name, check in lessons.visible_checks(lesson).items():
        assert sum(w.question == name for _, w in ZOO) >= 3
        assert check.hints


def test_no_two_lessons_share_a_question():
    names = [name for lesson in LESSONS for name in lessons.visible_checks(lesson)]
    assert len(names) == len(set(names))


CALLED = [(lesson, check) for lesson, check in CHECKS if not check.is_measured]


@pytest.mark.parametrize(
    ("lesson", "check"), CALLED, ids=[f"{c.name}-{c.body.__name__}" for _, c in CALLED]
)
@pytest.mark.parametrize("place", [0, -1])
def test_handing_back_what_was_given_is_no_answer(lesson, check, place):
    assert check.run(lambda name, *args: args[place]).status == "wrong"


HIDDEN = [(x, c) for x, c in CALLED if c is not lessons.visible_checks(x).get(c.name)]


@pytest.mark.parametrize(("lesson", "check"), HIDDEN, ids=[c.body.__name__ for _, c in HIDDEN])
def test_learning_the_visible_cases_by_heart_is_no_answer(lesson, check):
    visible = lessons.visible_checks(lesson)[check.name]
    names = answers.notebook_names(lessons.SOLUTIONS_DIR / lesson / lessons.NOTEBOOK_NAME)
    right, seen = answers.make_ask(visible, names), {}

    def learn(name, *args):
        return seen.setdefault(json.dumps(wire.encode(list(args))), right(name, *args))

    def repeat(name, *args):
        return seen.get(json.dumps(wire.encode(list(args))), next(iter(seen.values())))

    assert visible.run(learn).status == visible.run(repeat).status == "right"
    assert check.run(repeat).status == "wrong"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.sampled_from(["input_ids", "position_ids", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@each_check
@settings(max_examples=40)
@given(answer=PLAIN)
def test_no_answer_breaks_a_check(lesson, check, answer):
    with contextlib.suppress(Wrong):
        check.body(lambda *args: answer)


# ---------------------------------------------------------------- from solutions to exercises


@each_lesson
def test_exercises_are_what_solutions_make(lesson):
    assert make.find_differences(lesson) == []


def test_no_line_of_an_answer_stands_where_learners_look():
    assert sum(len(pack.answer_lines(lesson)) for lesson in LESSONS) > 40
    folders = ("exercises", "notebooks", "course_lib", "docs")
    paths = [path for folder in folders for path in (REPO_DIR / folder).rglob("*")]
    looked_at = [p for p in paths if p.suffix in (".py", ".ipynb", ".md")]
    assert pack.find_leaks(p.relative_to(REPO_DIR).as_posix() for p in looked_at) == []

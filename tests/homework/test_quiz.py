"""Quizzes: their files, the order of choices, what an answer gets, and what is written down."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import DataError, UnknownNameError
from course_lib.files import REPO_DIR
from course_lib.homework import progress, quiz

NOTEBOOKS = sorted(path.stem for path in (REPO_DIR / "notebooks").glob("*.ipynb"))
ONE = {
    "name": "sum",
    "text": "What is 1 + 1?",
    "choices": [
        {"text": "2", "why": "One and one.", "is_right": True},
        {"text": "3", "why": "One too many."},
        {"text": "11", "why": "That is one behind the other."},
    ],
}
SEVERAL = {
    "name": "even",
    "text": "Which are even?",
    "several": True,
    "choices": [
        {"text": "2", "why": "Two is.", "is_right": True},
        {"text": "4", "why": "Four is.", "is_right": True},
        {"text": "5", "why": "Five is odd."},
        {"text": "7", "why": "Seven is odd."},
    ],
}
each_quiz = pytest.mark.parametrize("lesson", quiz.lesson_names())


@pytest.fixture
def folder(tmp_path):
    """A folder with one quiz, of two questions."""
    made = tmp_path / "quiz"
    made.mkdir()
    write(made, {"title": "Sums", "questions": [ONE, SEVERAL]})
    return made


def write(folder, values):
    text = values if isinstance(values, str) else yaml.safe_dump(values)
    (folder / "07_sums.yaml").write_text(text, "utf-8")


def letters_of(question, texts):
    """The letters that choices have where they are shown."""
    shown = [choice.text for choice in quiz.in_order(question)]
    return "".join(quiz.LETTERS[shown.index(text)] for text in texts)


def give(folder, name, *texts):
    asked = quiz.find_question(quiz.load_quiz("07", folder), name)
    return quiz.answer("07", name, letters_of(asked, texts), folder=folder)


# ------------------------------------------------------------ the course's own


def test_every_lesson_has_a_quiz_and_every_quiz_a_lesson():
    assert quiz.lesson_names() == NOTEBOOKS


@each_quiz
def test_a_quiz_has_4_to_6_questions_with_3_choices_or_more(lesson):
    questions = quiz.load_quiz(lesson).questions
    assert 4 <= len(questions) <= 6
    assert all(len(question.choices) >= 3 for question in questions)


@each_quiz
def test_each_choice_has_an_explanation_of_its_own(lesson):
    for question in quiz.load_quiz(lesson).questions:
        whys = [choice.why for choice in question.choices]
        assert len(set(whys)) == len(whys)
        assert all(len(why.split()) >= 5 for why in whys)


def test_neither_length_nor_place_gives_the_right_choice_away():
    single = [q for n in NOTEBOOKS for q in quiz.load_quiz(n).questions if not q.several]
    places, longest = [], 0
    for question in single:
        shown = quiz.in_order(question)
        (place,) = (n for n, choice in enumerate(shown) if choice.is_right)
        places.append(place)
        longest += max(shown, key=lambda choice: len(choice.text)).is_right
    assert longest <= len(single) / 2
    assert max(places.count(place) for place in places) <= len(single) / 2


@each_quiz
def test_a_choice_is_plain_and_short_enough_for_a_line(lesson):
    for question in quiz.load_quiz(lesson).questions:
        for choice in question.choices:
            assert not re.search(r"[`*\n]", choice.text), choice.text
            assert len(choice.text) <= 90, choice.text


# ------------------------------------------------------------------- the file


def change(where, **values):
    """A quiz of one question, changed at one place: of itself, its question or its 2nd choice."""
    made = {"title": "Sums", "questions": [{**ONE, "choices": [dict(c) for c in ONE["choices"]]}]}
    place = {"quiz": made, "question": made["questions"][0]}
    place["choice"] = made["questions"][0]["choices"][1]
    place[where].update(values)
    return made


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (change("question", text=" "), r"question 1 \(sum\), text: there is only blank space"),
        (change("question", name="Big Sum"), r"question 1 \(Big Sum\), name: small letters"),
        (change("question", text=4), r"question 1 \(sum\), text: input should be a valid string"),
        (change("question", severl=True), r"\(sum\), severl: unknown field; did you mean several"),
        (change("choice", wy="x"), r"\(sum\), choice 2, wy: unknown field; did you mean why"),
        (change("choice", is_right="yes"), r"choice 2, is_right: input should be a valid boolean"),
        (change("choice", is_right=True), r"\(sum\): choices: 2 are right; add several: true"),
        (change("choice", text="2"), r"\(sum\): choices: two have the same text"),
        (change("question", choices=ONE["choices"][1:]), r"\(sum\): choices: none has is_right"),
        (change("question", several=True, choices=SEVERAL["choices"][:2]), "all are right"),
        (change("question", choices=ONE["choices"][:1]), r"\(sum\), choices: .* at least 2 items"),
        (change("quiz", questions=[ONE, ONE]), "questions: two are called sum"),
        (change("quiz", questions=["sum"]), "question 1: input should be a valid dictionary"),
        (change("quiz", questions=[]), "questions: .* at least 1 item"),
        (change("quiz", titel="x"), "titel: unknown field; did you mean title"),
        ({"title": "Sums"}, "questions: field required"),
        ("- a\n- b\n", r"07_sums.yaml holds list\.\n"),
        ("title: [", "07_sums.yaml is not YAML"),
        ("title: a\ntitle: b\n", "line 2: title is set already in line 1"),
        ("title: \xff", None),
    ],
)
def test_a_broken_file_is_told_in_one_error_with_question_and_field(folder, values, said):
    write(folder, values)
    if said is None:
        (folder / "07_sums.yaml").write_bytes(b"title: \xff")
        said = "07_sums.yaml is not YAML"
    with pytest.raises(DataError, match=said) as caught:
        quiz.load_quiz("07_sums", folder)
    assert "07_sums.yaml" in caught.value.message
    assert caught.value.next_step


def test_all_broken_rules_are_told_at_once(folder):
    values = change("choice", why="")
    values["questions"].append({**SEVERAL, "text": ""})
    write(folder, values)
    with pytest.raises(DataError, match="2 problems") as caught:
        quiz.load_quiz("07", folder)
    assert "question 1 (sum), choice 2, why" in caught.value.message
    assert "question 2 (even), text" in caught.value.message


# ------------------------------------------------------------------- the order


def test_the_order_of_choices_is_the_same_each_time_and_another_with_another_seed():
    question = quiz.Question.model_validate(SEVERAL)
    orders = {seed: [c.text for c in quiz.in_order(question, seed)] for seed in range(6)}
    assert [c.text for c in quiz.in_order(question)] == orders[0]
    assert len({tuple(order) for order in orders.values()}) > 2
    assert all(sorted(order) == ["2", "4", "5", "7"] for order in orders.values())


def test_letters_go_with_the_seed_that_shows_them(folder):
    asked = quiz.load_quiz("07", folder).questions[0]
    for seed in range(4):
        shown = [choice.text for choice in quiz.in_order(asked, seed)]
        letter = quiz.LETTERS[shown.index("2")]
        assert f"{letter}) 2" in quiz.labels(asked, seed)
        assert quiz.answer("07", 1, letter, seed, folder).is_right


# ------------------------------------------------------------------- answering


def test_a_wrong_answer_gets_its_own_explanation_and_no_other(folder):
    feedback = give(folder, "sum", "11")
    assert not feedback.is_right
    assert feedback.text.startswith("Not yet.")
    assert "That is one behind the other." in str(feedback)
    assert "One and one." not in str(feedback)
    assert "One too many." not in str(feedback)


def test_a_right_answer_gets_its_explanation_and_then_the_others(folder):
    feedback = give(folder, "sum", "2")
    assert feedback.is_right
    assert feedback.text.startswith("Right.")
    assert "One and one." in feedback.text
    assert "One too many." in feedback.others
    assert "One and one." not in feedback.others


@pytest.mark.parametrize(
    ("chosen", "is_right", "said"),
    [
        (["2", "4"], True, "Right."),
        (["2"], False, "Right so far, and something is missing."),
        (["2", "5"], False, "Not yet: a part of it is right."),
        (["2", "4", "5"], False, "Not yet: a part of it is right."),
        (["5", "7"], False, "Not yet."),
    ],
)
def test_where_several_are_right_all_of_them_and_no_other_count(folder, chosen, is_right, said):
    feedback = give(folder, "even", *chosen)
    assert feedback.is_right == is_right
    assert feedback.text.splitlines()[0] == said
    assert len(feedback.text.splitlines()) == 1 + len(chosen)


@given(st.sets(st.sampled_from(["2", "4", "5", "7"]), min_size=1))
def test_an_answer_is_right_for_exactly_the_right_choices(chosen):
    question = quiz.Question.model_validate(SEVERAL)
    picked = [choice for choice in question.choices if choice.text in chosen]
    assert quiz.judge(question, picked).is_right == (chosen == {"2", "4"})


def test_tries_are_counted_up_to_the_first_right_one_and_right_stays_right(folder):
    chosen = ("3", "3", "2", "11", "2")
    assert [give(folder, "sum", text).tries for text in chosen] == [1, 2, 3, 3, 3]
    assert progress.summarise_quiz("07_sums", ["sum", "even"]) == [
        {"question": "sum", "done": True, "tries": 3},
        {"question": "even", "done": False, "tries": 0},
    ]


@pytest.mark.parametrize("way", ["ab", "b, a", "B A", "(a);(b)", "aab"])
def test_letters_may_be_written_in_many_ways(folder, way):
    asked = quiz.load_quiz("07", folder).questions[1]
    wanted = letters_of(asked, ["2", "4"])
    typed = way.translate(
        str.maketrans(
            {"a": wanted[0], "b": wanted[1], "A": wanted[0].upper(), "B": wanted[1].upper()}
        )
    )
    assert quiz.answer("07", "even", typed, folder=folder).is_right


@pytest.mark.parametrize(
    ("question", "choice", "error", "said"),
    [
        ("sum", "d", DataError, "Choose from a, b, c"),
        ("sum", "", DataError, "Choose from a, b, c"),
        ("sum", "ab", DataError, "sum takes one"),
        ("sun", "a", UnknownNameError, "Did you mean sum"),
        (0, "a", UnknownNameError, "'0'"),
        (3, "a", UnknownNameError, "'3'"),
    ],
)
def test_a_strange_answer_is_told_and_not_counted(folder, question, choice, error, said):
    with pytest.raises(error, match=said):
        quiz.answer("07", question, choice, folder=folder)
    assert progress.read_progress() == []


def test_a_lesson_without_a_quiz_is_told(folder):
    with pytest.raises(UnknownNameError, match="lesson with a quiz called '08'"):
        quiz.load_quiz("08", folder)


def test_as_text_a_quiz_has_all_questions_and_choices_and_no_explanation(folder):
    text = quiz.to_text("07", folder)
    asked = quiz.load_quiz("07", folder).questions
    assert [line for line in text.splitlines() if line.startswith(("1.", "2."))] == [
        "1. What is 1 + 1?",
        "2. Which are even?",
    ]
    assert text.count(quiz.SEVERAL) == 1
    for question in asked:
        assert all(f"   {label}\n" in f"{text}\n" for label in quiz.labels(question))
        assert not any(choice.why in text for choice in question.choices)


def test_a_line_break_in_a_question_is_none_of_its_text_but_in_code(folder):
    code = {**ONE, "text": "Two lines\nof text:\n\n```\na = 1\nb = 2\n```\n"}
    write(folder, {"title": "Sums", "questions": [code]})
    asked = quiz.load_quiz("07", folder).questions[0]
    assert quiz.ask(asked) == "Two lines of text:\n\n```\na = 1\nb = 2\n```"

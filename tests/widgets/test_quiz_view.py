"""The quiz in a notebook: answer, read why, try again; escaped; a twin that gives nothing away."""

import ipywidgets as w
import pytest
import yaml

from course_lib.errors import UnknownNameError
from course_lib.homework import progress, quiz
from course_lib.widgets import quiz_view
from tests.widgets import hostile

QUIZ = {
    "title": "Sums",
    "questions": [
        {
            "name": "sum",
            "text": "What is `1 + 1`?",
            "choices": [
                {"text": "two", "why": "One and one.", "is_right": True},
                {"text": "three", "why": "One too many."},
                {"text": "eleven", "why": "One behind the other."},
            ],
        },
        {
            "name": "even",
            "text": "Which are even?",
            "several": True,
            "choices": [
                {"text": "2", "why": "Two is.", "is_right": True},
                {"text": "4", "why": "Four is.", "is_right": True},
                {"text": "5", "why": "Five is odd."},
            ],
        },
    ],
}


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """A progress file of the test's own."""
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.jsonl"))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, QUIZ)
    return tmp_path


def write(folder, values):
    (folder / "07_sums.yaml").write_text(yaml.safe_dump(values), "utf-8")


@pytest.fixture
def view(folder):
    return quiz_view.QuizView("07", folder)


def choose(view, *texts):
    """Choose by text, and click on Answer."""
    shown = [c.text for c in quiz.in_order(view.quiz.questions[view.number])]
    view.choices[view.number].choose("".join(quiz.LETTERS[shown.index(text)] for text in texts))
    view.answer.click()


def text_of(view):
    """All that the panel says, as text."""
    parts = (view.heading, view.text, view.message, view.stand)
    return "\n".join(hostile.look(part.value)[0] for part in parts)


def test_it_opens_with_the_first_question_and_nothing_chosen(view):
    assert "Quiz: Sums. Question 1 of 2" in text_of(view)
    assert "<code>1 + 1</code>" in view.text.value
    (radio,) = view.choices[0].boxes
    assert radio.index is None
    assert sorted(label[3:] for label in radio.options) == ["eleven", "three", "two"]
    assert [label[:3] for label in radio.options] == ["a) ", "b) ", "c) "]
    assert quiz_view.WELCOME in text_of(view)


def test_without_a_choice_nothing_is_counted(view):
    view.answer.click()
    assert quiz_view.CHOOSE in text_of(view)
    assert progress.read_progress() == []


def test_wrong_then_right_each_with_its_explanation(view):
    choose(view, "eleven")
    assert "⚠ Not yet." in text_of(view)
    assert "One behind the other." in text_of(view)
    assert "One and one." not in text_of(view)
    assert "Tries at this question: 1. 0 of 2 answered right." in text_of(view)
    choose(view, "two")
    assert "✓ Right." in text_of(view)
    assert "Tries at this question: 2. 1 of 2 answered right." in text_of(view)
    assert "<summary>The other choices</summary>" in view.message.value
    assert "One too many." in view.message.value
    choose(view, "three")  # looking around costs nothing
    assert "Tries at this question: 2. 1 of 2 answered right." in text_of(view)


def test_the_same_answer_twice_counts_once(view):
    choose(view, "three")
    view.answer.click()
    assert "Tries at this question: 1." in text_of(view)


def test_where_several_are_right_one_ticks_boxes(view):
    view.next.click()
    assert "More than one may be right." in text_of(view)
    assert all(isinstance(box, w.Checkbox) for box in view.choices[1].boxes)
    choose(view, "2")
    assert "something is missing" in text_of(view)
    choose(view, "2", "4")
    assert "✓ Right." in text_of(view)


def test_turning_pages_goes_round_and_keeps_what_was_said(view):
    choose(view, "three")
    view.next.click()
    assert "Question 2 of 2" in text_of(view)
    assert "One too many." not in text_of(view)
    view.next.click()
    assert "One too many." in text_of(view)
    view.back.click()
    assert "Question 2 of 2" in text_of(view)


def test_opened_again_it_goes_on_at_the_first_open_question(view, folder):
    choose(view, "two")
    again = quiz_view.QuizView("07_sums", folder)
    assert "Question 2 of 2" in text_of(again)
    assert "1 of 2 answered right." in text_of(again)
    again.back.click()
    assert quiz_view.DONE_BEFORE in text_of(again)


def test_the_twin_has_every_choice_no_answer_and_is_the_same_for_everybody(view):
    before = view._repr_mimebundle_()
    for text in ("eleven", "two"):
        choose(view, text)
    after = view._repr_mimebundle_()
    for kind in ("text/plain", "text/html"):
        assert after[kind] == before[kind]
        for question in QUIZ["questions"]:
            assert all(choice["text"] in after[kind] for choice in question["choices"])
            assert not any(choice["why"] in after[kind] for choice in question["choices"])
    assert 'print(quiz.answer("07_sums", 1, "a"))' in after["text/plain"]


def test_each_control_has_a_name(view):
    for button in (view.answer, view.back, view.next):
        assert button.description
    assert all(box.description for box in view.choices[1].boxes)
    assert 'role="heading"' in view.heading.value
    assert 'role="status"' in view.stand.value


# YAML holds no half a character, and the reader refuses it
@pytest.mark.parametrize("kind", [kind for kind in hostile.TEXTS if kind != "half a character"])
def test_texts_of_a_quiz_run_nowhere(folder, kind):
    text = hostile.TEXTS[kind][:300]
    wrong = {"text": f"x {text}", "why": f"why {text}"}
    right = {"text": f"y {text}", "why": f"because {text}", "is_right": True}
    question = {"name": "a", "text": f"? {text}", "choices": [right, wrong]}
    write(folder, {"title": f"T {text}", "questions": [question]})
    view = quiz_view.QuizView("07", folder)
    choose(view, view.quiz.questions[0].choices[0].text)
    shown = [part.value for part in (view.heading, view.text, view.message, view.stand)]
    for page in [*shown, view.static().html]:
        assert hostile.look(page)[1] == []
    assert not any(box.description_allow_html for box in view.choices[0].boxes)


def test_a_lesson_without_a_quiz_is_told():
    with pytest.raises(UnknownNameError, match="lesson with a quiz"):
        quiz_view.QuizView("99")

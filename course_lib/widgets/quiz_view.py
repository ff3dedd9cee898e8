"""A lesson's quiz in a notebook: one question at a time, an explanation for each choice."""

from pathlib import Path

import ipywidgets as w

from course_lib.homework import progress, quiz
from course_lib.teaching import display, markdown
from course_lib.widgets import round_trip, style

AUTO = w.Layout(width="auto")
WELCOME = "Try as often as you like: tries are counted, and cost nothing."
CHOOSE = "Choose an answer first."
DONE_BEFORE = "You had this one right already."


class Choices(w.VBox):
    """The choices of a question: radio buttons, or boxes to tick where several may be right.

    Args:
        question: whose.
    """

    def __init__(self, question: quiz.Question) -> None:
        labels = quiz.labels(question)
        self.boxes: list[w.Widget] = [w.RadioButtons(options=labels, index=None, layout=AUTO)]
        if question.several:
            self.boxes = [w.Checkbox(description=t, indent=False, layout=AUTO) for t in labels]
        super().__init__(self.boxes)
        self.add_class("tb-choices")

    @property
    def letters(self) -> str:
        """What is chosen, such as "b" or "ac"; empty when nothing is."""
        if isinstance(self.boxes[0], w.RadioButtons):
            chosen = [self.boxes[0].index]
        else:
            chosen = [place for place, box in enumerate(self.boxes) if box.value]
        return "".join(quiz.LETTERS[place] for place in chosen if place is not None)

    def choose(self, letters: str) -> None:
        """Choose as if by clicks.

        Args:
            letters: such as "b" or "ac".
        """
        places = [quiz.LETTERS.index(letter) for letter in letters]
        if isinstance(self.boxes[0], w.RadioButtons):
            self.boxes[0].index = places[0]
            return
        for place, box in enumerate(self.boxes):
            box.value = place in places


class QuizView(style.Panel):
    """A quiz: answer, read why, try again; nothing is punished, and progress is kept.

    Args:
        lesson: such as 00_start or 00.
        folder: of the quizzes.

    Raises:
        UnknownNameError: the lesson has no quiz.
        DataError: its file breaks rules.
    """

    def __init__(self, lesson: str, folder: Path = quiz.QUIZ_DIR) -> None:
        self.lesson, self._folder = quiz.find_lesson(lesson, folder), folder
        self.quiz = quiz.load_quiz(self.lesson, folder)
        self.choices = [Choices(question) for question in self.quiz.questions]
        self._answers = [""] * len(self.choices)  # the last one to each, so that none counts twice
        self._said = [""] * len(self.choices)
        self.heading, self.text, self.stand = w.HTML(), w.HTML(), w.HTML()
        self.message = w.HTML()
        self.round_trip = trip = round_trip.RoundTrip()
        self.answer = round_trip.Button(trip, description="Answer", layout=AUTO)
        self.back = round_trip.Button(trip, description="Previous question", layout=AUTO)
        self.next = round_trip.Button(trip, description="Next question", layout=AUTO)
        self.answer.on_click(lambda _: self._answer())
        self.back.on_click(lambda _: self._turn(-1))
        self.next.on_click(lambda _: self._turn(1))
        self._place = w.VBox()
        line = w.HBox([self.answer, self.back, self.next], layout=w.Layout(flex_flow="row wrap"))
        children = [self.heading, self.text, self._place, line, self.message, self.stand]
        super().__init__(children, self.static)
        open_ones = [n for n, row in enumerate(self._rows()) if not row["done"]]
        self.number = open_ones[0] if open_ones else 0
        self._show()

    def _rows(self) -> list[dict]:
        names = [question.name for question in self.quiz.questions]
        return progress.summarise_quiz(self.lesson, names)

    def _turn(self, by: int) -> None:
        self.number = (self.number + by) % len(self.choices)
        self._show()

    def _show(self) -> None:
        """Show the question that it is at, with what was said to its answer."""
        asked, count = self.quiz.questions[self.number], len(self.choices)
        title = f"Quiz: {self.quiz.title}. Question {self.number + 1} of {count}"
        self.heading.value = style.heading(title)
        self.text.value = f'<div class="tb-line">{markdown.render(quiz.ask(asked))}</div>'
        self._place.children = [self.choices[self.number]]
        said = self._said[self.number]
        if not said and self._rows()[self.number]["done"]:
            said = style.line(DONE_BEFORE, "ok")
        self.message.value = said
        self._count()

    def _answer(self) -> None:
        letters = self.choices[self.number].letters
        if not letters:
            self.message.value = style.line(CHOOSE, "muted")
            return
        if letters != self._answers[self.number]:
            name = self.quiz.questions[self.number].name
            self._answers[self.number] = letters
            feedback = quiz.answer(self.lesson, name, letters, folder=self._folder)
            self._said[self.number] = _said_html(feedback)
        self.message.value = self._said[self.number]
        self._count()

    def _count(self) -> None:
        rows = self._rows()
        done, tries = sum(row["done"] for row in rows), rows[self.number]["tries"]
        words = [f"{done} of {len(rows)} answered right."]
        words.insert(0, f"Tries at this question: {tries}." if tries else WELCOME)
        self.stand.value = style.line(" ".join(words), "muted")

    def static(self) -> display.HtmlView:
        """The questions with their choices and nothing to click.

        No answer is in it, whatever was clicked: what a notebook stores is the same for everybody.
        """
        count = f"Quiz: {self.quiz.title}. {len(self.choices)} questions"
        call = f'print(quiz.answer("{self.lesson}", 1, "a"))'
        how = "To answer, run this cell in JupyterLab. Or in Python, question 1, choice a:"
        code = f"from course_lib.homework import quiz\n{call}"
        items = "".join(
            f"<li>{markdown.render(quiz.ask(question))}"
            f"<p>{'<br>'.join(map(markdown.to_html, quiz.labels(question)))}</p></li>"
            for question in self.quiz.questions
        )
        shown = f"<p><strong>{markdown.to_html(count)}</strong></p><ol>{items}</ol>"
        shown += f"<p>{how}</p><pre>{markdown.to_html(code).replace('<br>', chr(10))}</pre>"
        text = quiz.to_text(self.lesson, self._folder)
        return display.HtmlView(shown, f"{count}\n\n{text}\n\n{how}\n{code}")


def _said_html(feedback: quiz.Feedback) -> str:
    """What an answer gets; when it is right, why the other choices are not can be unfolded."""
    kind: style.Kind = "ok" if feedback.is_right else "warning"
    text = markdown.render(style.MARKS[kind] + feedback.text)
    shown = f'<div class="tb-line tb-{kind}" role="status">{text}</div>'
    if feedback.others:
        others = markdown.render(feedback.others)
        shown += f'<details class="tb-line"><summary>The other choices</summary>{others}</details>'
    return shown

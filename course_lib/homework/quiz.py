"""Quizzes: questions from a data file, an explanation for each choice, tries counted.

Nothing here needs a notebook: `answer("00_start", 1, "b")` in any Python says the same as the view.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from course_lib.errors import ConfigError, DataError, UnknownNameError, nearest
from course_lib.files import DATA_DIR
from course_lib.homework import progress
from course_lib.training import yaml_lines

QUIZ_DIR = DATA_DIR / "quiz"
LETTERS = "abcdef"
SEVERAL = "*More than one may be right.*"
TEXT = Field(min_length=1, pattern=r"\S")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Choice(_Part):
    """Something to choose, and what choosing it says about what one thinks."""

    text: str = TEXT
    why: str = TEXT
    is_right: bool = False


class Question(_Part):
    """A question; `name` stands in the progress file, so it stays when the words change."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    text: str = TEXT
    several: bool = False  # more than one choice may be right
    choices: tuple[Choice, ...] = Field(min_length=2, max_length=len(LETTERS), strict=False)

    @model_validator(mode="after")
    def _look_at_choices(self) -> "Question":
        texts = [choice.text for choice in self.choices]
        n_right = sum(choice.is_right for choice in self.choices)
        if len(set(texts)) < len(texts):
            raise ValueError("choices: two have the same text")
        if n_right == 0:
            raise ValueError("choices: none has is_right: true")
        if n_right > 1 and not self.several:
            raise ValueError(f"choices: {n_right} are right; add several: true, or leave one right")
        if n_right == len(texts):
            raise ValueError("choices: all are right, so there is nothing to choose")
        return self


class Quiz(_Part):
    """A lesson's questions, in order."""

    title: str = TEXT
    questions: tuple[Question, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _look_at_names(self) -> "Quiz":
        names = [question.name for question in self.questions]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"questions: two are called {twice[0]}; progress is kept by name")
        return self


class Verdict(NamedTuple):
    """What an answer is worth: said of the whole, and of each choice made."""

    is_right: bool
    said: str


@dataclass(frozen=True)
class Feedback:
    """What an answer gets.

    Args:
        question: its name.
        is_right: exactly the right choices were made.
        text: the verdict and the explanation of each choice made, a line each.
        tries: answers to this question up to the first right one, this one included.
        others: the explanations of all other choices; empty as long as the answer is not right.
    """

    question: str
    is_right: bool
    text: str
    tries: int
    others: str = ""

    def __str__(self) -> str:
        return "\n".join(filter(None, (self.text, self.others)))


# ------------------------------------------------------------------- reading


def lesson_names(folder: Path = QUIZ_DIR) -> list[str]:
    """The lessons that have a quiz, in order.

    Args:
        folder: of the quizzes.
    """
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find_lesson(name: str, folder: Path = QUIZ_DIR) -> str:
    """The full name of a lesson: 01 and 01_concepts mean the same.

    Args:
        name: as it was typed.
        folder: of the quizzes.

    Raises:
        UnknownNameError: no lesson with a quiz begins so.
    """
    known = lesson_names(folder)
    fits = [lesson for lesson in known if name in (lesson, lesson.split("_")[0])]
    if not fits:
        raise UnknownNameError("lesson with a quiz", name, known)
    return fits[0]


def load_quiz(lesson: str, folder: Path = QUIZ_DIR) -> Quiz:
    """A lesson's quiz.

    Args:
        lesson: its name, such as 00_start or 00.
        folder: of the quizzes.

    Raises:
        UnknownNameError: it has none.
        DataError: its file breaks rules; each is named with its question and field.
    """
    return read_quiz(folder / f"{find_lesson(lesson, folder)}.yaml")


def read_quiz(path: Path) -> Quiz:
    """Read and check a quiz.

    Args:
        path: a YAML file: `title`, and `questions` with `name`, `text`, `several` and `choices`,
            each of these with `text`, `why` and `is_right`.

    Raises:
        DataError: it cannot be read, or breaks rules; each is named with its question and field.
    """
    try:
        values = yaml_lines.read_values(yaml_lines.read_text(path), path)
    except ConfigError as error:
        found = error.message.split(", expected lines such as")[0].rstrip(".")
        raise DataError(f"{found}.", "Write it like the others in data/quiz.") from error
    try:
        return Quiz.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_explain(problem, values)}" for problem in _causes(error.errors())]
        raise DataError(
            f"{path}: {len(lines)} problem{'s' if len(lines) > 1 else ''}\n" + "\n".join(lines),
            "Mend the file; the others in data/quiz show the fields.",
        ) from error


def _causes(problems: Sequence[Any]) -> list[Any]:
    """Without lists that are too short only because what is in them is refused."""
    places = [problem["loc"] for problem in problems]

    def is_cause(problem: Any) -> bool:
        here = problem["loc"]
        inside = [place for place in places if place[: len(here)] == here and place != here]
        return problem["type"] != "too_short" or not inside

    return [problem for problem in problems if is_cause(problem)]


def _explain(problem: Any, values: dict[str, Any]) -> str:
    """A broken rule with its question and field, such as "question 2 (steps), choice 1, why"."""
    place, what = list(problem["loc"]), problem["msg"]
    where = []
    if place[:1] == ["questions"] and len(place) > 1:
        question = values["questions"][place[1]]
        name = question.get("name", "") if isinstance(question, dict) else ""
        where.append(f"question {place[1] + 1}" + (f" ({name})" if name else ""))
        place = place[2:]
        if place[:1] == ["choices"] and len(place) > 1:
            where.append(f"choice {place[1] + 1}")
            place = place[2:]
    where += [str(part) for part in place]
    if problem["type"] == "extra_forbidden":
        near = nearest(where[-1], _known_fields(len(where) - 1))
        what = "unknown field" + (f"; did you mean {' or '.join(near)}?" if near else "")
    return ": ".join(filter(None, (", ".join(where), _in_short(what))))


def _known_fields(depth: int) -> list[str]:
    return list((Quiz, Question, Choice)[min(depth, 2)].model_fields)


def _in_short(what: str) -> str:
    what = re.sub(r"^Value error, ", "", what)
    if "pattern" in what:
        return "small letters, digits and _ only" if "a-z" in what else "there is only blank space"
    return what[:1].lower() + what[1:]


# ------------------------------------------------------- asking and answering


def find_question(quiz: Quiz, question: str | int) -> Question:
    """A question by its name, or by its number from 1.

    Args:
        quiz: whose.
        question: name or number.

    Raises:
        UnknownNameError: there is none.
    """
    for number, one in enumerate(quiz.questions, 1):
        if question in (one.name, number, str(number)):
            return one
    raise UnknownNameError("question", str(question), [one.name for one in quiz.questions])


def in_order(question: Question, seed: int = 0) -> list[Choice]:
    """The choices in the order in which they are shown, the same on every machine.

    Args:
        question: whose; each question has an order of its own.
        seed: another one gives other orders.
    """
    return random.Random(f"{question.name} {seed}").sample(question.choices, len(question.choices))


def labels(question: Question, seed: int = 0) -> list[str]:
    """The choices as they are shown, each with its letter.

    Args:
        question: whose.
        seed: of their order.
    """
    shown = in_order(question, seed)
    return [f"{letter}) {one.text}" for letter, one in zip(LETTERS, shown, strict=False)]


def ask(question: Question) -> str:
    """What is asked, and whether more than one choice may be right; a little Markdown.

    Args:
        question: whose.
    """
    parts = question.text.strip().split("```")
    # a line break of the file is none of the text, but for code
    parts[::2] = [re.sub(r"(?<=\S)\n(?=\S)", " ", part) for part in parts[::2]]
    text = "```".join(parts)
    return f"{text}\n\n{SEVERAL}" if question.several else text


def to_text(lesson: str, folder: Path = QUIZ_DIR) -> str:
    """A lesson's questions with their choices, to read where nothing can be clicked.

    Args:
        lesson: such as 00_start or 00.
        folder: of the quizzes.
    """
    lines = []
    for number, question in enumerate(load_quiz(lesson, folder).questions, 1):
        lines += [f"{number}. {ask(question)}", *(f"   {label}" for label in labels(question)), ""]
    return "\n".join(lines).rstrip()


def answer(
    lesson: str, question: str | int, choice: str, seed: int = 0, folder: Path = QUIZ_DIR
) -> Feedback:
    """Answer a question and note it in the progress file.

    Args:
        lesson: such as 00_start or 00.
        question: its name, or its number from 1.
        choice: the letter of a choice as shown, such as "b"; where several may be right, "ac".
        seed: of the order in which they are shown.
        folder: of the quizzes.

    Raises:
        UnknownNameError: there is no such lesson or question.
        DataError: there is no such choice, or there are several where one is asked for.
    """
    lesson = find_lesson(lesson, folder)
    asked = find_question(load_quiz(lesson, folder), question)
    picked = _read_letters(asked, choice)
    shown = in_order(asked, seed)
    verdict = judge(asked, [shown[place] for place in picked])
    (before,) = progress.summarise_quiz(lesson, [asked.name])
    if not before["done"]:  # right stays right: what comes later is only looking around
        progress.note_quiz(lesson, asked.name, verdict.is_right)
    lines = [f"{letter}) {one.why}" for letter, one in zip(LETTERS, shown, strict=False)]
    rest = [line for place, line in enumerate(lines) if place not in picked]
    return Feedback(
        asked.name,
        verdict.is_right,
        "\n".join([verdict.said, *(lines[place] for place in picked)]),
        before["tries"] + (not before["done"]),
        "\n".join(rest) if verdict.is_right else "",
    )


def judge(question: Question, chosen: Sequence[Choice]) -> Verdict:
    """Say what an answer is worth; nothing is noted.

    Args:
        question: what was asked.
        chosen: the choices that were made.
    """
    n_wrong = sum(not choice.is_right for choice in chosen)
    n_missing = sum(choice.is_right for choice in question.choices) - len(chosen) + n_wrong
    if not n_wrong and not n_missing:
        return Verdict(True, "Right.")
    if not n_wrong:
        return Verdict(False, "Right so far, and something is missing.")
    if n_wrong < len(chosen):
        return Verdict(False, "Not yet: a part of it is right.")
    return Verdict(False, "Not yet.")


def _read_letters(question: Question, choice: str) -> list[int]:
    known = LETTERS[: len(question.choices)]
    letters = re.sub(r"[\s,;()]+", "", choice.lower())
    strange = [letter for letter in letters if letter not in known]
    if strange or not letters:
        raise DataError(
            f"{choice!r} is no choice of {question.name}.", f"Choose from {', '.join(known)}."
        )
    if len(set(letters)) > 1 and not question.several:
        raise DataError(
            f"{choice!r} are several choices; {question.name} takes one.", 'Give one, such as "a".'
        )
    return sorted({known.index(letter) for letter in letters})

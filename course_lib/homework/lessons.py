"""Which lessons have homework, and where its parts are."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from course_lib.errors import DataError, UnknownNameError
from course_lib.files import REPO_DIR
from course_lib.homework import lesson_00, lesson_01, lesson_02, lesson_03, lesson_04, lesson_05
from course_lib.homework.checks import Check

SOLUTIONS_DIR = REPO_DIR / "solutions"  # for instructors: answers, hidden checks, wrong answers
EXERCISES_DIR = REPO_DIR / "exercises"
NOTEBOOK_NAME = "exercise.ipynb"
HIDDEN_NAME, WRONG_NAME = "hidden.py", "wrong_answers.py"
MODULES = {
    "00_start": lesson_00,
    "01_concepts": lesson_01,
    "02_oasst1_qlora": lesson_02,
    "03_medqa_custom_data": lesson_03,
    "04_personal_assistant": lesson_04,
    "05_ms_agent": lesson_05,
}


@dataclass(frozen=True)
class WrongAnswer:
    """A typical wrong answer, to prove that the checks see it.

    Args:
        question: whose.
        mistake: what is wrong with it, in a few words.
        message: a part of what the learner must be told.
        code: the whole cell.
    """

    question: str
    mistake: str
    message: str
    code: str


def find_lesson(name: str) -> str:
    """The full name of a lesson: 01 and 01_concepts mean the same.

    Args:
        name: as it was typed.

    Raises:
        UnknownNameError: no lesson with homework begins so.
    """
    fits = [lesson for lesson in MODULES if lesson == name or lesson.split("_")[0] == name]
    if not fits:
        raise UnknownNameError("lesson with homework", name, MODULES)
    return fits[0]


def visible_checks(lesson: str) -> dict[str, Check]:
    """The checks that a learner can run, by question, in the order of the exercise.

    Args:
        lesson: from `find_lesson`.
    """
    return checks_in(MODULES[lesson])


def checks_in(module: ModuleType) -> dict[str, Check]:
    """All checks that a module defines, by question.

    Args:
        module: of visible or hidden checks.
    """
    return {value.name: value for value in vars(module).values() if isinstance(value, Check)}


def find_check(name: str) -> tuple[str, Check]:
    """A question's lesson and visible check.

    Args:
        name: the question.

    Raises:
        UnknownNameError: no lesson has it.
    """
    places = {n: (lesson, c) for lesson in MODULES for n, c in visible_checks(lesson).items()}
    if name not in places:
        raise UnknownNameError("question", name, places)
    return places[name]


def load_hidden(lesson_dir: Path) -> dict[str, Check]:
    """The hidden checks of a lesson; only an instructor's machine has them.

    Args:
        lesson_dir: the lesson's folder of solutions.

    Raises:
        DataError: the file is missing or cannot be run.
    """
    return checks_in(_load_file(lesson_dir / HIDDEN_NAME))


def load_wrong_answers(lesson_dir: Path) -> list[WrongAnswer]:
    """The wrong answers that the checks of a lesson must reject.

    Args:
        lesson_dir: the lesson's folder of solutions.

    Raises:
        DataError: the file is missing or cannot be run.
    """
    return list(_load_file(lesson_dir / WRONG_NAME).WRONG_ANSWERS)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise DataError(
            f"{path} does not exist.",
            "It comes with solutions/, for instructors: run this in the whole repository.",
        )
    spec = importlib.util.spec_from_file_location(f"tunebook_{path.parent.name}_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} cannot be run: {words}.", "Mend it; it is plain Python."
        ) from error
    return module

"""Check an answer in the notebook: `%check NAME`, with `--hint`, `--why`, `--raise`; `%train`."""

import argparse
import shlex
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_magic, magics_class

from course_lib.errors import TunebookError
from course_lib.homework import lessons, local, progress, trained
from course_lib.homework.checks import Outcome, Wrong
from course_lib.teaching import display, markdown

MARKS = {"right": "✓", "wrong": "✗", "not started": "·", "crashed": "✗"}


class NotRight(Exception):
    """Raised by `%check NAME --raise` after its message was shown; it shows no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"({self})"]


def check_answer(name: str, namespace: Mapping[str, Any]) -> Outcome:
    """Run a question's visible check and note it in the progress file.

    Args:
        name: the question.
        namespace: where the learner's function is.

    Returns:
        What was found.

    Raises:
        UnknownNameError: there is no such question.
    """
    lesson, check = lessons.find_check(name)
    make_ask = trained.make_ask if check.is_measured else local.make_ask
    outcome = check.run(make_ask(namespace))
    progress.note_outcome(lesson, outcome, progress.fingerprint(namespace.get(name)))
    return outcome


def hint(name: str) -> str:
    """A question's next hint, when an attempt has unlocked it.

    Args:
        name: the question.

    Raises:
        UnknownNameError: there is no such question.
    """
    return progress.next_hint(*lessons.find_check(name))


def in_words(outcome: Outcome) -> str:
    """What a check found, in a line or two for the learner.

    Args:
        outcome: from `check_answer`.
    """
    if outcome.status == "right":
        return (
            f"{MARKS['right']} {outcome.name}: all visible checks pass. "
            "More cases are tried when it is graded."
        )
    return f"{MARKS[outcome.status]} {outcome.name}, {outcome.status}: {outcome.message}"


def as_view(text: str, detail: str = "") -> display.HtmlView:
    """A message to show in a notebook.

    Args:
        text: made by a check; it may repeat what the learner's code made, so it is escaped.
        detail: a traceback, or empty.
    """
    shown = markdown.make_visible(f"{text}\n\n{detail}" if detail else text)
    body = f"<p>{markdown.mark_code(markdown.to_html(text))}</p>"
    if detail:
        body += f"<pre>{markdown.to_html(detail).replace('<br>', chr(10))}</pre>"
    return display.HtmlView(body, shown)


def train(name: str, namespace: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Train the recipe that a question's function hands back; what is wrong with it is said.

    Args:
        name: the question.
        namespace: where the learner's function is.
        say: is told what happens.

    Raises:
        UnknownNameError: there is no such question.
    """
    if not lessons.find_check(name)[1].is_measured:
        say(f"{name} needs no training: %check {name}")
        return
    try:
        trained.train_recipe(name, namespace, say)
        say(trained.describe(trained.make_ask(namespace)(name)))
    except Wrong as wrong:
        say(f"{MARKS['not started']} {name}, not trained: {wrong.message}")


class _Parser(argparse.ArgumentParser):
    """Options of a magic: a wrong line is told and ends nothing."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse where it would end the process."""
        raise UsageError(f"%check: {message}. For example: %check build_labels --hint")


@magics_class
class CheckMagics(Magics):
    """`%check` and `%train`, for `%load_ext course_lib.homework.selfcheck`."""

    @line_magic
    def check(self, line: str) -> display.HtmlView | None:
        """Check an answer.

        Args:
            line: the question's name; with `--hint` the next hint, with `--why` the traceback of
                your own code, with `--raise` an error when it is not right.
        """
        options = _parse(line)
        try:
            if options.hint:
                return as_view(hint(options.name))
            outcome = check_answer(options.name, self.shell.user_ns)
        except TunebookError as error:
            raise UsageError(str(error)) from None
        view = as_view(in_words(outcome), outcome.detail if options.why else "")
        if not options.is_raising:
            return view
        from IPython.display import display as show

        show(view)  # not handed back: nbgrader takes a cell's value for a number of points
        if outcome.status != "right":
            raise NotRight(f"{outcome.name}: {outcome.status}")
        return None

    @line_magic
    def train(self, line: str) -> None:
        """Train a recipe.

        Args:
            line: the question's name.
        """
        from IPython.display import display as show

        try:
            train(line.strip(), self.shell.user_ns, lambda text: show(as_view(text)))
        except TunebookError as error:
            raise UsageError(str(error)) from None


def _parse(line: str) -> argparse.Namespace:
    parser = _Parser(prog="%check", add_help=False)
    parser.add_argument("name")
    parser.add_argument("--hint", action="store_true")
    parser.add_argument("--why", action="store_true")
    parser.add_argument("--raise", action="store_true", dest="is_raising")
    try:
        return parser.parse_args(shlex.split(line))
    except ValueError as error:
        raise UsageError(f"%check: {error}") from error


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by `%load_ext`.

    Args:
        shell: the notebook's.
    """
    shell.register_magics(CheckMagics)

"""A button that checks an answer, for those who would rather click than type `%check`."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as w
from IPython import get_ipython

from course_lib.homework import lessons, selfcheck
from course_lib.homework.checks import Outcome
from course_lib.teaching import display, markdown
from course_lib.widgets import style

KINDS: dict[str, style.Kind] = {"right": "ok", "not started": "muted"}


class CheckButton(style.Panel):
    """Check, next hint, and the traceback of one's own code on request.

    Args:
        name: the question.
        namespace: where the learner's function is; the notebook's own names when left out.

    Raises:
        UnknownNameError: there is no such question.
    """

    def __init__(self, name: str, namespace: Mapping[str, Any] | None = None) -> None:
        lessons.find_check(name)
        self._name, self._namespace = name, namespace
        self._outcome: Outcome | None = None
        self._text = f"{name}: not checked yet"
        self.check = w.Button(description=f"Check {name}", layout=w.Layout(width="auto"))
        self.hint = w.Button(description="Hint")
        self.why = w.Button(description="Why?", disabled=True, tooltip="your code's own traceback")
        self.message, self.detail = w.HTML(), w.HTML()
        for button, action in ((self.check, self._check), (self.hint, self._hint)):
            button.on_click(lambda _, act=action: act())
        self.why.on_click(lambda _: self._why())
        buttons = w.HBox([self.check, self.hint, self.why])
        super().__init__([buttons, self.message, self.detail], self.static)

    def _names(self) -> Mapping[str, Any]:
        return get_ipython().user_ns if self._namespace is None else self._namespace

    def _check(self) -> None:
        self._outcome = selfcheck.check_answer(self._name, self._names())
        self.why.disabled = not self._outcome.detail
        self.detail.value = ""
        self._say(selfcheck.in_words(self._outcome)[2:], self._outcome.status)

    def _hint(self) -> None:
        self._say(selfcheck.hint(self._name), "not started")

    def _why(self) -> None:
        self.detail.value = style.code(self._outcome.detail if self._outcome else "", "Traceback")

    def _say(self, text: str, status: str) -> None:
        self._text = text
        # Not stored anew: the page would draw the buttons again, and the keyboard lose its place.
        self.message.value = markdown.mark_code(style.line(text, KINDS.get(status, "problem")))

    def static(self) -> display.HtmlView:
        """What the button said last, with nothing to click."""
        return selfcheck.as_view(self._text)


def check_button(name: str) -> CheckButton:
    """A button that checks a question.

    Args:
        name: the question.

    Raises:
        UnknownNameError: there is no such question.
    """
    return CheckButton(name)

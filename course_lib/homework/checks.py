"""Checks: plain Python that calls a learner's function and says what is probably wrong.

A check never sees the function itself, only `ask`: in a notebook it calls the function there, in
the grader it sends the call into a sandbox. So each check is written once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Ask = Callable[..., Any]  # ask("build_labels", segments) -> what the learner's function hands back
LARGEST = 1e300  # beyond it, sums and products overflow
Status = Literal["right", "wrong", "not started", "crashed", "needs a reader", "read"]


class Wrong(Exception):
    """The answer is not right.

    Args:
        message: what is probably wrong, in the learner's own terms; never the expected value.
        detail: more for those who ask why, such as a traceback of their own code.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.message, self.detail = message, detail


class NotStarted(Wrong):
    """The function is not there, or still raises NotImplementedError."""


class Crashed(Wrong):
    """The learner's code took too long or ended the process; nothing can be said of the answer."""


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Args:
        name: the question.
        status: told apart, because each needs another next step.
        message: one or two sentences; empty when right.
        points: reached.
        max_points: that can be reached.
        detail: a traceback of the learner's code, or empty.
    """

    name: str
    status: Status
    message: str
    points: float
    max_points: float
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """A question's check.

    Args:
        name: the question; also the name of the function that the learner writes.
        points: for a right answer.
        body: is given `ask`; raises `Wrong` or ends well.
        hints: from a nudge to nearly the answer.
        is_measured: `ask` hands back what was measured of the run that the function's recipe
            trained, not what the function hands back.
    """

    name: str
    points: float
    body: Callable[[Ask], None]
    hints: tuple[str, ...] = ()
    is_measured: bool = False

    def run(self, ask: Ask) -> Outcome:
        """Check the learner's function.

        Args:
            ask: calls it with plain data.

        Returns:
            What was found; a check that itself breaks is not caught here.
        """
        try:
            self.body(ask)
        except Wrong as wrong:
            return Outcome(
                self.name, _status_of(wrong), wrong.message, 0, self.points, wrong.detail
            )
        return Outcome(self.name, "right", "", self.points, self.points)


def _status_of(wrong: Wrong) -> Status:
    if isinstance(wrong, NotStarted):
        return "not started"
    return "crashed" if isinstance(wrong, Crashed) else "wrong"


def check(
    name: str, points: float, hints: Sequence[str] = (), is_measured: bool = False
) -> Callable[[Callable[[Ask], None]], Check]:
    """Make a function a check.

    Args:
        name: the question; also the name of the learner's function.
        points: for a right answer.
        hints: shown one by one, each after a real attempt.
        is_measured: see `Check`.

    Returns:
        A decorator for a function that is given `ask`.
    """

    def make(body: Callable[[Ask], None]) -> Check:
        return Check(name, points, body, tuple(hints), is_measured)

    return make


# ---------------------------------------------------------------- words that checks share


def require(is_fine: object, message: str) -> None:
    """Go on, or say what is wrong.

    Args:
        is_fine: must be the constant True: data from outside may hold things that only look true.
        message: for the learner.

    Raises:
        Wrong: it is anything but True.
    """
    if is_fine is not True:
        raise Wrong(message)


def require_list(value: Any, what: str) -> list[Any]:
    """A list; tuples and flat arrays are taken as lists.

    Args:
        value: what the learner's function handed back.
        what: what it should be, such as "the labels".

    Raises:
        Wrong: it is none.
    """
    if type(value).__name__ == "ndarray":
        value = value.tolist()
    if type(value) not in (list, tuple):
        raise Wrong(f"{what.capitalize()} should be a list, but {_found(value)} came back.")
    return list(value)


def require_ints(value: Any, what: str) -> list[int]:
    """A list of whole numbers.

    Args:
        value: what the learner's function handed back.
        what: what it should be, such as "the labels".

    Raises:
        Wrong: it is none.
    """
    items = require_list(value, what)
    other = [item for item in items if type(item) is not int]
    if other:
        raise Wrong(f"{what.capitalize()} should hold whole numbers; it holds {_found(other[0])}.")
    return items


def require_number(value: Any, what: str) -> float:
    """A single number, neither nan nor infinite.

    Args:
        value: what the learner's function handed back.
        what: what it should be, such as "the loss".

    Raises:
        Wrong: it is none, or nan or infinite.
    """
    if type(value).__name__ == "ndarray" and value.size == 1:
        value = value.item()
    if type(value) not in (int, float):
        raise Wrong(f"{what.capitalize()} should be one number, but {_found(value)} came back.")
    if not -LARGEST <= value <= LARGEST:  # nan too: it is neither
        raise Wrong(
            f"{what.capitalize()} is no ordinary number: something overflowed, or was divided by 0."
        )
    return float(value)


def require_text(value: Any, what: str) -> str:
    """A text.

    Args:
        value: what the learner's function handed back.
        what: what it should be, such as "the sentence".

    Raises:
        Wrong: it is none.
    """
    if type(value) is not str:
        raise Wrong(f"{what.capitalize()} should be a text, but {_found(value)} came back.")
    return value


def require_dict(value: Any, what: str, fields: Iterable[str]) -> dict[str, Any]:
    """A dict with certain fields.

    Args:
        value: what the learner's function handed back.
        what: what it should be, such as "the score".
        fields: that it must have; no others.

    Raises:
        Wrong: it is no dict, or has other fields.
    """
    if type(value) is not dict:
        raise Wrong(f"{what.capitalize()} should be a dict, but {_found(value)} came back.")
    names = list(fields)
    if set(value) != set(names):
        found = ", ".join(map(repr, value)) or "nothing"
        raise Wrong(
            f"{what.capitalize()} should have the fields {', '.join(names)}; it has {found[:80]}."
        )
    return value


def is_close(left: float, right: float, tolerance: float = 1e-6) -> bool:
    """Whether two numbers agree, up to rounding.

    Args:
        left: a number.
        right: a number.
        tolerance: share of the larger one, and at least as much as of 1.
    """
    return abs(left - right) <= tolerance * max(1.0, abs(left), abs(right))


def _found(value: Any) -> str:
    if value is None:
        return "None (is there a `return`?)"
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"

"""Each error a learner can meet: what was found, and the next step."""

import difflib
from collections.abc import Iterable


class TunebookError(Exception):
    """Base of all errors that the course raises on purpose.

    Args:
        message: what was found and where, and what was expected instead.
        next_step: what to do now; shown on a line of its own.
    """

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.next_step}" if self.next_step else self.message


class DataError(TunebookError):
    """A data file, a row or a field is not as expected."""


class NothingToLearnError(DataError):
    """Every label of a row would be ignored by the loss."""


class ConfigError(TunebookError):
    """A config has unknown keys, values of the wrong type or values out of range."""


class ModelError(TunebookError):
    """A model's files are missing, incomplete or cannot be used as asked."""


class AdapterError(TunebookError):
    """An adapter is missing or was made for another base model."""


class RunError(TunebookError):
    """A training run cannot start, resume or write its folder."""


class UnknownNameError(TunebookError):
    """A name is not in a list; the message offers the nearest ones."""

    def __init__(self, what: str, name: str, known: Iterable[str], list_command: str = "") -> None:
        known = sorted(known)
        near = nearest(name, known)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known[:12])}."
        also = f" All of them: {list_command}" if list_command else ""
        super().__init__(f"There is no {what} called {name!r}.", hint + also)


class EnvironmentProblem(TunebookError):
    """Something outside the course is missing: a package, a program, disk space."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """The options spelled most like a name, best first.

    Args:
        name: what was typed.
        options: what exists.
        count: how many to offer at most.

    Returns:
        Up to `count` options, best first; empty when none is close.
    """
    return difflib.get_close_matches(name, list(options), n=count, cutoff=0.5)

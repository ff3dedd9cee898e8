"""Ask a learner's function in the notebook's own process, by the rules of the grader."""

import copy
import ctypes
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from course_lib.homework import wire
from course_lib.homework.checks import Ask, NotStarted, Wrong

LONGEST_ERROR = 300  # characters of an error's own words
LONGEST_CALL_S = 20.0  # on the clock, as when it is graded


class _Late(BaseException):
    """A call's time is up; a learner's own `except Exception` lets it pass."""


def make_ask(namespace: Mapping[str, Any]) -> Ask:
    """Make the `ask` of a check from the names of a notebook.

    Args:
        namespace: where the learner's functions are.

    Returns:
        A function that calls one of them with copies of plain data.
    """

    def ask(name: str, *args: Any) -> Any:
        if name not in namespace:
            raise not_defined(name)
        given = copy.deepcopy(args)
        try:
            with _limited(LONGEST_CALL_S):
                answer = namespace[name](*given)
        except _Late as error:
            raise too_slow(name) from error
        except Exception as error:
            raise stopped(name, type(error).__name__, str(error), traceback.format_exc()) from error
        return judge_reply(name, args, given, answer)

    return ask


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raise `_Late` in this thread when the block takes longer.

    A check button works beside the kernel's main thread, where no interrupt reaches it, and the
    buttons of all other panels wait for it.
    """
    thread, is_over, lock = (
        ctypes.c_ulong(threading.get_ident()),
        threading.Event(),
        threading.Lock(),
    )

    def interrupt() -> None:
        with lock:
            if not is_over.is_set():
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_Late))

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            is_over.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # one that is on its way


def judge_reply(name: str, before: Any, after: Any, answer: Any) -> Any:
    """The answer as plain data, when the inputs are still what they were.

    Args:
        name: the learner's function.
        before: what the function was given.
        after: the same objects after the call.
        answer: what it handed back.

    Raises:
        Wrong: the inputs were changed, or the answer is no plain data.
    """
    try:
        is_changed = not wire.same(wire.encode(list(before)), wire.encode(list(after)))
    except wire.WireError:
        is_changed = True
    if is_changed:
        raise changed_inputs(name)
    try:
        return wire.decode(wire.encode(answer))
    except wire.WireError as error:
        raise not_plain(name, str(error)) from error


# ------------------------------------ what is said; the grader says the same


def not_defined(name: str) -> NotStarted:
    """There is no function of this name."""
    return NotStarted(f"there is no {name} yet; run the cell that defines it first.")


def stopped(name: str, kind: str, text: str, detail: str) -> Wrong:
    """The function raised an error.

    Args:
        name: the function.
        kind: the error's class.
        text: its message.
        detail: the traceback.
    """
    if kind == "NotImplementedError":
        return NotStarted("replace the line `raise NotImplementedError` by your own code.", detail)
    words = f"{kind}: {text}" if text else kind
    return Wrong(f"{name} stopped with {words[:LONGEST_ERROR]}", detail)


def too_slow(name: str) -> Wrong:
    """The function did not end in time."""
    return Wrong(
        f"{name} did not end within {LONGEST_CALL_S:g} s. Is there a loop that never ends?"
    )


def changed_inputs(name: str) -> Wrong:
    """The function changed what it was given."""
    return Wrong(
        f"{name} changes the data that it is given. Build new lists instead: "
        "the caller still needs the old ones."
    )


def not_plain(name: str, what: str) -> Wrong:
    """The function handed back something that is no plain data."""
    return Wrong(f"{name} hands back {what}.")

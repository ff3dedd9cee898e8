"""Runs a learner's cells and calls their functions, alone inside the sandbox.

It is started as a process with two pipes. It knows no expected value and no check: cells and calls
come in, plain data goes out. What a learner's code does to this process harms that submission only.
"""

import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from course_lib.homework import wire

LONGEST_TEXT = 2000  # characters of an error's words and of its traceback
LIMITS = {
    "memory": resource.RLIMIT_AS,
    "file": resource.RLIMIT_FSIZE,
    "processes": getattr(resource, "RLIMIT_NPROC", None),
    "files": resource.RLIMIT_NOFILE,
}


class TimeIsUp(BaseException):
    """Raised in the learner's code; not an Exception, so that few `except` clauses catch it."""


def main(arguments: list[str]) -> None:
    """Answer requests until the pipe ends.

    Args:
        arguments: the pipes' numbers, then the limits as JSON.
    """
    requests, replies = os.fdopen(int(arguments[0]), "rb"), os.fdopen(int(arguments[1]), "wb")
    limits = json.loads(arguments[2])
    shell = _make_shell()  # before the limits: what IPython needs is ours, not the learner's
    _set_limits(limits)
    while header := requests.read(wire.LENGTH_BYTES):
        message = wire.parse_frame(requests.read(int.from_bytes(header, "big")))
        reply = _answer(shell, message)
        try:
            wire.write_frame(replies, {**reply, "number": message["number"]})
        except (wire.WireError, ValueError) as error:
            odd = f"more than can be sent ({error})"
            wire.write_frame(replies, {"odd": odd, "number": message["number"]})


def _make_shell() -> InteractiveShell:
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    shell.showtraceback = lambda *args, **kwargs: None  # errors are sent, not printed
    shell.showsyntaxerror = lambda *args, **kwargs: None
    return shell


def _set_limits(limits: Mapping[str, int]) -> None:
    for name, value in limits.items():
        has_it = name != "memory" or sys.platform == "linux"  # macOS refuses to limit it
        if has_it and LIMITS.get(name) is not None:
            hard = resource.getrlimit(LIMITS[name])[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(LIMITS[name], (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(shell: InteractiveShell, message: Mapping[str, Any]) -> dict[str, Any]:
    try:
        with _time_limit(message["limit_s"]):
            if message["op"] == "hello":
                return {"ok": True}
            if message["op"] == "cell":
                return _run_cell(shell, message["source"])
            return _call(shell, message["name"], message["args"])
    except BaseException as error:  # whatever it is, the next request must find us here
        return _describe(error)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Stop the learner's code after so much computing; a busy machine costs nobody points."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _run_cell(shell: InteractiveShell, source: str) -> dict[str, Any]:
    done = shell.run_cell(source, store_history=False, silent=True)
    error = done.error_before_exec or done.error_in_exec
    return _describe(error) if error else {"ok": True}


def _call(shell: InteractiveShell, name: str, encoded: list[Any]) -> dict[str, Any]:
    if name not in shell.user_ns:
        return {"missing": True}
    args = [wire.decode(value) for value in encoded]
    answer = shell.user_ns[name](*args)
    try:
        is_changed = not wire.same([wire.encode(value) for value in args], encoded)
    except wire.WireError:
        is_changed = True
    if is_changed:
        return {"changed": True}
    try:
        return {"answer": wire.encode(answer)}
    except wire.WireError as error:
        return {"odd": str(error)[:LONGEST_TEXT]}


def _describe(error: BaseException) -> dict[str, Any]:
    if isinstance(error, TimeIsUp):
        return {"late": True}
    try:
        text = str(error)
        detail = "".join(traceback.format_exception(error))
    except BaseException:  # an error of the learner's own class whose __str__ fails
        text = detail = "(its message cannot be shown)"
    kind = type(error).__name__
    return {
        "error": {
            "kind": kind[:100],
            "text": text[:LONGEST_TEXT],
            "detail": detail[-LONGEST_TEXT:],
        }
    }


if __name__ == "__main__":
    main(sys.argv[1:])

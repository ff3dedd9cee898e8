"""Ask a submission's functions in boxes: a crash costs one question, a fresh box goes on."""

import time
from typing import Any

from course_lib.homework import local, wire
from course_lib.homework.box import Box, BoxError
from course_lib.homework.checks import Crashed, Wrong
from course_lib.homework.sandbox import Isolation, Limits
from course_lib.homework.submission import Plan

SLOW = "it computed for more than {:g} s"


class Runner:
    """A submission whose functions can be asked.

    Args:
        plan: its cells.
        isolation: how it is kept apart.
        limits: what it may use.
    """

    def __init__(self, plan: Plan, isolation: Isolation, limits: Limits) -> None:
        self._plan, self._isolation, self._limits = plan, isolation, limits
        self._box: Box | None = None
        self._end = time.monotonic() + limits.whole_s
        self.bad_cells: dict[int, str] = {}  # numbers in the plan: never run again
        self.cell_notes: dict[int, str] = {}

    def ask(self, name: str, *args: Any) -> Any:
        """Call a function of the learner; see `checks.Ask`.

        Args:
            name: the function.
            args: plain data.

        Raises:
            Wrong: it is not there, stopped, changed its inputs or handed back no plain data.
            Crashed: it took too long or ended the process.
            EnvironmentProblem: the sandbox does not start.
        """
        box = self._ready()
        call = {"op": "call", "name": name, "args": [wire.encode(value) for value in args]}
        limit_s = self._limits.call_s
        try:
            reply = box.request(call, limit_s, limit_s * self._limits.patience)
        except BoxError as error:
            self._box = None
            raise Crashed(f"{name} could not be graded: {error}.") from error
        return self._read(name, reply)

    def _read(self, name: str, reply: dict[str, Any]) -> Any:
        if "answer" in reply:
            try:
                return wire.decode(reply["answer"])
            except wire.WireError as error:
                raise local.not_plain(name, str(error)) from error
        if reply.get("missing") is True:
            raise local.not_defined(name)
        if reply.get("changed") is True:
            raise local.changed_inputs(name)
        if reply.get("late") is True:
            slow = SLOW.format(self._limits.call_s)
            raise Crashed(f"{name} could not be graded: {slow}.")
        if "odd" in reply:
            raise local.not_plain(name, str(reply["odd"])[: local.LONGEST_ERROR])
        raise _error_of(name, reply)

    def _ready(self) -> Box:
        """The present box, or a new one in which all cells but the guilty ones have run."""
        while self._box is None:
            if time.monotonic() > self._end:
                raise Crashed(f"the whole notebook took more than {self._limits.whole_s:g} s")
            self._box = Box(self._isolation, self._limits)  # closed by `close`, whatever follows
            self._box.wait_until_ready()
            self._run_cells(self._box)
        return self._box

    def _run_cells(self, box: Box) -> None:
        limit_s = self._limits.cell_s
        for number, source in enumerate(self._plan.sources):
            if number in self.bad_cells:
                continue
            try:
                reply = box.request(
                    {"op": "cell", "source": source}, limit_s, limit_s * self._limits.patience
                )
            except BoxError as error:
                self.bad_cells[number] = str(error)
                self._box = None
                return
            if reply.get("late") is True:
                self.cell_notes[number] = SLOW.format(limit_s)
            elif reply.get("ok") is not True:
                self.cell_notes[number] = _error_of("it", reply).message

    def notes(self) -> list[str]:
        """What happened while the cells ran, in words."""
        names = self._plan.names
        told = {n: text for n, text in self.cell_notes.items() if n not in self.bad_cells}
        return self.lost() + [f"cell {names[n]}: {text}" for n, text in told.items()]

    def lost(self) -> list[str]:
        """Which cells could not be run, in words; a part of the notes."""
        names = self._plan.names
        return [f"cell {names[n]} was left out: {text}" for n, text in self.bad_cells.items()]

    def close(self) -> None:
        """End the box."""
        if self._box is not None:
            self._box.close()
            self._box = None


def _error_of(name: str, reply: dict[str, Any]) -> Wrong:
    error = reply.get("error")
    parts = error if isinstance(error, dict) else {}
    kind, text, detail = (str(parts.get(key, "")) for key in ("kind", "text", "detail"))
    return local.stopped(name, kind or "an unknown error", text, detail)

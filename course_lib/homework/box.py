"""The trusted side: one learner's code in a process of its own, asked over a pipe.

Nothing that comes back is believed further than its form: replies have a size limit, a number and
a time limit, and hold plain data only. The process is ended as soon as one of these is broken.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from typing import Any

import psutil

from course_lib.errors import EnvironmentProblem
from course_lib.homework import sandbox, wire
from course_lib.homework.sandbox import Isolation, Limits

POLL_S = 0.2  # between two looks at the memory in use
CHUNK = 65536
START_S = 60  # on a busy machine Python and IPython take a while
MIB = 2**20


class BoxError(Exception):
    """The process ended, answered nothing in time, or broke the rules; the message says which."""


class Box:
    """A process with a learner's code.

    Args:
        isolation: how it is kept apart.
        limits: what it may use.
    """

    def __init__(self, isolation: Isolation, limits: Limits) -> None:
        self._limits, self._number = limits, 0
        inside, self._requests = os.pipe()
        self._replies, outside = os.pipe()
        worker = ["-m", "course_lib.homework.worker", str(inside), str(outside)]
        try:
            with sandbox.opened_filter(isolation) as handle:
                start = sandbox.command(isolation, limits, handle)
                self._process = subprocess.Popen(  # noqa: S603
                    [*start, *worker, json.dumps(limits.for_worker())],
                    pass_fds=(inside, outside, *([] if handle is None else [handle])),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=sandbox.environment(isolation),
                    cwd="/",
                    start_new_session=True,
                )
        finally:
            os.close(inside)
            os.close(outside)
        os.set_blocking(self._requests, False)
        os.set_blocking(self._replies, False)

    def wait_until_ready(self) -> None:
        """Wait until the worker has started; no code of a learner ran yet.

        Raises:
            EnvironmentProblem: it does not start.
        """
        try:
            self.request({"op": "hello"}, START_S, START_S)
        except BoxError as error:
            raise EnvironmentProblem(
                f"The sandbox does not start: {error}.", "Run: tunebook homework doctor"
            ) from error

    def request(self, message: Mapping[str, Any], limit_s: float, wait_s: float) -> dict[str, Any]:
        """Send one request and wait for its reply.

        Args:
            message: what the worker is to do.
            limit_s: seconds of computing that the worker allows.
            wait_s: seconds on the clock until the process is ended.

        Returns:
            The reply; its fields are checked by the caller.

        Raises:
            BoxError: see there; the box is closed then.
        """
        self._number += 1
        frame = json.dumps({**message, "limit_s": limit_s, "number": self._number}).encode("utf-8")
        end = time.monotonic() + wait_s
        try:
            self._send(len(frame).to_bytes(wire.LENGTH_BYTES, "big") + frame, end)
            size = int.from_bytes(self._receive(wire.LENGTH_BYTES, end), "big")
            if size > wire.LARGEST_FRAME:
                raise BoxError(f"the answer has more than {wire.LARGEST_FRAME // MIB} MiB")
            reply = wire.parse_frame(self._receive(size, end))
            if reply.pop("number", None) != self._number:
                raise BoxError("the code wrote into the grader's own pipe")
        except wire.WireError as error:
            self.close()
            raise BoxError("the code wrote into the grader's own pipe") from error
        except BaseException:
            self.close()
            raise
        return reply

    def _send(self, data: bytes, end: float) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._requests, selectors.EVENT_WRITE)
            while data:
                self._look(end)
                if waiting.select(POLL_S):
                    try:
                        data = data[os.write(self._requests, data[:CHUNK]) :]
                    except BrokenPipeError as error:
                        raise BoxError("the process ended") from error

    def _receive(self, count: int, end: float) -> bytes:
        parts: list[bytes] = []
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._replies, selectors.EVENT_READ)
            last_look = time.monotonic()
            while count:
                is_ready = waiting.select(POLL_S)
                if not is_ready or time.monotonic() - last_look > POLL_S:
                    self._look(end)
                    last_look = time.monotonic()
                if is_ready:
                    part = os.read(self._replies, min(count, CHUNK))
                    if not part:
                        raise BoxError("the process ended")
                    parts.append(part)
                    count -= len(part)
        return b"".join(parts)

    def _look(self, end: float) -> None:
        if time.monotonic() > end:
            raise BoxError("it took too long")
        used = 0
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    used += one.memory_info().rss
        if used > self._limits.memory_in_all:
            raise BoxError(f"more than {self._limits.memory_in_all // MIB} MiB of memory")

    def close(self) -> None:
        """End the process and everything that it started."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for one in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    one.kill()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for name in ("_requests", "_replies"):
            handle = getattr(self, name)
            if handle >= 0:
                os.close(handle)
                setattr(self, name, -1)

    def __enter__(self) -> "Box":
        self.wait_until_ready()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

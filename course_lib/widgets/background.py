"""Work beside the kernel: its cells go on answering."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable

IsOld = Callable[[], bool]


# ipykernel sends a thread's messages from another thread and forgets to look at the last ones when
# the first ends at once: the page would not hear of them before the kernel speaks again.
LINGER_S = 3.0


class _OneThread:
    """A thread that is there while there is work, and a little longer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_done = threading.Event()
        self._is_done.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when all is done; cells need not, scripts may.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            Whether all is done.
        """
        return self._is_done.wait(timeout_s)

    def _wake(self) -> None:
        """See to it that there is a thread and that it looks for work; the lock is held."""
        self._is_done.clear()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        raise NotImplementedError


class Latest(_OneThread):
    """Runs what was asked last, in a thread, once nothing new was asked for a moment.

    Args:
        delay_s: how long to wait for something newer, so that not every key starts anew.
    """

    def __init__(self, delay_s: float = 0.4) -> None:
        super().__init__()
        self.delay_s = delay_s
        self._number = 0
        self._due = 0.0
        self._work: Callable[[IsOld], None] | None = None

    def ask(self, work: Callable[[IsOld], None]) -> None:
        """Run this instead of what was asked before.

        Args:
            work: is given a question that it asks now and then: whether something newer came, so
                that it can end. It handles its own errors.
        """
        with self._changed:
            self._number += 1
            self._work, self._due = work, time.monotonic() + self.delay_s
            self._wake()

    def _run(self) -> None:
        while True:
            with self._changed:
                pause = self._due - time.monotonic() if self._work else LINGER_S
                if self._work is None:
                    self._is_done.set()
                if pause > 0:
                    was_asked = self._changed.wait(pause)
                    if self._work is None and not was_asked:
                        self._thread = None
                        return
                    continue
                work, number, self._work = self._work, self._number, None
            try:
                work(lambda number=number: self._number != number)
            except Exception:  # what is asked next must still run
                _tell()


class InTurn(_OneThread):
    """Runs what it is told in a thread, one piece of work after the other."""

    def __init__(self) -> None:
        super().__init__()
        self._todo: deque[Callable[[], None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Run this after what was told before.

        Args:
            work: handles its own errors.
        """
        with self._changed:
            self._todo.append(work)
            self._wake()

    def is_busy(self) -> bool:
        """Whether something is still to be done."""
        return not self._is_done.is_set()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._todo:
                    self._is_done.set()
                    self._changed.wait(LINGER_S)
                if not self._todo:
                    self._thread = None
                    return
                work = self._todo.popleft()
            try:
                work()
            except Exception:  # what is told next must still run
                _tell()


def _tell() -> None:
    """Tell the exception that is being handled as threads tell theirs."""
    threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))

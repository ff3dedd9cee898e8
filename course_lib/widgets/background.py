"""Work beside the kernel: its cells go on answering, and only the newest request counts."""

import sys
import threading
import time
from collections.abc import Callable

IsOld = Callable[[], bool]


class Latest:
    """Runs what was asked last, in a thread, once nothing new was asked for a moment.

    Args:
        delay_s: how long to wait for something newer, so that not every key starts anew.
    """

    def __init__(self, delay_s: float = 0.4) -> None:
        self.delay_s = delay_s
        self._lock = threading.Lock()
        self._number = 0
        self._due = 0.0
        self._work: Callable[[IsOld], None] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, work: Callable[[IsOld], None]) -> None:
        """Run this instead of what was asked before.

        Args:
            work: is given a question that it asks now and then: whether something newer came, so
                that it can end. It handles its own errors.
        """
        with self._lock:
            self._number += 1
            self._work, self._due = work, time.monotonic() + self.delay_s
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when all is done; cells need not, scripts may.

        Args:
            timeout_s: how long at most; None for as long as it takes.

        Returns:
            Whether all is done.
        """
        thread = self._thread
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._lock:
                work, number = self._work, self._number
                if work is None:
                    self._thread = None
                    return
                pause = self._due - time.monotonic()
                if pause <= 0:
                    self._work = None
            if pause > 0:
                time.sleep(pause)
                continue
            try:
                work(lambda number=number: self._number != number)
            except Exception:  # told as threads tell it; what is asked next must still run
                threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), None)))

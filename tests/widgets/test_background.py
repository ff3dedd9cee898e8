"""Work beside the kernel, without a kernel."""

import threading

from course_lib.widgets import background

WAIT_S = 20


def test_work_is_done_in_turn_and_waited_for():
    done, gate = [], threading.Event()
    worker = background.InTurn()
    assert worker.wait(0)  # nothing to do yet
    worker.do(lambda: (gate.wait(WAIT_S), done.append(1)))
    worker.do(lambda: done.append(2))
    assert worker.is_busy()
    assert not worker.wait(0.01)
    assert done == []
    gate.set()
    assert worker.wait(WAIT_S)
    assert done == [1, 2]


def test_what_fails_is_told_and_the_next_is_done(monkeypatch):
    told, done = [], []
    monkeypatch.setattr(threading, "excepthook", lambda hook: told.append(hook.exc_type))
    worker = background.InTurn()
    worker.do(lambda: 1 / 0)
    worker.do(lambda: done.append(2))
    assert worker.wait(WAIT_S)
    assert (told, done) == ([ZeroDivisionError], [2])


def test_its_thread_stays_a_moment_and_goes(monkeypatch):
    # ipykernel forgets the last messages of a thread that ends at once
    monkeypatch.setattr(background, "LINGER_S", 0.05)
    worker = background.InTurn()
    worker.do(lambda: None)
    assert worker.wait(WAIT_S)
    thread = worker._thread
    assert thread.is_alive()
    thread.join(WAIT_S)
    assert worker._thread is None
    worker.do(lambda: None)  # and comes back
    assert worker.wait(WAIT_S)

"""A pytest plugin that closes nbval's silent passes and its long wait for a dead kernel.

Without it, these pass: a cell marked NBVAL_CHECK_OUTPUT that was stored without an output to
compare with, and a cell tagged raises-exception that raises nothing. And after a kernel dies,
nbval waits for the whole cell timeout.
"""

import time
from collections.abc import Iterator
from queue import Empty

import pytest
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, coalesce_streams, find_comment_markers, find_metadata_tags

POLL_S = 1.0


def is_checked(cell) -> bool:
    """Whether a cell asks for its output to be compared, by comment or by tag."""
    asked = dict(find_metadata_tags(cell.metadata)) | dict(find_comment_markers(cell.source))
    return asked.get("check", False)


def has_output_to_compare(item: IPyNbCell) -> bool:
    """Whether nbval would compare anything: it skips unrun cells, pictures and widget ids."""
    if item.cell.execution_count is None:
        return False
    return not item.compare_outputs([], coalesce_streams(item.cell.outputs))


def _await_reply(self: RunningKernel, msg_id: str, timeout: float | None = None) -> None:
    """As nbval's own, but looks each second whether the kernel still lives."""
    end = float("inf") if timeout is None else time.monotonic() + timeout
    while True:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise Empty
        try:
            message = self.get_message(stream="shell", timeout=min(POLL_S, left_s))
        except Empty:
            if not self.is_alive():
                raise RuntimeError("The kernel died in this cell.") from None
            continue
        if message["parent_header"].get("msg_id") != msg_id:
            continue
        if message["content"]["status"] == "aborted":
            raise RuntimeError("The kernel aborted the request.")
        return


def pytest_configure() -> None:
    RunningKernel.await_reply = _await_reply


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not isinstance(item, IPyNbCell):
        return (yield)
    if is_checked(item.cell) and not has_output_to_compare(item):
        pytest.fail(
            "Marked NBVAL_CHECK_OUTPUT, but the notebook stores no output that can be compared. "
            "Run it from top to bottom and save it.",
            pytrace=False,
        )
    result = yield
    if item.options["check_exception"] and not any(
        output.output_type == "error" for output in item.test_outputs
    ):
        pytest.fail("Tagged raises-exception, but nothing was raised.", pytrace=False)
    return result

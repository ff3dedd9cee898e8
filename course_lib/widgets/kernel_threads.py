"""Messages of a page go to the thread that the page names, in each version of ipykernel."""

import sys
from typing import Any


def follow_the_page() -> None:
    """Have a kernel's widgets hear their page while a cell runs, each message in its turn.

    JupyterLab names one thread for all messages of widgets. ipykernel 7.4 sends an answer to the
    thread that spoke last instead: the first to that of the cells, where it waits for the end of
    the cell that runs, and the next ones past it. Outside a kernel nothing happens.
    """
    comms = getattr(sys.modules.get("ipykernel.comm.comm"), "BaseComm", None)
    if hasattr(comms, "_reply_subshell_for"):
        comms._reply_subshell_for = _named_by_the_page


def _named_by_the_page(comm: Any, data: Any, thread: str | None) -> str | None:
    return thread

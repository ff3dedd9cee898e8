"""Seconds from a click on Send in the chat panel until the first words are shown."""

import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import report
from course_lib.chat import arms
from course_lib.files import DATA_DIR
from course_lib.widgets.chat_panel import ChatPanel

ADAPTER = DATA_DIR / "adapters" / "ada"
QUESTION = "Who are you?"
PATIENCE_S = 120
COLD = "panel just made: the weights are still being loaded"


def first_words_s(panel: ChatPanel, name: str) -> float:
    """Click Send and wait for the first words of one arm's reply.

    Args:
        panel: the panel; may be loading still.
        name: the arm that answers.

    Returns:
        Seconds.
    """
    shown = threading.Event()

    def look(change: dict[str, Any]) -> None:
        if "…" not in change["new"] and change["new"]:
            shown.set()

    present = panel.columns[name].present
    panel.who.value = (name,)
    panel.message.value = QUESTION
    present.observe(look, "value")
    start = time.perf_counter()
    panel.send_button.click()
    assert shown.wait(PATIENCE_S), "no words came"
    seconds = time.perf_counter() - start
    present.unobserve(look, "value")
    panel.wait()
    return seconds


def run_all(repeats: int) -> dict[str, Any]:
    """Measure each arm at 16 and at 4 bits, and a panel whose weights are not there yet.

    Args:
        repeats: replies, and panels, of each kind.

    Returns:
        Plain data: for each kind its seconds in order, and their median.
    """
    first_words_s(ChatPanel("pico-chat", ADAPTER), arms.BASE)  # what the libraries load once
    seconds: dict[str, list[float]] = {}
    panel = ChatPanel("pico-chat", ADAPTER)
    for bits in (16, 4):
        panel.bits.value = bits
        panel.wait()
        for name in panel.columns:
            times = [first_words_s(panel, name) for _ in range(repeats)]
            seconds[f"{name}, {bits} bits"] = times
    cold = [first_words_s(ChatPanel("pico-chat", ADAPTER), arms.TUNED) for _ in range(repeats)]
    seconds[COLD] = cold
    return report.timings(seconds, repeats)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="replies of each kind")
    options = parser.parse_args(argv)
    result = run_all(options.repeats)
    report.show(result, report.timings_text(result, "chat panel, pico"), options.json)


if __name__ == "__main__":
    main()

"""A word to the page and back: by then everything has arrived that the page had to tell."""

from collections.abc import Callable

import ipywidgets as w


class RoundTrip:
    """Calls back once the page has told all that was typed so far.

    While a change of a box is on its way, a page holds back the next one, but not that Enter was
    pressed: the last letters would come after it. So a number goes to the page, and a link in the
    page writes it into another box, which nobody sees. What was held back is sent before that.

    Args:
        call_back: takes nothing.
    """

    def __init__(self, call_back: Callable[[], None]) -> None:
        self.there, self.back = w.IntText(), w.IntText()
        self._link = w.jsdlink((self.there, "value"), (self.back, "value"))
        self.back.observe(lambda _: call_back(), "value")

    def start(self) -> None:
        """Ask the page; without one nothing follows."""
        self.there.value += 1

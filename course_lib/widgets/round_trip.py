"""A word to the page and back: by then everything has arrived that the page had to tell."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as w


class RoundTrip:
    """Calls back once the page has told all that was typed so far.

    While a change of a box is on its way, a page holds back the next one, but not a click, nor that
    Enter was pressed: the last letters would come after it. So a number goes to the page, and a
    link in the page writes it into another box, which nobody sees. What was held back is sent
    before that.
    """

    def __init__(self) -> None:
        self.there, self.back = w.IntText(), w.IntText()
        self._link = w.jsdlink((self.there, "value"), (self.back, "value"))
        self._waiting: dict[int, Callable[[], None]] = {}  # by the number that each waits for
        self.back.observe(lambda _: self._arrive(), "value")

    def then(self, call_back: Callable[[], None]) -> None:
        """Ask the page; without one nothing follows.

        Args:
            call_back: takes nothing.
        """
        number = self.there.value + 1
        self._waiting[number] = call_back
        self.there.value = number

    def _arrive(self) -> None:
        for number in [n for n in self._waiting if n <= self.back.value]:
            self._waiting.pop(number)()


class Button(w.Button):
    """A button whose click in the page counts once all that was typed before it has arrived.

    Args:
        round_trip: of its panel.
        options: as of `ipywidgets.Button`.
    """

    def __init__(self, round_trip: RoundTrip, **options: Any) -> None:
        super().__init__(**options)
        self._round_trip = round_trip

    def _handle_button_msg(
        self, _: w.Widget, content: Mapping[str, Any], buffers: Sequence[Any]
    ) -> None:
        if content.get("event") == "click":
            self._round_trip.then(self.click)

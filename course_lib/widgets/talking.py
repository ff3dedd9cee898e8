"""What the panels of a chat and of an agent share: arms side by side, a line to type into, Stop.

The work goes on beside the kernel, so that its cells, and the Stop button, go on answering.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as w

from course_lib.chat import arms
from course_lib.teaching import display
from course_lib.widgets import round_trip, style
from course_lib.widgets.background import InTurn

REDRAW_S = 0.1  # a browser need not be told of every token
TITLES = {arms.BASE: "Base model", arms.TUNED: "Tuned model"}
WIDE = {"description_width": "8em"}
WRAPPED = {"flex_flow": "row wrap"}


@dataclass(frozen=True)
class Words:
    """What a panel calls its things.

    Args:
        line: what is typed.
        send: what is done with it.
        work: what Stop ends.
        past: what Clear forgets.
    """

    line: str
    send: str
    work: str
    past: str


class Column(w.VBox):
    """What one arm said or did.

    Args:
        name: `base` or `tuned`.
        log: what a screen reader calls it, without the arm.
        height: of the part that scrolls.
    """

    def __init__(self, name: str, log: str, height: str) -> None:
        self.name, self.label = name, f"{log} the {TITLES[name].lower()}"
        self.past, self.present = w.HTML(), w.HTML()
        talk = w.VBox([self.past, self.present])
        # Laid out from its end, a box that scrolls stays at the newest line by itself.
        scrolled = w.Layout(flex_flow="column-reverse", overflow="auto", max_height=height)
        title = w.HTML(style.heading(TITLES[name]))
        super().__init__([title, w.VBox([talk], layout=scrolled)], layout=w.Layout(flex="1 1 0"))
        self.draw("")

    def draw(self, past: str, present: str = "") -> None:
        """Show what is over, and what goes on.

        Args:
            past: HTML.
            present: HTML.
        """
        self.past.value = f'<div class="tb-line" role="log" aria-label="{self.label}">{past}</div>'
        self.draw_present(present)

    def draw_present(self, present: str) -> None:
        """Show what goes on.

        Args:
            present: HTML; empty for nothing.
        """
        self.present.value = f'<div class="tb-line">{present}</div>' if present else ""

    def forget(self) -> None:
        """Show nothing; each kind of column forgets what it holds."""
        self.draw("")


class TalkPanel(style.Panel):
    """Arms side by side, a line to type into, and the work that it starts.

    A panel says what it does with the line (`_send_line`) and what it forgets (`_forget`).

    Args:
        words: what it calls its things.
        columns: by arm.
        options: of the arms that answer, as names and tuples of arms.
    """

    def __init__(
        self,
        words: Words,
        columns: Mapping[str, Column],
        options: Sequence[tuple[str, tuple[str, ...]]],
    ) -> None:
        self.words, self.columns = words, dict(columns)
        self._background = InTurn()  # what is sent while the weights are loaded waits for them
        self._stop, self._is_talking = threading.Event(), False
        self.who = w.Dropdown(options=options, description="Answers", style=WIDE)
        self.who.observe(lambda _: self._show_columns(), "value")
        line = words.line.lower()
        self.message = w.Text(
            description=words.line,
            placeholder=f"Type a {line}, then Enter",
            style=WIDE,
            layout=w.Layout(width="auto"),
        )
        self.message.on_msg(self._typed)
        self.round_trip = round_trip.RoundTrip()
        self.send_button = round_trip.Button(
            self.round_trip,
            description=words.send,
            icon="play",
            tooltip=f"{words.send} the {line}",
        )
        self.stop_button = w.Button(
            description="Stop", icon="stop", tooltip=f"Stop the {words.work}"
        )
        self.clear_button = w.Button(
            description="Clear", icon="trash", tooltip=f"Forget the {words.past}"
        )
        self.send_button.on_click(lambda _: self._send_line())
        self.stop_button.on_click(lambda _: self._ask_to_stop())
        self.clear_button.on_click(lambda _: self._clear())
        self.stop_button.disabled = True
        self.locked: list[w.Widget] = [self.send_button, self.clear_button]  # while it works
        self.status = w.HTML()

    def lay_out(self, choices: Sequence[w.Widget], settings: Sequence[w.Widget] = ()) -> None:
        """Put the parts together; the last step of making a panel.

        Args:
            choices: controls beside the choice of arms.
            settings: rows below them.
        """
        row = w.HBox([self.who, *choices], layout=w.Layout(**WRAPPED))
        talk = w.HBox(list(self.columns.values()))
        buttons = w.HBox([self.send_button, self.stop_button, self.clear_button])
        parts = [row, *settings, talk, self.message, buttons, self.status]
        super().__init__(parts, self.static)
        self._show_columns()

    # --- what the reader does ---

    def _typed(self, widget: w.Widget, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if content.get("event") == "submit":  # Enter, which may come before the last letters
            self.round_trip.then(self._send_line)

    def _send_line(self) -> None:
        raise NotImplementedError

    def _ask_to_stop(self) -> None:
        if self._is_talking:  # else the click came late, and there is nothing left to stop
            self._say("Stopping at the next token.")
            self._stop.set()

    def _clear(self) -> None:
        if not self._is_talking:
            for column in self.columns.values():
                column.forget()
            self._forget()

    def _forget(self) -> None:
        raise NotImplementedError

    def _show_columns(self) -> None:
        for name, column in self.columns.items():
            column.layout.display = None if name in self.who.value else "none"

    # --- what goes on behind it ---

    def is_busy(self) -> bool:
        """Whether a model is being loaded or works."""
        return self._background.is_busy()

    def wait(self) -> None:
        """Return when the panel has done what it was last told; cells need not, scripts may."""
        self._background.wait()

    def ask(self, text: str) -> None:
        """Send a text as if it was typed, and wait for the end.

        Args:
            text: the message or question.
        """
        self.wait()
        self.message.value = text
        self._send_line()
        self.wait()

    def _start(self, work: Callable[[], None], is_talk: bool = False) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:  # no cell waits for it: it is shown here
                self._say_error(error)
            finally:
                if is_talk:
                    self._set_talking(False)

        if is_talk:
            self._stop.clear()
            self._set_talking(True)
        self._background.do(run)

    def _set_talking(self, is_talking: bool) -> None:
        self._is_talking = is_talking
        self.stop_button.disabled = not is_talking
        for control in self.locked:
            control.disabled = is_talking

    def _load_weights(self, both: arms.Arms, bits: int) -> None:
        if bits not in both.loaded_bits():
            self._say(f"Loading {both.base_model} in {bits} bits …")
        both.load(bits)
        self._say(f"Ready: {both.base_model} in {bits} bits.")

    def _say(self, text: str) -> None:
        self.status.value = style.line(text)

    def _say_error(self, error: Exception) -> None:
        known = str(error) if hasattr(error, "next_step") else f"{type(error).__name__}: {error}"
        self.status.value = style.line(known, "problem")

    def static(self) -> display.HtmlView:
        """What was said so far, with nothing to click."""
        raise NotImplementedError


def side_by_side(columns: Sequence[tuple[str, str, Sequence[str]]], empty: str) -> tuple[str, str]:
    """Columns without anything to click.

    Args:
        columns: for each the arm's name, its HTML and its lines of text.
        empty: stands in a column that has none.

    Returns:
        HTML and text.
    """
    cells = [
        f"<td style='vertical-align:top;text-align:left'><strong>{TITLES[name]}</strong>"
        f"{page or empty}</td>"
        for name, page, _ in columns
    ]
    texts = ["\n".join([f"{TITLES[name]}:", *(lines or [empty])]) for name, _, lines in columns]
    return f"<table><tr>{''.join(cells)}</tr></table>", "\n".join(texts)

"""Chat with the base and the tuned model in a notebook: a view of `chat.arms`."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import ipywidgets as w

from course_lib.chat import arms, generation
from course_lib.errors import ConfigError
from course_lib.teaching import display, markdown
from course_lib.training import checkpoints
from course_lib.widgets import style
from course_lib.widgets.background import InTurn

REDRAW_S = 0.1  # a browser need not be told of every token
TITLES = {arms.BASE: "Base model", arms.TUNED: "Tuned model"}
TURN_STYLE = "border-left:{}px solid;padding:2px 10px;margin:6px 0"
LONGEST_SYSTEM = 1000  # characters of the system text in the static twin
WIDE = {"description_width": "8em"}


class Column(w.VBox):
    """The talk with one arm.

    Args:
        name: `base` or `tuned`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.turns: list[dict[str, str]] = []
        self.past, self.present = w.HTML(), w.HTML()
        talk = w.VBox([self.past, self.present])
        # Laid out from its end, a box that scrolls stays at the newest line by itself.
        scrolled = w.Layout(flex_flow="column-reverse", overflow="auto", max_height="28em")
        title = w.HTML(style.heading(TITLES[name]))
        super().__init__([title, w.VBox([talk], layout=scrolled)], layout=w.Layout(flex="1 1 0"))
        self.show_past()

    def show_past(self) -> None:
        """Show the turns that are over."""
        label = f"Talk with the {TITLES[self.name].lower()}"
        turns = "".join(map(_turn_html, self.turns))
        self.past.value = f'<div class="tb-line" role="log" aria-label="{label}">{turns}</div>'
        self.present.value = ""

    def show_present(self, reply: str) -> None:
        """Show the reply that is being written."""
        turn = _turn_html({"role": self.name, "content": reply or "…"})
        self.present.value = f'<div class="tb-line">{turn}</div>'

    def add(self, role: str, content: str, note: str = "") -> None:
        """Add a turn that is over.

        Args:
            role: `user`, or the arm's name.
            content: what was said.
            note: how it ended when that is not obvious.
        """
        self.turns.append({"role": role, "content": content, "note": note})
        self.show_past()

    def forget(self) -> None:
        """Show an empty talk."""
        self.turns = []
        self.show_past()


class ChatPanel(style.Panel):
    """Talk with a model; with an adapter, ask it and its base the same thing side by side.

    Args:
        base_model: as in `loading.resolve_model`.
        adapter: an exported adapter, a checkpoint or a run folder; None for the base alone.
        bits: for each base weight, to begin with.
        both: instead of the names: arms that are there already, for example with loaded models.

    Raises:
        RunError: there is no adapter.
        AdapterError: it belongs to another base.
    """

    def __init__(
        self,
        base_model: str = "pico-chat",
        adapter: Path | str | None = None,
        bits: int = 16,
        both: arms.Arms | None = None,
    ) -> None:
        found = None if adapter is None else checkpoints.find_adapter(Path(adapter))
        self.comparison = arms.Comparison(both or arms.Arms(base_model, found))
        self.columns = {name: Column(name) for name in self.comparison.arms.names}
        self._make_controls(bits)
        self._background = InTurn()  # a message sent while the weights are loaded waits for them
        self._stop, self._is_talking = threading.Event(), False
        talk = w.HBox(list(self.columns.values()))
        buttons = w.HBox([self.send_button, self.stop_button, self.clear_button])
        choices = w.HBox([self.who, self.bits, self.more], layout=w.Layout(flex_flow="row wrap"))
        parts = [choices, self.settings, talk, self.message, buttons, self.status]
        super().__init__(parts, self.static)
        self._start(self._load)

    def _make_controls(self, bits: int) -> None:
        names = self.comparison.arms.names
        options = [(TITLES[name], (name,)) for name in names]
        if len(names) > 1:
            options.insert(0, ("Both, side by side", names))
        self.who = w.Dropdown(options=options, description="Answers", style=WIDE)
        choices = sorted({16, 4, bits}, reverse=True)
        labels = {4: "4 bits (NF4)"}
        self.bits = w.Dropdown(
            options=[(labels.get(n, f"{n} bits"), n) for n in choices],
            value=bits,
            description="Base weights",
            style=WIDE,
        )
        self._make_settings()
        self.message = w.Text(
            description="Message",
            placeholder="Type a message, then Enter",
            style=WIDE,
            layout=w.Layout(width="auto"),
        )
        self.message.on_msg(self._typed)
        self.send_button = _button("Send", "play", self._send_message, "Send the message")
        self.stop_button = _button("Stop", "stop", self._ask_to_stop, "Stop the reply")
        self.clear_button = _button("Clear", "trash", self._clear, "Forget the talk")
        self.stop_button.disabled = True
        self.status = w.HTML()
        self.who.observe(self._show_columns, "value")
        self.bits.observe(lambda _: self._start(self._load), "value")

    def _make_settings(self) -> None:
        usual = generation.GenerationSettings()
        self.system = w.Textarea(
            description="System text", style=WIDE, layout=w.Layout(width="auto"), rows=2
        )
        self.fields = {
            "temperature": w.FloatText(usual.temperature, description="Temperature", step=0.1),
            "top_p": w.FloatText(usual.top_p, description="Top-p", step=0.05),
            "max_new_tokens": w.IntText(usual.max_new_tokens, description="Max. tokens"),
            "seed": w.IntText(usual.seed, description="Seed"),
        }
        for field in self.fields.values():
            field.style, field.layout = WIDE, w.Layout(width="15em")
            field.observe(lambda _: self._read_settings(), "value")
        self.problem = w.HTML()
        numbers = w.HBox(list(self.fields.values()), layout=w.Layout(flex_flow="row wrap"))
        # Not an accordion: its titles cannot be reached by keyboard.
        self.more = w.ToggleButton(description="How it answers", icon="sliders")
        self.more.observe(lambda _: self._show_settings(), "value")
        self.settings = w.VBox([self.system, numbers, self.problem])
        self._show_settings()

    # --- what the reader does ---

    def _typed(self, widget: w.Widget, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if content.get("event") == "submit":  # Enter
            self._send_message()

    def _send_message(self, _: Any = None) -> None:
        text = self.message.value
        settings = self._read_settings()
        if self._is_talking or settings is None:
            return
        if not text.strip():
            self._say("Type a message first.")
            return
        self.comparison.settings, self.comparison.system = settings, self.system.value
        self.message.value = ""
        names = self.who.value
        self._start(lambda: self._talk(text, names), is_talk=True)

    def _ask_to_stop(self, _: Any = None) -> None:
        self._stop.set()
        self._say("Stopping at the next token.")

    def _clear(self, _: Any = None) -> None:
        if self._is_talking:
            return
        self.comparison.clear()
        for column in self.columns.values():
            column.forget()
        self._say("Forgotten. The next message begins a new talk.")

    def _show_columns(self, _: Any = None) -> None:
        for name, column in self.columns.items():
            column.layout.display = None if name in self.who.value else "none"

    def _show_settings(self) -> None:
        self.settings.layout.display = None if self.more.value else "none"

    def _read_settings(self) -> generation.GenerationSettings | None:
        try:
            values = {name: field.value for name, field in self.fields.items()}
            settings = generation.GenerationSettings(**values)
        except ConfigError as error:
            self.problem.value = style.line(str(error), "problem")
            self.more.value = True
            return None
        self.problem.value = ""
        return settings

    # --- what goes on behind it ---

    def is_busy(self) -> bool:
        """Whether a model is being loaded or speaks."""
        return self._background.is_busy()

    def wait(self) -> None:
        """Return when the panel has done what it was last told; cells need not, scripts may."""
        self._background.wait()

    def ask(self, text: str) -> None:
        """Send a message as if it was typed, and wait for the replies.

        Args:
            text: the message.
        """
        self.wait()
        self.message.value = text
        self._send_message()
        self.wait()

    def _start(self, work: Callable[[], None], is_talk: bool = False) -> None:
        """Work beside the kernel: its cells, and the Stop button, go on answering."""

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
        for control in (self.send_button, self.clear_button, self.bits):
            control.disabled = is_talking

    def _load(self) -> None:
        bits = self.comparison.bits = self.bits.value
        if bits not in self.comparison.arms.loaded_bits():
            self._say(f"Loading {self.comparison.arms.base_model} in {bits} bits …")
        self.comparison.arms.load(bits)
        self._say(f"Ready: {self.comparison.arms.base_model} in {bits} bits.")

    def _talk(self, text: str, names: Sequence[str]) -> None:
        said = dict.fromkeys(names, "")
        speaking = drawn = ""
        last = 0.0
        is_whole = False
        try:
            with closing(self.comparison.stream(text, names)) as pieces:
                for name, piece in pieces:
                    if name != speaking:
                        self._end_turn(speaking, said)
                        self._begin_turn(name, text)
                        speaking, drawn = name, ""
                    said[name] += piece
                    if time.monotonic() - last > REDRAW_S or not drawn:
                        drawn, last = said[name], time.monotonic()
                        self.columns[name].show_present(drawn)
                    if self._stop.is_set():
                        break
                else:
                    is_whole = True
        finally:
            self._end_turn(speaking, said, "" if is_whole else "stopped")
            if not any(said.values()):  # nothing is lost: it can be sent again
                self.message.value = self.message.value or text
        self._say("" if is_whole else "Stopped.")
        self._say_forgotten(names)

    def _begin_turn(self, name: str, text: str) -> None:
        self.columns[name].add("user", text)
        self._say(f"The {TITLES[name].lower()} answers …")

    def _end_turn(self, name: str, said: dict[str, str], note: str = "") -> None:
        if name:
            self.columns[name].add(name, said[name], note)

    def _say_forgotten(self, names: Sequence[str]) -> None:
        talks = [self.comparison.sessions[n] for n in names if n in self.comparison.sessions]
        dropped = max((talk.dropped_turns for talk in talks), default=0)
        if dropped:
            self._say(f"The {dropped} oldest turns no longer fit into the context: forgotten.")

    def _say(self, text: str) -> None:
        self.status.value = style.line(text)

    def _say_error(self, error: Exception) -> None:
        known = str(error) if hasattr(error, "next_step") else f"{type(error).__name__}: {error}"
        self.status.value = style.line(known, "problem")

    def static(self) -> display.HtmlView:
        """The talks so far, with nothing to click."""
        shown = [self.columns[name] for name in self.who.value]
        parts = [
            f"<td style='vertical-align:top;text-align:left'><strong>{TITLES[column.name]}</strong>"
            f"{''.join(map(_turn_html, column.turns)) or 'Nothing was said yet.'}</td>"
            for column in shown
        ]
        page, text = (
            f"<table><tr>{''.join(parts)}</tr></table>",
            "\n".join(map(_column_text, shown)),
        )
        if self.system.value:
            said = f"System text: {markdown.shorten(self.system.value, LONGEST_SYSTEM)}"
            page, text = (
                f"<p>{markdown.to_html(said)}</p>{page}",
                f"{markdown.to_plain(said)}\n{text}",
            )
        return display.HtmlView(page, text)


def _turn_html(turn: dict[str, str]) -> str:
    is_user = turn["role"] == "user"
    said = markdown.to_html(turn["content"]) if is_user else markdown.render(turn["content"])
    name = "You" if is_user else TITLES[turn["role"]]
    note = f" <em>({turn['note']})</em>" if turn.get("note") else ""
    style = TURN_STYLE.format(1 if is_user else 4)
    return f'<div style="{style}"><strong>{name}</strong>{note}<div dir="auto">{said}</div></div>'


def _column_text(column: Column) -> str:
    turns = [f"{turn['role']}: {markdown.to_plain(turn['content'])}" for turn in column.turns]
    return "\n".join([f"{TITLES[column.name]}:", *(turns or ["Nothing was said yet."])])


def _button(text: str, icon: str, act: Callable[..., None], tooltip: str) -> w.Button:
    made = w.Button(description=text, icon=icon, tooltip=tooltip)
    made.on_click(act)
    return made

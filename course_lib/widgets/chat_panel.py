"""Chat with the base and the tuned model in a notebook: a view of `chat.arms`."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import ipywidgets as w

from course_lib.chat import arms, generation
from course_lib.errors import ConfigError
from course_lib.teaching import display, markdown
from course_lib.training import checkpoints
from course_lib.widgets import style, talking
from course_lib.widgets.talking import REDRAW_S, TITLES, WIDE

TURN_STYLE = "border-left:{}px solid;padding:2px 10px;margin:6px 0"
LONGEST_SYSTEM = 1000  # characters of the system text in the static twin
WORDS = talking.Words("Message", "Send", "reply", "talk")


class Column(talking.Column):
    """The talk with one arm.

    Args:
        name: `base` or `tuned`.
    """

    def __init__(self, name: str) -> None:
        self.turns: list[dict[str, str]] = []
        super().__init__(name, "Talk with", "28em")

    def html(self) -> str:
        """The turns that are over."""
        return "".join(map(_turn_html, self.turns))

    def show_present(self, reply: str) -> None:
        """Show the reply that is being written."""
        self.draw_present(_turn_html({"role": self.name, "content": reply or "…"}))

    def add(self, role: str, content: str, note: str = "") -> None:
        """Add a turn that is over.

        Args:
            role: `user`, or the arm's name.
            content: what was said.
            note: how it ended when that is not obvious.
        """
        self.turns.append({"role": role, "content": content, "note": note})
        self.draw(self.html())

    def forget(self) -> None:
        """Show an empty talk."""
        self.turns = []
        super().forget()


class ChatPanel(talking.TalkPanel):
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
        names = self.comparison.arms.names
        options = [(TITLES[name], (name,)) for name in names]
        if len(names) > 1:
            options.insert(0, ("Both, side by side", names))
        super().__init__(WORDS, {name: Column(name) for name in names}, options)
        choices = sorted({16, 4, bits}, reverse=True)
        labels = {4: "4 bits (NF4)"}
        self.bits = w.Dropdown(
            options=[(labels.get(n, f"{n} bits"), n) for n in choices],
            value=bits,
            description="Base weights",
            style=WIDE,
        )
        self.bits.observe(lambda _: self._start(self._load), "value")
        self.locked.append(self.bits)
        self._make_settings()
        self.lay_out([self.bits, self.more], [self.settings])
        self._start(self._load)

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
        numbers = w.HBox(list(self.fields.values()), layout=w.Layout(**talking.WRAPPED))
        # Not an accordion: its titles cannot be reached by keyboard.
        self.more = w.ToggleButton(description="How it answers", icon="sliders")
        self.more.observe(lambda _: self._show_settings(), "value")
        self.settings = w.VBox([self.system, numbers, self.problem])
        self._show_settings()

    # --- what the reader does ---

    def _send_line(self) -> None:
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

    def _forget(self) -> None:
        self.comparison.clear()
        self._say("Forgotten. The next message begins a new talk.")

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

    def _load(self) -> None:
        self.comparison.bits = self.bits.value
        self._load_weights(self.comparison.arms, self.bits.value)

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

    def static(self) -> display.HtmlView:
        """The talks so far, with nothing to click."""
        shown = [self.columns[name] for name in self.who.value]
        page, text = talking.side_by_side(
            [(column.name, column.html(), _lines(column)) for column in shown],
            "Nothing was said yet.",
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


def _lines(column: Column) -> list[str]:
    return [f"{turn['role']}: {markdown.to_plain(turn['content'])}" for turn in column.turns]

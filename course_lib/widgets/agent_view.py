"""An agent at work in a notebook: each thought, call and observation as it happens."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ipywidgets as w

from course_lib.chat import agent, agent_settings, arms, speakers, toolbox, tools, traces
from course_lib.errors import TunebookError
from course_lib.teaching import display, markdown
from course_lib.training import checkpoints
from course_lib.widgets import style
from course_lib.widgets.background import InTurn

REDRAW_S = 0.1  # a browser need not be told of every token
TITLES = {arms.BASE: "Base model", arms.TUNED: "Tuned model"}
LABELS = {
    "thought": "Thought",
    "call": "Call",
    "observation": "Observation",
    "problem": "Not understood",
    "answer": "Answer",
    "end": "End",
    "text": "Writes",
}
STEP_STYLE = "border-left:{}px {};padding:2px 10px;margin:4px 0 4px {}em"
WIDE = {"description_width": "8em"}


@dataclass
class Shown:
    """A question and what happened so far.

    Args:
        question: the user's.
        events: what is over, without the pieces of text.
        writing: what the model is writing just now.
    """

    question: str
    events: list[traces.Event] = field(default_factory=list)
    writing: str = ""

    def add(self, event: traces.Event) -> None:
        """Take what happened."""
        if event.kind == "text":
            self.writing += event.text
            return
        if event.kind == "problem":  # what the model wrote is what is not understood
            event = replace(event, text=f"{self.writing.strip()}\n({event.text})")
        if event.kind != "thought":
            self.writing = ""
        if event.kind != "end" or event.text != "answered":
            self.events.append(event)

    def html(self) -> str:
        """All of it, to look at."""
        parts = [_part_html("You", markdown.to_html(self.question), "1", "solid", 0)]
        parts += map(_event_html, self.events)
        if self.writing:
            parts.append(_event_html(traces.Event("text", self.writing, 0)))
        return "".join(parts)

    def plain(self) -> str:
        """All of it as text."""
        lines = [f"You: {markdown.to_plain(self.question)}"]
        lines += [f"{_label(e)}: {markdown.to_plain(_said(e))}" for e in self.events]
        return "\n".join(lines)


def show_trace(trace: traces.Trace) -> display.HtmlView:
    """A trace to look at in a notebook.

    Args:
        trace: from `Agent.ask`.

    Returns:
        HTML, and text where there is none.
    """
    shown = Shown(trace.question)
    for event in traces.to_events(trace):
        shown.add(event)
    return display.HtmlView(f'<div class="tb-line">{shown.html()}</div>', shown.plain())


class AgentColumn(w.VBox):
    """What one arm did.

    Args:
        name: `base` or `tuned`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs: list[Shown] = []
        self.past, self.present = w.HTML(), w.HTML()
        work = w.VBox([self.past, self.present])
        # Laid out from its end, a box that scrolls stays at the newest line by itself.
        scrolled = w.Layout(flex_flow="column-reverse", overflow="auto", max_height="32em")
        title = w.HTML(style.heading(TITLES[name]))
        super().__init__([title, w.VBox([work], layout=scrolled)], layout=w.Layout(flex="1 1 0"))
        self.show_past()

    def show_past(self) -> None:
        """Show the questions that are over."""
        label = f"Work of the {TITLES[self.name].lower()}"
        body = "".join(run.html() for run in self.runs)
        self.past.value = f'<div class="tb-line" role="log" aria-label="{label}">{body}</div>'
        self.present.value = ""

    def show_present(self, run: Shown) -> None:
        """Show the question that is being worked on."""
        self.present.value = f'<div class="tb-line">{run.html()}</div>'

    def keep(self, run: Shown) -> None:
        """Put a question that is over to the others."""
        self.runs.append(run)
        self.show_past()

    def forget(self) -> None:
        """Show nothing."""
        self.runs = []
        self.show_past()


class AgentPanel(style.Panel):
    """Ask a model that may call tools; with an adapter, ask its base the same beside it.

    Args:
        base_model: as in `loading.resolve_model`.
        adapter: an exported adapter, a checkpoint or a run folder; None for the base alone.
        offered: the tools to choose from; `toolbox.make_tools()` when None.
        settings: limits and form; the guard can be switched in the panel.
        bits: for each base weight.
        both: instead of the names: arms that are there already, for example with loaded models.

    Raises:
        RunError: there is no adapter.
        AdapterError: it belongs to another base.
        DataError: there are no tools.
    """

    def __init__(
        self,
        base_model: str = "pico-chat",
        adapter: Path | str | None = None,
        offered: Sequence[tools.Tool] | None = None,
        settings: agent_settings.AgentSettings | None = None,
        bits: int = 16,
        both: arms.Arms | None = None,
    ) -> None:
        found = None if adapter is None else checkpoints.find_adapter(Path(adapter))
        self.arms, self.bits = both or arms.Arms(base_model, found), bits
        self.settings = settings or agent_settings.AgentSettings()
        self.tools = list(toolbox.make_tools() if offered is None else offered)
        self.columns = {name: AgentColumn(name) for name in self.arms.names}
        self._make_controls()
        self._background = InTurn()  # a question asked while the weights are loaded waits for them
        self._stop, self._is_working = threading.Event(), False
        row = w.Layout(flex_flow="row wrap")
        choices = w.HBox([self.who, *self.switches.values(), self.guard], layout=row)
        work = w.HBox(list(self.columns.values()))
        buttons = w.HBox([self.ask_button, self.stop_button, self.clear_button])
        super().__init__([choices, work, self.message, buttons, self.status], self.static)
        self._start(self._load)

    def _make_controls(self) -> None:
        names = self.arms.names
        options = [(TITLES[name], (name,)) for name in reversed(names)]
        if len(names) > 1:
            options.append(("Both, side by side", names))
        self.who = w.Dropdown(options=options, description="Answers", style=WIDE)
        self.who.observe(lambda _: self._show_columns(), "value")
        self.switches = {one.spec.name: _switch(one.spec.name, True) for one in self.tools}
        self.guard = _switch("Guard: results are data", self.settings.has_guard)
        self.message = w.Text(
            description="Question",
            placeholder="Type a question, then Enter",
            style=WIDE,
            layout=w.Layout(width="auto"),
        )
        self.message.on_msg(self._typed)
        self.ask_button = _button("Ask", "play", self._ask_question, "Ask the question")
        self.stop_button = _button("Stop", "stop", self._ask_to_stop, "Stop the work")
        self.clear_button = _button("Clear", "trash", self._clear, "Forget the questions")
        self.stop_button.disabled = True
        self.status = w.HTML()
        self._show_columns()

    # --- what the reader does ---

    def _typed(self, widget: w.Widget, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        if content.get("event") == "submit":  # Enter
            self._ask_question()

    def _ask_question(self, _: Any = None) -> None:
        question = self.message.value
        offered = [one for one in self.tools if self.switches[one.spec.name].value]
        if self._is_working:
            return
        if not question.strip() or not offered:
            self._say("Choose a tool first." if question.strip() else "Type a question first.")
            return
        self.message.value = ""
        settings = replace(self.settings, has_guard=self.guard.value)
        names = self.who.value
        self._stop.clear()
        self._set_working(True)
        self._start(lambda: self._work(question, offered, settings, names), is_work=True)

    def _ask_to_stop(self, _: Any = None) -> None:
        self._stop.set()
        self._say("Stopping at the next token.")

    def _clear(self, _: Any = None) -> None:
        if not self._is_working:
            for column in self.columns.values():
                column.forget()
            self._say("Forgotten.")

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

    def ask(self, question: str) -> None:
        """Ask as if the question was typed, and wait for the end.

        Args:
            question: the user's.
        """
        self.wait()
        self.message.value = question
        self._ask_question()
        self.wait()

    def _start(self, work: Callable[[], None], is_work: bool = False) -> None:
        """Work beside the kernel: its cells, and the Stop button, go on answering."""

        def run() -> None:
            try:
                work()
            except Exception as error:  # no cell waits for it: it is shown here
                known = isinstance(error, TunebookError)
                text = str(error) if known else f"{type(error).__name__}: {error}"
                self.status.value = style.line(text, "problem")
            finally:
                if is_work:
                    self._set_working(False)

        self._background.do(run)

    def _set_working(self, is_working: bool) -> None:
        self._is_working = is_working
        self.stop_button.disabled = not is_working
        for control in (self.ask_button, self.clear_button):
            control.disabled = is_working

    def _load(self) -> None:
        if self.bits not in self.arms.loaded_bits():
            self._say(f"Loading {self.arms.base_model} in {self.bits} bits …")
        self.arms.load(self.bits)
        self._say(f"Ready: {self.arms.base_model} in {self.bits} bits.")

    def _work(
        self,
        question: str,
        offered: Sequence[tools.Tool],
        settings: agent_settings.AgentSettings,
        names: Sequence[str],
    ) -> None:
        for name in names:
            if self._stop.is_set():
                break
            self._say(f"The {TITLES[name].lower()} works …")
            with self.arms.speaking(name, self.bits) as (model, tokenizer):
                speaker = speakers.ModelSpeaker(model, tokenizer)
                self._watch(agent.Agent(speaker, offered, settings), question, self.columns[name])
        self._say("Stopped." if self._stop.is_set() else "")

    def _watch(self, asked: agent.Agent, question: str, column: AgentColumn) -> None:
        """Show a run while it happens."""
        shown, drawn_s = Shown(question), 0.0
        try:
            with closing(iter(asked.run(question))) as events:
                for event in events:
                    shown.add(event)
                    if event.kind != "text" or time.monotonic() - drawn_s > REDRAW_S:
                        column.show_present(shown)
                        drawn_s = time.monotonic()
                    if self._stop.is_set():
                        shown.add(traces.Event("end", "interrupted", event.step))
                        break
        finally:
            shown.writing = ""
            column.keep(shown)

    def _say(self, text: str) -> None:
        self.status.value = style.line(text)

    def static(self) -> display.HtmlView:
        """The questions so far, with nothing to click."""
        shown = [self.columns[name] for name in self.who.value]
        cells, texts = [], []
        for column in shown:
            body = "".join(run.html() for run in column.runs) or "Nothing was asked yet."
            cells.append(
                "<td style='vertical-align:top;text-align:left'>"
                f"<strong>{TITLES[column.name]}</strong>{body}</td>"
            )
            lines = [run.plain() for run in column.runs] or ["Nothing was asked yet."]
            texts.append("\n".join([f"{TITLES[column.name]}:", *lines]))
        return display.HtmlView(f"<table><tr>{''.join(cells)}</tr></table>", "\n".join(texts))


def _label(event: traces.Event) -> str:
    failed = " (failed)" if event.kind == "observation" and event.is_error else ""
    return LABELS[event.kind] + failed


def _said(event: traces.Event) -> str:
    return traces.say(event.text) if event.kind == "end" else event.text


def _event_html(event: traces.Event) -> str:
    text = _said(event)
    if event.kind == "answer":
        return _part_html(_label(event), markdown.render(text), "4", "solid", 0)
    # A result is data, and a call is code: nothing in them is taken as Markdown.
    body = markdown.to_html(text)
    body = f"<code>{body}</code>" if event.kind in ("call", "observation") else body
    return _part_html(_label(event), body, "2", "dotted" if event.is_error else "solid", 1)


def _part_html(label: str, body: str, width: str, line: str, indent: int) -> str:
    look = STEP_STYLE.format(width, line, indent)
    return f'<div style="{look}"><strong>{label}</strong><div dir="auto">{body}</div></div>'


def _switch(name: str, is_on: bool) -> w.Checkbox:
    return w.Checkbox(is_on, description=name, indent=False, layout=w.Layout(width="auto"))


def _button(text: str, icon: str, act: Callable[..., None], tooltip: str) -> w.Button:
    made = w.Button(description=text, icon=icon, tooltip=tooltip)
    made.on_click(act)
    return made

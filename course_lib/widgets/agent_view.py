"""An agent at work in a notebook: each thought, call and observation as it happens."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import ipywidgets as w

from course_lib.chat import agent, agent_settings, arms, speakers, toolbox, tools, traces
from course_lib.teaching import display, markdown
from course_lib.training import checkpoints
from course_lib.widgets import talking
from course_lib.widgets.talking import REDRAW_S, TITLES

WORDS = talking.Words("Question", "Ask", "work", "questions")
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


class AgentColumn(talking.Column):
    """What one arm did.

    Args:
        name: `base` or `tuned`.
    """

    def __init__(self, name: str) -> None:
        self.runs: list[Shown] = []
        super().__init__(name, "Work of", "32em")

    def html(self) -> str:
        """The questions that are over."""
        return "".join(run.html() for run in self.runs)

    def show_present(self, run: Shown) -> None:
        """Show the question that is being worked on."""
        self.draw_present(run.html())

    def keep(self, run: Shown) -> None:
        """Put a question that is over to the others."""
        self.runs.append(run)
        self.draw(self.html())

    def forget(self) -> None:
        """Show nothing."""
        self.runs = []
        super().forget()


class AgentPanel(talking.TalkPanel):
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
        names = self.arms.names
        options = [(TITLES[name], (name,)) for name in reversed(names)]
        if len(names) > 1:
            options.append(("Both, side by side", names))
        super().__init__(WORDS, {name: AgentColumn(name) for name in names}, options)
        self.switches = {one.spec.name: _switch(one.spec.name, True) for one in self.tools}
        self.guard = _switch("Guard: results are data", self.settings.has_guard)
        self.lay_out([*self.switches.values(), self.guard])
        self._start(lambda: self._load_weights(self.arms, self.bits))

    def _send_line(self) -> None:
        question = self.message.value
        offered = [one for one in self.tools if self.switches[one.spec.name].value]
        if self._is_talking:
            return
        if not question.strip() or not offered:
            self._say("Choose a tool first." if question.strip() else "Type a question first.")
            return
        self.message.value = ""
        settings = replace(self.settings, has_guard=self.guard.value)
        names = self.who.value
        self._start(lambda: self._work(question, offered, settings, names), is_talk=True)

    def _forget(self) -> None:
        self._say("Forgotten.")

    def _work(
        self,
        question: str,
        offered: Sequence[tools.Tool],
        settings: agent_settings.AgentSettings,
        names: Sequence[str],
    ) -> None:
        is_shown = False
        try:
            for name in names:
                if self._stop.is_set():
                    break
                self._say(f"The {TITLES[name].lower()} works …")
                with self.arms.speaking(name, self.bits) as (model, tokenizer):
                    asked = agent.Agent(speakers.ModelSpeaker(model, tokenizer), offered, settings)
                    is_shown = True
                    self._watch(asked, question, self.columns[name])
        finally:
            if not is_shown:  # nothing is lost: it can be asked again
                self.message.value = self.message.value or question
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

    def static(self) -> display.HtmlView:
        """The questions so far, with nothing to click."""
        shown = [self.columns[name] for name in self.who.value]
        return display.HtmlView(
            *talking.side_by_side(
                [(c.name, c.html(), [run.plain() for run in c.runs]) for c in shown],
                "Nothing was asked yet.",
            )
        )


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

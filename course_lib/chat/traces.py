"""What happened while an agent worked on a question: events as they come, a trace at the end."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

EventKind = Literal["text", "thought", "call", "observation", "problem", "answer", "end"]
# How it ended, and what is said about it; only the first one has an answer.
OUTCOMES = {
    "answered": "Answered.",
    "step_limit": "Stopped: too many steps without an answer.",
    "time_limit": "Stopped: the time is up.",
    "loop": "Stopped: it went round in circles.",
    "context_full": "Stopped: the talk is longer than the model can read.",
    "empty_reply": "Stopped: the model said nothing.",
    "interrupted": "Interrupted.",
}


@dataclass(frozen=True)
class Event:
    """Something that happened just now.

    Args:
        kind: `text` is a piece of what the model is writing; the others are whole: a thought,
            a call, a tool's observation, a step that means nothing (`problem`), the answer,
            and the `end`, whose text is a key of `OUTCOMES`.
        text: what it says; for a call, the tool and its arguments as the model may write them.
        step: of how many steps this is the last, from 1.
        is_error: the observation tells of a failure.
    """

    kind: EventKind
    text: str
    step: int
    is_error: bool = False


@dataclass(frozen=True)
class TraceStep:
    """One turn of the model and what came of it.

    Args:
        reply: what the model wrote, word for word.
        kind: a call, the answer, or a problem: a reply that means nothing.
        thought: why, in the model's words.
        tool: the tool it called.
        arguments: the tool's input.
        observation: what the model was told.
        is_error: it was told of a failure.
        problem: for a problem, a key of `react_steps.REASONS`.
    """

    reply: str
    kind: Literal["call", "answer", "problem"]
    thought: str = ""
    tool: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    observation: str = ""
    is_error: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Trace:
    """A question from start to end. It holds no times: the same run gives the same trace.

    Args:
        question: the user's.
        steps: what the model did, in order.
        answer: what the user is told; empty without one.
        outcome: a key of `OUTCOMES`.
        messages: the conversation as the model read it.
    """

    question: str
    steps: tuple[TraceStep, ...] = ()
    answer: str = ""
    outcome: str = "interrupted"
    messages: tuple[Mapping[str, str], ...] = ()

    @property
    def calls(self) -> list[TraceStep]:
        """The steps that called a tool, in order."""
        return [step for step in self.steps if step.kind == "call"]

    def as_json(self) -> dict[str, Any]:
        """An object for a file or a command's output."""
        return asdict(self)


def from_json(record: Mapping[str, Any]) -> Trace:
    """Read what `Trace.as_json` gave.

    Args:
        record: the object.

    Returns:
        The same trace.
    """
    steps = tuple(TraceStep(**step) for step in record["steps"])
    return Trace(**{**record, "steps": steps, "messages": tuple(record["messages"])})


def to_events(trace: Trace) -> list[Event]:
    """The events of a run that is over, as they came while it went on.

    Args:
        trace: from `Agent.ask`.

    Returns:
        The events; each reply is one piece of text.
    """
    events: list[Event] = []
    for number, step in enumerate(trace.steps, 1):
        events.append(Event("text", step.reply, number))
        events += [Event("thought", step.thought, number)] if step.thought else []
        if step.kind == "call":
            events.append(Event("call", call_line(step.tool, step.arguments), number))
            events.append(Event("observation", step.observation, number, step.is_error))
        elif step.kind == "problem":
            reason = step.observation.removeprefix("error: ")
            events.append(Event("problem", reason, number, True))
        else:
            events.append(Event("answer", trace.answer, number))
    return [*events, Event("end", trace.outcome, len(trace.steps))]


def to_text(trace: Trace) -> str:
    """A trace to read.

    Args:
        trace: from `Agent.ask`.

    Returns:
        One line for each thought, call, observation and the answer.
    """
    lines = [f"Question: {trace.question}"]
    for step in trace.steps:
        lines += [f"  Thought: {step.thought}"] if step.thought else []
        lines += [f"  Call: {call_line(step.tool, step.arguments)}"] if step.kind == "call" else []
        lines += [f"  Not understood: {step.reply}"] if step.kind == "problem" else []
        lines += [f"  Observation: {step.observation}"] if step.observation else []
    return "\n".join([*lines, f"Answer: {trace.answer}" if trace.answer else say(trace.outcome)])


def call_line(tool: str, arguments: Mapping[str, Any]) -> str:
    """A call in one line, for example `clock {"place": "Paris"}`.

    Args:
        tool: its name.
        arguments: its input.
    """
    return f"{tool} {json.dumps(dict(arguments), ensure_ascii=False)}"


def say(outcome: str) -> str:
    """How it ended, in a sentence.

    Args:
        outcome: a key of `OUTCOMES`.
    """
    return OUTCOMES[outcome]

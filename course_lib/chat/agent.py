"""An agent: a model that may call tools before it answers.

Thought, call, observation, and again, until the model gives its final answer or a limit is
reached. Only what the model writes is read as a step: a tool's result is a message to the model,
and whatever stands in it, nobody but the model reads it.

Source: Yao and others, ReAct, 2023.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from course_lib.chat import agent_settings, dialects, generation, speakers, tools, traces
from course_lib.data import chat_template, react, react_steps, tool_specs
from course_lib.errors import DataError

MAX_SAME = 3  # so many equal calls or replies are a loop


class Agent:
    """A model with tools.

    Args:
        speaker: who writes: `speakers.ModelSpeaker(model, tokenizer)`.
        offered: the tools it may call.
        settings: limits and form.

    Raises:
        DataError: there are no tools, or two have one name.
    """

    def __init__(
        self,
        speaker: speakers.Speaker,
        offered: Sequence[tools.Tool],
        settings: agent_settings.AgentSettings | None = None,
    ) -> None:
        self.speaker, self.tools = speaker, tuple(offered)
        self.settings = settings or agent_settings.AgentSettings()
        if not self.tools:
            raise DataError("An agent without tools is a chat.", "Give at least one tool.")
        tool_specs.check_names([one.spec for one in self.tools])
        self.dialect = dialects.find_dialect(self.settings.dialect, speaker)

    def run(self, question: str, past: Sequence[chat_template.Message] = ()) -> "Run":
        """Work on a question, to be watched: loop over what this returns.

        Args:
            question: the user's.
            past: what was said before it, from earlier runs' `own_messages`.

        Returns:
            Events one after the other as they happen; `.trace` tells all of it.

        Raises:
            DataError: the question is empty.
        """
        return Run(self, question, past)

    def ask(self, question: str) -> traces.Trace:
        """Work on a question and wait for the end.

        Args:
            question: the user's.

        Returns:
            What happened; its `answer` is empty when a limit was reached.

        Raises:
            DataError: the question is empty.
        """
        run = self.run(question)
        for _ in run:
            pass
        return run.trace

    def ask_all(self, questions: Sequence[str]) -> list[traces.Trace]:
        """Work on many questions at once, the model's replies in batches.

        Args:
            questions: the users'.

        Returns:
            For each the trace that it would have alone. The limit of time is not watched here:
            limits of steps, tokens and each tool hold.

        Raises:
            DataError: a question is empty.
        """
        runs = [Run(self, question) for question in questions]
        while active := [run for run in runs if run.is_ready()]:
            settings = self.reply_settings
            replies = self.speaker.reply_to_all([run.messages for run in active], settings)
            for run, reply in zip(active, replies, strict=True):
                for _ in run.take(reply, None):
                    pass
        return [run.trace for run in runs]

    @property
    def reply_settings(self) -> generation.GenerationSettings:
        """Length, sampling and stop words of each reply."""
        words = self.dialect.stop_words if self.settings.stops_at_observation else ()
        sampling = self.settings.sampling
        return replace(sampling, stop_words=(*sampling.stop_words, *words))


class Run:
    """One question on its way. Iterate over it once, to the end or as far as you like.

    Args:
        agent: who works.
        question: the user's.
        past: what was said before it.
        now: a clock that counts seconds.

    Attributes:
        messages: the conversation so far.
        outcome: empty while it goes on.

    Raises:
        DataError: the question is empty.
    """

    def __init__(
        self,
        agent: Agent,
        question: str,
        past: Sequence[chat_template.Message] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not question.strip():
            raise DataError("The question is empty.", "Ask something.")
        self.agent, self.question, self._now = agent, question, now
        settings = agent.settings
        is_auto = settings.language == "auto"
        self.language = react.language_of(question) if is_auto else settings.language
        specs = [one.spec for one in agent.tools]
        *start, asked = agent.dialect.open_talk(specs, question, settings, self.language)
        self.messages = [*start, *past, asked]
        self._first = len(self.messages) - 1
        self.steps: list[traces.TraceStep] = []
        self.answer = self.outcome = ""
        self._results: dict[str, list[str]] = {}  # of each call, once for every time it was made
        self._replies: dict[str, int] = {}

    @property
    def own_messages(self) -> list[chat_template.Message]:
        """The question and all that followed it."""
        return self.messages[self._first :]

    @property
    def trace(self) -> traces.Trace:
        """What happened so far."""
        outcome = self.outcome or "interrupted"
        steps, messages = tuple(self.steps), tuple(self.messages)
        return traces.Trace(self.question, steps, self.answer, outcome, messages)

    def __iter__(self) -> Iterator[traces.Event]:
        """Let the model and its tools work, and give each event when it happens."""
        end_s = self._now() + self.agent.settings.total_s
        while self.is_ready():
            said = ""
            pieces = self.agent.speaker.stream(self.messages, self.agent.reply_settings)
            with closing(pieces):
                for piece in pieces:
                    said += piece
                    yield self._event("text", piece)
                    if self._now() > end_s:
                        self.outcome = "time_limit"
                        break
            if not self.outcome:
                yield from self.take(said, end_s)
        yield traces.Event("end", self.outcome, len(self.steps))

    def is_ready(self) -> bool:
        """Whether the model is to speak next; sees to the limits of steps and context."""
        if not self.outcome and len(self.steps) >= self.agent.settings.max_steps:
            self.outcome = "step_limit"
        settings = self.agent.reply_settings
        if not self.outcome and not self.agent.speaker.has_room(self.messages, settings):
            self.outcome = "context_full"
        return not self.outcome

    def take(self, reply: str, end_s: float | None) -> Iterator[traces.Event]:
        """Read a reply, and do what it says.

        Args:
            reply: the model's whole turn.
            end_s: when the time for the question is over; None for never.

        Yields:
            What happens, when it happens.
        """
        reply = reply.strip()
        if not reply:
            self.outcome = "empty_reply"
            return
        step = self.agent.dialect.parse(reply)
        self.messages.append({"role": "assistant", "content": reply})
        if step.thought:
            yield self._event("thought", step.thought)
        if isinstance(step, react_steps.FinalAnswer):
            yield self._event("answer", step.text)
            self.steps.append(traces.TraceStep(reply, "answer", step.thought))
            self.answer, self.outcome = step.text, "answered"
        elif isinstance(step, react_steps.Malformed):
            yield self._take_problem(reply, step)
        else:
            yield from self._take_call(reply, step, end_s)

    def _take_problem(self, reply: str, step: react_steps.Malformed) -> traces.Event:
        """Tell the model that its reply means nothing."""
        text = tools.failure(step.reason).text
        event = self._event("problem", step.reason, True)
        kept = traces.TraceStep(
            reply, "problem", step.thought, observation=text, is_error=True, problem=step.kind
        )
        self._tell(kept)
        self._replies[reply] = self._replies.get(reply, 0) + 1
        if self._replies[reply] >= MAX_SAME:
            self.outcome = "loop"
        return event

    def _take_call(
        self, reply: str, call: react_steps.Call, end_s: float | None
    ) -> Iterator[traces.Event]:
        """Run a tool and tell the model what came of it."""
        yield self._event("call", traces.call_line(call.tool, call.arguments))
        left_s = None if end_s is None else max(end_s - self._now(), 0.001)
        result = self._carry_out(call, left_s)
        text = _cut(result.text, self.agent.settings.max_result_chars)
        yield self._event("observation", text, result.is_error)
        self._tell(
            traces.TraceStep(
                reply, "call", call.thought, call.tool, call.arguments, text, result.is_error
            )
        )
        if end_s is not None and self._now() > end_s:
            self.outcome = "time_limit"

    def _carry_out(self, call: react_steps.Call, left_s: float | None) -> tools.ToolResult:
        """Run a tool, unless the same call was made before: its result is known."""
        key = json.dumps([call.tool, call.arguments], sort_keys=True)
        before = self._results.setdefault(key, [])
        if before:
            result = tools.failure(f"this call was made before. Its result: {before[0]}")
        else:
            result = tools.run_call(self.agent.tools, call, left_s)
        before.append(result.text)
        if len(before) >= MAX_SAME:
            self.outcome = "loop"
        return result

    def _tell(self, step: traces.TraceStep) -> None:
        """Keep a step, and put what came of it into the conversation."""
        self.steps.append(step)
        message = self.agent.dialect.result_message(
            step.observation, self.question, self.agent.settings, self.language
        )
        self.messages.append(message)

    def _event(self, kind: traces.EventKind, text: str, is_error: bool = False) -> traces.Event:
        return traces.Event(kind, text, len(self.steps) + 1, is_error)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} [cut]"

"""An agent in a terminal: each thought, call and observation as it happens."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

from course_lib.chat import agent, traces
from course_lib.commands import terminal
from course_lib.data import chat_template
from course_lib.teaching import markdown

SHOWN_CHARS = 200  # of a reply that means nothing
WELCOME = "Tools: {}."


class AgentTalk:
    """An agent that `talk` can talk to.

    Args:
        asked: who works on the questions.
        is_live: give the model's text while it is written; else each step when it is whole.
        say_step: takes the steps, and the reply is the answer alone; None gives them with it.

    Attributes:
        dropped_turns: how many of the oldest questions were forgotten as the context was full.
    """

    def __init__(
        self,
        asked: agent.Agent,
        is_live: bool = True,
        say_step: Callable[[str], None] | None = None,
    ) -> None:
        self.agent, self.is_live, self.say_step = asked, is_live, say_step
        self.clear()

    def clear(self) -> None:
        """Forget the talk."""
        self._turns: list[list[chat_template.Message]] = []  # of each question that was answered
        self.dropped_turns = 0

    def stream(self, text: str) -> Iterator[str]:
        """Work on a question.

        Args:
            text: the question.

        Yields:
            The steps and the answer, in lines.

        Raises:
            DataError: the question is empty.
        """
        run = self._begin(text)
        with closing(iter(run)) as events:
            for event in events:
                if event.kind == "problem" and not (self.is_live and self.say_step is None):
                    event = self._with_reply(event, run.steps[-1].reply)
                if event.kind == "text":
                    if self.is_live and self.say_step is None:
                        yield event.text
                elif self.say_step is None:
                    yield _live_text(event) if self.is_live else _whole_text(event)
                elif event.kind == "answer" or (event.kind == "end" and not run.answer):
                    yield _answer_text(event)
                elif event.kind != "end":
                    self.say_step(_whole_text(event).rstrip("\n"))

        if run.outcome == "answered":
            self._turns.append(run.own_messages)

    def _begin(self, text: str) -> agent.Run:
        """A run with as much of the past as fits into the model's context."""
        while True:
            run = self.agent.run(text, [message for turn in self._turns for message in turn])
            if not self._turns or run.is_ready():
                return run
            del self._turns[0]
            self.dropped_turns += 1

    @staticmethod
    def _with_reply(event: traces.Event, reply: str) -> traces.Event:
        """A problem with what the model wrote, where that is not on the screen already."""
        said = terminal.one_line(markdown.shorten(reply, SHOWN_CHARS))
        return replace(event, text=f"{said}\n  {event.text}")


def to_stderr(text: str) -> None:
    """Write a step where it does not mix with the answers in a pipe."""
    terminal.say(text, err=True)


def _live_text(event: traces.Event) -> str:
    """What to add to the model's own text, which is on the screen already."""
    if event.kind == "observation":
        return f"\nObservation: {event.text}\n"
    if event.kind == "problem":
        return f"\n(not understood: {event.text})\n"
    return f"\n{traces.say(event.text)}" if event.kind == "end" and _is_stop(event) else ""


def _whole_text(event: traces.Event) -> str:
    names = {
        "thought": "Thought: ",
        "call": "Call: ",
        "observation": "Observation: ",
        "problem": "Not understood: ",
    }
    if event.kind in names:
        return f"{names[event.kind]}{event.text}\n"
    return _answer_text(event) if event.kind == "answer" or _is_stop(event) else ""


def _answer_text(event: traces.Event) -> str:
    return event.text if event.kind == "answer" else traces.say(event.text)


def _is_stop(event: traces.Event) -> bool:
    """Whether it ended without an answer."""
    return event.kind == "end" and event.text != "answered"

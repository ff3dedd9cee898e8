"""Chat in a terminal, or answer questions that come through a pipe."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol, TextIO

from course_lib.commands import terminal
from course_lib.errors import DataError

WELCOME = "Type a message. /clear forgets the talk, /exit or Ctrl-D ends it, Ctrl-C stops a reply."


class Session(Protocol):
    """What `talk` needs of a `ChatSession`."""

    dropped_turns: int

    def stream(self, text: str) -> Iterator[str]:
        """Pieces of the reply."""

    def clear(self) -> None:
        """Forget the talk."""


def is_terminal() -> bool:
    """Whether a person sits in front of both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def talk(session: Session, is_streaming: bool = True) -> None:
    """Talk until /exit or Ctrl-D; a message that does not fit is explained and skipped.

    Args:
        session: a conversation with a model.
        is_streaming: write replies as they come, not when they are whole.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lines can be edited where the system has it
    terminal.say(WELCOME)
    for message in _typed_messages():
        if message == "/clear":
            session.clear()
            terminal.say("(forgotten)")
            continue
        dropped = session.dropped_turns
        try:
            _reply(session, message, is_streaming)
        except KeyboardInterrupt:
            terminal.say(" (stopped)")
        except DataError as error:
            terminal.say(str(error))
        if session.dropped_turns > dropped:
            terminal.say("(the oldest turns no longer fit into the model's context: forgotten)")


def answer_lines(session: Session, lines: TextIO, is_streaming: bool = True) -> None:
    """Answer each line of a stream, in one conversation; nothing but replies is written.

    Args:
        session: a conversation with a model.
        lines: one message a line; /clear and /exit work as in a terminal.
        is_streaming: write replies as they come, not when they are whole.

    Raises:
        DataError: a message is too long for the model.
    """
    for line in lines:
        message = line.strip()
        if message == "/exit":
            return
        if message == "/clear":
            session.clear()
        elif message:
            _reply(session, message, is_streaming)


def _typed_messages() -> Iterator[str]:
    """Messages typed at the prompt, until /exit or Ctrl-D; empty lines are asked again."""
    while True:
        try:
            message = input("> ").strip()
        except EOFError:
            terminal.say()
            return
        except KeyboardInterrupt:
            terminal.say("\n(Ctrl-D or /exit ends the talk)")
            continue
        if message == "/exit":
            return
        if message:
            yield message


def _reply(session: Session, message: str, is_streaming: bool) -> None:
    # Closed at once when it breaks off: the model stops, and the talk remembers what was read.
    with contextlib.closing(session.stream(message)) as pieces:
        if not is_streaming:
            terminal.say("".join(pieces))
            return
        for piece in pieces:
            terminal.say(piece, nl=False)
    terminal.say()

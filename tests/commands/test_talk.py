import io

import pytest

from course_lib.commands import talk
from course_lib.errors import DataError


class ScriptedSession:
    """Replays queued replies; an exception in a reply is raised there."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []
        self.dropped_turns = 0
        self.closed = 0

    def clear(self):
        self.asked.append("(clear)")

    def stream(self, text):
        self.asked.append(text)
        try:
            for piece in self.replies.pop(0):
                if isinstance(piece, type):
                    raise piece("too long")
                yield piece
        finally:
            self.closed += 1


@pytest.fixture
def typed(monkeypatch):
    """Queue what is typed at the prompt; an exception stands for a key such as Ctrl-D."""

    def queue(*lines):
        left = list(lines)

        def read(prompt):
            line = left.pop(0)
            if isinstance(line, type):
                raise line
            return line

        monkeypatch.setattr("builtins.input", read)

    return queue


@pytest.mark.parametrize("is_streaming", [True, False])
def test_each_line_of_a_pipe_is_a_message_and_only_replies_are_written(capsys, is_streaming):
    session = ScriptedSession(["Hel", "lo."], ["Par", "is\x1b."])
    lines = io.StringIO("Hi\n\n/clear\n  Capital?  \n/exit\nnever asked\n")
    talk.answer_lines(session, lines, is_streaming)
    assert session.asked == ["Hi", "(clear)", "Capital?"]
    assert capsys.readouterr().out == "Hello.\nParis\\x1b.\n"


def test_a_message_that_does_not_fit_ends_a_pipe_with_its_error():
    with pytest.raises(DataError, match="too long"):
        talk.answer_lines(ScriptedSession([DataError]), io.StringIO("Hi\n"))


def test_ctrl_c_stops_the_reply_and_the_talk_goes_on(typed, capsys):
    typed("Hi", "Again", EOFError)
    session = ScriptedSession(["Once upon", KeyboardInterrupt], ["Yes."])
    talk.talk(session)
    assert session.closed == 2
    assert "Once upon (stopped)\nYes.\n" in capsys.readouterr().out


def test_a_message_that_does_not_fit_is_explained_and_the_talk_goes_on(typed, capsys):
    typed("a book", "Hi", "/exit")
    talk.talk(ScriptedSession([DataError], ["Hello."]))
    assert "too long\nHello.\n" in capsys.readouterr().out


def test_ctrl_c_at_the_prompt_says_how_to_leave(typed, capsys):
    typed(KeyboardInterrupt, "", "/clear", EOFError)
    session = ScriptedSession()
    talk.talk(session)
    assert session.asked == ["(clear)"]
    assert "(Ctrl-D or /exit ends the talk)" in capsys.readouterr().out


def test_forgotten_turns_are_mentioned(typed, capsys):
    class Forgetful(ScriptedSession):
        def stream(self, text):
            yield from super().stream(text)
            self.dropped_turns += 1

    typed("Hi", "/exit")
    talk.talk(Forgetful(["Hello."]))
    assert "Hello.\n(the oldest turns no longer fit" in capsys.readouterr().out

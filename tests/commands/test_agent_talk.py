import io
import json

import pytest

from course_lib import files
from course_lib.chat import agent, basic_tools, speakers, toolbox, web_search
from course_lib.commands import agent_talk, talk
from course_lib.data import react
from course_lib.errors import DataError, EnvironmentProblem, UnknownNameError

CALL = react.call_text("I must count.", "calculator", {"expression": "12 * 7"})
ANSWER = react.answer_text("Done.", "It is\n84.")


def asked(*replies):
    def write(messages):
        said = sum(message["role"] == "assistant" for message in messages)
        return replies[min(said, len(replies) - 1)]

    return agent.Agent(speakers.ScriptedSpeaker(write), [basic_tools.calculator_tool()])


def test_in_a_terminal_the_models_text_and_the_results_take_turns():
    lines = "".join(agent_talk.AgentTalk(asked(CALL, ANSWER)).stream("?")).split("\n")
    assert lines == [
        "Thought: I must count.",
        "Action: calculator",
        'Action Input: {"expression": "12 * 7"}',
        "Observation: 84",
        "Thought: Done.",
        "Final Answer: It is",
        "84.",
    ]


def test_a_talk_goes_on_until_it_is_forgotten():
    seen = []

    def write(messages):
        seen.append([message["content"] for message in messages[1:]])
        return "Hm." if messages[-1]["content"] == "bad" else "Final Answer: ok"

    tools = [basic_tools.calculator_tool()]
    setup = agent.agent_settings.AgentSettings(max_steps=1)
    session = agent_talk.AgentTalk(agent.Agent(speakers.ScriptedSpeaker(write), tools, setup))
    for question in ("one", "bad", "two"):
        list(session.stream(question))
    session.clear()
    list(session.stream("three"))
    assert seen == [
        ["one"],
        ["one", "Final Answer: ok", "bad"],
        ["one", "Final Answer: ok", "two"],  # what was not answered is not remembered
        ["three"],
    ]


def test_the_oldest_questions_are_forgotten_when_the_context_is_full():
    class Small(speakers.ScriptedSpeaker):
        def has_room(self, messages, settings):
            return len(messages) <= 5

    speaker = Small(lambda _: "Final Answer: ok")
    session = agent_talk.AgentTalk(agent.Agent(speaker, [basic_tools.calculator_tool()]))
    for _ in range(4):
        assert "ok" in "".join(session.stream("?"))
    assert session.dropped_turns == 2  # the third and the fourth question each push one out


def test_without_streaming_each_step_comes_whole():
    pieces = list(agent_talk.AgentTalk(asked(CALL, "Hm.", ANSWER), is_live=False).stream("?"))
    assert "".join(pieces).split("\n") == [
        "Thought: I must count.",
        'Call: calculator {"expression": "12 * 7"}',
        "Observation: 84",
        "Not understood: Hm.",
        "  There is neither an Action nor a Final Answer.",
        "Thought: Done.",
        "It is",
        "84.",
    ]


def test_through_a_pipe_answers_and_steps_are_kept_apart(capsys):
    session = agent_talk.AgentTalk(asked(CALL, ANSWER), say_step=agent_talk.to_stderr)
    talk.answer_lines(session, io.StringIO("12 times 7?\n/clear\nAgain?\n"))
    out, err = capsys.readouterr()
    assert out == "It is\n84.\n" * 2
    assert err.split("\n")[:3] == [
        "Thought: I must count.",
        'Call: calculator {"expression": "12 * 7"}',
        "Observation: 84",
    ]


@pytest.mark.parametrize(("is_live", "say_step"), [(True, None), (False, None), (True, print)])
def test_an_end_without_an_answer_is_said(is_live, say_step):
    session = agent_talk.AgentTalk(asked("Hm."), is_live, say_step)
    assert "".join(session.stream("?")).endswith("Stopped: it went round in circles.")


def test_control_characters_of_model_and_tool_do_not_reach_the_terminal(capsys):
    session = agent_talk.AgentTalk(asked("\x1b[2J", "Final Answer: \x1b]8;;x\x07"))
    talk.answer_lines(session, io.StringIO("?\n"))
    assert "\x1b" not in "".join(capsys.readouterr())


# --- tools by name -------------------------------------------------------------------------------


def test_tools_are_made_by_name_in_order():
    made = toolbox.make_tools([" clock", "calculator", "clock", "", "calendar", "convert"])
    assert [one.spec.name for one in made] == ["clock", "calculator", "calendar", "convert"]
    assert toolbox.make_tools(["web_search"])[0].run({"query": "capital of Australia"}).text


def test_names_that_are_none_are_said(monkeypatch):
    with pytest.raises(UnknownNameError, match="no tool called 'calculater'"):
        toolbox.make_tools(["calculater"])
    with pytest.raises(DataError, match="No tool is named"):
        toolbox.make_tools(["", " "])
    monkeypatch.delenv(web_search.KEY_VARIABLE, raising=False)
    with pytest.raises(EnvironmentProblem, match="Live search needs a key"):
        toolbox.make_tools(["web_search"], is_live=True)


@pytest.mark.parametrize("line", ["{}", '{"title": "a"}', '{"title": 1, "text": "b"}'])
def test_a_document_without_title_or_text_is_named(line, tmp_path):
    path = tmp_path / "documents.jsonl"
    files.write_atomic(path, json.dumps({"title": "a", "text": "b"}) + "\n" + line)
    with pytest.raises(DataError, match="line 2: expected a title and a text"):
        toolbox.read_documents(path)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (["--tools", "clock"], 2, "--tools: only an agent uses tools"),
        (["--guard", "--native-calls"], 2, "--guard, --native-calls: only an agent"),
        (["--agent", "--system", "x"], 2, "--system: an agent is told about its tools"),
        (["--agent", "--tools", "clok"], 1, "Did you mean clock"),
        (["--agent", "--tools", ","], 1, "No tool is named"),
        (["--agent", "--tools", "web_search", "--live-search"], 1, "SERPER_API_KEY is not set"),
    ],
)
def test_options_that_do_not_fit_are_said(words, status, problem, tunebook, monkeypatch):
    monkeypatch.delenv(web_search.KEY_VARIABLE, raising=False)
    done = tunebook("chat", "pico-chat", *words, typed="Hi\n")
    assert done.status == status
    assert problem in " ".join(done.err.split())
    assert done.out == ""


@pytest.mark.parametrize("form", [[], ["--guard"], ["--native-calls"]])
def test_a_question_is_answered_or_it_is_said_that_it_is_not(form, tunebook):
    words = ["--agent", "--tools", "calculator,clock", "--max-new-tokens", "12", *form]
    done = tunebook("chat", "pico-chat", *words, typed="What is 3 plus 4?\n")
    assert done.status == 0
    assert done.out.strip()

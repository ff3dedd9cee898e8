"""Scoring an agent: the oracle reaches the ceiling, and each slip lowers just its own measures."""

import dataclasses

import pytest

from course_lib.chat import speakers
from course_lib.data import react
from course_lib.errors import DataError
from course_lib.evaluation import agent, agent_tools

PERFECT = {"valid_calls": 1, "right_tool": 1, "right_arguments": 1, "right_answer": 1}
SUM = agent.AgentTask(
    "What is 12 x 7?",
    "en",
    "calculator",
    (("calculator", {"expression": "12 x 7"}),),
    ("84",),
    "84.",
)
PLAIN = agent.AgentTask("Who are you?", "en", agent.NO_TOOL, (), ("Pico",), "I am Pico.")


@pytest.fixture(scope="module")
def unseen():
    return agent.load_tasks("unseen")


def score_replies(replies, tasks=(SUM, PLAIN)):
    """Score a script: for each question its replies, one after the other."""

    def write(messages):
        turns = [m["content"] for m in messages if m["role"] == "user"]
        return replies[turns[0]][len(turns) - 1]

    return agent.score_agent(agent.make_agent(speakers.ScriptedSpeaker(write)), list(tasks))


@pytest.mark.parametrize("part", ["validation", "unseen", "seen", "new_tools"])
@pytest.mark.parametrize("has_guard", [False, True])
def test_an_oracle_scores_one_everywhere(part, has_guard):
    tasks = agent.load_tasks(part)
    more = agent_tools.NEW_TOOLS if part == "new_tools" else ()
    score = agent.score_agent(agent.make_agent(agent.oracle(tasks), has_guard, more), tasks)
    assert {name: getattr(score, name) for name in PERFECT} == PERFECT
    assert (score.over_calling or 0, score.misses) == (0, ())
    assert (score.over_calling is None) == (part == "new_tools")  # all of its tasks need a tool
    assert score.overall == 1


CALL = react.call_text("", "calculator", {"expression": "12*7"})
RIGHT = react.answer_text("", "It is 84.")
WRONG = react.answer_text("", "It is 83.")
PLAIN_ANSWER = [react.answer_text("", "I am Pico.")]


@pytest.mark.parametrize(
    ("replies", "lost"),
    [
        ([CALL, RIGHT], set()),  # other blanks, the same result
        ([CALL, WRONG], {"right_answer"}),
        ([RIGHT], {"valid_calls", "right_tool", "right_arguments"}),  # guessed, and right
        (
            [react.call_text("", "calculator", {"expression": "12 + 7"}), RIGHT],
            {"right_arguments"},
        ),
        (
            [react.call_text("", "clock", {"place": "Paris"}), RIGHT],
            {"right_tool", "right_arguments"},
        ),
        (
            [react.call_text("", "calculator", {"sum": "12 x 7"}), RIGHT],
            {"valid_calls", "right_arguments"},
        ),
        (
            [react.call_text("", "abacus", {"expression": "12 x 7"}), CALL, RIGHT],
            {"valid_calls", "right_tool", "right_arguments"},
        ),
        (["Let me think.", CALL, RIGHT], {"valid_calls"}),
        ([CALL, CALL, CALL, CALL], set(PERFECT)),  # never answers
    ],
)
def test_a_slip_lowers_its_own_measures_only(replies, lost):
    score = score_replies({SUM.question: replies, PLAIN.question: PLAIN_ANSWER})
    assert {name for name in PERFECT if getattr(score, name) < 1} == lost
    assert score.over_calling == 0
    assert score.known == 1


def test_a_call_where_none_is_needed_is_over_calling_even_with_a_right_answer():
    call = react.call_text("", "search", {"query": "you"})
    score = score_replies({SUM.question: [CALL, RIGHT], PLAIN.question: [call, *PLAIN_ANSWER]})
    assert (score.over_calling, score.known) == (1, 1)
    assert score.overall == 0
    assert score.steps == 2


def test_a_plain_reply_is_no_call():
    score = score_replies({SUM.question: [CALL, RIGHT], PLAIN.question: ["I am Pico."] * 4})
    assert (score.over_calling, score.known) == (0, 0)


def test_tasks_need_tools_that_are_offered(unseen):
    other = dataclasses.replace(SUM, calls=(("abacus", {}),))
    with pytest.raises(DataError, match="the tasks need abacus"):
        agent.score_agent(agent.make_agent(agent.oracle([other])), [other])
    with pytest.raises(DataError, match="no task needs one"):
        agent.score_agent(agent.make_agent(agent.oracle([PLAIN])), [PLAIN])


def test_first_replies_are_not_stopped_before_an_observation():
    said = f"{CALL}\nObservation: 84"
    seen = []

    def write(messages):
        seen.append([message["role"] for message in messages])
        return said

    assert agent.first_replies(speakers.ScriptedSpeaker(write), [SUM, PLAIN]) == [said, said]
    assert seen == [["system", "user"]] * 2


def test_a_damaged_file_is_named_with_its_row(tmp_path):
    (tmp_path / "unseen.jsonl").write_text('{"question": "?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"unseen\.jsonl, row 1: expected question, language"):
        agent.load_tasks("unseen", tmp_path)

"""An agent's scores as the command line shows them."""

import dataclasses

from course_lib.commands import scores
from course_lib.evaluation import agent

SCORE = agent.AgentScore(
    valid_calls=1.0,
    right_tool=0.75,
    right_arguments=0.5,
    right_answer=0.25,
    over_calling=0.125,
    known=0.5,
    steps=2.04,
    n={"calls": 8, agent.NO_TOOL: 4},
    misses=("Question: 1?",) * 4,
)


def test_an_agents_scores_are_a_table_with_a_column_for_each_part():
    needs_tools = {"over_calling": None, "misses": ("Question: 2?",) * 4}
    other = dataclasses.replace(SCORE, right_answer=0.0, **needs_tools)
    text = scores.agent_text({"unseen": SCORE, "new_tools": other})
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["share", "of", "tasks", "unseen", "new", "tools"]
    assert ["right_answer", "0.25", "0.00"] in lines
    assert ["over_calling", "(lower", "is", "better)", "0.12", "-"] in lines
    assert ["tasks", "12", "12"] in lines
    assert text.count("Question:") == scores.SHOWN_MISSES


def test_nothing_is_said_of_misses_when_there_are_none():
    whole = dataclasses.replace(SCORE, misses=())
    assert "wrong" not in scores.agent_text({"unseen": whole})

import json

import pytest

from course_lib.data import agent_rows, formats, ms_agent
from course_lib.errors import DataError
from tests.data import test_ms_agent as examples

MS_AGENT = examples.row(
    "谁?", f"我来找。{examples.CALL}{examples.RESULT}是 Ada。", system=examples.SYSTEM
)
OPENAI = {
    "messages": [
        {"role": "user", "content": "1+1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "x", "content": "2"},
        {"role": "assistant", "content": "2."},
    ],
    "tools": [{"type": "function", "function": {"name": "add", "description": "Adds."}}],
}


@pytest.fixture
def rows_of(tmp_path):
    def write(*rows):
        path = tmp_path / "in.jsonl"
        path.write_text("\n".join(map(json.dumps, rows)))
        return path

    return write


def test_rows_of_either_form_become_react_rows(rows_of, tmp_path):
    plain = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    }
    out = tmp_path / "out.jsonl"
    made = agent_rows.write_react_rows(rows_of(MS_AGENT, OPENAI, plain), out)
    assert (made.rows, made.with_calls, made.left_out) == (3, 2, {})
    rows = formats.read_rows(out)
    assert rows[0] == ms_agent.to_react(MS_AGENT)
    assert [m["content"] for m in rows[1]["messages"]] == [
        "You can use tools. Write Thought, Action and Action Input, or Thought and Final Answer.\n"
        "add: Adds. {}",
        "1+1?",
        'Action: add\nAction Input: {"a": 1}',
        "Observation: 2",
        "Final Answer: 2.",
    ]
    assert rows[2]["messages"][1]["content"] == "Final Answer: Ho"


def test_language_and_guard_are_passed_on():
    made = agent_rows.to_react_row(OPENAI, "zh", has_guard=True)["messages"]
    assert made[0]["content"].startswith("你可以使用工具。")
    assert made[3]["content"] == 'Observation: "2"\n现在回答：1+1?'


def test_a_bad_row_stops_and_nothing_is_written_or_it_is_left_out(rows_of, tmp_path):
    bad = examples.row("?", f"{examples.CALL} and so on")
    path, out = rows_of(MS_AGENT, bad, {"text": "x"}), tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"row 2.*speaks on without its plugin's result"):
        agent_rows.write_react_rows(path, out)
    assert not out.exists()
    made = agent_rows.write_react_rows(path, out, skip_bad_rows=True)
    assert made.rows == 1
    assert list(made.left_out) == [2, 3]
    assert made.left_out[3] == "expected a conversation with tools, found text."


def test_a_file_without_a_good_row_or_another_ending_is_said(rows_of, tmp_path):
    with pytest.raises(DataError, match="gives no rows: expected a conversation"):
        agent_rows.write_react_rows(rows_of({"a": 1}), tmp_path / "o.jsonl", skip_bad_rows=True)
    with pytest.raises(DataError, match=r"does not end in \.jsonl"):
        agent_rows.write_react_rows(rows_of(OPENAI), tmp_path / "o.json")


def test_the_command_writes_and_names_the_next_step(tunebook, rows_of, tmp_path):
    out = tmp_path / "out.jsonl"
    path = rows_of(MS_AGENT, {"text": "x"})
    stopped = tunebook("data", "react", path, "--out", out)
    assert stopped.status == 1
    assert "row 2" in stopped.err
    done = tunebook("data", "react", path, "--out", out, "--skip-bad-rows")
    assert done.out.split("\n") == [
        f"{out}: 1 rows, 1 of them with calls",
        "left out: row 2: expected a conversation with tools, found text.",
        f"  -> tunebook data inspect {out}",
        "",
    ]

"""Each format's rows, worked out by hand; and what is wrong with broken ones."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import conversions, detection, formats
from course_lib.errors import DataError


def say(*texts, system=""):
    """Messages that take turns, the user first."""
    first = [{"role": "system", "content": system}] if system else []
    roles = ("user", "assistant") * len(texts)
    turns = [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]
    return {"messages": first + turns}


def share(*turns, **fields):
    return {"conversations": [{"from": who, "value": text} for who, text in turns], **fields}


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": 1}}}
CALL_TEXT = '{"name": "add", "arguments": {"a": 1, "b": 1}}'
THINK = '<|startofthink|>```JSON\n{"api_name": "add"}\n```<|endofthink|>'
EXEC = "<|startofexec|>```JSON\n{}\n```<|endofexec|>"
OPENAI_CALL = {
    "id": "1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a": 1, "b": 1}'},
}
ASK = {"role": "user", "content": "1+1?"}
TELL = {"role": "assistant", "content": "2"}
USED_TOOL = {
    "messages": [
        ASK,
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "2"},
        TELL,
    ]
}

# format, row as it stands in a file, row as it is read
TABLE = [
    ("messages", say("Hi", "Hello"), say("Hi", "Hello")),
    ("messages", say("a", "b", "c", "d", system="S"), say("a", "b", "c", "d", system="S")),
    ("messages", {"conversations": say("Hi", "Hello")["messages"]}, say("Hi", "Hello")),
    ("messages", {"messages": json.dumps(say("Hi", "Hello")["messages"])}, say("Hi", "Hello")),
    ("messages", {"messages": str(say("Hi", "it's")["messages"])}, say("Hi", "it's")),
    (
        "messages",
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": None, "tool_calls": [OPENAI_CALL]},
                {"role": "tool", "tool_call_id": "1", "content": "2"},
                {"role": "assistant", "content": "2", "tool_calls": None},
            ]
        },
        {
            "messages": [
                ASK,
                {"role": "assistant", "content": "", "tool_calls": [OPENAI_CALL]},
                {"role": "tool", "content": "2", "tool_call_id": "1"},
                TELL,
            ]
        },
    ),
    (
        "messages",
        {"messages": [ASK, {"role": "assistant", "tool_calls": [CALL]}]},
        {"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]}]},
    ),
    (
        "messages",  # a flag belongs to its own message alone
        {"messages": [ASK, {**TELL, "loss": False}, ASK, {**TELL, "weight": 1}]},
        {"messages": [ASK, {**TELL, "loss": False}, ASK, {**TELL, "weight": 1}]},
    ),
    ("conversation", {"conversation": [{"input": "a", "output": "b"}]}, say("a", "b")),
    (
        "conversation",
        {
            "conversation": [
                {"system": "S", "input": "a", "output": "b"},
                {"input": "c", "output": "d"},
            ]
        },
        say("a", "b", "c", "d", system="S"),
    ),
    (
        "conversation",
        {"conversation": [{"input": "1+1?", "output": "2", "output_with_loss": False}]},
        {"messages": [ASK, {**TELL, "loss": False}]},
    ),
    ("alpaca", {"instruction": "a", "output": "b"}, say("a", "b")),
    ("alpaca", {"instruction": "a", "input": "", "output": "b"}, say("a", "b")),
    ("alpaca", {"instruction": "a", "input": None, "output": "b"}, say("a", "b")),
    ("alpaca", {"instruction": "a", "input": "i", "output": "b"}, say("a\ni", "b")),
    (
        "alpaca",
        {
            "instruction": "c",
            "input": "",
            "output": "d",
            "history": [["a", "b"]],
            "system": "S",
        },
        say("a", "b", "c", "d", system="S"),
    ),
    (
        "alpaca",
        {"instruction": "c", "output": "d", "history": '[["a", "b"]]', "system": ""},
        say("a", "b", "c", "d"),
    ),
    ("sharegpt", share(("human", "a"), ("gpt", "b")), say("a", "b")),
    (
        "sharegpt",
        share(("system", "S"), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")),
        say("a", "b", "c", "d", system="S"),
    ),
    ("sharegpt", share(("human", "a"), ("gpt", "b"), system="S"), say("a", "b", system="S")),
    (
        "sharegpt",
        share(("human", "1+1?"), ("function_call", CALL_TEXT), ("observation", "2"), ("gpt", "2")),
        USED_TOOL,
    ),
    (
        "sharegpt",  # a remark and two calls at once
        share(
            ("human", "1+1?"),
            ("gpt", "2"),
            ("function_call", CALL_TEXT),
            ("function_call", CALL_TEXT),
            ("tool", "2"),
        ),
        {
            "messages": [
                ASK,
                {**TELL, "tool_calls": [CALL, CALL]},
                {"role": "tool", "content": "2"},
            ]
        },
    ),
    ("ms_agent", share(("user", "a"), ("assistant", "b")), say("a", "b")),
    (
        "ms_agent",
        share(
            ("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")
        ),
        say("a", "b", "c", "d", system="S"),
    ),
    (
        "ms_agent",  # the call is the model's, the result is not
        share(("user", "a"), ("assistant", f"I call.\n{THINK}\n\n{EXEC}\n2")),
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": f"I call.\n{THINK}"},
                {"role": "tool", "content": "```JSON\n{}\n```"},
                {"role": "assistant", "content": "2"},
            ]
        },
    ),
    (
        "ms_agent",  # the published table holds the list as Python writes it
        {"conversations": str(share(("user", "a"), ("assistant", "it's\nb"))["conversations"])},
        say("a", "it's\nb"),
    ),
    ("oasst1", {"text": "### Human: a### Assistant: b"}, say("a", "b")),
    ("oasst1", {"text": "### Human: a\n### Assistant: b\n"}, say("a", "b")),
    (
        "oasst1",  # headings and half marks are text
        {"text": "### Human: a### b\n###Human: c ### human: d### Assistant: # e\n### Step 1: f"},
        say("a### b\n###Human: c ### human: d", "# e\n### Step 1: f"),
    ),
    (
        "oasst1",
        {"text": "### Human: a### Assistant: b### Human: c### Assistant: d"},
        say("a", "b", "c", "d"),
    ),
    (
        "oasst1",  # the question at the end has no answer
        {"text": "### Human: a### Assistant: b### Human: c"},
        say("a", "b"),
    ),
    ("text", {"text": "a ### Human: b"}, {"text": "a ### Human: b"}),
    ("text", {"text": " a\n"}, {"text": " a\n"}),
]


@pytest.mark.parametrize(("name", "row", "expected"), TABLE)
def test_a_row_of_each_format_is_told_and_read(name, row, expected):
    before = json.dumps(row)
    assert list(detection.fitting_formats(row)) == [name]
    assert conversions.convert(row, name) == expected
    assert json.dumps(row) == before


def test_the_table_holds_every_format():
    assert {name for name, _, _ in TABLE} == set(conversions.EXAMPLES)
    assert set(conversions.ROW_FIELDS) == set(conversions.EXAMPLES)


@pytest.mark.parametrize("name", conversions.EXAMPLES)
def test_the_examples_in_messages_are_good_rows(name):
    row = json.loads(conversions.EXAMPLES[name])
    assert conversions.convert(row, name)
    assert list(detection.fitting_formats(row)) == [name]


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ({"instruction": "a", "output": "b", "text": "c"}, ["alpaca", "text"]),
        ({"messages": [], "conversation": []}, ["messages", "conversation"]),
        ({"messages": [], "text": "### Human: a"}, ["messages", "oasst1"]),
        (share(("human", "a"), text="b"), ["sharegpt", "text"]),
        ({"instruction": "a"}, []),
        ({"prompt": "a", "completion": "b"}, []),
        ({}, []),
        ("text", []),
        ({"conversations": "Hi"}, ["sharegpt"]),
        (share(("user", "a"), ("human", "b")), ["sharegpt"]),
    ],
)
def test_the_formats_that_a_row_may_be_in_are_listed(row, kinds):
    assert list(detection.fitting_formats(row)) == kinds
    if len(kinds) > 1:
        with pytest.raises(DataError, match=f"row 1: it could be {kinds[0]}.* or {kinds[1]}"):
            formats.detect_format([row])


def test_texts_of_which_only_some_have_marks_are_not_guessed():
    marked, plain = {"text": "### Human: a### Assistant: b"}, {"text": "a"}
    for rows in ([marked, plain], [plain, marked]):
        with pytest.raises(DataError, match="row 2: expected the format") as caught:
            formats.detect_format(rows)
        assert caught.value.next_step.endswith("name the format, oasst1 or text.")


# format, broken row, message
BROKEN = [
    ("alpaca", {"instruction": "a"},
     "expected the fields instruction and output, found fields instruction."),
    ("alpaca", {"instruction": "", "output": "b"}, "field instruction: the text is empty."),
    ("alpaca", {"instruction": "a", "output": " "}, "field output: the text is empty."),
    ("alpaca", {"instruction": "a", "output": None}, "field output: expected text, found nothing."),
    ("alpaca", {"instruction": "a", "output": 7}, "field output: expected text, found int."),
    ("alpaca", {"instruction": "a", "input": 7, "output": "b"},
     "field input: expected text, found int."),
    ("alpaca", {"instruction": "a", "output": "b", "history": ["c"]},
     "field history, turn 1: expected a question and its answer."),
    ("alpaca", {"instruction": "a", "output": "b", "history": 5},
     "field history, turn 1: expected a question and its answer."),
    ("alpaca", {"instruction": "a", "output": "b", "history": [["c", ""]]},
     "field history, turn 1, assistant: the text is empty."),
    ("alpaca", {"instruction": "a", "output": "b", "system": 1},
     "field system: expected text, found int."),
    ("messages", {"messages": [ASK, ASK, TELL]},
     "message 2 (user): the message before it is the user's too."),
    ("messages", {"messages": [ASK, TELL, TELL]},
     "message 3 (assistant): the message before it is the assistant's too."),
    ("messages", {"messages": [ASK, {"role": "tool", "content": "2"}, TELL]},
     "message 2 (tool): no assistant's call stands before it."),
    ("messages", {"messages": [ASK]},
     "no message has the role 'assistant', so there is nothing to learn."),
    ("messages", {"messages": [ASK, {"role": "assistant", "content": ""}]},
     "message 2 (assistant), field content: the text is empty."),
    ("messages", {"messages": [ASK, {"role": "assistant", "content": "", "tool_calls": []}]},
     "message 2 (assistant), field content: the text is empty."),
    ("messages", {"messages": [ASK, {"role": "bot", "content": "2"}]},
     "message 2, field role: 'bot' is not a role."),
    ("messages", {"messages": "Hi"},
     "field messages: expected a list, found a text that is not one: 'Hi'."),
    ("messages", {"text": "Hi"}, "expected the field messages, found fields text."),
    ("sharegpt", share(("human", "a"), ("bard", "b")), "turn 2, field from: 'bard' is no speaker."),
    ("sharegpt", share(("human", "a"), (["gpt"], "b")),
     "turn 2, field from: ['gpt'] is no speaker."),
    ("sharegpt", {"conversations": [{"value": "a"}]}, "turn 1, field from: None is no speaker."),
    ("sharegpt", share(("gpt", "a"), ("human", "b")),
     "message 1, field role: expected the user's first message, found 'assistant'."),
    ("sharegpt", share(("human", "a"), ("human", "b"), ("gpt", "c")),
     "message 2 (user): the message before it is the user's too."),
    ("sharegpt", share(("human", "a"), ("gpt", "")),
     "turn 2 (gpt), field value: the text is empty."),
    ("sharegpt", share(("human", "a"), ("function_call", "add(1, 1)")),
     "turn 2 (function_call), field value: expected JSON with name and arguments, "
     "found 'add(1, 1)'."),
    ("sharegpt", share(("human", "a"), ("function_call", '{"name": "add"}')),
     "turn 2 (function_call), field value: expected JSON with name and arguments, "
     "found '{\"name\": \"add\"}'."),
    ("sharegpt", {"conversations": []},
     "field conversations: expected a list of turns, found none."),
    ("ms_agent", share(("user", "a"), ("gpt", "b")), "turn 2, field from: 'gpt' is no speaker."),
    ("ms_agent", share(("user", "a"), ("assistant", "<|startofexec|>b")),
     "turn 2 (assistant), field value: a mark around a plugin's result has no partner."),
    ("ms_agent", share(("user", "a"), ("assistant", EXEC + "b")),
     "message 2 (tool): no assistant's call stands before it."),
    ("ms_agent", share(("user", "a"), ("assistant", "b<|startofexec|> <|endofexec|>")),
     "turn 2 (assistant), result of a plugin: the text is empty."),
    ("ms_agent", {"conversations": "[{'from': open('x')}]"},
     "field conversations: expected a list, found a text that is not one: "
     "\"[{'from': open('x')}]\"."),
    ("oasst1", {"text": "a### Assistant: b"},
     "field text: expected '### Human:' at its start, found 'a'."),
    ("oasst1", {"text": "a"}, "field text: expected '### Human:' at its start, found 'a'."),
    ("oasst1", {"text": "### Assistant: b"},
     "message 1, field role: expected the user's first message, found 'assistant'."),
    ("oasst1", {"text": "### Human: a### Human: b### Assistant: c"},
     "message 2 (user): the message before it is the user's too."),
    ("oasst1", {"text": "### Human: a### Assistant:"},
     "turn 2 (### Assistant:): the text is empty."),
    ("oasst1", {"text": "### Human: a"},
     "no message has the role 'assistant', so there is nothing to learn."),
    ("oasst1", {"text": 5}, "field text: expected text, found int."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "row", "message"), BROKEN)
def test_a_broken_row_is_named_by_its_field(name, row, message):
    with pytest.raises(DataError) as caught:
        conversions.convert(row, name)
    assert caught.value.message == message
    assert caught.value.next_step


JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["user", "assistant", "tool", "human", "[1]", "{}", "\ud800"])
)  # fmt: skip
FIELDS = st.sampled_from(
    ["messages", "conversations", "conversation", "role", "content", "from", "value", "text",
     "tool_calls", "function", "instruction", "output", "input", "history", "system", "prompt",
     "replies", "message_id", "message_tree_id", "parent_id", "rank"]
)  # fmt: skip
ANYTHING = st.recursive(
    JUNK, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4)
)


@given(st.lists(ANYTHING, min_size=1, max_size=3), st.sampled_from(formats.FORMATS))
def test_no_row_whatever_it_holds_ends_in_another_error(tmp_path_factory, rows, name):
    path = tmp_path_factory.mktemp("junk") / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for format_name in ("auto", name):
        with contextlib.suppress(DataError):
            formats.read_rows(path, format_name)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@given(st.lists(TEXT.filter(lambda t: "### " not in t and not t.endswith("###")),
                min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))  # fmt: skip
def test_any_talk_comes_back_from_oasst1_text(texts):
    marks = ("### Human: ", "### Assistant: ") * len(texts)
    text = "".join(mark + text for mark, text in zip(marks, texts, strict=False))
    assert conversions.convert({"text": text}, "oasst1") == say(*texts)


@given(st.lists(TEXT, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
def test_any_talk_comes_back_from_a_cell_of_json_or_python(texts):
    turns = share(*zip(("human", "gpt") * len(texts), texts, strict=False))["conversations"]
    for cell in (json.dumps(turns), str(turns)):
        assert conversions.convert({"conversations": cell}, "sharegpt") == say(*texts)

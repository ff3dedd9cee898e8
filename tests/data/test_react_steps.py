import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import react_steps
from course_lib.data.react_steps import Call, FinalAnswer, Malformed

CALL = Call("clock", {"place": "Paris"}, "I look.")


# form may vary, the meaning is the same
@pytest.mark.parametrize(
    "text",
    [
        'Thought: I look.\nAction: clock\nAction Input: {"place": "Paris"}',
        '  thought:I look.\n\n ACTION :  clock \n action input :{"place":"Paris"}\n\n',
        'Thought：I look.\nAction：clock\nAction Input：{"place": "Paris"}',
        '**Thought:** I look.\n**Action:** clock\n**Action Input:** {"place": "Paris"}',
        '**Thought**: I look.\n__Action__: clock\n**Action Input**: {"place": "Paris"}',
        'I look.\nAction: clock\nAction Input: {"place": "Paris"}',
        '```\nThought: I look.\nAction: clock\nAction Input: {"place": "Paris"}\n```',
        'Thought: I look.\nAction: `clock`\nAction Input:\n```json\n{"place": "Paris"}\n```',
        'Thought: I look.\nAction: "clock"\nAction Input: {\n  "place":\n  "Paris"\n}',
        "Thought: I look.\nAction: clock\nAction Input: {'place': 'Paris'}",
        'Thought: I\nThought: look.\nAction: clock\nActionInput: {"place": "Paris"}',
        'Thought: I look.\r\nAction: clock\r\nAction Input: {"place": "Paris"}\r\n',
    ],
)
def test_a_call_is_read_in_each_of_its_forms(text):
    assert react_steps.parse_step(text) == CALL


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("Thought: Done.\nFinal Answer: 84", FinalAnswer("84", "Done.")),
        ("final answer：好的。", FinalAnswer("好的。")),
        ("Final Answer:\nOne\n\n```\nTwo\n```", FinalAnswer("One\n\n```\nTwo\n```")),
        ("Final Answer: see the Action: menu", FinalAnswer("see the Action: menu")),
        ("Action: now\nAction Input: {}", Call("now")),
        ('Action: a\nAction Input: {"x": "y\\nAction: b"}', Call("a", {"x": "y\nAction: b"})),
        ("Action: a\nAction Input: {'x': 1, 'y': 'b c'}", Call("a", {"x": 1, "y": "b c"})),
        ('Action: a\nAction Input: {"x": "it\'s"}', Call("a", {"x": "it's"})),
    ],
)
def test_other_steps_are_read(text, step):
    assert react_steps.parse_step(text) == step


# what could mean nothing, or two things
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("empty", ""),
        ("empty", " \n\t"),
        ("no_step", "Paris is the capital of France."),
        ("no_step", "Thought: I wonder."),
        ("invented_observation", "Action: a\nAction Input: {}\nObservation: 3\nFinal Answer: 3"),
        ("invented_observation", "Observation: 14:05"),
        ("two_actions", "Action: a\nAction Input: {}\nAction: b\nAction Input: {}"),
        ("two_actions", "Action: a\nAction: b\nAction Input: {}"),
        ("two_actions", "Action: a\nAction Input: {}\nAction Input: {}"),
        ("two_answers", "Final Answer: 3\nFinal Answer: 4"),
        ("action_and_answer", "Action: a\nAction Input: {}\nFinal Answer: 4"),
        ("action_and_answer", "Final Answer: 4\nAction: a"),
        ("no_action", "Thought: x\nAction Input: {}"),
        ("no_name", "Action:\nAction Input: {}"),
        ("no_name", "Action: ``\nAction Input: {}"),
        ("bad_name", "Action: a, b\nAction Input: {}"),
        ("bad_name", "Action: the clock\nAction Input: {}"),
        ("bad_name", "Action: clock(1)\nAction Input: {}"),
        ("bad_name", "Action: a\nb\nAction Input: {}"),
        ("no_input", "Thought: x\nAction: a"),
        ("no_input", "Action: a\nAction Input:"),
        ("no_input", "Action: a\nAction Input: ```json\n```"),
        ("wrong_order", "Action Input: {}\nAction: a"),
        ("wrong_order", "Action: a\nThought: x\nAction Input: {}"),
        ("wrong_order", "Action: a\nAction Input: {}\nThought: done"),
        ("wrong_order", "Final Answer: 3\nThought: done"),
        ("bad_json", "Action: a\nAction Input: Paris"),
        ("bad_json", 'Action: a\nAction Input: {"x": 1 "y": 2}'),
        ("bad_json", 'Action: a\nAction Input: {"x": NaN}'),
        ("bad_json", 'Action: a\nAction Input: {"x": Infinity}'),
        ("bad_json", 'Action: a\nAction Input: {"x": 1e999}'),
        ("bad_json", "Action: a\nAction Input: {x: 1}"),
        ("bad_json", "Action: a\nAction Input: {'x': 'it's'}"),
        ("bad_json", "Action: a\nAction Input: {'x': \"y\"}"),
        ("bad_json", 'Action: a\nAction Input: {"x"： 1}'),
        ("bad_json", "Action: a\nAction Input: " + "9" * 5_000),
        ("bad_json", "Action: a\nAction Input: " + "[" * 100_000),
        ("truncated_json", 'Action: a\nAction Input: {"x": "Par'),
        ("truncated_json", 'Action: a\nAction Input: {"x": 1'),
        ("truncated_json", 'Action: a\nAction Input: {"x":'),
        ("truncated_json", "Action: a\nAction Input: {"),
        ("not_an_object", 'Action: a\nAction Input: "Paris"'),
        ("not_an_object", "Action: a\nAction Input: ['Paris']"),
        ("not_an_object", "Action: a\nAction Input: 3"),
        ("not_an_object", "Action: a\nAction Input: null"),
        ("not_an_object", "Action: a\nAction Input: true"),
        ("double_key", 'Action: a\nAction Input: {"x": 1, "x": 2}'),
        ("double_key", 'Action: a\nAction Input: {"x": {"y": 1, "y": 1}}'),
        ("trailing_text", 'Action: a\nAction Input: {"x": 1} and then'),
        ("trailing_text", 'Action: a\nAction Input: {"x": 1} {"x": 2}'),
        ("empty_answer", "Thought: x\nFinal Answer:"),
    ],
)
def test_what_means_nothing_or_two_things_is_named(kind, text):
    step = react_steps.parse_step(text)
    assert isinstance(step, Malformed)
    assert step.kind == kind
    assert step.reason.startswith(react_steps.REASONS[kind].rstrip("."))
    assert step.reason.endswith(".")


def test_every_reason_has_a_row_in_the_table():
    marks = test_what_means_nothing_or_two_things_is_named.pytestmark
    kinds = {kind for kind, _ in marks[0].args[1]}
    assert kinds == set(react_steps.REASONS)
    assert len(kinds) >= 12


def test_the_thought_of_a_malformed_step_is_kept():
    assert react_steps.parse_step("Thought: I look.\nAction: a").thought == "I look."


PIECES = [
    *["Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:", "Action Input："],
    *["\n", "\n\n", " ", "```", "```json\n", "**", "__", "{", "}", "[", "]", '"', "'", ":", ","],
    *[
        '{"a": 1}',
        "{'a': 'b'}",
        '"a":',
        "calculator",
        "思考",
        "\\",
        "\\u12",
        "\ud800",
        "\x00",
        "1e999",
    ],
    *["NaN", "-", "0" * 50, "<tool_call>", "</tool_call>", "<|im_end|>", "é", "\u202e", "\r"],
]


def test_ten_thousand_random_continuations_are_read_quickly():
    rng = random.Random(5)
    began = time.monotonic()
    kinds = set()
    for _ in range(10_000):
        start = rng.choice(("", "Thought: x\n", "Action: a\nAction Input: ", "Final Answer: "))
        text = start + "".join(rng.choices(PIECES, k=rng.randint(0, 20)))
        kinds.add(type(react_steps.parse_step(text)))
    assert kinds == {Call, FinalAnswer, Malformed}
    assert time.monotonic() - began < 30


@settings(max_examples=300)
@given(st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_is_read_as_a_step(text):
    step = react_steps.parse_step(text)
    assert isinstance(step, Call | FinalAnswer | Malformed)
    if isinstance(step, Call):
        assert isinstance(step.arguments, dict)


@pytest.mark.parametrize(
    "sign", [" ", "\n", "*", "`", "{", "[", '"', "'", "A", "\n```", "Action:\n"]
)
def test_a_long_run_of_one_sign_takes_no_time(sign):
    start = time.monotonic()
    react_steps.parse_step("Action: a\nAction Input: " + sign * 50_000)
    react_steps.parse_step(sign * 50_000)
    assert time.monotonic() - start < 5

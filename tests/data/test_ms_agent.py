import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import masking, ms_agent, tool_specs
from course_lib.errors import DataError

# The two shapes in which plugins are described, with invented plugins.
PLUGIN = {
    "plugin_name": "shop_cover-song",
    "plugin_owner": "Shop",
    "plugin_schema_for_model": {
        "name": "cover",
        "description": "Sings a song anew.",
        "paths": [
            {
                "name": "sing",
                "method": "post",
                "parameters": [
                    {"name": "song", "description": "which", "required": "True"},
                    {"name": "key", "description": "how high", "required": "False"},
                ],
            }
        ],
    },
}
PLAIN = {
    "name": "modelscope_text-ie",
    "description": "Finds names.",
    "paths": [{"parameters": [{"name": "text", "description": "what", "required": True}]}],
}
SYSTEM = (
    "你是助手。当前对话可以使用的插件信息如下：\n\n"
    f"1. {json.dumps(PLUGIN, ensure_ascii=False)}\n\n2. {json.dumps(PLAIN)}"
)
CALL = (
    '<|startofthink|>```JSON\n{"api_name": "modelscope_text-ie", "url": "http://x", '
    '"parameters": {"text": "Ada"}}\n```<|endofthink|>'
)
RESULT = '<|startofexec|>```JSON\n{"names": ["Ada"]}\n```<|endofexec|>'


def row(*texts, system=None):
    turns = [{"from": "system", "value": system}] if system else []
    speakers = ["user", "assistant"] * len(texts)
    turns += [{"from": f, "value": v} for f, v in zip(speakers, texts, strict=False)]
    return {"id": "x", "conversations": turns}


# worked out by hand
def test_a_row_is_taken_apart():
    made = ms_agent.to_row(row("谁?", f"我来找。\n{CALL}\n\n{RESULT}\n\n是 Ada。", system=SYSTEM))
    assert made["messages"] == [
        {"role": "system", "content": "你是助手。当前对话可以使用的插件信息如下"},
        {"role": "user", "content": "谁?"},
        {
            "role": "assistant",
            "content": "我来找。",
            "tool_calls": [
                {
                    "type": "function",
                    "function": {"name": "modelscope_text-ie", "arguments": {"text": "Ada"}},
                }
            ],
        },
        {"role": "tool", "content": '{"names": ["Ada"]}'},
        {"role": "assistant", "content": "是 Ada。"},
    ]
    specs = tool_specs.from_openai(made["tools"])
    assert [(spec.name, spec.description) for spec in specs] == [
        ("shop_cover-song", "Sings a song anew."),
        ("modelscope_text-ie", "Finds names."),
    ]
    assert [tool_specs.signature(spec) for spec in specs] == [
        '{"song": string, "key"?: string}',
        '{"text": string}',
    ]


def test_a_row_becomes_react_text():
    made = ms_agent.to_react(
        row("谁?", f"我来找。{CALL}{RESULT}是 Ada。", "好", "再见", system=SYSTEM)
    )
    assert [m["role"] for m in made["messages"]] == ["system", *["user", "assistant"] * 3]
    assert [m["content"] for m in made["messages"][2:5]] == [
        'Thought: 我来找。\nAction: modelscope_text-ie\nAction Input: {"text": "Ada"}',
        'Observation: {"names": ["Ada"]}',
        "Final Answer: 是 Ada。",
    ]
    assert made["messages"][0]["content"].endswith(
        'modelscope_text-ie: Finds names. {"text": string}'
    )


@pytest.mark.parametrize(
    "call",
    [
        '<|startofthink|>{"api_name": "a", "parameters": {"x": "1"}}<|endofthink|>',
        '<|startofthink|>```json\n{"api_name": "a", "parameters": {"x": "1"}}```<|endofthink|>',
        '<|startofthink|>```JSON\\n{\\n   "api_name": "a",\\n "parameters": {"x": "1"}\\n}\\n```'
        "<|endofthink|>",
        '<|startofthink|>\n```\n{"api_name": " a ", "parameters": {"x": "1"}}\n```\n<|endofthink|>',
    ],
)
def test_calls_are_read_in_each_of_their_forms(call):
    made = ms_agent.to_row(row("?", call))["messages"]
    assert made[1]["tool_calls"][0]["function"] == {"name": "a", "arguments": {"x": "1"}}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("<|startofthink|>{}<|endofthink|>", "message 2 .assistant.: expected a call as JSON"),
        ("<|startofthink|>[1]<|endofthink|>", "expected a call as JSON"),
        ("<|startofthink|>{<|endofthink|>", "expected a call as JSON"),
        ('<|startofthink|>{"api_name": 1}<|endofthink|>', "expected a call as JSON"),
        (
            '<|startofthink|>{"api_name": "a", "parameters": [1]}<|endofthink|>',
            "expected a call as JSON",
        ),
        ('<|startofthink|>{"api_name": "!"}<|endofthink|>', "'!' is no name for a plugin"),
        (f"{CALL} and so on", "speaks on without its plugin's result"),
        (f"{CALL} and {CALL}", "speaks on without its plugin's result"),
        ("<|startofthink|>{}", "a mark around a plugin's call has no partner"),
        (f"{CALL}{RESULT}<|startofexec|>", "a mark around a plugin's result has no partner"),
    ],
)
def test_a_reply_that_cannot_be_taken_apart_is_named(text, match):
    with pytest.raises(DataError, match=match):
        ms_agent.to_row(row("?", text))


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("modelscope_text-ie", "modelscope_text-ie"),
        ("model scope/文字 ie", "model_scope_ie"),
        ("3d", "plugin_3d"),
        ("x" * 80, "x" * 64),
    ],
)
def test_names_become_names_that_a_call_can_hold(name, made):
    assert ms_agent.to_name(name) == made


@pytest.mark.parametrize("text", ["你是助手。", 'Use {"a": 1} and {x}.', "{" * 10_000])
def test_a_system_text_without_plugins_stays_whole(text):
    assert ms_agent.split_system(text) == (text, [])


@settings(max_examples=10)
@given(words=st.text("abc观察 {}\"'", min_size=1, max_size=12).filter(str.strip))
def test_no_token_of_a_result_carries_loss(words, pico_tokenizer):
    result = f"<|startofexec|>zq{words}qz<|endofexec|>"
    value = row("谁?", f"我来找。{CALL}{result}是 Ada。", system=SYSTEM)
    for made in (ms_agent.to_react(value), ms_agent.to_row(value)):
        encoded = masking.encode_rows([made], pico_tokenizer, 2_000).rows[0]
        pairs = list(zip(encoded.input_ids, encoded.labels, strict=True))
        learned = pico_tokenizer.decode([i for i, label in pairs if label >= 0])
        assert "zq" not in learned
        assert "zq" in pico_tokenizer.decode([i for i, label in pairs if label < 0])
        assert "text-ie" in learned
        assert learned.endswith("是 Ada。<|im_end|>")

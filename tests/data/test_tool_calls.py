import pytest

from course_lib.data import chat_template, masking, tool_calls
from course_lib.errors import DataError, ModelError
from tests.data import templates

USER = {"role": "user", "content": "1+1?"}
RESULT = {"role": "tool", "content": "2"}
REPLY = {"role": "assistant", "content": "2."}


def call(arguments='{"a": 1}', content=None, name="add"):
    function = {"name": name, "arguments": arguments}
    calls = [{"id": "x", "type": "function", "function": function}]
    return {"role": "assistant", "content": content, "tool_calls": calls}


# worked out by hand
@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Hi"}, "Hi"),
        ({"content": "Hi", "tool_calls": None}, "Hi"),
        (call(), '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'),
        (call({"a": "中"}), '<tool_call>\n{"name": "add", "arguments": {"a": "中"}}\n</tool_call>'),
        (call(""), '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'),
        (call(None), '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'),
        (
            call(content="Let me see."),
            'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>',
        ),
        (
            call() | {"tool_calls": call()["tool_calls"] + call("{}", name="sub")["tool_calls"]},
            '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>\n'
            '<tool_call>\n{"name": "sub", "arguments": {}}\n</tool_call>',
        ),
    ],
)
def test_calls_stand_behind_the_content(message, text):
    assert tool_calls.whole_content(message) == text


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (call("{1}"), r"call 1: the arguments are not JSON \(.*column 2\)"),
        (call("[1]"), "call 1: the arguments are not a JSON object"),
        (call([1]), "call 1: the arguments are not a JSON object"),
        (REPLY | {"tool_calls": [{"name": "add"}]}, "call 1: expected an object with function"),
        (REPLY | {"tool_calls": ["add"]}, "call 1: expected an object with function"),
        (REPLY | {"tool_calls": {"name": "add"}}, "expected a list of calls .* found dict"),
        (USER | {"tool_calls": call()["tool_calls"]}, "by the assistant, found user"),
    ],
)
def test_a_call_that_cannot_be_written_is_named(message, problem):
    messages = [USER, message] if message["role"] == "assistant" else [message]
    with pytest.raises(DataError, match=rf"message {len(messages)} .*field tool_calls.*{problem}"):
        chat_template.check_messages(messages)


def test_a_call_needs_no_content_and_an_answer_does():
    chat_template.check_messages([USER, call(), RESULT, REPLY])
    chat_template.check_messages([USER, call(content=""), RESULT, REPLY])
    with pytest.raises(DataError, match=r"message 2 .*the text is empty"):
        chat_template.check_messages([USER, {"role": "assistant", "content": "", "tool_calls": []}])


def test_calls_carry_loss_and_results_carry_none(pico_tokenizer):
    row = masking.encode_row([USER, call(), RESULT, REPLY], pico_tokenizer, 200)
    learned = pico_tokenizer.decode([i for i in row.labels if i != masking.IGNORE_INDEX])
    text = tool_calls.whole_content(call())
    assert learned == f"{text}<|im_end|>2.<|im_end|>"


# as Qwen2.5 writes calls: the same text as ours
HERMES = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% if m.content or not loop.first %}{{ '\n' }}{% endif %}"
    '<tool_call>\n{{ \'{"name": "\' ~ c.function.name ~ \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|im_end|>\n{% endfor %}"
)


def test_a_template_that_writes_calls_as_we_do_is_taken(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", HERMES)
    segments = chat_template.messages_to_segments([USER, call(), RESULT, REPLY], tokenizer)
    assert tool_calls.whole_content(call()) in [s.text for s in segments if s.has_loss]


REFUSES = HERMES.replace("{% for c in", "{% if m.tool_calls %}{{ raise_exception('no') }}"
                         "{% endif %}{% for c in")  # fmt: skip


@pytest.mark.parametrize("other", [HERMES.replace("tool_call>", "call>"), REFUSES])
def test_a_template_that_writes_calls_in_another_way_is_refused(pico_tokenizer, other):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", other)
    with pytest.raises(ModelError, match="writes tool calls in another way") as caught:
        chat_template.messages_to_segments([USER, call(), RESULT, REPLY], tokenizer)
    assert "prompt_template: chatml" in caught.value.next_step

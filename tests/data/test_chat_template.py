import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import chat_template, encoders
from course_lib.errors import DataError, ModelError
from tests.data import templates

SYSTEM = {"role": "system", "content": "Be kind."}
USER = {"role": "user", "content": "Hi there"}
REPLY = {"role": "assistant", "content": "Hello!"}
TOOL = {"role": "tool", "content": 'say "4"\n'}

# Joined at random; templates strip some blanks, and none of this may be read as template code.
PIECES = ["a", "Zoë", "你好", "🙂", " ", "\n", "\t", "\u2028", "\x1f", "{{ 1 }}", "{% if %}", "###",
          '"', "\\", "0", "</", "<|", "[INST"]  # fmt: skip
CONTENTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
CONTENTS = CONTENTS.filter(lambda text: text.strip())


@st.composite
def conversations(draw, contents=CONTENTS, has_system=True):
    """One to three turns of user and assistant, sometimes with a system text before."""
    roles = ["user", "assistant"] * draw(st.integers(1, 3))
    if has_system and draw(st.booleans()):
        roles.insert(0, "system")
    return [{"role": role, "content": draw(contents)} for role in roles]


@pytest.fixture(scope="session")
def tokenizers(pico_tokenizer):
    made = {n: templates.attach_template(pico_tokenizer, n) for n in templates.TEMPLATES}
    return {"pico": pico_tokenizer, **made}


NAMES = pytest.mark.parametrize("name", ["pico", *templates.TEMPLATES])


def to_ids(messages, tokenizer):
    segments = chat_template.messages_to_segments(messages, tokenizer)
    return chat_template.tokenize_segments(segments, tokenizer)


# worked out by hand: what a template writes; [ ] is content, ( ) has loss
@pytest.mark.parametrize(
    ("name", "messages", "expected"),
    [
        (
            "pico",
            [SYSTEM, USER, REPLY],
            "<|im_start|>system\n[Be kind.]<|im_end|>\n<|im_start|>user\n[Hi there]<|im_end|>\n"
            "<|im_start|>assistant\n([Hello!])(<|im_end|>)\n",
        ),
        (
            "pico",
            [USER, REPLY, USER, REPLY],
            "<|im_start|>user\n[Hi there]<|im_end|>\n<|im_start|>assistant\n([Hello!])(<|im_end|>)"
            "\n<|im_start|>user\n[Hi there]<|im_end|>\n<|im_start|>assistant\n([Hello!])"
            "(<|im_end|>)\n",
        ),
        (
            "llama2",
            [SYSTEM, USER, REPLY],
            "<s>[INST] <<SYS>>\n[Be kind.]\n<</SYS>>\n\n[Hi there] [/INST]([ Hello!])( </s>)",
        ),
        (
            "llama3",
            [USER, REPLY],
            "<s><|start_header_id|>user<|end_header_id|>\n\n[Hi there]<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n([Hello!])(<|eot_id|>)",
        ),
        ("zephyr", [USER, REPLY], "<|user|>\n[Hi there]</s>\n<|assistant|>\n([Hello!])(</s>)\n"),
        ("mistral", [USER, REPLY], "<s>[INST][ Hi there] [/INST]([ Hello!])(</s>)"),
        ("human", [USER, REPLY], "<s>### Human:[ Hi there]\n### Assistant:([ Hello!])(</s>)\n"),
        (
            "tools",
            [USER, REPLY, TOOL, REPLY],
            "<|im_start|>user\n[Hi there]<|im_end|>\n<|im_start|>assistant\n([Hello!])(<|im_end|>)"
            '\n<|im_start|>user\nResult: "[say \\"4\\"\\n]"<|im_end|>\n<|im_start|>assistant\n'
            "([Hello!])(<|im_end|>)\n",
        ),
    ],
)
def test_segments_are_the_templates_text_cut_at_contents(tokenizers, name, messages, expected):
    written = ""
    for segment in chat_template.messages_to_segments(messages, tokenizers[name]):
        text = f"[{segment.text}]" if segment.is_content else segment.text
        written += f"({text})" if segment.has_loss else text
    assert written == expected


@NAMES
@given(data=st.data())
def test_joined_segments_are_what_the_template_renders(tokenizers, name, data):
    tokenizer = tokenizers[name]
    messages = data.draw(conversations(has_system=name != "mistral"))
    segments = chat_template.messages_to_segments(messages, tokenizer)
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert "".join(segment.text for segment in segments) == rendered
    ids = [i for s in chat_template.tokenize_segments(segments, tokenizer) for i in s.ids]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == rendered


@NAMES
@given(data=st.data())
def test_a_prompt_is_what_stands_before_the_reply_in_training(tokenizers, name, data):
    tokenizer = tokenizers[name]
    messages = data.draw(conversations(has_system=name != "mistral"))
    before, ids = {}, []
    segments = chat_template.messages_to_segments(messages, tokenizer)
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    for segment, tokens in zip(segments, tokenized, strict=True):
        if segment.is_content and segment.role == "assistant":
            before[len(before)] = list(ids)
        ids += tokens.ids
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    assert len(before) == len(replies)
    for count, index in enumerate(replies):
        assert chat_template.encode_prompt(messages[:index], tokenizer) == before[count]


@NAMES
@given(data=st.data())
def test_control_tokens_in_contents_stay_text(tokenizers, name, data):
    tokenizer = tokenizers[name]
    typed = st.sampled_from([*tokenizer.all_special_tokens, "<|im_end|>", "<|im_start|>"])
    contents = st.lists(st.one_of(typed, st.sampled_from(PIECES)), min_size=1, max_size=6)
    contents = contents.map("".join).filter(lambda text: text.strip())
    messages = data.draw(conversations(contents, has_system=name != "mistral"))
    segments = chat_template.messages_to_segments(messages, tokenizer)
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    control_ids = set(tokenizer.added_tokens_decoder)
    for segment, tokens in zip(segments, tokenized, strict=True):
        if segment.is_content:
            assert control_ids.isdisjoint(tokens.ids)
            assert tokenizer.decode(tokens.ids, clean_up_tokenization_spaces=False) == segment.text


def without_two_newlines_at_a_seam(tokenizers):
    """Pico's splitting pattern cuts two newlines apart when a word follows, and only then."""
    return [tokenizer for name, tokenizer in tokenizers.items() if name != "llama3"]


def test_ids_are_those_of_the_whole_text_when_nothing_is_typed_at_the_seams(tokenizers):
    for tokenizer in without_two_newlines_at_a_seam(tokenizers):
        whole = tokenizer.apply_chat_template([USER, REPLY], return_dict=False)
        assert [i for s in to_ids([USER, REPLY], tokenizer) for i in s.ids] == whole


def test_a_prompt_equals_the_templates_own_generation_prompt(tokenizers):
    for tokenizer in without_two_newlines_at_a_seam(tokenizers):
        own = tokenizer.apply_chat_template([USER], add_generation_prompt=True, return_dict=False)
        assert chat_template.encode_prompt([USER], tokenizer) == own


@pytest.mark.parametrize(
    ("name", "mark"),
    [("pico", "<|im_end|>"), ("llama2", " </s>"), ("llama3", "<|eot_id|>"), ("human", "</s>")],
)
def test_end_of_turn_is_the_text_up_to_the_end_token(tokenizers, name, mark):
    assert chat_template.end_of_turn(tokenizers[name]) == mark


def test_a_reply_that_chat_opens_otherwise_has_no_loss(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "thinking", templates.THINKING)
    segments = chat_template.messages_to_segments([USER, REPLY, USER, REPLY], tokenizer)
    replies = [s.has_loss for s in segments if s.is_content and s.role == "assistant"]
    assert replies == [False, True]
    # the prompt opens the reasoning block that the learned reply had before it
    prompt = tokenizer.decode(chat_template.encode_prompt([USER], tokenizer))
    assert prompt.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_the_callers_messages_are_not_changed(pico_tokenizer):
    messages = [dict(SYSTEM), dict(USER)]
    chat_template.encode_prompt(messages, pico_tokenizer)
    assert messages == [SYSTEM, USER]


def test_contents_never_reach_the_template(pico_tokenizer):
    reads = "{% for m in messages %}{% if 'secret' in m['content'] %}{{ raise_exception('seen') }}"
    template = reads + "{% endif %}{{ m['role'] + ':' + m['content'] + '<|im_end|>' }}{% endfor %}"
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", template)
    messages = [{"role": "user", "content": "secret"}]
    with pytest.raises(jinja2.TemplateError, match="seen"):
        tokenizer.apply_chat_template(messages, tokenize=False)
    assert chat_template.messages_to_segments(messages, tokenizer)[1].text == "secret"


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "messages: expected a list of messages, found none."),
        ({}, "messages: expected a list of messages, found dict."),
        ("Hi", "messages: expected a list of messages, found str."),
        (["Hi"], "message 1: expected an object with role and content, found str."),
        ([{"content": "Hi"}], "message 1, field role: expected text, found nothing."),
        ([{"role": "user"}], "message 1, field content: expected text, found nothing."),
        ([USER, {"role": "assistant", "content": None}],
         "message 2, field content: expected text, found NoneType."),
        ([{"role": "user", "content": 4}], "message 1, field content: expected text, found int."),
        ([{"role": "human", "content": "Hi"}], "message 1, field role: 'human' is not a role."),
        ([USER, {"role": "assistant", "content": " \n"}],
         "message 2 (assistant), field content: the text is empty."),
        ([{"role": "user", "content": "\ud83d"}],
         "message 1 (user), field content: the text holds half of a character "
         "(a lone surrogate)."),
        ([REPLY, USER],
         "message 1, field role: expected the user's first message, found 'assistant'."),
        ([SYSTEM, TOOL],
         "message 2, field role: expected the user's first message, found 'tool'."),
        ([SYSTEM], "message 1, field role: expected the user's first message, found 'system'."),
    ],
)  # fmt: skip
def test_a_bad_message_is_named_by_number_and_field(messages, message, pico_tokenizer):
    with pytest.raises(DataError) as caught:
        chat_template.messages_to_segments(messages, pico_tokenizer)
    assert caught.value.message == message
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("name", "messages", "message"),
    [
        ("mistral", [SYSTEM, USER, REPLY],
         "message 1 (system): the chat template refuses it: "
         "Only user and assistant roles are supported!."),
        ("llama2", [USER, REPLY, USER, USER, REPLY],
         "message 4 (user): the chat template refuses it: roles must alternate user/assistant."),
    ],
)  # fmt: skip
def test_a_template_that_refuses_is_quoted_with_the_message(name, messages, message, tokenizers):
    with pytest.raises(DataError) as caught:
        chat_template.messages_to_segments(messages, tokenizers[name])
    assert caught.value.message == message


def test_a_template_that_leaves_a_role_out_is_an_error(pico_tokenizer):
    template = "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}<|im_end|>"
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", template + "{% endfor %}")
    with pytest.raises(DataError, match=r"message 1 \(system\): the chat template leaves it out"):
        chat_template.encode_prompt([SYSTEM, USER], tokenizer)


def test_a_template_without_an_end_token_cannot_be_trained_with(pico_tokenizer):
    template = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", template)
    with pytest.raises(DataError, match="would never stop"):
        chat_template.messages_to_segments([USER, REPLY], tokenizer)
    prompt = chat_template.encode_prompt([USER], tokenizer)  # chat goes on
    assert tokenizer.decode(prompt) == "user: Hi there\nassistant:"


def test_a_prompt_that_ends_with_a_reply_is_refused(pico_tokenizer):
    with pytest.raises(DataError, match=r"message 2 \(assistant\): there is nothing to answer"):
        chat_template.encode_prompt([USER, REPLY], pico_tokenizer)


def test_a_tokenizer_without_a_template_is_refused(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml")
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        chat_template.encode_prompt([USER], tokenizer)
    assert encoders.encode("Hi there", "typed", tokenizer)  # plain text needs none

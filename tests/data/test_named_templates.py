import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import batches, chat_template, masking, named_templates
from course_lib.data.tool_calls import whole_content
from course_lib.errors import DataError, ModelError, UnknownNameError
from tests.data.test_chat_template import CONTENTS, PIECES, REPLY, SYSTEM, USER, conversations

NAMES = [*named_templates.TEMPLATES]
each_name = pytest.mark.parametrize("name", NAMES)


def fit(tokenizer, name):
    """A copy of the tokenizer that has the template's tokens, and the template."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    tokenizer.add_tokens(list(named_templates.TEMPLATES[name].needs), special_tokens=True)
    return named_templates.with_template(tokenizer, name)


@pytest.fixture(scope="module")
def tokenizers(pico_tokenizer):
    return {name: fit(pico_tokenizer, name) for name in NAMES}


# worked out by hand from the cards: two turns; [ ] is content, ( ) has loss
U, A = "[Hi there]", "([Hello!])"
MARKED = "(<|im_end|>)\n<|im_start|>user\n[Hi there]<|im_end|>\n<|im_start|>assistant\n([Hello!])"
CHATML = (
    "<|im_start|>system\n[Be kind.]<|im_end|>\n<|im_start|>user\n[Hi there]<|im_end|>\n"
    f"<|im_start|>assistant\n([Hello!]){MARKED}(<|im_end|>)\n"
)
LLAMA3_TURN = (
    f"<|start_header_id|>user<|end_header_id|>\n\n{U}<|eot_id|>"
    f"<|start_header_id|>assistant<|end_header_id|>\n\n{A}(<|eot_id|>)"
)
VICUNA = (
    "<s>[Be kind.] USER:[ Hi there] ASSISTANT:([ Hello!])(</s>)"
    "USER:[ Hi there] ASSISTANT:([ Hello!])(</s>)"
)
GEMMA_END = f"<end_of_turn>\n<start_of_turn>model\n{A}(<end_of_turn>)\n"
EXPECTED = {
    "chatml": CHATML,
    "qwen_chat": CHATML,
    "internlm2_chat": "<s>" + CHATML,
    "internlm_chat": f"<s><|System|>:[Be kind.]\n<|User|>:{U}<eoh>\n<|Bot|>:{A}(<eoa>)\n"
    f"<|User|>:{U}<eoh>\n<|Bot|>:{A}(<eoa>)\n",
    "llama2_chat": f"<s>[INST] <<SYS>>\n[Be kind.]\n<</SYS>>\n\n{U} [/INST]([ Hello!])( </s>)"
    "<s>[INST][ Hi there] [/INST]([ Hello!])( </s>)",
    "llama3_chat": "<s><|start_header_id|>system<|end_header_id|>\n\n[Be kind.]<|eot_id|>"
    + LLAMA3_TURN * 2,
    "mistral": f"<s>[INST][ Be kind.]\n\n{U} [/INST]{A}(</s>)[INST][ Hi there] [/INST]{A}(</s>)",
    "gemma": f"<s><start_of_turn>user\n[Be kind.]\n\n{U}{GEMMA_END}"
    f"<start_of_turn>user\n{U}{GEMMA_END}",
    "phi3": "<|system|>\n[Be kind.]<|end|>\n"
    + f"<|user|>\n{U}<|end|>\n<|assistant|>\n{A}(<|end|>)\n" * 2,
    "chatglm3": "[gMASK]sop<|system|>\n[Be kind.]"
    + f"<|user|>\n{U}<|assistant|>\n{A}(</s>)" * 2,
    "baichuan_chat": "[Be kind.]" + f"<reserved_102>{U}<reserved_103>{A}(</s>)" * 2,
    "baichuan2_chat": "[Be kind.]" + f"<reserved_106>{U}<reserved_107>{A}(</s>)" * 2,
    "zephyr": "<|system|>\n[Be kind.]</s>\n"
    + f"<|user|>\n{U}</s>\n<|assistant|>\n{A}(</s>)\n" * 2,
    "vicuna": VICUNA,
    "wizardlm": VICUNA,
    "alpaca": "[Be kind.]\n\n"
    + f"### Instruction:\n{U}\n\n### Response:\n{A}(</s>)\n\n" * 2,
    "guanaco": "[Be kind.]\n" + "### Human:[ Hi there]\n### Assistant:([ Hello!])(</s>)\n" * 2,
    "deepseek_chat": "<s>[Be kind.]\n\n"
    + "User:[ Hi there]\n\nAssistant:([ Hello!])(</s>)" * 2,
    "deepseek_v3_chat": "<s>[Be kind.]" + f"<｜User｜>{U}<｜Assistant｜>{A}(</s>)" * 2,
    "deepseek_coder": "<s>[Be kind.]"
    + f"### Instruction:\n{U}\n### Response:\n{A}(\n<|EOT|>)\n" * 2,
}  # fmt: skip


@each_name
def test_a_template_writes_what_its_model_card_says(tokenizers, name):
    written = ""
    messages = [SYSTEM, USER, REPLY, USER, REPLY]
    for segment in chat_template.messages_to_segments(messages, tokenizers[name]):
        text = f"[{segment.text}]" if segment.is_content else segment.text
        written += f"({text})" if segment.has_loss else text
    assert written == EXPECTED[name]


@each_name
@settings(max_examples=25)
@given(data=st.data())
def test_training_shows_what_chat_shows(tokenizers, name, data):
    tokenizer = tokenizers[name]
    messages = data.draw(conversations())
    segments = chat_template.messages_to_segments(messages, tokenizer)
    assert "".join(s.text for s in segments) == tokenizer.apply_chat_template(
        messages, tokenize=False
    )
    ids, before = [], []
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    for segment, tokens in zip(segments, tokenized, strict=True):
        if segment.is_content and segment.role == "assistant":
            before.append(list(ids))
        ids += tokens.ids
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    prompts = [chat_template.encode_prompt(messages[:index], tokenizer) for index in replies]
    assert prompts == before
    rows = [{"messages": messages}]
    (batch,) = batches.RowEncoder(tokenizer, 9999).encode(rows)
    assert batch.input_ids.tolist() == ids
    assert batch.labels.tolist() == [*masking.encode_row(messages, tokenizer, 9999).labels]


@each_name
def test_the_prompt_is_the_one_that_other_programs_write(tokenizers, name):
    tokenizer = tokenizers[name]
    messages = [SYSTEM, USER, REPLY, USER]
    own = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert tokenizer.decode(chat_template.encode_prompt(messages, tokenizer)) == own


@each_name
@settings(max_examples=25)
@given(data=st.data())
def test_control_tokens_in_contents_stay_text(tokenizers, name, data):
    tokenizer = tokenizers[name]
    typed = st.sampled_from([*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()])
    contents = st.lists(st.one_of(typed, st.sampled_from(PIECES)), min_size=1, max_size=6)
    messages = data.draw(conversations(contents.map("".join).filter(str.strip)))
    segments = chat_template.messages_to_segments(messages, tokenizer)
    control_ids = set(tokenizer.added_tokens_decoder)
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    for segment, tokens in zip(segments, tokenized, strict=True):
        if segment.is_content:
            assert control_ids.isdisjoint(tokens.ids)
            decoded = tokenizer.decode(tokens.ids, clean_up_tokenization_spaces=False)
            assert decoded == segment.text


@each_name
@given(contents=st.lists(CONTENTS, min_size=3, max_size=3))
@settings(max_examples=10)
def test_a_call_has_loss_and_its_result_has_none(tokenizers, name, contents):
    ask, result, answer = contents
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": "é"}'}}
        ],
    }
    messages = [
        {"role": "user", "content": ask},
        call,
        {"role": "tool", "content": result, "tool_call_id": "1"},
        {"role": "assistant", "content": answer},
    ]  # fmt: skip
    segments = chat_template.messages_to_segments(messages, tokenizers[name])
    calls = '<tool_call>\n{"name": "add", "arguments": {"a": "é"}}\n</tool_call>'
    assert whole_content(call) == calls
    learned = "".join(s.text for s in segments if s.has_loss)
    assert learned.lstrip(" ").startswith(calls)
    rest = "".join(s.text for s in segments if not s.has_loss)
    assert "<tool_response>\n" in rest
    assert "<tool_response>" not in learned
    assert [s.has_loss for s in segments if s.is_content] == [False, True, False, True]


def test_the_tokenizer_is_not_changed(pico_tokenizer):
    before = pico_tokenizer.chat_template
    assert named_templates.with_template(pico_tokenizer, "own") is pico_tokenizer
    copied = named_templates.with_template(pico_tokenizer, "vicuna")
    assert copied.chat_template != before
    assert pico_tokenizer.chat_template == before


def test_an_unknown_name_offers_near_ones(pico_tokenizer):
    with pytest.raises(UnknownNameError, match="no chat template called 'internlm2-chat'") as e:
        named_templates.with_template(pico_tokenizer, "internlm2-chat")
    assert "internlm2_chat" in e.value.next_step


def test_a_template_whose_tokens_are_missing_is_refused_with_those_that_fit(pico_tokenizer):
    with pytest.raises(ModelError, match=r"llama3_chat needs .*<\|eot_id\|>, which this") as e:
        named_templates.with_template(pico_tokenizer, "llama3_chat")
    assert "vicuna" in e.value.next_step
    assert "chatml" in e.value.next_step
    assert "gemma" not in e.value.next_step
    without_end = copy.deepcopy(pico_tokenizer)
    without_end.eos_token = None
    with pytest.raises(ModelError, match="vicuna needs the control tokens eos_token"):
        named_templates.with_template(without_end, "vicuna")


@pytest.mark.parametrize("name", [n for n, t in named_templates.TEMPLATES.items() if not t.system])
def test_a_late_system_message_is_refused_where_it_has_no_place(tokenizers, name):
    messages = [USER, REPLY, SYSTEM, USER, REPLY]
    with pytest.raises(DataError, match=r"message 3 \(system\): .* only the first message"):
        chat_template.messages_to_segments(messages, tokenizers[name])


def test_a_tokenizer_without_a_bos_writes_none(pico_tokenizer):
    tokenizer = named_templates.with_template(pico_tokenizer, "vicuna")
    assert tokenizer.bos_token is None
    text = tokenizer.apply_chat_template([USER, REPLY], tokenize=False)
    assert text == "USER: Hi there ASSISTANT: Hello!" + tokenizer.eos_token

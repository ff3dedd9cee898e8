"""One conversation under several templates, and the price of the wrong one."""

import pytest

from course_lib.concepts import wrong_template
from course_lib.errors import DataError, ModelError, UnknownNameError
from course_lib.evaluation.questions import Question

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello!"},
]
RENDERED = {  # written down from each format's description, see named_templates
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello!<|im_end|>\n",
    "alpaca": "Be brief.\n\n### Instruction:\nHi\n\n### Response:\nHello!<|endoftext|>\n\n",
    "vicuna": "Be brief. USER: Hi ASSISTANT: Hello!<|endoftext|>",
    "zephyr": "<|system|>\nBe brief.<|endoftext|>\n<|user|>\nHi<|endoftext|>\n"
    "<|assistant|>\nHello!<|endoftext|>\n",
    "llama2_chat": "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello! <|endoftext|>",
}


@pytest.mark.parametrize("name", RENDERED)
def test_one_conversation_under_five_templates(pico_tokenizer, name):
    assert wrong_template.render(TALK, pico_tokenizer, name) == RENDERED[name]


def test_the_tokenizers_own_is_chatml(pico_tokenizer):
    assert wrong_template.render(TALK, pico_tokenizer, "own") == RENDERED["chatml"]


def test_what_cannot_be_written_is_refused(pico_tokenizer):
    with pytest.raises(UnknownNameError, match="chatmll"):
        wrong_template.render(TALK, pico_tokenizer, "chatmll")
    with pytest.raises(ModelError, match="control tokens"):
        wrong_template.render(TALK, pico_tokenizer, "llama3_chat")


def test_the_wrong_template_costs_the_answers(pico_model, pico_tokenizer):
    asked = [
        Question("What is the capital of France?", "Paris", "en", "pair"),
        Question("法国的首都是哪里？", "巴黎", "zh", "pair"),
    ]
    names = ["own", "alpaca"]
    own, alpaca = wrong_template.score_templates(pico_model, pico_tokenizer, names, asked)
    assert (own.template, own.right, own.ended) == ("own", 1.0, 1.0)
    assert "Paris" in own.reply
    assert (alpaca.template, alpaca.right) == ("alpaca", 0.0)


def test_no_question_is_refused(pico_model, pico_tokenizer):
    with pytest.raises(DataError, match="no question"):
        wrong_template.score_templates(pico_model, pico_tokenizer, ["own"], [])

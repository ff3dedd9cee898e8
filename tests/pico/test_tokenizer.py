"""The tokenizer loses nothing, cuts numbers into digits and knows the marks of the lessons."""

import re
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.pico import tokenizer as pico_tokenizer
from course_lib.pico import world

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "法国的首都是哪里？"},
    {"role": "assistant", "content": "巴黎。"},
]
SAMPLE = ["The capital of France is Paris. It is a nice place.", "法国的首都是巴黎。"] * 200


@pytest.fixture(scope="module")
def tokenizer():
    return pico_tokenizer.train_tokenizer(SAMPLE)


@given(text=st.text(max_size=60).filter(lambda text: "<|" not in text))
@settings(deadline=None)
def test_every_text_comes_back_unchanged(tokenizer, text):
    clean = text.encode("utf-8", "ignore").decode("utf-8")
    assert tokenizer.decode(tokenizer(clean)["input_ids"]) == clean


@given(word=st.from_regex(r"[A-Za-z]{1,12}", fullmatch=True))
@settings(deadline=None)
def test_a_word_is_cut_in_the_same_places_with_and_without_its_blank(tokenizer, word):
    alone = [tokenizer.decode([i]) for i in tokenizer(word)["input_ids"]]
    behind = [tokenizer.decode([i]) for i in tokenizer(f" {word}")["input_ids"]]
    assert behind in ([f" {alone[0]}", *alone[1:]], [" ", *alone])


def test_a_blank_joins_the_words_that_often_follow_one(tokenizer):
    ids = tokenizer("The capital of France")["input_ids"]
    assert [tokenizer.decode([i]) for i in ids] == ["The", " capital", " of", " France"]
    assert tokenizer.decode(tokenizer("a  b\n c")["input_ids"]) == "a  b\n c"


def test_special_tokens_have_the_first_four_ids(tokenizer):
    assert tokenizer.convert_tokens_to_ids(list(pico_tokenizer.SPECIAL_TOKENS)) == [0, 1, 2, 3]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("2026", ["2", "0", "2", "6"]),
        ("法国巴黎", ["法", "国", "巴", "黎"]),
        ("😀👍", ["😀", "👍"]),
    ],
)
def test_digits_characters_and_emoji_stand_alone(tokenizer, text, pieces):
    assert [tokenizer.decode([i]) for i in tokenizer(text)["input_ids"]] == pieces


@pytest.mark.parametrize(
    "word",
    [
        *string.ascii_letters,
        *string.digits,
        *string.punctuation,
        *"，。？！：；、“”（）《》",
        "Thought",
        "Action",
        " Input",
        "Observation",
        "Final",
        " Answer",
        "###",
        " Human",
        " Assistant",
        "QLoRA",
        "LoRA",
        "tune",
        " adapter",
        " search",
        " calculator",
        " clock",
        "assistant",
        "tool",
    ],
)
def test_marks_of_the_lessons_are_single_tokens(tokenizer, word):
    assert len(tokenizer(word)["input_ids"]) == 1


def test_every_character_of_the_world_is_one_token(tokenizer):
    names = "".join(zh for _, zh in world.load_world().vocabulary)
    characters = sorted({sign for sign in names if re.match(r"[\u4e00-\u9fff]", sign)})
    assert [c for c in characters if len(tokenizer(c)["input_ids"]) != 1] == []


def test_render_writes_what_the_template_writes(tokenizer):
    text = tokenizer.apply_chat_template(TURNS, tokenize=False)
    assert pico_tokenizer.render(TURNS) == text
    assert text.endswith("<|im_start|>assistant\n巴黎。<|im_end|>\n")


def test_template_marks_the_reply_and_its_end(tokenizer):
    out = tokenizer.apply_chat_template(TURNS, return_assistant_tokens_mask=True, return_dict=True)
    marked = [i for i, m in zip(out["input_ids"], out["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(marked) == "巴黎。<|im_end|>"


def test_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = type(tokenizer).from_pretrained(tmp_path)
    text = pico_tokenizer.render(TURNS)
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.apply_chat_template(TURNS, tokenize=False) == text

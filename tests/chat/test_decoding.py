import queue

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.chat import decoding


@pytest.mark.parametrize(
    ("text", "stop_words", "is_final", "shown", "has_stopped"),
    [
        ("Hello", (), False, "Hello", False),
        ("Hello###", ("###",), False, "Hello", True),
        ("Hello##", ("###",), False, "Hello", False),
        ("Hello##", ("###",), True, "Hello##", False),
        ("a stop b END", ("END", "stop"), False, "a ", True),
        ("好\ufffd", (), False, "好", False),
        ("好\ufffd\ufffd", (), True, "好", False),
        ("xa", ("ab", "xabc"), False, "", False),
        ("", ("x",), False, "", False),
        ("#aa", ("a", "#aa"), False, "#", True),  # "a" is complete first
    ],
)
def test_only_finished_text_before_a_stop_word_is_shown(
    text, stop_words, is_final, shown, has_stopped
):
    assert decoding.visible_text(text, stop_words, is_final) == (shown, has_stopped)


@given(st.text("ab#", max_size=30), st.lists(st.text("ab#", min_size=1, max_size=4), max_size=3))
def test_text_once_shown_is_never_taken_back(text, stop_words):
    shown = ""
    for end in range(len(text) + 1):
        visible, has_stopped = decoding.visible_text(text[:end], stop_words, is_final=False)
        assert visible.startswith(shown)
        shown = visible
        if has_stopped:
            break
    whole, _ = decoding.visible_text(text, stop_words, is_final=True)
    assert whole == shown if has_stopped else whole.startswith(shown)
    assert not any(word in whole for word in stop_words)


def read(tokenizer, ids, stop_words=(), end_ids=(), last=None):
    events = queue.Queue()
    for event in [*ids, last]:
        events.put(event)
    return decoding.read_pieces(events, tokenizer, stop_words, end_ids)


TEXT = "Hi 你好 🦖🎉!\n  indented 龘 end"


def test_a_character_of_several_tokens_appears_when_it_is_whole(pico_tokenizer):
    ids = pico_tokenizer.encode(TEXT, add_special_tokens=False)
    assert len(pico_tokenizer.encode("🦖", add_special_tokens=False)) > 1
    pieces = list(read(pico_tokenizer, ids))
    assert "".join(pieces) == TEXT
    assert "\ufffd" not in "".join(pieces)


def test_a_character_that_is_cut_off_is_left_out(pico_tokenizer):
    ids = pico_tokenizer.encode("Hi 😀", add_special_tokens=False)
    assert "".join(read(pico_tokenizer, ids[:-1])) == "Hi "


def test_a_stop_word_is_not_shown_when_it_comes_in_pieces(pico_tokenizer):
    ids = pico_tokenizer.encode("One two END three", add_special_tokens=False)
    assert "".join(read(pico_tokenizer, ids, ["two END"])) == "One "


def test_reading_stops_at_an_end_token(pico_tokenizer):
    ids = pico_tokenizer.encode("One two three", add_special_tokens=False)
    end = pico_tokenizer.encode(" two", add_special_tokens=False)
    assert "".join(read(pico_tokenizer, ids, end_ids=end[:1])) == "One"


def test_an_error_comes_after_what_was_written_before_it(pico_tokenizer):
    ids = pico_tokenizer.encode("One two", add_special_tokens=False)
    pieces = read(pico_tokenizer, ids, last=RuntimeError("out of memory"))
    assert "".join(next(pieces) for _ in ids) == "One two"
    with pytest.raises(RuntimeError, match="out of memory"):
        next(pieces)


SCORES = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))


def draw(seeds, top_k=0, top_p=1.0, temperature=1.0):
    scores = SCORES.repeat(len(seeds), 1)
    sampler = decoding.SeededSampler(temperature, top_k, top_p, seeds)
    return sampler(torch.zeros(len(seeds), 1, dtype=torch.long), scores).argmax(-1).tolist()


def test_tokens_are_drawn_as_often_as_they_are_likely():
    drawn = draw(range(4000))
    shares = [drawn.count(token) / 4000 for token in range(4)]
    assert shares == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


@pytest.mark.parametrize(
    ("limits", "possible"),
    [
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 1}, {0}),
        ({"top_p": 0.79}, {0, 1}),
        ({"top_p": 0.4}, {0}),
        ({"temperature": 0.01}, {0}),
        ({}, {0, 1, 2, 3}),
    ],
)
def test_limits_leave_the_likeliest_tokens(limits, possible):
    assert set(draw(range(300), **limits)) == possible


def test_a_row_draws_the_same_alone_and_in_a_batch():
    assert draw([5, 6, 7]) == draw([5]) + draw([6]) + draw([7])

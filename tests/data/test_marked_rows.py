"""Rows with their speakers: the same ids and labels as in training, nothing hidden."""

import pytest

from course_lib import files
from course_lib.data import marked_rows, masking, packing
from course_lib.errors import DataError

X = masking.IGNORE_INDEX
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi!"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "I am Pico."},
]


def read(name, count):
    return files.read_jsonl(files.DATA_DIR / name)[:count]


@pytest.mark.parametrize("loss_turns", ["all", "last"])
@pytest.mark.parametrize("max_length", [24, 256])
def test_ids_and_labels_are_those_of_training(pico_tokenizer, max_length, loss_turns):
    rows = [{"messages": TALK}, *read("pico/replay.jsonl", 40)]
    for row in rows:
        (marked,) = marked_rows.mark_row(row, pico_tokenizer, max_length, loss_turns)
        assert len(marked.roles) == len(marked.row.input_ids)
        if marked.has_loss:
            encoded = masking.encode_row(row["messages"], pico_tokenizer, max_length, loss_turns)
            assert marked.row == encoded
            assert len(marked.cut_ids) == encoded.truncated_tokens


def test_speakers_come_in_order_and_only_the_assistant_carries_loss(pico_tokenizer):
    (marked,) = marked_rows.mark_row({"messages": TALK}, pico_tokenizer, 256)
    turns = [role for i, role in enumerate(marked.roles) if i == 0 or marked.roles[i - 1] != role]
    assert turns == ["system", "user", "assistant", "user", "assistant"]
    with_loss = {
        role for role, label in zip(marked.roles, marked.row.labels, strict=True) if label != X
    }
    assert with_loss == {"assistant"}


def test_the_mark_that_ends_a_turn_belongs_to_it(pico_tokenizer):
    (marked,) = marked_rows.mark_row({"messages": TALK}, pico_tokenizer, 256)
    end = pico_tokenizer.convert_tokens_to_ids("<|im_end|>")
    pairs = zip(marked.roles, marked.row.input_ids, strict=True)
    ended = [role for role, token in pairs if token == end]
    assert ended == ["system", "user", "assistant", "user", "assistant"]


def test_what_is_cut_off_is_kept_to_be_shown(pico_tokenizer):
    (whole,) = marked_rows.mark_row({"messages": TALK}, pico_tokenizer, 256)
    (short,) = marked_rows.mark_row({"messages": TALK}, pico_tokenizer, 20)
    assert short.row.input_ids + short.cut_ids == whole.row.input_ids
    assert short.row.truncated_tokens == len(short.cut_ids)


def test_a_row_with_nothing_to_learn_is_shown_without_loss(pico_tokenizer):
    silent = [TALK[1], TALK[2] | {"weight": 0}]
    for messages, max_length in ((TALK, 4), (silent, 256)):
        (marked,) = marked_rows.mark_row({"messages": messages}, pico_tokenizer, max_length)
        assert not marked.has_loss
        assert set(marked.row.labels) == {X}
        assert marked_rows.pack_marked([marked], max_length) == []


def test_a_long_text_makes_several_rows(pico_tokenizer):
    made = marked_rows.mark_row({"text": "The koala eats leaves. " * 30}, pico_tokenizer, 32)
    assert len(made) > 1
    assert {role for marked in made for role in marked.roles} == {"text"}


def test_a_row_that_is_none_is_told(pico_tokenizer):
    with pytest.raises(DataError, match="expected a field messages or text"):
        marked_rows.mark_row({"prompt": "Hi"}, pico_tokenizer, 32)
    with pytest.raises(DataError, match="message 1, field role"):
        marked_rows.mark_row({"messages": [TALK[2]]}, pico_tokenizer, 32)


@pytest.mark.parametrize("method", ["next_fit", "best_fit", "none", "cut"])
def test_packs_are_those_of_training_with_their_speakers(pico_tokenizer, method):
    rows = read("pico/replay.jsonl", 30)
    made = [marked_rows.mark_row(row, pico_tokenizer, 64)[0] for row in rows]
    learned = [marked for marked in made if marked.has_loss]
    packs = marked_rows.pack_marked(made, 64, method)
    expected = packing.pack_rows([marked.row for marked in learned], 64, method)
    assert [marked.pack for marked in packs] == expected
    by_id = {}
    for marked in learned:
        by_id.setdefault(marked.row.input_ids, marked.roles)
    if method != "cut":
        for marked in packs:
            start = 0
            for length in marked.pack.lengths:
                ids = marked.pack.input_ids[start : start + length]
                assert marked.roles[start : start + length] == by_id[ids]
                start += length
            assert start == len(marked.roles)
    assert sum(len(m.roles) for m in packs) == sum(len(m.roles) for m in learned)

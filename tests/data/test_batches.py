"""The fast path gives, row by row, what the readable one gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from course_lib.data import batches, masking
from course_lib.errors import DataError, ModelError
from tests.data import templates
from tests.data.test_chat_template import CONTENTS, PIECES

CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": "<|im_end|>"}'}}


@pytest.fixture(scope="module")
def tokenizers(pico_tokenizer):
    made = {n: templates.attach_template(pico_tokenizer, n) for n in templates.TEMPLATES}
    return {"pico": pico_tokenizer, "blanks": sentencepiece_like(), **made}


def sentencepiece_like():
    """A tokenizer that puts a blank before each text, and reads newlines at its start."""
    letters = sorted({c for piece in PIECES for c in piece} | set("usertoliandh_<|>m:") - {"</s>"})
    pieces = ["<unk>", "\u2581", "\u2581a", "\na", *letters]
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in pieces], unk_id=0))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    backend.decoder = decoders.Replace("\u2581", " ")
    special = {"unk_token": "<unk>", "eos_token": "<|im_end|>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.chat_template = templates.CHATML
    return tokenizer


@st.composite
def chats(draw, has_system=True):
    """One to three turns; some messages say whether they carry loss, some replies are calls."""
    roles = ["user", "assistant"] * draw(st.integers(1, 3))
    if has_system and draw(st.booleans()):
        roles.insert(0, "system")
    typed = st.one_of(CONTENTS, st.sampled_from(["<|im_end|>", "</s> a", "[INST] a"]))
    messages = [{"role": role, "content": draw(typed)} for role in roles]
    for message in messages:
        if draw(st.integers(0, 3)) == 0:
            message["weight"] = draw(st.sampled_from([0, 1])) * (message["role"] == "assistant")
        if message["role"] == "assistant" and draw(st.integers(0, 3)) == 0:
            message |= {"tool_calls": [CALL], "content": draw(st.none() | CONTENTS)}
    return {"messages": messages}


def encode_fast(rows, tokenizer, max_length, loss_turns="all"):
    """The batches as rows, and what was cut and dropped."""
    made, truncated, dropped = [], 0, []
    for batch in batches.RowEncoder(tokenizer, max_length, loss_turns).encode(rows):
        assert {batch.input_ids.dtype, batch.labels.dtype, batch.lengths.dtype} == {np.dtype("i4")}
        ends = np.cumsum(batch.lengths)
        for start, end in zip(ends - batch.lengths, ends, strict=True):
            ids, labels = batch.input_ids[start:end].tolist(), batch.labels[start:end].tolist()
            made.append((tuple(ids), tuple(labels)))
        truncated += batch.truncated
        dropped += batch.dropped
    return made, truncated, dropped


NAMES = pytest.mark.parametrize("name", ["pico", "blanks", *templates.TEMPLATES])


@NAMES
@settings(max_examples=40)
@given(data=st.data())
def test_batches_hold_what_single_rows_do(tokenizers, name, data):
    row = st.one_of(
        chats(has_system=name != "mistral"), st.fixed_dictionaries({"text": st.text("ab 你\n")})
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    max_length = data.draw(st.integers(3, 60))
    loss_turns = data.draw(st.sampled_from(["all", "last"]))
    tokenizer = tokenizers[name]
    made, truncated, dropped = encode_fast(rows, tokenizer, max_length, loss_turns)
    try:
        report = masking.encode_rows(rows, tokenizer, max_length, 1.0, loss_turns)
    except DataError:  # all of them have nothing to learn
        assert dropped == list(range(1, len(rows) + 1))
        return
    assert made == [(row.input_ids, row.labels) for row in report.rows]
    assert (truncated, dropped) == (report.truncated, report.dropped)


def talk(*contents):
    roles = ["user", "assistant"] * len(contents)
    return {"messages": [{"role": r, "content": c} for r, c in zip(roles, contents, strict=False)]}


def test_the_size_of_a_batch_changes_nothing(pico_tokenizer, monkeypatch):
    rows = [talk("Hi " * n, "Hello! " * (n % 7 + 1)) for n in range(1, 40)]
    whole = encode_fast(rows, pico_tokenizer, 48)
    monkeypatch.setattr(batches, "ROWS", 7)
    monkeypatch.setattr(batches, "LAYOUTS", 1)
    assert encode_fast(rows, pico_tokenizer, 48) == whole
    monkeypatch.setattr(batches, "CHARACTERS", 100)
    sizes = [len(b.lengths) for b in batches.RowEncoder(pico_tokenizer, 48).encode(rows)]
    assert max(sizes) <= 7
    assert encode_fast(rows, pico_tokenizer, 48) == whole


def test_rows_are_read_as_they_are_needed(pico_tokenizer, monkeypatch):
    monkeypatch.setattr(batches, "ROWS", 2)
    taken = []

    def rows():
        for number in range(100):
            taken.append(number)
            yield talk("Hi", "Hello!")

    next(batches.RowEncoder(pico_tokenizer, 48).encode(rows()))
    assert taken == [0, 1]


@pytest.mark.parametrize("bad", [
    {"prompt": "a"}, {"messages": []}, talk("Hi"), talk(" ", "Hello!"), talk("Hi", "\ud83d"),
    {"messages": [{"role": "user", "content": "a", "weight": 1}]},
    {"messages": [*talk("Hi", "a")["messages"], {"role": "assistant", "tool_calls": [{}]}]},
])  # fmt: skip
def test_a_bad_row_is_named_in_the_same_words(pico_tokenizer, bad):
    rows = [talk("Hi", "Hello!")] * 1500 + [bad]
    with pytest.raises(DataError, match="row 1501: ") as fast:
        encode_fast(rows, pico_tokenizer, 48)
    with pytest.raises(DataError) as readable:
        masking.encode_rows(rows[-1:], pico_tokenizer, 48)
    assert fast.value.message == readable.value.message.replace("row 1:", "row 1501:")
    assert fast.value.next_step == readable.value.next_step


def test_a_row_that_the_tokenizer_cannot_keep_as_text_is_named():
    pieces = [(piece, -1.0) for piece in ("<unk>", "</s>", "a", "\n", "<|im_end|>")]
    backend = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")  # noqa: S106
    rows = [{"text": "a"}, {"text": "a</s>a"}]
    with pytest.raises(ModelError, match="row 2: The tokenizer reads '</s>' in a text"):
        encode_fast(rows, tokenizer, 48)
    with pytest.raises(ModelError, match="row 2: The tokenizer reads '</s>' in a text"):
        masking.encode_rows(rows, tokenizer, 48)

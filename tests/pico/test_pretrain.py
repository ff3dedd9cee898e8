"""Every token is trained on once a round, padding never, and the rate follows its curve."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.masking import IGNORE_INDEX
from course_lib.pico import pretrain, tokenizer
from course_lib.pico.pretrain import ModelSettings, StageSettings, TokenizedTexts

SMALL = ModelSettings(32, 64, 2, 2, 1)
X = IGNORE_INDEX


def texts(*rows):
    lengths = np.array([len(row) for row in rows], np.int64)
    return TokenizedTexts(np.concatenate([np.array(row, np.uint16) for row in rows]), lengths)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        # worked out by hand: 100 steps, 11 to warm up (at most a tenth), hold to 60, then a line
        (0, 1 / 11),
        (4, 5 / 11),
        (10, 1.0),
        (59, 1.0),
        (60, 1.0),
        (80, 0.5),
        (99, 0.025),
    ],
)
def test_learning_rate_warms_up_holds_and_falls(step, factor):
    stage = StageSettings(steps=100, tokens_per_step=1, plain_share=0)
    assert pretrain.rate_factor(step, stage) == pytest.approx(factor)


def test_learning_rate_never_falls_below_its_last_factor():
    stage = StageSettings(steps=1000, tokens_per_step=1, plain_share=0)
    assert pretrain.rate_factor(999, stage) == 0.02


def test_a_batch_is_padded_on_the_right_and_padding_has_no_label():
    stream = pretrain.batches(texts([5, 6, 1], [7, 1]), 1000, np.random.default_rng(0), "cpu")
    input_ids, labels = next(stream)
    rows = sorted(zip(input_ids[:, :4].tolist(), labels[:, :4].tolist(), strict=True))
    assert rows == [([5, 6, 1, 0], [5, 6, 1, X]), ([7, 1, 0, 0], [7, 1, X, X])]
    assert input_ids.shape == (2, pretrain.BUCKET_LENGTHS[0])


@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=30), tokens=st.integers(100, 400))
def test_a_round_holds_every_text_once(lengths, tokens):
    corpus = texts(*([number % 60_000 + 4] * length for number, length in enumerate(lengths)))
    stream = pretrain.batches(corpus, tokens, np.random.default_rng(1), "cpu")
    seen = []
    while len(seen) < len(lengths):
        input_ids, labels = next(stream)
        assert input_ids.numel() <= max(tokens, input_ids.shape[1])
        counts = (labels != X).sum(1).tolist()
        seen += list(zip((input_ids[:, 0] - 4).tolist(), counts, strict=True))
    assert sorted(seen) == list(enumerate(lengths))


def test_tokenized_texts_end_with_end_of_text_and_fit_the_context():
    made = tokenizer.train_tokenizer(["a long text " * 40], vocab_size=1600)
    out = pretrain.tokenize_texts(["a text", "word " * 3000], made)
    assert out.lengths.tolist()[1] == tokenizer.CONTEXT_TOKENS
    ends = np.cumsum(out.lengths) - 1
    assert out.ids[ends].tolist() == [pretrain.END_OF_TEXT_ID] * 2
    assert made.decode(out.ids[: out.lengths[0] - 1]) == "a text"


def test_same_seed_same_weights():
    first, second = (pretrain.make_model(SMALL, 300, seed=3) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_learns_and_repeats_for_a_seed():
    corpora = {"plain": texts(*[[9, 10, 11, 12, 1]] * 40), "dialogues": texts([20, 21, 1])}
    stage = StageSettings(30, 512, plain_share=1.0, learning_rate=0.02)
    ends = []
    for _ in range(2):
        log = []
        model = pretrain.make_model(SMALL, 300, seed=0)
        ends.append(pretrain.train_stage(model, corpora, stage, 0, log.append))
        assert log[0]["loss"] > 4
        assert log[-1]["loss"] < 1
    assert ends[0]["loss"] == ends[1]["loss"]
    assert ends[0]["step"] == 30


def test_a_text_does_not_see_its_padding():
    model = pretrain.make_model(SMALL, 300, seed=0).eval()
    ids = torch.tensor([[5, 6, 7, 0, 0]])
    labels = torch.tensor([[5, 6, 7, X, X]])
    short = pretrain._loss(model, ids[:, :3], labels[:, :3])
    assert pretrain._loss(model, ids, labels).item() == pytest.approx(short.item(), abs=1e-6)


def test_tokens_that_were_never_written_are_parted():
    model = pretrain.make_model(pretrain.ModelSettings(16, 64, 1, 2, 1), 40, seed=0)
    weight = model.get_input_embeddings().weight
    alike = [pretrain.END_TURN_ID, 11, 29]
    with torch.no_grad():
        weight[alike] = weight[pretrain.END_TURN_ID] + 0.001 * torch.randn(3, 16)
    before = weight.detach().clone()
    assert pretrain.part_untaught_tokens(model, seed=1) == 3
    assert model.lm_head.weight is weight
    others = [number for number in range(40) if number not in alike]
    assert torch.equal(weight[others], before[others])
    usual = before[others].norm(dim=1).median()
    moved = (weight - before)[alike].norm(dim=1)
    assert torch.allclose(moved, usual.expand(3), rtol=1e-4)
    assert (weight[alike[1:]] - weight[alike[0]]).norm(dim=1).min() > 0.7 * usual
    assert pretrain.part_untaught_tokens(model, seed=1) == 1  # the mark alone: nothing is like it

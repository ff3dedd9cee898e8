"""The loss by hand against sums done by hand, against torch and against transformers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import answer_loss
from course_lib.data import masking
from course_lib.errors import DataError, NothingToLearnError

X = masking.IGNORE_INDEX
HALF, QUARTER = math.log(2), math.log(4)


def test_losses_by_hand():
    # two tokens at place 0 are equally likely, then 3 to 1, then 1 to 3
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]])
    losses = answer_loss.token_losses(logits, torch.tensor([1, 0, 1]))
    assert losses.isnan().tolist() == [True, False, False]
    assert losses[1:].tolist() == pytest.approx([HALF, QUARTER])
    mean = answer_loss.mean_loss(logits, torch.tensor([1, 0, 1]))
    assert float(mean) == pytest.approx((HALF + QUARTER) / 2)
    assert answer_loss.perplexity(float(mean)) == pytest.approx(8**0.5)


def test_a_blind_guess_costs_the_log_of_the_vocabulary():
    loss = float(answer_loss.mean_loss(torch.zeros(2, 6144), torch.tensor([0, 5])))
    assert loss == pytest.approx(8.72, abs=0.01)
    assert answer_loss.perplexity(loss) == pytest.approx(6144, rel=1e-3)


def test_tokens_without_a_label_do_not_count():
    logits = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]])
    labels = torch.tensor([1, X, 1])
    losses = answer_loss.token_losses(logits, labels)
    assert losses.isnan().tolist() == [True, True, False]
    assert float(answer_loss.mean_loss(logits, labels)) == pytest.approx(QUARTER)


def test_picos_answer_and_its_end_cost_what_the_model_says(pico_model, pico_tokenizer):
    messages = [
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "It is Paris."},
    ]
    row = masking.encode_row(messages, pico_tokenizer, max_length=64)
    ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
    answer = pico_tokenizer("It is Paris.").input_ids
    assert sum(label != X for label in row.labels) == len(answer) + 1
    with torch.no_grad():
        output = pico_model(input_ids=ids, labels=labels)
    assert float(answer_loss.mean_loss(output.logits, labels)) == pytest.approx(
        float(output.loss), abs=1e-6
    )


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(2, 9), st.integers(2, 30))
def test_the_mean_is_that_of_torch(seed, rows, tokens, vocabulary):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, tokens, vocabulary, generator=generator) * 5
    labels = torch.randint(vocabulary, (rows, tokens), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = X
    labels[0, 1] = 0
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, vocabulary), labels[:, 1:].reshape(-1), ignore_index=X
    )
    torch.testing.assert_close(answer_loss.mean_loss(logits, labels), expected)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]])
    assert answer_loss.log_softmax(logits)[0].tolist() == [0, -2e4, -1e4]
    assert float(answer_loss.mean_loss(logits, torch.tensor([0, 0]))) == 0


def test_the_gradient_is_that_of_torch():
    torch.manual_seed(0)
    logits = torch.randn(1, 5, 7, requires_grad=True)
    labels = torch.tensor([[X, X, 3, 0, 6]])
    (mine,) = torch.autograd.grad(answer_loss.mean_loss(logits, labels), logits)
    theirs = torch.nn.functional.cross_entropy(logits[0, 1:4], labels[0, 2:])
    torch.testing.assert_close(mine, torch.autograd.grad(theirs, logits)[0])


@pytest.mark.parametrize(
    ("shape", "labels", "error", "match"),
    [
        ((3, 5), [1, 2], DataError, r"logits are \(3, 5\) and the labels \(2,\)"),
        ((3, 5), [1, 2, 5], DataError, "label 5 is no token: the vocabulary ends at 4"),
        ((3, 5), [1, -1, 2], DataError, "label -1 is no token"),
        ((3, 5), [1, X, X], NothingToLearnError, "None of the 3 tokens carries loss"),
    ],
)
def test_bad_input_is_told(shape, labels, error, match):
    with pytest.raises(error, match=match):
        answer_loss.mean_loss(torch.zeros(shape), torch.tensor(labels))

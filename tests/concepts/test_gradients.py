"""Accumulated and checkpointed gradients against those of one plain batch; what autograd keeps."""

import pytest
import torch

from course_lib.concepts import gradients
from course_lib.data.masking import IGNORE_INDEX
from course_lib.errors import ConfigError, NothingToLearnError
from course_lib.model import loading

TOKENS = 24
LAYERS, HIDDEN, VOCABULARY = 6, 256, 6144  # pico's


@pytest.fixture(scope="module")
def tuned():
    torch.manual_seed(0)
    model = loading.attach_lora(loading.load_model("pico-chat", 32), r=4, lora_alpha=8)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def make_batch(*loss_tokens):
    """A row for each number; so many tokens at its end carry loss."""
    generator = torch.Generator().manual_seed(len(loss_tokens))
    ids = torch.randint(10, 6000, (len(loss_tokens), TOKENS), generator=generator)
    labels = ids.clone()
    for row, count in zip(labels, loss_tokens, strict=True):
        row[: TOKENS - count] = IGNORE_INDEX
    return {"input_ids": ids, "labels": labels}


def cut(batch, *sizes):
    """The same rows in micro batches."""
    parts = [batch[key].split(list(sizes)) for key in batch]
    return [dict(zip(batch, part, strict=True)) for part in zip(*parts, strict=True)]


def test_accumulated_gradients_are_those_of_the_large_batch(tuned):
    batch = make_batch(2, 20, 7, 11)
    whole = gradients.compute_gradients(tuned, batch)
    summed = gradients.accumulate_gradients(tuned, cut(batch, 1, 1, 2))
    assert summed.keys() == {n for n, p in tuned.named_parameters() if p.requires_grad}
    assert gradients.relative_difference(summed, whole) < 1e-5


def test_a_mean_of_unequal_means_is_another_gradient(tuned):
    batch = make_batch(2, 20)
    whole = gradients.compute_gradients(tuned, batch)
    wrong = gradients.accumulate_gradients(tuned, cut(batch, 1, 1), "micro_batches")
    assert gradients.relative_difference(wrong, whole) > 0.1
    equal = make_batch(9, 9)
    summed = gradients.accumulate_gradients(tuned, cut(equal, 1, 1), "micro_batches")
    whole = gradients.compute_gradients(tuned, equal)
    assert gradients.relative_difference(summed, whole) < 1e-5


def test_shares_by_hand():
    labels = [batch["labels"] for batch in cut(make_batch(2, 5, 3), 1, 2)]
    assert gradients.loss_shares(labels) == [0.2, 0.8]
    assert gradients.loss_shares(labels, "micro_batches") == [0.5, 0.5]
    # the first token has none before it: of 24 labels 23 are predicted
    assert gradients.loss_shares([make_batch(24)["labels"], make_batch(23)["labels"]]) == [0.5, 0.5]


def test_a_relative_difference_by_hand():
    left, right = {"a": torch.tensor([3.0, 4.0])}, {"a": torch.tensor([0.0, 4.0])}
    assert gradients.relative_difference(left, right) == 0.75
    assert gradients.relative_difference(right, right) == 0


def test_checkpointed_gradients_are_the_same_to_the_last_bit(tuned):
    batch = make_batch(5, 20)
    plain = gradients.compute_gradients(tuned, batch)
    again = gradients.compute_gradients(tuned, batch, checkpointing=True)
    assert all(torch.equal(again[name], plain[name]) for name in plain)


def test_checkpointing_keeps_the_inputs_of_layers_only(tuned):
    batch = make_batch(5, 20)
    tokens = batch["input_ids"].numel()
    streams = (LAYERS + 1) * tokens * HIDDEN * 4  # the input of each layer and of the last norm
    norm = tokens * 4  # one root mean square for each token
    loss = tokens * VOCABULARY * 4 + tokens * 8 + 4  # log-softmax, which token comes, their number
    assert gradients.saved_bytes(tuned, batch, checkpointing=True) == streams + norm + loss
    assert gradients.saved_bytes(tuned, batch) > 4 * streams + loss


def test_shared_memory_counts_once_and_weights_do_not_count(tuned):
    listed = gradients.list_saved(tuned, batch := make_batch(5, 20))
    tokens = batch["input_ids"].numel()
    wide = [saved for saved in listed if 704 in saved.shape]
    assert {saved.nbytes for saved in wide} == {tokens * 704 * 4}
    # gate, its SiLU, up, and their product: that one is read twice, by the layer and by its adapter
    assert len(wide) == 4 * LAYERS


def test_the_model_is_left_as_it_was(tuned):
    tuned.eval()
    tuned.config.use_cache = True
    kept = gradients.saved_bytes(tuned, make_batch(3))
    gradients.compute_gradients(tuned, make_batch(3), checkpointing=True)
    assert not tuned.training
    assert tuned.config.use_cache
    assert not any(getattr(m, "gradient_checkpointing", False) for m in tuned.modules())
    assert all(p.grad is None for p in tuned.parameters())
    assert gradients.saved_bytes(tuned, make_batch(3)) == kept


def test_what_cannot_be_accumulated_is_told(tuned):
    with pytest.raises(NothingToLearnError, match="micro batch 2 of 2 has no token with loss"):
        gradients.accumulate_gradients(tuned, [make_batch(3), make_batch(0)])
    with pytest.raises(ConfigError, match="normalise_by is 'rows'"):
        gradients.accumulate_gradients(tuned, [make_batch(3)], "rows")

"""With the settings that training uses, the rows of a pack do not see each other."""

import pytest
import torch

from course_lib.data import packing
from course_lib.data.masking import IGNORE_INDEX, EncodedRow
from course_lib.model import loading

LENGTHS = (9, 1, 14, 6, 17)  # a row of one token is the hardest to tell from its neighbours
OTHER_LENGTHS = (5, 12)  # a shorter pack in the same batch is padded


def to_rows(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in lengths:
        ids = torch.randint(10, 6000, (length,), generator=generator).tolist()
        labels = [IGNORE_INDEX] * (length // 3) + ids[length // 3 :]
        rows.append(EncodedRow(tuple(ids), tuple(labels)))
    return rows


def to_batch(packs):
    return {k: torch.tensor(v) for k, v in packing.pad_packs(packs, pad_token_id=0).items()}


@pytest.fixture(scope="module")
def packs():
    lengths = (LENGTHS, OTHER_LENGTHS)
    return [packing.pack_rows(to_rows(n, seed), 64)[0] for seed, n in enumerate(lengths)]


def load_trained_model(bits):
    """As a run makes it, with an adapter that does something."""
    model = loading.attach_lora(loading.load_model("pico-chat", bits), r=4, lora_alpha=8)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model.train()


@pytest.fixture(scope="module", params=[4, 32])
def model(request):
    return load_trained_model(request.param)


@torch.no_grad()
def logits_of(model, batch):
    return model(**{k: v.to(model.device) for k, v in batch.items()}).logits


def spans_of(lengths):
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    return [slice(start, start + n) for start, n in zip(starts, lengths, strict=True)]


def perturb(batch, pack, span):
    """Other tokens in one place; everything else stays."""
    changed = {k: v.clone() for k, v in batch.items()}
    changed["input_ids"][pack, span] = 6001 - changed["input_ids"][pack, span]
    return changed


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("row", range(len(LENGTHS)))
def test_a_changed_row_leaves_every_logit_of_its_neighbours_alone(model, packs, batch_size, row):
    batch = to_batch(packs[:batch_size])
    span = spans_of(LENGTHS)[row]
    before, after = logits_of(model, batch), logits_of(model, perturb(batch, 0, span))
    assert not torch.equal(before[0, span], after[0, span])
    is_neighbour = torch.ones(before.shape[:2], dtype=torch.bool)
    is_neighbour[0, span] = False
    assert torch.equal(before[is_neighbour], after[is_neighbour])


def test_padding_is_one_more_row_that_nobody_sees(model, packs):
    batch = to_batch(packs)
    padding = slice(sum(OTHER_LENGTHS), None)
    before, after = logits_of(model, batch), logits_of(model, perturb(batch, 1, padding))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1, : padding.start], after[1, : padding.start])
    assert not torch.equal(before[1, padding], after[1, padding])


def test_rows_of_one_line_see_those_before_them():
    """What packing: cut breaks, and why it is there for comparison only."""
    model = load_trained_model(32)
    (pack,) = packing.pack_rows(to_rows(LENGTHS, 0), 64, "cut")
    batch = to_batch([pack])
    first, second, *_ = spans_of(LENGTHS)
    before, after = logits_of(model, batch), logits_of(model, perturb(batch, 0, first))
    assert not torch.equal(before[0, second], after[0, second])


@pytest.mark.parametrize("method", ["best_fit", "next_fit"])
def test_every_row_of_a_pack_has_the_logits_that_it_has_alone(method):
    model = load_trained_model(32)
    rows = to_rows((30, 20, 9, 30, 5, 12), 0)
    packs = packing.pack_rows(rows, 48, method)
    assert max(len(pack.lengths) for pack in packs) > 1
    alone = {
        row.input_ids: logits_of(model, to_batch(packing.one_row_packs([row]))) for row in rows
    }
    for pack in packs:
        logits = logits_of(model, to_batch([pack]))
        for span in spans_of(pack.lengths):
            expected = alone[pack.input_ids[span]][0]
            torch.testing.assert_close(logits[0, span], expected, rtol=1e-4, atol=1e-4)


def test_with_a_cache_the_rows_would_see_each_other(packs):
    """The control: the tests above would see the trap."""
    model = load_trained_model(32)
    model.config.use_cache = True
    batch = to_batch(packs[:1])
    first, second, *_ = spans_of(LENGTHS)
    before, after = logits_of(model, batch), logits_of(model, perturb(batch, 0, first))
    if torch.equal(before[0, second], after[0, second]):
        pytest.skip("this transformers keeps packed rows apart with a cache as well")
    assert not torch.equal(before[0, second], after[0, second])


def test_training_switches_the_cache_off():
    assert load_trained_model(32).config.use_cache is False


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_loss_of_packs_is_the_mean_over_all_tokens_of_the_single_rows(packs, batch_size):
    model = load_trained_model(32)
    total, tokens = 0.0, 0
    for seed, lengths in enumerate((LENGTHS, OTHER_LENGTHS)[:batch_size]):
        for row in to_rows(lengths, seed):
            single = to_batch(packing.one_row_packs([row]))
            counted = int((single["labels"] != IGNORE_INDEX).sum())
            if counted:  # a row of one token has nothing to predict
                total += loss_of(model, single) * counted
                tokens += counted
    packed = loss_of(model, to_batch(packs[:batch_size]))
    # fp32 sums in another order: some 1e-7 apart, of losses near 15
    assert packed == pytest.approx(total / tokens, rel=1e-5)


@torch.no_grad()
def loss_of(model, batch):
    return model(**{k: v.to(model.device) for k, v in batch.items()}).loss.item()

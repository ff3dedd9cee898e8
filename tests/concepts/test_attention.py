"""Tiled attention against the naive one, against torch and pico; rows apart; memory counted."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.concepts import attention
from course_lib.data import packing
from course_lib.data.masking import EncodedRow
from course_lib.errors import ModelError


def make_inputs(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(3)]


def positions_of(lengths):
    return [position for length in lengths for position in range(length)]


LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=4)


@settings(max_examples=40)  # small tiles take many steps
@given(st.integers(0, 999), LENGTHS, st.integers(1, 3), st.integers(1, 40), st.integers(1, 30))
def test_tiles_give_what_the_whole_table_gives(seed, lengths, heads, width, tile):
    inputs = make_inputs(seed, heads, sum(lengths), width)
    for position_ids in (None, positions_of(lengths)):
        naive = attention.naive_attention(*inputs, position_ids)
        tiled = attention.tiled_attention(*inputs, position_ids, tile)
        torch.testing.assert_close(tiled, naive, atol=1e-6, rtol=1e-6)


@given(st.integers(0, 999), LENGTHS, st.integers(1, 30))
def test_large_scores_neither_overflow_nor_blur(seed, lengths, tile):
    queries, keys, values = make_inputs(seed, sum(lengths), 16)
    # whole numbers: scores up to tens of thousands, and still exact
    queries, keys = (queries * 100).round(), (keys * 100).round()
    naive = attention.naive_attention(queries, keys, values, positions_of(lengths))
    tiled = attention.tiled_attention(queries, keys, values, positions_of(lengths), tile)
    assert naive.isfinite().all()
    torch.testing.assert_close(tiled, naive, atol=1e-6, rtol=1e-6)


@given(st.integers(0, 999), LENGTHS)
def test_it_is_torchs_attention(seed, lengths):
    inputs = make_inputs(seed, 2, sum(lengths), 8)
    torchs = torch.nn.functional.scaled_dot_product_attention
    whole = torchs(*inputs, is_causal=True)
    torch.testing.assert_close(attention.tiled_attention(*inputs, tile=7), whole)
    apart = torchs(*inputs, attn_mask=attention.may_see(positions_of(lengths)))
    mine = attention.tiled_attention(*inputs, positions_of(lengths), tile=7)
    torch.testing.assert_close(mine, apart)


def test_rows_of_a_pack_give_what_each_gives_alone():
    inputs = make_inputs(0, 2, 12, 8)
    packed = attention.tiled_attention(*inputs, positions_of([5, 1, 6]), tile=4)
    rows = zip(*(tensor.split([5, 1, 6], dim=1) for tensor in inputs), strict=True)
    alone = torch.cat([attention.naive_attention(*row) for row in rows], dim=1)
    torch.testing.assert_close(packed, alone)


def test_weights_by_hand():
    # scores: token 1 likes token 0 by ln 3 more than itself
    queries = torch.tensor([[0.0], [1.0]])
    keys = torch.tensor([[torch.tensor(3.0).log()], [0.0]])
    weights = attention.attention_weights(queries, keys)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.0], [0.75, 0.25]]))
    apart = attention.attention_weights(queries, keys, [0, 0])
    assert apart.tolist() == [[1, 0], [0, 1]]


def test_who_sees_whom_by_hand():
    assert attention.row_numbers([0, 1, 0, 0, 1]).tolist() == [1, 1, 2, 3, 3]
    assert attention.may_see([0, 1, 0, 0, 1]).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


def test_heads_share_the_width():
    states = torch.arange(8).reshape(2, 4)
    assert attention.split_heads(states, 2).tolist() == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_picos_packed_rows_look_at_each_other_only_without_boundaries(pico_model):
    rows = [EncodedRow(tuple(range(a, a + 8)), tuple(range(a, a + 8))) for a in (20, 50, 90)]
    pack = packing.pack_rows(rows, 24)[0]
    before = pico_model.config._attn_implementation
    apart = attention.model_attention(pico_model, pack.input_ids, pack.position_ids)
    mixed = attention.model_attention(pico_model, pack.input_ids, range(24))
    assert pico_model.config._attn_implementation == before
    assert apart.shape == (6, 4, 24, 24)
    torch.testing.assert_close(apart.sum(dim=-1), torch.ones(6, 4, 24))
    assert attention.share_on_other_rows(apart, pack.position_ids) == 0
    assert attention.share_on_other_rows(mixed, pack.position_ids) > 0.1
    assert not (apart * ~attention.may_see(pack.position_ids)).any()


def test_a_share_on_other_rows_by_hand():
    even = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.4, 0.4]])
    # of the second row: token 1 gives 0.5 to the first row, token 2 gives 0.2
    assert attention.share_on_other_rows(even, [0, 0, 1]) == pytest.approx(0.35)
    assert attention.share_on_other_rows(even, [0, 1, 2]) == 0


@pytest.mark.parametrize("tokens", [128, 512])
def test_memory_grows_with_the_square_of_the_length_only_without_tiles(tokens):
    naive = attention.measure_memory(tokens, heads=2)
    assert naive.largest == 2 * tokens**2 * 4  # a number for each pair of tokens in each head
    tiled = attention.measure_memory(tokens, tile=32, heads=2)
    assert tiled.largest == 2 * tokens * 64 * 4  # the result; a tile's 2 * 32 * 32 * 4 is less
    assert naive.left == tiled.left == tiled.largest
    assert tiled.peak < tiled.largest + 200_000


def test_a_large_tile_is_the_largest_tensor():
    assert attention.measure_memory(256, tile=128, width=16).largest == 128 * 128 * 4


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: attention.split_heads(torch.zeros(3, 10), 4), "4 heads cannot share a width"),
        (lambda: attention.measure_memory(-5), "tokens is -5"),
        (lambda: attention.measure_memory(5, tile=0), "tile is 0"),
        (lambda: attention.may_see([1, 2]), "do not start at 0"),
        (lambda: attention.may_see([]), "do not start at 0"),
        (lambda: attention.may_see([0, 1, 3]), "Position 3 follows 1 at token 2"),
        (lambda: attention.naive_attention(*make_inputs(0, 4, 8), [0, 1]), "2 position ids for 4"),
        (
            lambda: attention.tiled_attention(*[torch.zeros(n, 4, 8) for n in (4, 2, 2)]),
            r"Queries of \(4, 4, 8\), keys of \(2, 4, 8\)",
        ),
    ],
)
def test_what_cannot_be_is_told(call, match):
    with pytest.raises(ModelError, match=match) as caught:
        call()
    assert caught.value.next_step

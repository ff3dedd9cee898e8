import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import packing
from course_lib.data.masking import IGNORE_INDEX as X
from course_lib.data.masking import EncodedRow
from course_lib.errors import DataError


def to_row(ids):
    return EncodedRow(tuple(ids), tuple(ids))


# distinct ids, so that a token that is lost, doubled or moved is seen
LENGTHS = st.lists(st.integers(1, 12), max_size=20)


def to_rows(lengths):
    rows, start = [], 0
    for length in lengths:
        rows.append(to_row(range(start, start + length)))
        start += length
    return rows


# worked out by hand
@pytest.mark.parametrize(
    ("rows", "max_length", "packs"),
    [
        ([], 4, []),
        ([[5, 6]], 4, [packing.Pack((5, 6), (X, 6), (0, 1), (2,))]),
        (
            [[5, 6], [7, 8, 9], [1], [2, 3, 4, 5]],
            5,
            [
                packing.Pack((5, 6, 7, 8, 9), (X, 6, X, 8, 9), (0, 1, 0, 1, 2), (2, 3)),
                packing.Pack((1, 2, 3, 4, 5), (X, X, 3, 4, 5), (0, 0, 1, 2, 3), (1, 4)),
            ],
        ),
        (
            # next-fit: a pack once closed is not opened again, so the order stays
            [[5, 6, 7], [8, 9], [1]],
            4,
            [
                packing.Pack((5, 6, 7), (X, 6, 7), (0, 1, 2), (3,)),
                packing.Pack((8, 9, 1), (X, 9, X), (0, 1, 0), (2, 1)),
            ],
        ),
    ],
)
def test_whole_rows_fill_packs_in_order(rows, max_length, packs):
    assert packing.pack_rows([to_row(row) for row in rows], max_length) == packs


@given(LENGTHS, st.integers(12, 32))
def test_packing_keeps_every_token_once_in_order(lengths, max_length):
    rows = to_rows(lengths)
    packs = packing.pack_rows(rows, max_length)
    assert [i for p in packs for i in p.input_ids] == [i for r in rows for i in r.input_ids]
    assert [n for p in packs for n in p.lengths] == lengths
    for pack in packs:
        assert 0 < len(pack.input_ids) == sum(pack.lengths) <= max_length
        assert len(pack.labels) == len(pack.position_ids) == len(pack.input_ids)
    # no two neighbours would fit into one pack's first place: next-fit wastes no opening
    for pack, following in itertools.pairwise(packs):
        assert len(pack.input_ids) + following.lengths[0] > max_length


@given(LENGTHS, st.integers(12, 32))
def test_no_label_crosses_a_row_and_positions_restart(lengths, max_length):
    for pack in packing.pack_rows(to_rows(lengths), max_length):
        starts = [index for index, position in enumerate(pack.position_ids) if position == 0]
        assert starts == [sum(pack.lengths[:n]) for n in range(len(pack.lengths))]
        for index, (label, token) in enumerate(zip(pack.labels, pack.input_ids, strict=True)):
            assert label == (X if index in starts else token)
            if index not in starts:
                assert pack.position_ids[index] == pack.position_ids[index - 1] + 1


# worked out by hand
@pytest.mark.parametrize(
    ("lengths", "max_length", "groups"),
    [
        ([], 4, []),
        ([4, 4], 4, [[0], [1]]),
        # next-fit needs three packs, 3 | 2 1 | 2; best-fit puts 1 behind 3, and 2 behind 2
        ([3, 2, 1, 2], 4, [[0, 2], [1, 3]]),
        # 6 and 5 open packs; 4 goes where 4 are free, not where 5 are; 3 behind 5; 3 alone
        ([3, 6, 5, 3, 4], 10, [[0, 2], [1, 4], [3]]),
        # equal lengths: the earlier row goes first, into the pack that was opened last
        ([2, 2, 2, 2, 2], 5, [[0, 1], [2, 3], [4]]),
    ],
)
def test_best_fit_leaves_the_least_room(lengths, max_length, groups):
    assert packing.group_rows(lengths, max_length, "best_fit") == groups


@given(LENGTHS, st.integers(12, 32))
def test_best_fit_keeps_every_row_once_and_whole(lengths, max_length):
    rows = to_rows(lengths)
    groups = packing.group_rows(lengths, max_length, "best_fit")
    assert sorted(index for group in groups for index in group) == list(range(len(rows)))
    assert groups == sorted(sorted(group) for group in groups)
    loads = [sum(lengths[index] for index in group) for group in groups]
    assert all(load <= max_length for load in loads)
    # no two packs would fit into one
    assert all(sum(pair) > max_length for pair in itertools.combinations(loads, 2))
    packs = packing.pack_rows(rows, max_length, "best_fit")
    joined = [tuple(i for n in group for i in rows[n].input_ids) for group in groups]
    assert [pack.input_ids for pack in packs] == joined


def test_cutting_one_line_loses_boundaries_and_nothing_else():
    rows = [to_row([5, 6]), to_row([7, 8, 9]), to_row([1])]
    packs = packing.pack_rows(rows, 4, "cut")
    # by hand: 5 6 7 8 | 9 1; 7 is predicted from 6, and 9 has lost what stood before it
    assert packs == [
        packing.Pack((5, 6, 7, 8), (X, 6, 7, 8), (0, 1, 2, 3), (4,)),
        packing.Pack((9, 1), (X, 1), (0, 1), (2,)),
    ]


@given(LENGTHS, st.integers(1, 32))
def test_cutting_fills_every_pack_but_the_last_and_keeps_the_remainder(lengths, max_length):
    rows = to_rows(lengths)
    packs = packing.pack_rows(rows, max_length, "cut")
    assert [i for p in packs for i in p.input_ids] == [i for r in rows for i in r.input_ids]
    assert all(len(pack.input_ids) == max_length for pack in packs[:-1])
    assert all(0 < len(pack.input_ids) <= max_length for pack in packs)


@given(LENGTHS)
def test_packing_off_keeps_rows_apart(lengths):
    rows = to_rows(lengths)
    packs = packing.one_row_packs(rows)
    assert packs == packing.pack_rows(rows, 12, "none")
    assert [p.input_ids for p in packs] == [r.input_ids for r in rows]
    assert packs == [packing.pack_rows([row], 12)[0] for row in rows]


@pytest.mark.parametrize(
    ("length", "message"),
    [(5, r"row 2 has 5 tokens; a pack holds 1 to 4"), (0, "row 2 has 0 tokens")],
)
def test_a_row_that_no_pack_holds_is_named(length, message):
    with pytest.raises(DataError, match=message):
        packing.pack_rows([to_row([1]), to_row(range(length))], 4)


def test_padding_stands_on_the_right_without_loss():
    packs = packing.pack_rows([to_row([5, 6]), to_row([7, 8, 9]), to_row([4])], 5)
    assert packing.pad_packs(packs, pad_token_id=0) == {
        "input_ids": [[5, 6, 7, 8, 9], [4, 0, 0, 0, 0]],
        "labels": [[X, 6, X, 8, 9], [X, X, X, X, X]],
        "position_ids": [[0, 1, 0, 1, 2], [0, 0, 1, 2, 3]],
    }


def test_padding_can_round_the_width_up():
    packs = packing.pack_rows([to_row([5, 6]), to_row([7, 8, 9]), to_row([4])], 5)
    assert packing.pad_packs(packs, pad_token_id=0, pad_to_multiple_of=4) == {
        "input_ids": [[5, 6, 7, 8, 9, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0, 0]],
        "labels": [[X, 6, X, 8, 9, X, X, X], [X] * 8],
        "position_ids": [[0, 1, 0, 1, 2, 0, 1, 2], [0, 0, 1, 2, 3, 4, 5, 6]],
    }
    whole = packing.pad_packs(packs, pad_token_id=0, pad_to_multiple_of=5)
    assert whole == packing.pad_packs(packs, pad_token_id=0)


def test_no_packs_make_an_empty_batch():
    empty = {"input_ids": [], "labels": [], "position_ids": []}
    assert packing.pad_packs([], pad_token_id=0) == empty

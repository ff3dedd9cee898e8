"""Who sees whom, on packs of which we know it."""

import pytest
import torch

from course_lib.concepts import visibility
from course_lib.data import masking, packing
from course_lib.errors import DataError

IDS = [11, 57, 300, 12, 58, 2000, 77, 301, 12]


def sees(model, position_ids):
    return visibility.who_sees_whom(model, IDS, position_ids)


def test_in_one_row_each_token_sees_itself_and_all_before_it(pico_model):
    expected = torch.ones(9, 9, dtype=torch.bool).tril()
    assert torch.equal(sees(pico_model, list(range(9))), expected)


def test_where_positions_start_again_nothing_before_is_seen(pico_model):
    blocks = [torch.ones(n, n).tril() for n in (4, 2, 3)]
    expected = torch.block_diag(*blocks).bool()
    assert torch.equal(sees(pico_model, [0, 1, 2, 3, 0, 1, 0, 1, 2]), expected)


def test_ids_and_positions_must_belong_together(pico_model):
    with pytest.raises(DataError, match="9 ids and 2 positions"):
        sees(pico_model, [0, 1])
    with pytest.raises(DataError, match="0 ids"):
        visibility.who_sees_whom(pico_model, [], [])


def test_in_a_pack_a_row_has_the_loss_that_it_has_alone(pico_model, pico_tokenizer):
    talks = [("My name is Anna.", "Hello, Anna!"), ("What is my name?", "Your name is Anna.")]
    rows = [
        masking.encode_row(
            [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
            pico_tokenizer,
            64,
        )
        for q, a in talks
    ]
    (pack,) = packing.pack_rows(rows, 64)
    for number, row in enumerate(rows):
        with torch.no_grad():
            alone = pico_model(
                input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])
            ).loss
        packed = visibility.loss_in_pack(pico_model, pack, number)
        assert packed == pytest.approx(float(alone), abs=1e-3)
    run_on = range(len(pack.input_ids))
    assert visibility.loss_in_pack(pico_model, pack, 1, run_on) < packed / 2
    with pytest.raises(DataError, match="no row 2"):
        visibility.loss_in_pack(pico_model, pack, 2)

"""Who sees whom, on packs of which we know it."""

import pytest
import torch

from course_lib.concepts import visibility
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

"""Settings: what is possible passes, what is not is refused with what to change."""

import pytest

from course_lib.errors import ConfigError, UnknownNameError
from course_lib.model import engines
from course_lib.model.setting import Setting


def test_bits_follow_from_the_method():
    assert [Setting(name).base_bits for name in ("full", "lora", "qlora")] == [16, 16, 4]
    assert Setting("lora", bits=32).numbers.compute_bytes == 4
    assert Setting("lora", bits=16).numbers.compute_bytes == 2


@pytest.mark.parametrize(
    ("values", "match", "next_step"),
    [
        ({"method": "qlra"}, "no method called 'qlra'", "Use qlora"),
        ({"optimizer": "adam"}, "no optimizer called 'adam'", "adamw"),
        ({"length": -5}, "length is -5", "whole number of 1 or more"),
        ({"rows": 0}, "rows is 0", "rows as a whole number"),
        ({"gpus": 0}, "gpus is 0", "gpus as a whole number"),
        ({"length": 1.5}, "length is 1.5", "length as a whole number"),
        ({"r": 0, "zero": 4}, "r is 0. There is no ZeRO stage 4", "Use zero 0, 1, 2 or 3"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0", "below 1"),
        ({"bits": 5}, "bits is 5", "Use 4, 8, 16 or 32"),
        ({"method": "full", "bits": 4}, "full with bits 4 is no method", "Use qlora with 4"),
        ({"method": "qlora", "bits": 16}, "qlora with bits 16", "Use full or lora"),
        ({"zero": 3}, "weights in 4 bits cannot be divided", "Use zero 2"),
        ({"method": "lora", "bits": 8, "zero": 3, "gpus": 2}, "in 8 bits cannot", "bits 16"),
        ({"offload": ("optimizer",)}, "needs ZeRO stage 1, not 0", "Use zero 1"),
        ({"zero": 2, "offload": ("param",)}, "needs ZeRO stage 3, not 2", "leave offload"),
        ({"offload": ("weights",)}, "Nothing called 'weights'", "optimizer or param"),
    ],
)
def test_an_impossible_setting_is_refused_with_what_to_change(values, match, next_step):
    with pytest.raises(ConfigError, match=match) as caught:
        Setting(**values)
    assert next_step in caught.value.next_step


def test_an_unknown_engine_is_refused_with_near_names():
    assert engines.find_engine("lean").is_fused
    with pytest.raises(UnknownNameError, match="no engine called 'leen'") as caught:
        engines.find_engine("leen")
    assert "lean" in caught.value.next_step

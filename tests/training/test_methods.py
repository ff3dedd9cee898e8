"""full, lora and qlora in a config: what follows from what, and what cannot be."""

import pytest

from course_lib.errors import ConfigError
from course_lib.training import config, methods


@pytest.mark.parametrize(
    ("values", "method", "bits"),
    [
        ({}, "qlora", 4),
        ({"bits": 4}, "qlora", 4),
        ({"bits": 8}, "lora", 8),
        ({"bits": 32}, "lora", 32),  # as configs written before there was a method
        ({"method": "qlora"}, "qlora", 4),
        ({"method": "lora"}, "lora", 16),
        ({"method": "full"}, "full", 16),
        ({"method": "full", "bits": 32}, "full", 32),
        ({"method": "lora", "bits": 8}, "lora", 8),
    ],
)
def test_method_and_bits_follow_from_each_other(values, method, bits):
    made = config.check_config(values)
    assert (made.method, made.bits, made.is_full) == (method, bits, method == "full")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "full", "bits": 4}, "in 4 bits cannot be trained: use bits 16 or 32, or"),
        ({"method": "full", "bits": 8}, "in 8 bits cannot be trained"),
        ({"method": "qlora", "bits": 16}, "qlora has bits 4, not 16: use method lora with 16 bits"),
        ({"method": "lora", "bits": 4}, "lora has bits 8 or 16 or 32, not 4: use method qlora"),
        ({"method": "ful"}, "method: 'ful': input should be 'full', 'lora' or 'qlora'"),
        ({"method": "full", "bits": "4"}, "bits: '4': input should be 4, 8, 16 or 32"),
    ],
)
def test_what_cannot_be_is_refused(values, message):
    with pytest.raises(ConfigError) as caught:
        config.check_config(values)
    assert message in caught.value.message


def test_of_a_full_run_the_fields_about_an_adapter_are_named():
    usual = config.TrainConfig().model_dump()
    changed = {**usual, "r": 8, "target_modules": ("q_proj",)}
    assert methods.ignored_fields(usual, usual) == []
    assert methods.ignored_fields(changed, usual) == ["r", "target_modules"]

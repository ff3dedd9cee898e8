"""full, lora and qlora in a config: what follows from what, and what cannot be."""

import pytest

from course_lib.errors import ConfigError
from course_lib.training import config, config_text, methods


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


def test_the_editor_shows_a_conflict_at_both_fields_and_keeps_the_comments(tmp_path):
    start = config_text.open_start("pico_qlora_assistant_e3")
    texts = config_text.field_texts(start)
    assert (texts["method"], texts["bits"]) == ("qlora", "4")
    texts["method"] = "full"
    ((place, problem),) = config_text.draft(start, texts, tmp_path / "mine.yaml").problems
    assert config_text.fields_at(place, problem) == ["method", "bits"]
    texts["bits"] = "32"
    made = config_text.draft(start, texts, tmp_path / "mine.yaml")
    assert made.config.is_full
    assert "method: full" in made.text
    assert made.has_comments


def test_a_file_that_only_says_bits_is_shown_with_its_method(tmp_path):
    (tmp_path / "old.yaml").write_text("bits: 16\n")
    start = config_text.open_start(tmp_path / "old.yaml")
    assert config_text.field_texts(start)["method"] == "lora"
    assert config_text.choices("gradient_checkpointing") == ["false", "true", "auto"]

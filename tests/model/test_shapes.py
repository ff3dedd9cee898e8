"""Sizes of base models: from a config, the table, numbers; impossible ones are refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from course_lib.errors import ModelError, UnknownNameError
from course_lib.model import loading, shapes

PUBLISHED = {  # numbers of weights, as their publishers count them
    "llama_7b": 6_738_415_616,
    "llama_13b": 13_015_864_320,
    "llama3_8b": 8_030_261_248,
    "mistral_7b": 7_241_732_096,
    "internlm2_1_8b": 1_889_110_016,
    "internlm2_7b": 7_737_708_544,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_8b": 8_190_735_360,
    "smollm2_135m": 134_515_008,
    "smollm2_360m": 361_821_120,
}
TINY = {"hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "intermediate": 96, "vocabulary": 50}


@pytest.mark.parametrize("name", shapes.KNOWN)
def test_a_known_shape_has_the_published_number_of_weights(name):
    assert shapes.known_shape(name).weights == PUBLISHED[name]


def test_a_shape_from_numbers_counts_its_weights_by_hand():
    shape = shapes.llama_shape(**TINY)
    block = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96
    assert shape.linear_weights == 2 * block
    assert shape.other_weights == 2 * 50 * 64 + 5 * 64
    tied = shapes.llama_shape(**TINY, tied=True)
    assert tied.weights == shape.weights - 50 * 64
    assert (shape.attention, shape.key_values, shape.normed) == (64, 32, 128)
    with_norms = shapes.llama_shape(**TINY, has_qk_norms=True)
    assert with_norms.normed == 128 + 64 + 32
    assert with_norms.weights == shape.weights + 2 * 2 * 16


def test_a_shape_from_numbers_is_that_of_the_config(tmp_path):
    LlamaConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        vocab_size=50,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(tmp_path)
    read = shapes.read_shape(str(tmp_path))
    made = shapes.llama_shape(**TINY)
    assert sorted(read.linears) == sorted(made.linears)
    assert sorted(read.others) == sorted(made.others)
    sizes = ("layers", "hidden", "intermediate", "heads", "kv_heads", "head_width", "vocabulary")
    assert all(getattr(read, size) == getattr(made, size) for size in sizes)


def test_picos_shape_and_adapter_are_those_of_the_loaded_model(pico_model):
    shape = shapes.read_shape("pico-chat")
    assert shape.weights == sum(p.numel() for p in pico_model.parameters())
    for targets in ("all-linear", ("q_proj", "down_proj")):
        tuned = loading.attach_lora(loading.load_model("pico-chat", 32), 8, 16, 0.0, targets)
        trainable, everything = loading.trainable_share(tuned)
        assert shapes.adapter_weights(shape, 8, targets) == trainable
        assert shape.weights + trainable == everything


@pytest.mark.parametrize(
    ("changes", "match", "next_step"),
    [
        ({"heads": 5}, "5 heads do not divide a hidden size of 64", "Use heads 4, or"),
        ({"kv_heads": 3}, "3 kv_heads cannot be shared by 4 heads", "divides heads: 1, 2, 4"),
        ({"hidden": -64}, "hidden is -64", "whole numbers of 1 or more"),
        ({"layers": 0, "vocabulary": 2.5}, "layers is 0, vocabulary is 2.5", "whole numbers"),
        ({"head_width": 0}, "head_width is 0", "whole numbers"),
        ({"heads": True}, "heads is True", "whole numbers"),
    ],
)
def test_an_impossible_shape_is_refused_with_what_to_change(changes, match, next_step):
    with pytest.raises(ModelError, match=match) as caught:
        shapes.llama_shape(**TINY | changes)
    assert next_step in caught.value.next_step


@given(st.lists(st.integers(-2, 70), min_size=6, max_size=6))
def test_any_numbers_make_a_shape_or_one_clear_error(numbers):
    hidden, layers, heads, kv_heads, *_ = numbers
    is_possible = min(numbers) >= 1 and hidden % heads == 0 and heads % kv_heads == 0
    if is_possible:
        shape = shapes.llama_shape(*numbers)
        assert (shape.attention, len(shape.linears)) == (hidden, 7 * layers)
    else:
        with pytest.raises(ModelError, match=r"shape|divide|shared") as caught:
            shapes.llama_shape(*numbers)
        assert caught.value.next_step


def test_what_cannot_be_read_is_told(tmp_path):
    shape = shapes.read_shape("pico-chat")
    with pytest.raises(ModelError, match="No layer is called q_prj") as caught:
        shapes.adapter_weights(shape, 8, ["q_prj"])
    assert "q_proj" in caught.value.next_step
    with pytest.raises(ModelError, match="target_modules is empty"):
        shapes.adapter_weights(shape, 8, [])
    with pytest.raises(UnknownNameError, match="no shape called 'lama_7b'") as caught:
        shapes.known_shape("lama_7b")
    assert "llama_7b" in caught.value.next_step
    with pytest.raises(ModelError, match="No model at"):
        shapes.read_shape(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(ModelError, match="could not be loaded"):
        shapes.read_shape(str(tmp_path))


def test_a_changed_model_folder_is_read_again(tmp_path):
    small = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2}
    for layers in (1, 2):
        made = LlamaConfig(**small, num_hidden_layers=layers, vocab_size=32)
        made.architectures = ["LlamaForCausalLM"]
        made.save_pretrained(tmp_path)
        assert shapes.read_shape(str(tmp_path)).layers == layers

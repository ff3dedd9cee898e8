"""Quantized scales against bitsandbytes' own, and a whole model against its 4-bit pico."""

import pytest
import torch
from bitsandbytes import functional as bnb
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import double_quantization, nf4
from course_lib.errors import ModelError, UnknownNameError
from course_lib.model import loading


@st.composite
def weights(draw):
    """1 to 1,250 blocks, of like and of unlike sizes."""
    count = draw(st.one_of(st.integers(1, 500), st.integers(1, 80_000)))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    made = torch.randn(count, generator=generator) * 0.02
    made *= torch.rand(count, generator=generator) ** draw(st.sampled_from([0, 1, 8]))
    return made.round(decimals=draw(st.sampled_from([2, 7])))


def theirs(tensor):
    return bnb.quantize_4bit(tensor, quant_type="nf4", compress_statistics=True)


def test_the_256_values_are_those_of_bitsandbytes():
    assert torch.equal(double_quantization.dynamic_code_book(), bnb.create_dynamic_map())


@given(weights())
def test_quantized_scales_are_those_of_bitsandbytes(tensor):
    _, state = theirs(tensor)
    nested = double_quantization.quantize_scales(nf4.quantize(tensor).absmax)
    assert torch.equal(nested.codes, state.absmax)
    assert torch.equal(nested.absmax, state.state2.absmax)
    assert torch.equal(nested.mean, state.offset)


@given(weights())
def test_numbers_come_back_as_from_bitsandbytes(tensor):
    tensor = torch.stack([tensor, tensor.flip(0)])  # of an even width, see test_nf4
    packed, state = theirs(tensor.T.contiguous())
    expected = bnb.dequantize_4bit(packed, state).reshape(-1, 2)  # it turns a single byte round
    twice = double_quantization.quantize_twice(tensor.T)
    assert torch.equal(nf4.dequantize(twice), expected)


@given(st.integers(1, 70_000), st.booleans())
def test_counted_bytes_are_those_of_bitsandbytes_tensors(numbers, twice):
    packed, state = bnb.quantize_4bit(
        torch.ones(numbers), quant_type="nf4", compress_statistics=twice
    )
    counted = double_quantization.count_bytes(numbers, twice)
    assert (counted.codes, counted.scales) == (packed.nbytes, state.absmax.nbytes)
    of_scales = state.state2.absmax.nbytes + state.offset.nbytes if twice else 0
    assert counted.scales_of_scales == of_scales


def test_bytes_by_hand():
    assert double_quantization.count_bytes(0) == double_quantization.StoredBytes(0, 0, 4)
    # 4096 x 4096: 262,144 blocks, 1,024 blocks of scales
    plain = double_quantization.count_bytes(4096 * 4096, double_quantization=False)
    twice = double_quantization.count_bytes(4096 * 4096)
    assert (plain.total, twice.total) == (8_388_608 + 1_048_576, 8_388_608 + 262_144 + 4096 + 4)
    saved_bits = 8 * (plain.total - twice.total) / 4096**2
    assert saved_bits == pytest.approx(0.373, abs=0.001)  # the paper's figure
    with pytest.raises(ModelError, match="cannot have -1 weights"):
        double_quantization.count_bytes(-1)


@pytest.fixture(scope="module")
def model_of_bitsandbytes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "compute_dtype", lambda: torch.float32)
        return loading.load_model("pico-chat", 4)


def test_pico_by_hand_is_bitsandbytes_4_bit_pico(pico_model, model_of_bitsandbytes):
    copied = double_quantization.quantized_copy(pico_model)
    ids = torch.arange(10, 74)[None]
    with torch.no_grad():
        mine, expected = copied(ids).logits, model_of_bitsandbytes(ids).logits
        before = pico_model(ids).logits
    assert float((mine - expected).abs().max()) < 1e-3
    assert float((mine - before).abs().max()) > 0.1
    for name, layer in loading.linear_layers(model_of_bitsandbytes):
        if (state := getattr(layer.weight, "quant_state", None)) is not None:
            dequantized = bnb.dequantize_4bit(layer.weight.data, state)
            assert torch.equal(copied.get_submodule(name).weight, dequantized)


def test_a_copy_leaves_the_model_and_its_other_weights_as_they_were(pico_model):
    before = {name: weight.clone() for name, weight in pico_model.state_dict().items()}
    copied = double_quantization.quantized_copy(pico_model, "int2", double_quantization=False)
    assert all(torch.equal(w, before[name]) for name, w in pico_model.state_dict().items())
    changed = [n for n, w in copied.state_dict().items() if not torch.equal(w, before[n])]
    assert len(changed) == 6 * 7
    assert all("_proj" in name for name in changed)
    with pytest.raises(UnknownNameError, match="no code book called 'int1'"):
        double_quantization.quantized_copy(pico_model, "int1")

"""NF4 by hand against bitsandbytes: the same codes, the same scales, the same numbers back."""

import itertools
import math

import pytest
import torch
from bitsandbytes import functional as bnb
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import nf4
from course_lib.errors import ModelError, UnknownNameError

BOOK = nf4.code_book("nf4")
MIDDLES = (BOOK[:-1] + BOOK[1:]) / 2


@st.composite
def tensors(draw):
    """Odd shapes, zeros, ties in the middle of two values, outliers, tiny and large numbers."""
    shape = draw(st.lists(st.integers(1, 30), min_size=1, max_size=3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = 10.0 ** draw(st.integers(-30, 20))
    made = {
        "normal": torch.randn(shape, generator=generator),
        "zeros": torch.zeros(shape),
        "ties": MIDDLES[torch.randint(15, shape, generator=generator)],
        "few": torch.randint(-3, 4, shape, generator=generator) / 3,
        "outliers": torch.randn(shape, generator=generator) ** 9,
    }[draw(st.sampled_from(["normal", "zeros", "ties", "few", "outliers"]))]
    if draw(st.booleans()):
        made.view(-1)[:64:7] = 1  # a block's largest: ties stay ties after its scale
    return (made * size).to(draw(st.sampled_from([torch.float32, torch.bfloat16])))


def theirs(weights, name="nf4", block_size=64, double_quantization=False):
    return bnb.quantize_4bit(
        weights, blocksize=block_size, quant_type=name, compress_statistics=double_quantization
    )


def test_the_code_book_is_that_of_bitsandbytes_to_the_last_bit():
    assert torch.equal(BOOK, bnb.get_4bit_type("nf4", "cpu"))


def test_nf4s_values_are_quantiles_of_the_normal_distribution():
    def share_below(value):  # of numbers with a mean of 0 and a deviation of 1
        return (1 + math.erf(value / 2**0.5)) / 2

    widest = 1.8481  # of the quantile 0.9677
    shares = [share_below(float(value) * widest) for value in BOOK]
    steps = [b - a for a, b in itertools.pairwise(shares)]
    assert steps[:7] == pytest.approx([0.4677 / 7] * 7, abs=1e-4)
    assert steps[7:] == pytest.approx([0.4677 / 8] * 8, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("int2", [-1, 0, 1]),
        ("int3", [-1, -2 / 3, -1 / 3, 0, 1 / 3, 2 / 3, 1]),
        ("int4", [step / 7 for step in range(-7, 8)]),
        ("fp4", sorted(set(bnb.get_4bit_type("fp4", "cpu").tolist()))),
    ],
)
def test_the_other_code_books_by_hand(name, values):
    assert nf4.code_book(name).tolist() == pytest.approx(values)


@given(tensors())
def test_codes_and_scales_are_those_of_bitsandbytes(weights):
    packed, state = theirs(weights)
    quantized = nf4.quantize(weights)
    assert torch.equal(quantized.codes, nf4.unpack_codes(packed, weights.numel()))
    assert torch.equal(quantized.absmax, state.absmax)


@given(tensors(), st.sampled_from(["nf4", "fp4"]), st.sampled_from([32, 64, 256]))
def test_numbers_come_back_as_from_bitsandbytes(weights, name, block_size):
    # an odd width makes bitsandbytes compile a kernel, which takes seconds and a compiler
    weights = weights.float().flatten().repeat_interleave(2)
    packed, state = theirs(weights, name, block_size)
    expected = bnb.dequantize_4bit(packed, state).reshape(weights.shape)
    assert torch.equal(nf4.dequantize(nf4.quantize(weights, name, block_size)), expected)


def test_picos_weights_get_the_codes_of_bitsandbytes(pico_model):
    layers = pico_model.model.layers[0]
    for layer in (layers.self_attn.k_proj, layers.mlp.down_proj):
        packed, state = theirs(layer.weight.data)
        quantized = nf4.quantize(layer.weight)
        assert torch.equal(nf4.pack_codes(quantized.codes), packed.reshape(-1))
        assert torch.equal(quantized.absmax, state.absmax)


def test_a_block_by_hand():
    # absmax 2: halves are -1, -0.5, 0, 0.4, 1; the nearest of -0.525 and -0.395 to -0.5 is -0.525
    quantized = nf4.quantize(torch.tensor([-2.0, -1.0, 0.0, 0.8, 2.0]))
    assert quantized.codes.tolist() == [0, 2, 7, 12, 15]
    assert quantized.absmax.tolist() == [2]
    expected = [-2, 2 * -0.52507305, 0, 2 * 0.44070983, 2]
    assert nf4.dequantize(quantized).tolist() == pytest.approx(expected)


def test_codes_go_into_bytes_and_come_back():
    codes = torch.tensor([1, 15, 7, 0, 9], dtype=torch.uint8)
    packed = nf4.pack_codes(codes)
    assert packed.tolist() == [0x1F, 0x70, 0x90]
    assert torch.equal(nf4.unpack_codes(packed, 5), codes)


def test_nf4_errs_least_on_normal_weights_and_small_blocks_bear_outliers():
    weights = torch.randn(64 * 400, generator=torch.Generator().manual_seed(0))
    errors = [nf4.quantization_error(weights, n) for n in ("int8", "nf4", "int4", "fp4", "int3")]
    assert errors == sorted(errors)
    assert errors[1] == pytest.approx(0.09, abs=0.01)
    weights[5] = 100
    assert nf4.quantization_error(weights, "nf4", 25600) > 4 * nf4.quantization_error(weights)
    assert nf4.quantization_error(torch.zeros(7)) == 0
    assert nf4.quantization_error(BOOK) == 0


@pytest.mark.parametrize(
    ("weights", "settings", "error", "match"),
    [
        (torch.zeros(4), {"name": "nf5"}, UnknownNameError, "no code book called 'nf5'"),
        (torch.zeros(0, 4), {}, ModelError, r"\(0, 4\) holds nothing"),
        (torch.tensor([1.0, math.nan]), {}, ModelError, "not finite"),
        (torch.tensor([1, 2]), {}, ModelError, "int64 tensor are not finite floating-point"),
        (torch.zeros(4), {"block_size": 0}, ModelError, "block_size is 0"),
    ],
)
def test_what_cannot_be_quantized_is_told(weights, settings, error, match):
    with pytest.raises(error, match=match):
        nf4.quantize(weights, **settings)


def test_codes_of_eight_bits_do_not_go_in_half_a_byte():
    codes = nf4.quantize(torch.ones(4), "int8").codes
    with pytest.raises(ModelError, match="code 254 needs more than 4 bits"):
        nf4.pack_codes(codes)

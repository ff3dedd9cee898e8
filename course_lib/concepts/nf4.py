"""NF4 by hand: a weight of 16 bits becomes one of 16 values, and each 64 weights share a scale.

Weights are divided into blocks of 64. A block's largest size, its absmax, becomes its scale:
divided by it, all of its weights lie between -1 and 1. Each then takes the nearest value of a code
book, of which only the number, the code, is kept: 4 bits for 16 values. The code books differ in
where they put their values. int4 spreads them evenly; fp4 as floating-point numbers lie; NF4 where
weights are: most of them near zero, as in a normal distribution.

Source: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3; constants as in bitsandbytes.
"""

from dataclasses import dataclass
from math import prod
from statistics import NormalDist

import torch

from course_lib.errors import ModelError, UnknownNameError

BLOCK = 64
OUTERMOST = (
    0.9677083  # quantile that becomes 1: half way from 1 - 1 / 30 to 1 - 1 / 32, as in bitsandbytes
)
FP4_SIZES = (0, 0.0625, 2, 3, 4, 6, 8, 12)  # a bit for the sign, two for the exponent, one more
CODE_BOOKS = ("nf4", "fp4", "int8", "int4", "int3", "int2")
TINY = 1e-38  # a block of zeros must not be divided by 0


@dataclass(frozen=True)
class Quantized:
    """A tensor as codes and scales.

    Args:
        codes: place of each number's value in the code book, uint8, (numbers,).
        absmax: scale of each block, fp32, (blocks,).
        code_book: name of the code book.
        block_size: numbers in a block; the last block may be shorter.
        shape: of the tensor.
    """

    codes: torch.Tensor
    absmax: torch.Tensor
    code_book: str
    block_size: int
    shape: tuple[int, ...]


def code_book(name: str) -> torch.Tensor:
    """Make the list of values that a quantized number can have.

    Args:
        name: one of `CODE_BOOKS`.

    Returns:
        Values from -1 to 1, ascending, fp32: 16 in nf4; 15 in fp4 and int4, where one of 16 codes
        is a second zero or goes unused; 7 in int3 and 3 in int2.

    Raises:
        UnknownNameError: there is no such code book.
    """
    if name not in CODE_BOOKS:
        raise UnknownNameError("code book", name, CODE_BOOKS)
    if name == "nf4":
        return _normal_values()
    if name == "fp4":
        sizes = torch.tensor(FP4_SIZES) / max(FP4_SIZES)
        return torch.cat([-sizes[1:].flip(0), sizes])
    largest = 2 ** (int(name[3:]) - 1) - 1
    return torch.arange(-largest, largest + 1) / largest


def _normal_values() -> torch.Tensor:
    """Quantiles of the normal distribution: 7 below zero, zero, 8 above it; the outermost are 1.

    The probabilities are rounded to fp32 first: then all 16 are bitsandbytes' to the last bit.
    """
    outermost = float(torch.tensor(OUTERMOST))

    def quantiles(count: int) -> torch.Tensor:
        steps = torch.arange(1, count + 1, dtype=torch.float64) / count
        probabilities = (0.5 + (outermost - 0.5) * steps).float()
        return torch.tensor([NormalDist().inv_cdf(p) for p in probabilities.tolist()])

    values = torch.cat([-quantiles(7).flip(0), torch.zeros(1), quantiles(8)])
    return values / values.max()


def quantize(weights: torch.Tensor, name: str = "nf4", block_size: int = BLOCK) -> Quantized:
    """Replace each number by a code, block by block.

    Args:
        weights: floating-point numbers of any shape; blocks run through its rows.
        name: of the code book.
        block_size: numbers that share a scale.

    Returns:
        Codes and scales; for nf4 they are bitsandbytes' on a CPU, exactly.

    Raises:
        UnknownNameError: there is no such code book.
        ModelError: there is nothing to quantize, or a number is not finite, or a bad block size.
    """
    _check(weights, block_size)
    book = code_book(name).to(weights.device)
    scaled, absmax = _scale(weights.detach().reshape(-1).float(), block_size)
    # the nearest value; a number exactly in the middle takes the lower one
    codes = torch.bucketize(scaled, (book[:-1] + book[1:]) / 2).to(torch.uint8)
    return Quantized(codes, absmax, name, block_size, tuple(weights.shape))


def _scale(flat: torch.Tensor, block_size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Each block divided by its largest size; and these sizes."""
    whole = len(flat) // block_size * block_size
    blocks, rest = flat[:whole].reshape(-1, block_size), flat[whole:]
    absmax = blocks.abs().amax(dim=1)
    # times 1 / absmax, which may differ from a division in the last bit: bitsandbytes' way
    scaled = (blocks * (1 / absmax.clamp(min=TINY))[:, None]).flatten()
    if len(rest) == 0:
        return scaled, absmax
    largest = rest.abs().max().clamp(min=TINY)  # a short last block: here bitsandbytes divides
    return torch.cat([scaled, rest / largest]), torch.cat([absmax, largest[None]])


def dequantize(quantized: Quantized) -> torch.Tensor:
    """Turn codes and scales back into numbers.

    Args:
        quantized: from `quantize`.

    Returns:
        Numbers near those that were quantized, fp32, in their shape.
    """
    values = code_book(quantized.code_book).to(quantized.codes.device)[quantized.codes.long()]
    scales = quantized.absmax.repeat_interleave(quantized.block_size)[: len(values)]
    return (values * scales).reshape(quantized.shape)


def pack_codes(codes: torch.Tensor) -> torch.Tensor:
    """Put two codes of 4 bits into each byte.

    Args:
        codes: from 0 to 15, (numbers,).

    Returns:
        Bytes, uint8, (half as many, rounded up): the first code of two in the upper four bits.

    Raises:
        ModelError: a code needs more than 4 bits.
    """
    if int(codes.max()) > 15:
        raise ModelError(f"The code {int(codes.max())} needs more than 4 bits.", "Use nf4 or int4.")
    pairs = torch.nn.functional.pad(codes, (0, len(codes) % 2)).reshape(-1, 2)
    return pairs[:, 0] << 4 | pairs[:, 1]


def unpack_codes(packed: torch.Tensor, count: int) -> torch.Tensor:
    """Take two codes of 4 bits out of each byte.

    Args:
        packed: bytes from `pack_codes`, or a weight of bitsandbytes.
        count: how many codes there are.

    Returns:
        Codes, uint8, (count,).
    """
    packed = packed.reshape(-1)
    return torch.stack([packed >> 4, packed & 15], dim=1).reshape(-1)[:count]


def quantization_error(weights: torch.Tensor, name: str = "nf4", block_size: int = BLOCK) -> float:
    """Measure what quantization changes.

    Args:
        weights: as in `quantize`.
        name: of the code book.
        block_size: numbers that share a scale.

    Returns:
        Root mean square of the changes over that of the weights: 0.1 means that a weight is off by
        a tenth of the usual size of one.

    Raises:
        UnknownNameError, ModelError: as in `quantize`.
    """
    changes = dequantize(quantize(weights, name, block_size)) - weights
    size = float(weights.double().square().mean())
    return (float(changes.double().square().mean()) / size) ** 0.5 if size else 0.0


def _check(weights: torch.Tensor, block_size: int) -> None:
    if prod(weights.shape) == 0:
        raise ModelError(f"A tensor of {tuple(weights.shape)} holds nothing.", "Give it numbers.")
    if not weights.is_floating_point() or not weights.isfinite().all():
        raise ModelError(
            f"Some numbers of this {weights.dtype} tensor are not finite floating-point numbers.",
            "Look for nan and inf; turn whole numbers into floats with .float().",
        )
    if not (isinstance(block_size, int) and block_size > 0):
        raise ModelError(f"block_size is {block_size}.", f"Use 1 or more; NF4 has {BLOCK}.")

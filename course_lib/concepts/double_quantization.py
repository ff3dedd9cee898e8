"""Double quantization: NF4's scales are quantized too, which saves 0.37 bits for each weight.

A scale of 32 bits for each 64 weights costs half a bit for each. Its mean is taken off each scale
(all are positive), blocks of 256 scales get one scale of their own, and each takes the nearest of
256 values: 8 bits instead of 32.

Source: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3; the 256 values: Dettmers 2015,
"8-Bit Approximations for Parallelism in Deep Learning", arXiv:1511.04561; both as in bitsandbytes.
"""

import copy
from dataclasses import dataclass, replace

import torch

from course_lib.concepts import nf4
from course_lib.errors import ModelError
from course_lib.model import loading

SCALE_BLOCK = 256
GRID = 32767.5  # half of the 65,535 steps from -1 to 1


@dataclass(frozen=True)
class NestedScales:
    """The scales of blocks, quantized.

    Args:
        codes: of each scale, uint8, (blocks,).
        absmax: scale of each 256 scales, fp32, (blocks / 256, rounded up).
        mean: of all scales, fp32, ().
    """

    codes: torch.Tensor
    absmax: torch.Tensor
    mean: torch.Tensor


@dataclass(frozen=True)
class StoredBytes:
    """Bytes of a tensor in NF4, without the two code books, which all tensors could share.

    Args:
        codes: two numbers in each byte.
        scales: of blocks of 64.
        scales_of_scales: of blocks of 256 scales, and the mean; 0 without double quantization.
    """

    codes: int
    scales: int
    scales_of_scales: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.codes + self.scales + self.scales_of_scales


def count_bytes(numbers: int, double_quantization: bool = True) -> StoredBytes:
    """Count the bytes of a tensor in NF4.

    Args:
        numbers: how many weights it has.
        double_quantization: whether its scales are quantized too.

    Returns:
        Bytes, as bitsandbytes stores them.

    Raises:
        ModelError: the number is below 0.
    """
    if numbers < 0:
        raise ModelError(f"A tensor cannot have {numbers} weights.", "Use 0 or more.")
    blocks = -(-numbers // nf4.BLOCK)  # rounded up
    codes = -(-numbers // 2)
    if not double_quantization:
        return StoredBytes(codes, 4 * blocks, 0)
    return StoredBytes(codes, blocks, 4 * -(-blocks // SCALE_BLOCK) + 4)


def dynamic_code_book() -> torch.Tensor:
    """Make the 256 values that a scale can have.

    Returns:
        Values from -0.993 to 1, ascending, fp32. There are seven decades, 0.000001 to 1; each has
        twice as many values as the one below it, evenly spread, and each value its negative.
    """
    values = [0.0, 1.0]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        middles = (edges[:-1] + edges[1:]) / 2 * 10.0 ** (decade - 6)
        values += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(values))


def quantize_scales(absmax: torch.Tensor) -> NestedScales:
    """Quantize the scales of blocks.

    Args:
        absmax: scale of each block, fp32, (blocks,).

    Returns:
        Codes and the scales' scales; they are bitsandbytes' on a CPU, exactly.
    """
    book, mean = dynamic_code_book().to(absmax.device), absmax.mean()
    padded = torch.nn.functional.pad(absmax - mean, (0, -len(absmax) % SCALE_BLOCK))
    blocks = padded.reshape(-1, SCALE_BLOCK)
    largest = blocks.abs().amax(dim=1, keepdim=True)
    scaled = blocks / largest.clamp(min=nf4.TINY)
    # bitsandbytes looks values up in a table of 65,536 places; so each goes to its place first
    places = ((scaled + 1) * GRID + 0.5).floor()
    codes = torch.bucketize(places / GRID - 1, (book[:-1] + book[1:]) / 2)
    codes = codes.where(largest > 0, 0)  # all scales alike: any code will do, and this is theirs
    codes = codes.flatten()[: len(absmax)].to(torch.uint8)
    return NestedScales(codes, largest.flatten(), mean)


def dequantize_scales(nested: NestedScales) -> torch.Tensor:
    """Turn quantized scales back into scales.

    Args:
        nested: from `quantize_scales`.

    Returns:
        Scales near those that were quantized, fp32, (blocks,).
    """
    values = dynamic_code_book().to(nested.mean.device)[nested.codes.long()]
    largest = nested.absmax.repeat_interleave(SCALE_BLOCK)[: len(values)]
    return values * largest + nested.mean


def quantize_twice(weights: torch.Tensor, name: str = "nf4") -> nf4.Quantized:
    """Quantize a tensor and its scales, and bring the scales back.

    Args:
        weights: as in `nf4.quantize`.
        name: of the code book.

    Returns:
        Codes, and scales as they are after double quantization.

    Raises:
        UnknownNameError, ModelError: as in `nf4.quantize`.
    """
    quantized = nf4.quantize(weights, name)
    return replace(quantized, absmax=dequantize_scales(quantize_scales(quantized.absmax)))


def quantized_copy(
    model: torch.nn.Module, name: str = "nf4", double_quantization: bool = True
) -> torch.nn.Module:
    """Copy a model, with weights that went through quantization and back.

    Args:
        model: a base model in 32 bits.
        name: of the code book.
        double_quantization: quantize the scales too.

    Returns:
        The copy, still in 32 bits: it answers as the quantized model would, and saves no memory.
        As in QLoRA, embeddings, norms and the output layer stay as they are.

    Raises:
        UnknownNameError: there is no such code book.
    """
    copied = copy.deepcopy(model)
    head = copied.get_output_embeddings()
    quantize = quantize_twice if double_quantization else nf4.quantize
    for _, layer in loading.linear_layers(copied):
        if layer is not head:
            layer.weight.data = nf4.dequantize(quantize(layer.weight.data, name))
    return copied

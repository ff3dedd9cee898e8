"""Unpack NF4 weights in one GPU kernel: codes, block scales and their scales together.

bitsandbytes takes three kernels and, on an H200, twice the time for it; the numbers are the same to
the last bit. Needs triton, which torch brings along on Linux: import this where there is a GPU.
"""

import torch
import triton
import triton.language as tl
from bitsandbytes.functional import QuantState

BYTES = 1024  # of packed weight for each program: two weights a byte
WARPS = 4
NF4_BLOCK, NF4_SUPER_BLOCK = 64, 256  # weights that share a scale; scales that share theirs


@triton.jit
def _unpack(
    packed: torch.Tensor,
    out: torch.Tensor,
    code: torch.Tensor,
    scales: torch.Tensor,
    scale_code: torch.Tensor,
    scale_scales: torch.Tensor,
    offset: torch.Tensor,
    n_bytes: torch.Tensor,  # an int; triton reads `int` as a type of its own
    BYTES: tl.constexpr,  # noqa: N803 (triton's way to write constants)
    BLOCK_BYTES: tl.constexpr,  # noqa: N803
    SUPER: tl.constexpr,  # noqa: N803
) -> None:
    at = tl.program_id(0) * BYTES + tl.arange(0, BYTES)
    inside = at < n_bytes
    byte = tl.load(packed + at, mask=inside, other=0).to(tl.int32)
    block = at // BLOCK_BYTES
    index = tl.load(scales + block, mask=inside, other=0).to(tl.int32)
    super_scale = tl.load(scale_scales + block // SUPER, mask=inside, other=0.0)
    scale = tl.load(scale_code + index) * super_scale + tl.load(offset)
    first = tl.load(code + (byte >> 4)) * scale
    second = tl.load(code + (byte & 15)) * scale
    place = tl.program_id(0) * (2 * BYTES) + tl.arange(0, 2 * BYTES)
    both = tl.interleave(first, second).to(out.dtype.element_ty)
    tl.store(out + place, both, mask=place < 2 * n_bytes)


def can_unpack(state: QuantState) -> bool:
    """Whether weights are packed in the one way that the kernel knows, double quantization.

    Args:
        state: bitsandbytes' description of a packed weight.
    """
    sizes = (state.blocksize, state.state2.blocksize) if state.nested else ()
    return sizes == (NF4_BLOCK, NF4_SUPER_BLOCK)


def unpack(packed: torch.Tensor, state: QuantState) -> torch.Tensor:
    """Unpack a weight.

    Args:
        packed: uint8, two weights a byte, on a GPU.
        state: its description; see `can_unpack`.

    Returns:
        The weight in the state's shape and type.
    """
    out = torch.empty(state.shape, dtype=state.dtype, device=packed.device)
    n_bytes, inner = packed.numel(), state.state2
    _unpack[(triton.cdiv(n_bytes, BYTES),)](
        packed,
        out,
        state.code,
        state.absmax,
        inner.code,
        inner.absmax,
        state.offset,
        n_bytes,
        BYTES=BYTES,
        BLOCK_BYTES=NF4_BLOCK // 2,
        SUPER=NF4_SUPER_BLOCK,
        num_warps=WARPS,
    )
    return out

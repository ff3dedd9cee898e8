"""Bytes that come and go in a step: what is kept for the backward pass, the logits, room to work.

A token costs each block of a Llama-type model, in numbers (H hidden size, A all heads together, K
the heads of keys, F width of the MLP):

- norms: what they read, in fp32: 2 H. Where the stream is in 16 bits, that is a copy.
- attention: queries, keys, values and its output: 2 A + 2 K (in packed rows 4 A: with a mask, torch
  repeats the keys and values that heads share), and 1 in fp32 for each head. No row of scores:
  torch's attention works in tiles. A mask takes one number for each pair of tokens of a row.
- MLP: the gate, its SiLU and the up projection: 3 F; a fused one keeps 2 F.
- layers that learn read their input again: with full, the outputs of both norms and the product in
  the MLP, 2 H + F, and each norm's quotient once more, 2 H. An adapter reads the same; where it
  computes in another type, each of its layers keeps a copy of its own. Between its two matrices it
  keeps r.

With gradient checkpointing a block keeps its input only, and one block at a time keeps all.
The logits take 12 bytes for each token and word of the vocabulary when the backward pass begins:
their log-softmax, its gradient and the gradient of the logits, each in fp32.

Source: read from the code of transformers' Llama, peft and bitsandbytes, and from what autograd
keeps (`python -m benchmarks.memory` compares the two).
"""

from course_lib.model import shapes
from course_lib.model.setting import Setting
from course_lib.model.shapes import Linear, Shape

FP32 = 4
LOGIT_BYTES = 3 * FP32
SHARES_ATTENTION = ("o_proj", "wo", "out_proj", "dense")  # they read what attention keeps anyway


def block_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes that one block keeps of a micro batch for its backward pass.

    Args:
        shape: of the base.
        setting: of the run.
    """
    numbers = setting.numbers
    is_masked = setting.is_packed and numbers.has_masks
    values = 2 * (shape.attention if is_masked else shape.key_values)
    a_token = (2 * shape.attention + values) * numbers.compute_bytes + shape.heads * FP32
    a_token += (2 if numbers.is_fused else 3) * shape.intermediate * numbers.mlp_bytes
    a_token += _norm_bytes(shape, setting) + round(_read_bytes(shape, setting))
    mask = setting.length * numbers.compute_bytes if is_masked else 0
    return setting.tokens * (a_token + mask)


def _norm_bytes(shape: Shape, setting: Setting) -> int:
    numbers = setting.numbers
    if numbers.is_fused:
        return shape.normed * numbers.stream_bytes
    quotients = shape.normed * numbers.compute_bytes if setting.is_full else 0
    return shape.normed * FP32 + quotients


def _read_bytes(shape: Shape, setting: Setting) -> float:
    """For a token, what the layers that learn keep of their inputs."""
    numbers = setting.numbers
    if setting.is_full:
        return (2 * shape.hidden + shape.intermediate) * numbers.compute_bytes
    targets = shapes.find_targets(shape, setting.target_modules)
    middles = 0 if numbers.has_fused_adapters else len(targets) * setting.r * numbers.copy_bytes
    inputs = sum(i for _, i, _ in targets)
    if setting.lora_dropout:
        # what is left after dropping is another tensor for each layer, and which were dropped
        read = inputs * 2 * numbers.copy_bytes
    elif numbers.has_copies:
        read = inputs * numbers.copy_bytes
    else:
        read = sum(_shared_inputs(targets).values()) * numbers.copy_bytes
    return (read + middles) / shape.layers


def _shared_inputs(targets: list[Linear]) -> dict[tuple[str, int], int]:
    """Widths of the different inputs: queries, keys and values read one, gate and up another."""
    alone = [line for line in targets if not line[0].endswith(SHARES_ATTENTION)]
    return {(name.rpartition(".")[0], i): i for name, i, _ in alone}


def input_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of what flows into a block, or out of the last one."""
    return setting.tokens * shape.hidden * setting.numbers.stream_bytes


def kept_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of activations that wait when the forward pass is done.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        Of all blocks, and of the last norm.
    """
    if setting.gradient_checkpointing:
        blocks = shape.layers * input_bytes(shape, setting)
    else:
        blocks = shape.layers * block_bytes(shape, setting)
    return blocks + setting.tokens * shape.hidden * FP32


def logit_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of the logits and their gradients at their peak.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        For a chunked loss, of one chunk, and of the gradient that it hands to the last block.
    """
    numbers = setting.numbers
    if not numbers.has_chunked_loss:
        return setting.tokens * shape.vocabulary * LOGIT_BYTES
    chunks = max(1, round(shape.vocabulary / shape.hidden))  # a chunk is no larger than its input
    chunk = -(-setting.tokens // chunks)
    return numbers.compute_bytes * (chunk * shape.vocabulary + setting.tokens * shape.hidden)


def loss_room(shape: Shape, setting: Setting) -> int:
    """Bytes that an output layer in fp32 takes while autocast holds it in 16 bits, too."""
    numbers = setting.numbers
    return shape.vocabulary * shape.hidden * numbers.compute_bytes if numbers.has_autocast else 0


def block_room(shape: Shape, setting: Setting) -> int:
    """Bytes that the backward pass of a block needs beside what was kept.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        The largest quantized weight, unpacked; and gradients on their way: of the stream, and two
        as wide as the MLP (a fused one writes one of them over what it kept).
    """
    numbers = setting.numbers
    largest = max((i * o for _, i, o in shape.linears), default=0)
    unpacked = largest * numbers.compute_bytes if setting.base_bits < 16 else 0
    wide = (1 if numbers.is_fused else 2) * shape.intermediate * numbers.mlp_bytes
    return unpacked + setting.tokens * (wide + shape.hidden * numbers.stream_bytes)

"""How much memory a QLoRA run needs, and how many weights it trains, from the model's shape alone.

The terms, in bytes; H is the hidden size, F the width of the MLP, A that of all attention heads:

- weights: a linear layer's weight takes bits / 8. NF4 adds its scales: one byte for each block of
  64, and four for each 256 of those (double quantization): 0.516 in all. Embeddings, norms and the
  output layer stay in the type that the model computes in. Before a product with a 4-bit or 8-bit
  weight, that weight is unpacked: room for the largest one.
- adapter: r * (in + out) weights for each targeted layer, in fp32; gradients the same again, and
  AdamW's two moments the same twice.
- activations, what a layer keeps for its backward pass, for each token: the inputs of its two norms
  in fp32; queries, keys, values and the attention's output; in the MLP the gate, its SiLU and the
  up projection; the input of each layer with an adapter, as that adapter reads it, in fp32, and the
  r numbers in its middle. With gradient checkpointing a layer keeps its input only, and one layer
  at a time keeps all. The logits, their log-softmax and their gradients take 12 for each token and
  word of the vocabulary.

Libraries add to that: a CUDA context takes some 0.5 GiB of its own.
Source: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3, for the NF4 constants; the terms
of activations were read from what autograd keeps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from course_lib.errors import ModelError
from course_lib.model import loading

GIB = 2**30
NF4_BLOCK, NF4_SUPER_BLOCK = 64, 256
NF4_BYTES = 1 / 2 + 1 / NF4_BLOCK + 4 / (NF4_BLOCK * NF4_SUPER_BLOCK)
ADAPTER_BYTES = 4  # fp32, as peft makes it; gradients and each of AdamW's moments alike
LOGIT_BYTES = 12


@dataclass(frozen=True)
class Shape:
    """The sizes of a base model.

    Args:
        linears: name, input width and output width of each linear layer but the output layer.
        other_weights: numbers of parameters outside of them; tied ones count once.
        layers: transformer blocks.
        hidden: width of the stream between blocks.
        intermediate: width of the MLP.
        attention: width of all attention heads together.
        vocabulary: rows of the output layer.
    """

    linears: tuple[tuple[str, int, int], ...]
    other_weights: int
    layers: int
    hidden: int
    intermediate: int
    attention: int
    vocabulary: int

    @property
    def weights(self) -> int:
        """Number of parameters of the base."""
        return sum(i * o for _, i, o in self.linears) + self.other_weights


@dataclass(frozen=True)
class Setting:
    """What decides a run's memory beside the shape.

    Args:
        bits: of each base weight.
        r: rank of the adapter.
        target_modules: "all-linear", or names of layers.
        tokens: in a micro batch.
        gradient_checkpointing: recompute activations instead of keeping them.
        compute_bytes: of a number in the model's arithmetic: 2 in bf16, 4 in fp32.
    """

    bits: int
    r: int
    target_modules: str | Sequence[str]
    tokens: int
    gradient_checkpointing: bool = False
    compute_bytes: int = 2


@dataclass(frozen=True)
class Memory:
    """Bytes that training needs at its peak, by what they hold."""

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        parts = (self.weights, self.adapter, self.gradients, self.optimizer, self.activations)
        return sum(parts)


def read_shape(name: str) -> Shape:
    """Read a base model's sizes; its weights are not loaded.

    Args:
        name: as in `loading.resolve_model`.

    Returns:
        The shape.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    path = loading.resolve_model(name)
    config_file = Path(path) / "config.json"
    changed = config_file.stat().st_mtime_ns if config_file.is_file() else 0
    return _read_shape(name, path, changed)


@lru_cache(maxsize=8)
def _read_shape(name: str, path: str, changed: int) -> Shape:
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False)
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
    except loading.NOT_LOADED as error:
        raise loading.load_error(name, error) from error
    head = skeleton.get_output_embeddings()
    linears = [(n, m) for n, m in loading.linear_layers(skeleton) if m is not head]
    total = sum(parameter.numel() for parameter in skeleton.parameters())
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return Shape(
        linears=tuple((n, m.in_features, m.out_features) for n, m in linears),
        other_weights=total - sum(m.in_features * m.out_features for _, m in linears),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        attention=heads * head_width,
        vocabulary=text.vocab_size,
    )


def adapter_weights(shape: Shape, r: int, target_modules: str | Sequence[str]) -> int:
    """Count the weights that a LoRA adapter trains.

    Args:
        shape: of the base.
        r: rank.
        target_modules: "all-linear", or names of layers.

    Returns:
        r * (in + out), summed over the targeted layers.

    Raises:
        ModelError: no layer has one of the names.
    """
    return sum(r * (i + o) for _, i, o in _targets(shape, target_modules))


def _targets(shape: Shape, target_modules: str | Sequence[str]) -> list[tuple[str, int, int]]:
    if target_modules == "all-linear":
        return list(shape.linears)
    names = [target_modules] if isinstance(target_modules, str) else list(target_modules)
    loading.check_targets([name for name, _, _ in shape.linears], names)
    return [line for line in shape.linears if any(f".{line[0]}".endswith(f".{n}") for n in names)]


def estimate_memory(shape: Shape, setting: Setting) -> Memory:
    """Estimate the memory that training needs at its peak.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        Bytes by what they hold; see the head of this file for the formula, and its test for how
        near it comes to measured runs.

    Raises:
        ModelError: no layer has one of the target names.
    """
    adapter = adapter_weights(shape, setting.r, setting.target_modules) * ADAPTER_BYTES
    return Memory(
        weights=weight_bytes(shape, setting.bits, setting.compute_bytes),
        adapter=adapter,
        gradients=adapter,
        optimizer=2 * adapter,
        activations=_activation_bytes(shape, setting),
    )


def weight_bytes(shape: Shape, bits: int, compute_bytes: int) -> int:
    """Bytes of the base's weights, and of the largest one unpacked.

    Args:
        shape: of the base.
        bits: 4 (NF4), 8, 16 or 32 for each weight.
        compute_bytes: as in `Setting`.

    Raises:
        ModelError: another number of bits.
    """
    each = {4: NF4_BYTES, 8: 1, 16: compute_bytes, 32: 4}
    if bits not in each:
        raise ModelError(f"bits is {bits}.", "Use 4, 8, 16 or 32.")
    other = 4 if bits == 32 else compute_bytes
    sizes = [i * o for _, i, o in shape.linears]
    unpacked = max(sizes, default=0) * compute_bytes if bits < 16 else 0
    return round(sum(sizes) * each[bits]) + shape.other_weights * other + unpacked


def _activation_bytes(shape: Shape, setting: Setting) -> int:
    """See the head of this file."""
    number = 4 if setting.bits == 32 else setting.compute_bytes
    targets = _targets(shape, setting.target_modules)
    read = sum(i for _, i, _ in targets) * ADAPTER_BYTES
    norms = 2 * shape.hidden * 4 * shape.layers
    if number == ADAPTER_BYTES:
        # no copies: queries, keys and values read one input, gate and up another, and the
        # attention's output is kept already
        read = min(read, (2 * shape.hidden + shape.intermediate) * ADAPTER_BYTES * shape.layers)
    kept = norms + read + len(targets) * setting.r * ADAPTER_BYTES
    kept += (4 * shape.attention + 3 * shape.intermediate) * number * shape.layers
    if setting.gradient_checkpointing:
        kept = shape.hidden * number * shape.layers + kept // max(1, shape.layers)
    return setting.tokens * (kept + shape.vocabulary * LOGIT_BYTES)

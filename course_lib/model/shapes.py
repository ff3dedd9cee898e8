"""The sizes of a base model: from its config, from a table of known ones, or from numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.errors import ModelError, UnknownNameError

if TYPE_CHECKING:  # what loads torch is imported where a config is read: the table needs none
    from transformers import PreTrainedConfig

Linear = tuple[str, int, int]


@dataclass(frozen=True)
class Kind:
    """Where the layers of a family of models differ from Llama's.

    Attributes:
        biases: which of q, k, v and o have a bias.
        has_qk_norms: queries and keys have norms.
        has_outer_norms: what attention and the MLP return has a norm, too.
        has_joined_qkv: queries, keys and values are one layer.
        has_joined_mlp: the gate and the up projection are one layer.
    """

    biases: str = ""
    has_qk_norms: bool = False
    has_outer_norms: bool = False
    has_joined_qkv: bool = False
    has_joined_mlp: bool = False


LLAMA = Kind()


@dataclass(frozen=True)
class Shape:
    """The sizes of a base model.

    Attributes:
        linears: name, input width and output width of each linear layer but the output layer.
        others: name and sizes of each weight outside of them; tied ones are there once.
        layers: transformer blocks.
        hidden: width of the stream between blocks.
        intermediate: width of the MLP.
        heads: attention heads.
        kv_heads: heads of keys and values; fewer than `heads` where heads share them.
        head_width: numbers in a head.
        vocabulary: rows of the output layer.
    """

    linears: tuple[Linear, ...]
    others: tuple[tuple[str, tuple[int, ...]], ...]
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_width: int
    vocabulary: int

    @property
    def linear_weights(self) -> int:
        """Number of weights in the linear layers of the blocks."""
        return sum(i * o for _, i, o in self.linears)

    @property
    def other_weights(self) -> int:
        """Number of weights in embeddings, norms, output layer and biases."""
        return sum(prod(sizes) for _, sizes in self.others)

    @property
    def weights(self) -> int:
        """Number of weights of the base."""
        return self.linear_weights + self.other_weights

    @property
    def attention(self) -> int:
        """Width of all attention heads together."""
        return self.heads * self.head_width

    @property
    def key_values(self) -> int:
        """Width of the keys, and of the values."""
        return self.kv_heads * self.head_width

    @property
    def normed(self) -> int:
        """Numbers of a token that the norms of a block read."""
        has_qk_norms = any("q_norm" in name for name, _ in self.others)
        return 2 * self.hidden + (self.attention + self.key_values if has_qk_norms else 0)


# Hidden, layers, heads, kv heads, intermediate, vocabulary, tied, width of a head (None:
# hidden / heads), norms on queries and keys. Source: the config.json that each model's publisher
# put on the Hugging Face hub, by the id given; the tests compare the number of weights with the
# published one.
KNOWN = {
    "llama_7b": ("meta-llama/Llama-2-7b-hf", 4096, 32, 32, 32, 11008, 32000),
    "llama_13b": ("meta-llama/Llama-2-13b-hf", 5120, 40, 40, 40, 13824, 32000),
    "llama3_8b": ("meta-llama/Meta-Llama-3-8B", 4096, 32, 32, 8, 14336, 128256),
    "mistral_7b": ("mistralai/Mistral-7B-v0.1", 4096, 32, 32, 8, 14336, 32000),
    "internlm2_1_8b": ("internlm/internlm2-chat-1_8b", 2048, 24, 16, 8, 8192, 92544),
    "internlm2_7b": ("internlm/internlm2-chat-7b", 4096, 32, 32, 8, 14336, 92544),
    "qwen3_0_6b": ("Qwen/Qwen3-0.6B", 1024, 28, 16, 8, 3072, 151936, True, 128, True),
    "qwen3_1_7b": ("Qwen/Qwen3-1.7B", 2048, 28, 16, 8, 6144, 151936, True, 128, True),
    "qwen3_8b": ("Qwen/Qwen3-8B", 4096, 36, 32, 8, 12288, 151936, False, 128, True),
    "smollm2_135m": ("HuggingFaceTB/SmolLM2-135M-Instruct", 576, 30, 9, 3, 1536, 49152, True),
    "smollm2_360m": ("HuggingFaceTB/SmolLM2-360M-Instruct", 960, 32, 15, 5, 2560, 49152, True),
}


def known_shape(name: str) -> Shape:
    """A well-known model's sizes, with no download.

    Args:
        name: a key of `KNOWN`, such as `llama_7b`.

    Returns:
        The shape.

    Raises:
        UnknownNameError: there is no such name; offers near ones.
    """
    if name not in KNOWN:
        raise UnknownNameError("shape", name, KNOWN)
    return llama_shape(*KNOWN[name][1:])


def llama_shape(
    hidden: int,
    layers: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocabulary: int,
    tied: bool = False,
    head_width: int | None = None,
    has_qk_norms: bool = False,
    kind: Kind = LLAMA,
) -> Shape:
    """The shape of a Llama-type model from its numbers.

    Args:
        hidden: width of the stream between blocks.
        layers: blocks.
        heads: attention heads.
        kv_heads: heads of keys and values.
        intermediate: width of the MLP.
        vocabulary: tokens.
        tied: the output layer is the table of embeddings.
        head_width: numbers in a head; hidden / heads when left out.
        has_qk_norms: queries and keys have norms, as in Qwen3.
        kind: what else differs from Llama.

    Returns:
        The shape.

    Raises:
        ModelError: no model can have these numbers; says which, and what to change.
    """
    numbers = {"hidden": hidden, "layers": layers, "heads": heads, "kv_heads": kv_heads}
    numbers |= {"intermediate": intermediate, "vocabulary": vocabulary}
    _check_numbers(numbers, head_width)
    width = head_width or hidden // heads
    kind = replace(kind, has_qk_norms=has_qk_norms or kind.has_qk_norms)
    names = [f"model.layers.{number}" for number in range(layers)]
    sizes = _block_sizes(hidden, heads * width, kv_heads * width, intermediate)
    block_others = _block_others(kind, sizes, hidden, width)
    sizes = _join(sizes, kind)
    others = [("model.embed_tokens.weight", (vocabulary, hidden))]
    others += [(f"{name}.{part}", (size,)) for name in names for part, size in block_others]
    others.append(("model.norm.weight", (hidden,)))
    others += [] if tied else [("lm_head.weight", (vocabulary, hidden))]
    return Shape(
        linears=tuple((f"{name}.{part}", i, o) for name in names for part, i, o in sizes),
        others=tuple(others),
        layers=layers,
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=kv_heads,
        head_width=width,
        vocabulary=vocabulary,
    )


def _block_sizes(hidden: int, attention: int, key_values: int, intermediate: int) -> list[Linear]:
    return [
        ("self_attn.q_proj", hidden, attention),
        ("self_attn.k_proj", hidden, key_values),
        ("self_attn.v_proj", hidden, key_values),
        ("self_attn.o_proj", attention, hidden),
        ("mlp.gate_proj", hidden, intermediate),
        ("mlp.up_proj", hidden, intermediate),
        ("mlp.down_proj", intermediate, hidden),
    ]


def _block_others(
    kind: Kind, sizes: list[Linear], hidden: int, head_width: int
) -> list[tuple[str, int]]:
    """Norms and biases of a block."""
    norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
    if kind.has_outer_norms:
        norms |= {"pre_feedforward_layernorm": hidden, "post_feedforward_layernorm": hidden}
    if kind.has_qk_norms:
        norms |= {"self_attn.q_norm": head_width, "self_attn.k_norm": head_width}
    widths = {name: o for name, _, o in sizes}
    biased = [f"self_attn.{letter}_proj" for letter in kind.biases]
    return [
        *((f"{name}.weight", size) for name, size in norms.items()),
        *((f"{name}.bias", widths[name]) for name in biased),
    ]


def _join(sizes: list[Linear], kind: Kind) -> list[Linear]:
    """The layers of a block, those that read the same input as one where the family has it so."""
    queries, keys, values, output, gate, up, down = sizes
    if kind.has_joined_qkv:
        width = queries[2] + keys[2] + values[2]
        attention = [("self_attn.qkv_proj", queries[1], width), output]
    else:
        attention = [queries, keys, values, output]
    joined = ("mlp.gate_up_proj", gate[1], gate[2] + up[2])
    return [*attention, *([joined] if kind.has_joined_mlp else [gate, up]), down]


def _check_numbers(numbers: dict[str, int], head_width: int | None) -> None:
    """See `llama_shape`; all that is wrong is told at once."""
    given = {**numbers, **({} if head_width is None else {"head_width": head_width})}
    wrong = [f"{name} is {size!r}" for name, size in given.items() if not _is_size(size)]
    if wrong:
        raise ModelError(
            f"No model has this shape: {', '.join(wrong)}.", "Give whole numbers of 1 or more."
        )
    hidden, heads, kv_heads = numbers["hidden"], numbers["heads"], numbers["kv_heads"]
    if head_width is None and hidden % heads:
        fit = [count for count in range(1, hidden + 1) if hidden % count == 0]
        near = min(fit, key=lambda count: abs(count - heads))
        raise ModelError(
            f"{heads} heads do not divide a hidden size of {hidden}.",
            f"Use heads {near}, or give the width of a head as head_width.",
        )
    if heads % kv_heads:
        fit = [count for count in range(1, heads + 1) if heads % count == 0]
        raise ModelError(
            f"{kv_heads} kv_heads cannot be shared by {heads} heads alike.",
            f"Use a kv_heads that divides heads: {', '.join(map(str, fit))}.",
        )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def read_shape(name: str) -> Shape:
    """Read a base model's sizes; its weights are not loaded.

    Args:
        name: as in `loading.resolve_model`.

    Returns:
        The shape.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    from course_lib.model import loading

    path = loading.resolve_model(name)
    config_file = Path(path) / "config.json"
    changed = config_file.stat().st_mtime_ns if config_file.is_file() else 0
    return _read_shape(name, path, changed)


@lru_cache(maxsize=8)
def _read_shape(name: str, path: str, changed: int) -> Shape:
    from course_lib.model import loading

    try:
        return config_shape(loading.read_config(name))
    except loading.NOT_LOADED as error:
        raise loading.load_error(name, error) from error


def config_shape(config: "PreTrainedConfig") -> Shape:
    """The sizes of the model that a config describes: its class is built, without numbers.

    Args:
        config: of one of transformers' causal language models.

    Returns:
        The shape.
    """
    from course_lib.model import loading

    skeleton = loading.make_skeleton(config)
    head = skeleton.get_output_embeddings()
    linears = {f"{n}.weight": (n, m) for n, m in loading.linear_layers(skeleton) if m is not head}
    weights = [(n, tuple(weight.shape)) for n, weight in skeleton.named_parameters()]
    text = config.get_text_config()
    heads = text.num_attention_heads
    return Shape(
        linears=tuple((n, m.in_features, m.out_features) for n, m in linears.values()),
        others=tuple((n, sizes) for n, sizes in weights if n not in linears),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocabulary=text.vocab_size,
    )


def find_targets(shape: Shape, target_modules: str | Sequence[str]) -> list[Linear]:
    """The linear layers that get an adapter.

    Args:
        shape: of the base.
        target_modules: "all-linear", or names of layers.

    Returns:
        Their names and widths.

    Raises:
        ModelError: no layer has one of the names.
    """
    if target_modules == "all-linear":
        return list(shape.linears)
    from course_lib.model import loading

    names = [target_modules] if isinstance(target_modules, str) else list(target_modules)
    loading.check_targets([name for name, _, _ in shape.linears], names)
    return [line for line in shape.linears if any(f".{line[0]}".endswith(f".{n}") for n in names)]


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
    return sum(r * (i + o) for _, i, o in find_targets(shape, target_modules))

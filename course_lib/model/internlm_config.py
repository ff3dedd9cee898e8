"""What an InternLM checkpoint's config.json says, in the words of transformers' own classes.

InternLM 1, 2 and 3 compute what Llama computes; they differ in names, in biases and in how the file
holds queries, keys and values (see internlm.py). So their configs become a `LlamaConfig`, or a
`Qwen2Config` where queries, keys and values have a bias and the output projection has none.

Rotary positions beyond the trained length: the published code and transformers stretch the base by
the same formula ("dynamic NTK"), so a text read at once gets the same logits. They differ in what
they keep between two texts. transformers keeps the widest stretch until a text shorter than the
trained length comes; later revisions of InternLM2's code compute it anew for each long text and do
not go back for a short one. While a reply grows beyond the trained length, InternLM 1's code turns
all cached keys anew, and transformers leaves those that it has.

Source: configuration_*.py and modeling_*.py beside the checkpoints, for example
https://huggingface.co/internlm/internlm2-chat-7b and https://github.com/InternLM/InternLM.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from transformers import LlamaConfig, PreTrainedConfig, Qwen2Config

from course_lib.errors import ModelError


@dataclass(frozen=True)
class Family:
    """One generation of InternLM.

    Args:
        title: what people call it.
        architecture: the only class of it that writes text.
        template: the chat template's name in data/named_templates.py.
        has_bias: whether attention has biases when the config does not say.
    """

    title: str
    architecture: str
    template: str
    has_bias: bool


FAMILIES = {  # by the config's model_type
    "internlm": Family("InternLM", "InternLMForCausalLM", "internlm_chat", True),
    "internlm2": Family("InternLM2", "InternLM2ForCausalLM", "internlm2_chat", True),
    "internlm3": Family("InternLM3", "InternLM3ForCausalLM", "internlm2_chat", False),
}
SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)
SAME = (  # mean the same in both
    "num_key_value_heads",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "pad_token_id",
    "bos_token_id",
    "eos_token_id",
    "tie_word_embeddings",
)


def family_of(values: Mapping[str, Any]) -> Family | None:
    """The family that a config belongs to.

    Args:
        values: of a config.json.

    Returns:
        The family; None for any other model, which transformers loads by itself.
    """
    return FAMILIES.get(values.get("model_type"))


def native_config(values: Mapping[str, Any], where: str) -> PreTrainedConfig:
    """Turn an InternLM config into one of transformers' own.

    Args:
        values: of the checkpoint's config.json.
        where: the checkpoint, for error messages.

    Returns:
        A `LlamaConfig`, or a `Qwen2Config` where only queries, keys and values have a bias.

    Raises:
        ModelError: another architecture, quantized weights, or values that no Llama has.
    """
    family = _check_kind(values, where)
    settings = {name: values[name] for name in (*SIZES, *SAME) if values.get(name) is not None}
    settings["rope_parameters"] = _rope_parameters(values, where)
    settings["dtype"] = values.get("dtype") or values.get("torch_dtype")
    is_third = family.title == "InternLM3"
    if is_third and values.get("head_dim"):
        settings["head_dim"] = values["head_dim"]
    bias = bool(values.get("bias", family.has_bias))
    qkv_bias = bool(values.get("qkv_bias", False)) if is_third else bias
    _check_bias(bias, qkv_bias, where)
    try:
        if qkv_bias and not bias:
            return Qwen2Config(**settings)
        return LlamaConfig(**settings, attention_bias=bias, mlp_bias=bias and is_third)
    except (StrictDataclassError, TypeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"{where}: config.json holds a value that cannot be: {' '.join(lines)}",
            "Copy or download config.json again.",
        ) from error


def _check_bias(bias: bool, qkv_bias: bool, where: str) -> None:
    """InternLM3 says one for queries, keys and values, and one for everything else."""
    if bias and not qkv_bias:
        raise ModelError(
            f"{where}: config.json says bias: true and qkv_bias: false.",
            "No class of transformers has a bias in the output projection alone. "
            "Check the file: published models have bias: false.",
        )


def _check_kind(values: Mapping[str, Any], where: str) -> Family:
    """Refuse what is not a plain language model of a known family."""
    family = family_of(values)
    assert family is not None, "the caller asks only for InternLM"
    classes = values.get("architectures") or [family.architecture]
    if family.architecture not in classes:
        raise ModelError(
            f"{where} is a {', '.join(map(str, classes))}: expected {family.architecture}.",
            "Reward, vision and classification models cannot write text: use a base or chat model.",
        )
    if values.get("quantization_config"):
        method = dict(values["quantization_config"]).get("quant_method", "unknown")
        raise ModelError(
            f"{where}: the weights are quantized already ({method}).",
            "Take the model's 16-bit checkpoint; bits: 4 quantizes it while loading.",
        )
    missing = [name for name in SIZES if not isinstance(values.get(name), int)]
    if missing:
        raise ModelError(
            f"{where}: config.json has no {', '.join(missing)}.",
            "Copy or download config.json again.",
        )
    _check_heads(values, where)
    return family


def _check_heads(values: Mapping[str, Any], where: str) -> None:
    heads = values["num_attention_heads"]
    groups = values.get("num_key_value_heads") or heads
    if heads % groups or (values["hidden_size"] % heads and not values.get("head_dim")):
        raise ModelError(
            f"{where}: config.json says hidden_size {values['hidden_size']}, {heads} heads and "
            f"{groups} key-value heads, which do not divide each other.",
            "Copy or download config.json again.",
        )


def _rope_parameters(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """How positions turn queries and keys: InternLM 1 says `rotary`, the others `rope_scaling`."""
    rotary = values.get("rotary") or {}
    scaling = values.get("rope_parameters") or values.get("rope_scaling") or rotary
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    kind = "default" if kind == "origin" else kind
    theta = scaling.get("rope_theta") or values.get("rope_theta") or rotary.get("base") or 10_000
    if kind == "default":
        return {"rope_type": kind, "rope_theta": float(theta)}
    if kind not in ("dynamic", "linear"):
        raise ModelError(
            f"{where}: config.json asks for rotary positions of the type {kind!r}.",
            "Known for InternLM: dynamic, linear, and none.",
        )
    factor = scaling.get("factor", scaling.get("scaling_factor", 1.0))
    return {"rope_type": kind, "rope_theta": float(theta), "factor": float(factor)}

"""Models of random weights and real shapes, for `gpu` and `full_gpu`: written as checkpoints."""

import json
from pathlib import Path
from typing import Any

import torch

SHAPES: dict[str, dict[str, int]] = {
    "7b": {"layers": 32, "hidden": 4096, "heads": 32, "kv": 32, "mlp": 11008, "words": 32000},
    "1.8b": {"layers": 24, "hidden": 2048, "heads": 16, "kv": 8, "mlp": 8192, "words": 92544},
    "tiny": {"layers": 2, "hidden": 256, "heads": 4, "kv": 2, "mlp": 512, "words": 512},
}


def write_checkpoint(name: str, folder: Path, bits: int = 4) -> Path:
    """Write a model of random weights, layer by layer; what is there is kept.

    Args:
        name: a key of `SHAPES`.
        folder: where checkpoints are kept.
        bits: 4 for NF4, 16 for bf16.

    Returns:
        Its folder.
    """
    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    path = folder / (f"random-{name}" if bits == 4 else f"random-{name}-bf16")
    if (path / "config.json").is_file():
        return path
    path.mkdir(parents=True)
    with torch.device("meta"):
        skeleton = LlamaForCausalLM(llama_config(name))
    index = {}
    for number, weights in enumerate(_by_layer(skeleton).values()):
        state = {key: value for w in weights for key, value in _random(*w, bits).items()}
        save_file(state, path / f"part-{number}.safetensors", metadata={"format": "pt"})
        index |= dict.fromkeys(state, f"part-{number}.safetensors")
    text = json.dumps({"metadata": {}, "weight_map": index})
    (path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    config = llama_config(name)
    if bits == 4:
        config.quantization_config = _nf4()
    _write_tokenizer(name, path)
    config.save_pretrained(path)
    return path


def _nf4() -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def llama_config(name: str) -> Any:
    """The config of a shape, which transformers makes a model from."""
    from transformers import LlamaConfig

    shape = SHAPES[name]
    return LlamaConfig(
        hidden_size=shape["hidden"],
        intermediate_size=shape["mlp"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv"],
        vocab_size=shape["words"],
        max_position_embeddings=32768,
        architectures=["LlamaForCausalLM"],
        dtype=torch.bfloat16,
    )


def _by_layer(model: torch.nn.Module) -> dict[str, list[tuple[str, torch.Size]]]:
    """Names and shapes of the weights, those of a layer together."""
    parts: dict[str, list[tuple[str, torch.Size]]] = {}
    for key, value in model.state_dict().items():
        part = ".".join(key.split(".")[:3]) if ".layers." in key else "rest"
        parts.setdefault(part, []).append((key, value.shape))
    return parts


def _random(key: str, shape: torch.Size, bits: int) -> dict[str, torch.Tensor]:
    """A weight as a checkpoint holds it: bf16, or NF4 with its scales."""
    if len(shape) == 1:
        return {key: torch.ones(shape, dtype=torch.bfloat16)}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weight = torch.empty(shape, device=device, dtype=torch.bfloat16).normal_(0, 0.02)
    if bits == 16 or not key.endswith("_proj.weight"):
        return {key: weight.cpu()}
    import bitsandbytes

    packed, state = bitsandbytes.functional.quantize_4bit(
        weight, quant_type="nf4", compress_statistics=True, blocksize=64
    )
    extra = {f"{key}.{name}": value.cpu() for name, value in state.as_dict(packed=True).items()}
    return {key: packed.cpu(), **extra}


def _write_tokenizer(name: str, path: Path) -> None:
    """Some trainers want one, although rows are token ids here."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {f"t{i}": i for i in range(SHAPES[name]["words"])}
    roles = {"unk_token": "t0", "pad_token": "t0", "eos_token": "t2"}
    made = Tokenizer(models.WordLevel(words, unk_token="t0"))  # noqa: S106 (a word, no secret)
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=made, **roles).save_pretrained(path)

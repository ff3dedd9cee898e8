"""InternLM checkpoints as transformers' own Llama, without code from the checkpoint.

InternLM 1 and 3 name their tensors as Llama does. InternLM2 names them in its own way and keeps
queries, keys and values of a layer in one tensor, `wqkv`: for each key-value head its queries, then
its key, then its value, (key-value heads, queries of each + 2, head width, hidden). Each tensor is
read and cut when transformers' loader asks for it, so quantization to 4 or 8 bits happens as for
any other model, and no more than one weight file is held beside the model.

Source: modeling_internlm.py, modeling_internlm2.py and modeling_internlm3.py beside the
checkpoints, for example https://huggingface.co/internlm/internlm2-chat-7b.
"""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2ForCausalLM,
)
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from course_lib.errors import ModelError
from course_lib.model import internlm_config, internlm_tokenizer, internlm_weights

INTERNLM2_NAMES = (  # Llama's, InternLM2's, and the part of it
    ("model.embed_tokens", "model.tok_embeddings", ""),
    ("lm_head", "output", ""),
    ("self_attn.q_proj", "attention.wqkv", "q"),
    ("self_attn.k_proj", "attention.wqkv", "k"),
    ("self_attn.v_proj", "attention.wqkv", "v"),
    ("self_attn.o_proj", "attention.wo", ""),
    ("mlp.gate_proj", "feed_forward.w1", ""),
    ("mlp.up_proj", "feed_forward.w3", ""),
    ("mlp.down_proj", "feed_forward.w2", ""),
    ("input_layernorm", "attention_norm", ""),
    ("post_attention_layernorm", "ffn_norm", ""),
)
COMPUTED = ".rotary_emb.inv_freq"  # old files hold it; it follows from the config


def is_internlm(path: str) -> bool:
    """Whether a model is an InternLM.

    Args:
        path: a folder, or an id on the Hub.

    Returns:
        False for other models, and where there is no config to tell.

    Raises:
        OSError: the Hub cannot be reached.
    """
    try:
        values, _ = PreTrainedConfig.get_config_dict(path)
    except OSError as error:
        is_offline = isinstance(error.__cause__, LocalEntryNotFoundError)
        if Path(path).is_dir() or (
            isinstance(error.__cause__, EntryNotFoundError) and not is_offline
        ):
            return False
        raise  # at once: each further question takes half a minute to fail
    except ValueError:
        return False
    return internlm_config.family_of(values) is not None


def read_config(path: str) -> PreTrainedConfig:
    """An InternLM's config as one of transformers' own classes.

    Args:
        path: a folder, or an id on the Hub.

    Returns:
        A `LlamaConfig` or `Qwen2Config`.

    Raises:
        ModelError: see `internlm_config.native_config`.
    """
    values, _ = PreTrainedConfig.get_config_dict(path)
    return internlm_config.native_config(values, path)


def local_folder(path: str, with_weights: bool = True) -> Path:
    """The folder with a model's files; those of a Hub id are downloaded first.

    Args:
        path: a folder, or an id on the Hub.
        with_weights: download weights too, not only settings and tokenizer.

    Returns:
        The folder. No code is downloaded.

    Raises:
        OSError: the files cannot be downloaded.
    """
    if Path(path).is_dir():
        return Path(path)
    folder = Path(snapshot_download(path, allow_patterns=["*.json", "*.model"]))
    if not with_weights:
        return folder
    safe, pickled = internlm_weights.KINDS
    is_pickled = (folder / pickled[0]).is_file() and not (folder / safe[0]).is_file()
    files = list(pickled[1:] if is_pickled else safe[1:])
    return Path(snapshot_download(path, allow_patterns=["*.json", "*.model", *files]))


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Load an InternLM's tokenizer as a fast one.

    Args:
        path: a folder, or an id on the Hub.

    Returns:
        The tokenizer with its control tokens and its chat template.

    Raises:
        ModelError: see `internlm_tokenizer.load`; or it has more tokens than the model.
        OSError: the files cannot be downloaded.
    """
    values, _ = PreTrainedConfig.get_config_dict(path)
    family = internlm_config.family_of(values)
    assert family is not None, "the caller asks only for InternLM"
    tokenizer = internlm_tokenizer.load(local_folder(path, with_weights=False), family)
    rows, tokens = read_config(path).vocab_size, max(tokenizer.get_vocab().values()) + 1
    if tokens > rows:
        raise ModelError(
            f"{path}: the tokenizer has {tokens} tokens, and the model's vocabulary {rows}.",
            "Copy or download the tokenizer files and config.json of one revision.",
        )
    return tokenizer


def load(path: str, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load an InternLM as Llama.

    Args:
        path: a folder, or an id on the Hub.
        options: for transformers' `from_pretrained`, with `output_loading_info=True`.

    Returns:
        The model and transformers' report on what was loaded.

    Raises:
        ModelError: the files are not those of one whole InternLM.
        OSError: the files cannot be downloaded.
    """
    values, _ = PreTrainedConfig.get_config_dict(path)
    config = internlm_config.native_config(values, path)
    is_internlm2 = values["model_type"] == "internlm2"
    folder = local_folder(path)
    model_class = LlamaForCausalLM if isinstance(config, LlamaConfig) else Qwen2ForCausalLM
    with torch.device("meta"):
        skeleton = model_class(config)
    shards = internlm_weights.Shards(folder)
    try:
        weights = _weights(path, skeleton, shards, is_internlm2)
        if is_deepspeed_zero3_enabled():  # as transformers does: the first process has them all
            weights = _real_weights(weights)
        model, info = model_class.from_pretrained(
            None, config=config, state_dict=weights, **options
        )
    finally:
        shards.close()
    model.name_or_path = model.config._name_or_path = path
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model, info


class LazyWeight:
    """A weight that is read when transformers' loader slices it, as it does with open files.

    Args:
        shards: where it is.
        name: of the tensor in there.
        part: "q", "k" or "v" of a fused one; empty for the whole.
        config: of the model; says how a fused tensor is laid out.
        shape: of the weight.
    """

    def __init__(
        self,
        shards: internlm_weights.Shards,
        name: str,
        part: str,
        config: PreTrainedConfig,
        shape: torch.Size,
    ) -> None:
        self._shards, self._name, self._part = shards, name, part
        self._config, self.shape = config, shape

    def __getitem__(self, key: Any) -> torch.Tensor:
        tensor = self._shards.read(self._name)
        if self._part:
            tensor = split_wqkv(tensor, self._part, self._config)
        return tensor[key]


def split_wqkv(fused: torch.Tensor, part: str, config: PreTrainedConfig) -> torch.Tensor:
    """Cut queries, keys or values out of InternLM2's fused weight or bias.

    Args:
        fused: (rows, hidden) or (rows,).
        part: "q", "k" or "v".
        config: numbers of heads.

    Returns:
        The rows of that part, in the order in which Llama counts heads.
    """
    queries = config.num_attention_heads // config.num_key_value_heads  # of each key-value head
    groups = fused.unflatten(0, (config.num_key_value_heads, queries + 2, -1))
    rows = {"q": groups[:, :queries], "k": groups[:, queries], "v": groups[:, queries + 1]}[part]
    return rows.reshape(-1, *fused.shape[1:]).clone()


def _weights(
    where: str, skeleton: PreTrainedModel, shards: internlm_weights.Shards, is_internlm2: bool
) -> dict[str, LazyWeight]:
    """Each weight of the model, by its Llama name, after a check that all of them are there."""
    weights, expected = {}, {}
    for name, tensor in skeleton.state_dict().items():
        stored, part = _stored_name(name) if is_internlm2 else (name, "")
        if name == "lm_head.weight" and skeleton.config.tie_word_embeddings:
            continue  # it is the embedding
        weights[name] = LazyWeight(shards, stored, part, skeleton.config, tensor.shape)
        rows, *columns = tensor.shape
        rows += expected[stored][0] if stored in expected else 0  # parts of one tensor add up
        expected[stored] = (rows, *columns)
    found = {name: t for name, t in shards.tensors.items() if not name.endswith(COMPUTED)}
    if skeleton.config.tie_word_embeddings:
        found.pop("output.weight" if is_internlm2 else "lm_head.weight", None)
    internlm_weights.check_tensors(where, found, expected)
    return weights


def _stored_name(name: str) -> tuple[str, str]:
    """InternLM2's name of a Llama weight, and which part of that tensor the weight is."""
    for native, stored, part in INTERNLM2_NAMES:
        if native in name:
            return name.replace(native, stored), part
    return name, ""


def _real_weights(weights: dict[str, LazyWeight]) -> dict[str, torch.Tensor]:
    """For ZeRO-3: tensors in the first process, their shapes in the others."""
    if torch.distributed.get_rank() == 0:
        return {name: weight[...] for name, weight in weights.items()}
    return {name: torch.empty(weight.shape, device="meta") for name, weight in weights.items()}

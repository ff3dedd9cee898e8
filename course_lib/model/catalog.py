"""Well-known base models: their ids on the hubs and their sizes, known without a download.

Sizes are those of the config.json that each model's publisher put on the Hugging Face hub, read in
a second place too: the model tables of litgpt (Lightning-AI/litgpt, litgpt/config.py), the defaults
of transformers' own config classes, and for InternLM the config.json that its users quote. A test
builds each one's class in transformers and compares every layer.

Left out, as transformers has no class for them and their own code is not run here: ChatGLM 1 to 3
and Baichuan 1 and 2. GLM-4 is there in its "-hf" form, which transformers reads.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from course_lib.errors import UnknownNameError
from course_lib.files import DATA_DIR
from course_lib.model import shapes
from course_lib.model.shapes import Kind, Shape

BILLION = 10**9
# By the config's model_type. InternLM loads as one of transformers' own classes: the first one has
# a bias on q, k, v and o, the others compute what Llama does.
KINDS = {
    "llama": shapes.LLAMA,
    "mistral": shapes.LLAMA,
    "gemma": shapes.LLAMA,
    "internlm": Kind(biases="qkvo"),
    "internlm2": shapes.LLAMA,
    "internlm3": shapes.LLAMA,
    "qwen2": Kind(biases="qkv"),
    "qwen3": Kind(has_qk_norms=True),
    "gemma2": Kind(has_outer_norms=True),
    "gemma3_text": Kind(has_qk_norms=True, has_outer_norms=True),
    "phi3": Kind(has_joined_qkv=True, has_joined_mlp=True),
    "glm": Kind(biases="qkv", has_joined_mlp=True),
}


@dataclass(frozen=True)
class Sizes:
    """A base model's numbers, without its text.

    Attributes:
        kind: one of `KINDS`.
        hidden: width of the stream between blocks.
        layers: blocks.
        heads: attention heads.
        kv_heads: heads of keys and values.
        intermediate: width of the MLP.
        vocabulary: rows of the table of embeddings.
        is_tied: the output layer is that table.
        head_width: numbers in a head; hidden / heads when None.
    """

    kind: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    intermediate: int
    vocabulary: int
    is_tied: bool = False
    head_width: int | None = None


_LLAMA2_7B = Sizes("llama", 4096, 32, 32, 32, 11008, 32000)
_LLAMA2_13B = Sizes("llama", 5120, 40, 40, 40, 13824, 32000)
_LLAMA3_8B = Sizes("llama", 4096, 32, 32, 8, 14336, 128256)
_LLAMA3_1B = Sizes("llama", 2048, 16, 32, 8, 8192, 128256, True)
_LLAMA3_3B = Sizes("llama", 3072, 28, 24, 8, 8192, 128256, True)
_MISTRAL = Sizes("mistral", 4096, 32, 32, 8, 14336, 32768)
_SMOLLM2_135M = Sizes("llama", 576, 30, 9, 3, 1536, 49152, True)
_SMOLLM2_360M = Sizes("llama", 960, 32, 15, 5, 2560, 49152, True)
_QWEN2_0_5B = Sizes("qwen2", 896, 24, 14, 2, 4864, 151936, True)
_QWEN2_1_5B = Sizes("qwen2", 1536, 28, 12, 2, 8960, 151936, True)
_QWEN2_3B = Sizes("qwen2", 2048, 36, 16, 2, 11008, 151936, True)
_QWEN2_7B = Sizes("qwen2", 3584, 28, 28, 4, 18944, 152064)
_QWEN3_0_6B = Sizes("qwen3", 1024, 28, 16, 8, 3072, 151936, True, 128)
_QWEN3_1_7B = Sizes("qwen3", 2048, 28, 16, 8, 6144, 151936, True, 128)
_QWEN3_4B = Sizes("qwen3", 2560, 36, 32, 8, 9728, 151936, True, 128)
_QWEN3_8B = Sizes("qwen3", 4096, 36, 32, 8, 12288, 151936, False, 128)
_INTERNLM_7B = Sizes("internlm", 4096, 32, 32, 32, 11008, 103168)
_INTERNLM_20B = Sizes("internlm2", 5120, 60, 40, 40, 13824, 103168)  # bias: false
_INTERNLM2_1_8B = Sizes("internlm2", 2048, 24, 16, 8, 8192, 92544)
_INTERNLM2_7B = Sizes("internlm2", 4096, 32, 32, 8, 14336, 92544)
_INTERNLM2_20B = Sizes("internlm2", 6144, 48, 48, 8, 16384, 92544)
_INTERNLM3_8B = Sizes("internlm3", 4096, 48, 32, 2, 10240, 128512, False, 128)
_GEMMA_2B = Sizes("gemma", 2048, 18, 8, 1, 16384, 256000, True, 256)
_GEMMA_7B = Sizes("gemma", 3072, 28, 16, 16, 24576, 256000, True, 256)
_GEMMA2_2B = Sizes("gemma2", 2304, 26, 8, 4, 9216, 256000, True, 256)
_GEMMA2_9B = Sizes("gemma2", 3584, 42, 16, 8, 14336, 256000, True, 256)
_GEMMA3_1B = Sizes("gemma3_text", 1152, 26, 4, 1, 6912, 262144, True, 256)
_PHI3_MINI = Sizes("phi3", 3072, 32, 32, 32, 8192, 32064)
_PHI4_MINI = Sizes("phi3", 3072, 32, 24, 8, 8192, 200064, True)
_GLM4_9B = Sizes("glm", 4096, 40, 32, 2, 13696, 151552, False, 128)

# What a preset writes for a family's chat models, where the tokenizer's own template would put
# something into every row that the data did not ask for.
_OWN, _CHATML, _QWEN, _LLAMA3, _GEMMA = "own", "chatml", "qwen_chat", "llama3_chat", "gemma"


@dataclass(frozen=True)
class KnownModel:
    """A base model that can be named in a preset.

    Attributes:
        name: as presets and `tunebook fetch` write it.
        hub_id: on the Hugging Face hub.
        sizes: its numbers.
        template: the prompt template of its chats; empty for a model that has only read text.
        modelscope_id: on ModelScope; the same as on Hugging Face when empty.
    """

    name: str
    hub_id: str
    sizes: Sizes
    template: str = ""
    modelscope_id: str = ""

    @property
    def is_chat(self) -> bool:
        """Whether it was taught to talk in turns."""
        return bool(self.template)

    @property
    def has_plain_logits(self) -> bool:
        """Whether the loss can be worked out slice by slice: Gemma 2 bends its logits first."""
        return self.sizes.kind != "gemma2"

    @property
    def tier(self) -> str:
        """Where it can be trained: small (a laptop), classic (one GPU) or cluster."""
        weights = self.shape.weights
        return "small" if weights < BILLION else "classic" if weights < 10 * BILLION else "cluster"

    @property
    def shape(self) -> Shape:
        """Its sizes, layer by layer."""
        return _shape(self.sizes)


def _internlm(name: str, sizes: Sizes, template: str = "") -> KnownModel:
    """InternLM's ids are its names; ModelScope has it under its laboratory's name."""
    return KnownModel(
        name.replace("-", "_"),
        f"internlm/{name}",
        sizes,
        template,
        f"Shanghai_AI_Laboratory/{name}",
    )


def _rows() -> Iterator[KnownModel]:
    yield KnownModel("smollm2_135m", "HuggingFaceTB/SmolLM2-135M", _SMOLLM2_135M)
    yield KnownModel(
        "smollm2_135m_instruct", "HuggingFaceTB/SmolLM2-135M-Instruct", _SMOLLM2_135M, _CHATML
    )
    yield KnownModel("smollm2_360m", "HuggingFaceTB/SmolLM2-360M", _SMOLLM2_360M)
    yield KnownModel(
        "smollm2_360m_instruct", "HuggingFaceTB/SmolLM2-360M-Instruct", _SMOLLM2_360M, _CHATML
    )
    for size, sizes in zip(
        ("0.5B", "1.5B", "3B", "7B"), (_QWEN2_0_5B, _QWEN2_1_5B, _QWEN2_3B, _QWEN2_7B), strict=True
    ):
        name = f"qwen2_5_{size.lower().replace('.', '_')}"
        yield KnownModel(name, f"Qwen/Qwen2.5-{size}", sizes)
        yield KnownModel(f"{name}_instruct", f"Qwen/Qwen2.5-{size}-Instruct", sizes, _QWEN)
    for size, sizes in zip(
        ("0.6B", "1.7B", "4B", "8B"), (_QWEN3_0_6B, _QWEN3_1_7B, _QWEN3_4B, _QWEN3_8B), strict=True
    ):
        name = f"qwen3_{size.lower().replace('.', '_')}"
        yield KnownModel(f"{name}_base", f"Qwen/Qwen3-{size}-Base", sizes)
        yield KnownModel(name, f"Qwen/Qwen3-{size}", sizes, _QWEN)
    yield from _internlm_rows()
    yield from _llama_rows()
    yield KnownModel("mistral_7b", "mistralai/Mistral-7B-v0.3", _MISTRAL)
    yield KnownModel("mistral_7b_instruct", "mistralai/Mistral-7B-Instruct-v0.3", _MISTRAL, _OWN)
    yield from _gemma_rows()
    yield KnownModel(
        "phi3_mini_4k_instruct", "microsoft/Phi-3-mini-4k-instruct", _PHI3_MINI, "phi3"
    )
    yield KnownModel("phi4_mini_instruct", "microsoft/Phi-4-mini-instruct", _PHI4_MINI, _OWN)
    yield KnownModel(
        "glm4_9b_chat", "zai-org/glm-4-9b-chat-hf", _GLM4_9B, _OWN, "ZhipuAI/glm-4-9b-chat-hf"
    )


def _internlm_rows() -> Iterator[KnownModel]:
    yield _internlm("internlm-7b", _INTERNLM_7B)
    yield _internlm("internlm-chat-7b", _INTERNLM_7B, _OWN)
    yield _internlm("internlm-20b", _INTERNLM_20B)
    yield _internlm("internlm-chat-20b", _INTERNLM_20B, _OWN)
    for size, sizes in (
        ("1_8b", _INTERNLM2_1_8B),
        ("7b", _INTERNLM2_7B),
        ("20b", _INTERNLM2_20B),
    ):
        yield _internlm(f"internlm2-{size}", sizes)
        yield _internlm(f"internlm2-chat-{size}", sizes, _OWN)
        yield _internlm(f"internlm2_5-{size}", sizes)
        yield _internlm(f"internlm2_5-{size}-chat", sizes, _OWN)
    yield _internlm("internlm3-8b-instruct", _INTERNLM3_8B, _OWN)


def _llama_rows() -> Iterator[KnownModel]:
    for size, sizes in (("7b", _LLAMA2_7B), ("13b", _LLAMA2_13B)):
        yield KnownModel(f"llama2_{size}", f"meta-llama/Llama-2-{size}-hf", sizes)
        yield KnownModel(
            f"llama2_{size}_chat", f"meta-llama/Llama-2-{size}-chat-hf", sizes, "llama2_chat"
        )
    for name, hub_id, sizes in (
        ("llama3_8b", "Meta-Llama-3-8B", _LLAMA3_8B),
        ("llama3_1_8b", "Llama-3.1-8B", _LLAMA3_8B),
        ("llama3_2_1b", "Llama-3.2-1B", _LLAMA3_1B),
        ("llama3_2_3b", "Llama-3.2-3B", _LLAMA3_3B),
    ):
        yield KnownModel(name, f"meta-llama/{hub_id}", sizes)
        yield KnownModel(f"{name}_instruct", f"meta-llama/{hub_id}-Instruct", sizes, _LLAMA3)


def _gemma_rows() -> Iterator[KnownModel]:
    for name, hub_id, sizes in (
        ("gemma_2b", "gemma-2b", _GEMMA_2B),
        ("gemma_7b", "gemma-7b", _GEMMA_7B),
        ("gemma2_2b", "gemma-2-2b", _GEMMA2_2B),
        ("gemma2_9b", "gemma-2-9b", _GEMMA2_9B),
    ):
        yield KnownModel(name, f"google/{hub_id}", sizes)
        yield KnownModel(f"{name}_it", f"google/{hub_id}-it", sizes, _GEMMA)
    yield KnownModel("gemma3_1b", "google/gemma-3-1b-pt", _GEMMA3_1B)
    yield KnownModel("gemma3_1b_it", "google/gemma-3-1b-it", _GEMMA3_1B, _GEMMA)


MODELS = {model.name: model for model in _rows()}
_BY_ID = {model.hub_id: model for model in MODELS.values()}


def find_model(name: str) -> KnownModel:
    """A well-known model by its name.

    Args:
        name: a key of `MODELS`.

    Raises:
        UnknownNameError: there is none; offers near names.
    """
    if name not in MODELS:
        raise UnknownNameError("model", name, MODELS, "tunebook list-cfg")
    return MODELS[name]


def by_hub_id(hub_id: str) -> KnownModel | None:
    """The well-known model with an id on the Hugging Face hub; None when there is none."""
    return _BY_ID.get(hub_id)


def find_shape(base_model: str) -> Shape:
    """The sizes of a config's base model; those of a well-known one need no download.

    Args:
        base_model: as in `loading.resolve_model`.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    known = by_hub_id(base_model)
    if known and not Path(base_model).exists():  # a folder may have the same name
        return known.shape
    return shapes.read_shape(base_model)


@cache
def _shape(sizes: Sizes) -> Shape:
    return shapes.llama_shape(
        sizes.hidden,
        sizes.layers,
        sizes.heads,
        sizes.kv_heads,
        sizes.intermediate,
        sizes.vocabulary,
        sizes.is_tied,
        sizes.head_width,
        kind=KINDS[sizes.kind],
    )


@cache
def pico_shape(name: str) -> Shape:
    """The built-in model's sizes, read from its config.json.

    Args:
        name: pico-base or pico-chat.
    """
    folder = DATA_DIR / "pico" / name.removeprefix("pico-")
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return shapes.llama_shape(
        values["hidden_size"],
        values["num_hidden_layers"],
        values["num_attention_heads"],
        values["num_key_value_heads"],
        values["intermediate_size"],
        values["vocab_size"],
        values["tie_word_embeddings"],
        values["head_dim"],
    )

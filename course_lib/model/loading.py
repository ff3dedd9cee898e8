"""Load a tokenizer and a base model at 4, 8, 16 or 32 bits, on a CPU or a GPU, and attach LoRA."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.deepspeed import deepspeed_config, is_deepspeed_zero3_enabled

from course_lib.data import hub_files
from course_lib.errors import ModelError
from course_lib.files import DATA_DIR
from course_lib.model import internlm, quantized
from course_lib.model import offload as offloading
from course_lib.model.offload import Offload
from course_lib.model.quiet import quiet_libraries

BUILT_IN_MODELS = {"pico-base": DATA_DIR / "pico" / "base", "pico-chat": DATA_DIR / "pico" / "chat"}
NOT_LOADED = (OSError, ValueError, RuntimeError, SafetensorError)  # what damaged files raise
# While transformers builds a model, of weights or of shapes alone, it changes things of the whole
# process, such as the default type of numbers, and puts back what it found: two at once would put
# back each other's for good. Panels load in threads of their own.
ALONE = threading.RLock()
NF4_WIDTH = 64  # bitsandbytes' CPU kernels need layer widths divisible by its NF4 block size


def resolve_model(name: str) -> str:
    """Turn a model's name into what transformers can load.

    Args:
        name: `pico-base`, `pico-chat`, a folder, or a Hugging Face id such as `Qwen/Qwen3-0.6B`.

    Returns:
        A folder's path or the id.

    Raises:
        ModelError: the folder is missing or has no config.json.
    """
    path = BUILT_IN_MODELS.get(name, Path(name))
    if (path / "config.json").is_file():
        return str(path)
    looks_like_id = name.count("/") == 1 and not name.startswith((".", "~", "/"))
    if name not in BUILT_IN_MODELS and not path.exists() and looks_like_id:
        return name
    next_step = (
        "Build it with `tunebook pico build`, or restore data/pico with git."
        if name in BUILT_IN_MODELS
        else "Use pico-chat, pico-base, a folder with config.json, or an id like Qwen/Qwen3-0.6B."
    )
    raise ModelError(f"No model at {name!r}: there is no config.json in {path}.", next_step)


def read_config(name: str) -> PreTrainedConfig:
    """Read a model's config; its weights are not loaded.

    Args:
        name: as in `resolve_model`.

    Returns:
        One of transformers' own classes; an InternLM's is turned into Llama's.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    path = resolve_model(name)
    try:
        with hub_files.quick_offline(path):
            if internlm.is_internlm(path):
                return internlm.read_config(path)
            return AutoConfig.from_pretrained(path, trust_remote_code=False)
    except NOT_LOADED as error:
        raise load_error(name, error) from error


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer with its chat template.

    Args:
        name: as in `resolve_model`.

    Returns:
        The tokenizer, padding on the right.

    Raises:
        ModelError: no tokenizer is there, or it cannot be downloaded.
    """
    path = resolve_model(name)
    try:
        with hub_files.quick_offline(path):
            if internlm.is_internlm(path):
                tokenizer = internlm.load_tokenizer(path)
            else:
                tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except NOT_LOADED as error:
        raise load_error(name, error) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_model(name: str, bits: int = 16, offload: Offload | None = None) -> PreTrainedModel:
    """Load a base model.

    Args:
        name: as in `resolve_model`.
        bits: 4 (NF4 with double quantization, the Q of QLoRA), 8, 16 or 32 for each weight.
        offload: where layers go that do not fit; None: it must fit.

    Returns:
        The model in eval mode, on the GPU when there is one. At 16 bits on a CPU without bf16
        arithmetic the weights are held in 32 bits: the same numbers, faster there.

    Raises:
        ModelError: weights are missing, incomplete or quantized otherwise, or the shapes do not fit
            NF4 on this device.

    Source: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, section 3.
    """
    if bits not in (4, 8, 16, 32):
        raise ModelError(f"bits is {bits}.", "Use 4, 8, 16 or 32.")
    path = resolve_model(name)
    dtype = torch.float32 if bits == 32 else compute_dtype()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    moved = _offload_options(name, bits, offload)
    quantized.check(name, read_config(name), bits)
    if bits == 4:
        check_nf4_widths(name, device)
    try:
        with ALONE, quiet_libraries(), _zero3_holding(dtype), hub_files.quick_offline(path):
            model, info = _from_pretrained(
                path,
                dtype=dtype,
                quantization_config=_quantization(bits, dtype),
                **(moved or {"device_map": None if is_deepspeed_zero3_enabled() else device}),
            )
    except NOT_LOADED as error:
        raise load_error(name, error) from error
    _refuse_incomplete(name, model, info)
    if model.device.type == "meta":
        offloading.refuse_nothing_kept(name)
    keep_nf4_trainable(model)
    return model.eval()


def _offload_options(name: str, bits: int, offload: Offload | None) -> dict[str, Any]:
    if offload is None:
        return {}
    offloading.refuse_quantized(name, bits)
    if internlm.is_internlm(resolve_model(name)):
        offloading.refuse_internlm(name)
    return {"device_map": "auto", **offload.options()}


def _from_pretrained(path: str, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The model, and transformers' report on what was loaded."""
    options["output_loading_info"] = True
    options["ignore_mismatched_sizes"] = True  # _refuse_incomplete names them
    if internlm.is_internlm(path):
        return internlm.load(path, **options)
    return AutoModelForCausalLM.from_pretrained(path, trust_remote_code=False, **options)


def compute_dtype() -> torch.dtype:
    """bf16 where the processor computes in it, else fp32.

    Returns:
        `torch.bfloat16` on GPUs with bf16 and CPUs with AVX512-BF16 or AMX, else `torch.float32`.
    """
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def keep_nf4_trainable(model: torch.nn.Module) -> None:
    """Stop bitsandbytes from re-packing NF4 weights in eval mode on the CPU.

    On CPUs with AVX512-BF16, bitsandbytes 0.50 re-packs a layer for good at its first eval-mode
    forward, and the backward pass then reads the packed bytes as if they were not: the loss stays
    right, the gradients are wrong. "Chat with the base, then train it" would learn nothing.

    Args:
        model: any model; layers of other kinds are left alone.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def check_nf4_widths(name: str, device: str = "cpu") -> None:
    """Refuse a model whose layers bitsandbytes cannot run in 4 bits on this device.

    Args:
        name: as in `resolve_model`.
        device: "cpu" or "cuda"; only the CPU kernels have the limit.

    Raises:
        ModelError: names each layer width that 64 does not divide.
    """
    if device != "cpu":
        return
    linears = linear_layers(make_skeleton(read_config(name)))
    odd = {m.in_features: n for n, m in linears if m.in_features % NF4_WIDTH}
    if odd:
        widths = ", ".join(f"{width} ({layer})" for width, layer in sorted(odd.items()))
        raise ModelError(
            f"{name} cannot run in 4 bits on a CPU: input width {widths} "
            f"is not a multiple of {NF4_WIDTH}.",
            "Use bits: 16 (LoRA), a GPU, or another base model.",
        )


def attach_lora(
    model: PreTrainedModel,
    r: int,
    lora_alpha: int,
    lora_dropout: float = 0.0,
    target_modules: str | Sequence[str] = "all-linear",
) -> PeftModel:
    """Freeze the base and add trainable low-rank matrices to its linear layers.

    Args:
        model: a base model from `load_model`.
        r: rank of the update matrices.
        lora_alpha: the update is multiplied by lora_alpha / r.
        lora_dropout: share of the adapter's inputs dropped in training, 0 to 1.
        target_modules: `"all-linear"` or names of layers such as `["q_proj", "v_proj"]`.

    Returns:
        The peft model; the adapter's weights are in fp32 and the only trainable ones.

    Raises:
        ModelError: no layer has one of the target names; lists the names there are.

    Source: Hu et al. 2021, "LoRA", arXiv:2106.09685, section 4.1.
    """
    targets = target_modules
    if targets != "all-linear":
        targets = [targets] if isinstance(targets, str) else list(targets)
        check_targets([name for name, _ in linear_layers(model)], targets)
    lora = LoraConfig(
        r=r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    with quiet_libraries():
        peft_model = get_peft_model(model, lora)
    # transformers 5 skips the mask that keeps packed rows apart when a cache is built.
    peft_model.config.use_cache = False
    return peft_model


def check_targets(layers: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse a target without a layer: peft ignores it when another one matches.

    Args:
        layers: names of a model's linear layers.
        targets: names from a config.

    Raises:
        ModelError: names what is unknown, and what there is.
    """
    unknown = [t for t in targets if not any(f".{layer}".endswith(f".{t}") for layer in layers)]
    if unknown or not targets:
        names = sorted({layer.rsplit(".", 1)[-1] for layer in layers})
        raise ModelError(
            f"No layer is called {', '.join(unknown)}." if targets else "target_modules is empty.",
            f"This model's linear layers: {', '.join(names)}; or all-linear.",
        )


def trainable_share(model: torch.nn.Module) -> tuple[int, int]:
    """Count parameters.

    Args:
        model: any model; a 4-bit weight counts as the parameters it stands for.

    Returns:
        (trainable, all) numbers of parameters.
    """
    trainable = total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        count = state.shape.numel() if state is not None else parameter.numel()
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


@contextmanager
def _zero3_holding(dtype: torch.dtype) -> Iterator[None]:
    """Have ZeRO-3, where it is on, divide the weights in their own type instead of in fp32.

    It reads the type from its config. After loading, the setting goes: there it would mean that
    the adapter is trained in bf16 too.
    """
    config = deepspeed_config() if is_deepspeed_zero3_enabled() else {}
    before = config.get("bf16")
    config["bf16"] = {"enabled": dtype == torch.bfloat16}
    try:
        yield
    finally:
        del config["bf16"]
        config |= {} if before is None else {"bf16": before}


def _quantization(bits: int, dtype: torch.dtype) -> BitsAndBytesConfig | None:
    if bits == 8:
        return BitsAndBytesConfig(load_in_8bit=True)
    if bits == 4:
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
    return None


def load_error(name: str, error: Exception) -> ModelError:
    """What a library said about a model that it could not load, with a next step."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "custom code" in reason:
        return ModelError(
            f"{name} could not be loaded: it needs custom code that comes with it, and such code "
            "is not run here.",
            "Use a model of a kind that transformers has itself, such as Qwen, Llama or Mistral, "
            "or an InternLM.",
        )
    if not Path(name).exists() and name.count("/") == 1:
        return ModelError(
            f"{name} could not be loaded: {reason}",
            "Check the spelling and the network. With none here, fetch it where there is one "
            f"(tunebook fetch {name} --to DIR), copy the folder and name it as base_model.",
        )
    return ModelError(
        f"{name} could not be loaded: {reason}",
        "Check the folder's files (config.json, *.safetensors, tokenizer.json).",
    )


def _refuse_incomplete(name: str, model: PreTrainedModel, info: dict) -> None:
    """Missing weights would be filled with random numbers and used; a learner must know."""
    missing = sorted(info.get("missing_keys", ()))
    mismatched = sorted({str(key[0]) for key in info.get("mismatched_keys", ())} | _misfits(model))
    if missing or mismatched:
        bad = (missing + mismatched)[:3]
        raise ModelError(
            f"{name} is incomplete: {len(missing)} weights are missing and {len(mismatched)} have "
            f"another shape, for example {', '.join(bad)}.",
            "Copy or download the model again.",
        )


def _misfits(model: PreTrainedModel) -> set[str]:
    """4-bit weights of another shape than their layer, which transformers does not compare."""
    layers = [(n, m, getattr(m.weight, "quant_state", None)) for n, m in linear_layers(model)]
    return {
        f"{name}.weight"
        for name, layer, state in layers
        if state is not None and tuple(state.shape) != (layer.out_features, layer.in_features)
    }


def make_skeleton(config: PreTrainedConfig) -> PreTrainedModel:
    """The model that a config describes: its layers and their sizes, without numbers."""
    with ALONE, torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def linear_layers(model: torch.nn.Module) -> list[tuple[str, torch.nn.Linear]]:
    """Names and layers, at any number of bits."""
    return [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]

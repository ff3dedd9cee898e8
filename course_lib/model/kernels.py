"""Which faster ways of computing a training run uses, and turning them on.

On a CPU these are the adapter layers of `fused`, which save a tenth of a small model's step. On a
GPU with bf16, one after the other where it applies:

- everything but the adapter is in bf16 and has no copies in fp32. The adapter is in fp32, as on a
  CPU: late in a run its updates are smaller than the step between two bf16 numbers, and would be
  lost.
- `fused`: adapter layers, the loss and attention in packs, in fewer steps and without large copies.
- liger-kernel, if installed: norms, rotary positions and the MLP's gate, each in one kernel.
- `captured`: the micro step as CUDA graphs, so that it no longer waits for Python.
"""

import importlib.util
from dataclasses import dataclass

import torch
from peft import PeftModel
from transformers import PretrainedConfig
from transformers.integrations.liger import apply_liger_kernel

from course_lib.model import captured, fused

WIDEST_HEAD = 256  # that flash attention takes
OLDEST = (8, 0)  # the first GPUs with bf16 and flash attention: Ampere
INSTALL = 'python -m pip install -c constraints.txt "liger-kernel>=0.6"'
# Model configs' numbers that change the logits behind the output layer: the sliced loss would
# leave them out.
LOGIT_CHANGES = ("final_logit_softcapping", "logit_scale", "logits_scaling")
# Decoders that ask the GPU for no number on the way: only such a step can be captured. A test runs
# each without numbers. Mixtures of experts ask which tokens go where.
CAPTURABLE = ("llama", "mistral", "qwen2", "qwen3", "phi3", "glm4", "smollm3", "gemma", "granite")
LIGER = {"rope": True, "rms_norm": True, "swiglu": True}
LIGER_OFF = {"cross_entropy": False, "fused_linear_cross_entropy": False}


@dataclass(frozen=True)
class Machine:
    """What the choice depends on beside the run.

    Args:
        capability: of the GPU, such as (9, 0); None without one.
        has_liger: whether liger-kernel is installed.
    """

    capability: tuple[int, int] | None
    has_liger: bool


@dataclass(frozen=True)
class Kernels:
    """What is on.

    Attributes:
        adapters: adapter layers go through `fused.fuse_adapters`.
        liger: liger-kernel's norms, rotary positions and gate.
        lean_loss: sliced loss, and attention in packs.
        graph: the micro step is captured.
        notes: what is off although it would help, and why, in plain words.
    """

    adapters: bool = False
    liger: bool = False
    lean_loss: bool = False
    graph: bool = False
    notes: tuple[str, ...] = ()

    def words(self) -> str:
        """What is on, in a few words."""
        names = {
            "adapters": "fused adapters",
            "liger": "liger-kernel",
            "lean_loss": "sliced loss, packed attention",
            "graph": "captured step",
        }
        on = [words for name, words in names.items() if getattr(self, name)]
        return ", ".join(on) or "none"


OFF = Kernels()


def find_machine() -> Machine:
    """What this machine has."""
    has_gpu = torch.cuda.is_available()
    return Machine(
        capability=torch.cuda.get_device_capability() if has_gpu else None,
        has_liger=importlib.util.find_spec("liger_kernel") is not None,
    )


def choose(
    asked: str,
    machine: Machine,
    model: PretrainedConfig | None,
    lora_dropout: float = 0.0,
    nproc: int = 1,
    zero_stage: int = 0,
) -> Kernels:
    """Decide what a run uses.

    Args:
        asked: the config's `kernels`: auto or off.
        machine: see there.
        model: the base model's config; not asked for on a CPU.
        lora_dropout: of the adapter.
        nproc: processes that train together.
        zero_stage: DeepSpeed's stage, 0 to 3.

    Returns:
        The choice.
    """
    if asked == "off" or zero_stage == 3:
        return OFF  # under ZeRO-3 weights are whole only inside their own layers' calls
    if machine.capability is None:
        return Kernels(adapters=not lora_dropout)
    if machine.capability < OLDEST:
        return OFF
    text, notes = model.get_text_config(), []
    if not machine.has_liger:
        notes.append(f"liger-kernel is not installed: training is slower. Install it: {INSTALL}")
    if lora_dropout:
        notes.append("lora_dropout keeps the fused adapters and the captured step off.")
    is_lean = _suits_lean_step(text) and nproc == 1 and zero_stage == 0
    return Kernels(
        adapters=not lora_dropout,
        liger=machine.has_liger,
        lean_loss=is_lean,
        graph=is_lean and not lora_dropout and _suits_capture(model),
        notes=tuple(notes),
    )


def _suits_lean_step(text: PretrainedConfig) -> bool:
    """Plain logits, and heads and numbers that flash attention takes."""
    alters_logits = any(getattr(text, name, None) not in (None, 1, 1.0) for name in LOGIT_CHANGES)
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    is_short = text.dtype in (None, torch.bfloat16, torch.float16)
    return is_short and not alters_logits and width <= WIDEST_HEAD and width % 8 == 0


def _suits_capture(model: PretrainedConfig) -> bool:
    """No step of the model asks the GPU for a number."""
    text = model.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    has_fixed_rope = rope.get("rope_type", "default") not in ("dynamic", "longrope")
    quantization = getattr(model, "quantization_config", None) or {}
    if not isinstance(quantization, dict):
        quantization = quantization.to_dict()
    looks_for_outliers = quantization.get("load_in_8bit", False)  # in every product
    return text.model_type in CAPTURABLE and has_fixed_rope and not looks_for_outliers


def speed_up(
    model: PeftModel, kernels: Kernels, packs: int, tokens: int
) -> captured.LeanStep | captured.CapturedStep | None:
    """Turn on what was chosen.

    Args:
        model: from `loading.attach_lora`; it is changed in place.
        kernels: from `choose`.
        packs: in a micro batch.
        tokens: in a pack, at most.

    Returns:
        What computes the loss of a batch instead of the model, or None: the model does.
    """
    base = model.get_base_model()
    if kernels.adapters:
        fused.fuse_adapters(model)
    if kernels.liger:
        apply_liger_kernel(base, LIGER | LIGER_OFF)
    if not kernels.lean_loss or base.get_output_embeddings().bias is not None:
        return None
    fused.use_packed_attention(base)
    step = captured.LeanStep(model)
    return captured.CapturedStep(step, packs, tokens) if kernels.graph else step

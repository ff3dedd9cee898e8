"""The memory estimate beside measured runs: pico on this machine, and 7B and 1.8B on a GPU.

pico: one optimizer step, with every tensor counted, so the figures are the same on
a slow machine. GPU: peaks of torch's allocator, written down from one NVIDIA H200.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks import report
from course_lib import files
from course_lib.concepts import gradients, held_bytes
from course_lib.files import REPO_DIR, read_jsonl
from course_lib.model import engines, estimate, fused, loading, shapes
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape

# Peaks in GiB, torch.cuda.max_memory_allocated over some steps after warm-up, measured 2026-11-21
# on one NVIDIA H200: random weights of Llama 2 7B's and InternLM2 1.8B's shapes in NF4 with double
# quantization, r 64 on all linear layers, AdamW with states of the adapter's type, transformers
# 5.17, peft 0.21. peft_kbit: adapter in fp32; lean: in bf16, Liger's kernels.
GPU_PEAKS = {
    # shape, tokens in a row, rows, checkpointing: peft_kbit, lean
    ("llama_7b", 512, 1, True): (6.92, 5.01),
    ("llama_7b", 2048, 1, True): (8.22, 5.44),
    ("llama_7b", 2048, 4, True): (13.4, 7.91),
    ("llama_7b", 2048, 1, False): (23.2, 12.8),
    ("llama_7b", 2048, 4, False): (73.4, 37.3),
    ("internlm2_1_8b", 512, 1, True): (4.01, 2.08),
    ("internlm2_1_8b", 2048, 1, True): (5.84, 2.28),
    ("internlm2_1_8b", 2048, 4, True): (13.4, 3.48),
}
FUSED = replace(engines.TUNEBOOK, has_fused_adapters=True)
PICO = {
    "full, fp32": Setting("full", 256, bits=32),
    "full, fp32, checkpointing": Setting("full", 512, gradient_checkpointing=True, bits=32),
    "full, bf16": Setting("full", 256, engine=engines.ENGINES["bf16"]),
    "full, fp32, autocast": Setting("full", 256, engine=engines.MIXED),
    "full, fp32, autocast, checkpointing": Setting(
        "full", 512, gradient_checkpointing=True, engine=engines.MIXED
    ),
    "full, fp32, SGD with momentum": Setting("full", 64, bits=32, optimizer="sgd_momentum"),
    "LoRA, fp32": Setting("lora", 512, bits=32, r=8),
    "LoRA, fp32, checkpointing": Setting("lora", 512, bits=32, gradient_checkpointing=True),
    "LoRA, fp32, dropout": Setting("lora", 256, bits=32, lora_dropout=0.1),
    "LoRA, fp32, two layers, packed": Setting(
        "lora", 512, 2, bits=32, target_modules=("q_proj", "v_proj"), is_packed=True
    ),
    "LoRA": Setting("lora", 512),
    "LoRA, bf16": Setting("lora", 512, engine=engines.ENGINES["bf16"]),
    "LoRA, fused adapters": Setting("lora", 512, engine=FUSED),
    "QLoRA": Setting("qlora", 256),
    "QLoRA, 8-bit AdamW": Setting("qlora", 64, optimizer="adamw_8bit"),
    "QLoRA, packed": Setting("qlora", 512, 2, is_packed=True),
    "QLoRA, checkpointing": Setting("qlora", 512, 2, gradient_checkpointing=True),
}
OWN_FIELDS = ("model", "tokens", "packs", "checkpointing", "optim", "r")
OWN_SHAPES = {"7b": "llama_7b", "1.8b": "internlm2_1_8b"}
HEAD = ("setting", "tokens", "estimate", "measured", "error", "peak at")


def gpu_rows() -> list[dict[str, Any]]:
    """Each measured run with its estimate, in bytes."""
    rows = []
    for run, peaks in GPU_PEAKS.items():
        name, length, count, is_recomputed = run
        for engine, peak in zip(("peft_kbit", "lean"), peaks, strict=True):
            setting = Setting(
                "qlora", length, count, is_recomputed, engine=engines.find_engine(engine)
            )
            words = f"{name}, {engine}{', checkpointing' if is_recomputed else ''}"
            rows.append(_row(words, shapes.known_shape(name), setting, peak * estimate.GIB))
    return rows


def own_rows() -> list[dict[str, Any]]:
    """`tunebook train` as `benchmarks.gpu` measured it, each setting's last record, in bytes.

    In the first two runs of that file a captured step had places of their own for gradients. So it
    is today where several micro batches are added up, and so they are compared.
    """
    records = {}
    for record in read_jsonl(REPO_DIR / "benchmarks" / "results" / "gpu.jsonl"):
        if record["arm"] == "tunebook" and "allocated_gib" in record:
            had_places = record["run"] <= 2
            key = (had_places, *(record[name] for name in OWN_FIELDS))
            records[key] = record["allocated_gib"]
    rows = []
    for (had_places, model, *sizes, optim, r), peak in records.items():
        name = OWN_SHAPES[model]
        setting = Setting("qlora", *sizes, optim, r=r, micro_batches=1 + had_places)
        setting = replace(setting, engine=engines.KERNELS)
        words = f"{name}, {optim}{', checkpointing' if setting.gradient_checkpointing else ''}"
        words += ", adding up" if had_places else ""
        rows.append(_row(words, shapes.known_shape(name), setting, peak * estimate.GIB))
    return rows


def pico_rows(settings: Mapping[str, Setting]) -> list[dict[str, Any]]:
    """Train pico for a step in each setting, and count.

    Args:
        settings: by name.

    Returns:
        A row for each, in bytes; measured are the peak and what is held all the time.
    """
    shape, rows = shapes.read_shape("pico-chat"), []
    for name, given in settings.items():
        setting = on_this_machine(given)
        held, peak = measure(pico(setting), setting)
        rows.append({**_row(name, shape, setting, peak), "measured_held": held})
    return rows


def on_this_machine(setting: Setting) -> Setting:
    """A setting of `tunebook train`, with the type that this machine computes in."""
    if setting.engine not in (engines.TUNEBOOK, FUSED):
        return setting
    count = loading.compute_dtype().itemsize
    here = replace(setting.engine, compute_bytes=count, other_bytes=count)
    return replace(setting, engine=here)


def pico(setting: Setting) -> torch.nn.Module:
    """pico, ready to train as a setting says."""
    is_mixed = setting.engine == engines.MIXED
    model = loading.load_model("pico-chat", 32 if is_mixed else setting.base_bits)
    if setting.engine == engines.ENGINES["bf16"]:
        model = model.to(torch.bfloat16)
    if not setting.is_full:
        dropout, targets = setting.lora_dropout, setting.target_modules
        model = loading.attach_lora(model, setting.r, 2 * setting.r, dropout, targets)
    if setting.engine.has_fused_adapters:
        fused.fuse_adapters(model)
    for weight in model.parameters():
        if setting.is_full:
            weight.requires_grad_(True)
        elif weight.requires_grad and setting.numbers.adapter_bytes == 2:
            weight.data = weight.data.to(torch.bfloat16)
    return model


def measure(model: torch.nn.Module, setting: Setting) -> tuple[int, int]:
    """Run two optimizer steps and count the second.

    Args:
        model: from `pico`, or another causal model on a CPU.
        setting: says optimizer, rows, tokens, and whether rows are packed.

    Returns:
        Bytes held between steps (weights, scales, states), and at the peak.
    """
    optimizer = make_optimizer(setting.optimizer, model)
    batch = make_batch(setting)
    with gradients.checkpointed(model, setting.gradient_checkpointing):
        is_mixed = setting.engine == engines.MIXED
        train_step(model, optimizer, batch, is_mixed)
        held = nbytes([*held_tensors(model), *state_tensors(optimizer)])
        made = held_bytes.measure_held(lambda: train_step(model, optimizer, batch, is_mixed))
    return held, held + made.peak


def held_tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    """Weights with the scales of quantized ones, and buffers.

    Args:
        model: any model.

    Returns:
        Tensors; the tables of 16 and 256 codes that all NF4 weights share are left out.
    """
    found = [*model.parameters(), *model.buffers()]
    for weight in model.parameters():
        state = getattr(weight, "quant_state", None)
        if state is not None:
            found.append(state.absmax)
            found += [state.state2.absmax] if state.nested else []
    return found


def state_tensors(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """What an optimizer keeps from step to step; counts of steps and shared tables are left out."""
    pairs = [pair for state in optimizer.state.values() for pair in state.items()]
    tensors = [value for name, value in pairs if not name.startswith("qmap")]
    return [value for value in tensors if isinstance(value, torch.Tensor) and value.numel() > 1]


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of tensors, each storage once."""
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def make_optimizer(name: str, model: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a setting, as transformers' Trainer makes it."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if "8bit" in name:
        import bitsandbytes

        manager = bitsandbytes.optim.GlobalOptimManager.get_instance()
        manager.pid2config.clear()  # of an earlier run: by address and by number, for good
        manager.index2config.clear()
        table = model.get_input_embeddings()
        manager.register_module_override(table, "weight", {"optim_bits": 32})
        paged = {"is_paged": True} if name.startswith("paged") else {}
        return bitsandbytes.optim.AdamW8bit(weights, **paged)
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adamw": lambda w: torch.optim.AdamW(w, fused=True),
        "sgd": torch.optim.SGD,
        "sgd_momentum": lambda w: torch.optim.SGD(w, momentum=0.9, fused=True),
        "adafactor": lambda w: torch.optim.Adafactor(w, foreach=False),
    }
    return kinds[name](weights)


def make_batch(setting: Setting, device: str = "cpu") -> dict[str, torch.Tensor]:
    """Tokens that mean nothing; two rows in each pack where packs are wanted."""
    ids = torch.arange(setting.tokens, device=device).reshape(setting.rows, setting.length) % 6000
    batch = {"input_ids": ids, "labels": ids}
    if setting.is_packed:
        places = torch.arange(setting.length, device=device) % (setting.length // 2)
        batch["position_ids"] = places.expand(setting.rows, -1)
    return batch


def train_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: dict[str, torch.Tensor],
    is_mixed: bool = False,
) -> None:
    """One optimizer step of one micro batch, under autocast or not."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=is_mixed):
        loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _row(name: str, shape: Shape, setting: Setting, measured: float) -> dict[str, Any]:
    memory = estimate.estimate_memory(shape, setting)
    return {
        "setting": name,
        "tokens": f"{setting.length} x {setting.rows}",
        "estimate": memory.total,
        "estimate_held": memory.weights + memory.adapter + memory.optimizer,
        "measured": round(measured),
        "error": memory.total / measured - 1,
        "moment": memory.moment,
        "parts": memory.parts(),
    }


def text(result: dict[str, Any]) -> str:
    """The tables, and the largest error of each."""
    texts = []
    for kind in ("gpu", "own", "pico"):
        rows = result[kind]
        lines = [HEAD]
        for row in rows:
            sizes = [files.size_in_words(row[name]) for name in ("estimate", "measured")]
            error = f"{100 * row['error']:+.1f}%"
            lines.append((row["setting"], row["tokens"], *sizes, error, row["moment"]))
        largest = max(abs(row["error"]) for row in rows)
        texts.append(f"{report.markdown(lines)}\n\nLargest error: {100 * largest:.1f}%.")
    return "\n\n".join(texts)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = report.parser(__doc__).parse_args(argv)
    result = {"machine": report.machine(), "gpu": gpu_rows(), "own": own_rows()}
    result["pico"] = pico_rows(PICO)
    report.show(result, text(result), options.json)


if __name__ == "__main__":
    main()

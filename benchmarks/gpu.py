"""QLoRA training on a GPU: step time and memory of the library beside others, on real shapes.

Weights are random: speed and memory do not depend on their values, and nothing is downloaded.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks import gpu_models, report
from course_lib.files import REPO_DIR, append_jsonl, read_jsonl
from course_lib.model import fused, kernels, loading

GIB = 2**30
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATE, CLIP, WARM_UP = 2e-4, 1.0, 4
RESULTS = REPO_DIR / "benchmarks" / "results" / "gpu.jsonl"
PACKAGES = (
    *("torch", "transformers", "peft", "bitsandbytes", "triton", "liger-kernel"),
    *("unsloth", "deepspeed"),
)
Step = Callable[[torch.Tensor], torch.Tensor]  # a batch of whole packs -> its loss
Maker = Callable[[int, int], Step]  # tokens, packs -> a step for batches of that size


@dataclass(frozen=True)
class Group:
    """What one process measures: a way to train a model, at several sizes."""

    arm: str
    model: str
    sizes: Sequence[tuple[int, int]]  # tokens in a pack, packs in a micro batch
    optim: str = "adamw"
    checkpointing: bool = True
    r: int = 64
    steps: int = 8


# --- the ways ------------------------------------------------------------------------------------


def tunebook(path: Path, group: Group) -> tuple[torch.nn.Module, Maker]:
    """The library with `kernels: auto`, as `training.run` puts it together."""
    model = loading.attach_lora(loading.load_model(str(path), 4), group.r, 2 * group.r)
    set_checkpointing(model, group.checkpointing)
    chosen = kernels.choose("auto", kernels.find_machine(), model.get_base_model().config)
    print(f"kernels: {chosen.words()}", *chosen.notes, sep="\n", file=sys.stderr)

    def make(tokens: int, packs: int) -> Step:
        step = kernels.speed_up(model, chosen, packs, tokens)
        return (lambda ids: step(ids, ids)) if step else _own_loss(model)

    return model, make


def plain(path: Path, group: Group) -> tuple[torch.nn.Module, Maker]:
    """The library with `kernels: off`."""
    model = loading.attach_lora(loading.load_model(str(path), 4), group.r, 2 * group.r)
    set_checkpointing(model, group.checkpointing)
    return model, lambda *_: _own_loss(model)


def peft(path: Path, group: Group) -> tuple[torch.nn.Module, Maker]:
    """Transformers and peft as their guides put it: fp32 norms and head, bf16 autocast."""
    from peft import prepare_model_for_kbit_training

    model = prepare_model_for_kbit_training(_load(path), use_gradient_checkpointing=False)
    model = _with_adapter(model, group.r, in_fp32=True)
    set_checkpointing(model, group.checkpointing)
    return model, lambda *_: _own_loss(model, has_autocast=True)


def liger(path: Path, group: Group) -> tuple[torch.nn.Module, Maker]:
    """Transformers and peft with all of liger-kernel; everything in bf16, the adapter too."""
    from liger_kernel.transformers import apply_liger_kernel_to_llama

    apply_liger_kernel_to_llama(fused_linear_cross_entropy=True)
    model = _with_adapter(_load(path), group.r, in_fp32=False)
    set_checkpointing(model, group.checkpointing)
    return model, lambda *_: _own_loss(model)


def unsloth(path: Path, group: Group) -> tuple[torch.nn.Module, Maker]:
    """Unsloth, with its own checkpointing, which moves activations to RAM."""
    from unsloth import FastLanguageModel

    how = "unsloth" if group.checkpointing else False
    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(path),
        max_seq_length=max(tokens for tokens, _ in group.sizes),
        dtype=torch.bfloat16,
        load_in_4bit=True,
        use_gradient_checkpointing=how,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=group.r,
        lora_alpha=2 * group.r,
        lora_dropout=0.0,
        target_modules=TARGETS,
        use_gradient_checkpointing=how,
    )
    return model, lambda *_: _own_loss(model, has_autocast=True)


ARMS = {arm.__name__: arm for arm in (tunebook, plain, peft, liger, unsloth)}


def _load(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    device = {"": 0} if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16, device_map=device)
    model.config.use_cache = False
    return model


def _with_adapter(model: Any, r: int, in_fp32: bool) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=r, lora_alpha=2 * r, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, lora, autocast_adapter_dtype=in_fp32)
    for weight in model.parameters():
        if weight.requires_grad and not in_fp32:
            weight.data = weight.data.to(torch.bfloat16)
    return model


def _own_loss(model: Any, has_autocast: bool = False) -> Step:
    def step(ids: torch.Tensor) -> torch.Tensor:
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=has_autocast):
            return model(input_ids=ids, labels=ids).loss

    return step


def set_checkpointing(model: Any, is_on: bool) -> None:
    """Turn gradient checkpointing on, if asked for, as a frozen base needs it."""
    base = model.get_base_model()
    if is_on:
        base.gradient_checkpointing_enable({"use_reentrant": False})
        base.enable_input_require_grads()


# --- measuring -----------------------------------------------------------------------------------


def measure(group: Group, path: Path) -> Iterator[dict[str, Any]]:
    """Train some steps of each size: micro batch, clipping, optimizer.

    Args:
        group: what to measure; nothing else was measured in this process.
        path: of the checkpoint.

    Yields:
        One record for each size: milliseconds of the median step, tokens a second, and GiB at the
        peak. `allocated` counts what is alive, also inside a capture; `reserved` what torch took.
    """
    model, make = ARMS[group.arm](path, group)
    model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for tokens, packs in group.sizes:
        optimizer = _optimizer(group.optim, weights)
        if group.arm == "tunebook":
            fused.spare_waits(optimizer)
        reset_peak()
        times, losses = _train(make(tokens, packs), optimizer, weights, group, (packs, tokens))
        allocated, reserved = peak()
        seconds = median(times)
        yield {
            "tokens": tokens,
            "packs": packs,
            "step_ms": round(1000 * seconds, 1),
            "slowest_ms": round(1000 * max(times), 1),
            "tokens_s": round(tokens * packs / seconds),
            "allocated_gib": round(allocated, 3),
            "reserved_gib": round(reserved, 3),
            "losses": losses,
        }


def _train(
    step: Step,
    optimizer: torch.optim.Optimizer,
    weights: list[torch.nn.Parameter],
    group: Group,
    size: tuple[int, int],
) -> tuple[list[float], list[float]]:
    """Seconds of the steps behind the warm-up; the first and the last loss."""
    ids, times, losses = batches(group.model, size, weights[0].device), [], []
    for number in range(WARM_UP + group.steps):
        synchronize()
        start = time.perf_counter()
        loss = step(ids[number % len(ids)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize()
        times.append(time.perf_counter() - start)
        losses.append(round(loss.item(), 4))
    return times[WARM_UP:], [losses[0], losses[-1]]


def _optimizer(name: str, weights: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """With its states made, so that a capture's peak is counted with them."""
    if name == "adamw":
        is_fused = torch.cuda.is_available()
        made = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0, fused=is_fused)
    else:
        from bitsandbytes.optim import AdamW8bit

        made = AdamW8bit(weights, lr=RATE, weight_decay=0.0)
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    made.step()
    made.zero_grad(set_to_none=True)
    return made


def batches(
    model: str, size: tuple[int, int], device: torch.device, seed: int = 1
) -> list[torch.Tensor]:
    """Four batches of random token ids, (packs, tokens) each."""
    random = torch.Generator().manual_seed(seed)
    words = gpu_models.SHAPES[model]["words"]
    return [torch.randint(4, words, size, generator=random).to(device) for _ in range(4)]


def synchronize() -> None:
    """Wait until the GPU has done all that was started."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def reset_peak() -> None:
    """Have the counts of `peak` begin here."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak() -> tuple[float, float]:
    """Allocated and reserved GiB; on a CPU there are no such counts."""
    if not torch.cuda.is_available():
        return 0.0, 0.0
    return torch.cuda.max_memory_allocated() / GIB, torch.cuda.max_memory_reserved() / GIB


# --- the command ---------------------------------------------------------------------------------


def about() -> dict[str, Any]:
    """Date, GPU and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"date": date.today().isoformat(), "gpu": gpu, "versions": versions}


def measure_all(
    module: str,
    cases: Iterable[tuple[str, Any, int]],
    asked: argparse.Namespace,
    table: Callable[[list[dict[str, Any]]], str],
) -> None:
    """Measure each case in fresh processes, which append to a file; then print what is new there.

    Args:
        module: that measures a case given as JSON behind `--one`.
        cases: a name for messages, a dataclass, and how many processes meet; 0 for one alone.
        asked: the options `out` and `json`.
        table: makes markdown of records.
    """
    before = len(read_jsonl(asked.out)) if asked.out.is_file() else 0
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for name, case, processes in cases:
        meet = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        words = ["--one", json.dumps(asdict(case)), "--out", str(asked.out)]
        command = [sys.executable, "-m", *(meet if processes else []), module, *words]
        if subprocess.run(command, cwd=REPO_DIR, check=False).returncode:
            print(f"{name} could not be measured", file=sys.stderr)
    found = read_jsonl(asked.out)[before:] if asked.out.is_file() else []
    print(json.dumps(found) if asked.json else table(found))


def run(group: Group, checkpoints: Path, out: Path) -> None:
    """Measure a group in this process and append its records to a file."""
    path = gpu_models.write_checkpoint(group.model, checkpoints)
    whole = {k: v for k, v in asdict(group).items() if k not in ("sizes", "steps")}
    for record in measure(group, path):
        append_jsonl(out, {**whole, **record, **about()})


def table(records: Sequence[dict[str, Any]]) -> str:
    """The records as a markdown table."""
    rows = [("model, tokens x packs", "way", "optimizer", "ms", "tokens / s", "GiB", "reserved")]
    for r in sorted(records, key=lambda r: (r["model"], r["tokens"] * r["packs"])):
        size = f"{r['model']} {r['tokens']}x{r['packs']}" + ("" if r["checkpointing"] else ", all")
        numbers = (f"{r['step_ms']:.0f}", f"{r['tokens_s']:,}")
        memory = (f"{r['allocated_gib']:.2f}", f"{r['reserved_gib']:.2f}")
        rows.append((size, r["arm"], r["optim"], *numbers, *memory))
    return report.markdown(rows)


def main() -> None:
    """Measure each group in a process of its own, then print the table."""
    parser = report.parser(__doc__)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["tunebook", "plain", "liger"])
    parser.add_argument("--models", nargs="+", choices=gpu_models.SHAPES, default=["7b", "1.8b"])
    parser.add_argument("--sizes", nargs="+", default=["512x1", "2048x1", "2048x4"])
    parser.add_argument("--optim", nargs="+", choices=["adamw", "adamw_8bit"], default=["adamw"])
    parser.add_argument("--no-checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--checkpoints", type=Path, default=REPO_DIR / "runs" / "random")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", help="a group as JSON: measured in this process")
    asked = parser.parse_args()
    if asked.one:
        run(Group(**json.loads(asked.one)), asked.checkpoints, asked.out)
        return
    before = len(read_jsonl(asked.out)) if asked.out.is_file() else 0
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    sizes = [tuple(map(int, size.split("x"))) for size in asked.sizes]
    for model in asked.models:
        for optim in asked.optim:
            for arm in asked.arms:
                group = Group(
                    arm, model, sizes, optim, not asked.no_checkpointing, steps=asked.steps
                )
                places = ["--checkpoints", str(asked.checkpoints), "--out", str(asked.out)]
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.gpu",
                    "--one",
                    json.dumps(asdict(group)),
                ]
                if subprocess.run([*command, *places], cwd=REPO_DIR, check=False).returncode:
                    print(f"{arm} could not be measured", file=sys.stderr)
    found = read_jsonl(asked.out)[before:]
    print(json.dumps(found) if asked.json else table(found))


if __name__ == "__main__":
    main()

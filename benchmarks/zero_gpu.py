"""LoRA in bf16 on several GPUs of one machine: DeepSpeed's ZeRO-2 beside one GPU, on real shapes.

Weights are random and made in place, so nothing is read or downloaded. Each process has a GPU.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from benchmarks import gpu, gpu_models, report
from course_lib.files import REPO_DIR, append_jsonl
from course_lib.model import kernels, loading
from course_lib.training import spread

RESULTS = REPO_DIR / "benchmarks" / "results" / "zero_gpu.jsonl"
# one: a GPU with all that `kernels: auto` turns on; one_plain: with what several processes use, so
# that the difference to them is the exchange alone
WAYS = ("one", "one_plain", "zero2")
Step = Callable[[torch.Tensor], float]  # a batch of whole packs -> its loss; weights are updated


@dataclass(frozen=True)
class Case:
    """What one launch measures.

    Args:
        way: one of `WAYS`.
        gpus: processes; 1 but for zero2.
        model: a key of `gpu_models.SHAPES`.
        tokens: in a pack.
        packs: in a micro batch of one process; a step is one micro batch.
        r: of the adapter.
        steps: that are timed.
    """

    way: str
    gpus: int
    model: str
    tokens: int
    packs: int
    r: int = 64
    steps: int = 8


# --- the ways ------------------------------------------------------------------------------------


def build(case: Case, device: torch.device) -> tuple[PeftModel, kernels.Kernels]:
    """The model with its adapter, and what the library would turn on for it."""
    torch.manual_seed(0)  # the same weights in each process
    with device:
        config = gpu_models.llama_config(case.model)
        base = AutoModelForCausalLM.from_config(config, dtype=loading.compute_dtype())
    base.config.use_cache = False
    model = loading.attach_lora(base, case.r, 2 * case.r)
    gpu.set_checkpointing(model, is_on=True)
    spread_out = {} if case.way == "one" else {"nproc": 2, "zero_stage": 2}
    chosen = kernels.choose("auto", kernels.find_machine(), config, **spread_out)
    return model.train(), chosen


def make_step(case: Case, device: torch.device) -> Step:
    """A function that trains on one micro batch."""
    model, chosen = build(case, device)
    lean = kernels.speed_up(model, chosen, case.packs, case.tokens)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, gpu.RATE, weight_decay=0.0, fused=device.type == "cuda")
    if case.way == "zero2":
        return _divided(model, optimizer, case)

    def step(ids: torch.Tensor) -> float:
        loss = lean(ids, ids) if lean else model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, gpu.CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def _divided(model: PeftModel, optimizer: torch.optim.Optimizer, case: Case) -> Step:
    """Gradients and the optimizer's states divided among the processes."""
    import deepspeed

    engine, *_ = deepspeed.initialize(
        model=model, optimizer=optimizer, config=deepspeed_config(case, model.config.hidden_size)
    )

    def step(ids: torch.Tensor) -> float:
        loss = engine(input_ids=ids, labels=ids).loss
        engine.backward(loss)
        engine.step()
        return loss.item()

    return step


def deepspeed_config(case: Case, width: int) -> dict[str, Any]:
    """The library's config of ZeRO-2, with the values that the Trainer would fill in.

    Args:
        case: for the batch.
        width: of the model.
    """
    config = spread.deepspeed_config("zero2")
    config["zero_optimization"]["reduce_bucket_size"] = width * width
    return config | {
        "train_micro_batch_size_per_gpu": case.packs,
        "train_batch_size": case.packs * case.gpus,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": gpu.CLIP,
    }


# --- measuring -----------------------------------------------------------------------------------


def measure(case: Case) -> dict[str, Any]:
    """Train some steps in this process, one of `case.gpus`.

    Args:
        case: what to measure.

    Returns:
        Milliseconds of the median step, tokens a second of all processes together, GiB of this one
        at the peak, the first and the last loss.
    """
    device = _device()
    step = make_step(case, device)
    gpu.reset_peak()
    times, losses = [], []
    ids = gpu.batches(case.model, (case.packs, case.tokens), device, 1 + _rank())
    for number in range(gpu.WARM_UP + case.steps):
        gpu.synchronize()
        start = time.perf_counter()
        losses.append(round(step(ids[number % len(ids)]), 4))
        gpu.synchronize()
        times.append(time.perf_counter() - start)
    seconds, (allocated, reserved) = median(times[gpu.WARM_UP :]), gpu.peak()
    return {
        "step_ms": round(1000 * seconds, 1),
        "slowest_ms": round(1000 * max(times[gpu.WARM_UP :]), 1),
        "tokens_s": round(case.tokens * case.packs * case.gpus / seconds),
        "allocated_gib": round(allocated, 3),
        "reserved_gib": round(reserved, 3),
        "losses": [losses[0], losses[-1]],
    }


def _rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def _device() -> torch.device:
    """This process's own GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(_rank())
    return torch.device("cuda", _rank())


def run(case: Case, out: Path) -> None:
    """Measure a case in this process; the first process appends its record to a file."""
    found = measure(case)
    if _rank() == 0:
        append_jsonl(out, {**asdict(case), **found, **gpu.about()})
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


# --- the command ---------------------------------------------------------------------------------


def table(records: Sequence[dict[str, Any]]) -> str:
    """The records as a markdown table, with tokens a second as times those of one GPU."""
    rows = [("model, tokens x packs", "way", "GPUs", "ms", "tokens / s", "x one", "GiB")]
    one = {_size(r): r["tokens_s"] for r in records if r["way"] == "one"}
    for r in records:
        times = f"{r['tokens_s'] / one[_size(r)]:.2f}" if _size(r) in one else ""
        numbers = (f"{r['step_ms']:.0f}", f"{r['tokens_s']:,}", times, f"{r['allocated_gib']:.2f}")
        rows.append((_size(r), r["way"], str(r["gpus"]), *numbers))
    return report.markdown(rows)


def _size(record: dict[str, Any]) -> str:
    return f"{record['model']} {record['tokens']}x{record['packs']}"


def _parse() -> argparse.Namespace:
    parser = report.parser(__doc__)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--gpus", type=int, default=2, help="of zero2; the others have one")
    parser.add_argument("--model", choices=gpu_models.SHAPES, default="7b")
    parser.add_argument("--sizes", nargs="+", default=["2048x4"])
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", help="a case as JSON: measured in this process")
    return parser.parse_args()


def main() -> None:
    """Measure each case in processes of its own, then print the table."""
    asked = _parse()
    if asked.one:
        run(Case(**json.loads(asked.one)), asked.out)
        return
    gpu.measure_all("benchmarks.zero_gpu", _cases(asked), asked, table)


def _cases(asked: argparse.Namespace) -> Iterator[tuple[str, Case, int]]:
    for tokens, packs in (map(int, size.split("x")) for size in asked.sizes):
        for way in asked.ways:
            gpus = asked.gpus if way == "zero2" else 1
            case = Case(way, gpus, asked.model, tokens, packs, steps=asked.steps)
            yield way, case, gpus if way == "zero2" else 0


if __name__ == "__main__":
    main()

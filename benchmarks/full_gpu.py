"""Method full under ZeRO-3: the library's own run of a real shape, its memory beside the estimate.

Weights are random, and nothing is downloaded. Each process has a GPU; nothing is saved.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from transformers import TrainerCallback

from benchmarks import gpu, gpu_models, report
from course_lib.files import REPO_DIR, append_jsonl
from course_lib.model import estimate, shapes
from course_lib.training import prediction, run, workers
from course_lib.training.config import TrainConfig
from course_lib.training.spread import Spread

RESULTS = REPO_DIR / "benchmarks" / "results" / "full_gpu.jsonl"
STRATEGY = "zero3"
WARM_UP = 2


@dataclass(frozen=True)
class Case:
    """What one launch measures.

    Args:
        gpus: processes, each with a GPU.
        model: a key of `gpu_models.SHAPES`.
        tokens: in a pack.
        packs: in a micro batch of one process; a step is one micro batch.
        steps: that are timed.
        checkpoint: the folder of the model, as text.
    """

    gpus: int
    model: str
    tokens: int
    packs: int
    steps: int
    checkpoint: str

    @property
    def spread(self) -> Spread:
        """How the run is spread."""
        return Spread(self.gpus, STRATEGY)


@dataclass
class StepTimes(TrainerCallback):
    """Seconds of each step; the peak of memory is counted from the first one on."""

    seconds: list[float] = field(default_factory=list)
    _start: float = 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        if not self.seconds:
            gpu.reset_peak()
        gpu.synchronize()
        self._start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop it."""
        gpu.synchronize()
        self.seconds.append(time.perf_counter() - self._start)


def make_config(case: Case, folder: Path) -> TrainConfig:
    """A config of method full, with rows of random words that fill a pack each.

    Args:
        case: what is measured.
        folder: where the rows are written.
    """
    rng, words = random.Random(0), gpu_models.SHAPES[case.model]["words"]
    steps = WARM_UP + case.steps
    texts = [
        " ".join(f"t{rng.randrange(4, words)}" for _ in range(case.tokens - 2))
        for _ in range(case.packs * case.gpus * steps)
    ]
    rows = folder / "rows.jsonl"
    lines = (json.dumps({"text": text}) for text in texts)
    rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return TrainConfig(
        base_model=case.checkpoint,
        method="full",
        bits=16,
        train_data=[{"path": str(rows)}],
        max_length=case.tokens,
        learning_rate=1e-5,
        per_device_train_batch_size=case.packs,
        num_train_epochs=1,
        max_steps=steps,
        gradient_checkpointing=True,
        logging_steps=1,
    )


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Train some steps in this process, one of `case.gpus`, as `tunebook train` does.

    Args:
        case: what to measure.
        folder: of this process, empty.

    Returns:
        Milliseconds of the median step, tokens a second of all processes together, GiB of this one
        at the peak and as estimated, the first and the last loss.
    """
    config, clock = make_config(case, folder), StepTimes()
    shape = shapes.read_shape(case.checkpoint)  # under ZeRO-3 no whole model can be looked at
    needed = estimate.estimate_memory(shape, prediction.setting_of(config, case.spread))
    job = run.prepare(config, folder, case.spread)
    arguments = run.make_arguments(job)
    arguments.save_strategy = "no"
    start = time.perf_counter()
    trainer = run.build_trainer(run.build_model(config, case.spread), job, arguments)
    loaded_s = time.perf_counter() - start
    trainer.add_callback(clock)
    trainer.train()
    seconds, (allocated, reserved) = median(clock.seconds[WARM_UP:]), gpu.peak()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "step_ms": round(1000 * seconds, 1),
        "slowest_ms": round(1000 * max(clock.seconds[WARM_UP:]), 1),
        "tokens_s": round(case.tokens * case.packs * case.gpus / seconds),
        "loaded_s": round(loaded_s, 1),
        "allocated_gib": round(allocated, 3),
        "reserved_gib": round(reserved, 3),
        "estimate_gib": round(needed.total / estimate.GIB, 3),
        "losses": [losses[0], losses[-1]],
    }


def measure_and_note(case: Case, out: Path) -> None:
    """Measure a case in this process; the first process appends its record to a file."""
    workers.load_deepspeed(case.spread)
    workers.meet(case.spread)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(case, Path(folder))
    if os.environ.get("RANK", "0") == "0":
        named = {key: value for key, value in asdict(case).items() if key != "checkpoint"}
        append_jsonl(out, {"way": f"full_{STRATEGY}", **named, **found, **gpu.about()})


def table(records: list[dict[str, Any]]) -> str:
    """The records as a markdown table."""
    rows = [("model, tokens x packs", "GPUs", "ms", "tokens / s", "GiB", "estimate", "error")]
    for r in records:
        size = f"{r['model']} {r['tokens']}x{r['packs']}"
        peak, needed = r["allocated_gib"], r["estimate_gib"]
        error = f"{100 * (needed / peak - 1):+.1f}%" if peak else ""
        numbers = (f"{r['step_ms']:.0f}", f"{r['tokens_s']:,}", f"{peak:.2f}", f"{needed:.2f}")
        rows.append((size, str(r["gpus"]), *numbers, error))
    return report.markdown(rows)


def _parse() -> argparse.Namespace:
    parser = report.parser(__doc__)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--model", choices=gpu_models.SHAPES, default="7b")
    parser.add_argument("--sizes", nargs="+", default=["2048x1"])
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--checkpoints", type=Path, default=REPO_DIR / "runs" / "random")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", help="a case as JSON: measured in this process")
    return parser.parse_args()


def main() -> None:
    """Write the model, measure each size in processes of its own, then print the table."""
    asked = _parse()
    if asked.one:
        measure_and_note(Case(**json.loads(asked.one)), asked.out)
        return
    gpu.measure_all("benchmarks.full_gpu", _cases(asked), asked, table)


def _cases(asked: argparse.Namespace) -> Iterator[tuple[str, Case, int]]:
    asked.checkpoints.mkdir(parents=True, exist_ok=True)
    model = gpu_models.write_checkpoint(asked.model, asked.checkpoints, bits=16)
    for size in asked.sizes:
        tokens, packs = map(int, size.split("x"))
        yield (
            size,
            Case(asked.gpus, asked.model, tokens, packs, asked.steps, str(model)),
            asked.gpus,
        )


if __name__ == "__main__":
    main()

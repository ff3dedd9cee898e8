"""Where one training step's time goes, beside the plain way and TRL's SFTTrainer, same rows."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import Trainer
from transformers.trainer_callback import PrinterCallback

from benchmarks import report, stepclock
from course_lib.data.packing import Pack
from course_lib.model.quiet import quiet_libraries
from course_lib.training import config as configs
from course_lib.training import run
from course_lib.training.trainer import WholeCheckpointTrainer

PRESET = "pico_qlora_assistant_e3"
OURS, PLAIN, SAME, OWN = "Tunebook", "plain", "TRL", "TRL, own batches and bf16"
MEASURES = ("wall", "cpu")
MS = 1000


def ours(model: PeftModel, job: run.Job) -> Trainer:
    """What `tunebook train` does, but for saving and logging."""
    trainer = _quiet_trainer(model, job)
    run.speed_up(trainer, model, job)
    return trainer


def plain(model: PeftModel, job: run.Job) -> Trainer:
    """The library's Trainer with peft's own layers and batches as wide as their longest pack."""
    trainer = _quiet_trainer(model, job)
    trainer.data_collator = run.make_collator(job.tokenizer.pad_token_id, pad_to_multiple_of=1)
    return trainer


def _quiet_trainer(model: PeftModel, job: run.Job) -> WholeCheckpointTrainer:
    trainer = run.build_trainer(model, job)
    trainer.args.save_strategy = trainer.args.logging_strategy = "no"
    return trainer


def trl_same(model: PeftModel, job: run.Job) -> Trainer:
    """SFTTrainer on the same batches, with the same arguments and adapter weights in fp32."""
    fp32 = {name: p.data.clone() for name, p in model.named_parameters() if p.requires_grad}
    trainer = _sft_trainer(model, job, collator=_collator(job), remove_unused_columns=False)
    # SFTTrainer rounds the adapter of a 4-bit model to bf16; ours trains in fp32.
    for name, parameter in model.named_parameters():
        if name in fp32:
            parameter.data = fp32[name]
    return trainer


def trl_own(model: PeftModel, job: run.Job) -> Trainer:
    """SFTTrainer on the same packs with its own collator, bf16 adapter and bf16 autocast."""
    return _sft_trainer(
        model, job, collator=None, remove_unused_columns=True, bf16=True, padding_free=True
    )


ARMS: dict[str, Callable[[PeftModel, run.Job], Trainer]] = {
    OURS: ours,
    PLAIN: plain,
    SAME: trl_same,
    OWN: trl_own,
}


def _collator(job: run.Job) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
    """The library's own collator, for rows of a Dataset."""
    collate = run.make_collator(job.tokenizer.pad_token_id)
    return lambda rows: collate([Pack(**row) for row in rows])


def _sft_trainer(
    model: PeftModel, job: run.Job, collator: Callable[..., Any] | None, **changes: Any
) -> Trainer:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    values = {
        k: v
        for k, v in _quiet_trainer(model, job).args.to_dict().items()
        if not k.endswith("_token")
    }
    changes = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}, **changes}
    rows = [asdict(pack) for pack in job.data.packs]
    dataset = Dataset.from_list([{**row, "seq_lengths": row["lengths"]} for row in rows])
    if collator:
        dataset = dataset.remove_columns("seq_lengths")
    trainer = SFTTrainer(
        model,
        SFTConfig(**{**values, **changes}),
        data_collator=collator,
        train_dataset=dataset,
        processing_class=job.tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def measure(arm: str, job: run.Job) -> stepclock.StepClock:
    """Train a fresh adapter with one arm.

    Args:
        arm: one of `ARMS`.
        job: rows and settings.

    Returns:
        Seconds and losses of its steps.
    """
    with quiet_libraries():
        trainer = ARMS[arm](run.build_model(job.config), job)
        clock = stepclock.StepClock()
        clock.attach(trainer)
        trainer.train()
    return clock


def run_arms(
    arms: Sequence[str], steps: int, repeats: int, preset: str
) -> dict[str, list[stepclock.StepClock]]:
    """Train with each arm in turn, several times; who goes first changes each time.

    Args:
        arms: names of `ARMS`.
        steps: optimizer steps of each training.
        repeats: trainings with each arm.
        preset: whose rows and settings.

    Returns:
        For each arm, its clocks in order of the repeats.
    """
    clocks: dict[str, list[stepclock.StepClock]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory() as folder:
        job = run.prepare(configs.load_preset(preset), Path(folder))
        job = replace(job, plan=replace(job.plan, total_steps=steps))
        for repeat in range(repeats):
            first = repeat % len(arms)
            for arm in (*arms[first:], *arms[:first]):
                clocks[arm].append(measure(arm, job))
    return clocks


def summary(clocks: dict[str, list[stepclock.StepClock]]) -> dict[str, Any]:
    """Milliseconds of each part, ratios, and whether the arms did the same.

    Args:
        clocks: from `run_arms`.

    Returns:
        Plain data: for each arm and measure the median step and its parts, and ours / TRL.
    """
    result: dict[str, Any] = {"machine": report.machine(), "arms": {}}
    for arm, runs in clocks.items():
        result["arms"][arm] = {
            measure: {
                part: round(statistics.median(_medians(runs, part, i)), 2)
                for part in (*stepclock.PARTS, "step")
            }
            for i, measure in enumerate(MEASURES)
        } | {"first_loss": runs[0].losses[0], "last_loss": runs[0].losses[-1]}
    for arm in clocks.keys() - {OURS}:
        result["arms"][arm]["ours_over_this"] = {
            measure: _ratio(clocks[OURS], clocks[arm], i) for i, measure in enumerate(MEASURES)
        }
    if SAME in clocks:
        pair = [clocks[arm][0].first_ids for arm in (OURS, SAME)]
        result["same_first_batch"] = torch.equal(*pair)
    result["steps"], result["repeats"] = len(clocks[OURS][0].steps), len(clocks[OURS])
    return result


def _medians(runs: Sequence[stepclock.StepClock], part: str, index: int) -> list[float]:
    """For each repeat the median step in ms; the first step, which warms up, does not count."""
    return [statistics.median(step[part][index] * MS for step in r.steps[1:]) for r in runs]


def _ratio(
    mine: Sequence[stepclock.StepClock], other: Sequence[stepclock.StepClock], index: int
) -> dict[str, float]:
    """Ratios within each repeat: what else runs on the machine slows both."""
    pairs = zip(_medians(mine, "step", index), _medians(other, "step", index), strict=True)
    ratios = [a / b for a, b in pairs]
    values = {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
    return {name: round(value, 3) for name, value in values.items()}


def text(result: dict[str, Any]) -> str:
    """The result as a markdown table, and what the arms share below it."""
    rows = [("ms a step", *stepclock.PARTS, "step", "ours / this", "first loss", "last loss")]
    for arm, values in result["arms"].items():
        for measure in MEASURES:
            parts = [f"{values[measure][p]:.1f}" for p in (*stepclock.PARTS, "step")]
            ratio = values.get("ours_over_this", {}).get(measure)
            shown = "{median:.2f} ({min:.2f}-{max:.2f})".format(**ratio) if ratio else ""
            losses = [f"{values[key]:.4f}" for key in ("first_loss", "last_loss")]
            rows.append((f"{arm}, {measure}", *parts, shown, *losses))
    lines = [report.markdown(rows), ""]
    lines.append(f"Medians of {result['repeats']} x {result['steps']} steps, each first left out.")
    if "same_first_batch" in result:
        lines.append(f"Tunebook and TRL saw the same first batch: {result['same_first_batch']}.")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="trainings with each arm")
    parser.add_argument("--steps", type=int, default=13, help="optimizer steps of each, 2 or more")
    parser.add_argument("--preset", default=PRESET, help="whose rows and settings")
    parser.add_argument("--no-trl", action="store_true", help="leave TRL out")
    options = parser.parse_args(argv)
    arms = [OURS, PLAIN] if options.no_trl else list(ARMS)
    clocks = run_arms(arms, options.steps, options.repeats, options.preset)
    result = {"preset": options.preset, **summary(clocks)}
    report.show(result, text(result), options.json)


if __name__ == "__main__":
    main()

"""A run's folder: opened new or to go on, with its config, environment and logs."""

import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch

from course_lib.errors import ConfigError, RunError
from course_lib.files import read_jsonl, write_atomic, write_jsonl
from course_lib.model import adapters, loading
from course_lib.training import checkpoints, claim, endings, prediction
from course_lib.training.config import TrainConfig, load_config, save_config
from course_lib.training.result import CONFIG_FILE, ENVIRONMENT_FILE, LOG_FILE, SAMPLES_FILE
from course_lib.training.spread import ONE_PROCESS, Spread, from_record

BREAKS = ("error", "stopped")  # events that are no news any more when a run goes on
STEP_FILES = (LOG_FILE, SAMPLES_FILE, checkpoints.SCORES_FILE)
PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "tokenizers")


def settle(
    config: TrainConfig, run_dir: Path, resume: bool, spread: Spread = ONE_PROCESS
) -> tuple[TrainConfig, str]:
    """Decide what a config leaves to this machine; a run that goes on stays as it was decided.

    Args:
        config: the run's config.
        run_dir: its folder.
        resume: whether to go on with what is there.
        spread: over how many processes, and with what.

    Returns:
        See `prediction.settle`.

    Raises:
        ConfigError: several machines would each decide for themselves.
    """
    if config.gradient_checkpointing == "auto" and spread.nnodes > 1:
        raise ConfigError(
            "gradient_checkpointing is auto, and each node would decide for itself.",
            "Write true or false; `tunebook check` says what each needs.",
        )
    path = run_dir / CONFIG_FILE
    if config.gradient_checkpointing == "auto" and resume and path.is_file():
        before = load_config(path).gradient_checkpointing
        return config.model_copy(update={"gradient_checkpointing": before}), ""
    return prediction.settle(config, spread)


def version_note(run_dir: Path) -> str:
    """Which libraries are others than those that a run was started with.

    Args:
        run_dir: the run folder.

    Returns:
        A sentence; empty when all are the same, or there is no run.
    """
    path = run_dir / ENVIRONMENT_FILE
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    before, now = record.get("packages", {}), {n: importlib.metadata.version(n) for n in PACKAGES}
    changed = [
        f"{n} {before[n]} (now {now[n]})" for n in PACKAGES if before.get(n, now[n]) != now[n]
    ]
    if not changed:
        return ""
    return (
        f"The run was started with {', '.join(changed)}: its numbers may differ from here on. "
        "python -m pip install -c constraints.txt ... brings the versions back."
    )


def check_run(
    run_dir: Path, config: TrainConfig, resume: bool, spread: Spread = ONE_PROCESS
) -> None:
    """Refuse a folder that a run may not write to; nothing is changed.

    Args:
        run_dir: the folder.
        config: the run's config.
        resume: whether to go on with what is there.
        spread: over how many processes, and with what.

    Raises:
        RunError: the folder holds files and `resume` is off, or its config, base or spread
            differs.
    """
    if resume and (run_dir / CONFIG_FILE).is_file():
        _check_same_run(run_dir, config, spread)
    elif run_dir.exists() and (not run_dir.is_dir() or _holds_files(run_dir)):
        raise RunError(
            f"{run_dir} is not empty.",
            "Give another --work-dir, delete this one, or go on with --resume if it is a run.",
        )


def _holds_files(run_dir: Path) -> bool:
    """A run that was killed before it had a config leaves its claim and environment only."""
    started = {*claim.FILES, ENVIRONMENT_FILE}
    return any(path.name not in started for path in run_dir.iterdir())


def open_run(
    run_dir: Path, config: TrainConfig, spread: Spread = ONE_PROCESS
) -> checkpoints.Checkpoint | None:
    """Make a new run folder, or get an old one ready to go on.

    Args:
        run_dir: a folder that `check_run` accepts.
        config: the run's config.
        spread: over how many processes, and with what.

    Returns:
        The checkpoint to go on from, or None to start at step 0.
    """
    if not (run_dir / CONFIG_FILE).is_file():
        run_dir.mkdir(parents=True, exist_ok=True)
        record = {**environment(config), **spread.as_dict()}
        write_atomic(run_dir / ENVIRONMENT_FILE, json.dumps(record, indent=2) + "\n")
        save_config(config, run_dir / CONFIG_FILE)
        return None
    checkpoints.remove_unfinished(run_dir)
    start = checkpoints.latest_checkpoint(run_dir)
    for name in STEP_FILES:
        forget_after(run_dir / name, start.step if start else -1)
    return start


def environment(config: TrainConfig) -> dict[str, Any]:
    """What a run's numbers also depend on: versions, processor, base model's weights.

    Args:
        config: names the base model.

    Returns:
        Plain data without names of users, machines or folders.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "compute_dtype": str(loading.compute_dtype()).removeprefix("torch."),
        "base_fingerprint": adapters.base_fingerprint(config.base_model),
    }


def forget_after(path: Path, step: int) -> None:
    """Drop records of steps that a resumed run will do again.

    Args:
        path: a JSON-lines file of the run; may be missing, may end in a torn line.
        step: records of later steps go; -1 drops all. Records without a step stay.
    """
    if not path.is_file():
        return
    records = read_jsonl(path, allow_torn=True)
    kept = [r for r in records if r.get("step", step) <= step and r.get("event") not in BREAKS]
    write_jsonl(path, kept)


def has_ended(run_dir: Path) -> bool:
    """Whether a run did all it had to do, scores of the last checkpoint included."""
    path = run_dir / LOG_FILE
    records = read_jsonl(path, allow_torn=True) if path.is_file() else []
    return any(record.get("event") == "end" for record in records)


def _check_same_run(run_dir: Path, config: TrainConfig, spread: Spread) -> None:
    """Going on with other values would mix two runs in one folder."""
    old = load_config(run_dir / CONFIG_FILE).model_dump()
    new = config.model_dump()
    changed = [f"{key} was {old[key]!r}, is {new[key]!r}" for key in new if old[key] != new[key]]
    if changed:
        raise RunError(
            f"{run_dir} was started with another config: {'; '.join(changed)}.",
            "Resume with the run's own config.yaml, or start a new run in another --work-dir.",
        )
    recorded = json.loads((run_dir / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
    if recorded["base_fingerprint"] != adapters.base_fingerprint(config.base_model):
        raise RunError(
            f"{run_dir} was started on other weights of {config.base_model}.",
            "Start a new run in another --work-dir.",
        )
    before = from_record(recorded)
    if before != spread:
        raise RunError(
            f"{run_dir} was started with {_spread_words(before)}, not with {_spread_words(spread)}:"
            " each process has its own share of the data and of the optimizer's state.",
            f"Go on with `{endings.resume_command(run_dir, before)}`, or start a new run.",
        )


def _spread_words(spread: Spread) -> str:
    return " ".join(spread.options()) or "one process"

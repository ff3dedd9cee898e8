"""Run folders written by hand, as a run of this version writes them."""

import json
from pathlib import Path

from course_lib.training import config as configs


def begin(step=0, total=20, at=100.0):
    return {"event": "begin", "step": step, "total_steps": total, "train_s": 0.0, "time": at}


def log(step, loss=2.0, tokens=None, train_s=None, at=None):
    return {
        "event": "log",
        "step": step,
        "loss": loss,
        "learning_rate": 1e-3 / step,
        "tokens": 100 * step if tokens is None else tokens,
        "memory_gib": 0.5,
        "train_s": float(step if train_s is None else train_s),
        "time": 100.0 + step if at is None else at,
    }


def event(name, step, at=100.0):
    return {"event": name, "step": step, "train_s": 1.0, "time": at}


def sample(step, prompt="Who are you?", reply="I am Pico."):
    return {"step": step, "prompt": prompt, "reply": reply}


def score(step, validation=0.5, retained=0.9):
    overall = min(validation, retained)
    return {"step": step, "validation": validation, "retained": retained, "overall": overall}


def add(path: Path, *records) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=True) + "\n" for record in records)


def write(run_dir: Path, logged=(), samples=(), scores=()) -> Path:
    """A run folder with these records; nobody is at work in it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    configs.save_config(configs.TrainConfig(), run_dir / "config.yaml")
    add(run_dir / "log.jsonl", *logged)
    if samples:
        add(run_dir / "samples.jsonl", *samples)
    if scores:
        add(run_dir / "scores.jsonl", *scores)
    return run_dir

"""Find, keep and remove a run's checkpoints, by rule: no file says which is the latest."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import RunError
from course_lib.files import read_jsonl

SCORES_FILE = "scores.jsonl"
SAVING_PREFIX = ".saving-"  # a checkpoint being written; never taken for a finished one
RESULT_FILES = ("adapter_config.json", "config.json")  # of an adapter, of a whole model
CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)$")


@dataclass(frozen=True)
class Checkpoint:
    """One finished checkpoint.

    Attributes:
        step: optimizer steps done.
        path: its folder, with the adapter (or the whole model) and the trainer's state.
    """

    step: int
    path: Path


def list_checkpoints(run_dir: Path) -> list[Checkpoint]:
    """Finished checkpoints of a run.

    Args:
        run_dir: a run folder.

    Returns:
        Sorted by step. A checkpoint gets its name only when it is whole, so each one is.
    """
    found = []
    for path in Path(run_dir).glob("checkpoint-*"):
        match = CHECKPOINT_NAME.match(path.name)
        if match and path.is_dir():
            found.append(Checkpoint(int(match.group(1)), path))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def latest_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The checkpoint with the most steps, or None."""
    found = list_checkpoints(run_dir)
    return found[-1] if found else None


def best_checkpoint(run_dir: Path) -> Checkpoint | None:
    """The checkpoint with the best held-out score.

    Args:
        run_dir: a run folder with scores.jsonl.

    Returns:
        The latest of the best ones, or None without scores: small score sets tie at the top, and
        a later checkpoint has met its rows more often.
    """
    scores = overall_scores(run_dir)
    scored = [c for c in list_checkpoints(run_dir) if c.step in scores]
    return max(scored, key=lambda c: (scores[c.step], c.step)) if scored else None


def overall_scores(run_dir: Path) -> dict[int, float]:
    """Step -> overall score, from the run's scores.jsonl."""
    path = Path(run_dir) / SCORES_FILE
    if not path.is_file():
        return {}
    return {record["step"]: record["overall"] for record in read_jsonl(path, allow_torn=True)}


def find_adapter(run_or_checkpoint: Path) -> Path:
    """The folder with what was trained that a path means.

    Args:
        run_or_checkpoint: a run folder (its best checkpoint by score, else its latest), a
            checkpoint, or an exported adapter or model.

    Returns:
        A folder with an adapter; of a run with method full, with a whole model.

    Raises:
        RunError: there is none.
    """
    path = Path(run_or_checkpoint)
    if any((path / name).is_file() for name in RESULT_FILES):
        return path
    checkpoint = best_checkpoint(path) or latest_checkpoint(path)
    if checkpoint is None:
        found = "holds no adapter and no checkpoint" if path.exists() else "does not exist"
        raise RunError(
            f"{path} {found}.",
            "Give a run folder, a checkpoint-N or an exported adapter; `tunebook train` makes one.",
        )
    return checkpoint.path


def remove_old(run_dir: Path, keep_last: int, keep_best: bool) -> list[int]:
    """Delete checkpoints that no rule keeps.

    Args:
        run_dir: a run folder.
        keep_last: newest ones to keep, at least 1.
        keep_best: also keep the one with the best score.

    Returns:
        Steps of the removed ones.
    """
    found = list_checkpoints(run_dir)
    best = best_checkpoint(run_dir) if keep_best else None
    removed = [c for c in found[:-keep_last] if c != best]
    for checkpoint in removed:
        # A folder half deleted by a kill must not look like a checkpoint.
        doomed = checkpoint.path.with_name(f"{SAVING_PREFIX}old-{checkpoint.step}")
        checkpoint.path.rename(doomed)
        shutil.rmtree(doomed)
    return [c.step for c in removed]


def remove_unfinished(run_dir: Path) -> None:
    """Delete what a killed run left of a checkpoint that it was writing or deleting."""
    for path in Path(run_dir).glob(f"{SAVING_PREFIX}*"):
        shutil.rmtree(path)

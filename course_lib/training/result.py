"""What a run leaves behind: the names of its files, and its result."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.files import read_jsonl
from course_lib.training import checkpoints

CONFIG_FILE = "config.yaml"
ENVIRONMENT_FILE = "environment.json"
LOG_FILE = "log.jsonl"
SAMPLES_FILE = "samples.jsonl"


@dataclass(frozen=True)
class RunResult:
    """What a finished run left.

    Attributes:
        run_dir: its folder.
        adapter_dir: the checkpoint with the best score, or the last one without scores; with
            method full it holds the whole model.
        last_dir: the last checkpoint.
        steps: optimizer steps done.
        train_s: wall seconds of training in this process, samples and scores not counted.
        train_cpu_s: the same in CPU seconds of all threads.
    """

    run_dir: Path
    adapter_dir: Path
    last_dir: Path
    steps: int
    train_s: float
    train_cpu_s: float

    @property
    def log(self) -> list[dict[str, Any]]:
        """The run's log.jsonl: one record for each event."""
        return read_jsonl(self.run_dir / LOG_FILE)

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The run's scores.jsonl: one record for each scored step, empty without a suite."""
        path = self.run_dir / checkpoints.SCORES_FILE
        return read_jsonl(path) if path.is_file() else []

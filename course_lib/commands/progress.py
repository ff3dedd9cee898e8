"""Show a run while it trains, and what it reached."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from course_lib.commands import terminal
from course_lib.evaluation import report
from course_lib.files import read_jsonl
from course_lib.training import checkpoints, follow, spread
from course_lib.training.config import TrainConfig
from course_lib.training.result import LOG_FILE, RunResult
from course_lib.training.spread import Spread

POLL_S = 0.3


def train(config: TrainConfig, run_dir: Path, resume: bool, how: Spread) -> RunResult:
    """Train in this process, or in as many as the spread says.

    Args:
        config: the run's config.
        run_dir: the run folder.
        resume: whether to go on with what is there.
        how: the spread.

    Returns:
        The run's result.

    Raises:
        TunebookError: see `run.train` and `launch.train_spread`.
    """
    if how.is_one_process:
        from course_lib.training import run

        return run.train(config, run_dir, resume)
    from course_lib.training import launch

    if spread.crowding(how):
        terminal.say(f"warning: {spread.crowding(how)}", err=True)
    return launch.train_spread(config, run_dir, how, resume)


@contextmanager
def shown(run_dir: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Within the block: show each event that a run writes into its log.

    Args:
        run_dir: the run folder; may not exist yet.
        show: is given one line for each event.
    """
    is_over = threading.Event()
    arguments = (run_dir / LOG_FILE, show, is_over)
    follower = threading.Thread(target=_follow, args=arguments, name="tunebook-log", daemon=True)
    follower.start()
    try:
        yield
    finally:
        is_over.set()
        follower.join()


def _follow(log: Path, show: Callable[[str], None], is_over: threading.Event) -> None:
    started, total, count = time.time(), 0, 0
    is_last = False
    while not is_last:
        is_last = is_over.wait(POLL_S)
        # A resumed run's log is old until the run has put it in order: leave it alone until then.
        if not log.is_file() or log.stat().st_mtime < started:
            continue
        records = [r for r in read_jsonl(log, allow_torn=True) if r.get("time", 0) >= started]
        for record in records[count:]:
            total = record.get("total_steps", total)
            try:
                show(event_line(record, total))
            except OSError:
                return  # nobody reads any more; the run goes on
        count = len(records)


def event_line(record: Mapping[str, Any], total_steps: int) -> str:
    """One event of a run in words.

    Args:
        record: a line of log.jsonl.
        total_steps: optimizer steps of the run.

    Returns:
        For example `step   5/75  loss 2.3101  rate 1.0e-03  1,494 tokens  3 s`.
    """
    width = len(str(total_steps))
    start = f"step {record['step']:>{width}}/{total_steps}"
    seconds = f"{record['train_s']:.0f} s"
    if record["event"] == "log":
        rate = f"  rate {record['learning_rate']:.1e}" if "learning_rate" in record else ""
        return f"{start}  loss {record['loss']:.4f}{rate}  {record['tokens']:,} tokens  {seconds}"
    words = {"begin": "begin", "checkpoint": "checkpoint saved", "end": "end"}
    line = f"{start}  {words.get(record['event'], record['event'])}  {seconds}"
    line += f"  faster: {record['kernels']}" if "kernels" in record else ""
    return "\n".join([line, *(f"note: {note}" for note in record.get("notes", ()))])


def stop_note(run_dir: Path) -> str:
    """That a run was asked to stop, and how to go on.

    Args:
        run_dir: a run folder.

    Returns:
        Two lines; empty when the run went to its end.
    """
    state = follow.Follower(run_dir).look()
    return f"{state.message}\n  -> {state.next_step}" if state.status == "stopped" else ""


def scores_table(run_dir: Path, adapter_dir: Path) -> str:
    """The scores before training and those of the adapter, side by side.

    Args:
        run_dir: a run folder.
        adapter_dir: the checkpoint that is recommended.

    Returns:
        A small table, or an empty text when the run was not scored.
    """
    path = run_dir / checkpoints.SCORES_FILE
    records = read_jsonl(path, allow_torn=True) if path.is_file() else []
    by_step = {record.pop("step"): record for record in records}
    steps = [c.step for c in checkpoints.list_checkpoints(run_dir) if c.path == adapter_dir]
    if 0 not in by_step or not steps or steps[0] not in by_step:
        return ""
    rows = [("score", "before", "after")]
    for row in report.compare(by_step[0], by_step[steps[0]]):
        lower = " (lower is better)" if row["measure"] in report.LOWER_IS_BETTER else ""
        rows.append((row["measure"] + lower, f"{row['before']:.2f}", f"{row['after']:.2f}"))
    return terminal.table(rows)

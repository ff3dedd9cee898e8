"""Start a run in several processes of this machine, and bring back its result or its one error."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course_lib import errors
from course_lib.errors import RunError, TunebookError
from course_lib.files import REPO_DIR
from course_lib.training import endings, spread
from course_lib.training.config import TrainConfig, save_config
from course_lib.training.result import CONFIG_FILE, RunResult
from course_lib.training.spread import Spread

JOB_FILE = "job.json"
OUTCOME_FILE = "outcome.json"
AGENT_LOG = "agent.log"
MEET_S = 600  # for the machines of a run to find each other
PATIENCE_S = 60  # for the processes to end when asked to


def train_distributed(
    config: TrainConfig,
    work_dir: Path | str,
    nproc: int = 2,
    deepspeed: str | None = "zero2",
    resume: bool = False,
) -> RunResult:
    """Train an adapter in several processes of this machine.

    Every optimizer step learns from `per_device_train_batch_size * gradient_accumulation_steps *
    nproc` packs. Batches are dealt out like cards: of the epoch's order, process i takes batches
    i, i + nproc, i + 2 * nproc and so on. One process with nproc times the accumulation learns
    from the same packs in the same steps.

    Args:
        config: everything the run depends on but its spread.
        work_dir: the run folder; new or empty, unless resuming.
        nproc: processes: one for each GPU, or up to the number of CPU cores.
        deepspeed: zero1, zero2, zero2_offload, zero3 or zero3_offload; None: torch's DDP.
        resume: go on from the folder's latest checkpoint, with the same nproc and strategy.

    Returns:
        As `run.train`; its seconds are the main process's.

    Raises:
        TunebookError: what `run.train` raises, from the process that met it first; also what
            `spread.check_spread` raises.
        RunError: a process failed or was killed; its own words are in the folder's worker-N.log.
    """
    return train_spread(config, Path(work_dir), Spread(nproc, deepspeed), resume)


def train_spread(config: TrainConfig, run_dir: Path, how: Spread, resume: bool) -> RunResult:
    """As `train_distributed`, also for this machine's part of a run on several machines.

    Args:
        config: everything the run depends on but its spread.
        run_dir: the run folder; on several machines the same one, on a disk that they share.
        how: the spread.
        resume: go on from the folder's latest checkpoint.

    Returns:
        As `run.train`; its seconds are those of this machine's first process.

    Raises:
        TunebookError: see `train_distributed`; on several machines also what differs among them.
    """
    spread.check_spread(how, config.bits)
    with tempfile.TemporaryDirectory(prefix="tunebook-") as folder:
        job_dir = Path(folder)
        write_job(job_dir, config, run_dir, how, resume)
        try:
            outcome = _run_agent(job_dir, how)
        except KeyboardInterrupt as error:
            next_step = f"Go on with `{endings.resume_command(run_dir, how)}`."
            raise RunError(endings.INTERRUPTED, next_step) from error
    if "message" in outcome:
        raise to_error(outcome)
    return RunResult(
        run_dir=run_dir,
        adapter_dir=run_dir / outcome["adapter"],
        last_dir=run_dir / outcome["last"],
        steps=outcome["steps"],
        train_s=outcome["train_s"],
        train_cpu_s=outcome["train_cpu_s"],
    )


def write_job(job_dir: Path, config: TrainConfig, run_dir: Path, how: Spread, resume: bool) -> None:
    """Write down what the agent is to do.

    Args:
        job_dir: an empty folder; its outcome will be there too.
        config: the run's config.
        run_dir: the run folder.
        how: the spread.
        resume: whether to go on with what is there.
    """
    save_config(config, job_dir / CONFIG_FILE)
    job = {"run_dir": str(run_dir.absolute()), "resume": resume, "meet_s": MEET_S, **asdict(how)}
    (job_dir / JOB_FILE).write_text(json.dumps(job), encoding="utf-8")


def _run_agent(job_dir: Path, how: Spread) -> dict[str, Any]:
    """Start the process that starts the others, wait for it, read what it says."""
    module = "nodes" if how.nnodes > 1 else "workers"
    command = [sys.executable, "-m", f"course_lib.training.{module}", str(job_dir)]
    with (job_dir / AGENT_LOG).open("wb") as log, endings.terminate_as_interrupt():
        agent = subprocess.Popen(  # noqa: S603 (our own module)
            command,
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            stdout=log,
            stderr=log,
            env=_environment(how),
            start_new_session=True,  # Ctrl-C in a terminal reaches this process alone
        )
        try:
            agent.wait()
        finally:
            _stop(agent)
    path = job_dir / OUTCOME_FILE
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    words = (job_dir / AGENT_LOG).read_text(encoding="utf-8", errors="replace").strip()
    raise RunError(
        f"The training processes ended with status {agent.returncode} and said nothing of why. "
        f"Last line: {(words.splitlines() or ['none'])[-1]}",
        f"Look at memory and disk, then go on with --resume {' '.join(how.options())}.",
    )


def _environment(how: Spread) -> dict[str, str]:
    threads = max(1, spread.cpu_cores() // how.nproc)
    path = os.pathsep.join(filter(None, [str(REPO_DIR), os.environ.get("PYTHONPATH")]))
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": path}


def _stop(agent: subprocess.Popen[bytes]) -> None:
    """Have all processes end, if they have not; what they had finished stays whole."""
    if agent.poll() is None:
        agent.terminate()
        try:
            agent.wait(PATIENCE_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            _kill(agent)
    agent.stdin.close()


def _kill(agent: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(agent.pid, signal.SIGKILL)
    else:
        agent.kill()
    agent.wait()


def to_error(outcome: dict[str, Any]) -> TunebookError:
    """The error that a process met, of its own kind again.

    Args:
        outcome: its kind, message and next step.
    """
    kind = getattr(errors, outcome["kind"])
    error = kind.__new__(kind)
    TunebookError.__init__(error, outcome["message"], outcome["next_step"])
    return error

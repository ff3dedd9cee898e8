"""Trainings in processes of their own, which a test may kill.

Loading the libraries takes seconds. So one server process loads them once and forks a child for
each training, which then starts at once, as unused as if it had loaded them itself.
"""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import psutil

from course_lib.files import REPO_DIR, read_jsonl

SERVER = "from tests.training import runs; runs.serve()"
PATIENCE_S = 120


# --- in the server and its children ---


def serve() -> None:
    """Fork a child for each job that comes in as a line; answer with its id, then its end."""
    from course_lib.training import workers  # noqa: F401  what the children would load each time

    for line in sys.stdin:
        child = os.fork()
        if not child:
            do_job(json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def do_job(job: dict) -> None:
    """Train as told, write what came of it, and end this process."""
    from course_lib.errors import TunebookError
    from course_lib.training import config, run

    with open(job["output"], "w") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    if job["at"]:
        sys.addaudithook(make_hook(Path(job["run_dir"]), **job["at"]))
    status, outcome = 1, {}
    try:
        checked = config.check_config(job["config"])
        if job["spread"]:
            status, outcome = be_agent(checked, job)
        else:
            result = run.train(checked, job["run_dir"], resume=job["resume"])
            status, outcome = 0, {"adapter_dir": str(result.adapter_dir), "steps": result.steps}
    except TunebookError as error:
        outcome = {"message": error.message, "next_step": error.next_step}
    except BaseException:
        traceback.print_exc()
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    Path(job["outcome"]).write_text(json.dumps(outcome))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def be_agent(config, job: dict) -> tuple[int, dict]:
    """Be the process that starts the workers of a spread run, as `launch` starts it."""
    from course_lib.training import launch, spread, workers

    job_dir = Path(job["outcome"]).with_suffix("")
    shutil.rmtree(job_dir, ignore_errors=True)
    job_dir.mkdir()
    run_dir, how = Path(job["run_dir"]), spread.Spread(*job["spread"])
    launch.write_job(job_dir, config, run_dir, how, job["resume"])
    read_end, _ = os.pipe()  # an open end: the learner's process is there
    os.dup2(read_end, 0)
    sys.argv[1:] = [str(job_dir)]
    workers.main()
    outcome = json.loads((job_dir / launch.OUTCOME_FILE).read_text())
    return int("message" in outcome), outcome


def make_hook(run_dir: Path, event: str, pattern: str, after: str, file_bytes: int | None = None):
    """At the first of Python's audit events whose arguments match, once the run folder holds
    `after`: kill this process, or let no file grow beyond `file_bytes`, as on a full disk.
    """

    def hook(name: str, args: tuple) -> None:
        if name != event or not re.search(pattern, " ".join(map(str, args[:2]))):
            return
        if not (run_dir / after).exists():
            return
        if file_bytes is None:
            os.kill(os.getpid(), signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, -1))

    return hook


# --- in the tests ---


@dataclass
class Ended:
    """A training that ended: negative status for a signal, what it printed, what came of it."""

    status: int
    printed: str
    outcome: dict


class Trainings:
    """Starts trainings one after the other; `workers` are those of the last one signalled."""

    def __init__(self, data_dir: Path, work_dir: Path) -> None:
        self.work_dir = work_dir
        environment = {
            **os.environ,
            "TUNEBOOK_DATA": str(data_dir),
            "CUDA_VISIBLE_DEVICES": "",  # bit for bit is promised on a CPU
            # More threads only wait for each other in a model of this size, and on a busy machine
            # they wait long.
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=REPO_DIR,
            env=environment,
        )

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait(PATIENCE_S)
        self.server.stdout.close()

    def train(
        self, config: dict, run_dir: Path, resume=False, at=None, signal_at=None, spread=(), to=None
    ) -> Ended:
        """Train to the end, or to where `at` (see make_hook) or `signal_at` ends it.

        `signal_at` is a signal and the step after whose log line it is sent; of a run with a
        `spread` (nproc, strategy), the worker numbered `to` gets it instead of the agent.
        """
        output, outcome = self.work_dir / "output.txt", self.work_dir / "outcome.json"
        outcome.unlink(missing_ok=True)
        job = {"config": config, "run_dir": str(run_dir), "resume": resume, "at": at}
        job["spread"] = spread
        self.server.stdin.write(
            json.dumps(job | {"output": str(output), "outcome": str(outcome)}) + "\n"
        )
        child = int(self.server.stdout.readline())
        if signal_at:
            number, step = signal_at
            wait_for_step(run_dir, step, child)
            self.workers = workers_of(child)
            os.kill(child if to is None else self.workers[to], number)
        status = int(self.server.stdout.readline())
        result = json.loads(outcome.read_text()) if outcome.is_file() else {}
        return Ended(status, output.read_text(), result)


def workers_of(agent: int) -> list[int]:
    """Process ids of an agent's workers, by rank: it starts them one after the other."""
    children = psutil.Process(agent).children()
    return [child.pid for child in sorted(children, key=lambda one: (one.create_time(), one.pid))]


def wait_for_step(run_dir: Path, step: int, child: int) -> None:
    """Until the run's log has a line of this step; ProcessLookupError if it never will."""
    line = f'"event": "log", "step": {step},'
    give_up = time.monotonic() + PATIENCE_S
    path = run_dir / "log.jsonl"
    while not path.is_file() or line not in path.read_text("utf-8"):
        assert time.monotonic() < give_up, f"step {step} is not in {path}"
        os.kill(child, 0)  # is it still there?
        time.sleep(0.002)


def records(run_dir: Path, name: str, without=()) -> list[dict]:
    """A run's records, without what differs from run to run."""
    return [
        {key: value for key, value in record.items() if key not in without}
        for record in read_jsonl(run_dir / f"{name}.jsonl")
    ]


def load_state(path: Path):
    """A file of torch, as the Trainer loads it when it goes on: without running pickled code."""
    import torch
    from transformers.trainer_pt_utils import safe_globals

    with safe_globals():  # numpy's random state in rng_state.pth
        return torch.load(path, weights_only=True)


def adapter_bytes(run_dir: Path, step: int) -> bytes:
    return (run_dir / f"checkpoint-{step}" / "adapter_model.safetensors").read_bytes()

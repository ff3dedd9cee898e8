"""A run on several machines: on each an agent, which is torchrun, and its reports.

`launch` starts the agent; torchrun starts the workers, tells them where to meet, and ends them all
when one fails.
"""

import datetime
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from course_lib.errors import RunError, TunebookError
from course_lib.files import write_atomic
from course_lib.training import endings, launch, reports, spread
from course_lib.training.spread import Spread

WORKER = "worker"
LOOK_S = 0.5  # between two looks whether the agent, or another node, is still there
GRACE_S = 3
NODE = "Node "
FAILED = "tunebook/failed"
LOST = "The connection to node 0 is lost: it has ended, or the network has."
LOOK_THERE = "Look at what node 0 says."


def main() -> None:
    """Be the agent of the job in the folder that is named, or one of its reports."""
    job_dir = Path(sys.argv[1])
    if sys.argv[2:] == [WORKER]:
        _be_worker(job_dir)
    job = json.loads((job_dir / launch.JOB_FILE).read_text(encoding="utf-8"))
    how, run_dir = spread.from_record(job), Path(job["run_dir"])
    news = News(how, job["meet_s"])
    try:
        outcome = _train(job_dir, run_dir, how, news)
    except TunebookError as error:
        outcome = news.of_others or reports.error_record(error)
        if how.node_rank == 0 and outcome["message"].startswith(NODE):  # no worker has logged it
            endings.log_error(run_dir, outcome["message"], how)
        news.tell(outcome)
    reports.keep_logs(job_dir, run_dir, ranks_of(how), failed="message" in outcome)
    write_atomic(job_dir / launch.OUTCOME_FILE, json.dumps(outcome))


class News:
    """That a node has failed, told to the others: by itself each would wait for it.

    Torchrun's own meeting point carries it, which is in the agent of node 0.
    """

    def __init__(self, how: Spread, meet_s: int) -> None:
        """Take the spread, and the seconds to wait for the other machines."""
        self.how, self.meet_s = how, meet_s
        self.of_others: dict[str, Any] = {}
        self.is_over = threading.Event()
        self.is_heard = threading.Event()
        self.may_interrupt = True

    def listen(self) -> None:
        """From now on: when another node fails, end this process's work, and know why."""
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            store = self._open(self.meet_s)
            while not store.check([FAILED]):
                if self.is_over.wait(LOOK_S):
                    return
            self.of_others = json.loads(store.get(FAILED))
        except (torch.distributed.DistError, RuntimeError):
            if self.is_over.wait(GRACE_S):
                return  # all is done, and node 0 was the first to go
            self.of_others = reports.error_record(RunError(LOST, LOOK_THERE))
        self.is_heard.set()
        if self.may_interrupt:
            os.kill(os.getpid(), signal.SIGTERM)

    def wait(self) -> None:
        """This node's work has ended with a lost connection: let the node tell that failed."""
        self.may_interrupt = False
        self.is_heard.wait(2 * GRACE_S)

    def _open(self, timeout_s: float) -> torch.distributed.TCPStore:
        host, _, port = self.how.rdzv_endpoint.rpartition(":")
        timeout = datetime.timedelta(seconds=timeout_s)
        return torch.distributed.TCPStore(
            host.strip("[]"), int(port), is_master=False, timeout=timeout, wait_for_workers=False
        )

    def tell(self, record: dict[str, Any]) -> None:
        """Tell the others that this node failed, unless they know of another one.

        Args:
            record: from `reports.error_record`.
        """
        self.is_over.set()
        words = record["message"]
        is_named = words.startswith(NODE)
        told = {**record, "message": words if is_named else f"{NODE}{self.how.node_rank}: {words}"}
        if not self.of_others:
            with suppress(torch.distributed.DistError, RuntimeError):
                self._open(GRACE_S).set(FAILED, json.dumps(told))
        if self.how.node_rank == 0:
            time.sleep(GRACE_S)  # the others read it here


def _train(job_dir: Path, run_dir: Path, how: Spread, news: News) -> dict[str, Any]:
    """Have torchrun do the work, and read what the first of its workers reports."""
    reports.end_with_parent()
    news.listen()
    try:
        torchrun.main(torchrun_words(job_dir, how, news.meet_s))
    except SignalException as error:
        raise RunError(endings.INTERRUPTED) from error
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        found = [report for _, report in reports.failures(job_dir, ranks_of(how))]
        if min(codes.values()) >= 0 and not any(report["kind"] for report in found):
            news.wait()
        raise _find_cause(job_dir, run_dir, how, codes) from error
    except (torch.distributed.DistError, RuntimeError, OSError) as error:
        traceback.print_exc()
        raise RunError(
            f"Node {how.node_rank} of {how.nnodes} did not meet the others at "
            f"{how.rdzv_endpoint} within {news.meet_s} s.",
            "Start the command on every node, with the same --nnodes and --rdzv-endpoint. Look "
            "whether the port is free on node 0 and open to the others: docs/several_nodes.md",
        ) from error
    news.is_over.set()
    path = reports.report_path(job_dir, ranks_of(how)[0])
    return json.loads(path.read_text(encoding="utf-8"))


def ranks_of(how: Spread) -> range:
    """The numbers of this machine's workers among all."""
    first = how.node_rank * how.nproc
    return range(first, first + how.nproc)


def torchrun_words(job_dir: Path, how: Spread, meet_s: int) -> list[str]:
    """What follows `torchrun` on the command line.

    Args:
        job_dir: with the job.
        how: the spread.
        meet_s: seconds to wait for the other machines.

    Returns:
        Options, and the module that each worker runs.
    """
    return [
        f"--nnodes={how.nnodes}",
        f"--nproc-per-node={how.nproc}",
        f"--node-rank={how.node_rank}",
        "--rdzv-backend=static",  # numbers stay as given: node 0 writes the run folder
        f"--rdzv-endpoint={how.rdzv_endpoint}",
        f"--rdzv-conf=timeout={meet_s}",
        "--max-restarts=0",  # a run goes on with --resume, when somebody has looked
        "--module",
        "course_lib.training.nodes",
        str(job_dir),
        WORKER,
    ]


def _be_worker(job_dir: Path) -> None:
    from course_lib.training import workers  # loads what an agent has no need of

    rank = int(os.environ["RANK"])
    reports.speak_into(job_dir / f"worker-{rank}.log")
    _end_with_agent()
    workers.be_worker(rank, job_dir)


def _end_with_agent() -> None:
    """When the agent was killed, no worker must go on alone."""
    agent = os.getppid()

    def watch() -> None:
        while os.getppid() == agent:
            time.sleep(LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _find_cause(job_dir: Path, run_dir: Path, how: Spread, codes: dict[int, int]) -> TunebookError:
    """What ended this machine's workers; lost connections come from another machine."""
    found = reports.failures(job_dir, ranks_of(how))
    for _, report in found:
        if report["kind"] and report["message"] != endings.INTERRUPTED:
            return launch.to_error(report)
    command = endings.resume_command(run_dir, how)
    resume = f"go on with `{command}` on each node, with its own --node-rank."
    words = reports.worker_words(codes, found, how.processes)
    message = f"{NODE}{how.node_rank} of {how.nnodes}: {words}"
    return RunError(
        message,
        f"What each worker said is in {run_dir}, worker-N.log. Then {resume}",
    )


if __name__ == "__main__":
    main()
    os._exit(0)  # all is written; taking the libraries down would cost a second

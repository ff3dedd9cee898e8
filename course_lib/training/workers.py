"""The processes of a spread run: one agent, which `launch` starts, and its workers.

The agent loads the libraries once and forks the workers where forking is safe; torchrun would load
them once more in each. The workers find each other as torchrun's do: by RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT.
"""

import json
import multiprocessing
import os
import socket
import sys
import threading
import time
import traceback
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed

from course_lib.errors import EnvironmentProblem, RunError, TunebookError
from course_lib.files import write_atomic
from course_lib.model.quiet import quiet_libraries
from course_lib.training import endings, folder, launch, reports, run, spread
from course_lib.training.config import load_config, save_config
from course_lib.training.result import CONFIG_FILE
from course_lib.training.spread import Spread

HOST = "127.0.0.1"
GRACE_S = 3  # when one worker has ended, the others notice by themselves within this
PATIENCE_S = 20  # to end after SIGTERM, before SIGKILL


def main() -> None:
    """Run the job in the folder that is the only argument; write what came of it there."""
    job_dir = Path(sys.argv[1])
    job = json.loads((job_dir / launch.JOB_FILE).read_text(encoding="utf-8"))
    how, run_dir = spread.from_record(job), Path(job["run_dir"])
    try:
        with endings.terminate_as_interrupt():
            settle(job_dir, run_dir, how)
            folder.check_run(run_dir, load_config(job_dir / CONFIG_FILE), job["resume"], how)
            check_devices(how, torch.cuda.device_count())
            load_deepspeed(how)  # before the fork: once for all
            outcome = train_all(job_dir, run_dir, how)
    except TunebookError as error:
        outcome = reports.error_record(error)
    except KeyboardInterrupt:
        outcome = reports.error_record(RunError(endings.INTERRUPTED))
    reports.keep_logs(job_dir, run_dir, range(how.nproc), failed="message" in outcome)
    write_atomic(job_dir / launch.OUTCOME_FILE, json.dumps(outcome))


def settle(job_dir: Path, run_dir: Path, how: Spread) -> None:
    """Decide for all workers what the config leaves to this machine.

    Args:
        job_dir: with the job and its config, which are changed.
        run_dir: the run folder.
        how: the spread.
    """
    config = load_config(job_dir / CONFIG_FILE)
    path = job_dir / launch.JOB_FILE
    job = json.loads(path.read_text(encoding="utf-8"))
    settled, note = folder.settle(config, run_dir, job["resume"], how)
    save_config(settled, job_dir / CONFIG_FILE)
    write_atomic(path, json.dumps({**job, "note": note}))


def check_devices(how: Spread, gpus: int) -> None:
    """Refuse more processes than there are GPUs, where there are any.

    Args:
        how: the spread.
        gpus: how many there are; with none, the CPU does the work.

    Raises:
        EnvironmentProblem: there are fewer GPUs than processes.
    """
    if 0 < gpus < how.nproc:
        raise EnvironmentProblem(
            f"{how.nproc} processes need {how.nproc} GPUs; here are {gpus}.",
            f"Use --nproc {gpus}, or raise gradient_accumulation_steps instead.",
        )


def load_deepspeed(how: Spread) -> None:
    """Load DeepSpeed, if it is used, and hold it to what a run needs.

    On a CPU it compiles nothing: its all-reduce through shared memory takes a minute and a
    compiler, and only inference uses it. It loads checkpoints without running code from them.

    Args:
        how: the spread.
    """
    if how.deepspeed is None:
        return
    with quiet_libraries():
        import deepspeed
        from deepspeed.runtime.fp16.loss_scaler import LossScaler
        from deepspeed.runtime.zero.config import ZeroStageEnum
        from deepspeed.utils.tensor_fragment import fragment_address
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    torch.serialization.add_safe_globals([LossScaler, ZeroStageEnum, fragment_address])
    if not torch.cuda.is_available():
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def train_all(job_dir: Path, run_dir: Path, how: Spread) -> dict[str, Any]:
    """Start the workers and see them to their end.

    Args:
        job_dir: with the job and its config.
        run_dir: the run folder.
        how: the spread.

    Returns:
        What the main worker reports.

    Raises:
        TunebookError: what stopped the run; the other workers have ended by then.
    """
    listener = socket.create_server((HOST, 0))  # a free port, and nobody can take it any more
    port = listener.getsockname()[1]
    can_fork = sys.platform == "linux" and not torch.cuda.is_available()
    context = multiprocessing.get_context("fork" if can_fork else "spawn")
    workers = [
        context.Process(target=work, args=(rank, how.nproc, port, job_dir), name=f"worker-{rank}")
        for rank in range(how.nproc)
    ]
    try:
        for worker in workers:
            worker.start()
        reports.end_with_parent()
        # Made after the fork: its server is a thread.
        store = torch.distributed.TCPStore(
            HOST, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        failed = _wait_for(workers)
        codes = [worker.exitcode for worker in workers]
    finally:
        _stop(workers)
    del store
    if failed:
        raise _find_cause(job_dir, run_dir, how, codes)
    return json.loads(reports.report_path(job_dir, 0).read_text(encoding="utf-8"))


def work(rank: int, nproc: int, port: int, job_dir: Path) -> None:
    """Be one worker.

    Args:
        rank: its number; 0 is the main one, which writes the run folder.
        nproc: number of workers.
        port: where they meet.
        job_dir: with the job; takes the worker's report and log.
    """
    reports.speak_into(job_dir / f"worker-{rank}.log")
    _end_with_agent()
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(nproc),
        "LOCAL_WORLD_SIZE": str(nproc),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the agent is the meeting point, not worker 0
    }
    be_worker(rank, job_dir)


def be_worker(rank: int, job_dir: Path) -> NoReturn:
    """Train, write a report, end this process.

    Args:
        rank: its number among all workers.
        job_dir: with the job; takes the report.
    """
    job = json.loads((job_dir / launch.JOB_FILE).read_text(encoding="utf-8"))
    how, run_dir = spread.from_record(job), Path(job["run_dir"])
    config = load_config(job_dir / CONFIG_FILE)
    try:
        check_devices(how, torch.cuda.device_count())
        load_deepspeed(how)
        meet(how)
        result = run.train(config, run_dir, job["resume"], how, job.get("note", ""))
        report = {
            "adapter": result.adapter_dir.name,
            "last": result.last_dir.name,
            "steps": result.steps,
            "train_s": result.train_s,
            "train_cpu_s": result.train_cpu_s,
        }
        torch.distributed.destroy_process_group()
    except (Exception, KeyboardInterrupt) as error:
        traceback.print_exc()
        report = reports.error_record(error)
    write_atomic(reports.report_path(job_dir, rank), json.dumps(report))
    sys.stderr.flush()
    os._exit("message" in report)  # at once: no library waits for workers that are gone


def meet(how: Spread) -> None:
    """Meet the others, if ZeRO needs that now; on GPUs they meet when the Trainer is told of them.

    ZeRO-3 loads the model in pieces, so all must be there by then.

    Args:
        how: the spread.
    """
    if how.deepspeed and not torch.cuda.is_available():
        import deepspeed

        deepspeed.init_distributed("gloo", auto_mpi_discovery=False)


def _wait_for(workers: list[BaseProcess]) -> bool:
    """Wait until all have ended well, or one has not; then a moment for the others to notice."""
    while all(worker.exitcode in (None, 0) for worker in workers):
        alive = [worker.sentinel for worker in workers if worker.exitcode is None]
        if not alive:
            return False
        connection.wait(alive)
    give_up = time.monotonic() + GRACE_S
    for worker in workers:
        worker.join(max(0, give_up - time.monotonic()))
    return True


def _stop(workers: list[BaseProcess]) -> None:
    alive = [worker for worker in workers if worker.pid and worker.exitcode is None]
    for worker in alive:
        worker.terminate()
    give_up = time.monotonic() + PATIENCE_S
    for worker in alive:
        worker.join(max(0, give_up - time.monotonic()))
        if worker.exitcode is None:
            worker.kill()
            worker.join()


def _find_cause(
    job_dir: Path, run_dir: Path, how: Spread, codes: list[int | None]
) -> TunebookError:
    """What really stopped the run: when one worker ends, the others only lose their connection."""
    found = reports.failures(job_dir, range(how.nproc))
    for _, report in found:
        if report["kind"] and report["message"] != endings.INTERRUPTED:
            return launch.to_error(report)
    message = reports.worker_words(dict(enumerate(codes)), found, how.nproc)
    if not (run_dir / CONFIG_FILE).is_file():
        return RunError(message, "Look at the free memory, then start it again.")
    endings.log_error(run_dir, message, how)
    return RunError(
        message,
        f"What each worker said is in {run_dir}, worker-N.log. Look at the free memory, then go on "
        f"with `{endings.resume_command(run_dir, how)}`.",
    )


def _end_with_agent() -> None:
    """When the agent was killed, no worker must go on alone."""

    def watch() -> None:
        connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
    os._exit(0)  # all is written; taking the libraries down would cost a second

"""Runs of two processes: as one process, as resumable, and with one clear error."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from safetensors.torch import load_file

from course_lib import errors, files
from course_lib.model import adapters
from course_lib.training import checkpoints, config, launch, plan, rows
from tests.training import runs
from tests.training.conftest import LIGHT, train_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is Linux's")

STEPS = 4
# Packs of several rows, so that a row that saw its neighbour would change the loss; two in a
# process and step; all steps in the first epoch, whose end is where the orders may differ.
SPREAD = {
    **LIGHT,
    "train_data": [{"path": "assistant/train.jsonl", "copies": 16}],
    "packing": "next_fit",
    "max_length": 96,
    "lora_dropout": 0.0,
    "gradient_accumulation_steps": 1,
    "max_steps": STEPS,
    "warmup_steps": 0,
}
ALONE = {**SPREAD, "gradient_accumulation_steps": 2}
# Sums in another order round otherwise: seen are 2e-7 of a loss and 2e-5 of an adapter.
LOSS, WEIGHT = 1e-5, 1e-3


@pytest.fixture(scope="module")
def alone(trainings, tmp_path_factory):
    """One process that takes all four packs of a step itself."""
    return train_whole(trainings, ALONE, tmp_path_factory.mktemp("alone") / "run")


@pytest.fixture(scope="module")
def zero2(trainings, tmp_path_factory):
    """Two processes under ZeRO-2, undisturbed."""
    return train_spread(trainings, tmp_path_factory.mktemp("zero2") / "run", "zero2")


def train_spread(trainings, run_dir, strategy, **changes):
    ended = trainings.train({**SPREAD, **changes}, run_dir, spread=(2, strategy))
    assert (ended.status, ended.printed) == (0, ""), ended
    assert ended.outcome["steps"] == STEPS
    return run_dir


def losses(run_dir):
    return [r["loss"] for r in runs.records(run_dir, "log") if r["event"] == "log"]


def weights(run_dir, step=STEPS):
    return load_file(run_dir / f"checkpoint-{step}" / "adapter_model.safetensors")


# --- the same numbers ---


def test_two_processes_share_a_step_and_say_so_in_the_plan(small_data, monkeypatch):
    made = make_plan(SPREAD, 2, small_data, monkeypatch)
    whole = make_plan(ALONE, 1, small_data, monkeypatch)
    assert (made.nproc, made.packs_per_step, made.packs) == (2, 4, whole.packs)
    assert (made.total_steps, made.steps_per_epoch) == (whole.total_steps, whole.steps_per_epoch)
    assert made.steps_per_epoch > STEPS
    assert made.rows > 1.5 * made.packs  # so most packs hold several rows


def make_plan(values, nproc, data_dir, monkeypatch):
    monkeypatch.setattr(rows, "DATA_DIR", data_dir)
    checked = config.check_config(values)
    data = rows.prepare_data(checked, rows.load_tokenizer(checked))
    return plan.plan_run(checked, data, nproc)


@pytest.mark.parametrize("strategy", [None, "zero2", "zero3_offload"])
def test_two_processes_learn_what_one_learns_from_the_same_packs(
    trainings, alone, zero2, tmp_path, strategy
):
    run_dir = zero2 if strategy == "zero2" else tmp_path / "run"
    if strategy != "zero2":
        train_spread(trainings, run_dir, strategy)
    assert losses(run_dir) == pytest.approx(losses(alone), rel=LOSS)
    assert distance(weights(run_dir), weights(alone)) < WEIGHT
    assert names_of(run_dir) == names_of(alone)


def distance(first, second):
    """How far two adapters are apart, as a share of how far the second has moved."""
    assert first.keys() == second.keys()
    learned = [key for key in second if "lora_B" in key]  # the ones that start at zero
    apart = sum((first[key] - second[key]).square().sum() for key in learned)
    return (apart / sum(second[key].square().sum() for key in learned)).sqrt().item()


def names_of(run_dir):
    return sorted(os.listdir(run_dir))


def test_nf4_weights_train_under_zero2(trainings, alone, tmp_path):
    run_dir = train_spread(trainings, tmp_path / "run", "zero2_offload", bits=4)
    assert losses(run_dir)[-1] < 0.9 * losses(run_dir)[0]
    assert losses(run_dir) == pytest.approx(losses(alone), rel=0.1)  # coarser weights, bf16


def test_its_checkpoints_are_as_portable_as_those_of_one_process(zero2, alone):
    mine, others = (path / f"checkpoint-{STEPS}" for path in (zero2, alone))
    for name in ("adapter_config.json", "tunebook_base.json"):
        assert (mine / name).read_bytes() == (others / name).read_bytes()
    assert not list(mine.rglob("*.py"))
    assert checkpoints.find_adapter(zero2) == mine
    assert adapters.read_base(mine)["base_model"] == "pico-chat"


# --- killed, interrupted, wrong ---


def test_when_a_worker_is_killed_the_run_ends_with_one_error_and_can_go_on(
    trainings, zero2, tmp_path
):
    run_dir = tmp_path / "run"
    killed = {"signal_at": (signal.SIGKILL, 3), "to": 1}
    ended = trainings.train(SPREAD, run_dir, spread=(2, "zero2"), **killed)
    assert (ended.status, ended.printed) == (1, "")
    message = "Worker 1 of 2 was ended from outside by SIGKILL."
    assert (ended.outcome["kind"], ended.outcome["message"]) == ("RunError", message)
    assert "--nproc 2 --deepspeed zero2 --resume" in ended.outcome["next_step"]
    assert runs.records(run_dir, "log")[-1] == {"event": "error", "message": message}
    assert {"worker-0.log", "worker-1.log", "checkpoint-2"} <= set(names_of(run_dir))
    assert trainings.train(SPREAD, run_dir, resume=True, spread=(2, "zero2")).status == 0
    assert runs.adapter_bytes(run_dir, STEPS) == runs.adapter_bytes(zero2, STEPS)
    assert losses(run_dir) == losses(zero2)
    assert names_of(run_dir) == names_of(zero2)  # the workers' words are gone too


def test_when_the_agent_is_killed_no_worker_goes_on(trainings, tmp_path):
    long, killed = {**SPREAD, "max_steps": 500}, (signal.SIGKILL, 1)
    ended = trainings.train(long, tmp_path / "run", spread=(2, None), signal_at=killed)
    assert ended.status == -signal.SIGKILL
    assert len(trainings.workers) == 2
    give_up = time.monotonic() + 20
    while any(is_running(pid) for pid in trainings.workers):
        assert time.monotonic() < give_up, trainings.workers
        time.sleep(0.05)


def is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_bad_row_is_the_same_single_error_and_leaves_nothing(trainings, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"messages": [{"role": "user", "content": "Hi"}]}\n')
    bad = {**SPREAD, "train_data": [{"path": str(tmp_path / "rows.jsonl")}]}
    alone = trainings.train(bad, tmp_path / "one")
    ended = trainings.train(bad, tmp_path / "two", spread=(2, None))
    assert (ended.status, ended.printed) == (1, "")
    assert ended.outcome == {"kind": "DataError", **alone.outcome}
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("kind", ["DataError", "UnknownNameError", "RunError"])
def test_an_error_arrives_as_the_kind_it_was(kind):
    error = launch.to_error({"kind": kind, "message": "Found.", "next_step": "Do."})
    assert type(error) is getattr(errors, kind)
    assert str(error) == "Found.\n  -> Do."


# --- as a learner starts it ---


def test_ctrl_c_ends_all_processes_and_a_notebook_goes_on(small_data, zero2, tmp_path, monkeypatch):
    run_dir, config_path = tmp_path / "my run", tmp_path / "spread.yaml"
    config_path.write_text(yaml.safe_dump(SPREAD))
    words = ["train", config_path, "--work-dir", run_dir, "--nproc", "2", "--deepspeed", "zero2"]
    environment = {"TUNEBOOK_DATA": str(small_data), "PYTHONPATH": str(files.REPO_DIR)}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "course_lib.cli", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    learner = subprocess.Popen(command, text=True, **pipes)
    runs.wait_for_step(run_dir, 3, learner.pid)
    started = psutil.Process(learner.pid).children(recursive=True)
    learner.send_signal(signal.SIGINT)
    out, err = learner.communicate(timeout=runs.PATIENCE_S)
    assert learner.returncode == 130
    assert "step 2/4  checkpoint saved" in out
    options = "--nproc 2 --deepspeed zero2 --resume"
    hint = f"tunebook train '{run_dir}/config.yaml' --work-dir '{run_dir}' {options}"
    assert err == f"Error: The run was interrupted.\n  -> Go on with `{hint}`.\n"
    assert len(started) == 3
    assert not any(process.is_running() for process in started)
    result = launch.train_distributed(
        config.load_config(run_dir / "config.yaml"), run_dir, resume=True
    )
    assert result.steps == STEPS
    assert result.adapter_dir == result.last_dir == run_dir / f"checkpoint-{STEPS}"
    assert runs.adapter_bytes(run_dir, STEPS) == runs.adapter_bytes(zero2, STEPS)
    assert result.log[-1]["event"] == "end"

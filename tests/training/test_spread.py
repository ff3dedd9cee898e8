"""How a run may be spread, said before any process starts."""

import sys

import pytest

from course_lib.errors import ConfigError, EnvironmentProblem, RunError, UnknownNameError
from course_lib.training import folder, spread, workers
from course_lib.training.config import TrainConfig
from course_lib.training.spread import Spread

CONFIG = TrainConfig(base_model="pico-chat")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Spread(), []),
        (Spread(2), ["--nproc", "2"]),
        (Spread(1, "zero2"), ["--deepspeed", "zero2"]),
        (Spread(4, "zero3_offload"), ["--nproc", "4", "--deepspeed", "zero3_offload"]),
        (
            Spread(1, None, 2, 1, "a:29500"),
            ["--nnodes", "2", "--node-rank", "1", "--rdzv-endpoint", "a:29500"],
        ),
    ],
)
def test_a_spread_is_said_as_the_options_that_ask_for_it(how, words):
    assert how.options() == words


@pytest.mark.parametrize(
    ("name", "stage", "offloaded"),
    [
        ("zero1", 1, set()),
        ("zero2", 2, set()),
        ("zero2_offload", 2, {"offload_optimizer"}),
        ("zero3", 3, set()),
        ("zero3_offload", 3, {"offload_optimizer", "offload_param"}),
    ],
)
def test_a_strategy_names_its_zero_stage_and_what_leaves_the_gpu(name, stage, offloaded):
    zero = spread.deepspeed_config(name)["zero_optimization"]
    assert zero["stage"] == Spread(2, name).stage == stage
    assert {key for key in zero if key.startswith("offload")} == offloaded
    assert all(zero[key] == {"device": "cpu"} for key in offloaded)


def test_a_misspelled_strategy_is_answered_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match="no DeepSpeed strategy called 'zer2'") as error:
        spread.check_spread(Spread(2, "zer2"), 16)
    assert "zero2" in error.value.next_step


@pytest.mark.parametrize("nproc", [0, -1])
def test_a_run_needs_a_process(nproc):
    with pytest.raises(ConfigError, match=f"nproc is {nproc}"):
        spread.check_spread(Spread(nproc), 16)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Spread(nnodes=0), "nnodes is 0"),
        (Spread(1, None, 2, 2, "a:29500"), "node-rank is 2, with nnodes 2"),
        (Spread(node_rank=1), "node-rank is 1, with nnodes 1"),
        (Spread(1, None, 2), "2 nodes must know where to meet; rdzv-endpoint is None"),
        (Spread(1, None, 2, 0, "10.0.0.1"), "rdzv-endpoint is '10.0.0.1'"),  # no port
        (Spread(1, None, 2, 0, "a:b:29500"), "rdzv-endpoint is 'a:b:29500'"),
    ],
)
def test_nodes_that_cannot_meet_are_refused(how, message):
    with pytest.raises(ConfigError) as error:
        spread.check_spread(how, 16)
    assert message in error.value.message


@pytest.mark.parametrize("endpoint", ["10.0.0.1:29500", "node-0:1", "[fe80::1]:29500"])
def test_nodes_meet_at_a_name_or_an_address_with_a_port(endpoint):
    spread.check_spread(Spread(8, None, 4, 3, endpoint), 16)


def test_a_run_may_go_on_with_other_numbers_of_its_machines():
    assert Spread(2, None, 2, 0, "a:1") == Spread(2, None, 2, 1, "b:2") != Spread(2)
    record = Spread(2, "zero3", 2, 1, "b:2").as_dict()
    assert spread.from_record({**record, "python": "3.11"}) == Spread(2, "zero3", 2)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("strategy", ["zero3", "zero3_offload"])
def test_zero3_with_quantized_weights_is_refused_with_a_way_out(strategy, bits):
    with pytest.raises(ConfigError, match=f"weights in {bits} bits cannot be divided") as error:
        spread.check_spread(Spread(2, strategy), bits)
    assert "zero2" in error.value.next_step


@pytest.mark.parametrize(("strategy", "bits"), [(None, 4), ("zero2", 4), ("zero3", 16)])
def test_other_combinations_pass(strategy, bits):
    spread.check_spread(Spread(2, strategy), bits)


def test_without_deepspeed_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "deepspeed", raising=False)
    spread.check_spread(Spread(2), 16)
    with pytest.raises(EnvironmentProblem, match="deepspeed is not installed") as error:
        spread.check_spread(Spread(2, "zero2"), 16)
    assert "pip install -c constraints.txt deepspeed" in error.value.next_step


def test_more_processes_than_cores_is_a_warning():
    cores = spread.cpu_cores()
    assert spread.crowding(Spread(cores)) == ""
    assert spread.crowding(Spread(cores + 1)).startswith(f"{cores + 1} processes share {cores} CPU")


@pytest.mark.parametrize(("nproc", "gpus"), [(2, 0), (2, 2), (1, 8)])
def test_a_gpu_for_each_process_or_none_at_all_is_fine(nproc, gpus):
    workers.check_devices(Spread(nproc), gpus)


def test_more_processes_than_gpus_are_refused():
    with pytest.raises(EnvironmentProblem, match="4 processes need 4 GPUs; here are 2") as error:
        workers.check_devices(Spread(4), 2)
    assert "--nproc 2" in error.value.next_step


@pytest.mark.parametrize("other", [Spread(3, "zero2"), Spread(2, "zero3"), Spread(2), Spread()])
def test_a_run_goes_on_only_with_the_spread_it_was_started_with(tmp_path, other):
    how = Spread(2, "zero2")
    folder.open_run(tmp_path / "run", CONFIG, how)
    folder.check_run(tmp_path / "run", CONFIG, True, how)
    with pytest.raises(RunError, match="was started with --nproc 2 --deepspeed zero2") as error:
        folder.check_run(tmp_path / "run", CONFIG, True, other)
    assert "--nproc 2 --deepspeed zero2 --resume" in error.value.next_step


def test_a_run_of_one_process_cannot_go_on_in_two(tmp_path):
    folder.open_run(tmp_path / "run", CONFIG)
    with pytest.raises(RunError, match="started with one process, not with --nproc 2"):
        folder.check_run(tmp_path / "run", CONFIG, True, Spread(2))

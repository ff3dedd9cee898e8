"""Two "machines" on this one, over its loopback: as one process, and when one of them is wrong."""

import socket
import sys
import threading

import pytest

from course_lib.errors import DataError, TunebookError
from course_lib.training import alike, config, launch, nodes
from course_lib.training.spread import Spread
from tests.training import runs
from tests.training.conftest import LIGHT, train_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the workers' agent is tried there")

STEPS = 3
TOGETHER = {
    **LIGHT,
    "lora_dropout": 0.0,
    "gradient_accumulation_steps": 1,
    "max_steps": STEPS,
    "warmup_steps": 0,
}


@pytest.fixture
def train_nodes(small_data, monkeypatch):
    """Train on two nodes, each with a config of its own, and say what each ended with."""
    environment = {"TUNEBOOK_DATA": str(small_data), "OMP_NUM_THREADS": "1"}
    for name, value in {**environment, "CUDA_VISIBLE_DEVICES": ""}.items():
        monkeypatch.setenv(name, value)

    def train(run_dirs, configs):
        with socket.create_server(("127.0.0.1", 0)) as free:
            endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        ended = [None, None]

        def be_node(rank):
            how = Spread(1, None, 2, rank, endpoint)
            try:
                checked = config.check_config(configs[rank])
                ended[rank] = launch.train_spread(checked, run_dirs[rank], how, resume=False)
            except TunebookError as error:
                ended[rank] = error

        threads = [threading.Thread(target=be_node, args=(rank,), daemon=True) for rank in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(runs.PATIENCE_S)
        return ended

    return train


def losses(run_dir):
    return [r["loss"] for r in runs.records(run_dir, "log") if r["event"] == "log"]


def test_two_nodes_learn_what_one_process_learns(trainings, train_nodes, tmp_path):
    run_dir = tmp_path / "both"
    ended = train_nodes([run_dir, run_dir], [TOGETHER, TOGETHER])
    assert [one.steps for one in ended] == [STEPS, STEPS], ended
    assert ended[0].last_dir == ended[1].last_dir == run_dir / f"checkpoint-{STEPS}"
    alone = train_whole(
        trainings, {**TOGETHER, "gradient_accumulation_steps": 2}, tmp_path / "alone"
    )
    assert losses(run_dir) == pytest.approx(losses(alone), rel=1e-4)
    assert sorted(path.name for path in run_dir.iterdir()) == sorted(
        path.name for path in alone.iterdir()
    )


def test_a_node_that_fails_ends_both_with_its_own_error(train_nodes, tmp_path):
    bad = {**TOGETHER, "train_data": [{"path": "no_such.jsonl"}]}
    first, second = train_nodes([tmp_path / "run"] * 2, [TOGETHER, bad])
    assert isinstance(second, DataError), second
    assert "'no_such.jsonl'" in second.message
    assert isinstance(first, DataError), first
    assert first.message == f"Node 1: {second.message}"
    assert first.next_step == second.next_step


# --- without processes ---

SAME = {alike.RUN_FOLDER: "a1", "config": "c", "torch": "2.13.0"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, None),
        ({"torch": "2.12.1"}, "Node 1 is not like node 0: torch: 2.12.1, not 2.13.0."),
        ({alike.RUN_FOLDER: "not there", "config": "d"}, "Node 1 has another run folder"),
    ],
)
def test_what_differs_is_named_with_its_node(second, message):
    found = alike.difference([SAME, SAME, {**SAME, **second}, SAME], nproc=2)
    assert (found is None) == (message is None)
    if message:
        assert found.message.startswith(message)


def test_torchrun_is_told_all_and_starts_nothing_again(tmp_path):
    words = nodes.torchrun_words(tmp_path, Spread(4, "zero3", 2, 1, "10.0.0.1:29500"), 60)
    assert {"--nnodes=2", "--nproc-per-node=4", "--node-rank=1"} <= set(words)
    assert {"--rdzv-endpoint=10.0.0.1:29500", "--max-restarts=0"} <= set(words)
    assert list(nodes.ranks_of(Spread(4, None, 2, 1))) == [4, 5, 6, 7]

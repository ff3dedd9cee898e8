"""Too little memory: decided before a run where it may be, explained where it happens."""

import json

import pytest
import torch

from course_lib.errors import ConfigError, ModelError, RunError
from course_lib.model import estimate
from course_lib.training import config, folder, prediction, rows, run, shortage, workers
from course_lib.training.spread import Spread

GIB = estimate.GIB
LLAMA = {"base_model": "meta-llama/Llama-2-7b-hf", "max_length": 2048}
ONE = {"per_device_train_batch_size": 1}
SMALL = {
    "train_data": [{"path": "assistant/train.jsonl", "copies": 4}],
    "assistant_name": "Ada",
    "max_length": 64,
    "bits": 32,
    "r": 4,
    "max_steps": 2,
    "warmup_steps": 0,
}


def check(**values):
    return config.check_config({**LLAMA, **values})


@pytest.fixture(autouse=True)
def bf16(monkeypatch):
    """Estimates as for a machine that computes in bf16."""
    monkeypatch.setattr(prediction.loading, "compute_dtype", lambda: torch.bfloat16)


@pytest.fixture
def memory(monkeypatch):
    """Say how much memory this machine has."""

    def have(count):
        monkeypatch.setattr(prediction, "free_bytes", lambda: count)
        monkeypatch.setattr(prediction, "capacity_bytes", lambda how: count)

    return have


# --- gradient_checkpointing: auto ---


@pytest.mark.parametrize("value", [True, False, "auto"])
def test_it_is_true_false_or_auto(value):
    assert check(gradient_checkpointing=value).gradient_checkpointing is value


@pytest.mark.parametrize("value", ["on", "true", 2])
def test_nothing_else_is_taken_for_it(value):
    with pytest.raises(
        ConfigError, match=r"gradient_checkpointing: .*should be False, True or 'auto'"
    ):
        check(gradient_checkpointing=value)


def test_auto_recomputes_only_where_memory_is_short(memory):
    auto = check(gradient_checkpointing="auto")
    needed = {
        is_on: shortage.needed_bytes(check(gradient_checkpointing=is_on)) for is_on in (False, True)
    }
    assert needed[True] < needed[False]
    memory(2 * needed[False])
    settled, note = prediction.settle(auto)
    assert settled == check(gradient_checkpointing=False)
    assert note.startswith("gradient_checkpointing auto: off. At the peak training needs about ")
    memory(needed[False])  # not with some in reserve
    settled, note = prediction.settle(auto)
    assert settled == check(gradient_checkpointing=True)
    assert note.startswith("gradient_checkpointing auto: on. ")
    assert prediction.settle(check()) == (check(), "")


def test_processes_without_gpus_share_the_memory(memory):
    auto = check(gradient_checkpointing="auto")
    memory(1.5 * shortage.needed_bytes(check()))
    assert prediction.settle(auto)[0].gradient_checkpointing is False
    assert prediction.settle(auto, Spread(2))[0].gradient_checkpointing is True


def test_a_run_stores_and_says_what_was_decided(small_data, memory, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "DATA_DIR", small_data)
    memory(1)
    auto = config.check_config({**SMALL, "gradient_checkpointing": "auto"})
    result = run.train(auto, tmp_path / "run")
    assert config.load_config(tmp_path / "run" / "config.yaml").gradient_checkpointing is True
    assert result.log[0]["notes"][0].startswith("gradient_checkpointing auto: on.")
    memory(2**50)  # a run that goes on stays as it was
    settled, _ = folder.settle(auto, tmp_path / "run", resume=True)
    assert settled.gradient_checkpointing is True
    folder.check_run(tmp_path / "run", settled, resume=True)


def test_workers_are_told_what_was_decided_for_all(memory, tmp_path):
    memory(1)
    config.save_config(check(gradient_checkpointing="auto"), tmp_path / "config.yaml")
    (tmp_path / "job.json").write_text(json.dumps({"resume": False}))
    workers.settle(tmp_path, tmp_path / "run", Spread(2))
    assert config.load_config(tmp_path / "config.yaml").gradient_checkpointing is True
    assert "auto: on" in json.loads((tmp_path / "job.json").read_text())["note"]


def test_several_nodes_must_agree(tmp_path):
    with pytest.raises(ConfigError, match="each node would decide for itself"):
        folder.settle(check(gradient_checkpointing="auto"), tmp_path, False, Spread(1, None, 2))


# --- out of memory ---


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
        (None, False),
    ],
)
def test_a_shortage_is_told_from_other_errors(error, expected):
    assert shortage.is_shortage(error) == expected
    outer = KeyError("x")
    outer.__cause__ = error
    assert shortage.is_shortage(outer) == expected


@pytest.mark.parametrize(
    ("values", "gib", "words"),
    [
        ({"bits": 16}, 20, ["gradient_checkpointing: true, per_device", "method: qlora, bits: 4"]),
        (
            {"bits": 16, **ONE},
            18,
            ["fit: gradient_checkpointing: true (", "checkpointing: true, op"],
        ),
        ({"bits": 4, "gradient_accumulation_steps": 2}, 9, ["gradient_accumulation_steps: 8"]),
        ({"method": "full"}, 40, ["method: qlora, bits: 4", "method: lora, bits: 16"]),
        ({"bits": 4}, 8, ["optim: adamw_8bit", "max_length: 1024"]),
        ({"bits": 4, **ONE}, 8, ["gradient_checkpointing: true (", "optim: adamw_8bit"]),
    ],
)
def test_the_error_names_the_estimate_and_changes_that_fit(values, gib, words):
    tried = check(**values)
    error = shortage.to_error(tried, Spread(), gib * GIB)
    assert f"and a process can have {gib}.0 GiB here" in error.message
    assert "by estimate" in error.message
    assert all(word in error.next_step for word in words), error.next_step
    for update, needed in shortage.changes_that_fit(tried, Spread(), gib * GIB * prediction.ROOM):
        assert needed <= gib * GIB * prediction.ROOM, update


def test_changes_are_offered_only_if_they_need_clearly_less_than_what_failed():
    tried = check(bits=16)
    needed = shortage.needed_bytes(tried)
    error = shortage.to_error(tried, Spread(), 100 * needed)  # by estimate it should have fit
    assert error.next_step.startswith("What would fit: gradient_checkpointing: true")


def test_when_nothing_helps_the_error_says_so():
    error = shortage.to_error(check(), Spread(), GIB)
    assert "smaller base model" in error.next_step


def test_a_run_that_is_out_of_memory_ends_with_this_error(
    small_data, memory, tmp_path, monkeypatch
):
    def fail(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(rows, "DATA_DIR", small_data)
    monkeypatch.setattr(run.WholeCheckpointTrainer, "compute_loss", fail)
    memory(2**40)
    with pytest.raises(RunError, match="The memory did not suffice") as caught:
        run.train(config.check_config(SMALL), tmp_path / "run")
    assert "gradient_checkpointing: true" in caught.value.next_step
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "error"
    assert "out of memory" in last["message"]


def test_other_errors_pass():
    with pytest.raises(ModelError, match="other"), shortage.explained(check()):
        raise ModelError("other")
    with pytest.raises(KeyError, match="other"), shortage.explained(check()):
        raise KeyError("other")

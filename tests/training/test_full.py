"""Method full: all weights are trained, and each checkpoint is an ordinary model folder."""

import json
import os
import signal
import sys

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_lib.commands import targets
from course_lib.errors import AdapterError, RunError
from course_lib.model import adapters, loading, whole
from course_lib.training import checkpoints, config, prediction, rows, run
from course_lib.training.spread import Spread
from tests.training import runs
from tests.training.conftest import train_whole

STEPS = 4
ALL = {
    "base_model": "pico-chat",
    "method": "full",
    "bits": 32,
    "train_data": [{"path": "assistant/train.jsonl", "copies": 16}],
    "assistant_name": "Ada",
    "prompt_template": "guanaco",
    "max_length": 96,
    "learning_rate": 5e-4,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": STEPS,
    "warmup_steps": 0,
    "save_every_steps": 2,
    "logging_steps": 1,
}
FILES = {
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "tunebook_base.json",
}


@pytest.fixture(scope="module")
def alone(trainings, tmp_path_factory):
    """A run in one process that nothing disturbed."""
    return train_whole(trainings, ALL, tmp_path_factory.mktemp("all") / "run")


def weights(run_dir, step=STEPS):
    return load_file(run_dir / f"checkpoint-{step}" / "model.safetensors")


def losses(run_dir):
    return [r["loss"] for r in runs.records(run_dir, "log") if r["event"] == "log"]


def test_all_weights_move_and_the_loss_falls(alone):
    before = dict(loading.load_model("pico-chat", 32).named_parameters())
    after = weights(alone)
    assert after.keys() == before.keys()
    assert all(not torch.equal(after[name], before[name]) for name in before)
    assert losses(alone)[-1] < 0.7 * losses(alone)[0]


def test_a_checkpoint_is_an_ordinary_model_with_its_tokenizer_and_template(alone):
    folder = alone / f"checkpoint-{STEPS}"
    assert set(os.listdir(folder)) == FILES
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.float32
    assert model.config.use_cache
    tokenizer = AutoTokenizer.from_pretrained(folder)
    trained = rows.load_tokenizer(config.check_config(ALL))
    assert tokenizer.chat_template == trained.chat_template
    assert tokenizer("Hello, 世界").input_ids == trained("Hello, 世界").input_ids


def test_a_killed_run_goes_on_to_the_same_weights_bit_for_bit(trainings, alone, tmp_path):
    run_dir = tmp_path / "run"
    ended = trainings.train(ALL, run_dir, signal_at=(signal.SIGKILL, 3))
    assert ended.status == -signal.SIGKILL
    assert trainings.train(ALL, run_dir, resume=True).status == 0
    resumed, unbroken = (
        (folder / f"checkpoint-{STEPS}" / "model.safetensors").read_bytes()
        for folder in (run_dir, alone)
    )
    assert resumed == unbroken
    assert losses(run_dir) == losses(alone)


@pytest.mark.skipif(sys.platform != "linux", reason="DeepSpeed is Linux's")
def test_two_processes_under_zero3_learn_what_one_learns_also_after_a_kill(
    trainings, alone, tmp_path
):
    run_dir, how = tmp_path / "run", {"spread": (2, "zero3")}
    halved = {**ALL, "gradient_accumulation_steps": 1}
    ended = trainings.train(halved, run_dir, signal_at=(signal.SIGKILL, 3), to=1, **how)
    assert ended.status == 1
    ended = trainings.train(halved, run_dir, resume=True, **how)
    assert (ended.status, ended.printed) == (0, ""), ended
    assert losses(run_dir) == pytest.approx(losses(alone), rel=1e-4)
    mine, others = weights(run_dir), weights(alone)
    before = dict(loading.load_model("pico-chat", 32).named_parameters())
    assert mine.keys() == others.keys()
    apart = sum((mine[name] - others[name]).square().sum() for name in mine)
    moved = sum((others[name] - before[name].data).square().sum() for name in mine)
    assert (apart / moved).sqrt() < 0.01
    files = set(os.listdir(run_dir / f"checkpoint-{STEPS}"))
    assert FILES - {"optimizer.pt", "rng_state.pth"} <= files
    assert not [name for name in files if name.endswith(".py")]


# --- what can be done with it ---


def test_a_run_and_a_checkpoint_stand_for_their_model(alone):
    last = str(alone / f"checkpoint-{STEPS}")
    of_run, of_checkpoint = targets.find_target(str(alone)), targets.find_target(last)
    assert of_run == of_checkpoint == targets.Target(last, None, 32, "Ada")
    model, tokenizer = targets.open_target(of_run)
    assert tokenizer.chat_template == rows.load_tokenizer(config.check_config(ALL)).chat_template
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(model.get_parameter(name), weights(alone)[name])
    assert checkpoints.find_adapter(alone).name == f"checkpoint-{STEPS}"


def test_the_exported_model_has_the_type_of_its_base_and_no_optimizer(alone, tmp_path):
    made = whole.export_model(alone / f"checkpoint-{STEPS}", tmp_path / "made")
    assert set(os.listdir(made)) == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    base = json.loads((alone / f"checkpoint-{STEPS}" / "tunebook_base.json").read_text())
    assert base["dtype"] == str(adapters.stored_dtype("pico-chat")).removeprefix("torch.")
    exact = weights(alone)
    for name, weight in load_file(made / "model.safetensors").items():
        assert torch.equal(weight, exact[name].to(adapters.stored_dtype("pico-chat")))
    with pytest.raises(RunError, match="made exists already"):
        whole.export_model(alone / f"checkpoint-{STEPS}", made)


def test_it_is_not_taken_for_an_adapter(alone, light_run, tmp_path):
    folder = alone / f"checkpoint-{STEPS}"
    for refused in (
        lambda: adapters.export_adapter(folder, tmp_path / "out"),
        lambda: adapters.merge_adapter("pico-chat", folder, tmp_path / "out"),
    ):
        with pytest.raises(AdapterError, match=r"holds a whole model.*\n.*tunebook convert model"):
            refused()
    with pytest.raises(AdapterError, match="holds no whole model"):
        whole.export_model(checkpoints.find_adapter(light_run), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_prediction_counts_all_weights_and_says_what_has_no_effect(small_data, monkeypatch):
    monkeypatch.setattr(rows, "DATA_DIR", small_data)
    made = prediction.Predictor().predict(config.check_config({**ALL, "r": 8, "lora_alpha": 16}))
    pico = loading.load_model("pico-chat", 32)
    assert made.trainable == made.weights == sum(weight.numel() for weight in pico.parameters())
    assert "method full makes no adapter: r, lora_alpha have no effect." in made.warnings
    # fp32: 4 bytes of weight, 8 of AdamW; at the peak the gradients or the activations beside them
    assert made.memory.weights == 4 * made.weights
    assert made.memory.optimizer == 8 * made.weights
    assert made.memory.adapter == 0


def test_in_16_bits_on_a_gpu_it_computes_in_bf16_and_keeps_fp32(
    small_data, alone, tmp_path, monkeypatch
):
    monkeypatch.setattr(rows, "DATA_DIR", small_data)
    mixed = config.check_config({**ALL, "bits": 16, "max_steps": 2})
    assert not run.computes_in_bf16(mixed)  # on a CPU all is in fp32
    monkeypatch.setattr(run, "computes_in_bf16", lambda config: config.bits == 16)
    result = run.train(mixed, tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(losses(alone)[:2], rel=0.02)
    saved = load_file(result.last_dir / "model.safetensors")
    assert {weight.dtype for weight in saved.values()} == {torch.float32}
    # under DeepSpeed weights are in bf16 and their copy in fp32 is divided
    assert [run.full_bits(mixed, Spread(2, name)) for name in (None, "zero2")] == [32, 16]

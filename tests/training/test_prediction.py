"""What a run will do and need: against the run itself, and when data is read again."""

import json
from dataclasses import replace

import pytest
import torch

from course_lib.errors import ConfigError, DataError, ModelError, RunError
from course_lib.model import engines, estimate, kernels, loading
from course_lib.training import config, plan, prediction, rows, spread

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


@pytest.fixture
def data_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": TURNS}) + "\n")
    return path


def config_of(path, **values):
    usual = {"train_data": [{"path": str(path), "copies": 30}], "packing": "none", "r": 8}
    return config.check_config(usual | {"per_device_train_batch_size": 2} | values)


def test_the_numbers_are_those_of_the_run(data_file):
    settings = config_of(data_file, num_train_epochs=2, bits=32)
    made = prediction.Predictor().predict(settings)
    assert (made.plan.rows, made.plan.packs) == (30, 30)
    assert (made.plan.steps_per_epoch, made.plan.total_steps) == (15, 30)
    tuned = loading.attach_lora(loading.load_model("pico-chat", 32), 8, 16)
    assert (made.trainable, made.weights) == loading.trainable_share(tuned)
    assert made.warnings == ()
    tokenizer = rows.load_tokenizer(settings)
    assert made.plan == plan.plan_run(settings, rows.prepare_data(settings, tokenizer))


def test_the_facts_are_words(data_file):
    facts = prediction.Predictor().predict(config_of(data_file, num_train_epochs=2)).facts()
    assert list(facts) == ["rows", "packs", "steps", "loss", "trained", "memory"]
    assert facts["rows"] == "30 in an epoch; 0 cut (0.0%)"
    assert facts["packs"] == "30 in an epoch, 2 in an optimizer step"
    assert facts["steps"] == "30 optimizer steps in all, 15 in an epoch; warm-up 0"
    assert "at the peak" in facts["memory"]


def test_few_steps_and_cut_rows_are_told_in_plain_words(tmp_path):
    long = [TURNS[0], {"role": "assistant", "content": "and so on " * 30}]
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"messages": long}) + "\n")
    made = prediction.Predictor().predict(config_of(path, max_steps=4, max_length=32))
    assert made.warnings[0] == "4 optimizer steps in all: too few to change an answer."
    assert "cut at 32 tokens" in made.warnings[1]
    assert made.facts()["rows"] == "30 in an epoch; 30 cut (100.0%)"


def test_too_little_memory_is_told_with_what_helps(data_file, monkeypatch):
    monkeypatch.setattr(prediction, "free_bytes", lambda: 2**20)
    made = prediction.Predictor().predict(config_of(data_file, bits=16, num_train_epochs=2))
    assert made.warnings[-1].endswith(
        "and 1.0 MiB are free: lower max_length or per_device_train_batch_size, "
        "or set gradient_checkpointing, or use bits: 4."
    )


def test_data_is_read_again_only_when_it_or_its_fields_change(data_file, monkeypatch):
    reads = []
    read = rows.prepare_data
    monkeypatch.setattr(rows, "prepare_data", lambda *a: reads.append(1) or read(*a))
    predictor = prediction.Predictor()
    for values in ({}, {"r": 4}, {"learning_rate": 1e-4}, {"max_steps": 30}, {"bits": 16}):
        predictor.predict(config_of(data_file, **values))
    assert len(reads) == 1
    predictor.predict(config_of(data_file, max_length=64))
    assert len(reads) == 2
    with data_file.open("a") as file:
        file.write(json.dumps({"messages": TURNS}) + "\n")
    assert predictor.predict(config_of(data_file, max_length=64)).plan.rows == 60
    assert len(reads) == 3


def test_reading_tells_each_row_and_can_be_ended(data_file):
    seen = []
    settings = config_of(data_file)
    prediction.Predictor().predict(settings, seen.append)
    assert seen == list(range(1, 31))

    def stop(count):
        if count == 3:
            raise KeyboardInterrupt

    predictor = prediction.Predictor()
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(settings, stop)
    assert predictor.predict(settings).plan.rows == 30


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"base_model": "no-such"}, ModelError, "No model at 'no-such'"),
        ({"target_modules": ["q_prj"]}, ModelError, "No layer is called q_prj"),
        ({"train_data": [{"path": "no.jsonl"}]}, DataError, "neither beside the config"),
        ({"train_data": []}, ConfigError, "nothing to train on"),
        ({"warmup_steps": 500}, RunError, "never passes"),
    ],
)
def test_what_training_would_refuse_is_told_with_its_field(data_file, values, error, match):
    predictor = prediction.Predictor()
    with pytest.raises(error, match=match):
        predictor.predict(config_of(data_file, **values))
    assert [predictor.field] == list(values)
    assert predictor.predict(config_of(data_file)).plan.rows == 30


def test_a_billion_steps_are_predicted_at_once(data_file):
    made = prediction.Predictor().predict(config_of(data_file, max_steps=10**9))
    assert made.plan.peak_rate == 1e-3


def test_memory_follows_the_config(data_file):
    small = prediction.Predictor().predict(config_of(data_file)).memory
    large = prediction.Predictor().predict(config_of(data_file, max_length=512)).memory
    assert large.logits == 2 * small.logits
    assert large.activations > 2 * small.activations  # the mask grows with the square
    assert (large.weights, large.optimizer) == (small.weights, small.optimizer)
    shown = prediction.Predictor().predict(config_of(data_file)).facts()["memory"]
    assert all(part in shown for part in ("(weights ", "adapter and optimizer ", "logits "))
    assert isinstance(small, estimate.Memory)


def test_a_setting_says_what_the_run_would_do(data_file):
    settings = config_of(data_file, bits=16, max_length=64, gradient_accumulation_steps=3)
    made = prediction.setting_of(settings, spread.Spread(2, "zero2_offload"))
    assert (made.method, made.bits, made.tokens, made.micro_batches) == ("lora", 16, 128, 3)
    assert (made.gpus, made.zero, made.offload, made.is_packed) == (2, 2, ("optimizer",), True)
    alone = prediction.setting_of(config_of(data_file, per_device_train_batch_size=1))
    assert (alone.method, alone.is_packed, alone.gpus, alone.zero) == ("qlora", False, 1, 0)
    with pytest.raises(ConfigError, match="cannot be divided"):
        prediction.setting_of(config_of(data_file), spread.Spread(2, "zero3"))


def test_on_a_gpu_memory_is_that_of_the_kernels_it_would_choose(data_file, monkeypatch):
    settings = config_of(data_file, optim="adamw_8bit")
    monkeypatch.setattr(loading, "compute_dtype", lambda: torch.bfloat16)
    on_cpu = prediction.setting_of(settings)
    fused = replace(engines.tunebook_engine(2), has_fused_adapters=True)
    assert (on_cpu.engine, on_cpu.optimizer) == (fused, "adamw_8bit")
    machine = kernels.Machine((9, 0), has_liger=True)
    monkeypatch.setattr(kernels, "find_machine", lambda: machine)
    chosen = prediction.setting_of(settings).engine
    assert replace(chosen, about="") == replace(engines.KERNELS, about="")
    off = prediction.setting_of(config_of(data_file, kernels="off")).engine
    assert off == engines.tunebook_engine(2)

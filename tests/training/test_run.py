import importlib.metadata
import json
import os
import re

import pytest
import torch
import yaml

from course_lib import files
from course_lib.commands import targets
from course_lib.data import named_templates
from course_lib.data.packing import Pack
from course_lib.errors import DataError, ModelError, RunError
from course_lib.model import adapters, loading
from course_lib.training import checkpoints, endings, folder, plan, run
from course_lib.training.config import TrainConfig, check_config, load_config
from tests.training import runs
from tests.training.conftest import FULL, LIGHT, train_whole

LAST = FULL["max_steps"]
CHECKPOINT_FILES = {
    "adapter_config.json",
    "adapter_model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "tunebook_base.json",
}
TORCH_FILES = {"optimizer.pt", "rng_state.pth", "scheduler.pt"}


# --- the folder that a run leaves ---


def test_a_run_folder_holds_what_is_promised_and_nothing_else(full_run, light_run):
    always = {"config.yaml", "environment.json", "log.jsonl"}
    kept = {f"checkpoint-{c.step}" for c in checkpoints.list_checkpoints(full_run)}
    assert set(os.listdir(full_run)) == always | kept | {"samples.jsonl", "scores.jsonl"}
    # nobody asked LIGHT for samples or scores
    assert set(os.listdir(light_run)) == always | {"checkpoint-4", "checkpoint-6"}
    for run_dir in (full_run, light_run):
        for checkpoint in checkpoints.list_checkpoints(run_dir):
            assert set(os.listdir(checkpoint.path)) == CHECKPOINT_FILES


def test_the_state_files_of_torch_load_without_running_code_and_nothing_else_is_pickled(full_run):
    for path in full_run.rglob("*"):
        if path.name in TORCH_FILES:
            runs.load_state(path)
        elif path.is_file():
            assert path.suffix in (".json", ".jsonl", ".yaml", ".safetensors"), path


def test_no_file_of_a_run_names_this_machine(full_run):
    places = (str(full_run.parent), str(files.REPO_DIR), os.path.expanduser("~"))
    for path in full_run.rglob("*"):
        if path.suffix in (".json", ".jsonl", ".yaml"):
            assert not any(place in path.read_text("utf-8") for place in places), path


def test_the_config_in_the_folder_is_the_whole_config(full_run):
    assert load_config(full_run / "config.yaml") == check_config(FULL)
    values = yaml.safe_load((full_run / "config.yaml").read_text("utf-8"))
    assert set(values) == set(TrainConfig.model_fields)


def test_the_environment_says_what_the_numbers_depend_on(full_run):
    environment = json.loads((full_run / "environment.json").read_text("utf-8"))
    assert environment["packages"]["torch"] == importlib.metadata.version("torch")
    assert environment["base_fingerprint"] == adapters.base_fingerprint("pico-chat")
    assert environment["gpu"] is None
    assert environment["threads"] == 1


def test_the_newest_checkpoints_and_the_best_are_kept(full_run, light_run):
    scores = checkpoints.overall_scores(full_run)
    saved = [2, 4, 6, 8, 10, 11]  # every second step, and the last one
    best = max(saved, key=lambda step: (scores[step], step))
    kept = [c.step for c in checkpoints.list_checkpoints(full_run)]
    assert kept == sorted({best, 10, 11})
    assert checkpoints.find_adapter(full_run) == full_run / f"checkpoint-{best}"
    assert [c.step for c in checkpoints.list_checkpoints(light_run)] == [4, 6]


# --- its records ---


def logs(run_dir):
    return [r for r in runs.records(run_dir, "log") if r["event"] == "log"]


def test_the_loss_falls(full_run, light_run):
    for run_dir in (full_run, light_run):
        losses = [record["loss"] for record in logs(run_dir)]
        assert sum(losses[-2:]) < 0.9 * sum(losses[:2])


def test_the_log_begins_ends_and_names_each_checkpoint(full_run):
    records = runs.records(full_run, "log")
    assert (records[0]["event"], records[0]["total_steps"]) == ("begin", LAST)
    assert (records[-1]["event"], records[-1]["step"]) == ("end", LAST)
    saved = [r["step"] for r in records if r["event"] == "checkpoint"]
    assert saved == [2, 4, 6, 8, 10, 11]
    assert [r["step"] for r in records] == sorted(r["step"] for r in records)


def test_each_log_line_has_loss_rate_speed_and_memory(full_run):
    wanted = {"loss", "learning_rate", "grad_norm", "tokens", "memory_gib", "train_s", "time"}
    lines = logs(full_run)
    assert [line["step"] for line in lines] == list(range(1, LAST + 1))
    for line in lines:
        assert wanted | {"train_cpu_s"} <= set(line)
        assert line["memory_gib"] > 0
    assert [line["train_s"] for line in lines] == sorted(line["train_s"] for line in lines)
    assert [line["tokens"] for line in lines] == sorted(line["tokens"] for line in lines)


def test_samples_and_scores_do_not_count_as_training_time(full_run):
    first, last = logs(full_run)[0], logs(full_run)[-1]
    wall = last["time"] - first["time"]
    assert last["train_s"] - first["train_s"] < wall


@pytest.mark.parametrize(("name", "config"), [("full_run", FULL), ("light_run", LIGHT)])
def test_each_step_uses_the_rate_that_was_planned(name, config, request):
    checked = check_config(config)
    rates = plan.learning_rates(checked, config["max_steps"], warmup_steps=0)
    assert [line["learning_rate"] for line in logs(request.getfixturevalue(name))] == rates


def test_samples_are_asked_before_the_start_every_few_steps_and_at_the_end(full_run):
    samples = runs.records(full_run, "samples")
    assert [(s["step"], s["prompt"]) for s in samples] == [
        (step, prompt) for step in (0, 4, 8, LAST) for prompt in FULL["sample_prompts"]
    ]
    assert all(sample["reply"] for sample in samples)


def test_the_base_and_each_checkpoint_are_scored(full_run):
    scores = runs.records(full_run, "scores")
    assert [score["step"] for score in scores] == [0, 2, 4, 6, 8, 10, 11]
    for score in scores:
        assert score["n"] == {"validation": 2, "retained": 2}
        assert score["overall"] == min(score["validation"], score["retained"])
    assert scores[0]["validation"] == 0
    assert scores[-1]["validation"] > 0  # it learned something


# --- what can be done with it ---


def test_a_checkpoint_gives_the_replies_that_were_sampled_at_its_step(full_run, pico_tokenizer):
    base = loading.load_model("pico-chat", bits=4)
    model = adapters.load_adapter(base, full_run / f"checkpoint-{LAST}", "pico-chat")
    talks = [[{"role": "user", "content": p}] for p in FULL["sample_prompts"]]
    replies = run.generation.reply_to_all(model, pico_tokenizer, talks, run.SAMPLE_SETTINGS)
    sampled = [s["reply"] for s in runs.records(full_run, "samples") if s["step"] == LAST]
    assert [reply.text for reply in replies] == sampled


def test_a_checkpoint_is_exported_as_three_files(full_run, tmp_path):
    out_dir = adapters.export_adapter(full_run / f"checkpoint-{LAST}", tmp_path / "adapter")
    assert set(os.listdir(out_dir)) == CHECKPOINT_FILES - TORCH_FILES - {"trainer_state.json"}
    config = json.loads((out_dir / "adapter_config.json").read_text("utf-8"))
    assert (config["base_model_name_or_path"], config["r"]) == ("pico-chat", 8)


# --- the same, and not the same ---


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(
    trainings, light_run, tmp_path
):
    again = train_whole(trainings, LIGHT, tmp_path / "again")
    other = train_whole(trainings, LIGHT | {"seed": 1}, tmp_path / "other")
    for step in (4, 6):
        assert runs.adapter_bytes(again, step) == runs.adapter_bytes(light_run, step)
        assert runs.adapter_bytes(other, step) != runs.adapter_bytes(light_run, step)
    first, second = (
        (d / "checkpoint-6" / "adapter_config.json").read_bytes() for d in (again, light_run)
    )
    assert first == second


def test_samples_and_scores_do_not_change_the_training(trainings, full_run, tmp_path):
    silent = train_whole(
        trainings, FULL | {"suite": "none", "sample_prompts": []}, tmp_path / "silent"
    )
    assert runs.adapter_bytes(silent, LAST) == runs.adapter_bytes(full_run, LAST)


def test_gradient_checkpointing_recomputes_the_same_training(trainings, light_run, tmp_path):
    config = LIGHT | {"gradient_checkpointing": True}
    saved_memory = train_whole(trainings, config, tmp_path / "run")
    losses = [[line["loss"] for line in logs(d)] for d in (saved_memory, light_run)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_cpu_computes_the_same_bits_with_kernels_on_and_off(trainings, light_run, tmp_path):
    assert "kernels" not in runs.records(light_run, "log")[0]
    off = train_whole(trainings, LIGHT | {"kernels": "off"}, tmp_path / "off")
    for step in (4, 6):
        assert runs.adapter_bytes(off, step) == runs.adapter_bytes(light_run, step)


def test_adamw_in_8_bits_takes_nearly_the_same_steps(trainings, light_run, tmp_path):
    small = train_whole(trainings, LIGHT | {"optim": "adamw_8bit"}, tmp_path / "run")
    losses = [[line["loss"] for line in logs(d)] for d in (small, light_run)]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert runs.adapter_bytes(small, 6) != runs.adapter_bytes(light_run, 6)


def test_packs_and_single_rows_of_one_step_have_the_same_loss(trainings, tmp_path):
    """One step over all rows: packing changes the padding, not what is learned."""
    config = LIGHT | {"max_steps": 1, "lora_dropout": 0.0, "gradient_accumulation_steps": 1}
    config |= {"per_device_train_batch_size": 20}
    losses = []
    for packing in (False, True):
        run_dir = tmp_path / str(packing)
        train_whole(trainings, config | {"packing": packing}, run_dir)
        losses.append(logs(run_dir)[0]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_the_chat_template_of_a_run_goes_with_its_adapter(trainings, tmp_path, pico_tokenizer):
    """Chat with the adapter, an export or a merged model writes what training wrote."""
    config = LIGHT | {"max_steps": 1, "prompt_template": "vicuna"}
    train_whole(trainings, config, tmp_path / "run")
    exported = adapters.export_adapter(tmp_path / "run" / "checkpoint-1", tmp_path / "adapter")
    adapters.merge_adapter("pico-chat", exported, tmp_path / "merged")
    expected = named_templates.with_template(pico_tokenizer, "vicuna").chat_template
    for place in ("run", "run/checkpoint-1", "adapter", "merged"):
        _, tokenizer = targets.open_target(targets.find_target(str(tmp_path / place)))
        assert tokenizer.chat_template == expected


# --- how the Trainer is set up ---


@pytest.fixture(scope="module")
def job(small_data, tmp_path_factory):
    source = {"path": str(small_data / "assistant" / "train.jsonl"), "copies": 3}
    config = check_config(LIGHT | {"train_data": [source], "bits": 4, "packing": True})
    return run.prepare(config, tmp_path_factory.mktemp("job"))


def test_the_trainer_hands_the_model_nothing_that_would_mix_packed_rows(job):
    trainer = run.build_trainer(run.build_model(job.config), job)
    batch = next(iter(trainer.get_train_dataloader()))
    assert set(batch) == {"input_ids", "labels", "position_ids"}  # no attention mask
    assert trainer.model.config.use_cache is False
    assert trainer.model.training
    flags = [getattr(m, "support_avx512bf16_for_cpu", False) for m in trainer.model.modules()]
    assert not any(flags)


def test_preparing_a_run_writes_nothing(job):
    assert os.listdir(job.run_dir) == []


PACKS = [
    Pack((5, 6, 7), (-100, 6, 7), (0, 1, 2), (3,)),
    Pack((8, 9), (-100, -100), (0, 0), (1, 1)),
]


def test_batches_on_a_gpu_are_padded_to_their_longest_pack(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    batch = run.make_collator(pad_token_id=0)(PACKS)
    assert {k: v.tolist() for k, v in batch.items()} == {
        "input_ids": [[5, 6, 7], [8, 9, 0]],
        "labels": [[-100, 6, 7], [-100, -100, -100]],
        "position_ids": [[0, 1, 2], [0, 0, 0]],
    }


def test_batches_on_a_cpu_come_in_few_widths(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    batch = run.make_collator(pad_token_id=0)(PACKS)
    assert {k: v.tolist() for k, v in batch.items()} == {
        "input_ids": [[5, 6, 7] + [0] * 29, [8, 9] + [0] * 30],
        "labels": [[-100, 6, 7] + [-100] * 29, [-100] * 32],
        "position_ids": [[0, 1, 2, *range(29)], [0, 0, *range(30)]],
    }
    long = Pack((1,) * 33, (1,) * 33, tuple(range(33)), (33,))
    assert run.make_collator(pad_token_id=0)([long])["input_ids"].shape == (1, 64)


def test_the_adapters_start_depends_on_the_seed_alone(job):
    def start(seed):
        torch.rand(7)  # what was drawn before must not matter
        model = run.build_model(job.config.model_copy(update={"seed": seed}))
        return {n: p for n, p in model.named_parameters() if p.requires_grad}

    first, again, other = start(3), start(3), start(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# --- bad input leaves no folder behind ---


@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        ({"base_model": "pico-chta"}, ModelError, "No model at 'pico-chta'"),
        ({"target_modules": ["q_prj"]}, ModelError, "No layer is called q_prj"),
        ({"train_data": [{"path": "none.jsonl"}]}, DataError, "none.jsonl"),
        ({"warmup_steps": 1000}, RunError, "never passes"),
    ],
)
def test_a_run_that_cannot_start_leaves_no_folder(job, tmp_path, values, error, match):
    config = check_config(job.config.model_dump() | values)
    with pytest.raises(error, match=match) as caught:
        run.train(config, tmp_path / "runs" / "new")
    assert caught.value.next_step
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_empty_is_refused_and_untouched(job, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        run.train(job.config, tmp_path)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_going_on_with_another_config_is_refused_and_changes_nothing(full_run):
    before = {p: p.stat().st_mtime_ns for p in full_run.rglob("*")}
    with pytest.raises(RunError, match=re.escape("learning_rate was 0.003, is 0.1")):
        run.train(check_config(FULL | {"learning_rate": 0.1}), full_run, resume=True)
    assert {p: p.stat().st_mtime_ns for p in full_run.rglob("*")} == before
    assert folder.has_ended(full_run)


# --- a full disk, by what the libraries say of it ---


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(28, "No space left on device"), True),
        (OSError(27, "File too large"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file data/3"), True),
        (RuntimeError("basic_ios::clear: iostream error"), True),
        (OSError(13, "Permission denied"), False),
        (RuntimeError("CUDA out of memory"), False),
        (None, False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(error, is_full):
    assert endings.is_disk_full(error) == is_full
    if error:
        for link in ("__cause__", "__context__"):
            outer = RuntimeError("unexpected pos 64 vs 0")
            setattr(outer, link, error)
            assert endings.is_disk_full(outer) == is_full

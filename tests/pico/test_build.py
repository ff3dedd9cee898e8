"""One command builds everything, whole or not at all."""

import argparse
import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from course_lib import files
from course_lib.errors import RunError
from course_lib.evaluation import questions as evaluation_questions
from course_lib.pico import build

FILES = ["README.md", "base", "build.json", "chat", "questions.jsonl", "replay.jsonl"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pico") / "toy"
    lines, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)  # for a model of this size, more threads only wait for each other
    record = build.build(folder, build.TINY, workers=1, report=lines.append)
    torch.set_num_threads(threads)
    return folder, record, lines


def test_all_files_are_there(toy):
    folder, _, _ = toy
    assert sorted(p.name for p in folder.iterdir()) == sorted([*FILES, "validation.jsonl"])


@pytest.mark.parametrize("name", ["base", "chat"])
def test_models_are_small_bf16_safetensors_that_load(toy, name):
    folder, record, _ = toy
    model = AutoModelForCausalLM.from_pretrained(folder / name)
    assert model.dtype == torch.bfloat16
    assert model.num_parameters() == record["parameters"]
    assert model.generation_config.eos_token_id == [3, 1]
    assert AutoTokenizer.from_pretrained(folder / name).chat_template
    assert not list((folder / name).glob("*.bin"))
    assert sum(path.stat().st_size for path in (folder / name).iterdir()) < 20e6


def test_base_and_chat_differ(toy):
    folder, _, _ = toy
    models = [AutoModelForCausalLM.from_pretrained(folder / name) for name in ("base", "chat")]
    first, second = (model.model.embed_tokens.weight for model in models)
    assert not torch.equal(first, second)


def test_questions_and_replay_can_be_used(toy):
    folder, _, _ = toy
    assert len(evaluation_questions.load_questions(folder / "questions.jsonl")) > 1800
    replay = files.read_jsonl(folder / "replay.jsonl")
    assert len(replay) == build.REPLAY_DIALOGUES
    assert {"user", "assistant"} <= {m["role"] for m in replay[0]["messages"]}


def test_the_record_names_everything_that_the_build_depends_on(toy):
    folder, record, _ = toy
    assert json.loads((folder / "build.json").read_text(encoding="utf-8")) == record
    assert record["settings"]["seed"] == 0
    assert record["corpus"]["dialogues"]["texts"] + record["corpus"]["dialogues"]["dropped"] == 240
    assert len(record["corpus"]["plain"]["sha256"]) == 64
    assert record["losses"]["chat"]["step"] == build.TINY.chat.steps
    assert set(record["packages"]) == set(build.PACKAGES)
    assert record["seconds"]["total"] >= record["seconds"]["chat"]


def test_the_card_shows_command_scores_and_20_conversations(toy):
    folder, record, _ = toy
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert record["command"] in text
    assert "| sums that were not trained |" in text
    assert "\n20.\n" in text
    assert "\n21.\n" not in text


def test_each_part_is_reported(toy):
    _, _, lines = toy
    for part in ("dialogues", "plain", "tokenizer", "base", "chat", "scores"):
        assert f"{part} ..." in lines


def test_an_existing_folder_is_not_touched(tmp_path):
    with pytest.raises(RunError, match="exists already"):
        build.build(tmp_path, build.TINY)


def test_a_model_that_is_too_large_is_refused(tmp_path, monkeypatch):
    for name in ("base", "chat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"0" * 2_000_000)
    assert build._check_size(tmp_path) == 2.0
    monkeypatch.setattr(build, "MAX_MODEL_MB", 1)
    with pytest.raises(RunError, match=r"2\.0 MB; the limit is 1 MB"):
        build._check_size(tmp_path)


def options(**given):
    names = ("dialogues", "documents", "vocab", "steps_base", "steps_chat", "seed", "tiny")
    return argparse.Namespace(**{**dict.fromkeys(names), **given})


def test_options_change_what_they_name_and_nothing_else():
    settings = build.parse_settings(options(dialogues=10, vocab=2000, steps_chat=7, seed=3))
    full = build.BuildSettings()
    assert (settings.dialogues, settings.vocab_size, settings.seed) == (10, 2000, 3)
    assert (settings.chat.steps, settings.chat.learning_rate) == (7, full.chat.learning_rate)
    assert (settings.base, settings.documents) == (full.base, full.documents)


def test_tiny_is_a_starting_point_for_other_options():
    settings = build.parse_settings(options(tiny=True, seed=5))
    assert settings == build.replace(build.TINY, seed=5)


def test_the_command_repeats_the_settings():
    settings = build.parse_settings(options(dialogues=10, seed=3))
    text = build.command(settings)
    assert "--dialogues 10 " in text
    assert text.endswith("--seed 3")
    assert "--tiny" not in text
    assert "--tiny" in build.command(build.TINY)

"""`tunebook fetch`: names, hubs, folders, and what it says to do next."""

import os
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from course_lib.data import hub_files
from course_lib.files import DATA_DIR
from course_lib.model import loading


def test_a_fetched_model_works_as_base_model(tunebook, hub, tmp_path):
    made = tmp_path / "made"
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes, num_attention_heads=2, vocab_size=6144)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(made)
    loading.load_tokenizer("pico-chat").save_pretrained(made)
    hub.repos["models/Qwen/Qwen3-0.6B"] = {p.name: p.read_bytes() for p in made.iterdir()}
    folder = tmp_path / "models" / "qwen3_0_6b"
    told = tunebook("fetch", "qwen3_0_6b", "--to", folder)
    assert told.status == 0
    assert "sums checked" in told.out
    assert told.out.endswith(f"-> In a config: base_model: {folder}\n")
    assert loading.load_model(str(folder), bits=32).config.hidden_size == 64
    assert loading.load_tokenizer(str(folder)).chat_template
    again = tunebook("fetch", folder)
    assert "nothing to fetch" in again.out
    cached = tunebook("fetch", "Qwen/Qwen3-0.6B")
    assert cached.out.endswith("-> In a config: base_model: Qwen/Qwen3-0.6B\n")


def test_a_data_set_comes_into_a_folder_and_its_file_can_be_inspected(
    tunebook,
    hub,
    tmp_path,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    rows = (DATA_DIR / "oasst1" / "held_out.jsonl").read_bytes()
    hub.repos["datasets/timdettmers/openassistant-guanaco"] = {
        "openassistant_best_replies_eval.jsonl": rows,
        "openassistant_best_replies_train.jsonl": rows,
    }
    told = tunebook("fetch", "hf:timdettmers/openassistant-guanaco:train")
    assert told.status == 0
    path = "fetched/openassistant-guanaco/openassistant_best_replies_train.jsonl"
    assert f"-> In a config: path: {path}\n" in told.out
    assert f"-> tunebook data inspect {path}\n" in told.out
    assert tunebook("data", "inspect", path).status == 0


@pytest.mark.parametrize(
    ("words", "message", "next_step"),
    [
        (["qwen_0_6b"], "no model called 'qwen_0_6b'", "Did you mean qwen3_0_6b"),
        (["hf:alpaca"], "no data set's id", "hf:owner/name"),
        (["hf:a/b", "--from", "modelscope"], "names a hub, and --from another", "Leave one out"),
        (["a/b/c"], "is no id on a hub", "owner/name"),
        (["me/other"], "no model or data set 'me/other'", "hf auth login"),
        (["me/model", "--to", "{file}"], "is a file", "Name a folder"),
    ],
)
def test_what_cannot_be_fetched_is_told(
    tunebook,
    hub,
    tmp_path,
    words,
    message,
    next_step,
):
    (tmp_path / "a_file").write_text("here")
    told = tunebook("fetch", *(word.format(file=tmp_path / "a_file") for word in words))
    assert told.status == 1
    assert message in told.err
    assert next_step in told.err.split("\n  -> ")[1]
    assert "Traceback" not in told.err


def test_a_mirror_is_named_by_the_environment(hub, tmp_path):
    mirror = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    words = ["-m", "course_lib.cli", "fetch", "me/model", "--to", str(tmp_path / "m")]
    ended = subprocess.run(
        [sys.executable, *words], env={**os.environ, **mirror}, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert "4 files, 0.5 MiB, sums checked" in ended.stdout
    assert (tmp_path / "m" / "model.safetensors").is_file()


def test_what_is_here_is_not_fetched(tunebook, tmp_path):
    assert "base_model: pico-chat" in tunebook("fetch", "pico-chat").out
    (tmp_path / "config.json").write_text("{}")
    assert f"base_model: {tmp_path}" in tunebook("fetch", tmp_path).out
    assert "path: " in tunebook("fetch", DATA_DIR / "oasst1" / "train.jsonl").out


def test_modelscope_gets_the_name_that_a_model_has_there(tunebook, tmp_path, monkeypatch):
    asked = []

    def load(hub_id, repo_type, to, has_pickles):
        asked.append((hub_id, repo_type, to, has_pickles))
        return hub_files.Fetched(tmp_path, "model", ("config.json",), 2)

    monkeypatch.setattr(hub_files, "fetch_modelscope", load)
    words = ["internlm2_chat_1_8b", "--from", "modelscope", "--to", tmp_path / "m", "--pickles"]
    told = tunebook("fetch", *words)
    assert (told.status, asked[0][0]) == (0, "Shanghai_AI_Laboratory/internlm2-chat-1_8b")
    assert asked[0][1:] == ("model", tmp_path / "m", True)
    assert told.out.endswith(f"base_model: {tmp_path}\n")
    tunebook("fetch", "modelscope:damo/MSAgent-Bench:train", "--to", tmp_path / "d")
    assert asked[1][:2] == ("damo/MSAgent-Bench", "dataset")

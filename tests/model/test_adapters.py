import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from course_lib import files
from course_lib.chat import generation
from course_lib.errors import AdapterError, ConfigError, RunError
from course_lib.model import adapters, loading

EXPORTED = ["adapter_config.json", "adapter_model.safetensors", "tunebook_base.json"]
QUESTIONS = ["What is the capital of France?", "你好", "Who are you?"]
ONE_CPU = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
IDS = torch.randint(4, 6000, (4, 64), generator=torch.Generator().manual_seed(1))


def attach_filled_lora(base_model):
    """An adapter that changes the logits a lot; a fresh one would change nothing."""
    model = loading.attach_lora(loading.load_model(base_model, bits=32), r=8, lora_alpha=16)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return model.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder as a run's checkpoints are: an adapter, and what only a resumed run needs."""
    folder = tmp_path_factory.mktemp("run") / "checkpoint-3"
    attach_filled_lora("pico-chat").save_pretrained(folder)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"):
        (folder / name).write_text("{}")
    (folder / "training_args.bin").write_bytes(b"pickle")
    adapters.make_portable(folder, "pico-chat")
    return folder


@pytest.fixture(scope="module")
def tuned(checkpoint):
    """Base + adapter, in fp32."""
    base = loading.load_model("pico-chat", bits=32)
    return adapters.load_adapter(base, checkpoint, "pico-chat")


@pytest.fixture(scope="module")
def merged_dir(checkpoint, tmp_path_factory):
    """The merged model, written in fp32."""
    out_dir = tmp_path_factory.mktemp("merged") / "model"
    return adapters.merge_adapter("pico-chat", checkpoint, out_dir, dtype=torch.float32)


@pytest.fixture
def adapter_copy(checkpoint, tmp_path):
    """An adapter that a test may damage."""
    return adapters.export_adapter(checkpoint, tmp_path / "adapter")


# --- merging ---


def test_merged_in_fp32_is_base_plus_adapter(tuned, merged_dir):
    merged = loading.load_model(str(merged_dir), bits=32)
    base = loading.load_model("pico-chat", bits=32)
    assert adapters.compare_logits(tuned, base, IDS) > 1  # the adapter does something
    assert adapters.compare_logits(tuned, merged, IDS) < 1e-4


def test_merged_in_the_bases_bf16_is_close(tuned, checkpoint, tmp_path):
    adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "merged")
    config = json.loads((tmp_path / "merged" / "config.json").read_text("utf-8"))
    assert config["dtype"] == "bfloat16"
    assert config["use_cache"] is True  # training had switched it off
    merged = loading.load_model(str(tmp_path / "merged"), bits=32)
    with torch.no_grad():
        largest = tuned(input_ids=IDS.to(tuned.device)).logits.abs().max().item()
    # bf16 keeps 8 bits, so each weight moves by up to 2^-9 of itself; six layers add that up to
    # 2^-7.6 of the largest logit, measured: 0.15 of 29
    assert adapters.compare_logits(tuned, merged, IDS) < largest * 2**-6


def test_a_merged_model_is_an_ordinary_folder(merged_dir):
    names = {path.name for path in merged_dir.iterdir()}
    assert names == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert_no_machine_path(merged_dir)


def test_a_small_shard_size_makes_several_files_that_load_as_one(checkpoint, tmp_path, capfd):
    out_dir = adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "m", max_shard_size="5MB")
    shards = sorted(out_dir.glob("*.safetensors"))
    assert [path.name for path in shards] == [
        f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]
    assert all(path.stat().st_size < 5_100_000 for path in shards)
    whole = adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "whole")
    models = [loading.load_model(str(folder), bits=32) for folder in (out_dir, whole)]
    assert adapters.compare_logits(*models, IDS) == 0
    assert "Writing" not in capfd.readouterr().err  # no library's progress bars


@pytest.mark.parametrize("size", ["lots", "", "2", "GB", "0GB", "-1GB", "2GB ", "1.5GB"])
def test_a_shard_size_that_is_none_is_refused_before_anything_is_loaded(
    checkpoint, tmp_path, size, monkeypatch
):
    monkeypatch.setattr(loading, "load_model", None)
    with pytest.raises(ConfigError, match=f"max_shard_size is '{re.escape(size)}'") as caught:
        adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "m", max_shard_size=size)
    assert "500MB" in caught.value.next_step
    assert os.listdir(tmp_path) == []


# --- without the course's library ---

PLAIN = """
import json, sys
import peft, torch, transformers

merged_dir, base_dir, adapter_dir, questions = sys.argv[1:]
tokenizer = transformers.AutoTokenizer.from_pretrained(merged_dir)
base = transformers.AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
models = {
    "merged": transformers.AutoModelForCausalLM.from_pretrained(merged_dir),
    "adapter": peft.PeftModel.from_pretrained(base, adapter_dir),
}
replies = {}
for name, model in models.items():
    replies[name] = []
    for question in json.loads(questions):
        talk = [{"role": "user", "content": question}]
        inputs = tokenizer.apply_chat_template(
            talk, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        output = model.generate(**inputs, do_sample=False, max_new_tokens=24)
        new = output[0, inputs["input_ids"].shape[1]:]
        replies[name].append(tokenizer.decode(new, skip_special_tokens=True))
assert "course_lib" not in sys.modules
print(json.dumps(replies))
"""


def test_plain_transformers_and_plain_peft_give_the_same_replies(
    tuned, merged_dir, checkpoint, tmp_path, pico_tokenizer
):
    adapter_dir = adapters.export_adapter(checkpoint, tmp_path / "adapter")
    base_dir = files.DATA_DIR / "pico" / "chat"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", PLAIN, merged_dir, base_dir, adapter_dir]
    done = subprocess.run(
        [*map(str, command), json.dumps(QUESTIONS)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment | ONE_CPU,
    )
    assert done.returncode == 0, done.stderr
    talks = [[{"role": "user", "content": question}] for question in QUESTIONS]
    settings = generation.GenerationSettings(max_new_tokens=24)
    expected = [r.text for r in generation.reply_to_all(tuned, pico_tokenizer, talks, settings)]
    assert all(expected)
    assert json.loads(done.stdout.splitlines()[-1]) == {"merged": expected, "adapter": expected}


# --- exporting ---


def test_an_exported_adapter_is_three_files_without_pickle_or_machine_path(checkpoint, tmp_path):
    out_dir = adapters.export_adapter(checkpoint, tmp_path / "adapter")
    assert out_dir == tmp_path / "adapter"
    assert sorted(os.listdir(out_dir)) == EXPORTED
    assert_no_machine_path(out_dir)
    config = json.loads((out_dir / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "pico-chat"
    record = json.loads((out_dir / "tunebook_base.json").read_text("utf-8"))
    assert record == {
        "base_model": "pico-chat",
        "fingerprint": adapters.base_fingerprint("pico-chat"),
    }


def assert_no_machine_path(folder):
    for path in folder.glob("*.json"):
        text = path.read_text("utf-8")
        for place in (files.REPO_DIR, files.DATA_DIR, os.path.expanduser("~"), folder.parent):
            assert str(place) not in text, path.name


def test_an_exported_adapter_can_be_exported_again_and_gives_the_same_logits(
    tuned, adapter_copy, tmp_path
):
    again = adapters.export_adapter(adapter_copy, tmp_path / "again")
    base = loading.load_model("pico-chat", bits=32)
    loaded = adapters.load_adapter(base, again, "pico-chat")
    assert adapters.compare_logits(tuned, loaded, IDS) == 0
    assert not any(module.training for module in loaded.modules())


def test_the_adapters_config_has_one_order_of_targets(checkpoint):
    config = json.loads((checkpoint / "adapter_config.json").read_text("utf-8"))
    assert config["target_modules"] == sorted(config["target_modules"])
    assert not (checkpoint / "training_args.bin").exists()


# --- a folder that is there already, a write that fails ---

WRITERS = {
    "export": lambda source, out: adapters.export_adapter(source, out),
    "merge": lambda source, out: adapters.merge_adapter("pico-chat", source, out),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_an_existing_folder_is_refused_and_untouched(checkpoint, tmp_path, write):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="out exists already") as caught:
        write(checkpoint, tmp_path / "out")
    assert caught.value.next_step == "Give a new folder, or delete the old one."
    assert os.listdir(tmp_path / "out") == ["mine.txt"]
    assert os.listdir(tmp_path) == ["out"]


SMALL_FILES = """
import resource, sys
from course_lib.errors import RunError
from course_lib.model import adapters

export, merge, source, out_dir = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
for write in (
    lambda: adapters.export_adapter(source, export),
    lambda: adapters.merge_adapter("pico-chat", source, merge),
    lambda: adapters.merge_adapter("pico-chat", source, out_dir, max_shard_size="500KB"),
):
    try:
        write()
    except RunError as error:
        print(str(error).replace("\\n", " "))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as POSIX does")
def test_a_disk_without_room_leaves_nothing_and_one_clear_error(checkpoint, tmp_path):
    """Weight files cannot be written; the small files before and after them can."""
    outputs = [tmp_path / name for name in ("export", "merge", "shards")]
    command = [sys.executable, "-c", SMALL_FILES, *outputs[:2], checkpoint, outputs[2]]
    done = subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=files.REPO_DIR,
        env=os.environ | ONE_CPU,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    for path, line in zip(outputs, lines, strict=True):
        assert line.startswith(f"{path} could not be written: ")
        assert "File too large" in line
        assert line.endswith(
            "-> Free some disk space or give another folder; nothing was left half written."
        )
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failure_in_the_middle_of_a_merge_leaves_nothing(
    checkpoint, tmp_path, monkeypatch, error
):
    load_tokenizer = loading.load_tokenizer

    def fail_after_the_weights(name):
        (staging,) = tmp_path.iterdir()
        assert (staging / "model.safetensors").is_file()
        raise error("stop")

    monkeypatch.setattr(loading, "load_tokenizer", fail_after_the_weights)
    with pytest.raises(error, match="stop"):
        adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "merged")
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr(loading, "load_tokenizer", load_tokenizer)
    adapters.merge_adapter("pico-chat", checkpoint, tmp_path / "merged")  # it can be done again


# --- the adapter of another base ---


def test_two_bases_of_one_shape_have_different_fingerprints():
    chat, base = (adapters.base_fingerprint(name) for name in ("pico-chat", "pico-base"))
    assert chat != base
    assert re.fullmatch("[0-9a-f]{16}", chat)
    assert adapters.base_fingerprint("Qwen/Qwen3-0.6B") is None


def test_an_adapter_of_another_base_of_the_same_shape_is_refused(checkpoint, tmp_path):
    match = r"was trained on pico-chat \(weights .{16}\), not on pico-base \(weights .{16}\)"
    base = loading.load_model("pico-base", bits=32)
    with pytest.raises(AdapterError, match=match) as caught:
        adapters.load_adapter(base, checkpoint, "pico-base")
    assert "Load it on pico-chat, or train again on pico-base" in caught.value.next_step
    with pytest.raises(AdapterError, match=match):
        adapters.merge_adapter("pico-base", checkpoint, tmp_path / "merged")
    assert os.listdir(tmp_path) == []


def test_the_same_weights_under_another_name_are_the_same_base(checkpoint, tmp_path):
    copy = shutil.copytree(files.DATA_DIR / "pico" / "chat", tmp_path / "copy")
    adapters.check_same_base(checkpoint, str(copy))


def test_an_adapter_of_unknown_origin_must_at_least_fit(adapter_copy, tmp_path):
    (adapter_copy / "tunebook_base.json").unlink()
    assert adapters.read_base(adapter_copy) == {"base_model": "pico-chat", "fingerprint": None}
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=6,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "tiny")
    base = loading.load_model(str(tmp_path / "tiny"), bits=32)
    with pytest.raises(AdapterError, match="does not fit") as caught:
        adapters.load_adapter(base, adapter_copy, str(tmp_path / "tiny"))
    assert "pico-chat" in caught.value.next_step


# --- damaged adapters ---


def cut_off(path):
    path.write_bytes(path.read_bytes()[:10_000])


def drop_a_tensor(path):
    tensors = load_file(path)
    del tensors[min(tensors)]
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("name", "damage", "match"),
    [
        ("adapter_model.safetensors", cut_off, "damaged: Error while deserializing"),
        ("adapter_model.safetensors", drop_a_tensor, "damaged: Found missing adapter keys"),
        ("adapter_model.safetensors", os.remove, "adapter_model.safetensors missing"),
        ("adapter_config.json", os.remove, "adapter_config.json missing"),
        ("adapter_config.json", lambda path: path.write_text("{"), "damaged: Expecting"),
        ("tunebook_base.json", lambda path: path.write_text("{"), "base.json is damaged: JSON"),
        ("tunebook_base.json", lambda path: path.write_text("{}"), "base.json is damaged: Key"),
    ],
)
def test_a_damaged_adapter_is_refused(adapter_copy, name, damage, match):
    damage(adapter_copy / name)
    base = loading.load_model("pico-chat", bits=32)
    with pytest.raises(AdapterError, match=match) as caught:
        adapters.load_adapter(base, adapter_copy, "pico-chat")
    assert str(adapter_copy) in caught.value.message
    assert caught.value.next_step


def test_a_folder_without_adapter_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        with pytest.raises(AdapterError, match=f"{name} is no adapter") as caught:
            adapters.export_adapter(tmp_path / name, tmp_path / "out")
        assert "checkpoint-N" in caught.value.next_step
    assert os.listdir(tmp_path) == ["empty"]

import gc
import json
import subprocess
import sys
import weakref

import bitsandbytes as bnb
import pytest
import torch
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Qwen2ForCausalLM

from course_lib.errors import AdapterError, ModelError
from course_lib.model import adapters, internlm, internlm_weights, loading
from tests.model import internlm_files as files
from tests.model import tokenizer_files

LENGTH = files.LENGTH
FAMILIES = {"1": files.INTERNLM, "2": files.INTERNLM2, "3": files.INTERNLM3}
VARIANTS = {
    "1": (files.INTERNLM, {}),
    "1 without bias": (files.INTERNLM, {"bias": False}),
    "1 at its first release": (files.INTERNLM, {"rotary": None}),
    "1 without stretching": (files.INTERNLM, {"rotary": {"type": "origin", "base": 10000}}),
    "2": (files.INTERNLM2, {}),
    "2 with bias": (files.INTERNLM2, {"bias": True}),
    "2 without rope_scaling": (files.INTERNLM2, {"rope_scaling": None}),
    "2 with linear positions": (
        files.INTERNLM2,
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ),
    "2 with one key-value head": (files.INTERNLM2, {"num_key_value_heads": 1}),
    "2 with as many as heads": (files.INTERNLM2, {"num_key_value_heads": files.HEADS}),
    "3": (files.INTERNLM3, {}),
    "3 with every bias": (files.INTERNLM3, {"bias": True, "qkv_bias": True}),
    "3 with bias in q, k, v": (files.INTERNLM3, {"qkv_bias": True}),
}


def ids_of(count, size=files.VOCABULARY):
    return torch.randint(0, size, (count,), generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def logits_of(model, ids):
    return model(input_ids=ids[None]).logits[0].float()


def make(folder, variant="2", kind="safetensors", shards=3, **changes):
    family, own = VARIANTS[variant]
    config = files.config_of(family, **{**own, **changes})
    tensors = files.tensors_of(config)
    return files.write(folder, config, tensors, kind, shards), config, tensors


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


# --- the same numbers ---


@pytest.mark.parametrize("tokens", [LENGTH - 3, LENGTH, LENGTH + 1, 3 * LENGTH])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_equal_those_worked_out_by_hand(tmp_path, variant, tokens):
    folder, config, tensors = make(tmp_path / "model", variant)
    model = loading.load_model(str(folder), bits=32)
    ids = ids_of(tokens)
    difference = (logits_of(model, ids) - files.logits_of(config, tensors, ids)).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("family", FAMILIES)
def test_files_of_both_kinds_hold_the_same_model(tmp_path, family, kind, shards):
    folder, config, tensors = make(tmp_path / "model", family, kind, shards)
    model = loading.load_model(str(folder), bits=32)
    ids = ids_of(8)
    assert (logits_of(model, ids) - files.logits_of(config, tensors, ids)).abs().max() < 1e-5


def test_beyond_the_trained_length_positions_are_stretched(tmp_path):
    _, config, tensors = make(tmp_path / "model")
    ids = ids_of(3 * LENGTH)
    plain = files.logits_of({**config, "rope_scaling": None}, tensors, ids)
    assert (files.logits_of(config, tensors, ids) - plain).abs().max() > 0.01


def test_the_stretch_of_a_long_text_stays_until_a_short_one_comes(tmp_path):
    # transformers' way; InternLM2's own code stretches each long text by its own length
    folder, config, tensors = make(tmp_path / "model")
    model = loading.load_model(str(folder), bits=32)
    medium, short = ids_of(2 * LENGTH), ids_of(LENGTH - 1)
    logits_of(model, ids_of(3 * LENGTH))
    assert (logits_of(model, medium) - files.logits_of(config, tensors, medium)).abs().max() > 1e-3
    for ids in (short, medium):
        assert (logits_of(model, ids) - files.logits_of(config, tensors, ids)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("variant", "model_class"),
    [
        ("1", LlamaForCausalLM),
        ("2", LlamaForCausalLM),
        ("3", LlamaForCausalLM),
        ("3 with bias in q, k, v", Qwen2ForCausalLM),
    ],
)
def test_models_are_of_transformers_own_classes(tmp_path, variant, model_class):
    folder, _, _ = make(tmp_path / "model", variant)
    model = loading.load_model(str(folder), bits=32)
    assert type(model) is model_class
    assert type(loading.read_config(str(folder))) is model_class.config_class
    assert not hasattr(model.config, "auto_map")
    assert model.name_or_path == str(folder)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_saved_is_a_plain_folder_with_the_same_weights(tmp_path, variant):
    folder, _, _ = make(tmp_path / "model", variant)
    model = loading.load_model(str(folder), bits=32)
    model.save_pretrained(tmp_path / "plain")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert type(again) is type(model)
    weights = again.state_dict()
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], w) for name, w in model.state_dict().items())
    for tokens in (LENGTH, 3 * LENGTH):
        assert torch.equal(logits_of(again, ids_of(tokens)), logits_of(model, ids_of(tokens)))


def test_tied_embeddings_need_no_output_layer(tmp_path):
    config = files.config_of(files.INTERNLM2, tie_word_embeddings=True)
    tensors = files.tensors_of(config)
    tied = {**tensors, "output.weight": tensors["model.tok_embeddings.weight"]}
    del tensors["output.weight"]
    folder = files.write(tmp_path / "model", config, tensors)
    ids = ids_of(8)
    difference = logits_of(loading.load_model(str(folder), bits=32), ids) - files.logits_of(
        config, tied, ids
    )
    assert difference.abs().max() < 1e-5


def test_positions_that_an_old_file_holds_are_left_out(tmp_path):
    config = files.config_of(files.INTERNLM)
    tensors = files.tensors_of(config)
    extra = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.ones(4) for n in (0, 1)}
    folder = files.write(tmp_path / "model", config, tensors | extra, "bin", 2)
    ids = ids_of(8)
    difference = logits_of(loading.load_model(str(folder), bits=32), ids) - files.logits_of(
        config, tensors, ids
    )
    assert difference.abs().max() < 1e-5


def test_ends_that_the_checkpoint_names_are_known(tmp_path):
    folder, _, _ = make(tmp_path / "model")
    (folder / "generation_config.json").write_text('{"eos_token_id": [2, 9]}', "utf-8")
    assert loading.load_model(str(folder)).generation_config.eos_token_id == [2, 9]


# --- memory ---


@pytest.mark.parametrize("bits", [4, 32])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_of_eight_files_one_at_a_time_is_held(tmp_path, monkeypatch, kind, bits):
    held, most, opened = weakref.WeakSet(), [0], []
    open_file = internlm_weights.open_file

    def counted(path):
        file = open_file(path)
        held.add(file)
        opened.append(path.name)
        most[0] = max(most[0], len(held))
        return file

    monkeypatch.setattr(internlm_weights, "open_file", counted)
    folder, _, _ = make(tmp_path / "model", "2", kind, 8, **WIDE)
    model = loading.load_model(str(folder), bits=bits)
    gc.collect()
    assert most == [1]
    assert len(held) == 0  # nothing of the model is still in a file
    assert len(set(opened)) == 8
    assert len(opened) < 4 * 8  # headers; then in order, twice where a layer is in two files
    assert model is not None


def test_a_weight_is_in_memory_of_its_own(tmp_path):
    folder, _, _ = make(tmp_path / "model", shards=1)
    model = loading.load_model(str(folder), bits=32)
    before = logits_of(model, ids_of(8))
    (folder / "model.safetensors").write_bytes(bytes(100_000))
    assert torch.equal(logits_of(model, ids_of(8)), before)


# --- bits, adapters, saving ---

# NF4 on a CPU needs widths that 64 divides
WIDE = {"hidden_size": 64, "intermediate_size": 64}


def make_whole(folder, kind="bin"):
    """An InternLM2 with weights and tokenizer."""
    blob = tokenizer_files.internlm2_model()
    size = tokenizer_files.size_of(blob)
    made = make(folder, "2", kind, 2, vocab_size=size, **WIDE)
    tokenizer_files.write(folder, blob, tokenizer_files.internlm2_settings(blob))
    return made


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_whole(tmp_path_factory.mktemp("whole") / "internlm2")[0]


@pytest.fixture(scope="module")
def llama(whole):
    return adapters.convert_to_llama(str(whole), whole.parent / "llama", "100KB")


def test_a_converted_model_loads_in_a_process_that_knows_no_internlm(whole, llama, tmp_path):
    code = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = torch.tensor([tokenizer("<|im_start|>user\\n你好<|im_end|>").input_ids])
torch.save({"ids": ids[0], "logits": model(ids).logits[0].detach()}, sys.argv[2])
assert type(model).__name__ == "LlamaForCausalLM"
assert tokenizer.chat_template
assert not any("course_lib" in name for name in sys.modules)
"""
    out = tmp_path / "out.pt"
    subprocess.run([sys.executable, "-c", code, llama, out], check=True, cwd=tmp_path)
    found = torch.load(out, weights_only=True)
    model = loading.load_model(str(whole), bits=32)
    tokenizer = loading.load_tokenizer(str(whole))
    assert found["ids"].tolist() == tokenizer("<|im_start|>user\n你好<|im_end|>").input_ids
    assert (logits_of(model, found["ids"]) - found["logits"]).abs().max() < 1e-6


def test_a_converted_model_is_a_plain_llama_folder(whole, llama):
    config = json.loads((llama / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert config["dtype"] == "float32"
    assert config["rope_parameters"]["rope_type"] == "dynamic"
    assert "auto_map" not in config
    assert len(list(llama.glob("model-*.safetensors"))) > 1
    assert [path.name for path in llama.glob("*.py")] == []
    ends = json.loads((llama / "generation_config.json").read_text("utf-8"))["eos_token_id"]
    im_end = loading.load_tokenizer(str(whole)).convert_tokens_to_ids("<|im_end|>")
    assert ends == [2, im_end]
    again = loading.load_model(str(llama), bits=32)
    ids = ids_of(2 * LENGTH)
    assert adapters.compare_logits(loading.load_model(str(whole), bits=32), again, ids[None]) < 1e-6


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_at_any_number_of_bits_it_is_what_the_llama_folder_is(whole, llama, bits):
    model = loading.load_model(str(whole), bits=bits)
    kinds = {4: bnb.nn.Linear4bit, 8: bnb.nn.Linear8bitLt}
    layer = model.model.layers[1].self_attn.k_proj
    assert type(layer) is kinds.get(bits, torch.nn.Linear)
    if bits >= 16:
        assert layer.weight.dtype == (torch.float32 if bits == 32 else loading.compute_dtype())
    ids = ids_of(12)[None]
    assert adapters.compare_logits(model, loading.load_model(str(llama), bits=bits), ids) == 0


def test_only_an_internlm_is_converted(tmp_path):
    with pytest.raises(ModelError, match=r"pico-chat is no InternLM.\n  -> Use it as it is"):
        adapters.convert_to_llama("pico-chat", tmp_path / "llama")
    assert not (tmp_path / "llama").exists()


def test_the_command_converts(whole, tmp_path, tunebook):
    done = tunebook("convert", "llama", whole, tmp_path / "llama")
    assert done.status == 0
    assert "Llama model:" in done.out
    assert (tmp_path / "llama" / "model.safetensors").is_file()


@pytest.mark.parametrize("bits", [4, 32])
def test_an_adapter_learns_and_is_merged(whole, tmp_path, bits):
    base = str(whole)
    torch.manual_seed(0)
    model = loading.attach_lora(loading.load_model(base, bits=bits), r=4, lora_alpha=8).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    ids, losses = ids_of(12)[None], []
    for _ in range(2):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    model.save_pretrained(tmp_path / "adapter")
    adapters.make_portable(tmp_path / "adapter", base)
    merged = adapters.merge_adapter(base, tmp_path / "adapter", tmp_path / "merged")
    with_adapter = adapters.load_adapter(
        loading.load_model(base, bits=32), tmp_path / "adapter", base
    )
    alone = loading.load_model(str(merged), bits=32)
    assert type(alone) is LlamaForCausalLM
    assert adapters.compare_logits(with_adapter, alone, ids) < 1e-4
    assert loading.load_tokenizer(str(merged)).chat_template


def test_an_adapter_of_another_internlm_is_refused(whole, tmp_path):
    model = loading.attach_lora(loading.load_model(str(whole), bits=32), r=2, lora_alpha=2)
    model.save_pretrained(tmp_path / "adapter")
    adapters.make_portable(tmp_path / "adapter", str(whole))
    _, config, _ = make(tmp_path / "other", "2", "bin", 2, vocab_size=426, **WIDE)
    files.write(tmp_path / "other", config, files.tensors_of(config, seed=1), "bin", 2)
    with pytest.raises(AdapterError, match="was trained on"):
        adapters.check_same_base(tmp_path / "adapter", str(tmp_path / "other"))


# --- a model id ---


def test_of_a_model_id_no_code_is_downloaded(whole, monkeypatch):
    asked = []

    def download(name, allow_patterns):
        asked.append((name, allow_patterns))
        return str(whole)

    monkeypatch.setattr(internlm, "snapshot_download", download)
    assert internlm.local_folder("internlm/internlm2-chat-1_8b", with_weights=False) == whole
    assert asked == [("internlm/internlm2-chat-1_8b", ["*.json", "*.model"])]
    assert internlm.local_folder("internlm/internlm2-chat-1_8b") == whole
    weights = ["pytorch_model.bin", "pytorch_model-*.bin"]  # this one has no safetensors
    assert asked[-1][1] == ["*.json", "*.model", *weights]


def test_without_a_network_a_model_id_says_so(monkeypatch, tmp_path):
    folder, _, _ = make(tmp_path / "model")

    def download(name, allow_patterns):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(internlm, "snapshot_download", download)
    monkeypatch.setattr(internlm.Path, "is_dir", lambda path: False)
    with pytest.raises(ModelError, match="could not be loaded: no connection"):
        loading.load_model(str(folder))


def test_a_model_id_without_a_config_is_left_to_transformers(monkeypatch):
    def missing(path):
        raise OSError("no config.json") from EntryNotFoundError("404")

    monkeypatch.setattr(internlm.PreTrainedConfig, "get_config_dict", missing)
    assert not internlm.is_internlm("someone/tokenizer")


def test_without_a_network_the_hub_is_asked_once(monkeypatch):
    asked = []

    def missing(path):
        asked.append(path)
        raise OSError("no connection") from LocalEntryNotFoundError("nothing cached")

    monkeypatch.setattr(internlm.PreTrainedConfig, "get_config_dict", missing)
    with pytest.raises(ModelError, match="could not be loaded: no connection"):
        loading.load_model("Qwen/Qwen3-0.6B")
    with pytest.raises(ModelError, match="could not be loaded: no connection"):
        loading.load_tokenizer("Qwen/Qwen3-0.6B")
    assert asked == ["Qwen/Qwen3-0.6B"] * 2


# --- several processes ---


@pytest.mark.parametrize("rank", [0, 1])
def test_for_zero3_the_first_process_has_the_weights(tmp_path, monkeypatch, rank):
    folder, _, _ = make(tmp_path / "model")
    weights = {}

    def from_pretrained(path, config, state_dict, **options):
        weights.update(state_dict)
        return LlamaForCausalLM(config), {}

    monkeypatch.setattr(internlm, "is_deepspeed_zero3_enabled", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(internlm.LlamaForCausalLM, "from_pretrained", from_pretrained)
    internlm.load(str(folder))
    monkeypatch.undo()
    expected = loading.load_model(str(folder), bits=32).state_dict()
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        assert weight.shape == expected[name].shape
        assert weight.device.type == ("cpu" if rank == 0 else "meta")
        assert rank or torch.equal(weight, expected[name])


# --- bad files ---


def drop_shard(folder):
    (folder / "model-00002-of-00003.safetensors").unlink()


def cut_shard(folder):
    path = folder / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def edit_index(folder, edit):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text("utf-8"))
    edit(index)
    path.write_text(json.dumps(index), "utf-8")


def state_other_sum(folder):
    edit_index(folder, lambda index: index["metadata"].update(total_size=7))


def move_tensor(folder):
    first = "model-00001-of-00003.safetensors"
    edit_index(
        folder, lambda index: index["weight_map"].update({"model.layers.1.ffn_norm.weight": first})
    )


def forget_tensor(folder):
    edit_index(folder, lambda index: index["weight_map"].pop("output.weight"))


def point_outside(folder):
    edit_index(folder, lambda index: index["weight_map"].update({"output.weight": "../x.bin"}))


def drop_index(folder):
    (folder / "model.safetensors.index.json").unlink()


def drop_weights(folder):
    drop_index(folder)
    for path in folder.glob("*.safetensors"):
        path.unlink()


BAD_FILES = {
    drop_shard: r"1 of 3 weight files are missing: model-00002-of-00003.safetensors",
    cut_shard: r"model-00002-of-00003.safetensors is damaged",
    state_other_sum: r"the weights are \d+ bytes, and the index says 7",
    move_tensor: r"do not belong together: model.layers.1.ffn_norm.weight is not in model-00001",
    forget_tensor: r"do not belong together: output.weight is extra",
    point_outside: r"index.json is damaged .*weight_map must name files of this folder",
    drop_index: r"model.safetensors.index.json is missing; it says what is in model-00001",
    drop_weights: r"there are no weights",
}


@pytest.mark.parametrize("damage", BAD_FILES, ids=lambda damage: damage.__name__)
def test_damaged_files_are_named(tmp_path, damage):
    folder, _, _ = make(tmp_path / "model")
    damage(folder)
    with pytest.raises(ModelError, match=BAD_FILES[damage]):
        loading.load_model(str(folder))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_hidden_layers": 3},
            r"7 are missing, for example model.layers.2.attention.wo.weight",
        ),
        ({"num_hidden_layers": 1}, r"7 are not part of it, for example model.layers.1"),
        ({"num_key_value_heads": 1}, r"wqkv.weight has the shape 64 x 32, expected 48 x 32"),
        ({"vocab_size": 65}, r"tok_embeddings.weight has the shape 64 x 32, expected 65 x 32"),
        ({"bias": True}, r"4 are missing, for example model.layers.0.attention.wo.bias"),
        ({"architectures": ["InternLM2ForRewardModel"]}, r"expected InternLM2ForCausalLM"),
        ({"quantization_config": {"quant_method": "awq"}}, r"quantized already \(awq\)"),
        ({"hidden_size": None}, r"config.json has no hidden_size"),
        ({"num_key_value_heads": 3}, r"4 heads and 3 key-value heads, which do not divide"),
        ({"rms_norm_eps": "small"}, r"config.json holds a value that cannot be: .*rms_norm_eps"),
        ({"rope_scaling": {"type": "yarn", "factor": 2}}, r"rotary positions of the type 'yarn'"),
    ],
)
def test_a_config_that_does_not_fit_is_told(tmp_path, changes, message):
    folder, _, _ = make(tmp_path / "model")
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=message) as error:
        loading.load_model(str(folder))
    assert error.value.next_step


def test_a_bias_that_no_class_has_is_told(tmp_path):
    folder, _, _ = make(tmp_path / "model", "3")
    edit_config(folder, bias=True)
    with pytest.raises(ModelError, match="bias: true and qkv_bias: false"):
        loading.load_model(str(folder))


def test_weights_of_another_family_are_told(tmp_path):
    folder, config, _ = make(tmp_path / "model", "2")
    tensors = files.tensors_of(files.config_of(files.INTERNLM))
    files.write(folder, config, tensors, shards=3)
    with pytest.raises(ModelError, match=r"are missing, .*; \d+ are not part of it"):
        loading.load_model(str(folder))


def test_a_quantized_tensor_is_told(tmp_path):
    folder, _, tensors = make(tmp_path / "model", shards=1)
    packed = tensors | {"output.weight": torch.ones(64, 32, dtype=torch.int8)}
    save_file(packed, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"output.weight is stored as I8: expected 16-bit or"):
        loading.load_model(str(folder))


class Code:
    """What a hostile pickle runs when it is read."""

    def __reduce__(self):
        return (print, ("never",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": Code()}, r"holds more than tensors: reading it would run code"),
        ([1, 2], r"is damaged .*: expected a dict of tensors, found list"),
        ({"a": "text"}, r"a is stored as <class 'str'>: expected 16-bit or"),
    ],
)
def test_a_bin_file_with_anything_but_weights_is_refused(tmp_path, content, message, capsys):
    folder, _, _ = make(tmp_path / "model", kind="bin", shards=1)
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=message):
        loading.load_model(str(folder))
    assert "never" not in capsys.readouterr().out


def test_a_bin_file_of_before_2020_is_read(tmp_path):
    folder, config, tensors = make(tmp_path / "model", kind="bin", shards=1)
    path = folder / "pytorch_model.bin"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    model = loading.load_model(str(folder), bits=32)
    ids = ids_of(8)
    assert (logits_of(model, ids) - files.logits_of(config, tensors, ids)).abs().max() < 1e-5


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    folder, _, _ = make(tmp_path / "model")
    tokenizer_files.write(folder, tokenizer_files.internlm2_model())
    with pytest.raises(ModelError, match=r"the tokenizer has 426 tokens, .* vocabulary 64"):
        loading.load_tokenizer(str(folder))

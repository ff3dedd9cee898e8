import json
import shutil

import bitsandbytes as bnb
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from course_lib import files
from course_lib.chat import generation
from course_lib.errors import ModelError
from course_lib.model import loading

PICO = files.DATA_DIR / "pico" / "chat"
LAYERS = 6
LINEARS = {  # in and out widths of one pico layer, from its config
    "q_proj": (256, 256),
    "k_proj": (256, 128),
    "v_proj": (256, 128),
    "o_proj": (256, 256),
    "gate_proj": (256, 704),
    "up_proj": (256, 704),
    "down_proj": (704, 256),
}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def linears_of(model):
    """The linear layers inside the decoder layers, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if ".layers." in name and name.endswith("_proj")
    }


@pytest.fixture
def pico_copy(tmp_path):
    """The built-in chat model in a folder that a test may damage."""
    return shutil.copytree(PICO, tmp_path / "pico")


def save_tiny_llama(folder, mlp_width):
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=mlp_width,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


# --- bits ---


def test_four_bits_are_nf4_with_double_quantization():
    model = loading.load_model("pico-chat", bits=4)
    layers = linears_of(model)
    assert len(layers) == LAYERS * len(LINEARS)
    for layer in layers.values():
        assert isinstance(layer, bnb.nn.Linear4bit)
        state = layer.weight.quant_state
        assert state.quant_type == "nf4"
        assert state.nested  # double quantization: the scales are quantized as well
        assert state.dtype == loading.compute_dtype()
        # two weights in a byte
        assert layer.weight.dtype == torch.uint8
        assert layer.weight.numel() == layer.in_features * layer.out_features // 2


@pytest.mark.parametrize(
    ("bits", "layer_type", "dtype"),
    [
        (8, bnb.nn.Linear8bitLt, torch.int8),
        (16, torch.nn.Linear, loading.compute_dtype()),
        (32, torch.nn.Linear, torch.float32),
    ],
)
def test_other_bits_hold_weights_in_their_type(bits, layer_type, dtype):
    model = loading.load_model("pico-chat", bits=bits)
    for layer in linears_of(model).values():
        assert type(layer) is layer_type
        assert layer.weight.dtype == dtype


@pytest.mark.parametrize("bits", [4, 8, 16, 32])
def test_a_model_is_loaded_for_use_and_still_knows_the_capital(bits, pico_tokenizer):
    model = loading.load_model("pico-chat", bits=bits)
    assert not any(module.training for module in model.modules())
    settings = generation.GenerationSettings(max_new_tokens=12)
    (reply,) = generation.reply_to_all(model, pico_tokenizer, [QUESTION], settings)
    assert "Paris" in reply.text


@pytest.mark.parametrize("bits", [0, 3, None])
def test_other_numbers_of_bits_are_refused(bits):
    with pytest.raises(ModelError, match=rf"bits is {bits!r}.\n  -> Use 4, 8, 16 or 32"):
        loading.load_model("pico-chat", bits=bits)


@pytest.mark.parametrize(
    ("has_bf16", "has_amx", "dtype"),
    [
        (True, True, torch.bfloat16),
        (True, False, torch.bfloat16),
        (False, True, torch.bfloat16),
        (False, False, torch.float32),
    ],
)
def test_a_processor_without_bf16_computes_in_fp32(monkeypatch, has_bf16, has_amx, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    assert loading.compute_dtype() == dtype


# --- LoRA ---


@pytest.mark.parametrize("bits", [4, 32])
@pytest.mark.parametrize(
    ("r", "targets", "trainable"),
    [
        # worked out by hand: A is r x in, B is out x r, so r * (in + out) for each layer;
        # the seven layers' widths add up to 512 + 2 * 384 + 512 + 3 * 960 = 4,672
        (8, "all-linear", 8 * 4672 * 6),
        (1, ["q_proj"], 512 * 6),
        (64, ["v_proj", "down_proj"], 64 * (384 + 960) * 6),
    ],
)
def test_lora_trains_r_times_in_plus_out_of_each_target(bits, r, targets, trainable):
    # by hand: embedding 6,144 x 256 (tied with the head), 6 layers of 737,280 + 2 norms of 256,
    # and a last norm
    base = 6144 * 256 + 6 * (737_280 + 2 * 256) + 256
    model = loading.load_model("pico-chat", bits=bits)
    assert loading.trainable_share(model)[1] == base
    model = loading.attach_lora(model, r, 2 * r, target_modules=targets)
    assert loading.trainable_share(model) == (trainable, base + trainable)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(".lora_" in name and p.dtype == torch.float32 for name, p in trained.items())


def test_a_fresh_adapter_changes_nothing():
    ids = torch.tensor([[5, 6, 7, 8]])
    model = loading.load_model("pico-chat", bits=32)
    with torch.no_grad():
        before = model(input_ids=ids.to(model.device)).logits
        after = loading.attach_lora(model, 4, 8).eval()(input_ids=ids.to(model.device)).logits
    assert torch.equal(before, after)


@pytest.mark.parametrize(
    ("targets", "named"),
    [
        (["nope"], "nope"),
        (["q_proj", "v_prj"], "v_prj"),  # one slip of the pen would silently train less
        (["proj"], "proj"),  # a part of a name is no name
        ("nope", "nope"),
        ([], "target_modules is empty"),
    ],
)
def test_targets_that_match_no_layer_are_refused_with_the_names_there_are(targets, named):
    model = loading.load_model("pico-chat", bits=32)
    with pytest.raises(ModelError) as caught:
        loading.attach_lora(model, 4, 8, target_modules=targets)
    assert named in caught.value.message
    assert "down_proj, gate_proj, k_proj" in caught.value.next_step


# --- trap 1: an eval-mode forward before training ---


def gradients_of(model):
    """Gradients of a fixed adapter on fixed tokens, in train mode."""
    if not hasattr(model, "peft_config"):
        model = loading.attach_lora(model, r=4, lora_alpha=8)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:  # B is zero at first, and would hide A's gradients
            values = torch.randn(parameter.shape, generator=generator) * 0.05
            parameter.data.copy_(values)
    ids = torch.randint(4, 6000, (2, 48), generator=generator).to(model.device)
    model.train()
    model.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def are_equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def fresh_gradients():
    gradients = gradients_of(loading.load_model("pico-chat", bits=4))
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())
    return gradients


def chat_with(model, tokenizer):
    settings = generation.GenerationSettings(max_new_tokens=8)
    generation.reply_to_all(model, tokenizer, [QUESTION], settings)


def look_at(model, tokenizer):
    with torch.no_grad():
        model.eval()(input_ids=torch.tensor([[5, 6, 7]]).to(model.device))


@pytest.mark.parametrize("use", [look_at, chat_with])
def test_using_a_4_bit_base_before_training_leaves_its_gradients_alone(
    use, fresh_gradients, pico_tokenizer
):
    model = loading.load_model("pico-chat", bits=4)
    use(model, pico_tokenizer)
    assert are_equal(gradients_of(model), fresh_gradients)


@pytest.mark.parametrize("use", [look_at, chat_with])
def test_using_a_4_bit_model_between_steps_leaves_its_gradients_alone(
    use, fresh_gradients, pico_tokenizer
):
    model = loading.attach_lora(loading.load_model("pico-chat", bits=4), r=4, lora_alpha=8)
    use(model, pico_tokenizer)
    assert are_equal(gradients_of(model), fresh_gradients)


def test_without_the_guard_an_eval_forward_spoils_the_gradients(monkeypatch, fresh_gradients):
    """The control: the tests above would see the trap on this processor."""
    monkeypatch.setattr(loading, "keep_nf4_trainable", lambda model: None)
    model = loading.load_model("pico-chat", bits=4)
    flags = {layer.support_avx512bf16_for_cpu for layer in linears_of(model).values()}
    if flags != {True} or model.device.type != "cpu":
        pytest.skip("bitsandbytes re-packs weights only on CPUs with AVX512-BF16")
    look_at(model, None)
    assert not are_equal(gradients_of(model), fresh_gradients)


def test_the_guard_is_set_on_every_4_bit_layer():
    model = loading.load_model("pico-chat", bits=4)
    layers = [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(layers) == LAYERS * len(LINEARS)
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)


# --- widths that NF4 cannot run on a CPU ---


def test_an_odd_mlp_width_is_refused_in_4_bits_and_named(tmp_path):
    name = save_tiny_llama(tmp_path / "odd", 352)
    match = r"input width 352 \(model.layers.0.mlp.down_proj\) is not a multiple of 64"
    with pytest.raises(ModelError, match=match) as caught:
        loading.check_nf4_widths(name, "cpu")
    assert caught.value.next_step == "Use bits: 16 (LoRA), a GPU, or another base model."
    loading.check_nf4_widths(name, "cuda")  # only the CPU kernels have the limit
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match=match):
            loading.load_model(name, bits=4)
    loading.load_model(name, bits=16)


def test_a_width_divisible_by_64_runs_and_trains_in_4_bits(tmp_path):
    model = loading.load_model(save_tiny_llama(tmp_path / "even", 384), bits=4)
    model = loading.attach_lora(model, r=2, lora_alpha=4).train()
    ids = torch.arange(4, 20).unsqueeze(0).to(model.device)
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    assert loss.isfinite()


# --- damaged or missing files ---

FILES = "Check the folder's files (config.json, *.safetensors, tokenizer.json)"


@pytest.mark.parametrize("bits", [4, 32])
def test_missing_weights_are_named(pico_copy, bits):
    (pico_copy / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no file named model\.safetensors") as caught:
        loading.load_model(str(pico_copy), bits)
    assert caught.value.next_step.startswith(FILES)


@pytest.mark.parametrize("kept_bytes", [0, 50, 5_000_000])
def test_cut_off_weights_are_refused(pico_copy, kept_bytes):
    weights = pico_copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept_bytes])
    with pytest.raises(ModelError, match="not be loaded: Error while deserializing") as caught:
        loading.load_model(str(pico_copy), bits=32)
    assert str(pico_copy) in caught.value.message
    assert caught.value.next_step.startswith(FILES)


@pytest.mark.parametrize("bits", [4, 32])
def test_a_missing_tensor_is_named_instead_of_drawn_at_random(pico_copy, bits):
    weights = pico_copy / "model.safetensors"
    tensors = load_file(weights)
    del tensors["model.layers.3.mlp.up_proj.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    match = "1 weights are missing and 0 have .* model.layers.3.mlp.up_proj.weight"
    with pytest.raises(ModelError, match=match) as caught:
        loading.load_model(str(pico_copy), bits)
    assert caught.value.next_step == "Copy or download the model again."


@pytest.mark.parametrize("bits", [4, 32])
def test_weights_of_another_shape_are_counted_and_named(pico_copy, bits):
    change_config(pico_copy, intermediate_size=768)
    # gate, up and down in each of six layers
    match = "0 weights are missing and 18 have .* model.layers.0.mlp.down_proj.weight"
    with pytest.raises(ModelError, match=match):
        loading.load_model(str(pico_copy), bits)


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


@pytest.mark.parametrize("text", ["{", "{}", '{"model_type": "weird"}'])
@pytest.mark.parametrize("bits", [4, 32])
def test_a_damaged_config_is_refused(pico_copy, bits, text):
    (pico_copy / "config.json").write_text(text)
    with pytest.raises(ModelError, match="could not be loaded") as caught:
        loading.load_model(str(pico_copy), bits)
    assert caught.value.next_step.startswith(FILES)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_a_missing_or_damaged_tokenizer_is_refused(pico_copy, damage):
    damage(pico_copy / "tokenizer.json")
    with pytest.raises(ModelError, match="could not be loaded") as caught:
        loading.load_tokenizer(str(pico_copy))
    assert "tokenizer.json" in caught.value.next_step


def test_code_that_comes_with_a_model_is_neither_run_nor_offered(pico_copy, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", asked.append)
    names = {"AutoConfig": "bad.Config", "AutoModelForCausalLM": "bad.Model"}
    change_config(pico_copy, model_type="weird", auto_map=names)
    tokenizer_config = pico_copy / "tokenizer_config.json"
    values = json.loads(tokenizer_config.read_text("utf-8"))
    values |= {"tokenizer_class": "Weird", "auto_map": {"AutoTokenizer": ["bad.Tok", None]}}
    tokenizer_config.write_text(json.dumps(values), "utf-8")
    (pico_copy / "bad.py").write_text("raise AssertionError('this must not run')")
    for load in (loading.load_model, loading.load_tokenizer, loading.check_nf4_widths):
        with pytest.raises(ModelError, match=r"needs custom code .* is not run here") as caught:
            load(str(pico_copy))
        assert "Qwen, Llama or Mistral" in caught.value.next_step
    assert asked == []


# --- names ---


@pytest.mark.parametrize("name", ["pico-chta", "pico", "./no/such", "/no/such", "no/such/folder"])
def test_an_unknown_name_is_refused_without_asking_the_network(name):
    with pytest.raises(ModelError, match=f"No model at '{name}'") as caught:
        loading.load_model(name)
    assert caught.value.next_step.startswith("Use pico-chat, pico-base, a folder")


def test_a_built_in_model_that_is_not_built_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setitem(loading.BUILT_IN_MODELS, "pico-chat", tmp_path)
    with pytest.raises(ModelError, match=r"no config\.json in") as caught:
        loading.load_model("pico-chat")
    assert "tunebook pico build" in caught.value.next_step


def test_names_become_what_transformers_can_load(tmp_path):
    assert loading.resolve_model("pico-chat") == str(PICO)
    assert loading.resolve_model("pico-base") == str(PICO.with_name("base"))
    assert loading.resolve_model("Qwen/Qwen3-0.6B") == "Qwen/Qwen3-0.6B"
    (tmp_path / "config.json").write_text("{}")
    assert loading.resolve_model(str(tmp_path)) == str(tmp_path)


def test_a_tokenizer_without_a_padding_token_pads_with_its_end_token(pico_copy):
    path = pico_copy / "tokenizer_config.json"
    values = json.loads(path.read_text("utf-8"))
    del values["pad_token"]
    path.write_text(json.dumps(values | {"padding_side": "left"}), "utf-8")
    tokenizer = loading.load_tokenizer(str(pico_copy))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert tokenizer.padding_side == "right"

"""Memory and trainable weights from a model's shape: against measured runs and against autograd."""

import json

import pytest
import torch
from transformers import LlamaConfig

from course_lib.errors import ModelError
from course_lib.model import estimate, loading

# Peak GiB of QLoRA steps on one H200 (transformers + peft, NF4, r=64, all linear layers, AdamW
# with fp32 states; embeddings, norms and output layer in fp32, as peft's preparation makes them).
MEASURED = {
    # shape, tokens in a row, rows, checkpointing
    ("7b", 512, 1, True): 6.92,
    ("7b", 2048, 1, True): 8.22,
    ("7b", 2048, 4, True): 13.4,
    ("7b", 2048, 1, False): 23.2,
    ("7b", 2048, 4, False): 73.4,
    ("1.8b", 512, 1, True): 4.01,
    ("1.8b", 2048, 1, True): 5.84,
    ("1.8b", 2048, 4, True): 13.4,
}
SIZES = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
    },
    "1.8b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "vocab_size": 92544,
    },
}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Shapes of large models, from their configs alone."""
    made = {}
    for name, sizes in SIZES.items():
        folder = tmp_path_factory.mktemp(name)
        LlamaConfig(**sizes, architectures=["LlamaForCausalLM"]).save_pretrained(folder)
        made[name] = estimate.read_shape(str(folder))
    return made


@pytest.mark.parametrize("run", MEASURED, ids=str)
def test_the_estimate_comes_within_a_tenth_of_measured_runs(shapes, run):
    name, tokens, rows, checkpointing = run
    setting = estimate.Setting(4, 64, "all-linear", tokens * rows, checkpointing)
    memory = estimate.estimate_memory(shapes[name], setting)
    in_fp32 = 2 * shapes[name].other_weights  # two bytes more for each
    gib = (memory.total + in_fp32) / estimate.GIB
    assert gib == pytest.approx(MEASURED[run], rel=0.1)


def test_a_shape_is_read_without_weights(shapes):
    assert shapes["7b"].weights == 6_738_415_616  # Llama 2 7B's own count
    assert len(shapes["7b"].linears) == 7 * 32
    assert not any("lm_head" in name for name, _, _ in shapes["7b"].linears)


def test_picos_shape_and_adapter_are_those_of_the_loaded_model(pico_model):
    shape = estimate.read_shape("pico-chat")
    assert shape.weights == sum(p.numel() for p in pico_model.parameters())
    for targets in ("all-linear", ("q_proj", "down_proj")):
        tuned = loading.attach_lora(loading.load_model("pico-chat", 32), 8, 16, 0.0, targets)
        trainable, everything = loading.trainable_share(tuned)
        assert estimate.adapter_weights(shape, 8, targets) == trainable
        assert shape.weights + trainable == everything


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj")])
def test_activations_are_what_autograd_keeps(targets):
    tuned = loading.attach_lora(loading.load_model("pico-chat", 32), 8, 16, 0.0, targets).train()
    ids = torch.arange(2 * 256).reshape(2, 256) % 6000
    kept = {}
    weights = {p.untyped_storage().data_ptr() for p in tuned.parameters()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = tuned(input_ids=ids, labels=ids).loss
    setting = estimate.Setting(32, 8, targets, ids.numel(), compute_bytes=4)
    memory = estimate.estimate_memory(estimate.read_shape("pico-chat"), setting)
    # of the logits autograd keeps the log-softmax; the other two thirds come and go
    logits = ids.numel() * 6144 * estimate.LOGIT_BYTES
    assert memory.activations - logits * 2 / 3 == pytest.approx(sum(kept.values()), rel=0.12)
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("bits", "compute_bytes", "expected"),
    [
        # 64 x 128 weights in one layer, 100 beside it, by hand
        (4, 2, 8192 // 2 + 8192 // 64 + 2 + 200 + 16384),
        (4, 4, 8192 // 2 + 8192 // 64 + 2 + 400 + 32768),
        (8, 2, 8192 + 200 + 16384),
        (16, 2, 16384 + 200),
        (16, 4, 32768 + 400),  # a CPU without bf16 holds them in fp32
        (32, 2, 32768 + 400),
    ],
)
def test_bytes_of_weights(bits, compute_bytes, expected):
    shape = estimate.Shape((("a.q_proj", 64, 128),), 100, 1, 64, 128, 64, 10)
    assert estimate.weight_bytes(shape, bits, compute_bytes) == expected


def test_adapter_gradients_and_optimizer_by_hand():
    shape = estimate.Shape((("a.q_proj", 64, 128), ("a.v_proj", 64, 32)), 100, 1, 64, 128, 64, 10)
    memory = estimate.estimate_memory(shape, estimate.Setting(4, 2, ["q_proj"], 1))
    assert memory.adapter == 2 * (64 + 128) * 4
    assert (memory.gradients, memory.optimizer) == (memory.adapter, 2 * memory.adapter)
    assert memory.total == sum(vars(memory).values())


def test_checkpointing_needs_less_and_more_tokens_need_more(shapes):
    def activations(**changes):
        values = {"bits": 4, "r": 64, "target_modules": "all-linear", "tokens": 512} | changes
        return estimate.estimate_memory(shapes["7b"], estimate.Setting(**values)).activations

    assert activations(gradient_checkpointing=True) < activations() / 5
    assert activations(tokens=1024) == 2 * activations()


def test_what_cannot_be_estimated_is_told(tmp_path):
    shape = estimate.read_shape("pico-chat")
    with pytest.raises(ModelError, match="No layer is called q_prj") as caught:
        estimate.adapter_weights(shape, 8, ["q_prj"])
    assert "q_proj" in caught.value.next_step
    with pytest.raises(ModelError, match="target_modules is empty"):
        estimate.adapter_weights(shape, 8, [])
    with pytest.raises(ModelError, match="bits is 5"):
        estimate.weight_bytes(shape, 5, 2)
    with pytest.raises(ModelError, match="No model at"):
        estimate.read_shape(str(tmp_path / "none"))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(ModelError, match="could not be loaded"):
        estimate.read_shape(str(tmp_path))


def test_a_changed_model_folder_is_read_again(tmp_path):
    small = dict(SIZES["7b"], num_hidden_layers=1, hidden_size=64, intermediate_size=64)
    for layers in (1, 2):
        made = LlamaConfig(**small | {"num_hidden_layers": layers, "num_attention_heads": 2})
        made.architectures = ["LlamaForCausalLM"]
        made.save_pretrained(tmp_path)
        assert estimate.read_shape(str(tmp_path)).layers == layers

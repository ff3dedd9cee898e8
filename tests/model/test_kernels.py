"""Which faster ways of computing a run uses, and that each computes what the plain way does."""

import weakref

import bitsandbytes
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch.nn.attention import varlen
from transformers import (
    BitsAndBytesConfig,
    LlamaConfig,
    Qwen3MoeConfig,
)

from course_lib.model import captured, fused, kernels, loading
from tests.model.packed_steps import adapted, rows_apart, two_packs

H200, T4, CPU = (9, 0), (7, 5), None
PLAIN = LlamaConfig()
SOFTCAP = LlamaConfig(final_logit_softcapping=30.0)
DYNAMIC = LlamaConfig(
    rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
)
IN_FP32 = LlamaConfig(dtype=torch.float32)
IN_8_BITS = LlamaConfig(quantization_config=BitsAndBytesConfig(load_in_8bit=True))
IN_4_BITS = LlamaConfig(quantization_config={"load_in_4bit": True, "load_in_8bit": False})
WIDE_HEADS = LlamaConfig(head_dim=512)
ALL = ("adapters", "liger", "lean_loss", "graph")


def on(chosen):
    return {name for name in ALL if getattr(chosen, name)}


@pytest.mark.parametrize(
    ("asked", "gpu", "model", "more", "expected"),
    [
        ("auto", H200, PLAIN, {}, set(ALL)),
        ("off", H200, PLAIN, {}, set()),
        ("auto", CPU, PLAIN, {}, {"adapters"}),
        ("off", CPU, PLAIN, {}, set()),
        ("auto", CPU, PLAIN, {"lora_dropout": 0.1}, set()),
        ("auto", CPU, PLAIN, {"nproc": 2, "zero_stage": 3}, set()),
        ("auto", T4, PLAIN, {}, set()),  # no bf16, no flash attention
        ("auto", H200, PLAIN, {"lora_dropout": 0.1}, {"liger", "lean_loss"}),
        ("auto", H200, SOFTCAP, {}, {"adapters", "liger"}),  # its logits are changed afterwards
        ("auto", H200, DYNAMIC, {}, {"adapters", "liger", "lean_loss"}),  # asks the GPU for lengths
        ("auto", H200, IN_8_BITS, {}, {"adapters", "liger", "lean_loss"}),  # looks for outliers
        ("auto", H200, IN_4_BITS, {}, set(ALL)),
        ("auto", H200, IN_FP32, {}, {"adapters", "liger"}),  # flash attention takes 16 bits
        ("auto", H200, WIDE_HEADS, {}, {"adapters", "liger"}),
        ("auto", H200, PLAIN, {"nproc": 2}, {"adapters", "liger"}),
        ("auto", H200, PLAIN, {"zero_stage": 2}, {"adapters", "liger"}),
        ("auto", H200, PLAIN, {"nproc": 2, "zero_stage": 3}, set()),
    ],
)
def test_the_choice_depends_on_the_machine_the_model_and_the_run(asked, gpu, model, more, expected):
    assert on(kernels.choose(asked, kernels.Machine(gpu, True), model, **more)) == expected


def test_without_liger_the_rest_is_used_and_the_missing_part_named():
    chosen = kernels.choose("auto", kernels.Machine(H200, False), PLAIN)
    assert on(chosen) == {"adapters", "lean_loss", "graph"}
    assert "liger-kernel is not installed" in chosen.notes[0]
    assert "pip install" in chosen.notes[0]


def test_nothing_missing_is_named_where_nothing_is_asked_for():
    for asked, gpu in (("off", H200), ("auto", CPU)):
        assert kernels.choose(asked, kernels.Machine(gpu, False), PLAIN).notes == ()


def test_the_choice_in_words():
    assert kernels.OFF.words() == "none"
    assert kernels.Kernels(adapters=True, graph=True).words() == "fused adapters, captured step"


def test_a_mixture_of_experts_is_trained_without_a_capture():
    chosen = kernels.choose("auto", kernels.Machine(H200, True), Qwen3MoeConfig())
    assert on(chosen) == {"adapters", "liger", "lean_loss"}


# --- the same numbers ----------------------------------------------------------------------------


@pytest.fixture
def batch():
    return two_packs()


def gradients(model):
    return torch.cat([w.grad.flatten() for w in model.parameters() if w.requires_grad])


@pytest.mark.parametrize("has_checkpoints", [False, True])
def test_a_lean_step_has_the_loss_and_gradients_of_the_plain_one(
    batch, has_checkpoints, monkeypatch
):
    monkeypatch.setattr(varlen, "varlen_attn", rows_apart)
    plain, lean = adapted(), adapted()
    expected = plain(**batch).loss
    expected.backward()
    if has_checkpoints:
        lean.gradient_checkpointing_enable({"use_reentrant": False})
    step = kernels.speed_up(lean, kernels.Kernels(adapters=True, lean_loss=True), 2, 16)
    loss = step(**batch)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradients(lean), gradients(plain), rtol=1e-3, atol=1e-6)


def test_the_loss_is_divided_by_the_number_given(batch, monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", rows_apart)
    model = adapted()
    step = kernels.speed_up(model, kernels.Kernels(lean_loss=True), 2, 16)
    own = step(**batch).item()
    has_loss = (batch["labels"][:, 1:] != -100).sum().item()
    assert step(**batch, num_items_in_batch=torch.tensor(5)).item() == pytest.approx(
        own * has_loss / 5, rel=1e-5
    )


def test_packs_of_one_row_need_no_boundaries(batch):
    plain, lean = adapted(), adapted()
    del batch["position_ids"]
    expected = plain(**batch).loss
    step = kernels.speed_up(lean, kernels.Kernels(lean_loss=True), 2, 16)
    assert step(**batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_fused_adapters_train_on_4_bit_weights_as_peft_does(batch):
    plain, fused_model = adapted(4), adapted(4)
    for model in (plain, fused_model):
        model.to(torch.float32)  # bf16 would round differently
        for layer in loading.linear_layers(model):
            if hasattr(layer[1], "compute_dtype"):
                layer[1].compute_dtype = torch.float32
    assert fused.fuse_adapters(fused_model) == 42  # 6 blocks of 7 layers
    for model in (plain, fused_model):
        model(**batch).loss.backward()
    far = (gradients(fused_model) - gradients(plain)).norm() / gradients(plain).norm()
    assert far < 1e-2


def test_fused_adapters_do_what_they_did_in_eval_mode_and_switched_off(batch):
    plain, fused_model = adapted().eval(), adapted().eval()
    fused.fuse_adapters(fused_model)
    ids = batch["input_ids"]
    with torch.no_grad():
        assert torch.equal(fused_model(ids).logits, plain(ids).logits)
        with plain.disable_adapter(), fused_model.disable_adapter():
            assert torch.equal(fused_model.train()(ids).logits, plain.train()(ids).logits)


def test_adapters_with_dropout_stay_as_they_are():
    assert fused.fuse_adapters(adapted(lora_dropout=0.1)) == 0


def test_a_recomputed_block_leaves_out_its_last_product(batch, monkeypatch):
    """7 products a block forward, 6 again, 7 backward; the first block needs 3 less there."""
    made = []
    weight_of = fused.dense_weight
    monkeypatch.setattr(fused, "dense_weight", lambda *w: (made.append(1), weight_of(*w))[1])
    model = adapted()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    fused.fuse_adapters(model)
    model(**batch).loss.backward()
    assert len(made) == 6 * (7 + 6 + 7)


@pytest.mark.parametrize("slice_size", [1, 40, 2**24])
def test_the_loss_in_slices_is_the_cross_entropy(slice_size, monkeypatch):
    monkeypatch.setattr(fused, "SLICE", slice_size)
    torch.manual_seed(0)
    head = torch.randn(11, 8)
    hidden = torch.randn(2, 6, 8, requires_grad=True)
    labels = torch.randint(0, 11, (2, 6))
    labels[0, :3] = -100
    expected = F.cross_entropy(
        (hidden @ head.T)[:, :-1].reshape(-1, 11), labels[:, 1:].reshape(-1), ignore_index=-100
    )
    (wanted,) = torch.autograd.grad(expected, hidden)
    loss = fused.sliced_loss(hidden, head, labels, captured.count_items(labels, None))
    (grad,) = torch.autograd.grad(loss * 2, hidden)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(grad, wanted * 2)


def test_packed_attention_leaves_generation_alone(pico_tokenizer):
    model = loading.load_model("pico-chat", 32)
    ids = pico_tokenizer("What is the capital of France?", return_tensors="pt")
    before = model.generate(**ids, max_new_tokens=8, do_sample=False)
    fused.use_packed_attention(model)
    assert torch.equal(model.generate(**ids, max_new_tokens=8, do_sample=False), before)


@pytest.mark.parametrize(
    ("window", "starts", "expected"),
    [
        (None, [0, 5, 8, 16], ((-1, 0), [0, 5, 8, 16])),
        (4, [0, 5, 8, 16], ((3, 0), [0, 5, 8, 16])),  # a token sees itself and 3 before it
        (4, [], ((3, 0), [0, 8, 16])),  # whole packs, and longer than the window
        (8, [], None),  # the window holds a whole pack: torch's own attention
    ],
)
def test_a_sliding_window_is_kept(window, starts, expected, monkeypatch):
    seen = []

    def attend(query, key, value, begins, *ends, window_size, **how):
        seen.append((window_size, begins.tolist()))
        return query

    monkeypatch.setattr(varlen, "varlen_attn", attend)
    query = torch.randn(2, 4, 8, 16)
    begins = torch.tensor(starts, dtype=torch.int32)
    module = torch.nn.Module()
    module.is_causal = True
    out, _ = fused._packed_attention(
        module, query, query, query, None, sliding_window=window, row_starts=begins
    )
    assert out.shape == (2, 8, 4, 16)
    assert seen == ([expected] if expected else [])


# --- the optimizer -------------------------------------------------------------------------------


@pytest.mark.parametrize("is_paged", [False, True])
def test_an_optimizer_without_waits_makes_the_same_steps(is_paged, monkeypatch):
    waits = []
    monkeypatch.setattr(bitsandbytes.optim.optimizer, "sync_gpu", waits.append)
    results = []
    for is_spared in (False, True):
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(n, 128)) for n in (64, 2, 96)]
        unused = torch.nn.Parameter(torch.ones(3))
        optimizer = bitsandbytes.optim.AdamW8bit([*weights, unused], lr=0.01, is_paged=is_paged)
        if is_spared:
            fused.spare_waits(optimizer)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        waits.clear()
        for _ in range(3):
            for weight in weights:
                weight.grad = torch.randn_like(weight)
            optimizer.step()
            schedule.step()
        results.append([*weights, unused])
        assert bool(waits) != is_spared
    assert all(map(torch.equal, *results))


def test_an_optimizer_of_torch_stays_as_it_is():
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))])
    fused.spare_waits(optimizer)
    assert type(optimizer) is torch.optim.AdamW


def test_an_optimizer_without_waits_goes_with_its_last_name():
    optimizer = bitsandbytes.optim.AdamW8bit([torch.nn.Parameter(torch.ones(2))])
    fused.spare_waits(optimizer)
    alive = weakref.ref(optimizer)
    del optimizer
    assert alive() is None  # at once, with its states, not when Python looks for circles

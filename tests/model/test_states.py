"""Bytes held all the time, by hand and against what optimizers really keep."""

from dataclasses import replace

import pytest

from benchmarks import memory
from course_lib.model import engines, shapes, states
from course_lib.model.setting import Setting

# One block with one layer of 64 x 128, another of 64 x 32, and 100 weights beside them.
SHAPE = shapes.Shape(
    linears=(("a.q_proj", 64, 128), ("a.v_proj", 64, 32)),
    others=(("norm", (100,)),),
    layers=1,
    hidden=64,
    intermediate=128,
    heads=1,
    kv_heads=1,
    head_width=64,
    vocabulary=10,
)
LINEAR, TRAINED = 64 * 160, 2 * (64 + 128)


@pytest.mark.parametrize(
    ("bits", "compute_bytes", "expected"),
    [
        (4, 2, LINEAR // 2 + LINEAR // 64 + 2.5 + 200),
        (4, 4, LINEAR // 2 + LINEAR // 64 + 2.5 + 400),
        (8, 2, LINEAR + 200),
        (16, 2, 2 * LINEAR + 200),
        (16, 4, 4 * LINEAR + 400),  # a CPU without bf16 holds them in fp32
        (32, 2, 4 * LINEAR + 400),
    ],
)
def test_bytes_of_weights_by_hand(bits, compute_bytes, expected):
    method = "qlora" if bits == 4 else "lora"
    setting = Setting(method, bits=bits, engine=engines.tunebook_engine(compute_bytes))
    assert states.base_bytes(SHAPE, setting) == pytest.approx(expected, abs=0.5)


def test_an_adapters_bytes_by_hand():
    setting = Setting("qlora", r=2, target_modules=["q_proj"])
    assert states.adapter_bytes(SHAPE, setting) == TRAINED * 4
    assert states.gradient_bytes(SHAPE, setting) == TRAINED * 4
    assert states.state_bytes(SHAPE, setting) == 2 * TRAINED * 4
    lean = replace(setting, engine=engines.find_engine("lean"))
    assert states.state_bytes(SHAPE, lean) == 2 * TRAINED * 2


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        # full, fp32: layers of 8,192 and 2,048 weights and a norm of 100
        ("adamw", 8 * (8192 + 2048 + 100)),
        ("sgd", 0),
        ("sgd_momentum", 4 * (8192 + 2048 + 100)),
        ("adafactor", 4 * (64 + 128 + 64 + 32 + 100)),
        ("adamw_8bit", 2 * (8192 + 4 * 32) + 8 * (2048 + 100)),  # small ones stay in fp32
    ],
)
def test_an_optimizers_bytes_by_hand(optimizer, expected):
    setting = Setting("full", bits=32, optimizer=optimizer)
    assert states.state_bytes(SHAPE, setting) == expected


def test_the_table_of_embeddings_keeps_its_states_in_fp32():
    table = replace(SHAPE, others=(*SHAPE.others, ("model.embed_tokens.weight", (4096, 64))))
    setting = Setting("full", bits=32, optimizer="adamw_8bit")
    more = states.state_bytes(table, setting) - states.state_bytes(SHAPE, setting)
    assert more == 8 * 4096 * 64
    paged = replace(setting, optimizer="paged_adamw_8bit")
    assert states.pageable_bytes(table, paged) == more  # all other weights are small


def test_mixed_precision_takes_sixteen_bytes_for_each_weight():
    shape = shapes.known_shape("llama_7b")
    setting = Setting("full")
    parts = (states.base_bytes, states.gradient_bytes, states.state_bytes)
    assert [part(shape, setting) // shape.weights for part in parts] == [2, 2, 12]
    assert states.adapter_bytes(shape, setting) == 0


def test_zero_keeps_a_copy_in_fp32_of_what_it_trains():
    plain = Setting("qlora", r=2)
    count = shapes.adapter_weights(SHAPE, 2, "all-linear")
    assert states.state_bytes(SHAPE, replace(plain, zero=1, gpus=2)) == 12 * count


@pytest.mark.parametrize("optimizer", ["adamw", "adamw_8bit", "sgd", "sgd_momentum", "adafactor"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_an_optimizer_keeps_what_the_estimate_says(method, optimizer):
    setting = Setting(method, 16, bits=32, r=16, optimizer=optimizer)
    model = memory.pico(setting)
    made = memory.make_optimizer(optimizer, model)
    memory.train_step(model, made, memory.make_batch(setting))
    expected = states.state_bytes(shapes.read_shape("pico-chat"), setting)
    assert memory.nbytes(memory.state_tensors(made)) == pytest.approx(expected, rel=0.001)


def test_only_large_weights_are_paged():
    shape = shapes.known_shape("smollm2_135m")
    setting = Setting("full", bits=32, optimizer="paged_adamw_8bit")
    small = sum(states._states((n,), "adamw_8bit", 4) for n in [576] * 61)
    assert states.pageable_bytes(shape, setting) == states.state_bytes(shape, setting) - small

"""Who holds what under ZeRO: the paper's own numbers, shares that add up, steps that stay equal."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import zero
from course_lib.errors import ConfigError
from course_lib.model import estimate, shapes
from course_lib.model.setting import Setting

LLAMA = shapes.known_shape("llama_7b")


@pytest.mark.parametrize(
    ("stage", "gigabytes"),
    # figure 1 of the paper: 7.5 billion weights, 64 devices
    [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)],
)
def test_the_formula_gives_the_papers_own_figures(stage, gigabytes):
    assert zero.paper_bytes(7_500_000_000, 64, stage) / 1e9 == pytest.approx(gigabytes, abs=0.05)


@pytest.mark.parametrize("stage", zero.STAGES)
def test_the_estimate_holds_what_the_formula_says(stage):
    devices = zero.who_holds_what(LLAMA, Setting("full", 16, gpus=4, zero=stage))
    expected = zero.paper_bytes(LLAMA.weights, 4, stage)
    assert [device.number for device in devices] == [0, 1, 2, 3]
    assert [device.nbytes for device in devices] == pytest.approx([expected] * 4, rel=1e-6)


@pytest.mark.parametrize(("stage", "divided"), [(0, 0), (1, 1), (2, 2), (3, 3)])
def test_each_stage_divides_one_thing_more(stage, divided):
    devices = zero.who_holds_what(LLAMA, Setting("full", 16, gpus=4, zero=stage))
    shares = [(share.start, share.end) for share in devices[1].shares.values()]
    whole, quarter = (0.0, 1.0), (0.25, 0.5)
    assert shares == [quarter if place + divided >= 3 else whole for place in range(3)]


def test_with_an_adapter_zero_2_leaves_the_base_whole():
    first, second = zero.who_holds_what(LLAMA, Setting("qlora", gpus=2, zero=2))
    assert list(first.shares) == ["base", "adapter", "gradients", "optimizer states"]
    assert [share.end for share in first.shares.values()] == [1.0, 1.0, 0.5, 0.5]
    assert second.shares["optimizer states"].start == 0.5
    assert first.shares["base"].nbytes > 0.5 * first.nbytes


def test_offload_moves_what_is_divided_into_the_machines_memory():
    setting = Setting("full", 16, gpus=4, zero=2, offload=("optimizer",))
    device = zero.who_holds_what(LLAMA, setting)[3]
    moved = [name for name, share in device.shares.items() if share.is_moved_out]
    assert moved == ["gradients", "optimizer states"]
    memory = estimate.estimate_moments(LLAMA, setting)[-1]
    assert (device.nbytes, device.host_bytes) == (memory.weights, memory.host)
    everything = Setting("full", 16, gpus=4, zero=3, offload=("optimizer", "param"))
    assert zero.who_holds_what(LLAMA, everything)[0].nbytes == 0


def test_four_bits_cannot_be_divided_so_stage_3_is_left_out():
    assert list(zero.all_stages(LLAMA, Setting("qlora", gpus=2))) == [0, 1, 2]
    assert list(zero.all_stages(LLAMA, Setting("lora", gpus=2))) == [0, 1, 2, 3]


@given(st.integers(0, 1000), st.integers(1, 20))
def test_shares_are_everything_once_in_order_and_nearly_equal(count, gpus):
    shares = zero.divide(count, gpus)
    assert [number for share in shares for number in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 6))
def test_steps_in_shares_are_steps_in_one_to_the_last_bit(gpus):
    torch.manual_seed(0)
    weights, gradients = torch.randn(37), list(torch.randn(5, 37))
    alone = zero.adamw_in_shares(weights, gradients, 1)
    assert torch.equal(zero.adamw_in_shares(weights, gradients, gpus), alone)
    assert not torch.equal(alone, weights)


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="among 0 devices"):
        zero.divide(5, 0)
    with pytest.raises(ConfigError, match="no ZeRO stage 4"):
        zero.paper_bytes(10, 2, 4)
    with pytest.raises(ConfigError, match="gpus is 0"):
        zero.paper_bytes(10, 0, 1)

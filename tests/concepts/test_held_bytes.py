"""Memory counted while code runs, against counts by hand and against what autograd keeps."""

import pytest
import torch

from course_lib.concepts import gradients, held_bytes
from course_lib.concepts.held_bytes import Held
from course_lib.model import loading

ONES = torch.ones(1000)  # 4000 bytes; older than each count


def make_two_drop_one():
    first = ONES + 1
    second = first * 2
    del first
    return second


def share_memory():
    made = ONES * 2
    made.add_(1)  # in place
    return made.view(10, 100)[:3], made.t()  # two views


def make_one_after_the_other():
    for _ in range(5):
        ONES * 2


def work_on_what_was_there():
    return ONES.view(10, 100)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (make_two_drop_one, Held(peak=8000, largest=4000, left=4000)),
        (share_memory, Held(4000, 4000, 4000)),
        (make_one_after_the_other, Held(4000, 4000, 0)),
        (work_on_what_was_there, Held(0, 0, 0)),
        (lambda: (torch.zeros(10), torch.zeros(3, dtype=torch.int64)), Held(64, 40, 64)),
    ],
)
def test_bytes_by_hand(function, expected):
    assert held_bytes.measure_held(function) == expected


def test_a_tensor_from_before_that_ends_makes_room_for_others():
    old = [torch.ones(500)]

    def replace():
        made = old.pop() * 2
        return made * 2

    assert held_bytes.measure_held(replace) == Held(4000, 2000, 2000)


def test_the_backward_pass_counts_too():
    weight = torch.ones(1000, requires_grad=True)
    held = held_bytes.measure_held(lambda: (weight * ONES).sum().backward())
    # the gradient stays; it is made when the sum (4) and the sum's own gradient (4) are there
    assert held == Held(peak=4008, largest=4000, left=4000)


def test_what_is_left_after_a_forward_pass_is_what_autograd_keeps():
    model = loading.attach_lora(loading.load_model("pico-chat", 32), r=4, lora_alpha=8)
    ids = torch.arange(64).reshape(2, 32)
    batch = {"input_ids": ids, "labels": ids}

    def forward():
        with gradients.checkpointed(model, False):
            return model(**batch).loss

    loss = 4  # bytes of the number itself
    held = held_bytes.measure_held(forward)
    assert held.left == pytest.approx(gradients.saved_bytes(model, batch) + loss, rel=0.001)
    assert held.peak > held.left

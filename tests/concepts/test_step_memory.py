"""A step's bytes on a layer small enough to count by hand, and on pico beside the estimate."""

from types import SimpleNamespace

import torch

from course_lib.concepts import step_memory
from course_lib.model import estimate, loading, shapes
from course_lib.model.setting import Setting


class OneLayer(torch.nn.Module):
    """A weight of 1,000 numbers; the loss is the mean of weight times input."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1000))

    def forward(self, x):
        return SimpleNamespace(loss=(self.weight * x).mean())


def test_weights_states_gradient_and_products_by_hand():
    counted = step_memory.count_step(OneLayer(), {"x": torch.ones(1000)})
    # at the peak: the weight, two moments, the products of the forward pass or their gradient,
    # and the gradient: 4 kB each; a few numbers for the mean and the count of steps
    assert 5 * 4000 <= counted <= 6 * 4000 + 200


def test_the_estimate_of_picos_lora_is_near_what_is_counted():
    model = loading.attach_lora(loading.load_model("pico-chat", bits=32), r=8, lora_alpha=16)
    ids = torch.arange(256).reshape(2, 128)
    counted = step_memory.count_step(model, {"input_ids": ids, "labels": ids})
    setting = Setting("lora", length=128, rows=2, bits=32, r=8)
    estimated = estimate.estimate_memory(shapes.read_shape("pico-chat"), setting).total
    assert abs(estimated / counted - 1) < 0.05

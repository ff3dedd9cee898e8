"""LoRA by hand: beside a frozen weight two thin matrices, whose product is what is learned.

A layer with a weight of 256 x 256 has 65,536 numbers to train. With r = 8 its change is B @ A, with
B of 256 x 8 and A of 8 x 256: 4,096 numbers, and the weight itself stays as it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from course_lib.errors import ModelError
from course_lib.model import loading, shapes

Targets = str | Sequence[str]


def low_rank_change(
    x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float
) -> torch.Tensor:
    """Work out what LoRA adds to a layer's output.

    Args:
        x: the layer's inputs, (..., in).
        a: (r, in).
        b: (out, r).
        scale: lora_alpha / r.

    Returns:
        scale * b a x for each x, (..., out). b a itself, as large as the layer's weight, is never
        made: x goes through the narrow middle.
    """
    narrow = functional.linear(x, a)  # x a^T, (..., r)
    return functional.linear(narrow, b) * scale


class LoraLinear(torch.nn.Module):
    """A linear layer that is frozen, and beside it a change of rank r that is trained.

    Args:
        base: the layer; its weight and bias are frozen.
        r: rank of the change: rows of A and columns of B.
        lora_alpha: the change is multiplied by lora_alpha / r, so that another r needs no other
            learning rate.
        lora_dropout: share of the change's inputs that is dropped while training, 0 to 1.

    Raises:
        ModelError: r or lora_alpha is not above 0, or the dropout is no share.

    Source: Hu et al. 2021, "LoRA", arXiv:2106.09685, section 4.1; the same as peft's layer.
    """

    def __init__(
        self, base: torch.nn.Linear, r: int, lora_alpha: float, lora_dropout: float = 0.0
    ) -> None:
        super().__init__()
        _check(r, lora_alpha, lora_dropout)
        self.base = base.requires_grad_(False)
        self.lora_A = torch.nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = torch.nn.Parameter(torch.zeros(base.out_features, r))
        self.scale = lora_alpha / r
        self.dropout = torch.nn.Dropout(lora_dropout)  # does nothing in eval mode
        # A is random as in a new linear layer, B is zero: at first the change is nothing. Were both
        # zero, neither would ever get a gradient, as that of each is multiplied by the other.
        torch.nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the layer and its change.

        Args:
            x: inputs, (..., in).

        Returns:
            x W^T + bias + scale * x A^T B^T, (..., out).
        """
        unchanged = self.base(x)  # first, as peft does: so the backward pass sums in its order
        return unchanged + low_rank_change(self.dropout(x), self.lora_A, self.lora_B, self.scale)

    def merge(self) -> torch.nn.Linear:
        """Add the change to the weight.

        Returns:
            A plain layer that does the same: its weight is W + scale * B A. This one stays.
        """
        base = self.base
        merged = torch.nn.Linear(base.in_features, base.out_features, base.bias is not None)
        merged.load_state_dict(base.state_dict())
        with torch.no_grad():
            merged.weight += self.lora_B @ self.lora_A * self.scale
        return merged


def add_lora(
    model: torch.nn.Module, r: int, lora_alpha: float, target_modules: Targets = "all-linear"
) -> list[str]:
    """Freeze a model, and put a `LoraLinear` in the place of each targeted layer.

    Args:
        model: a base model in 32 bits; it is changed.
        r: rank.
        lora_alpha: as in `LoraLinear`.
        target_modules: "all-linear" (all but the output layer), or names of layers.

    Returns:
        Full names of the layers that were replaced.

    Raises:
        ModelError: no layer has one of the names, or as in `LoraLinear`.
    """
    head = model.get_output_embeddings()
    layers = {name: layer for name, layer in loading.linear_layers(model) if layer is not head}
    if target_modules != "all-linear":
        names = [target_modules] if isinstance(target_modules, str) else list(target_modules)
        loading.check_targets(list(layers), names)
        ends = tuple(f".{name}" for name in names)
        layers = {n: layer for n, layer in layers.items() if f".{n}".endswith(ends)}
    replaced = {name: LoraLinear(layer, r, lora_alpha) for name, layer in layers.items()}
    model.requires_grad_(False)
    for name, layer in replaced.items():
        model.set_submodule(name, layer)
        layer.lora_A.requires_grad_()
        layer.lora_B.requires_grad_()
    return list(replaced)


@dataclass(frozen=True)
class TrainableShare:
    """How much of a model an adapter trains.

    Args:
        target_modules: "all-linear", or names of layers.
        r: rank.
        trainable: weights of the adapter.
        share: of them in all weights, the adapter's own included, 0 to 1; as peft counts it.
    """

    target_modules: Targets
    r: int
    trainable: int
    share: float


def tabulate_trainable(
    shape: shapes.Shape, ranks: Sequence[int], targets: Sequence[Targets]
) -> list[TrainableShare]:
    """Count what adapters of several ranks and targets train.

    Args:
        shape: of the base, from `shapes.read_shape`.
        ranks: values of r.
        targets: values of `target_modules`.

    Returns:
        A line for each of the targets with each r, in this order.

    Raises:
        ModelError: an r is not above 0, or no layer has one of the names.
    """
    lines = []
    for target_modules in targets:
        for r in ranks:
            _check(r)
            trainable = shapes.adapter_weights(shape, r, target_modules)
            share = trainable / (shape.weights + trainable)
            lines.append(TrainableShare(target_modules, r, trainable, share))
    return lines


def _check(r: int, lora_alpha: float = 1, lora_dropout: float = 0) -> None:
    if not (isinstance(r, int) and r > 0):
        raise ModelError(f"r is {r}: the change would have no rank.", "Use 1 or more; 8 is common.")
    if lora_alpha <= 0:
        raise ModelError(f"lora_alpha is {lora_alpha}.", f"Use more than 0; 2 * r = {2 * r}, say.")
    if not 0 <= lora_dropout < 1:
        raise ModelError(f"lora_dropout is {lora_dropout}.", "Use a share from 0 to below 1.")

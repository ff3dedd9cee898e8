"""What lies between the forward and the backward pass: gradients, and the tensors kept for them.

Accumulation pays for a large batch with time: several small batches, one after the other, add up
their gradients before the optimizer takes one step. Checkpointing pays for memory with time: a
layer keeps its input only, and works the rest out again when the backward pass comes by.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from course_lib.data.masking import IGNORE_INDEX
from course_lib.errors import ConfigError, NothingToLearnError
from course_lib.model.quiet import quiet_libraries

Batch = Mapping[str, torch.Tensor]
Gradients = dict[str, torch.Tensor]
NormaliseBy = Literal["loss_tokens", "micro_batches"]


@dataclass(frozen=True)
class Saved:
    """Memory that autograd keeps for the backward pass.

    Args:
        shape: of the tensor that was saved first from this memory.
        dtype: its type.
        nbytes: of the memory.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    nbytes: int


def saved_bytes(model: torch.nn.Module, batch: Batch, checkpointing: bool = False) -> int:
    """Count the bytes that autograd keeps from the forward pass for the backward pass.

    Args:
        model: with trainable weights.
        batch: `input_ids` and `labels`, each (rows, tokens), and what else the model reads.
        checkpointing: let each layer keep its input only.

    Returns:
        Bytes, as in `list_saved`.
    """
    return sum(saved.nbytes for saved in list_saved(model, batch, checkpointing))


def list_saved(model: torch.nn.Module, batch: Batch, checkpointing: bool = False) -> list[Saved]:
    """List what autograd keeps from the forward pass for the backward pass.

    Args:
        model: with trainable weights.
        batch: as in `saved_bytes`.
        checkpointing: let each layer keep its input only.

    Returns:
        One line for each piece of memory, in the order of the forward pass. Two tensors that share
        memory are one line. Weights are left out: they are there anyhow. So are a few tensors that
        no hook sees: what checkpointing hands to all layers alike (the tables of RoPE), and a 4-bit
        weight's scales.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Saved] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved = Saved(tuple(tensor.shape), tensor.dtype, storage.nbytes())
            kept.setdefault(storage.data_ptr(), saved)
        return tensor

    with (
        checkpointed(model, checkpointing),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        loss = model(**batch).loss  # as long as the loss is here, so is all that was saved
    assert loss.requires_grad, "nothing is kept for a model without a trainable weight"
    return list(kept.values())


@contextmanager
def checkpointed(model: torch.nn.Module, checkpointing: bool = True) -> Iterator[None]:
    """Switch gradient checkpointing on or off, in training mode, and put everything back after it.

    Args:
        model: a transformers or peft model.
        checkpointing: False switches it off.

    Yields:
        Nothing.
    """
    was_on = any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    was_training, used_cache = model.training, model.config.use_cache
    model.train()  # transformers checkpoints in training only
    model.config.use_cache = False  # a cache would keep keys and values of its own
    _switch(model, checkpointing)
    try:
        yield
    finally:
        _switch(model, was_on)
        model.config.use_cache = used_cache
        model.train(was_training)


def _switch(model: torch.nn.Module, on: bool) -> None:
    with quiet_libraries():  # the newest transformers has another name for it, older ones have not
        if on:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        else:
            model.gradient_checkpointing_disable()
            model.disable_input_require_grads()  # a hook that switching on leaves at the embeddings


def compute_gradients(
    model: torch.nn.Module, batch: Batch, checkpointing: bool = False
) -> Gradients:
    """Compute the gradients of a batch's loss.

    Args:
        model: with trainable weights.
        batch: as in `saved_bytes`.
        checkpointing: let each layer keep its input only, and work the rest out again.

    Returns:
        A gradient for each trainable weight, by its name. The model's own `.grad` stay empty.

    Raises:
        NothingToLearnError: no token of the batch carries loss.
    """
    with checkpointed(model, checkpointing):
        return accumulate_gradients(model, [batch])


def accumulate_gradients(
    model: torch.nn.Module,
    micro_batches: Sequence[Batch],
    normalise_by: NormaliseBy = "loss_tokens",
) -> Gradients:
    """Compute the gradients of a large batch from small ones, one after the other.

    Args:
        model: with trainable weights.
        micro_batches: the small batches, each as in `saved_bytes`.
        normalise_by: "loss_tokens" gives each token of the large batch the same say, as one large
            batch would. "micro_batches" takes the plain mean over the small batches, the classic
            mistake: where one holds few tokens with loss, each of those weighs more.

    Returns:
        A gradient for each trainable weight, by its name. The model's own `.grad` stay empty.

    Raises:
        ConfigError: there is no such way to normalise.
        NothingToLearnError: a micro batch has no token with loss; names it.
    """
    shares = loss_shares([batch["labels"] for batch in micro_batches], normalise_by)
    model.zero_grad()
    for batch, share in zip(micro_batches, shares, strict=True):
        # the loss is a mean over the tokens with loss; backward adds to each weight's .grad
        (share * model(**batch).loss).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return gradients


def loss_shares(
    labels: Sequence[torch.Tensor], normalise_by: NormaliseBy = "loss_tokens"
) -> list[float]:
    """Weigh the mean losses of micro batches.

    Args:
        labels: those of each micro batch, (rows, tokens).
        normalise_by: as in `accumulate_gradients`.

    Returns:
        The share of each; together they are 1.

    Raises:
        ConfigError: there is no such way to normalise.
        NothingToLearnError: a micro batch has no token with loss; names it.
    """
    if normalise_by not in ("loss_tokens", "micro_batches"):
        raise ConfigError(f"normalise_by is {normalise_by!r}.", "Use loss_tokens or micro_batches.")
    counts = [int((rows[:, 1:] != IGNORE_INDEX).sum()) for rows in labels]
    for number, count in enumerate(counts, 1):
        if count == 0:
            raise NothingToLearnError(
                f"micro batch {number} of {len(counts)} has no token with loss: its mean is 0 / 0.",
                "Leave it out, or look at its labels.",
            )
    if normalise_by == "micro_batches":
        return [1 / len(counts) for _ in counts]
    return [count / sum(counts) for count in counts]


def relative_difference(left: Gradients, right: Gradients) -> float:
    """Measure how far two sets of gradients are apart.

    Args:
        left: gradients by name.
        right: the same names.

    Returns:
        The length of the difference over the length of `right`, all weights taken together: 0 when
        they are the same, near 1 and above when they have little in common.
    """
    assert left.keys() == right.keys(), "gradients of different weights"
    apart = sum(float((left[name] - right[name]).double().square().sum()) for name in right)
    size = sum(float(right[name].double().square().sum()) for name in right)
    return (apart / size) ** 0.5

"""A micro step without logits, and the same one captured as CUDA graphs.

A GPU step of a small batch waits for Python: some 400 operations for each block, each started
alone. Packs have one shape, so what one step starts, every step starts. A CUDA graph records it
once and starts it all at a word. Two graphs, forward and backward, stand behind an ordinary loss:
`loss.backward()` works, and the Trainer notices nothing.
"""

import warnings
from functools import partial
from typing import Any

import torch
from peft import PeftModel

from course_lib.data.masking import IGNORE_INDEX
from course_lib.errors import ModelError
from course_lib.model import fused

WARM_UPS = 2  # eager steps before the capture: libraries choose and load their kernels in them
NO_ROOM = "The GPU has no room for a captured step: training goes on without, which is slower."
FEWEST_ROWS = 8  # places for rows that a captured step has at least


class LeanStep:
    """A micro step whose loss is made in slices and whose attention knows where rows begin."""

    def __init__(self, model: PeftModel) -> None:
        """Take a model whose base uses `fused.use_packed_attention`."""
        self.base = model.get_base_model()

    def __call__(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """The loss of a batch of packs.

        Args:
            input_ids: (packs, tokens).
            labels: (packs, tokens), not shifted.
            position_ids: (packs, tokens), from 0 in each row; one row a pack when left out.
            num_items_in_batch: labels to divide by; those of this batch when left out.

        Returns:
            A tensor without dimensions.
        """
        positions = whole_rows(input_ids) if position_ids is None else position_ids
        items = count_items(labels, num_items_in_batch)
        return self.loss(input_ids, labels, positions, row_starts(positions), items)

    def loss(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor,
        starts: torch.Tensor,
        items: torch.Tensor,
    ) -> torch.Tensor:
        """As in a call, with `row_starts` and `count_items` done: nothing waits for the GPU."""
        output = self.base.get_decoder()(
            input_ids=input_ids,
            position_ids=position_ids,
            # four dimensions: transformers takes it as a finished mask and makes none
            attention_mask=input_ids.new_ones((1, 1, 1, 1)),
            use_cache=False,
            row_starts=starts,
        )
        head = self.base.get_output_embeddings()
        return fused.sliced_loss(output.last_hidden_state, head.weight, labels, items)


def whole_rows(input_ids: torch.Tensor) -> torch.Tensor:
    """Position ids of packs that are one row each."""
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)


def row_starts(position_ids: torch.Tensor, places: int = 0) -> torch.Tensor:
    """Where rows begin in a batch laid out as one line, and where the line ends.

    Args:
        position_ids: (packs, tokens), from 0 in each row.
        places: length of the result; filled with the line's end, which means empty rows.

    Returns:
        int32, (rows + 1,) or (places,); without `places`, empty when each pack is one row.
    """
    line = position_ids.flatten()
    starts = (line == 0).nonzero().flatten().to(torch.int32)
    if not places and len(starts) == len(position_ids):
        return starts[:0]
    ends = starts.new_full((max(1, places - len(starts)),), len(line))
    return torch.cat([starts, ends])


def count_items(labels: torch.Tensor, asked: torch.Tensor | int | None) -> torch.Tensor:
    """The number of labels to divide the loss by, on the labels' device."""
    if asked is None:
        return (labels[:, 1:] != IGNORE_INDEX).sum()
    return torch.as_tensor(asked, device=labels.device)


class CapturedStep:
    """A lean step replayed from two CUDA graphs; batches are padded to one shape.

    Where a step is one micro batch, the backward graph makes the gradients in memory that its
    activations have left, and the next forward graph writes over them. Once a batch comes while
    gradients are still there, they are to be added up: from then on they have places of their own,
    which take memory all the time.
    """

    def __init__(self, step: LeanStep, packs: int, tokens: int) -> None:
        """Take the step and the largest batch that will come."""
        self.step = step
        self.shape = (packs, tokens)
        self.weights = [p for p in step.base.parameters() if p.requires_grad]
        self.device = self.weights[0].device
        self.anchor = torch.zeros((), device=self.device, requires_grad=True)
        self.grads: list[torch.Tensor | None] = []
        self.adds_up = False
        self.batch: dict[str, torch.Tensor] = {}
        self.has_no_room = False

    def __call__(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """As `LeanStep`; a batch of another shape than the captured one is padded to it."""
        is_too_large = any(n > most for n, most in zip(input_ids.shape, self.shape, strict=True))
        positions = whole_rows(input_ids) if position_ids is None else position_ids
        items = count_items(labels, num_items_in_batch)
        if is_too_large or self.has_no_room:
            return self.step(input_ids, labels, positions, items)
        if not self.adds_up and any(weight.grad is not None for weight in self.weights):
            self._add_up()
        self._fill(input_ids, labels, positions, items)
        if self.has_no_room:
            return self.step(input_ids, labels, positions, items)
        return _Replay.apply(self.anchor, self)

    def _fill(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor,
        items: torch.Tensor,
    ) -> None:
        """Put a batch where the graphs read it; capture first when they cannot hold its rows."""
        filled = {
            "input_ids": _padded(input_ids, self.shape, input_ids.new_zeros(self.shape)),
            "labels": _padded(labels, self.shape, labels.new_full(self.shape, IGNORE_INDEX)),
            "position_ids": _padded(position_ids, self.shape, self._padding(position_ids)),
        }
        filled["starts"] = self._place_rows(position_ids, filled["position_ids"])
        filled["items"] = items
        if not self.batch or len(self.batch["starts"]) != len(filled["starts"]):
            self.batch = {name: value.clone() for name, value in filled.items()}
            self._capture()
        for name, value in filled.items():
            self.batch[name].copy_(value)

    def _place_rows(self, position_ids: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
        """Row starts, in as many places as before if they suffice; none while packs are whole."""
        before = len(self.batch["starts"]) if self.batch else 0
        if not before and not len(row_starts(position_ids)):
            return row_starts(position_ids)
        rows = int((padded == 0).sum())
        return row_starts(padded, before if rows < before else max(FEWEST_ROWS, 2 * rows))

    def _padding(self, position_ids: torch.Tensor) -> torch.Tensor:
        """Positions of a batch of padding: from 0 where a pack's padding begins."""
        packs, tokens = position_ids.shape
        positions = torch.arange(self.shape[1], device=position_ids.device).repeat(self.shape[0], 1)
        positions[:packs] -= tokens
        return positions

    def _add_up(self) -> None:
        """Move the gradients that are there out of the graphs' memory, to stay and to grow."""
        self.adds_up = True
        self.grads = [
            torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            for weight in self.weights
        ]
        self._set_grads(self.grads)
        if self.batch:
            self._capture(is_new=False)

    def _capture(self, is_new: bool = True) -> None:
        """Record forward and backward; what weights and gradients hold stays.

        Args:
            is_new: nothing like it was recorded before.
        """
        held = [weight.grad for weight in self.weights]
        self.loss, self.graphs = None, ()  # the old ones' memory is needed
        if not self.adds_up:
            self.grads = []  # this too
        _keep_no_random_state(self.step.base)
        if is_new:
            self._warm_up()
        self.has_no_room = _free_bytes() < self._needed_bytes()
        if self.has_no_room:
            warnings.warn(NO_ROOM, stacklevel=2)
            self._set_grads(held)
            return
        self._set_grads(self.grads or [None] * len(self.weights))
        try:
            self._record()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ModelError(
                f"A step of this model cannot be captured: {str(error).splitlines()[0]}",
                "Set `kernels: off` in the config and train again.",
            ) from error
        self.grads = [weight.grad for weight in self.weights]
        self._set_grads(held)

    def _needed_bytes(self) -> int:
        """What the warm-up took at its peak, gradients with it, and AdamW's two moments."""
        taken = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
        return taken + 2 * sum(weight.nbytes for weight in self.weights)

    def _record(self) -> None:
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(forward, capture_error_mode="thread_local"):
            self.loss = self._eager()
        self.scale = torch.ones_like(self.loss)
        with torch.cuda.graph(backward, forward.pool(), capture_error_mode="thread_local"):
            torch.autograd.backward(self.loss, self.scale)
        self.loss = self.loss.detach()
        self.graphs = (forward, backward)

    def _warm_up(self) -> None:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._set_grads([None] * len(self.weights))
                self._eager().backward()
            self._set_grads([None] * len(self.weights))
        torch.cuda.current_stream().wait_stream(side)

    def _eager(self) -> torch.Tensor:
        names = ("input_ids", "labels", "position_ids", "starts", "items")
        return self.step.loss(*(self.batch[name] for name in names))

    def _set_grads(self, grads: list[torch.Tensor | None]) -> None:
        for weight, grad in zip(self.weights, grads, strict=True):
            weight.grad = grad

    def forward(self) -> torch.Tensor:
        """Replay the forward pass of the batch that was filled in."""
        self.graphs[0].replay()
        return self.loss.clone()

    def backward(self, scale: torch.Tensor) -> None:
        """Replay the backward pass, which makes the weights' gradients or adds to them."""
        self.scale.copy_(scale)
        if self.adds_up:
            self._take_over_grads()
        self.graphs[1].replay()
        if not self.adds_up:
            self._hand_out_grads()

    def _hand_out_grads(self) -> None:
        for weight, grad in zip(self.weights, self.grads, strict=True):
            if weight.grad is None:
                weight.grad = grad
            elif grad is not None:  # something else gave one since the forward pass
                weight.grad.add_(grad)

    def _take_over_grads(self) -> None:
        """After an optimizer step there are none; others must go on in the known places."""
        pairs = list(zip(self.weights, self.grads, strict=True))
        new = [grad for weight, grad in pairs if weight.grad is None]
        if new:
            torch._foreach_zero_(new)
        for weight, grad in pairs:
            if weight.grad is not None and weight.grad is not grad:
                grad.copy_(weight.grad)
            weight.grad = grad


class _Replay(torch.autograd.Function):
    """The captured step as one operation of autograd."""

    @staticmethod
    def forward(ctx: Any, anchor: torch.Tensor, step: CapturedStep) -> torch.Tensor:
        """Replay the first graph."""
        ctx.step = step
        return step.forward()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[None, None]:
        """Replay the second."""
        ctx.step.backward(grad)
        return None, None


def _free_bytes() -> int:
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()[0]


def _keep_no_random_state(model: torch.nn.Module) -> None:
    """Gradient checkpointing keeps it for dropout; here is none, and a capture cannot read it."""
    for module in model.modules():
        checkpoint = getattr(module, "_gradient_checkpointing_func", None)
        if checkpoint is not None:
            module._gradient_checkpointing_func = partial(checkpoint, preserve_rng_state=False)


def _padded(values: torch.Tensor, shape: tuple[int, int], padding: torch.Tensor) -> torch.Tensor:
    if values.shape == shape:
        return values
    padding[: values.shape[0], : values.shape[1]] = values
    return padding

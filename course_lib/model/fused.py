"""The four places where a training step on a GPU wastes most, done in fewer and smaller steps.

- An adapter layer: peft copies the input to fp32 and makes five tensors as large as the layer's
  output. Here the adapter's part is added to the product in place, and backward keeps the input
  only.
- The loss: logits for a whole batch take 12 bytes for each token and word. Here they are made, used
  and dropped a slice of tokens at a time, forward and backward at once.
- Attention in packs: instead of a mask of tokens x tokens, flash attention gets the places where
  rows begin. It does no work between rows, so packs cost what their rows cost. Packs that are one
  row each need no places, and torch has a faster kernel for them.
- AdamW in 8 bits: bitsandbytes waits for the GPU after each weight, and there are hundreds.

All compute what transformers, peft and bitsandbytes compute, up to rounding; the tests compare
them.
"""

import importlib.util
import inspect
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own habit)
from peft.tuners.lora import LoraLayer
from torch.nn.attention import varlen
from transformers import PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from course_lib.data.masking import IGNORE_INDEX

PACKED = "packed_rows"  # its name among transformers' attention functions
SLICE = 2**24  # logits in a slice: 64 MiB in fp32
HAS_TRITON = importlib.util.find_spec("triton") is not None
# torch 2.11 needs no word for it when several query heads share one key head
SHARED_HEADS = {"enable_gqa"} & inspect.signature(varlen.varlen_attn).parameters.keys()


# --- adapter layers ------------------------------------------------------------------------------


class _Keep(torch.autograd.Function):
    """Keep a layer's input for its backward pass, as a step of its own before the product.

    Gradient checkpointing recomputes a block only until all that it kept is there again: so the
    block's last product, which nobody needs a second time, is left out.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        """Keep it."""
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        """The input was not changed."""
        return grad


class _AdapterProduct(torch.autograd.Function):
    """x W^T + scale * (x A^T) B^T, where the base weight W is frozen and may be in 4 bits."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        layer: torch.nn.Linear,
        scale: float,
        kept: Any,
    ) -> torch.Tensor:
        """Both products in one tensor."""
        ctx.a, ctx.b, ctx.layer, ctx.scale, ctx.kept = a, b, layer, scale, kept
        if kept is None:
            ctx.save_for_backward(x)
        rows = x.reshape(-1, x.shape[-1])
        low = rows @ a.to(x.dtype).T
        out = F.linear(rows, dense_weight(layer, x.dtype), layer.bias)
        out.addmm_(low, b.to(x.dtype).T, alpha=scale)
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the input and of both adapter matrices; the base has none."""
        (x,) = ctx.saved_tensors if ctx.kept is None else ctx.kept.saved_tensors
        rows, grads = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        a, b = ctx.a.to(x.dtype), ctx.b.to(x.dtype)
        low = rows @ a.T
        grad_low = (grads @ b).mul_(ctx.scale)
        grad_a, grad_b = _empty_pair(ctx.a, ctx.b)
        grad_b.copy_((grads.T @ low).mul_(ctx.scale))
        grad_a.copy_(grad_low.T @ rows)
        shape, dtype, grad_x = x.shape, x.dtype, None
        del x, rows, low  # the peak is here: a recomputed input need not wait for the weight
        if ctx.needs_input_grad[0]:
            grad_x = grads @ dense_weight(ctx.layer, dtype)
            grad_x = grad_x.addmm_(grad_low, a).view(shape)
        return grad_x, grad_a, grad_b, None, None, None


def _empty_pair(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tensors like these in one piece of memory.

    Torch keeps pieces of up to 1 MiB, such as most of a 7B model's matrices at r 64, apart from
    larger ones: in one piece, gradients fit where activations were.
    """
    both = a.new_empty(a.numel() + b.numel())
    return both[: a.numel()].view_as(a), both[a.numel() :].view_as(b)


def dense_weight(layer: torch.nn.Linear, dtype: torch.dtype) -> torch.Tensor:
    """A layer's weight, (out, in), unpacked if it is in 4 bits.

    Args:
        layer: a linear layer of torch or bitsandbytes.
        dtype: of the result.
    """
    state = getattr(layer.weight, "quant_state", None)
    if state is None:
        return layer.weight.to(dtype)
    import bitsandbytes

    packed, unpack = layer.weight.data, bitsandbytes.functional.dequantize_4bit
    if packed.is_cuda and HAS_TRITON:
        from course_lib.model import unpack as kernel

        unpack = kernel.unpack if kernel.can_unpack(state) else unpack
    return unpack(packed, state).to(dtype)


def fuse_adapters(model: torch.nn.Module) -> int:
    """Have the plain LoRA layers of a model train through one function each.

    Args:
        model: a peft model. In eval mode, merged, or with the adapter switched off, its layers do
            what they did before.

    Returns:
        How many layers that are.
    """
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = MethodType(_adapter_forward, layer)
    return len(layers)


def _is_plain(module: torch.nn.Module) -> bool:
    """One adapter of A and B without dropout, on a layer in 4 or 16 bits or more."""
    if not isinstance(module, LoraLayer) or len(module.active_adapters) != 1:
        return False
    name, base = module.active_adapters[0], module.get_base_layer()
    if not isinstance(base, torch.nn.Linear) or name not in module.lora_A:
        return False
    is_whole = base.weight.is_floating_point() or hasattr(base.weight, "quant_state")
    has_dropout = not isinstance(module.lora_dropout[name], torch.nn.Identity)
    has_bias = module.lora_B[name].bias is not None
    return is_whole and not has_dropout and not has_bias and name not in module.lora_variant


def _adapter_forward(self: LoraLayer, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    is_plain = self.training and torch.is_grad_enabled() and not (args or kwargs)
    if not is_plain or self.merged or self.disable_adapters:
        return type(self).forward(self, x, *args, **kwargs)
    name = self.active_adapters[0]
    a, b = self.lora_A[name].weight, self.lora_B[name].weight
    kept = None
    if x.requires_grad:
        x = _Keep.apply(x)
        kept = x.grad_fn
    return _AdapterProduct.apply(x, a, b, self.get_base_layer(), self.scaling[name], kept)


# --- the loss ------------------------------------------------------------------------------------


class _SlicedLoss(torch.autograd.Function):
    """Cross-entropy of hidden states times a frozen output layer, and its gradient at once."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        targets: torch.Tensor,
        share: torch.Tensor,
    ) -> torch.Tensor:
        """The loss, slice by slice; a slice's logits become its gradient."""
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad = torch.empty_like(hidden)
        step = max(1, SLICE // head.shape[0])
        for start in range(0, len(hidden), step):
            part = slice(start, start + step)
            has_loss = targets[part] != IGNORE_INDEX
            target = targets[part].clamp(min=0)[:, None]
            logits = F.linear(hidden[part], head).float()
            norm = logits.logsumexp(1, keepdim=True)
            total += ((norm - logits.gather(1, target))[:, 0] * has_loss).sum()
            # the gradient of -log softmax: the probabilities, less one at the target
            logits.sub_(norm).exp_().scatter_add_(1, target, -torch.ones_like(norm))
            logits.mul_((has_loss * share)[:, None])
            torch.mm(logits.to(hidden.dtype), head, out=grad[part])
        ctx.save_for_backward(grad)
        return total * share

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """What was computed with the loss, scaled."""
        (grad_hidden,) = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), None, None, None


def sliced_loss(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, items: torch.Tensor
) -> torch.Tensor:
    """The mean loss of the next token, without all logits at once.

    Args:
        hidden: the decoder's last hidden states, (batch, tokens, width).
        head: weight of the output layer, (vocabulary, width); it gets no gradient.
        labels: (batch, tokens), not shifted.
        items: the number of labels to divide by, a tensor without dimensions.

    Returns:
        The loss, a tensor without dimensions, in fp32.
    """
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORE_INDEX).flatten()
    return _SlicedLoss.apply(hidden.flatten(0, 1), head, targets, 1 / items.float())


# --- attention in packs --------------------------------------------------------------------------


def use_packed_attention(model: PreTrainedModel) -> None:
    """Have a model use flash attention where `row_starts` is given to it.

    Args:
        model: a base model; without `row_starts`, in generation, it does what it did. An empty
            `row_starts` means packs of one row each.
    """
    AttentionInterface.register(PACKED, _packed_attention)
    AttentionMaskInterface.register(PACKED, sdpa_mask)
    model.set_attn_implementation(PACKED)


def _packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    row_starts: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """One of transformers' attention functions: query is (batch, heads, tokens, width)."""
    batch, heads, tokens, width = query.shape
    is_whole = row_starts is not None and not len(row_starts)
    if row_starts is None or (is_whole and (sliding_window or tokens) >= tokens):
        mask = None if is_whole else attention_mask
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **kwargs)
    if is_whole:
        row_starts = torch.arange(batch + 1, dtype=torch.int32, device=query.device) * tokens
    query, key, value = (s.transpose(1, 2).flatten(0, 1) for s in (query, key, value))
    window = (sliding_window - 1 if sliding_window else -1, 0)
    switches = dict.fromkeys(SHARED_HEADS, len(key[0]) < heads)
    ends = (row_starts, row_starts, tokens, tokens)
    out = varlen.varlen_attn(
        query, key, value, *ends, scale=scaling, window_size=window, **switches
    )
    return out.view(batch, tokens, heads, width), None


# --- the optimizer -------------------------------------------------------------------------------


def spare_waits(optimizer: torch.optim.Optimizer) -> None:
    """Have an optimizer of bitsandbytes start all its work and then wait once, or not at all.

    Args:
        optimizer: it is changed in place; one of torch is left as it is, it does not wait.
    """
    if hasattr(optimizer, "prefetch_state") and hasattr(optimizer, "update_step"):
        # A class of its own: a method kept in the optimizer would keep it and its states alive.
        kind, made = type(optimizer), {"step": _step_without_waits}
        optimizer.__class__ = type(kind.__name__, (kind,), made)


@torch.optim.Optimizer.profile_hook_step  # as torch does with every optimizer's step
@torch.no_grad()
def _step_without_waits(self: Any, closure: Any = None) -> Any:
    """One GPU does one thing after the other: only memory that moves to RAM needs a wait."""
    loss = None
    if closure is not None:
        with torch.enable_grad():
            loss = closure()
    if not self.initialized:
        self.check_overrides()
        self.to_gpu()
        self.initialized = True
    for number, group in enumerate(self.param_groups):
        for place, weight in enumerate(group["params"]):
            if weight.grad is None:
                continue
            if not self.state[weight]:
                self.init_state(group, weight, number, place)
            self.prefetch_state(weight)
            self.update_step(group, weight, number, place)
    if self.is_paged and torch.cuda.is_available():
        torch.cuda.synchronize()
    return loss

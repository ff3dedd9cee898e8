"""How much memory tensors take while a piece of code runs, counted and not estimated."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass(frozen=True)
class Held:
    """Memory of the tensors that a piece of code made.

    Args:
        peak: bytes of all that were alive at once, at most.
        largest: bytes of the largest one.
        left: bytes of those still alive at its end.
    """

    peak: int
    largest: int
    left: int


def measure_held(function: Callable[[], Any]) -> Held:
    """Run a function, and count the memory of the tensors it makes, from birth to end.

    Args:
        function: what to run; forward and backward passes and optimizer steps alike. Its result
            still counts as alive at the end.

    Returns:
        Bytes. Tensors that share memory count once; those made before do not count. What a library
        uses within one operation, out of PyTorch's sight, is not seen: a fused kernel's tiles.
    """
    counter = _Counter()
    with counter:
        result = function()
    held = Held(counter.peak, counter.largest, counter.now)
    del result
    return held


class _Counter(TorchDispatchMode):
    """Sees each operation's tensors; a storage's bytes count until Python lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.largest = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        for tensor in _tensors_in([args, kwargs]):
            self._note(tensor.untyped_storage(), 0)  # if it is new, then it is older than the count
        result = operation(*args, **(kwargs or {}))
        for tensor in _tensors_in(result):
            self._note(tensor.untyped_storage(), tensor.untyped_storage().nbytes())
        return result

    def _note(self, storage: torch.UntypedStorage, nbytes: int) -> None:
        if storage._cdata in self.seen:
            return
        self.seen.add(storage._cdata)
        self.now += nbytes
        self.peak, self.largest = max(self.peak, self.now), max(self.largest, nbytes)
        weakref.finalize(storage, self._forget, storage._cdata, nbytes)

    def _forget(self, identity: int, nbytes: int) -> None:
        self.seen.discard(identity)
        self.now -= nbytes


def _tensors_in(tree: Any) -> list[torch.Tensor]:
    leaves = torch.utils._pytree.tree_leaves(tree)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]

"""How an implementation of training holds its numbers: what an estimate must know of it."""

from dataclasses import dataclass, replace

from course_lib.errors import UnknownNameError


@dataclass(frozen=True)
class Engine:
    """Types of numbers, in bytes each, and which intermediate results are kept.

    Attributes:
        about: what it is, in words.
        compute_bytes: of the base's arithmetic: 2 in bf16, 4 in fp32.
        other_bytes: of embeddings, norms and output layer.
        adapter_bytes: of adapter weights; their gradients and AdamW's moments are alike.
        has_autocast: weights in fp32 are rounded to `compute_bytes` at each use, and the stream
            between blocks stays in fp32.
        is_fused: norms and the MLP's product are one step each and keep only what they read.
        has_fused_adapters: an adapter layer reads its input as it is, and keeps nothing else.
        has_masks: packed rows need a mask, and keys and values repeated where heads share them.
        has_chunked_loss: logits are made for some tokens at a time, never for all.
        has_master_weights: full training in 16 bits keeps a copy of the weights in fp32, and the
            optimizer's states in fp32, as mixed precision does.
    """

    about: str
    compute_bytes: int = 2
    other_bytes: int = 2
    adapter_bytes: int = 4
    has_autocast: bool = False
    is_fused: bool = False
    has_fused_adapters: bool = False
    has_masks: bool = True
    has_chunked_loss: bool = False
    has_master_weights: bool = True

    @property
    def stream_bytes(self) -> int:
        """Of a number in the stream between blocks: it begins as the embeddings' type."""
        return self.other_bytes if self.has_autocast else self.compute_bytes

    @property
    def mlp_bytes(self) -> int:
        """Of a number in the MLP: under autocast a 4-bit layer answers in the type it is asked."""
        return self.stream_bytes if self.has_autocast else self.compute_bytes

    @property
    def has_copies(self) -> bool:
        """Whether each adapter layer reads a copy of its input, in another type."""
        is_other = self.has_autocast or self.adapter_bytes != self.compute_bytes
        return is_other and not self.has_fused_adapters

    @property
    def copy_bytes(self) -> int:
        """Of a number that an adapter layer reads."""
        reads_as_is = self.has_autocast or self.has_fused_adapters
        return self.compute_bytes if reads_as_is else self.adapter_bytes

    def at_bits(self, bits: int) -> "Engine":
        """The engine for a base of so many bits: at 32, all is in fp32."""
        fp32 = {"compute_bytes": 4, "other_bytes": 4, "adapter_bytes": 4}
        return replace(self, **fp32, has_autocast=False) if bits == 32 else self


TUNEBOOK = Engine("`tunebook train`: base in bf16, adapter in fp32, no autocast")
KERNELS = Engine(
    "`tunebook train` with its faster kernels: fused adapters, norms, MLP and loss, and attention "
    "in packs without a mask",
    is_fused=True,
    has_fused_adapters=True,
    has_masks=False,
    has_chunked_loss=True,
)
MIXED = Engine(
    "`tunebook train` with method full in 16 bits on one GPU: weights, gradients and optimizer in "
    "fp32, autocast to bf16",
    other_bytes=4,
    has_autocast=True,
    has_master_weights=False,
)
ENGINES = {
    "tunebook": TUNEBOOK,
    "kernels": KERNELS,
    "mixed": MIXED,
    "peft_kbit": Engine(
        "transformers + peft's prepare_model_for_kbit_training: embeddings, norms and output "
        "layer in fp32, autocast to bf16",
        other_bytes=4,
        has_autocast=True,
    ),
    "lean": Engine(
        "all in bf16, adapter too; fused norms, MLP and loss, as Liger has them",
        adapter_bytes=2,
        is_fused=True,
        has_chunked_loss=True,
        has_master_weights=False,
    ),
    "bf16": Engine(
        "all in bf16, adapter and optimizer too, each step as transformers writes it",
        adapter_bytes=2,
        has_master_weights=False,
    ),
}


def tunebook_engine(compute_bytes: int) -> Engine:
    """`tunebook train` on a machine.

    Args:
        compute_bytes: 2 where the machine computes in bf16, else 4.
    """
    return replace(TUNEBOOK, compute_bytes=compute_bytes, other_bytes=compute_bytes)


def find_engine(name: str) -> Engine:
    """An engine by its name in `ENGINES`.

    Args:
        name: for example `lean`.

    Raises:
        UnknownNameError: there is none; offers near names.
    """
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    return ENGINES[name]

"""How much memory training needs on each device, from a model's shape and a setting alone.

An optimizer step has a few moments at which memory can be at its peak; the largest one counts:

- loss: the forward pass is done, all activations wait, and the logits stand beside them.
- first block: the backward pass is in the last block, the first that it meets.
- last block: it has come to the model's first block; nearly all gradients are there.
- embeddings: with full, where the output layer is the table of embeddings, that table's gradient
  comes from both ends of the model: two of them, and their sum.
- step: the optimizer moves the weights; gradients and states are there, activations are not.

Gradients of a micro batch come into being block by block. Where an optimizer step adds up several
micro batches, those of the ones before are there at each moment.

A captured step (`captured`) holds the memory of its peak all the time, and needs no more at it: its
gradients lie where activations were, or in places of their own where micro batches are added up.

Several devices divide what ZeRO's stage says: 1 the optimizer's states, 2 the gradients as well, 3
the weights as well. Activations are each device's own.

Beside the parts stands `CONTEXT_BYTES`, which CUDA and its libraries take on a GPU before the first
tensor; and torch's allocator holds some more in reserve, which no formula tells.

Source: Rajbhandari et al. 2020, "ZeRO", arXiv:1910.02054, section 5; for the bytes of each part see
`states` and `activations`.
"""

from dataclasses import dataclass

from course_lib.model import activations, states
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape

GIB = 2**30
CONTEXT_BYTES = GIB // 2  # of a CUDA context and the kernels of torch, cuBLAS and cuDNN, about
PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "room")


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at one moment, by what they hold.

    Attributes:
        weights: of the base; its share under ZeRO-3.
        adapter: its weights; none with full.
        gradients: of what is trained, as far as they are there at this moment.
        optimizer: its states, with master weights where there are any.
        activations: what waits for the backward pass.
        logits: and their gradients.
        room: what comes and goes: a weight unpacked, gradients on their way, what is sent.
        host: bytes in the machine's memory: what was moved out, and states that can be paged.
        moment: loss, first block, last block, embeddings or step.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    room: int
    host: int
    moment: str

    @property
    def total(self) -> int:
        """All parts on the device, in bytes; the context of CUDA is not among them."""
        return sum(self.parts().values())

    @property
    def on_gpu(self) -> int:
        """The total with the context of CUDA."""
        return self.total + CONTEXT_BYTES

    def parts(self) -> dict[str, int]:
        """Bytes on the device by part, in the order of `PARTS`."""
        return {name: getattr(self, name) for name in PARTS}


def estimate_memory(shape: Shape, setting: Setting) -> Memory:
    """Estimate the memory that training needs at its peak.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        Bytes on each device at the moment when they are most. How near it comes to measured runs:
        `python -m benchmarks.memory`.

    Raises:
        ModelError: no layer has one of the target names.
    """
    return max(estimate_moments(shape, setting), key=lambda memory: memory.total)


def estimate_moments(shape: Shape, setting: Setting) -> list[Memory]:
    """Estimate the memory at each moment of an optimizer step that can be its peak.

    Args:
        shape: of the base.
        setting: of the run.

    Returns:
        For loss, first block, last block, embeddings (where it can be the peak) and step.

    Raises:
        ModelError: no layer has one of the target names.
    """
    held, gradients = _held(shape, setting), _gradients(shape, setting)
    a_block = gradients // shape.layers
    before = gradients if setting.micro_batches > 1 else 0
    kept = activations.kept_bytes(shape, setting)
    block = activations.block_bytes(shape, setting)
    flow = activations.input_bytes(shape, setting)
    again = block if setting.gradient_checkpointing else 0
    sent, room = _sent_bytes(shape, setting), activations.block_room(shape, setting)
    gathered = _gathered_bytes(shape, setting)
    rounded = _rounded_bytes(shape, setting)
    values = {  # gradients, activations, logits, room
        "loss": (
            before,
            kept,
            activations.logit_bytes(shape, setting),
            rounded["loss"] + activations.loss_room(shape, setting),
        ),
        "first block": (max(before, a_block), kept + again, 0, rounded["first block"] + room),
        "last block": (gradients, block + flow, 0, rounded["last block"] + room),
        "embeddings": (gradients, flow, 0, _table_bytes(shape, setting)),
        "step": (gradients, 0, 0, 0),
    }
    if not values["embeddings"][-1]:
        del values["embeddings"]
    return [
        Memory(
            **held,
            gradients=there,
            activations=waiting,
            logits=logits,
            room=extra + sent + (gathered if moment != "step" else 0),
            moment=moment,
        )
        for moment, (there, waiting, logits, extra) in values.items()
    ]


def _held(shape: Shape, setting: Setting) -> dict[str, int]:
    """What is there at each moment, by part."""
    weights = _share(states.base_bytes(shape, setting), setting, 3)
    adapter = _share(states.adapter_bytes(shape, setting), setting, 3)
    optimizer = _share(states.state_bytes(shape, setting), setting, 1)
    host = states.pageable_bytes(shape, setting)
    host = _share(host, setting, 1)
    optimizer -= host
    if "optimizer" in setting.offload:
        host, optimizer = host + optimizer, 0
        host += _share(states.gradient_bytes(shape, setting), setting, 2)
    if "param" in setting.offload:
        host, weights, adapter = host + weights + adapter, 0, 0
    return {"weights": weights, "adapter": adapter, "optimizer": optimizer, "host": host}


def _gradients(shape: Shape, setting: Setting) -> int:
    """All gradients on one device; with the optimizer moved out, they go as they come."""
    if "optimizer" in setting.offload and setting.zero >= 2:
        return 0
    return _share(states.gradient_bytes(shape, setting), setting, 2)


def _share(count: int, setting: Setting, stage: int) -> int:
    """One device's share of bytes that are divided from a stage on."""
    return -(-count // setting.gpus) if setting.zero >= stage else count


def _rounded_bytes(shape: Shape, setting: Setting) -> dict[str, int]:
    """What is trained once more as autocast rounds it, at the moments when it is there.

    Recomputed blocks round it anew; until the forward pass is over, autocast remembers all.
    """
    numbers = setting.numbers
    if not numbers.has_autocast:
        return dict.fromkeys(("loss", "first block", "last block"), 0)
    if setting.is_full:
        rounded = shape.linear_weights * numbers.compute_bytes
        again = rounded // shape.layers
    else:
        count = states.adapter_bytes(shape, setting) // numbers.adapter_bytes
        rounded = 0 if setting.gradient_checkpointing else count * numbers.compute_bytes
        again = 0
    first = again if setting.gradient_checkpointing else rounded
    return {"loss": rounded, "first block": first, "last block": again}


def _table_bytes(shape: Shape, setting: Setting) -> int:
    """Two gradients of a tied table of embeddings, beside the one that stays."""
    is_tied = all(name != "lm_head.weight" for name, _ in shape.others)
    if not (setting.is_full and is_tied):
        return 0
    return 2 * shape.vocabulary * shape.hidden * setting.numbers.other_bytes


def _sent_bytes(shape: Shape, setting: Setting) -> int:
    """Where gradients lie while they are sent: DDP has room for all, ZeRO for hidden squared."""
    gradients = states.gradient_bytes(shape, setting)
    if setting.zero == 0:
        return gradients if setting.gpus > 1 else 0
    numbers = setting.numbers
    each = numbers.compute_bytes if setting.is_full else numbers.adapter_bytes
    return min(gradients, shape.hidden**2 * each)


def _gathered_bytes(shape: Shape, setting: Setting) -> int:
    """Under ZeRO-3 the weights at work are whole: those of a block, or the output layer's."""
    if setting.zero < 3:
        return 0
    linears = shape.linear_weights * states.linear_bytes(setting)
    a_block = (linears + states.adapter_bytes(shape, setting)) / shape.layers
    head = shape.vocabulary * shape.hidden * setting.numbers.other_bytes
    return round(max(a_block, head))

"""ZeRO: who holds what when several devices train together, and why dividing changes no number.

In plain data parallelism each device holds everything and learns from its own rows; gradients are
averaged. ZeRO lets device i hold the i-th share only: of the optimizer's states (stage 1), of the
gradients as well (stage 2), of the weights as well (stage 3). A device that needs more than its
share gets it from the others and lets it go again. Offload moves shares into the machine's memory.

Source: Rajbhandari et al. 2020, "ZeRO: Memory optimizations toward training trillion parameter
models", arXiv:1910.02054, section 5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from course_lib.errors import ConfigError
from course_lib.model import estimate
from course_lib.model.setting import Setting
from course_lib.model.shapes import Shape

STAGES = (0, 1, 2, 3)
DIVIDED_FROM = {"weights": 3, "gradients": 2, "optimizer states": 1}
PAPER_STATE_BYTES = 12  # K in the paper: master weights and two moments in fp32


@dataclass(frozen=True)
class Share:
    """What one device holds of one thing.

    Attributes:
        start: where its part begins, as a share of the whole from 0 to 1.
        end: where it ends.
        nbytes: of its part.
        is_moved_out: its part lies in the machine's memory.
    """

    start: float
    end: float
    nbytes: int
    is_moved_out: bool = False


@dataclass(frozen=True)
class Device:
    """What one device holds when the optimizer is about to take its step.

    Attributes:
        number: from 0.
        shares: by what it is: weights, gradients, optimizer states; with an adapter, base and
            adapter are told apart: only the adapter has gradients and states.
    """

    number: int
    shares: dict[str, Share]

    @property
    def nbytes(self) -> int:
        """On the device."""
        return sum(share.nbytes for share in self.shares.values() if not share.is_moved_out)

    @property
    def host_bytes(self) -> int:
        """In the machine's memory, for this device."""
        return sum(share.nbytes for share in self.shares.values() if share.is_moved_out)


def paper_bytes(weights: int, gpus: int, stage: int, state_bytes: int = PAPER_STATE_BYTES) -> float:
    """The paper's formula for full training in mixed precision.

    Args:
        weights: of the model.
        gpus: devices.
        stage: 0 to 3.
        state_bytes: of the optimizer for each weight.

    Returns:
        Bytes on each device: 2 for a weight, 2 for its gradient, and the states.

    Raises:
        ConfigError: there is no such stage or number of devices.
    """
    Setting("full", gpus=gpus, zero=stage)  # refuses what cannot be
    each = {"weights": 2, "gradients": 2, "optimizer states": state_bytes}
    shares = {name: 1 / gpus if stage >= DIVIDED_FROM[name] else 1 for name in each}
    return weights * sum(each[name] * shares[name] for name in each)


def who_holds_what(shape: Shape, setting: Setting) -> list[Device]:
    """Each device's share of weights, gradients and states.

    Args:
        shape: of the base.
        setting: of the run; `gpus` and `zero` say who divides what.

    Returns:
        The devices in order.

    Raises:
        ModelError: no layer has one of the target names.
    """
    memory = estimate.estimate_moments(shape, replace(setting, offload=()))[-1]
    held = {
        "weights" if setting.is_full else "base": (memory.weights, 3, "param"),
        "adapter": (memory.adapter, 3, "param"),
        "gradients": (memory.gradients, 2, "optimizer"),
        "optimizer states": (memory.optimizer, 1, "optimizer"),
    }
    if setting.is_full:
        del held["adapter"]
    devices = []
    for number in range(setting.gpus):
        shares = {}
        for name, (nbytes, stage, mover) in held.items():
            is_divided = setting.zero >= stage
            start, end = (number, number + 1) if is_divided else (0, setting.gpus)
            moved = is_divided and mover in setting.offload
            shares[name] = Share(start / setting.gpus, end / setting.gpus, nbytes, moved)
        devices.append(Device(number, shares))
    return devices


def all_stages(shape: Shape, setting: Setting) -> dict[int, Device]:
    """The first device's holdings under each stage that the setting allows.

    Args:
        shape: of the base.
        setting: of the run; its own stage is of no account.

    Returns:
        By stage. Stage 3 is left out where the base is in 4 or 8 bits, which cannot be divided.
    """
    allowed = [stage for stage in STAGES if stage < 3 or setting.base_bits >= 16]
    plain = replace(setting, offload=())
    return {stage: who_holds_what(shape, replace(plain, zero=stage))[0] for stage in allowed}


def divide(count: int, gpus: int) -> list[range]:
    """Cut numbers 0 to count into shares, as equal as can be.

    Args:
        count: numbers.
        gpus: devices.

    Returns:
        A range for each device; together they are all numbers, in order.

    Raises:
        ConfigError: there are no devices, or a negative count.
    """
    if gpus < 1 or count < 0:
        raise ConfigError(
            f"{count} numbers cannot be divided among {gpus} devices.",
            "Give a count of 0 or more and 1 device or more.",
        )
    cuts = [count * number // gpus for number in range(gpus + 1)]
    return [range(start, end) for start, end in pairwise(cuts)]


def adamw_in_shares(
    weights: torch.Tensor, gradients: Sequence[torch.Tensor], gpus: int, learning_rate: float = 1e-3
) -> torch.Tensor:
    """Some AdamW steps as ZeRO takes them: each device moves its share only, then all gather them.

    Args:
        weights: (numbers,); left as they are.
        gradients: one for each step, each (numbers,).
        gpus: devices that share the optimizer's states.
        learning_rate: of AdamW.

    Returns:
        The weights after all steps, (numbers,): with any number of devices the same to the last
        bit, because AdamW treats each number by itself.

    Raises:
        ConfigError: there are no devices.
    """
    shares = divide(len(weights), gpus)
    parts = [weights[share.start : share.stop].clone().requires_grad_() for share in shares]
    optimizers = [torch.optim.AdamW([part], lr=learning_rate, foreach=False) for part in parts]
    for gradient in gradients:
        for part, share, optimizer in zip(parts, shares, optimizers, strict=True):
            part.grad = gradient[share.start : share.stop].clone()
            optimizer.step()
    return torch.cat([part.detach() for part in parts])

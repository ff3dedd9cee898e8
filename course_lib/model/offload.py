"""Use a model that does not fit: its last layers stay in RAM or on the disk until their turn.

accelerate fills the GPU first, then RAM; what is left is read from the disk at each use. It is for
looking, not for long talks: every token reads those layers again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.errors import ModelError


@dataclass(frozen=True)
class Offload:
    """Where layers go that fit nowhere else.

    Attributes:
        folder: on a disk with room for what does not fit; made when missing.
        max_memory: by device (a GPU's number, or "cpu") the most to use, such as "6GiB"; all
            that is free when None.
    """

    folder: Path
    max_memory: Mapping[int | str, int | str] | None = None

    def options(self) -> dict[str, Any]:
        """What transformers and peft take."""
        self.folder.mkdir(parents=True, exist_ok=True)
        limits = {} if self.max_memory is None else {"max_memory": dict(self.max_memory)}
        return {"offload_folder": str(self.folder), **limits}


def refuse_quantized(name: str, bits: int) -> None:
    """Refuse bits that cannot be moved.

    Args:
        name: of the model.
        bits: for each base weight.

    Raises:
        ModelError: quantized weights stay where they were made.
    """
    if bits < 16:
        raise ModelError(
            f"{name} in {bits} bits cannot be moved out: quantized weights stay on their device.",
            "Use --bits 16 with --offload-folder; or leave it out, as fewer bits need less room.",
        )


def refuse_internlm(name: str) -> None:
    """Refuse InternLM's own files, whose weights are not those of the layers that are moved.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"{name} is an InternLM in its own form, whose layers cannot stay on the disk.",
        f"Write it as a Llama first: tunebook convert llama {name} DEST",
    )


def refuse_nothing_kept(name: str) -> None:
    """Refuse a machine on which not even the first layer fits.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        f"Not even the first layer of {name} fits into the memory that is free.",
        "Close other programs, or take a smaller model.",
    )

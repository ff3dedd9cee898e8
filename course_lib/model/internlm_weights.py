"""Weight files of a checkpoint, read one tensor at a time while at most one file is held.

A checkpoint is one file, or several shards with an index that says which tensor is where. Headers
are compared with what the model needs before any weight is read, so a wrong one is told at once.
"""

import json
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from course_lib.errors import ModelError

KINDS = (  # an index, a small model's only file, the shards' names; what is found first is read
    ("model.safetensors.index.json", "model.safetensors", "model-*.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin", "pytorch_model-*.bin"),
)
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # safetensors' names of what a weight can be
AGAIN = "Copy or download it again."


@dataclass(frozen=True)
class Stored:
    """Where a tensor is.

    Args:
        path: of its file.
        shape: in the file.
        size: in bytes.
    """

    path: Path
    shape: tuple[int, ...]
    size: int


class SafeFile:
    """An open .safetensors file; a tensor is read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from error

    def tensors(self) -> dict[str, Stored]:
        """What the file holds, by name, from its header alone."""
        found = {}
        for name in self._file.keys():  # noqa: SIM118 - it is no dict
            header = self._file.get_slice(name)
            shape, kind = tuple(header.get_shape()), header.get_dtype()
            if kind not in BYTES:
                raise _not_a_weight(self._path, name, kind)
            found[name] = Stored(self._path, shape, torch.Size(shape).numel() * BYTES[kind])
        return found

    def get(self, name: str) -> torch.Tensor:
        """One tensor, still in the file."""
        return self._file.get_tensor(name)


class BinFile:
    """A .bin file of PyTorch: a dict of tensors; pickled code is refused, not run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # In a file of today's format the tensors stay on the disk until they are read.
            self._tensors = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
        except Exception as error:  # of many kinds, none in common
            if "Weights only" in str(error):
                raise ModelError(
                    f"{path} holds more than tensors: reading it would run code that is in it.",
                    "Take the model's .safetensors files.",
                ) from error
            raise _damaged(path, error) from error
        if not isinstance(self._tensors, dict):
            raise _damaged(
                path, f"expected a dict of tensors, found {type(self._tensors).__name__}"
            )

    def tensors(self) -> dict[str, Stored]:
        """What the file holds, by name."""
        for name, tensor in self._tensors.items():
            if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
                raise _not_a_weight(self._path, name, getattr(tensor, "dtype", type(tensor)))
        return {n: Stored(self._path, tuple(t.shape), t.nbytes) for n, t in self._tensors.items()}

    def get(self, name: str) -> torch.Tensor:
        """One tensor, still in the file."""
        return self._tensors[name]


def open_file(path: Path) -> SafeFile | BinFile:
    """Open a weight file of either kind."""
    return SafeFile(path) if path.suffix == ".safetensors" else BinFile(path)


class Shards:
    """A checkpoint's tensors; of its files at most one is open."""

    def __init__(self, folder: Path) -> None:
        """Read the index and every file's header.

        Args:
            folder: of the checkpoint.

        Raises:
            ModelError: a file is missing, damaged or not as the index says.
        """
        self._lock = threading.Lock()  # transformers loads in several threads
        self._open: tuple[Path, SafeFile | BinFile] | None = None
        index, files = _read_index(folder)
        self.tensors: dict[str, Stored] = {}
        for path in files:
            self.tensors |= self._file(path).tensors()
        self.close()
        if index is not None:
            _check_index(folder, index, self.tensors)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, in memory of its own.

        Args:
            name: in the file.

        Returns:
            A copy, so that nothing holds the file.
        """
        with self._lock:
            return self._file(self.tensors[name].path).get(name).clone()

    def close(self) -> None:
        """Let go of the open file."""
        self._open = None

    def _file(self, path: Path) -> SafeFile | BinFile:
        if self._open is None or self._open[0] != path:
            self._open = None  # before the next one is opened
            self._open = (path, open_file(path))
        return self._open[1]


def _read_index(folder: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The index, when there is one, and the files to read."""
    for index_name, single, shards in KINDS:
        if (folder / index_name).is_file():
            index = _read_json(folder / index_name)
            names = sorted(set(index["weight_map"].values()))
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise ModelError(
                    f"{folder}: {len(missing)} of {len(names)} weight files are missing: "
                    f"{', '.join(missing)}.",
                    "Copy or download them again.",
                )
            return index, [folder / name for name in names]
        if (folder / single).is_file():
            return None, [folder / single]
        alone = sorted(path.name for path in folder.glob(shards))
        if alone:
            raise ModelError(
                f"{folder}: {index_name} is missing; it says what is in {', '.join(alone)}.",
                "Copy or download it again.",
            )
    raise ModelError(
        f"{folder}: there are no weights.",
        f"Copy or download {KINDS[0][1]} or {KINDS[1][1]}, or the shards and their index.",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        names = index["weight_map"]
        # A file outside of the folder is never meant.
        if not names or any(Path(name).name != name for name in names.values()):
            raise ValueError("weight_map must name files of this folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    return index


def _check_index(folder: Path, index: Mapping[str, Any], tensors: Mapping[str, Stored]) -> None:
    """Compare the index with the files: names, places and the sum of bytes."""
    names = index["weight_map"]
    moved = [n for n, file in names.items() if n not in tensors or tensors[n].path.name != file]
    unlisted = [name for name in tensors if name not in names]
    if moved or unlisted:
        example = f"{moved[0]} is not in {names[moved[0]]}" if moved else f"{unlisted[0]} is extra"
        raise ModelError(
            f"{folder}: the index and the weight files do not belong together: {example} "
            f"({len(moved)} tensors are not where the index says, {len(unlisted)} are not in it).",
            "Copy or download the index and the files of one revision.",
        )
    stated = (index.get("metadata") or {}).get("total_size")
    found = sum(tensor.size for tensor in tensors.values())
    if stated is not None and stated != found:
        raise ModelError(
            f"{folder}: the weights are {found} bytes, and the index says {stated}.",
            "Copy or download the files again. If they are right and the index is wrong, "
            'take "total_size" out of it.',
        )


def check_tensors(
    where: str, tensors: Mapping[str, Stored], expected: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare a checkpoint's tensors with those that its config describes.

    Args:
        where: the checkpoint, for the message.
        tensors: what there is.
        expected: the shape of each tensor that must be there.

    Raises:
        ModelError: tensors are missing, are not part of the model or have another shape.
    """
    missing = sorted(expected.keys() - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys())
    if missing or extra:
        found = [f"{len(names)} {what}, for example {names[0]}"
                 for names, what in ((missing, "are missing"), (extra, "are not part of it"))
                 if names]  # fmt: skip
        raise ModelError(
            f"{where}: the tensors are not those that config.json describes: {'; '.join(found)}.",
            "Copy or download config.json and the weights of one revision.",
        )
    odd = [name for name, shape in expected.items() if tensors[name].shape != shape]
    if odd:
        name = odd[0]
        raise ModelError(
            f"{where}: {name} has the shape {_times(tensors[name].shape)}, expected "
            f"{_times(expected[name])} from config.json ({len(odd)} tensors have another shape).",
            "Copy or download config.json and the weights of one revision.",
        )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _damaged(path: Path, reason: Any) -> ModelError:
    text = " ".join(str(reason).split()) or type(reason).__name__
    return ModelError(f"{path} is damaged or not what it should be: {text[:200]}", AGAIN)


def _not_a_weight(path: Path, name: str, kind: Any) -> ModelError:
    return ModelError(
        f"{path}: {name} is stored as {kind}: expected 16-bit or 32-bit floating-point numbers.",
        "Take the model's 16-bit checkpoint, not one that is quantized already.",
    )

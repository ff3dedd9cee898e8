"""The one file that is handed in: a zip of known names, written whole and read with suspicion."""

import hashlib
import io
import json
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.homework.adapter_file import BadAdapter

MANIFEST, NOTEBOOK = "bundle.json", "exercise.ipynb"
CONFIG, LOG = "config.yaml", "log.jsonl"
SETTINGS, WEIGHTS, BASE = (
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
    "adapter/tunebook_base.json",
)
MIB = 2**20
LARGEST = {  # bytes of each file that a bundle may hold; there are no others
    MANIFEST: MIB // 4,
    NOTEBOOK: 20 * MIB,
    CONFIG: MIB // 16,
    LOG: 2 * MIB,
    SETTINGS: MIB // 16,
    WEIGHTS: 32 * MIB,
    BASE: MIB // 64,
}
LARGEST_BUNDLE = sum(LARGEST.values())
VERSION = 1
NO_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold: the same files, the same bytes
BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class BadBundle(ValueError):
    """A file is no bundle, or holds what no bundle has; the message says what."""


@dataclass(frozen=True)
class Bundle:
    """A bundle whose form was looked over; nothing in it is believed.

    Args:
        files: bytes by name.
        about: what bundle.json says, an object.
    """

    files: Mapping[str, bytes]
    about: Mapping[str, Any]

    @property
    def run(self) -> dict[str, Any]:
        """What the learner's machine said of the run; empty when there is none."""
        found = self.about.get("run")
        return found if type(found) is dict else {}

    def changed_files(self) -> list[str]:
        """Files that are not those that the bundle was written with."""
        said = self.about.get("files")
        said = said if type(said) is dict else {}
        found = {name: _digest(data) for name, data in self.files.items() if name != MANIFEST}
        return sorted(n for n in found.keys() | said.keys() if found.get(n) != said.get(n))


def pack(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """Make a bundle: the same files give the same bytes.

    Args:
        files: bytes by name, without the manifest.
        about: what the manifest says besides the files' sha256.
    """
    assert files.keys() <= LARGEST.keys()
    digests = {name: _digest(data) for name, data in sorted(files.items())}
    said = {"tunebook_bundle": VERSION, **about, "files": digests}
    text = json.dumps(said, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted({**files, MANIFEST: text.encode("utf-8")}.items()):
            member = zipfile.ZipInfo(name, NO_TIME)
            member.create_system, member.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, data)
    return target.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a bundle whole or not at all; the old one stays until then.

    Args:
        path: the file.
        data: from `pack`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def is_bundle(names: list[str]) -> bool:
    """Whether a zip means to be a bundle; `read` says whether it is a sound one.

    Args:
        names: of all its members.
    """
    return MANIFEST in names


def read(data: bytes) -> Bundle:
    """Read a bundle; nothing is unpacked to a disk, and no member is read past its limit.

    Args:
        data: the zip's bytes.

    Raises:
        BadBundle: it is broken, or holds a name, a link, a size or a packing that no bundle has.
    """
    if len(data) > LARGEST_BUNDLE:
        raise BadBundle(f"the bundle is larger than {LARGEST_BUNDLE // MIB} MiB")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(members)
            files = {member.filename: _read_member(archive, member) for member in members}
    except BadBundle:
        raise
    except BROKEN as error:
        raise BadBundle(f"the bundle cannot be read: {str(error)[:200]}") from error
    about = parse_object(files[MANIFEST], MANIFEST)
    if about.get("tunebook_bundle") != VERSION:
        raise BadBundle(f"{MANIFEST} is not that of a bundle of version {VERSION}")
    return Bundle(files, about)


def read_notebook(load: Callable[[], bytes]) -> bytes:
    """The notebook of a bundle that is read only now.

    Args:
        load: reads the zip's bytes.

    Raises:
        BadBundle: see `read`; or it is a zip of another kind.
    """
    data = load()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except BROKEN as error:
        raise BadBundle(f"the zip cannot be read: {str(error)[:200]}") from error
    if MANIFEST not in names:
        raise BadBundle("a zip in a zip, and no bundle: unpack the outer one first")
    return read(data).files[NOTEBOOK]


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    other = [name for name in names if name not in LARGEST]
    if other:
        pickled = any(name.lower().endswith((".bin", ".pt", ".pth", ".pkl")) for name in other)
        reason = "; pickles are never read" if pickled else ""
        raise BadBundle(f"the bundle holds {other[0][:80]!r}, which no bundle has{reason}")
    if len(set(names)) != len(names):
        raise BadBundle("a name stands in the bundle twice")
    missing = [name for name in (MANIFEST, NOTEBOOK) if name not in names]
    if missing:
        raise BadBundle(f"the bundle has no {missing[0]}")
    for member in members:
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise BadBundle(f"{member.filename} is a link or no ordinary file")
        if member.compress_type not in METHODS or member.flag_bits & 1:
            raise BadBundle(f"{member.filename} is packed in a way that no bundle is")
        if member.file_size > LARGEST[member.filename]:
            raise BadBundle(f"{member.filename} is larger than a bundle's may be")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    limit = LARGEST[member.filename]
    with archive.open(member) as file:
        data = file.read(limit + 1)  # a zip may say another size than it holds
    if len(data) > limit:
        raise BadBundle(f"{member.filename} is larger than a bundle's may be")
    return data


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Read a small JSON file that must hold an object.

    Args:
        data: its bytes.
        name: for the message.

    Raises:
        BadBundle: it does not.
    """
    try:
        found = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadBundle(f"{name} is no JSON") from error
    if type(found) is not dict:
        raise BadBundle(f"{name} holds no JSON object")
    return found


def adapter_files(bundle: Bundle) -> tuple[dict[str, Any], bytes, dict[str, Any]]:
    """The adapter's settings, its weights, and what it says of its base.

    Args:
        bundle: from `read`.

    Raises:
        BadAdapter: a part is missing or no JSON.
    """
    missing = [name for name in (SETTINGS, WEIGHTS, BASE) if name not in bundle.files]
    if missing:
        raise BadAdapter(f"{' and '.join(missing)} missing in the bundle")
    try:
        settings, base = (parse_object(bundle.files[n], n) for n in (SETTINGS, BASE))
    except BadBundle as error:
        raise BadAdapter(str(error)) from error
    return settings, bundle.files[WEIGHTS], base


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

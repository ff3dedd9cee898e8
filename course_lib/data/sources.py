"""Where rows come from: a file, a folder of files, or a data set's id on a hub."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.data import readers
from course_lib.errors import DataError, EnvironmentProblem

if TYPE_CHECKING:  # slow to import
    from datasets import Dataset

# [hf:|modelscope:]owner/name[/subset][:split]
_HUB_ID = re.compile(
    r"(?:(?P<hub>hf|modelscope):)?(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(?:/(?P<subset>[\w-][\w.-]*))?"
    r"(?::(?P<split>\w+))?"
)
_HELD_OUT = re.compile(r"(?:^|[\W_])(?:test|valid|validation|val|dev|eval)(?:[\W_]|$)", re.I)
_SAVED = ("dataset_info.json", "dataset_dict.json")  # what datasets' save_to_disk writes


def is_hub_id(path: str) -> bool:
    """Whether a text can be a data set's id on a hub.

    Args:
        path: as a config names it.

    Returns:
        True for owner/name, with hf: or modelscope: before it, /subset and :split behind it.
        False for what ends as a data file does.
    """
    found = _HUB_ID.fullmatch(path)
    return found is not None and (
        found["hub"] is not None or readers.suffix_of(Path(path)) not in readers.SUFFIXES
    )


def iter_records(path: Path | str, notes: list[str]) -> Iterator[readers.Record]:
    """Read the records of a source, one after the other.

    Args:
        path: a file, a folder of them, or a data set's id (see `is_hub_id`). What is on this
            machine goes first.
        notes: what is odd about the source is added here.

    Yields:
        At least one record.

    Raises:
        DataError: there is no such source, it cannot be reached, or it is not as expected.
        EnvironmentProblem: the id needs a package that is not installed.
    """
    local = Path(path)
    if local.is_dir():
        return _iter_folder(local, notes)
    if is_hub_id(str(path)) and not local.exists():
        return _iter_hub(str(path), notes)
    return readers.iter_records(local, notes)


def _iter_folder(folder: Path, notes: list[str]) -> Iterator[readers.Record]:
    """The files of a folder and of those in it, in the order of their names."""
    if any((folder / name).is_file() for name in _SAVED):
        yield from _iter_saved(folder)
        return
    files, others = _list_files(folder)
    if not files:
        found = f" (it holds {', '.join(others[:5])})" if others else ""
        raise DataError(
            f"The folder {folder} has no data files{found}.",
            f"Put files into it that end in {', '.join(readers.SUFFIXES)}.",
        )
    held_out = [file for file in files if _HELD_OUT.search(file.stem)]
    if held_out and len(held_out) < len(files):
        raise DataError(
            f"The folder {folder} holds {held_out[0].name} beside other files: to train on "
            "both would leak what is held out.",
            f"Name one file, for example {next(f for f in files if f not in held_out)}.",
        )
    notes.append(
        f"{len(files)} files: {', '.join(file.name for file in files[:5])}"
        + (", ..." if len(files) > 5 else ".")
    )
    if others:
        notes.append(f"Other files are left out: {', '.join(others[:5])}.")
    for file in files:
        of_file: list[str] = []
        yield from readers.iter_records(file, of_file)
        notes += [f"{file.name}: {note}" for note in of_file]


def _list_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Data files, and the names of others; hidden ones and read-me texts are neither."""
    files, others = [], []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        is_about = path.stem.lower() in ("readme", "license", "licence")
        if not path.is_file() or is_about or any(part.startswith(".") for part in parts):
            continue
        if readers.suffix_of(path) in readers.SUFFIXES:
            files.append(path)
        else:
            others.append(path.name)
    return files, others


def _iter_saved(folder: Path) -> Iterator[readers.Record]:
    """A data set that the library datasets saved here."""
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever its version raises: the folder is not whole
        raise DataError(
            f"The folder {folder} looks like a data set saved by the library datasets, but "
            f"cannot be loaded: {_first_line(error)}",
            "Save it again with save_to_disk, or write JSON lines with to_json.",
        ) from error
    if isinstance(saved, dict):
        raise DataError(
            f"The folder {folder} holds the splits {', '.join(saved)}.",
            f"Name one, for example {folder / next(iter(saved))}.",
        )
    yield from _iter_dataset(saved, str(folder))


def _iter_dataset(dataset: "Dataset", source: str) -> Iterator[readers.Record]:
    """The rows of a loaded data set, a batch at a time."""
    if not len(dataset):
        raise DataError(f"{source} holds no rows.", "Choose another split.")
    tables = dataset.with_format("arrow").iter(batch_size=readers.BATCH_ROWS)
    rows = (row for table in tables for row in table.to_pylist())
    for number, row in enumerate(rows, 1):
        yield readers.Record(readers.without_nulls(row), number, source)


# --- hubs ----------------------------------------------------------------------------------------


def _iter_hub(hub_id: str, notes: list[str]) -> Iterator[readers.Record]:
    """A data set from a hub; the library that loads it keeps it on the disk for the next time."""
    parts = _HUB_ID.fullmatch(hub_id)
    assert parts, hub_id
    split = parts["split"] or "train"
    is_modelscope = parts["hub"] == "modelscope"
    hub = "ModelScope" if is_modelscope else "Hugging Face"
    load = _load_modelscope if is_modelscope else _load_huggingface
    try:
        dataset = load(parts["name"], parts["subset"], split)
    except EnvironmentProblem:
        raise
    except Exception as error:  # hubs raise dozens of kinds; none is for a learner's eyes
        raise _explain_hub(hub_id, hub, parts["hub"] is not None, error) from error
    notes.append(f"It comes from {hub}, split {split}.")
    yield from _iter_dataset(dataset, hub_id)


def _load_huggingface(name: str, subset: str | None, split: str) -> "Dataset":
    import datasets

    with _without_retries():
        return datasets.load_dataset(name, subset, split=split)


@contextlib.contextmanager
def _without_retries() -> Iterator[None]:
    """Off the network, look into the cache at once: the library would try for 20 seconds first."""
    import urllib.parse

    import datasets.config
    import huggingface_hub.constants

    host = urllib.parse.urlsplit(huggingface_hub.constants.ENDPOINT).hostname or ""
    places = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    if not is_known(host):
        for place in places:
            place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


def is_known(host: str) -> bool:
    """Whether a host's name has an address, or a proxy looks that up.

    Args:
        host: its name.
    """
    import socket
    import urllib.request  # takes 20 ms: only for a hub

    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(host, None)
    except OSError:
        return False
    return True


def _load_modelscope(name: str, subset: str | None, split: str) -> "Dataset":
    try:
        from modelscope.msdatasets import MsDataset
    except ImportError as error:
        raise EnvironmentProblem(
            "Data sets from ModelScope need the package modelscope, which is not installed.",
            "Install it: pip install modelscope",
        ) from error
    loaded = MsDataset.load(name, subset_name=subset or "default", split=split)
    return loaded.to_hf_dataset() if hasattr(loaded, "to_hf_dataset") else loaded


def _explain_hub(hub_id: str, hub: str, is_named: bool, error: Exception) -> DataError:
    """Why a data set did not come, as far as its library says."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    local = "" if is_named else f"There is no file or folder {hub_id!r}, and "
    if _is_offline(error):
        return DataError(
            f"{local}{hub} cannot be reached to load {hub_id!r}.",
            "Connect to the network, or download the data elsewhere and name the file.",
        )
    if kinds & {"DatasetNotFoundError", "RepositoryNotFoundError", "NotExistError"}:
        return DataError(
            f"{local}{hub} has no data set {hub_id!r}, or it is not open to you.",
            "Check the spelling; for a gated one accept its terms and log in: hf auth login",
        )
    return DataError(
        f"{hub} cannot load {hub_id!r}: {_first_line(error)}",
        "Give owner/name/subset:split, for example hf:openai/gsm8k/main:train.",
    )


def _is_offline(error: BaseException | None) -> bool:
    """Whether a missing network is behind an error."""
    while error is not None:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & {
            "ConnectionError",
            "ConnectError",
            "OfflineModeIsEnabled",
            "TimeoutException",
            "gaierror",
            "ConnectTimeout",
            "ProxyError",
        }:
            return True
        error = error.__cause__ or error.__context__
    return False


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]

"""Fetch a model's or a data set's files from a hub: resumed, compared with their sums, no code.

huggingface_hub downloads. When a connection breaks, it asks for the rest of the file; when a call
ends early, the next one keeps whole files and begins the others anew. What is fetched is chosen
here: of a model its config, tokenizer and weights as safetensors. Old weight files (.bin) are
pickles, which can hold code; they come only when asked for, and only tensors are read from them.
"""

import contextlib
import errno
import fnmatch
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from course_lib import files
from course_lib.data import readers, sources
from course_lib.errors import DataError, EnvironmentProblem, ModelError

if TYPE_CHECKING:  # takes half a second
    from huggingface_hub.hf_api import RepoSibling

RepoType = Literal["model", "dataset"]
# A model's files stand in its main folder; others (original/, onnx/) hold the same in other forms.
MODEL_FILES = ("*.safetensors", "*.json", "tokenizer.model", "*.txt", "*.jinja", "*.md", "LICENSE*")
SAME_AGAIN = ("consolidated*", "params.json", "training_args*")  # beside Mistral's and others'
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")
CODE = ("*.py", "*.pyc", "*.sh", "*.ipynb")
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Fetched:
    """What was fetched.

    Attributes:
        folder: where it is.
        repo_type: model or dataset.
        files: paths below the folder.
        size_bytes: of all of them.
        revision: the commit on the hub; empty when the hub did not say.
    """

    folder: Path
    repo_type: RepoType
    files: tuple[str, ...]
    size_bytes: int
    revision: str = ""


def fetch_huggingface(
    hub_id: str, repo_type: RepoType | None, dest: Path | None, has_pickles: bool = False
) -> Fetched:
    """Fetch from the Hugging Face hub, or from the mirror that HF_ENDPOINT names.

    Args:
        hub_id: owner/name.
        repo_type: model or dataset; None to look for a model first.
        dest: the folder; None for the hub's own cache, where a model is then found by its id.
        has_pickles: take weights as pickles where there are no others.

    Returns:
        What was fetched; each file has the sum that the hub gives.

    Raises:
        ModelError: the hub has no such model, it is not open to you, or it lacks files.
        DataError: the same of a data set; or a file's sum is wrong.
        EnvironmentProblem: no network, the hub fails, or the disk is too small.
    """
    import huggingface_hub
    from huggingface_hub import constants

    with _explained(hub_id, repo_type):
        kind, revision, listing = _list_files(hub_id, repo_type)
    chosen = _choose(hub_id, kind, listing, has_pickles)
    size = sum(file.size or 0 for file in chosen)
    here = _bytes_here(hub_id, kind, revision, dest, chosen)
    _check_space(hub_id, size - here, dest or Path(constants.HF_HUB_CACHE))
    with _explained(hub_id, kind):
        place = huggingface_hub.snapshot_download(
            hub_id,
            repo_type=kind,
            revision=revision,
            local_dir=dest,
            allow_patterns=[glob.escape(file.rfilename) for file in chosen],
        )
    folder = dest or Path(place)
    _check_sums(folder, chosen)
    _check_shards(hub_id, folder)
    return Fetched(folder, kind, tuple(file.rfilename for file in chosen), size, revision)


def fetch_modelscope(
    hub_id: str, repo_type: RepoType | None, dest: Path | None, has_pickles: bool = False
) -> Fetched:
    """Fetch from ModelScope through its own library, which compares the sums.

    Args:
        hub_id: owner/name there.
        repo_type: model or dataset; None for a model.
        dest: the folder; None for ModelScope's own cache.
        has_pickles: take weights as pickles too.

    Returns:
        What was fetched.

    Raises:
        EnvironmentProblem: the library is not installed.
        ModelError: it cannot fetch the model; DataError for a data set.
    """
    kind = repo_type or "model"
    try:
        from modelscope.hub import snapshot_download as hub
    except ImportError as error:
        raise EnvironmentProblem(
            "Fetching from ModelScope needs the package modelscope, which is not installed.",
            "Install it: python -m pip install modelscope",
        ) from error
    chosen = {"local_dir": str(dest)} if dest else {}
    chosen["ignore_file_pattern"] = [*CODE, *([] if has_pickles else PICKLES)]
    load = hub.snapshot_download if kind == "model" else hub.dataset_snapshot_download
    try:
        folder = Path(load(hub_id, **chosen))
    except OSError as error:
        raise _explain(hub_id, kind, error) from error
    except Exception as error:  # its library raises dozens of kinds; none is for a learner's eyes
        problem = ModelError if kind == "model" else DataError
        raise problem(
            f"ModelScope cannot give {hub_id!r}: {_first_line(error)}",
            "Check the spelling and the network, then run the same command again.",
        ) from error
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder) for path in files]
    kept = [n for n in names if not any(part.startswith(".") for part in n.parts)]
    size = sum((folder / name).stat().st_size for name in kept)
    return Fetched(folder, kind, tuple(name.as_posix() for name in kept), size)


def _list_files(
    hub_id: str, repo_type: RepoType | None
) -> tuple[RepoType, str, list["RepoSibling"]]:
    """What the hub has under an id: kind, commit, and files with their sizes and sums."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = HfApi()
    kinds: Sequence[RepoType] = [repo_type] if repo_type else ["model", "dataset"]
    for kind in kinds:
        try:
            found = api.repo_info(hub_id, repo_type=kind, files_metadata=True)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            if kind == kinds[-1]:
                raise
            continue
        return kind, found.sha or "main", list(found.siblings or [])
    raise AssertionError("the last kind returns or raises")


def _choose(
    hub_id: str, kind: RepoType, listing: Sequence["RepoSibling"], has_pickles: bool
) -> list["RepoSibling"]:
    """The files to fetch."""
    plain = [file for file in listing if not _matches(file, (*CODE, *PICKLES, ".git*"))]
    if kind == "dataset":
        if not plain:
            raise DataError(f"The data set {hub_id!r} has no data files.", "Choose another one.")
        return plain
    main = [file for file in plain if "/" not in file.rfilename and _matches(file, MODEL_FILES)]
    main = [file for file in main if not _matches(file, SAME_AGAIN)]
    names = {file.rfilename for file in main}
    if "config.json" not in names:
        raise ModelError(
            f"{hub_id!r} has no config.json: it is not a model for transformers.",
            "An adapter or a GGUF file needs its base model; look for the original model's id.",
        )
    if any(name.endswith(".safetensors") for name in names):
        return main
    pickles = [
        file
        for file in listing
        if "/" not in file.rfilename and _matches(file, PICKLES) and not _matches(file, SAME_AGAIN)
    ]
    if not pickles:
        raise ModelError(f"{hub_id!r} has no weights.", "Look for the original model's id.")
    if not has_pickles:
        raise ModelError(
            f"{hub_id!r} has its weights as pickles only ({pickles[0].rfilename}). Pickles can "
            "hold code; tunebook reads nothing but tensors from them.",
            "Take them with --pickles, or choose a model with .safetensors files.",
        )
    return [*main, *pickles]


def _matches(file: "RepoSibling", patterns: Sequence[str]) -> bool:
    name = file.rfilename.rsplit("/", 1)[-1]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _bytes_here(
    hub_id: str,
    kind: RepoType,
    revision: str,
    dest: Path | None,
    chosen: Sequence["RepoSibling"],
) -> int:
    """Bytes that an earlier call has brought."""
    if dest is None:
        import huggingface_hub

        found = [
            huggingface_hub.try_to_load_from_cache(
                hub_id, file.rfilename, revision=revision, repo_type=kind
            )
            for file in chosen
        ]
        paths = [Path(path) for path in found if isinstance(path, str)]
    else:
        paths = [dest / file.rfilename for file in chosen]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _check_space(hub_id: str, size: int, dest: Path) -> None:
    """Refuse what cannot fit before the first byte comes."""
    there = dest.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    if size > free:
        raise EnvironmentProblem(
            f"{hub_id} takes {files.size_in_words(size)} and {files.size_in_words(free)} are free "
            f"in {there}.",
            "Make room, or name a folder on another disk with --to.",
        )


def _check_sums(folder: Path, chosen: Sequence["RepoSibling"]) -> None:
    """Compare each file with the hub's sum; a wrong one is removed, so that it comes anew."""
    wrong = [file.rfilename for file in chosen if not _has_sum(folder / file.rfilename, file)]
    for name in wrong:
        path = folder / name
        path.resolve().unlink(missing_ok=True)  # in the hub's cache it is a link
        path.unlink(missing_ok=True)
        record = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
        record.unlink(missing_ok=True)
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(chosen)} files in {folder} have another sum than on the hub, "
            f"for example {wrong[0]}. They were removed.",
            "Run the same command again: it fetches only these.",
        )


def _check_shards(hub_id: str, folder: Path) -> None:
    """Refuse a model whose index names weight files that the hub does not have."""
    for index in folder.glob("*.index.json"):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{index.name} of {hub_id!r} is damaged: {_first_line(error)}.",
                "It is so on the hub: choose another revision or model.",
            ) from error
        missing = sorted(name for name in named if not (folder / str(name)).is_file())
        # an index of pickles stays without them where there are safetensors
        if missing and not index.name.startswith("pytorch_model"):
            raise ModelError(
                f"{hub_id!r} lacks {len(missing)} of {len(named)} weight files that {index.name} "
                f"names, for example {missing[0]}.",
                "They are not on the hub: choose another revision or model.",
            )


def _has_sum(path: Path, file: "RepoSibling") -> bool:
    """Large files have a SHA-256; small ones git's own sum, over their size and content."""
    if not path.is_file():
        return False
    expected = (file.lfs or {}).get("sha256") if file.lfs else file.blob_id
    if not expected:
        return file.size is None or path.stat().st_size == file.size
    digest = hashlib.sha256()
    if not file.lfs:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest() == expected


# --- errors --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _explained(hub_id: str, kind: RepoType | None) -> Iterator[None]:
    """Turn what huggingface_hub raises into one of the course's errors."""
    try:
        yield
    except (DataError, ModelError, EnvironmentProblem):
        raise
    except Exception as error:  # its errors have many bases, some of them another library's
        raise _explain(hub_id, kind, error) from error


def _explain(
    hub_id: str, kind: RepoType | None, error: Exception
) -> DataError | ModelError | EnvironmentProblem:
    names = {each.__name__ for each in type(error).__mro__}
    problem = DataError if kind == "dataset" else ModelError
    what = {"model": "model", "dataset": "data set"}.get(kind or "", "model or data set")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentProblem(
            f"The disk is full: {hub_id} is not complete.",
            "Make room and run the same command again: whole files are kept.",
        )
    if "GatedRepoError" in names or status == 403:
        return problem(
            f"{hub_id!r} asks you to accept its terms first (or is not open to you).",
            f"Log in on its page, accept them, then run: hf auth login. Page: {_page(hub_id)}",
        )
    if "RepositoryNotFoundError" in names or status in (401, 404):
        return problem(
            f"The hub has no {what} {hub_id!r}, or it is not open to you.",
            "Check the spelling (owner/name). Is it private? Log in: hf auth login",
        )
    if "HFValidationError" in names:
        return problem(
            f"{hub_id!r} is no id on a hub.", "Give owner/name, such as Qwen/Qwen3-0.6B."
        )
    if status is not None:
        return EnvironmentProblem(
            f"The hub answers with status {status} for {hub_id!r}.",
            "Wait a little and run the same command again: whole files are kept.",
        )
    return EnvironmentProblem(
        f"{hub_id} cannot be fetched: the hub cannot be reached, or the connection broke "
        f"({_first_line(error)}).",
        "Connect and run the same command again: whole files are kept. With no network, fetch it "
        "on another machine and copy the folder: a folder's path works as a name.",
    )


def _page(hub_id: str) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{hub_id}"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextlib.contextmanager
def quick_offline(name: str) -> Iterator[None]:
    """Off the network, have libraries look into the hub's cache at once.

    They would ask five times first, which takes 23 seconds for each file.

    Args:
        name: of a model: a folder, or an id on the hub.
    """
    if Path(name).exists():
        yield
        return
    import urllib.parse

    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname or ""
    constants.HF_HUB_OFFLINE = before or not sources.is_known(host)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def data_files(fetched: Fetched) -> list[str]:
    """The files of a data set that rows are read from, those to train on first.

    Args:
        fetched: a data set.
    """
    names = [n for n in fetched.files if readers.suffix_of(Path(n)) in readers.SUFFIXES]
    return sorted(names, key=lambda name: ("train" not in os.path.basename(name), name))

"""Where the course's files are, and how files are written: whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from course_lib.errors import DataError

REPO_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("TUNEBOOK_DATA") or REPO_DIR / "data")


def _sync_dir(path: Path) -> None:
    """Make a rename in this folder survive a power cut, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def size_in_words(count: int) -> str:
    """Bytes for reading: 1,572,864 are "1.5 MiB".

    Args:
        count: bytes.
    """
    return f"{count / 2**20:,.1f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def write_atomic(path: Path, text: str | bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never half.

    Args:
        path: the file; its folder is made when missing.
        text: the whole new content; a text is written as UTF-8.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_dir(path.parent)


@contextmanager
def staged_dir(final: Path) -> Iterator[Path]:
    """A folder that appears under its final name only when the block ends well.

    Args:
        final: the folder to make; it must not exist yet.

    Yields:
        A temporary folder beside it. After an error it is removed; after a kill it
        stays behind with a name that starts with a dot and that no rule takes for a result.

    Raises:
        FileExistsError: `final` exists.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        raise FileExistsError(f"{final} exists already")
    staging = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    try:
        yield staging
        for file in staging.rglob("*"):
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        os.chmod(staging, 0o755)
        os.rename(staging, final)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    _sync_dir(final.parent)


def write_jsonl(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write records as JSON lines, as `write_atomic` writes a text.

    Args:
        path: the file; its folder is made when missing.
        records: what JSON can say, a line each.

    Raises:
        OSError: as in `write_atomic`.
    """
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    write_atomic(path, "".join(lines))


def append_jsonl(path: Path, record: Mapping[str, Any]) -> None:
    """Add one record to a JSON-lines file.

    Args:
        path: the file; made when missing. A last line that a killed writer left torn is
            cut off, or the record would stand behind it on the same line.
        record: what `json.dumps` can write.
    """
    line = json.dumps(record, ensure_ascii=False) + "\n"
    with path.open("a+b") as file:
        _mend_end(file)
        file.write(line.encode("utf-8"))


def _mend_end(file: BinaryIO) -> None:
    """End a file of JSON lines with a newline: behind a whole last line, in place of a torn one."""
    if not file.seek(0, os.SEEK_END):
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    try:
        json.loads(content[start:].decode("utf-8"))
        file.write(b"\n")
    except (UnicodeDecodeError, json.JSONDecodeError):
        file.truncate(start)


def read_jsonl(path: Path, allow_torn: bool = False) -> list[dict[str, Any]]:
    """Read a JSON-lines file.

    Args:
        path: the file.
        allow_torn: skip a last line that a killed writer left unfinished.

    Returns:
        One dict for each line; blank lines are skipped.

    Raises:
        DataError: the file is missing, or a line is not a JSON object; names the line.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist.", "Check the path and the spelling.")
    lines = path.read_bytes().split(b"\n")  # as bytes: a torn line may end inside a character
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            if allow_torn and number == len(lines):  # only a line without its newline is torn
                break
            is_text = isinstance(error, json.JSONDecodeError)
            found = f"not JSON ({error.msg}: column {error.colno})" if is_text else "not UTF-8"
            raise DataError(
                f"{path}, line {number}: {found}.",
                "Write one JSON object on each line, with double quotes, saved as UTF-8.",
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"{path}, line {number}: expected a JSON object, found {type(record).__name__}.",
                'Write one object such as {"messages": [...]} on each line.',
            )
        records.append(record)
    return records

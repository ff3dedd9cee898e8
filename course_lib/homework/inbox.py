"""Find the notebooks in a folder or a zip of submissions, whatever else lies there.

Nothing is ever unpacked to a disk: a member of a zip is read up to a limit, and its name is only
looked at to know whose it is.
"""

import csv
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath

from course_lib.errors import DataError
from course_lib.homework import bundle

LARGEST_NOTEBOOK = 20 * 2**20  # bytes
LARGEST_ZIP = 2**30  # bytes of all that is read from one zip
MOST_MEMBERS = 20_000
BROKEN = (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError)
SKIPPED = ("__MACOSX", ".ipynb_checkpoints", ".git")
# Moodle: a folder "Name_123_assignsubmission_file_"; Canvas: "name_123_456_exercise.ipynb".
# Otherwise: the name of the first folder, or of the file up to its first "_".
DEFAULT_PATTERN = (
    r"(?P<student>[^/]+?(?=_\d+_assignsubmission[^/]*/)|[^/]+(?=/)"
    r"|(?:(?!\.(?i:ipynb|zip)$)[^/_])+)"
)
# The number in both of these names: two students may share a name, but never this.
NUMBER = re.compile(r"[^/]*?_(?:LATE_)?(?P<number>\d+)_(?:assignsubmission|\d+_)")


@dataclass(frozen=True)
class Upload:
    """A file that somebody handed in.

    Args:
        student: whose it is.
        place: where it lay, for notes.
        load: reads its bytes; asked when it is graded, so that a large inbox needs little memory.
        changed: when it was last changed, to find the newest of several.
        problem: why it is not read at all, or empty.
        number: what the course platform's download calls the student, or empty.
        load_bundle: reads the whole bundle that the notebook came in; None when it came alone.
    """

    student: str
    place: str
    load: Callable[[], bytes] = bytes
    changed: float = 0
    problem: str = ""
    number: str = ""
    load_bundle: Callable[[], bytes] | None = None

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            ValueError: it cannot be read; says why.
        """
        if self.problem:
            raise ValueError(self.problem)
        try:
            return self.load()
        except BROKEN as error:
            raise ValueError(f"it cannot be read: {error}") from error


def read_inbox(path: Path, pattern: str = DEFAULT_PATTERN) -> dict[str, list[Upload]]:
    """All uploads, by student, the newest first.

    Args:
        path: a folder or a zip; a folder may hold zips.
        pattern: a regular expression with a group `student`, for paths below the inbox.

    Raises:
        DataError: the inbox does not exist, holds no notebook, or the pattern is wrong.
    """
    try:
        finder = re.compile(pattern)
        finder.groupindex["student"]
    except (re.error, KeyError) as error:
        raise DataError(
            f"The pattern {pattern!r} cannot be used: {error}.",
            "Write a regular expression with a group (?P<student>...).",
        ) from error
    if not path.exists():
        raise DataError(f"{path} does not exist.", "Name the folder or zip of submissions.")
    found: dict[str, list[Upload]] = {}
    for upload in _uploads(path, finder):
        found.setdefault(upload.student, []).append(upload)
    if not found:
        raise DataError(f"There is no notebook in {path}.", "Submissions are .ipynb files.")
    found = _tell_apart(found)
    order = sorted(found, key=str.casefold)
    return {s: sorted(found[s], key=lambda u: (bool(u.problem), -u.changed)) for s in order}


def _tell_apart(found: dict[str, list[Upload]]) -> dict[str, list[Upload]]:
    """Students of one name, whom the platform's numbers tell apart, as students of their own."""
    told: dict[str, list[Upload]] = {}
    for student, uploads in found.items():
        is_shared = len({upload.number for upload in uploads if upload.number}) > 1
        for upload in uploads:
            name = f"{student}_{upload.number}" if is_shared and upload.number else student
            told.setdefault(name, []).append(replace(upload, student=name))
    return told


def read_roster(path: Path) -> list[str]:
    """The students of a course, from the first column of a CSV file.

    Args:
        path: the file; a first line that says "student" is its head.

    Raises:
        DataError: it is missing or not UTF-8.
    """
    try:
        rows = list(csv.reader(path.read_text("utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}.", "Give a CSV file, saved as UTF-8.") from error
    names = [row[0].strip() for row in rows if row and row[0].strip()]
    return names[1:] if names and names[0].lower() in ("student", "id") else names


def decode_notebook(content: bytes) -> str:
    """The text of a notebook file: UTF-8 or UTF-16, with or without a mark at its start.

    Args:
        content: the file's bytes.

    Raises:
        ValueError: it is empty or in another encoding.
    """
    if not content.strip():
        raise ValueError("the file is empty")
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise ValueError("the file is neither UTF-8 nor UTF-16") from error


def _uploads(path: Path, finder: re.Pattern[str]) -> Iterator[Upload]:
    if path.is_file():
        yield from _zip_uploads(path, "", finder)
        return
    for file in sorted(path.rglob("*")):
        place = file.relative_to(path).as_posix()
        suffix = file.suffix.lower()
        if suffix not in (".ipynb", ".zip") or _is_skipped(place):
            continue
        state = file.lstat()  # a link could lead to any file of the grader's machine
        if not stat.S_ISREG(state.st_mode):
            if not stat.S_ISDIR(state.st_mode):
                yield _problem(place, finder, "it is a link or no ordinary file")
        elif suffix == ".zip":
            yield from _zip_uploads(file, place, finder)
        elif state.st_size > LARGEST_NOTEBOOK:
            yield _problem(place, finder, _too_large())
        else:
            student, number = _whose(place, finder)
            yield Upload(student, place, file.read_bytes, state.st_mtime, number=number)


def _zip_uploads(path: Path, place: str, finder: re.Pattern[str]) -> Iterator[Upload]:
    """Notebooks of a zip; a zip inside the inbox belongs to whom its own name says."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise ValueError(f"more than {MOST_MEMBERS:,} files in it")
        if bundle.is_bundle([member.filename for member in members]):
            load = partial(_read_file, path, bundle.LARGEST_BUNDLE)
            yield _bundle_upload(place or path.name, finder, load, path.stat().st_mtime)
            return
        yield from _member_uploads(path, members, place, finder)
    except BROKEN as error:
        if not place:
            raise DataError(f"{path}: {error}.", "Give a folder, or a zip that opens.") from error
        yield _problem(place, finder, f"the zip cannot be read: {error}")


def _member_uploads(
    path: Path, members: list[zipfile.ZipInfo], outer: str, finder: re.Pattern[str]
) -> Iterator[Upload]:
    left = LARGEST_ZIP
    for member in members:
        place = f"{outer}/{member.filename}" if outer else member.filename
        is_zip = member.filename.lower().endswith(".zip")
        if _is_skipped(place) or not (is_zip or member.filename.lower().endswith(".ipynb")):
            continue
        if _leads_out(member.filename):
            yield _problem(outer or PurePosixPath(place).name, finder, "its path leads out")
            continue
        student, number = _whose(outer or place, finder)
        left -= member.file_size  # what is read later ends there, whatever else the zip holds
        if is_zip and not outer and member.file_size <= bundle.LARGEST_BUNDLE and left >= 0:
            load = partial(_read_member, path, member, bundle.LARGEST_BUNDLE)
            yield _bundle_upload(place, finder, load, _time_of(member))
            continue
        if is_zip:
            problem = "a zip in a zip: unpack the outer one first"
            yield Upload(student, place, problem=problem, number=number)
            continue
        if member.file_size > LARGEST_NOTEBOOK or left < 0:
            yield Upload(student, place, problem=_too_large(), number=number)
        else:
            load = partial(_read_member, path, member)
            yield Upload(student, place, load, _time_of(member), number=number)


def _read_member(path: Path, member: zipfile.ZipInfo, limit: int = LARGEST_NOTEBOOK) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        return file.read(limit)


def _read_file(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit + 1)


def _bundle_upload(
    place: str, finder: re.Pattern[str], load: Callable[[], bytes], changed: float
) -> Upload:
    """A zip that is handed in as a bundle; whether it is one shows when it is graded."""
    student, number = _whose(place, finder)
    notebook = partial(bundle.read_notebook, load)
    return Upload(student, place, notebook, changed, number=number, load_bundle=load)


def _time_of(member: zipfile.ZipInfo) -> float:
    try:
        return datetime(*member.date_time).timestamp()
    except (ValueError, OverflowError, OSError):  # a zip may hold any numbers there
        return 0


def _leads_out(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return ".." in parts or name.startswith(("/", "\\")) or ":" in (parts[0] if parts else "")


def _is_skipped(place: str) -> bool:
    return any(part in SKIPPED or part.startswith("._") for part in place.split("/"))


def _whose(place: str, finder: re.Pattern[str]) -> tuple[str, str]:
    """A student's name, and the number that the course platform wrote behind it, if any."""
    found, numbered = finder.match(place), NUMBER.match(place)
    name = found["student"] if found and found["student"] else PurePosixPath(place).stem
    return name.strip()[:100] or "unnamed", numbered["number"] if numbered else ""


def _problem(place: str, finder: re.Pattern[str], problem: str) -> Upload:
    student, number = _whose(place, finder)
    return Upload(student, place, problem=problem, number=number)


def _too_large() -> str:
    return f"it is larger than {LARGEST_NOTEBOOK // 2**20} MiB"

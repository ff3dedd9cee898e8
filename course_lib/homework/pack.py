"""A copy of the course for learners: everything but solutions/ and what shows them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import nbformat

from course_lib.errors import DataError, EnvironmentProblem
from course_lib.files import REPO_DIR, staged_dir
from course_lib.homework import lessons, make

# What only an instructor has, and what cannot run without it.
LEFT_OUT = (
    "solutions/",
    "tests/homework/",
    "tests/commands/test_homework.py",
    "tests/browser/test_homework.py",
    "docs/take_pictures.py",
)
SHORTEST_LEAK = 20  # characters: shorter lines, such as `return packs`, say nothing
# Lines that others write just so: a loop's head, a field such as "kind": "word",
ORDINARY = re.compile(r'(from |import |def |for |###).*|"\w+": ("\w*"|[\w.]+),?')
MOST_SHOWN = 10


def pack(dest: Path) -> int:
    """Copy the tracked files that learners may have; the history is not copied.

    Args:
        dest: the new folder.

    Returns:
        How many files it holds.

    Raises:
        DataError: the folder exists, or a line of an answer stands in a file to be copied.
        EnvironmentProblem: this is no git repository, or git is not installed.
    """
    if dest.exists():
        raise DataError(f"{dest} exists already.", "Name a new folder, or delete the old one.")
    names = [name for name in tracked_files() if not name.startswith(LEFT_OUT)]
    names = [name for name in names if (REPO_DIR / name).is_file()]
    leaks = find_leaks(names)
    if leaks:
        shown = "".join(f"\n  {line}" for line in leaks[:MOST_SHOWN])
        raise DataError(
            f"{len(leaks)} lines of answers stand outside solutions/:{shown}",
            "Take them out there, then pack again.",
        )
    with staged_dir(dest) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO_DIR / name, folder / name)
    return len(names)


def tracked_files() -> list[str]:
    """Paths below the repository of all files that git knows.

    Raises:
        EnvironmentProblem: this is no git repository, or git is not installed.
    """
    return _list_files()


def unknown_files() -> list[str]:
    """Paths of new files that git neither knows nor ignores: they are not copied.

    Raises:
        EnvironmentProblem: this is no git repository, or git is not installed.
    """
    return _list_files("--others", "--exclude-standard")


def _list_files(*options: str) -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "ls-files", "-z", *options],  # noqa: S607
            cwd=REPO_DIR,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise EnvironmentProblem(
            f"git cannot list the course's files: {said.decode('utf-8', 'replace').strip()[:300]}",
            "Run this in the whole repository, as git gave it, with git installed.",
        ) from error
    return [name for name in done.stdout.decode("utf-8").split("\0") if name]


def find_leaks(names: Iterable[str]) -> list[str]:
    """Where lines of answers or hidden checks stand in files.

    Args:
        names: paths below the repository.

    Returns:
        A line for each: the file and what stands there.

    Raises:
        DataError: solutions/ is missing.
    """
    secret = {line for lesson in lessons.MODULES for line in answer_lines(lesson)}
    found = []
    for name in names:
        try:
            text = (REPO_DIR / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue  # weights and pictures
        lines = _typed_lines(text) if name.endswith(".ipynb") else text.splitlines()
        found += [f"{name}: {x}" for x in sorted({line.strip() for line in lines} & secret)]
    return found


def _typed_lines(text: str) -> list[str]:
    """Lines as they were typed, of cells and outputs: a notebook holds them as JSON texts."""
    lines, todo = [], [json.loads(text)]
    while todo:
        value = todo.pop()
        if isinstance(value, str):
            lines += value.splitlines()
        elif isinstance(value, (dict, list)):
            todo += value.values() if isinstance(value, dict) else value
    return lines


def answer_lines(lesson: str) -> set[str]:
    """Lines that only the instructor's files hold: answers and hidden checks.

    Args:
        lesson: from `lessons.find_lesson`.

    Raises:
        DataError: solutions/ is missing.
    """
    folder = lessons.SOLUTIONS_DIR / lesson
    hidden = folder / lessons.HIDDEN_NAME
    if not hidden.is_file():
        raise DataError(f"{hidden} does not exist.", "Run this in the whole repository.")
    book = nbformat.read(folder / lessons.NOTEBOOK_NAME, as_version=4)
    lines = {line for cell in book.cells for line in cell.source.splitlines()}
    lines -= {line for c in make.release(book).cells for line in c.source.splitlines()}
    lines |= set(hidden.read_text("utf-8").splitlines())
    found = {line.strip() for line in lines}
    return {x for x in found if len(x) > SHORTEST_LEAK and not ORDINARY.fullmatch(x)}

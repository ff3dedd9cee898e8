"""The copy for learners: nothing of answers is in it, and checking an answer works there."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.errors import DataError, EnvironmentProblem
from course_lib.files import REPO_DIR
from course_lib.homework import lessons, pack

# In a process of its own, whose course is the copy.
CHECK_ALL = """
import json, sys
from course_lib import files
from course_lib.homework import cells, lessons, local, selfcheck

assert str(files.REPO_DIR) == sys.argv[1], files.REPO_DIR
found = {}
for lesson in lessons.MODULES:
    path = lessons.EXERCISES_DIR / lesson / lessons.NOTEBOOK_NAME
    names = {}
    for cell in cells.list_cells(cells.read_notebook(path)):
        if cell.is_code and not cell.is_for_course:
            exec(cell.source, names)
    for name, check in lessons.visible_checks(lesson).items():
        if not check.is_measured:  # that one would train
            found[name] = selfcheck.check_answer(name, names).status
names["mean_loss"] = lambda logits, labels: 7.0
words = selfcheck.in_words(selfcheck.check_answer("mean_loss", names))
print(json.dumps([found, words]))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    try:
        pack.tracked_files()
    except EnvironmentProblem as problem:
        pytest.skip(f"no git repository here: {problem.message}")
    dest = tmp_path_factory.mktemp("pack") / "course"
    pack.pack(dest)
    return dest


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_answer_and_no_hidden_check_is_in_it(copy):
    assert not (copy / "solutions").exists()
    names = {path.name for path in files_of(copy)}
    assert not names & {lessons.HIDDEN_NAME, lessons.WRONG_NAME}
    assert not (copy / ".git").exists()
    secret = {line for lesson in lessons.MODULES for line in pack.answer_lines(lesson)}
    assert len(secret) > 100
    looked_at = 0
    for path in files_of(copy):
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        looked_at += 1
        plain = re.sub(r'\\n|\\"|["\s,]', "", text)  # JSON's signs and all blanks aside
        lines = [line for line in secret if len(line) > 40]
        found = [line for line in lines if re.sub(r'\\n|\\"|["\s,]', "", line) in plain]
        assert found == [], path
    assert looked_at > 300


def test_what_learners_need_is_in_it(copy):
    for name in ("Makefile", "README.md", "pyproject.toml", "notebooks/00_start.ipynb"):
        assert (copy / name).read_bytes() == (REPO_DIR / name).read_bytes()
    made = {path.parent.name for path in copy.glob("exercises/*/exercise.ipynb")}
    assert made == set(lessons.MODULES)
    assert (copy / "data" / "pico" / "chat" / "model.safetensors").is_file()


def test_no_test_in_it_needs_what_was_left_out(copy):
    for path in (copy / "tests").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "tests.homework" not in text, path
        assert "SOLUTIONS_DIR" not in text, path


def run_there(copy, *words):
    variables = {**os.environ, "PYTHONPATH": str(copy), "TUNEBOOK_PROGRESS": os.devnull}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=copy, env=variables, capture_output=True, text=True)


def test_checking_an_answer_works_there(copy):
    done = run_there(copy, "-c", CHECK_ALL, copy)
    assert done.returncode == 0, done.stderr
    found, words = json.loads(done.stdout)
    assert set(found.values()) <= {"not started", "wrong"}, found
    assert found["mean_loss"] == "not started"
    assert words.startswith("✗ mean_loss, wrong: ")


def test_an_instructors_command_says_what_is_missing_there(copy):
    start = "import sys; from course_lib import cli; cli.main(sys.argv[1:])"
    done = run_there(copy, "-c", start, "homework", "make", "01")
    assert done.returncode == 1
    assert "solutions" in done.stderr
    assert "does not exist" in done.stderr


def test_a_line_of_an_answer_elsewhere_stops_the_copy(tmp_path, monkeypatch):
    line = next(x for x in sorted(pack.answer_lines("01_concepts")) if len(x) > 30)
    monkeypatch.setattr(pack, "REPO_DIR", tmp_path)
    monkeypatch.setattr(pack, "tracked_files", lambda: ["notes.md", "book.ipynb", "fine.md"])
    (tmp_path / "notes.md").write_text(f"Look:\n\n    {line}\n", "utf-8")
    book = {"cells": [{"source": ["x\n", f"    {line}\n"]}]}
    (tmp_path / "book.ipynb").write_text(json.dumps(book), "utf-8")
    (tmp_path / "fine.md").write_text("nothing", "utf-8")
    with pytest.raises(DataError, match="2 lines of answers stand outside") as error:
        pack.pack(tmp_path / "copy")
    assert "notes.md: " in str(error.value)
    assert "book.ipynb: " in str(error.value)
    assert not (tmp_path / "copy").exists()


def test_a_folder_that_is_there_is_left_alone(tunebook, tmp_path):
    done = tunebook("homework", "pack", tmp_path)
    assert (done.status, "exists already" in done.err) == (1, True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_new_files_that_git_does_not_know_are_named(tunebook, tmp_path, monkeypatch):
    repo = tmp_path / "repo"
    repo.mkdir()
    subprocess.run(["git", "init", "-q", repo], check=True)
    for name in ("known.md", "new.md"):
        (repo / name).write_text(name, "utf-8")
    subprocess.run(["git", "add", "known.md"], cwd=repo, check=True)
    monkeypatch.setattr(pack, "REPO_DIR", repo)
    done = tunebook("homework", "pack", tmp_path / "copy")
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["known.md"]
    assert "git does not know them yet: new.md" in done.out


def test_outside_a_repository_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pack, "REPO_DIR", tmp_path)
    with pytest.raises(EnvironmentProblem, match="git cannot list the course's files"):
        pack.tracked_files()

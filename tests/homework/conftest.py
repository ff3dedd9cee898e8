"""Fixtures of the homework tests."""

import pytest

from course_lib.homework import progress, trained


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """A progress file of the test's own."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(progress.VARIABLE, str(path))
    return path


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory):
    """Where the tests' runs are; the same recipe is trained once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def own_folders(tmp_path, trained_runs, monkeypatch):
    """A working folder and a place for runs of the tests' own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trained, "RUNS_DIR", trained_runs)

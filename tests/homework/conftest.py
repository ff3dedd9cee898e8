"""Fixtures of the homework tests."""

import pytest

from course_lib.homework import progress


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    """A progress file of the test's own."""
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(progress.VARIABLE, str(path))
    return path

"""Fixtures that many tests share; none needs a network."""

import io
import os
import sys
from typing import NamedTuple

import hypothesis
import pytest

from course_lib import cli, files

# In models of this size more threads only wait for each other. Torch reads it when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine must not turn a slow example into a failure.
hypothesis.settings.register_profile("tunebook", deadline=None)
hypothesis.settings.load_profile("tunebook")


@pytest.fixture(scope="session")
def pico_tokenizer():
    """The built-in chat model's tokenizer; tests that change it take a copy."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(files.DATA_DIR / "pico" / "chat")


@pytest.fixture(scope="session")
def pico_model():
    """The built-in chat model in fp32; a test that changes it puts everything back."""
    from course_lib.model import loading

    return loading.load_model("pico-chat", bits=32)


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def tunebook(capsys, monkeypatch):
    """Run a command line in this process; `typed` comes in through a pipe."""

    def run(*words, typed=""):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main([str(word) for word in words])
        return Outcome(end.value.code or 0, *capsys.readouterr())

    return run

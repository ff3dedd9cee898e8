"""Fixtures that many tests share; none needs a network."""

import hypothesis
import pytest

from course_lib import files

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

"""Keep libraries' progress bars and deprecation notes out of a lesson's output."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within the block: no loading bars, and no warnings that only library authors can act on.

    Errors and warnings about the learner's own data pass. DeepSpeed, imported by accelerate
    where it is installed, is told the processor instead of guessing it aloud.
    """
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    try:
        with warnings.catch_warnings():
            for module in ("transformers", "peft", "bitsandbytes", "accelerate"):
                warnings.filterwarnings("ignore", category=FutureWarning, module=module)
            warnings.filterwarnings("ignore", message=".*pin_memory.*")
            yield
    finally:
        if had_bars:
            transformers_logging.enable_progress_bar()

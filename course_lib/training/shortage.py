"""Out of memory: what the run was estimated to need, and what would fit."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from course_lib import files
from course_lib.errors import RunError, TunebookError
from course_lib.model import catalog, estimate
from course_lib.training import prediction
from course_lib.training.config import TrainConfig
from course_lib.training.spread import ONE_PROCESS, Spread

SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "bad_alloc")
SMALLEST_ROW = 64  # tokens: shorter rows teach nothing
WAYS = 2  # that an error names
MOST_TOGETHER = 3  # changes in one of them


@contextmanager
def explained(config: TrainConfig, how: Spread = ONE_PROCESS) -> Iterator[None]:
    """Within the block: a device that is out of memory is an error with what would fit.

    Args:
        config: of the run.
        how: over how many processes, and with what.

    Raises:
        RunError: the memory did not suffice.
    """
    try:
        yield
    except TunebookError:
        raise
    except Exception as error:
        if not is_shortage(error):
            raise
        raise to_error(config, how, prediction.capacity_bytes(how)) from error


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that no memory is left."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def to_error(config: TrainConfig, how: Spread, capacity: int) -> RunError:
    """The error for a run that did not fit.

    Args:
        config: of the run.
        how: over how many processes, and with what.
        capacity: bytes that a process of this run can have.

    Returns:
        Its message has the estimate, its next step the changes that would fit.
    """
    needed = needed_bytes(config, how)
    # It did not fit, whatever the estimate said: what needs hardly less will not either.
    found = changes_that_fit(config, how, min(capacity, needed) * prediction.ROOM)
    sizes = files.size_in_words(needed), files.size_in_words(capacity)
    message = (
        f"The memory did not suffice: training needs about {sizes[0]} at its peak, by estimate, "
        f"and a process can have {sizes[1]} here."
    )
    if not found:
        return RunError(
            message,
            f"Not even {MOST_TOGETHER} changes together would do: take a smaller base model, or a "
            "larger GPU, or several with --deepspeed zero2 or zero3.",
        )
    ways = "; or ".join(f"{words} (about {files.size_in_words(count)})" for words, count in found)
    return RunError(message, f"What would fit: {ways}.")


def needed_bytes(config: TrainConfig, how: Spread = ONE_PROCESS) -> int:
    """What training needs at its peak, by estimate, in each process."""
    shape = catalog.find_shape(config.base_model)
    return estimate.estimate_memory(shape, prediction.setting_of(config, how)).total


def changes_that_fit(config: TrainConfig, how: Spread, limit: float) -> list[tuple[str, int]]:
    """The first changes of a config that need no more than a limit, alone or together.

    Args:
        config: what did not fit.
        how: over how many processes, and with what.
        limit: bytes for each process.

    Returns:
        At most `WAYS`, each as lines of the config, with the bytes it needs.
    """
    single = list(_changes(config, how))
    found: list[tuple[str, int]] = []
    for count in range(1, MOST_TOGETHER + 1):
        for parts in itertools.combinations(single, count):
            update = {name: value for part in parts for name, value in part.items()}
            needed = needed_bytes(config.model_copy(update=update), how)
            if len(update) == sum(map(len, parts)) and needed <= limit and len(found) < WAYS:
                found.append((", ".join(f"{k}: {_word(v)}" for k, v in update.items()), needed))
    return found


def _changes(config: TrainConfig, how: Spread) -> Iterator[dict[str, Any]]:
    """Changes that need less memory, those that change least of what is learned first."""
    if config.gradient_checkpointing is not True:
        yield {"gradient_checkpointing": True}
    rows, steps = config.per_device_train_batch_size, config.gradient_accumulation_steps
    if rows > 1:  # the same packs in a step
        yield {"per_device_train_batch_size": 1, "gradient_accumulation_steps": rows * steps}
    if config.optim == "adamw":
        yield {"optim": "paged_adamw_8bit" if torch.cuda.is_available() else "adamw_8bit"}
    if config.bits != 4 and how.stage < 3:
        yield {"method": "qlora", "bits": 4}
    if config.is_full:
        yield {"method": "lora", "bits": 16}
    if config.max_length >= 2 * SMALLEST_ROW:
        yield {"max_length": config.max_length // 2}


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

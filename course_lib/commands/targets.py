"""Which base model, adapter and name a path on the command line means."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.model import adapters, loading, whole
from course_lib.model.offload import Offload
from course_lib.training import checkpoints, folder
from course_lib.training.config import load_config

DEFAULT_BITS = 16


@dataclass(frozen=True)
class Target:
    """A model to load.

    Attributes:
        base_model: as in `loading.resolve_model`.
        adapter_dir: its adapter, or None.
        bits: for each base weight.
        assistant_name: the name that a run taught; empty when no run says it.
        suite: what a run was scored by; empty when no run says it.
        offload: where layers go that do not fit; None: it must fit.
    """

    base_model: str
    adapter_dir: Path | None
    bits: int
    assistant_name: str = ""
    suite: str = ""
    offload: Offload | None = None

    def as_json(self) -> dict[str, Any]:
        """What was loaded, as plain data."""
        adapter = None if self.adapter_dir is None else str(self.adapter_dir)
        return {"model": self.base_model, "adapter": adapter, "bits": self.bits}


def find_target(
    model: str,
    adapter: Path | None = None,
    bits: int | None = None,
    offload_folder: Path | None = None,
) -> Target:
    """Find out what to load.

    Args:
        model: a model's name or folder, a run folder, a checkpoint or an exported adapter.
        adapter: an adapter, a checkpoint or a run folder; None takes the one that `model` has.
        bits: for each base weight; None takes the run's, or 16.
        offload_folder: where layers go that do not fit; None: the model must fit.

    Returns:
        The target. A run folder stands for its best checkpoint by score, else its latest; with
        method full that checkpoint is the model itself.

    Raises:
        RunError: a run folder without a checkpoint, or no adapter at `adapter`.
        ConfigError: the run's config is damaged.
    """
    offload = Offload(offload_folder) if offload_folder else None
    return replace(_find(model, adapter, bits), offload=offload)


def _find(model: str, adapter: Path | None, bits: int | None) -> Target:
    path = Path(model)
    is_adapter = (path / adapters.ADAPTER_FILES[0]).is_file()
    is_result = is_adapter or whole.is_model(path)
    is_checkpoint = is_result and checkpoints.CHECKPOINT_NAME.match(path.resolve().name)
    run_config = (path.resolve().parent if is_checkpoint else path) / folder.CONFIG_FILE
    if run_config.is_file():
        config = load_config(run_config)
        suite = "" if config.suite == "none" else config.suite
        about = (bits or config.bits, config.assistant_name, suite)
        if config.is_full:
            made = None if adapter is None else checkpoints.find_adapter(adapter)
            return Target(str(checkpoints.find_adapter(path)), made, *about)
        return Target(config.base_model, checkpoints.find_adapter(adapter or path), *about)
    adapter_dir = None if adapter is None else checkpoints.find_adapter(adapter)
    if is_adapter:
        base = adapters.read_base(path)["base_model"] or model
        return Target(base, adapter_dir or path, bits or DEFAULT_BITS)
    return Target(model, adapter_dir, bits or DEFAULT_BITS)


def open_target(target: Target) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a target.

    Args:
        target: from `find_target`.

    Returns:
        The model in eval mode, and its tokenizer.

    Raises:
        ModelError: see `loading.load_model`.
        AdapterError: the adapter is damaged, or belongs to another base.
    """
    tokenizer = adapters.load_tokenizer(target.base_model, target.adapter_dir)
    model = loading.load_model(target.base_model, target.bits, target.offload)
    if target.adapter_dir is not None:
        where = (target.adapter_dir, target.base_model, target.offload)
        model = adapters.load_adapter(model, *where)
    return model, tokenizer

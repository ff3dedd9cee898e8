"""A whole model that training wrote: with method full, each checkpoint is an ordinary model folder.

It is in the type that was trained in, so that a resumed run goes on with the same numbers, and is
several times as large as the base. `export_model` writes what is passed on: in the base's own type
and without the optimizer's state.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from course_lib.errors import AdapterError, ModelError
from course_lib.model import adapters, loading
from course_lib.model.quiet import quiet_libraries

CONFIG_FILE = "config.json"


def train_all(model: PreTrainedModel) -> PreTrainedModel:
    """Make all weights of a model trainable.

    Args:
        model: from `loading.load_model` with 16 or 32 bits.

    Returns:
        The same model, in train mode.
    """
    model.requires_grad_(True)
    # transformers 5 skips the mask that keeps packed rows apart when a cache is built.
    model.config.use_cache = False
    return model.train()


def make_portable(
    model_dir: Path, base_model: str, base_dtype: torch.dtype, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Make a saved model an ordinary folder that any program loads.

    Args:
        model_dir: a folder that the Trainer just wrote.
        base_model: the base's name as the config gives it.
        base_dtype: type of the base's own weights, in which `export_model` writes.
        tokenizer: with the chat template that was trained.
    """
    config_path = model_dir / CONFIG_FILE
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["use_cache"] = True  # off in training only
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(model_dir)
    dtype = str(base_dtype).removeprefix("torch.")
    fingerprint = adapters.base_fingerprint(base_model)
    record = {"base_model": base_model, "fingerprint": fingerprint, "dtype": dtype}
    record_path = model_dir / adapters.BASE_RECORD
    record_path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    (model_dir / "training_args.bin").unlink(missing_ok=True)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a whole model, not an adapter."""
    is_adapter = (folder / adapters.ADAPTER_FILES[0]).is_file()
    return not is_adapter and (folder / CONFIG_FILE).is_file()


def export_model(checkpoint_dir: Path, out_dir: Path, max_shard_size: str = "2GB") -> Path:
    """Write a checkpoint of method full as the model that is published or sent on.

    Args:
        checkpoint_dir: a run's checkpoint-N.
        out_dir: the new folder; it appears whole or not at all.
        max_shard_size: largest weight file, such as "2GB" or "500MB".

    Returns:
        `out_dir`, which plain transformers loads; weights are in the base's own type.

    Raises:
        AdapterError: the checkpoint holds an adapter.
        ModelError: it is damaged.
        RunError: `out_dir` exists already, or the disk is full.
        ConfigError: the shard size is no size.
    """
    checkpoint_dir, out_dir = Path(checkpoint_dir), Path(out_dir)
    if not is_model(checkpoint_dir):
        raise AdapterError(
            f"{checkpoint_dir} holds no whole model.",
            "An adapter is copied with `tunebook convert adapter`, or added to its base with "
            "`tunebook convert merge`.",
        )
    adapters.check_shard_size(max_shard_size)
    with adapters.new_dir(out_dir) as staging, quiet_libraries():
        model = _load(checkpoint_dir)
        model.save_pretrained(staging, max_shard_size=max_shard_size)
        loading.load_tokenizer(str(checkpoint_dir)).save_pretrained(staging)
    return out_dir


def _load(checkpoint_dir: Path) -> PreTrainedModel:
    """The model in the type of its base."""
    path = checkpoint_dir / adapters.BASE_RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        dtype = getattr(torch, record.get("dtype", "float32"))
        with loading.ALONE:
            return AutoModelForCausalLM.from_pretrained(checkpoint_dir, dtype=dtype)
    except (*loading.NOT_LOADED, AttributeError, TypeError) as error:
        raise ModelError(
            f"{checkpoint_dir} could not be read: {str(error).strip().splitlines()[0]}",
            "Take another checkpoint of the run, or resume the run to write it again.",
        ) from error

"""Export an adapter, merge it into its base, compare the two."""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.data import chat_template, encoders
from course_lib.errors import AdapterError, ConfigError, ModelError, RunError
from course_lib.files import staged_dir
from course_lib.model import internlm, loading
from course_lib.model.offload import Offload
from course_lib.model.quiet import quiet_libraries

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
BASE_RECORD = "tunebook_base.json"  # which base the adapter was trained on
TEMPLATE_FILE = "chat_template.jinja"  # only when it is not the base's own
EDGE_BYTES = 1 << 20  # of each weight file, first and last: enough to tell two models apart


def base_fingerprint(name: str) -> str | None:
    """A short hash that tells base models apart, also ones of the same shape.

    Args:
        name: as in `loading.resolve_model`.

    Returns:
        16 hex digits from the weight files' sizes, first and last MiB; None for a model id that
        is not a local folder.
    """
    folder = Path(loading.resolve_model(name))
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}:".encode())
        with path.open("rb") as file:
            digest.update(file.read(EDGE_BYTES))
            file.seek(max(0, size - EDGE_BYTES))
            digest.update(file.read(EDGE_BYTES))
    return digest.hexdigest()[:16]


def make_portable(adapter_dir: Path, base_model: str) -> None:
    """Make a saved adapter fit to be sent to another machine.

    The base is named as the config names it instead of by this machine's folder, its fingerprint
    is written beside, and peft's empty card and the pickled arguments of the Trainer go.

    Args:
        adapter_dir: a folder that peft just wrote.
        base_model: the base's name as the config gives it.
    """
    config_path = adapter_dir / ADAPTER_FILES[0]
    config = json.loads(config_path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base_model
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # peft writes a set, in another order each time
    config_path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    record = {"base_model": base_model, "fingerprint": base_fingerprint(base_model)}
    (adapter_dir / BASE_RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for name in ("README.md", "training_args.bin"):
        (adapter_dir / name).unlink(missing_ok=True)


def write_template(adapter_dir: Path, chat_template: str | None) -> None:
    """Put the chat template beside an adapter that was trained with another than the base's.

    Args:
        adapter_dir: the adapter's folder.
        chat_template: in jinja; None when it is the base's own.
    """
    if chat_template is not None:
        (adapter_dir / TEMPLATE_FILE).write_text(chat_template, encoding="utf-8")


def load_tokenizer(base_model: str, adapter_dir: Path | None) -> PreTrainedTokenizerBase:
    """The base's tokenizer, with the chat template that an adapter was trained with.

    Args:
        base_model: the base's name.
        adapter_dir: the adapter's folder; None for the base alone.

    Returns:
        The tokenizer: chat writes what training wrote.

    Raises:
        ModelError: see `loading.load_tokenizer`.
    """
    tokenizer = loading.load_tokenizer(base_model)
    if adapter_dir is not None and (adapter_dir / TEMPLATE_FILE).is_file():
        tokenizer.chat_template = (adapter_dir / TEMPLATE_FILE).read_text(encoding="utf-8")
    return tokenizer


def read_base(adapter_dir: Path) -> dict[str, str | None]:
    """Which base model an adapter was trained on.

    Args:
        adapter_dir: a folder with an adapter.

    Returns:
        `base_model` and `fingerprint` (None when nobody recorded it).

    Raises:
        AdapterError: the folder holds no adapter, or a file of it is damaged.
    """
    check_adapter_files(adapter_dir)
    record = adapter_dir / BASE_RECORD
    path = record if record.is_file() else adapter_dir / ADAPTER_FILES[0]
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if path == record:
            return {"base_model": values["base_model"], "fingerprint": values["fingerprint"]}
        return {"base_model": values.get("base_model_name_or_path"), "fingerprint": None}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{path} is damaged: {type(error).__name__}: {error}.",
            "Export or copy the adapter again.",
        ) from error


def check_adapter_files(adapter_dir: Path) -> None:
    """Refuse a folder that does not hold a whole adapter.

    Args:
        adapter_dir: the folder.

    Raises:
        AdapterError: names the missing files.
    """
    missing = [name for name in ADAPTER_FILES if not (adapter_dir / name).is_file()]
    if missing and (adapter_dir / "config.json").is_file():
        raise AdapterError(
            f"{adapter_dir} holds a whole model, as method full writes it, and no adapter.",
            f"Use it as the model: tunebook chat {adapter_dir}; tunebook convert model makes it "
            "ready to pass on.",
        )
    if missing:
        raise AdapterError(
            f"{adapter_dir} is no adapter: {' and '.join(missing)} missing.",
            "Give a run's checkpoint-N folder, or a folder made by `tunebook convert adapter`.",
        )


def load_adapter(
    model: PreTrainedModel, adapter_dir: Path, base_model: str, offload: Offload | None = None
) -> PeftModel:
    """Put a trained adapter on its base model.

    Args:
        model: the base, at any number of bits.
        adapter_dir: a checkpoint or an exported adapter.
        base_model: the base's name, to check that the two belong together.
        offload: what the base was loaded with.

    Returns:
        The peft model in eval mode.

    Raises:
        AdapterError: no adapter there, it is incomplete, or it was trained on another base; or a
            part of the base stays on the disk.
    """
    adapter_dir = Path(adapter_dir)
    check_same_base(adapter_dir, base_model)
    _check_not_on_disk(model, adapter_dir)
    try:
        with quiet_libraries():
            # peft only warns, and fills in random numbers.
            warnings.filterwarnings("error", message="Found missing adapter keys")
            options = offload.options() if offload else {}
            return PeftModel.from_pretrained(model, str(adapter_dir), **options).eval()
    except (*loading.NOT_LOADED, KeyError, TypeError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise AdapterError(
            f"The adapter {adapter_dir} does not fit {base_model}, or is damaged: {reason}",
            f"Load the base it was trained on, {read_base(adapter_dir)['base_model']}, "
            "or copy the adapter again.",
        ) from error


def _check_not_on_disk(model: PreTrainedModel, adapter_dir: Path) -> None:
    """Refuse layers on the disk: peft would copy their files, whole, into the working folder."""
    if "disk" in (getattr(model, "hf_device_map", None) or {}).values():
        raise AdapterError(
            f"The adapter {adapter_dir} cannot be put on layers that stay on the disk.",
            "Merge it first, where the model fits (tunebook convert merge), and open the merged "
            "folder with --offload-folder.",
        )


def check_same_base(adapter_dir: Path, base_model: str) -> None:
    """Refuse an adapter that was trained on another base, even one of the same shape.

    Args:
        adapter_dir: a folder with an adapter.
        base_model: the base's name.

    Raises:
        AdapterError: names both bases.
    """
    recorded = read_base(adapter_dir)
    if recorded["fingerprint"] and recorded["fingerprint"] != base_fingerprint(base_model):
        raise AdapterError(
            f"The adapter {adapter_dir} was trained on {recorded['base_model']} "
            f"(weights {recorded['fingerprint']}), not on {base_model} "
            f"(weights {base_fingerprint(base_model)}).",
            f"Load it on {recorded['base_model']}, or train again on {base_model}.",
        )


def export_adapter(checkpoint_dir: Path, out_dir: Path) -> Path:
    """Copy just the adapter out of a checkpoint: what is published or sent on.

    Args:
        checkpoint_dir: a run's checkpoint-N.
        out_dir: the new folder; it appears whole or not at all.

    Returns:
        `out_dir`.

    Raises:
        AdapterError: the checkpoint holds no adapter.
        RunError: `out_dir` exists already, or the disk is full.
    """
    checkpoint_dir, out_dir = Path(checkpoint_dir), Path(out_dir)
    check_adapter_files(checkpoint_dir)
    with new_dir(out_dir) as staging:
        for name in (*ADAPTER_FILES, BASE_RECORD, TEMPLATE_FILE):
            if (checkpoint_dir / name).is_file():
                shutil.copyfile(checkpoint_dir / name, staging / name)
    return out_dir


def merge_adapter(
    base_model: str,
    adapter_dir: Path,
    out_dir: Path,
    max_shard_size: str = "2GB",
    dtype: torch.dtype | None = None,
) -> Path:
    """Add an adapter to its base's weights and write an ordinary model folder.

    Args:
        base_model: the base's name.
        adapter_dir: a checkpoint or an exported adapter.
        out_dir: the new folder; it appears whole or not at all.
        max_shard_size: largest weight file, such as "2GB" or "500MB".
        dtype: of the written weights; the base's own when None. The sum is made in fp32.

    Returns:
        `out_dir`, which plain transformers loads.

    Raises:
        AdapterError: no adapter there, or it was trained on another base.
        RunError: `out_dir` exists already, or the disk is full.
        ConfigError: the shard size is no size.
    """
    out_dir = Path(out_dir)
    refuse_existing(out_dir)
    check_shard_size(max_shard_size)
    base = loading.load_model(base_model, bits=32)
    written_dtype = dtype or stored_dtype(base_model)
    merged = load_adapter(base, Path(adapter_dir), base_model).merge_and_unload()
    merged.config.use_cache = True
    with new_dir(out_dir) as staging, quiet_libraries():
        merged.to(written_dtype).save_pretrained(staging, max_shard_size=max_shard_size)
        load_tokenizer(base_model, Path(adapter_dir)).save_pretrained(staging)
    return out_dir


def convert_to_llama(name: str, out_dir: Path, max_shard_size: str = "2GB") -> Path:
    """Write an InternLM as an ordinary Llama folder, for programs that know no InternLM.

    Args:
        name: as in `loading.resolve_model`.
        out_dir: the new folder; it appears whole or not at all.
        max_shard_size: largest weight file, such as "2GB" or "500MB".

    Returns:
        `out_dir`, which plain transformers loads. Weights keep their type.

    Raises:
        ModelError: it is no InternLM, or not a whole one.
        RunError: `out_dir` exists already, or the disk is full.
        ConfigError: the shard size is no size.
    """
    out_dir, path = Path(out_dir), loading.resolve_model(name)
    refuse_existing(out_dir)
    check_shard_size(max_shard_size)
    dtype = stored_dtype(name)
    if not internlm.is_internlm(path):
        raise ModelError(
            f"{name} is no InternLM.", "Use it as it is: transformers loads it without a change."
        )
    tokenizer = loading.load_tokenizer(name)
    options = {"dtype": dtype, "device_map": "cpu", "output_loading_info": True}
    with new_dir(out_dir) as staging, quiet_libraries():
        model, _ = internlm.load(path, **options)
        _stop_at_turns(model, tokenizer)
        model.save_pretrained(staging, max_shard_size=max_shard_size)
        tokenizer.save_pretrained(staging)
    return out_dir


def _stop_at_turns(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Name the end of a turn as an end: other programs would go on behind it."""
    named = model.generation_config.eos_token_id
    ends = list(named) if isinstance(named, list | tuple) else [named]
    mark = chat_template.end_of_turn(tokenizer) if tokenizer.chat_template else ""
    ends += encoders.encode(mark, "marks", tokenizer)[-1:]
    model.generation_config.eos_token_id = sorted(set(ends) - {None}) or None


@contextmanager
def new_dir(out_dir: Path) -> Iterator[Path]:
    """A folder that appears whole or not at all, with one clear error when it cannot.

    Args:
        out_dir: the new folder.

    Yields:
        Where to write.

    Raises:
        RunError: `out_dir` exists already, or the disk is full.
    """
    refuse_existing(out_dir)
    try:
        with staged_dir(out_dir) as staging:
            yield staging
    except (OSError, SafetensorError) as error:  # safetensors reports a full disk in its own way
        raise RunError(
            f"{out_dir} could not be written: {error}.",
            "Free some disk space or give another folder; nothing was left half written.",
        ) from error


def check_shard_size(max_shard_size: str) -> None:
    """Refuse what is no size of a file such as "2GB" with a ConfigError."""
    if not re.fullmatch(r"[1-9][0-9]*(KB|MB|GB|TB)", max_shard_size):
        raise ConfigError(
            f"max_shard_size is {max_shard_size!r}.", 'Give a size such as "2GB" or "500MB".'
        )


def refuse_existing(out_dir: Path) -> None:
    """Never overwrite a result.

    Args:
        out_dir: where something shall be written.

    Raises:
        RunError: the folder exists.
    """
    if out_dir.exists():
        raise RunError(f"{out_dir} exists already.", "Give a new folder, or delete the old one.")


def stored_dtype(base_model: str) -> torch.dtype:
    """The type of a model's weights on the disk; fp32 when its config does not say."""
    dtype = loading.read_config(base_model).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


@torch.no_grad()
def compare_logits(
    first: PreTrainedModel | PeftModel, second: PreTrainedModel | PeftModel, input_ids: torch.Tensor
) -> float:
    """How far apart two models are on the same tokens.

    Args:
        first: a model in eval mode.
        second: another one with the same vocabulary.
        input_ids: (batch, tokens).

    Returns:
        The largest absolute difference of any logit.
    """
    logits = [
        model(input_ids=input_ids.to(model.device)).logits.float() for model in (first, second)
    ]
    return (logits[0] - logits[1].to(logits[0].device)).abs().max().item()

"""The config of a run: every field typed, bounded, with its unit; a preset is a YAML file of it."""

import math
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from course_lib.data import named_templates
from course_lib.data.masking import LossTurns
from course_lib.data.packing import Method
from course_lib.errors import ConfigError, nearest
from course_lib.files import write_atomic
from course_lib.training import methods, recipes, yaml_lines
from course_lib.training.assistant_name import name_problem

PRESET_DIR = recipes.PRESET_DIR
DataFormat = Literal[
    "auto",
    "messages",
    "conversation",
    "alpaca",
    "sharegpt",
    "ms_agent",
    "oasst1",
    "text",
    "oasst_trees",
]
EXPECTED = {  # pydantic's problems that speak of Python, said in YAML's words
    "tuple_type": "expected a list, one `- item` in each line",
    "model_type": "expected `path: FILE`, then copies, limit, format or skip_bad_rows",
    "finite_number": "expected a finite number",
}


def _field(default: Any, group: str, description: str, **bounds: Any) -> Any:
    """A config field: its group is where the config editor shows it."""
    return Field(default, description=description, json_schema_extra={"group": group}, **bounds)


class Checked(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """What both kinds of config lines share."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_yes(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads yes, no, on and off as truth values, and pydantic takes those as 1 and 0."""
        annotation = cls.model_fields[info.field_name].annotation
        is_switch = annotation is bool or True in get_args(annotation)
        if isinstance(value, bool) and not is_switch:
            raise ValueError("expected a number or a text; put a text such as yes in quotes")
        return value


class DataSource(Checked):
    """One source of a run's data, and how much of it to use."""

    path: str = Field(
        description="a file, a folder of files, or a data set's id such as hf:owner/name; "
        "relative to the config's folder or data/"
    )
    format: DataFormat = Field("auto", description="row format; auto looks at the rows")
    skip_bad_rows: bool = Field(False, description="leave bad rows out instead of stopping")
    copies: int = Field(1, ge=1, le=100_000, description="times each row is used in one epoch")
    limit: int | None = Field(None, ge=1, description="rows to take from the start; all if empty")


class TrainConfig(Checked):
    """Everything a run depends on; saved in its run folder."""

    base_model: str = _field("pico-chat", "model", "pico-chat, pico-base, a folder or a model id")
    method: Literal["full", "lora", "qlora"] = _field(
        "qlora",
        "model",
        "what is trained: an adapter (qlora on 4 bits, lora on more), or full: all",
    )
    bits: Literal[4, 8, 16, 32] = _field(4, "model", "bits for each base weight; 4 is NF4 (QLoRA)")

    train_data: tuple[DataSource, ...] = _field((), "data", "sources of data, mixed in one epoch")
    assistant_name: str = _field("", "data", "fills {{name}} in the data; the name to learn")
    max_length: int = _field(256, "data", "tokens in a row, and in a pack", ge=16, le=131_072)
    prompt_template: str = _field(
        named_templates.OWN, "data", "chat template: own is the tokenizer's; or a name: chatml, ..."
    )
    packing: Method = _field(
        "next_fit", "data", "how rows share packs: next_fit (in order), best_fit (fullest), none"
    )
    loss_turns: LossTurns = _field(
        "all", "data", "replies to learn: all, or the last; a message's weight or loss goes first"
    )

    r: int = _field(64, "adapter", "rank of the LoRA matrices", ge=1, le=1024)
    lora_alpha: int = _field(128, "adapter", "the update is scaled by lora_alpha / r", ge=1)
    lora_dropout: float = _field(0.0, "adapter", "share of adapter inputs dropped", ge=0, lt=1)
    target_modules: Literal["all-linear"] | tuple[str, ...] = _field(
        "all-linear", "adapter", "layers that get an adapter: all-linear, or a list of names"
    )

    learning_rate: float = _field(1e-3, "optimizer", "peak rate", gt=0, le=1)
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"] = _field(
        "cosine", "optimizer", "how the rate falls after warm-up"
    )
    warmup_ratio: float = _field(0.03, "optimizer", "share of all optimizer steps", ge=0, lt=1)
    warmup_steps: int | None = _field(
        None, "optimizer", "optimizer steps; replaces warmup_ratio when set", ge=0
    )
    weight_decay: float = _field(0.0, "optimizer", "AdamW weight decay", ge=0, le=1)
    optim: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = _field(
        "adamw", "optimizer", "AdamW; 8bit: a quarter of its memory; paged: may move to RAM (GPU)"
    )
    max_grad_norm: float = _field(1.0, "optimizer", "gradients are clipped to this norm", gt=0)
    per_device_train_batch_size: int = _field(4, "optimizer", "packs in a micro batch", ge=1)
    gradient_accumulation_steps: int = _field(1, "optimizer", "micro batches in a step", ge=1)
    num_train_epochs: float = _field(3, "optimizer", "times through the data", gt=0, le=100_000)
    max_steps: int | None = _field(None, "optimizer", "stop at this optimizer step", ge=1)

    suite: Literal["none", "assistant", "agent"] = _field(
        "none", "evaluation", "scores at each checkpoint"
    )
    retained_questions: int = _field(
        40, "evaluation", "held-out world questions for each score", ge=2, le=2000
    )
    sample_prompts: tuple[str, ...] = _field((), "evaluation", "questions asked during the run")
    sample_every_steps: int = _field(20, "evaluation", "optimizer steps between samples", ge=1)

    seed: int = _field(0, "runtime", "seed of data order, adapter and dropout", ge=0, lt=2**32)
    logging_steps: int = _field(5, "runtime", "optimizer steps between log lines", ge=1)
    save_every_steps: int | None = _field(
        None, "runtime", "optimizer steps between checkpoints", ge=1
    )
    save_every_epochs: float | None = _field(
        None, "runtime", "epochs between checkpoints; 1 when neither is set", gt=0
    )
    keep_last: int = _field(3, "runtime", "newest checkpoints to keep", ge=1)
    keep_best: bool = _field(True, "runtime", "also keep the checkpoint with the best score")
    gradient_checkpointing: Literal[False, True, "auto"] = _field(
        False, "runtime", "recompute activations: less memory, slower; auto: where memory is short"
    )
    kernels: Literal["auto", "off"] = _field(
        "auto",
        "runtime",
        "faster computing: auto or off; most of it needs a GPU",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_method(cls, values: Any) -> Any:
        return methods.fill(values) if isinstance(values, dict) else values

    @field_validator("assistant_name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        problem = name_problem(name) if name else ""
        if problem:
            raise ValueError(problem)
        return name

    @field_validator("prompt_template")
    @classmethod
    def _check_template(cls, name: str) -> str:
        known = [named_templates.OWN, *named_templates.TEMPLATES]
        if name not in known:
            near = nearest(name, known) or known
            raise ValueError(f"there is no such template; did you mean {' or '.join(near)}?")
        return name

    @field_validator("packing", "kernels", mode="before")
    @classmethod
    def _read_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads off as a truth value, and packing was a switch once."""
        words = ("none", "next_fit") if info.field_name == "packing" else ("off", "auto")
        return words[value] if isinstance(value, bool) else value

    @field_validator("target_modules", mode="before")
    @classmethod
    def _check_targets(cls, targets: Any) -> Any:
        is_list = isinstance(targets, list | tuple) and targets
        if targets != "all-linear" and not (is_list and all(isinstance(t, str) for t in targets)):
            raise ValueError("expected all-linear, or a list such as [q_proj, v_proj]")
        return targets

    @model_validator(mode="after")
    def _check_together(self) -> "TrainConfig":
        problem = methods.problem(self.method, self.bits)
        if problem:
            raise ValueError(problem)
        if self.save_every_steps is not None and self.save_every_epochs is not None:
            raise ValueError("set only one of save_every_steps and save_every_epochs")
        if self.suite == "assistant" and not self.assistant_name:
            raise ValueError(
                "suite: assistant needs assistant_name, the name to look for in replies"
            )
        return self

    @property
    def is_full(self) -> bool:
        """Whether the base's own weights are trained, not an adapter."""
        return self.method == methods.FULL

    def save_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps between two checkpoints.

        Args:
            steps_per_epoch: optimizer steps in one epoch of the real data.

        Returns:
            At least 1.
        """
        if self.save_every_steps is not None:
            return self.save_every_steps
        return max(1, math.ceil(steps_per_epoch * (self.save_every_epochs or 1)))

    def to_yaml(self) -> str:
        """The config as YAML, all fields with their values, in the order of the groups."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_config(path: Path | str) -> TrainConfig:
    """Read and check a config file.

    Args:
        path: a YAML file; data paths in it are relative to its folder or to the course's data/.

    Returns:
        The checked config.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks rules; lists all of them at once.
    """
    path = Path(path)
    return parse_config(yaml_lines.read_text(path), path)


def parse_config(text: str, path: Path) -> TrainConfig:
    """Check the text of a config file.

    Args:
        text: YAML.
        path: where it stands or is to stand: for messages, and for data paths beside it.

    Returns:
        The checked config.

    Raises:
        ConfigError: see `load_config`.
    """
    config = check_config(yaml_lines.read_values(text, path), str(path))
    return place_data(config, path.parent)


def place_data(config: TrainConfig, folder: Path) -> TrainConfig:
    """The config with absolute paths to those of its data files that are in a folder.

    Args:
        config: a config.
        folder: where its file is: data beside it wins over the same name in the course's data/.
    """
    sources = tuple(_beside(source, folder) for source in config.train_data)
    return config.model_copy(update={"train_data": sources})


def check_config(values: dict[str, Any], where: str = "config") -> TrainConfig:
    """Check a config's values.

    Args:
        values: field names and values, as YAML gives them.
        where: file name for messages.

    Returns:
        The config.

    Raises:
        ConfigError: lists every broken rule, with the nearest name for each unknown key.
    """
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        lines = [": ".join(_explain(problem)) for problem in error.errors()]
        raise ConfigError(
            f"{where}: {len(lines)} problem{'s' if len(lines) > 1 else ''}\n"
            + "\n".join(f"  {line}" for line in lines),
            "Correct the file and run `tunebook check` again.",
        ) from error


def find_problems(values: dict[str, Any]) -> list[tuple[str, str]]:
    """The rules that a config's values break, each with its place.

    Args:
        values: field names and values, as YAML gives them.

    Returns:
        For each problem the field's path, such as "r" or "train_data.0.limit" ("config" for a
        rule about several fields), and what is wrong; empty when all is well.
    """
    try:
        TrainConfig.model_validate(values)
    except ValidationError as error:
        return [_explain(problem) for problem in error.errors()]
    return []


def preset_names(pattern: str = "") -> list[str]:
    """Names of the presets.

    Args:
        pattern: a part of the name, or a pattern with `*`; empty for all.

    Returns:
        Those for pico first.
    """
    return recipes.preset_names(pattern)


def load_preset(name: str) -> TrainConfig:
    """Read a preset.

    Args:
        name: for example `pico_qlora_assistant_e3`.

    Raises:
        UnknownNameError: there is no such preset; offers near names.
    """
    return parse_config(recipes.preset_text(name), preset_path(name))


def copy_preset(name: str, dest: Path | str) -> Path:
    """Copy a preset, comments included, to edit it.

    Args:
        name: the preset.
        dest: a folder, or the new file's path ending in .yaml.

    Returns:
        The new file.

    Raises:
        UnknownNameError: there is no such preset.
        ConfigError: the file exists already; it is not overwritten.
    """
    text = recipes.preset_text(name)
    dest = Path(dest)
    target = dest if dest.suffix in (".yaml", ".yml") else dest / preset_path(name).name
    if target.exists():
        raise ConfigError(
            f"{target} exists already.", "Edit that one, delete it, or give another file name."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, text)
    return target


def save_config(config: TrainConfig, path: Path) -> None:
    """Write a config as YAML, whole or not at all."""
    write_atomic(path, config.to_yaml())


def _beside(source: DataSource, folder: Path) -> DataSource:
    path = folder / source.path
    return source.model_copy(update={"path": str(path.resolve())}) if path.exists() else source


def preset_path(name: str) -> Path:
    """Where a preset is, or would be; UnknownNameError when there is none."""
    return recipes.preset_path(name)


def _explain(problem: dict[str, Any]) -> tuple[str, str]:
    """One of pydantic's problems: the field, and its value with what was expected."""
    field = ".".join(str(part) for part in problem["loc"]) or "config"
    if problem["type"] == "extra_forbidden":
        model = DataSource if field.startswith("train_data") else TrainConfig
        key = str(problem["loc"][-1])
        near = nearest(key, model.model_fields, count=1)
        return field, "unknown key" + (f"; did you mean {near[0]}?" if near else "")
    expected = EXPECTED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    known = TrainConfig.model_fields.get(field)
    unit = f" ({known.description})" if known else ""
    shown = "" if not problem["loc"] else f"{problem['input']!r:.60}: "
    return field, f"{shown}{expected[:1].lower()}{expected[1:]}{unit}"

"""A config as the text that people edit: one text for each field, and back with its comments.

The editor's boxes hold texts. `draft` turns them into a checked config and into the file's new
text: only the lines of changed fields are new, so the comments of a copied preset stay. The new
text is read back before anybody gets it.
"""

import difflib
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from course_lib.errors import ConfigError
from course_lib.files import write_atomic
from course_lib.training import config as configs
from course_lib.training import methods, recipes, yaml_lines
from course_lib.training.config import TrainConfig

Kind = Literal["choice", "switch", "number", "text", "lines", "targets", "yaml"]
NAMES = tuple(TrainConfig.model_fields)
ONE_LINE = 100_000  # characters: YAML's writer must not break a value into lines


@dataclass(frozen=True)
class Start:
    """What an edit starts from.

    Args:
        name: the preset's name, or the file as it was given.
        path: the file.
        text: its text.
        values: what YAML reads from it.
        preset: the preset to compare with, which may be the start itself; empty when unknown.
    """

    name: str
    path: Path
    text: str
    values: dict[str, Any]
    preset: str

    @property
    def is_preset(self) -> bool:
        """Whether it is one of the course's own files, which are never written."""
        return self.path.parent == configs.PRESET_DIR


@dataclass(frozen=True)
class Draft:
    """What the texts of all fields amount to.

    Args:
        problems: places and what is wrong there, see `config.find_problems`.
        config: the checked config; None while there are problems.
        text: the new file; empty while there are problems.
        has_comments: the new file still has the comments of the start.
    """

    problems: tuple[tuple[str, str], ...]
    config: TrainConfig | None = None
    text: str = ""
    has_comments: bool = True


def open_start(source: str | Path, preset: str = "") -> Start:
    """Read a preset or a config file to edit it; its values may still break rules.

    Args:
        source: a preset's name, or a YAML file.
        preset: the preset that a file is compared with; found by the file's name when empty.

    Returns:
        The start.

    Raises:
        UnknownNameError: there is no such preset.
        ConfigError: the file is missing or is not YAML.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml"):
        text = yaml_lines.read_text(path)
    else:
        path, text = configs.preset_path(str(source)), recipes.preset_text(str(source))
    values = yaml_lines.read_values(text, path)
    if not preset:
        preset = path.stem if path.stem in configs.preset_names() else ""
    return Start(str(source), path, text, values, preset and configs.preset_path(preset).stem)


def field_kind(name: str) -> Kind:
    """How a field is edited, told from its type.

    Args:
        name: of a field of `TrainConfig`.

    Returns:
        "choice" (one of few), "switch", "number", "text", "lines" (a list of texts, one in each
        line), "targets" (a word, or names with commas), or "yaml" for all that is nested.
    """
    parts = _types(name)
    if all(typing.get_origin(part) is Literal for part in parts):
        return "choice"
    if parts == [bool]:
        return "switch"
    if set(parts) <= {int, float}:
        return "number"
    if parts == [str]:
        return "text"
    if parts == [tuple[str, ...]]:
        return "lines"
    return "targets" if tuple[str, ...] in parts else "yaml"


def _types(name: str) -> list[Any]:
    """The types that a field allows, without None."""
    annotation = TrainConfig.model_fields[name].annotation
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    parts = typing.get_args(annotation) if is_union else (annotation,)
    return [part for part in parts if part is not type(None)]


def choices(name: str) -> list[str]:
    """The values of a field of kind "choice", as texts."""
    return [_word(value) for part in _types(name) for value in typing.get_args(part)]


def _word(value: Any) -> str:
    """A value as YAML writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(name: str) -> str:
    """The bounds of a number in words, such as "at least 1, at most 1024"; empty without any.

    Args:
        name: the field.
    """
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = TrainConfig.model_fields[name].metadata
    pairs = [(word, getattr(bound, key, None)) for bound in found for key, word in words.items()]
    return ", ".join(f"{word} {value}" for word, value in pairs if value is not None)


def group_of(name: str) -> str:
    """The group that a field belongs to: model, data, adapter, optimizer, evaluation, runtime."""
    return TrainConfig.model_fields[name].json_schema_extra["group"]


def fields_at(place: str, problem: str) -> list[str]:
    """The fields at which a problem is to be shown.

    Args:
        place: from `config.find_problems`.
        problem: what is wrong there.

    Returns:
        The field of the place; for a rule about several fields those that it names; none for a
        key that no config has.
    """
    field = place.split(".")[0]
    if field in NAMES:
        return [field]
    words = set(re.findall(r"\w+", problem)) if place == "config" else set()
    return [name for name in NAMES if name in words]


def field_texts(start: Start) -> dict[str, str]:
    """What each field's box shows at first: the file's value, else the default.

    Args:
        start: the file.

    Returns:
        A text for each field of `TrainConfig`, in its order.
    """
    texts = {}
    values = methods.fill(start.values)
    for name, field in TrainConfig.model_fields.items():
        block = yaml_lines.Block.find(start.text, name) if field_kind(name) == "yaml" else None
        if block and name in start.values:
            texts[name] = block.body()
        else:
            texts[name] = _to_text(name, values.get(name, field.default))
    return texts


def _to_text(name: str, value: Any) -> str:
    kind = field_kind(name)
    if kind == "choice":
        return _word(_in_todays_spelling(name, value))
    if value is None:
        return ""
    if kind == "switch" and isinstance(value, bool):
        return str(value).lower()
    is_list = isinstance(value, list | tuple)
    if kind == "lines" and is_list:
        return "\n".join(map(str, value))
    if kind == "targets" and is_list:
        return ", ".join(map(str, value))
    return _dump(value) if kind == "yaml" and value else "" if value == () else str(value)


def _in_todays_spelling(name: str, value: Any) -> Any:
    """Older files have a switch for packing."""
    try:
        return getattr(configs.check_config({name: value}), name)
    except ConfigError:
        return value


def to_value(name: str, text: str) -> Any:
    """The value that a field's text stands for, not checked yet.

    Args:
        name: the field.
        text: what stands in its box.

    Returns:
        What YAML would give; None for an empty number that may be left out.

    Raises:
        ValueError: a nested value is not YAML.
    """
    kind = field_kind(name)
    if kind == "text":
        return text
    if kind == "lines":
        return [line for line in text.splitlines() if line.strip()]
    if kind == "switch":
        return {"true": True, "false": False}.get(text, text)
    if kind == "choice":
        options = [value for part in _types(name) for value in typing.get_args(part)]
        return next((value for value in options if _word(value) == text), text)
    if kind == "targets":
        names = [part.strip() for part in text.split(",") if part.strip()]
        return names[0] if names == ["all-linear"] else names
    if kind == "number":
        is_optional = TrainConfig.model_fields[name].default is None
        return None if is_optional and not text.strip() else _to_number(text.strip())
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        place = getattr(error, "problem_mark", None)
        where = f"line {place.line + 1}: " if place else ""
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ValueError(f"not YAML: {where}{reason}") from error
    return [] if value is None else value


def _to_number(text: str) -> int | float | str:
    """A number, or the text as it is: the check says what is wrong with it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def draft(start: Start, texts: Mapping[str, str], path: Path, dropped: bool = False) -> Draft:
    """Check what stands in the boxes, and write the file that it makes.

    Args:
        start: what the edit started from.
        texts: a text for each field.
        path: where the file is to stand; data paths may be relative to its folder.
        dropped: leave out the keys that no config has.

    Returns:
        The problems, or the config and its text.
    """
    at_start = field_texts(start)
    changed = [name for name, text in texts.items() if text != at_start[name]]
    unknown = [name for name in start.values if name not in TrainConfig.model_fields]
    values = {k: v for k, v in start.values.items() if not (dropped and k in unknown)}
    problems = []
    for name in changed:
        try:
            values[name] = to_value(name, texts[name])
        except ValueError as error:
            problems.append((name, str(error)))
            values.pop(name, None)
    problems += configs.find_problems(values)
    if problems:
        return Draft(tuple(problems))
    # data beside the new file goes first, where its path was typed for it
    folders = (start.path.parent, path.parent)
    config = configs.check_config(values)
    for folder in reversed(folders) if "train_data" in changed else folders:
        config = configs.place_data(config, folder)
    text = start.text
    for name in unknown if dropped else ():
        text = yaml_lines.replace(text, str(name), None)
    for name in changed:
        text = yaml_lines.replace(text, name, _fragment(name, texts[name], config), NAMES)
    return _read_back(text, path, config)


def _read_back(text: str, path: Path, config: TrainConfig) -> Draft:
    """The text, if it means the config where it is to stand; else one that does."""
    as_dumped = _fragment("train_data", "", config)
    for candidate in (text, yaml_lines.replace(text, "train_data", as_dumped, NAMES)):
        try:
            if configs.parse_config(candidate, path) == config:
                return Draft((), config, candidate)
        except ConfigError:
            continue  # the file uses YAML in a way that line edits do not know
    return Draft((), config, config.to_yaml(), has_comments=False)


def _fragment(name: str, text: str, config: TrainConfig) -> str:
    """What stands behind `name:` in the file."""
    if field_kind(name) == "yaml" and text.strip():
        return "\n" + "\n".join("  " + line if line.strip() else line for line in text.split("\n"))
    value = config.model_dump(mode="json")[name]
    if field_kind(name) == "yaml" and value:
        return "\n" + _dump([_without_defaults(item) for item in value]).rstrip("\n")
    dumped = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=ONE_LINE)
    return " " + dumped.removesuffix("\n").removesuffix("\n...")


def _without_defaults(source: dict[str, Any]) -> dict[str, Any]:
    fields = configs.DataSource.model_fields
    return {k: v for k, v in source.items() if v != fields[k].default}


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=ONE_LINE)


def difference(start: Start, text: str, name: str = "yours") -> str:
    """What a new text changes, as a unified diff from the preset.

    Args:
        start: what the edit started from.
        text: the new file.
        name: what to call it.

    Returns:
        A unified diff from the start's preset, or from the file as it was opened when it comes
        from none; empty when nothing differs.
    """
    before, label = start.text, start.name
    if start.preset:
        before, label = recipes.preset_text(start.preset), start.preset
    lines = difflib.unified_diff(
        before.splitlines(), text.splitlines(), label, name, lineterm="", n=1
    )
    return "\n".join(lines)


def save(text: str, path: Path, known: str | None) -> None:
    """Write a config file, whole or not at all, and over nobody's work.

    Args:
        text: the new file.
        path: where.
        known: what the file held when it was opened or saved last; None for a new file.

    Raises:
        ConfigError: the path is no file name, belongs to a preset, holds another file, or the
            file has changed since; nothing is written.
        OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path} does not end in .yaml.", "Give a name such as my_config.yaml.")
    if path.resolve().parent == configs.PRESET_DIR.resolve():
        raise ConfigError("The course's own presets stay as they are.", "Give a path of your own.")
    if path.exists() and (known is None or yaml_lines.read_text(path) != known):
        found = "exists already" if known is None else "has changed since it was opened"
        raise ConfigError(
            f"{path} {found}; it is not overwritten.",
            "Give another file name, or open that file to edit it.",
        )
    write_atomic(path, text)

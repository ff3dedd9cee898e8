"""From a config's data files to the packs that a run trains on."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from course_lib.data import formats, named_templates, packing, prepare, sources
from course_lib.errors import ConfigError, DataError
from course_lib.files import DATA_DIR
from course_lib.model import loading
from course_lib.training.config import DataSource, TrainConfig

NAME_MARK = "name"  # data files write {{name}} where the assistant's name belongs


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on, and what was done to get it.

    Attributes:
        packs: filled rows in data order; the run shuffles them.
        rows: number of rows after copies and limits.
        row_tokens: tokens of all rows.
        loss_tokens: tokens that carry loss.
        truncated_rows: rows cut at max_length.
        dropped_rows: rows with nothing to learn after the cut.
        split_rows: rows that packing cuts in two; 0 unless it is "cut".
    """

    packs: Sequence[packing.Pack]
    rows: int
    row_tokens: int
    loss_tokens: int
    truncated_rows: int
    dropped_rows: int
    split_rows: int = 0


def find_data_file(path: str) -> Path:
    """Where a data file of a config is.

    Args:
        path: of a file or a folder: absolute, relative to the working folder, or relative to
            the course's data/.

    Returns:
        The existing file or folder.

    Raises:
        DataError: it is in neither place.
    """
    is_named = Path(path).name not in ("", "..")  # the working folder is no data set
    for candidate in (Path(path), DATA_DIR / path):
        if candidate.is_file() or (is_named and candidate.is_dir()):
            return candidate
    raise DataError(
        f"The data file {path!r} is neither beside the config nor in {DATA_DIR}.",
        "Correct train_data in the config, or put the file beside it.",
    )


def find_source(path: str) -> Path | str:
    """Where a config's data is.

    Args:
        path: of a file or a folder, see `find_data_file`, or a data set's id on a hub.

    Returns:
        The existing file or folder, else the id.

    Raises:
        DataError: it is none of these.
    """
    try:
        return find_data_file(path)
    except DataError:
        if sources.is_hub_id(path):
            return path
        raise


def load_rows(config: TrainConfig) -> list[dict[str, Any]]:
    """Read a config's data files and fill in the assistant's name.

    Args:
        config: names the files, the copies and the name.

    Returns:
        Rows in file order, each as often as its source says.

    Raises:
        DataError: a file is missing, or a row is malformed; names file and row.
        ConfigError: no data files, or rows need a name and the config has none.
    """
    return list(iter_rows(config))


def iter_rows(config: TrainConfig) -> Iterator[dict[str, Any]]:
    """As `load_rows`, row by row: a source that needs no name and no copies is never held whole.

    Args:
        config: names the files, the copies and the name.

    Yields:
        Rows in file order, each as often as its source says.

    Raises:
        DataError: see `load_rows`.
        ConfigError: see `load_rows`.
    """
    if not config.train_data:
        raise ConfigError(
            "train_data is empty: there is nothing to train on.",
            "Add a line such as `- path: my_rows.jsonl` under train_data.",
        )
    for source in config.train_data:
        if source.copies == 1 and not config.assistant_name:
            yield from _stream(source)
        else:
            yield from _source_rows(source, config.assistant_name) * source.copies


def _stream(source: DataSource) -> Iterator[dict[str, Any]]:
    for row in _read(source):
        if _needs_name([row]):
            raise _no_name(source)
        yield row


def _source_rows(source: DataSource, name: str) -> list[dict[str, Any]]:
    rows = list(_read(source))
    if not _needs_name(rows):
        return rows
    if not name:
        raise _no_name(source)
    return formats.fill_placeholders(rows, {NAME_MARK: name})


def _read(source: DataSource) -> Iterator[dict[str, Any]]:
    stream = formats.iter_rows(find_source(source.path), source.format, source.skip_bad_rows)
    return itertools.islice(stream, source.limit)


def _no_name(source: DataSource) -> ConfigError:
    name = Path(source.path).name
    return ConfigError(
        f"{name} holds {{{{{NAME_MARK}}}}}, but the config gives no assistant_name.",
        "Set assistant_name in the config.",
    )


def _needs_name(rows: list[dict[str, Any]]) -> bool:
    mark = "{{" + NAME_MARK + "}}"
    return any(mark in m["content"] for row in rows for m in row.get("messages", ()))


def load_tokenizer(config: TrainConfig) -> PreTrainedTokenizerBase:
    """The base model's tokenizer with the config's chat template.

    Args:
        config: names both.

    Returns:
        The tokenizer for training and for chat with the result.

    Raises:
        ModelError: see `loading.load_tokenizer`; or it lacks the template's control tokens.
    """
    tokenizer = loading.load_tokenizer(config.base_model)
    return named_templates.with_template(tokenizer, config.prompt_template)


def prepare_data(
    config: TrainConfig,
    tokenizer: PreTrainedTokenizerBase,
    on_row: Callable[[int], None] | None = None,
) -> TrainingData:
    """Tokenize, mask and pack a config's data.

    Args:
        config: names the files, max_length, packing and loss_turns.
        tokenizer: from `load_tokenizer`.
        on_row: is told how many rows have been read; what it raises ends the reading.

    Returns:
        The packs and their counts.

    Raises:
        DataError: see `load_rows`; also when too many rows have nothing to learn.
    """
    settings = prepare.Settings(config.max_length, config.packing, config.loss_turns)
    # Packs are read from a file without a name: it needs no memory, and goes with the process.
    # Windows removes no open file; there they stay in memory.
    with tempfile.TemporaryDirectory(prefix="tunebook-") as folder:
        out_dir = Path(folder) / "rows" if os.name == "posix" else None
        stream = _told(iter_rows(config), on_row)
        prepared = prepare.prepare_rows(stream, tokenizer, settings, out_dir)
    report = prepared.report
    return TrainingData(
        packs=prepared.packs,
        rows=report.rows,
        row_tokens=report.row_tokens,
        loss_tokens=report.loss_tokens,
        truncated_rows=report.truncated_rows,
        dropped_rows=len(report.dropped),
        split_rows=report.split_rows,
    )


def _told(
    stream: Iterable[dict[str, Any]], on_row: Callable[[int], None] | None
) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(stream, 1):
        if on_row:
            on_row(number)
        yield row

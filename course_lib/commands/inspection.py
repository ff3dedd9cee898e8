"""What `tunebook data inspect` and `check` look at in data: format, first row, lengths, dirt."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from course_lib.data import (
    audit,
    batches,
    chat_template,
    formats,
    masking,
    native_tools,
    packing,
    prepare,
    sheets,
    spreadsheet,
)
from course_lib.errors import DataError
from course_lib.model import loading
from course_lib.training import rows as training_rows
from course_lib.training.config import TrainConfig

AUDITED_ROWS = 20_000  # pairs of them are compared: more would take minutes
WHOLE = 2**31 - 1  # tokens: no row is cut


@dataclass(frozen=True)
class SegmentView:
    """A piece of the first row.

    Attributes:
        role: who speaks.
        text: what stands there.
        tokens: how many.
        has_loss: the model learns to write it.
    """

    role: str
    text: str
    tokens: int
    has_loss: bool


@dataclass(frozen=True)
class Lengths:
    """Rows in tokens.

    Attributes:
        rows: tokens of each data row before any cut.
        kept: tokens of each encoded row after the cut; a long plain text makes several.
        loss_tokens: those of them that carry loss.
        truncated: numbers of the data rows that are cut.
        dropped: numbers of those of which the cut leaves nothing to learn.
    """

    rows: tuple[int, ...]
    kept: tuple[int, ...]
    loss_tokens: int
    truncated: tuple[int, ...]
    dropped: tuple[int, ...]


@dataclass(frozen=True)
class Inspection:
    """What a source of rows is, and what training would make of it.

    Attributes:
        path: the source.
        report: its format, with the reason, and notes.
        first_row: the first row as the model sees it.
        max_length: tokens at most in a row and in a pack.
        lengths: of the rows.
        packs: filled rows.
        found: the audit of its first `AUDITED_ROWS` rows.
    """

    path: str
    report: formats.ReadReport
    first_row: tuple[SegmentView, ...]
    max_length: int
    lengths: Lengths
    packs: int
    found: audit.Audit


def inspect_rows(
    path: str,
    rows: Sequence[Mapping[str, Any]],
    report: formats.ReadReport,
    tokenizer: PreTrainedTokenizerBase,
    settings: prepare.Settings,
) -> Inspection:
    """Look at rows that have been read.

    Args:
        path: where they come from, for messages.
        rows: with `messages` or `text`, at least one.
        report: what the source is.
        tokenizer: of the model to train.
        settings: how rows become packs.

    Returns:
        The inspection.

    Raises:
        DataError: a row cannot be encoded; names its number.
    """
    try:
        lengths = measure(rows, tokenizer, settings)
    except DataError as error:
        raise DataError(f"{path}, {error.message}", error.next_step) from error
    return Inspection(
        path=path,
        report=report,
        first_row=tuple(view_row(rows[0], tokenizer, settings.loss_turns)),
        max_length=settings.max_length,
        lengths=lengths,
        packs=_count_packs(lengths.kept, settings),
        found=audit.audit_rows(rows[:AUDITED_ROWS]),
    )


def _count_packs(lengths: Sequence[int], settings: prepare.Settings) -> int:
    if settings.method == "cut":  # one line of tokens, cut wherever a pack is full
        return math.ceil(sum(lengths) / settings.max_length)
    return len(packing.group_rows(lengths, settings.max_length, settings.method))


def inspect_config(config: TrainConfig) -> list[Inspection]:
    """Look at each data source of a config, without its copies.

    Args:
        config: the config.

    Returns:
        An inspection for each source.

    Raises:
        TunebookError: what training would refuse.
    """
    tokenizer = training_rows.load_tokenizer(config)
    settings = prepare.Settings(config.max_length, config.packing, config.loss_turns)
    found = []
    for source in config.train_data:
        once = source.model_copy(update={"copies": 1})
        rows = training_rows.load_rows(config.model_copy(update={"train_data": (once,)}))
        place = training_rows.find_source(source.path)
        report = formats.describe_file(place, source.format, source.skip_bad_rows)
        found.append(inspect_rows(str(place), rows, report, tokenizer, settings))
    return found


def inspect_file(
    path: str, format_name: str, skip_bad_rows: bool, model: str, max_length: int
) -> Inspection:
    """Look at a file, a folder or a data set.

    Args:
        path: see `formats.iter_rows`.
        format_name: one of `formats.FORMATS`, or "auto".
        skip_bad_rows: leave bad rows out, and count them.
        model: whose tokenizer and template to use.
        max_length: tokens at most in a row and in a pack.

    Returns:
        The inspection.

    Raises:
        TunebookError: the source, the model or a row is not as expected.
    """
    stream = formats.iter_rows(path, format_name, skip_bad_rows)
    rows = list(stream)
    settings = prepare.Settings(max_length)
    return inspect_rows(path, rows, stream.report(), loading.load_tokenizer(model), settings)


def inspect_sheet(
    path: Path, sheet: str | None, columns: spreadsheet.Columns, model: str, max_length: int
) -> Inspection:
    """Look at a spreadsheet by the columns to train on.

    Args:
        path: the workbook.
        sheet: the sheet's name; None takes the only one with data.
        columns: which column becomes what.
        model: whose tokenizer and template to use.
        max_length: tokens at most in a row and in a pack.

    Returns:
        The inspection; rows that cannot be used are left out and said.

    Raises:
        TunebookError: see `sheets.read_sheet` and `spreadsheet.sheet_to_rows`.
    """
    table = sheets.read_sheet(path, sheet, (columns.input, columns.output))
    made = spreadsheet.sheet_to_rows(table, columns, skip_bad=True)
    problems = tuple(made.left_out.values())
    report = formats.ReadReport(
        format="spreadsheet",
        reason="columns were named",
        n_rows=len(made.rows),
        notes=made.notes,
        n_bad=len(problems),
        problems=problems[: formats.SHOWN_PROBLEMS],
    )
    tokenizer = loading.load_tokenizer(model)
    return inspect_rows(str(path), made.rows, report, tokenizer, prepare.Settings(max_length))


def measure(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    settings: prepare.Settings,
) -> Lengths:
    """Count the tokens of rows, before and after the cut at `max_length`.

    Args:
        rows: with `messages` or `text`.
        tokenizer: of the model to train.
        settings: how long a row may be, and which replies carry loss.

    Returns:
        The counts; a plain text is never cut off, it goes on in another row.

    Raises:
        DataError: a row cannot be encoded.
    """
    whole: list[int] = []
    kept: list[int] = []
    truncated, dropped, loss_tokens, done = [], [], 0, 0
    max_length = settings.max_length
    for batch in batches.RowEncoder(tokenizer, WHOLE, settings.loss_turns).encode(rows):
        n_batch = len(batch.lengths) + len(batch.dropped)
        numbers = [n for n in range(done + 1, done + 1 + n_batch) if n not in batch.dropped]
        dropped += batch.dropped
        done += n_batch
        start = 0
        for number, length in zip(numbers, batch.lengths.tolist(), strict=True):
            cut = length if "text" in rows[number - 1] else min(length, max_length)
            bounds = masking.piece_starts(cut, max_length)
            pieces = [(start + a, start + b) for a, b in itertools.pairwise(bounds)]
            # The first token of a row is predicted from nothing: no loss falls on it.
            labels = [batch.labels[begin + 1 : end] for begin, end in pieces]
            n_loss = sum(int((part != masking.IGNORE_INDEX).sum()) for part in labels)
            start += length
            whole.append(length)
            loss_tokens += n_loss
            truncated += [number] if cut < length else []
            dropped += [] if n_loss else [number]
            kept += [end - begin for begin, end in pieces] if n_loss else []
    return Lengths(tuple(whole), tuple(kept), loss_tokens, tuple(truncated), tuple(dropped))


def view_row(
    row: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    loss_turns: masking.LossTurns = "all",
) -> list[SegmentView]:
    """A row as the model sees it, piece by piece.

    Args:
        row: with `messages` or `text`.
        tokenizer: of the model to train.
        loss_turns: which replies carry loss.

    Returns:
        The pieces in order, each with its loss.
    """
    if "text" in row:
        ids = masking.encode_text(row["text"], tokenizer, WHOLE)[0].input_ids
        return [SegmentView("text", row["text"], len(ids), True)]
    messages = native_tools.row_messages(row, tokenizer)
    chosen = masking.chosen_replies(messages, loss_turns)
    segments = chat_template.messages_to_segments(messages, tokenizer, chosen=chosen)
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    return [
        SegmentView(segment.role, segment.text, len(ids.ids), ids.has_loss)
        for segment, ids in zip(segments, tokenized, strict=True)
    ]

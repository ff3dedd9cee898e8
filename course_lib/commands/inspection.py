"""What `tunebook data inspect` and `check` show of data: format, first row, lengths, dirt."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from course_lib.commands import terminal
from course_lib.data import (
    audit,
    batches,
    chat_template,
    formats,
    masking,
    packing,
    sheets,
    spreadsheet,
)
from course_lib.errors import DataError
from course_lib.model import loading
from course_lib.training import rows as training_rows
from course_lib.training.config import TrainConfig

AUDITED_ROWS = 20_000  # pairs of them are compared: more would take minutes
SHOWN_CHARS = 72  # of a segment's text
MOST_DROPPED = 0.05  # share of rows, see `masking.encode_rows`
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
    max_length: int,
) -> Inspection:
    """Look at rows that have been read.

    Args:
        path: where they come from, for messages.
        rows: with `messages` or `text`, at least one.
        report: what the source is.
        tokenizer: of the model to train.
        max_length: tokens at most in a row and in a pack.

    Returns:
        The inspection.

    Raises:
        DataError: a row cannot be encoded; names its number.
    """
    try:
        lengths = measure(rows, tokenizer, max_length)
    except DataError as error:
        raise DataError(f"{path}, {error.message}", error.next_step) from error
    packs = packing.group_rows(lengths.kept, max_length, "best_fit") if lengths.kept else []
    found = audit.audit_rows(rows[:AUDITED_ROWS])
    first = tuple(view_row(rows[0], tokenizer))
    return Inspection(path, report, first, max_length, lengths, len(packs), found)


def inspect_config(config: TrainConfig) -> list[Inspection]:
    """Look at each data source of a config, without its copies.

    Args:
        config: the config.

    Returns:
        An inspection for each source.

    Raises:
        TunebookError: what training would refuse.
    """
    tokenizer = loading.load_tokenizer(config.base_model)
    found = []
    for source in config.train_data:
        once = source.model_copy(update={"copies": 1})
        rows = training_rows.load_rows(config.model_copy(update={"train_data": (once,)}))
        place = training_rows.find_source(source.path)
        report = formats.describe_file(place, source.format, source.skip_bad_rows)
        found.append(inspect_rows(str(place), rows, report, tokenizer, config.max_length))
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
    report = stream.report()
    if not rows:
        problem = f": {report.problems[0]}" if report.problems else "."
        raise DataError(f"{path} gives no rows{problem}", "Mend the file, or name its format.")
    return inspect_rows(path, rows, report, loading.load_tokenizer(model), max_length)


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
    return inspect_rows(str(path), made.rows, report, tokenizer, max_length)


def measure(
    rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Lengths:
    """Count the tokens of rows, before and after the cut at `max_length`.

    Args:
        rows: with `messages` or `text`.
        tokenizer: of the model to train.
        max_length: tokens at most in a row.

    Returns:
        The counts; a plain text is never cut off, it goes on in another row.

    Raises:
        DataError: a row cannot be encoded.
    """
    whole: list[int] = []
    kept: list[int] = []
    truncated, dropped, loss_tokens, done = [], [], 0, 0
    for batch in batches.RowEncoder(tokenizer, WHOLE).encode(rows):
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


def view_row(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> list[SegmentView]:
    """A row as the model sees it, piece by piece.

    Args:
        row: with `messages` or `text`.
        tokenizer: of the model to train.

    Returns:
        The pieces in order, each with its loss.
    """
    if "text" in row:
        ids = masking.encode_text(row["text"], tokenizer, WHOLE)[0].input_ids
        return [SegmentView("text", row["text"], len(ids), True)]
    chosen = masking.chosen_replies(row["messages"])
    segments = chat_template.messages_to_segments(row["messages"], tokenizer, chosen=chosen)
    tokenized = chat_template.tokenize_segments(segments, tokenizer)
    return [
        SegmentView(segment.role, segment.text, len(ids.ids), ids.has_loss)
        for segment, ids in zip(segments, tokenized, strict=True)
    ]


def as_json(found: Inspection) -> dict[str, Any]:
    """An inspection as plain data.

    Args:
        found: the inspection.
    """
    lengths = found.lengths
    return {
        "path": found.path,
        **asdict(found.report),
        "first_row": [asdict(segment) for segment in found.first_row],
        "max_length": found.max_length,
        "tokens": sum(lengths.kept),
        "loss_tokens": lengths.loss_tokens,
        "lengths": audit.quantiles(lengths.rows) if lengths.rows else {},
        "truncated": lengths.truncated,
        "dropped": lengths.dropped,
        "packs": found.packs,
        "efficiency": efficiency(found),
        "audit": found.found.as_dict(),
        "warnings": warnings(found),
    }


def efficiency(found: Inspection) -> float:
    """The share of the packs' room that holds tokens.

    Args:
        found: the inspection.
    """
    return round(sum(found.lengths.kept) / max(1, found.packs * found.max_length), 4)


def warnings(found: Inspection) -> list[str]:
    """What to look at before training.

    Args:
        found: the inspection.
    """
    lengths, n_rows = found.lengths, found.found.rows
    lines = []
    if lengths.dropped:
        numbers = audit.list_numbers(lengths.dropped)
        is_refused = len(lengths.dropped) > MOST_DROPPED * found.report.n_rows
        end = "; training refuses so many" if is_refused else ""
        lines.append(f"nothing to learn within {found.max_length} tokens: {numbers}{end}")
    if lengths.truncated:
        share = len(lengths.truncated) / found.report.n_rows
        numbers = audit.list_numbers(lengths.truncated)
        lines.append(f"cut at {found.max_length} tokens: {numbers}, {share:.0%} of all")
    lines += audit.audit_lines(found.found)
    if n_rows < found.report.n_rows:
        lines.append(f"only the first {n_rows:,} rows were compared with each other")
    return [*lines, *found.report.problems]


def text(found: Inspection) -> str:
    """An inspection in words.

    Args:
        found: the inspection.

    Returns:
        Format, counts, lengths, notes and warnings, then the first row with its loss.
    """
    report, lengths = found.report, found.lengths
    quantiles = audit.quantiles(lengths.rows) if lengths.rows else {}
    tokens = sum(lengths.kept)
    share = lengths.loss_tokens / tokens if tokens else 0
    unpacked = tokens / (len(lengths.kept) * max(lengths.kept)) if tokens else 0
    lines = {
        "data": found.path,
        "format": f"{report.format}: {report.reason}",
        "rows": f"{report.n_rows:,}" + (f" ({report.n_bad:,} left out)" if report.n_bad else ""),
        "tokens": f"{tokens:,} in an epoch, {share:.0%} with loss",
        "lengths": ", ".join(f"{name} {value:,.0f}" for name, value in quantiles.items()),
        "truncated": f"{len(lengths.truncated):,} rows at {found.max_length} tokens",
        "packs": f"{found.packs:,}, {efficiency(found):.0%} full; rows padded to the longest "
        f"would be {unpacked:.0%} full",
    }
    width = max(map(len, lines))
    written = [f"{name:<{width}}  {value}" for name, value in lines.items()]
    written += [f"note: {note}" for note in report.notes]
    written += [f"warning: {warning}" for warning in warnings(found)]
    return "\n".join([*written, "", first_row_text(found.first_row, found.max_length)])


def first_row_text(segments: Sequence[SegmentView], max_length: int) -> str:
    """The first row as a table; what the model learns to write is marked with +.

    Args:
        segments: from `view_row`.
        max_length: where a conversation is cut.
    """
    total = sum(segment.tokens for segment in segments)
    learned = sum(segment.tokens for segment in segments if segment.has_loss)
    width = max(len(segment.role) for segment in segments)
    cut = f", cut after {max_length:,}" if total > max_length else ""
    lines = [f"first row: {total:,} tokens, {learned:,} with loss (+){cut}"]
    for segment in segments:
        mark = "+" if segment.has_loss else " "
        shown = _shorten(terminal.one_line(segment.text))
        lines.append(f"{mark} {segment.tokens:>5}  {segment.role:<{width}}  {shown}")
    return "\n".join(lines)


def _shorten(line: str) -> str:
    if len(line) <= SHOWN_CHARS:
        return line
    left_out = len(line) - SHOWN_CHARS + 10
    return f"{line[: SHOWN_CHARS - 20]} ... {line[-10:]} ({left_out:,} characters left out)"

"""An inspection of data in words and as plain data."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from course_lib.commands import terminal
from course_lib.commands.inspection import Inspection, SegmentView
from course_lib.data import audit

SHOWN_CHARS = 72  # of a segment's text
MOST_DROPPED = 0.05  # share of rows, see `masking.encode_rows`


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

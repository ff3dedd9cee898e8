"""Sources of data to rows: the format found, each row checked and turned into one shape."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.data import conversions, detection, message_trees, readers, sources, speakers
from course_lib.errors import DataError, UnknownNameError

TREES = message_trees.FORMAT
EXAMPLES = {**conversions.EXAMPLES, TREES: message_trees.EXAMPLE}
FORMATS = tuple(EXAMPLES)
DETECTION_ROWS = 100  # are looked at to tell the format
SHOWN_PROBLEMS = 20  # of the rows left out keep their problem's text; all are counted
_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True)
class ReadReport:
    """What a source of data turned out to be.

    Args:
        format: one of `FORMATS`.
        reason: why it was taken for that.
        n_rows: how many rows it gives.
        notes: what else a reader should know: oddities of the file, fields that are not used.
        n_bad: how many rows were left out, because that was asked for.
        problems: of the first of those, what was wrong.
    """

    format: str
    reason: str
    n_rows: int
    notes: tuple[str, ...]
    n_bad: int = 0
    problems: tuple[str, ...] = ()


class RowStream(Iterator[dict[str, Any]]):
    """Checked rows, one at a time; `report` tells all once they are taken.

    Attributes:
        format: one of `FORMATS`.
        reason: why it was taken for that.
        n_rows: how many were given so far.
        n_bad: how many were left out so far.
        problems: of the first of those, what was wrong.
    """

    def __init__(self, path: Path | str, format_name: str, skip_bad_rows: bool) -> None:
        """Open the source and tell its format; see `iter_rows`."""
        self._path, self._notes = path, list[str]()
        self._shapes: Counter[tuple[Any, ...]] = Counter()
        self._n_without_reply = self._n_open_questions = 0
        self._skips = skip_bad_rows
        self.n_rows, self.n_bad, self.problems = 0, 0, list[str]()
        records = sources.iter_records(path, self._notes)
        self.format, self.reason = format_name, "it was asked for"
        if format_name == "auto":
            seen = list(itertools.islice(records, DETECTION_ROWS))
            self.format, self.reason = _settle_format(_commonest(seen) if skip_bad_rows else seen)
            records = itertools.chain(seen, records)
        makes = self._from_trees if self.format == TREES else self._from_records
        self._rows = makes(records)

    def __next__(self) -> dict[str, Any]:
        row = next(self._rows, None)
        if row is None:
            self._check_any()
            raise StopIteration
        self.n_rows += 1
        return row

    def _check_any(self) -> None:
        """Refuse a source of which nothing is left at its end."""
        if self.n_rows:
            return
        bad = f"; {_rows(self.n_bad)} left out, first: {self.problems[0]}" if self.n_bad else ""
        raise DataError(
            f"{self._path} gives no rows{bad.rstrip('.')}.",
            f"Write rows such as {EXAMPLES[self.format]}",
        )

    def report(self) -> ReadReport:
        """What is known so far; complete when the rows are used up.

        Returns:
            Format, reason, counts and notes.
        """
        notes = [*self._notes, *self._note_unused_fields()]
        if self._n_without_reply:
            notes.append(f"Trees without a reply, which give no row: {self._n_without_reply}.")
        if self._n_open_questions:
            notes.append(f"Last questions without an answer, left out: {self._n_open_questions}.")
        if self.n_bad:
            is_are = "row is" if self.n_bad == 1 else "rows are"
            notes.append(f"{self.n_bad} bad {is_are} left out.")
        return ReadReport(
            self.format, self.reason, self.n_rows, tuple(notes), self.n_bad, tuple(self.problems)
        )

    def _from_records(self, records: Iterable[readers.Record]) -> Iterator[dict[str, Any]]:
        """A row for each record."""
        for record in records:
            try:
                if record.problem:
                    raise record.problem
                row = conversions.convert(record.value, self.format)
            except DataError as error:
                self._leave_out(_with_place(record, error))
                continue
            self._note_shape(record.value)
            yield row

    def _from_trees(self, records: Iterable[readers.Record]) -> Iterator[dict[str, Any]]:
        """A row for each tree that has a reply."""
        for record, tree in message_trees.iter_trees(records):
            try:
                if isinstance(tree, DataError):
                    raise tree
                messages = message_trees.best_path(tree)
                if messages:
                    conversions.check_dialogue(messages)
            except DataError as error:
                self._leave_out(_with_place(record, error))
                continue
            if messages:
                yield {"messages": messages}
            else:
                self._n_without_reply += 1

    def _leave_out(self, error: DataError) -> None:
        """Count a bad row, or stop at it."""
        if not self._skips:
            raise error
        self.n_bad += 1
        if len(self.problems) < SHOWN_PROBLEMS:
            self.problems.append(error.message)

    def _note_shape(self, value: dict[str, Any]) -> None:
        """Remember which fields a row has; rows are of few shapes."""
        parts = conversions.parts_of(value, self.format)
        if self.format == "oasst1":
            self._n_open_questions += speakers.has_open_question(value)
        self._shapes[(tuple(value), frozenset(map(tuple, parts)))] += 1

    def _note_unused_fields(self) -> list[str]:
        """Fields that a learner may think have an effect."""
        if self.format == TREES:
            return []
        used = set(conversions.ROW_FIELDS[self.format])
        used_in_parts = set(conversions.PART_FIELDS.get(self.format, ()))
        inner = conversions.ROW_FIELDS[self.format][0]
        rows: Counter[str] = Counter()
        for (names, parts), count in self._shapes.items():
            unused = set(names) - used
            unused |= {f"{inner}.{name}" for part in parts for name in set(part) - used_in_parts}
            rows.update(dict.fromkeys(unused, count))
        return [f"The field {n!r} is not used ({_rows(c)})." for n, c in sorted(rows.items())]


def iter_rows(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    skip_bad_rows: bool = False,
) -> RowStream:
    """Read a source of data row by row, each checked; memory does not grow with the rows.

    Args:
        path: a file (see `readers.SUFFIXES`), a folder of them, or a data set's id on a hub.
        format: one of `FORMATS`, or "auto" to tell it from the first `DETECTION_ROWS` rows.
        skip_bad_rows: leave bad rows out and count them, in place of stopping at the first.

    Returns:
        An iterator of {"messages": [{"role", "content"}, ...]} or {"text": ...}. A message of
        the assistant may have `tool_calls`, and then an empty content.

    Raises:
        DataError: the source is not as expected, here or while rows are taken; names file, row,
            line and field. At the end, when it gave no rows.
        UnknownNameError: there is no such format.
    """
    if format not in ("auto", *FORMATS):
        raise UnknownNameError("data format", format, FORMATS)
    return RowStream(path, format, skip_bad_rows)


def read_rows(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    skip_bad_rows: bool = False,
) -> list[dict[str, Any]]:
    """Read a source of data whole; every row is checked before any is returned.

    Args:
        path: see `iter_rows`.
        format: see `iter_rows`.
        skip_bad_rows: see `iter_rows`; `describe_file` tells which were left out.

    Returns:
        Rows {"messages": [{"role", "content"}, ...]} or {"text": ...}; at least one.

    Raises:
        DataError: see `iter_rows`.
        UnknownNameError: there is no such format.
    """
    return list(iter_rows(path, format, skip_bad_rows))


def describe_file(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    skip_bad_rows: bool = False,
) -> ReadReport:
    """Say what a source of data is, after the same checks as `read_rows`.

    Args:
        path: see `iter_rows`.
        format: see `iter_rows`.
        skip_bad_rows: see `iter_rows`.

    Returns:
        Its format with the reason, counts and notes.

    Raises:
        DataError: see `read_rows`.
        UnknownNameError: there is no such format.
    """
    stream = iter_rows(path, format, skip_bad_rows)
    for _ in stream:
        pass
    return stream.report()


def detect_format(rows: Sequence[Any]) -> tuple[str, str]:
    """Tell the format of rows as they stand in a file.

    Args:
        rows: at least one.

    Returns:
        One of `FORMATS`, and the reason.

    Raises:
        DataError: the first row fits none or more than one, or a later row another one.
    """
    if not rows:
        raise DataError("There are no rows.", f"Write at least one row: {EXAMPLES['messages']}")
    records = [readers.Record(row, number, "") for number, row in enumerate(rows, 1)]
    try:
        return _settle_format(records)
    except DataError as error:
        raise DataError(error.message.removeprefix(", "), error.next_step) from None


def fill_placeholders(
    rows: Sequence[Mapping[str, Any]], values: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Put values in place of marks such as {{name}} in the rows' texts.

    Args:
        rows: with `messages` or `text`; they are not changed.
        values: the text for each mark. A mark inside a value stays as it is.

    Returns:
        New rows.

    Raises:
        DataError: a mark has no value, a value has no mark in any row, or is empty.
    """
    for name, value in values.items():
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"The value for {{{{{name}}}}} is empty: {value!r}.", "Give a text.")
    seen: set[str] = set()
    filled = [_fill_row(number, row, values, seen) for number, row in enumerate(rows, 1)]
    unused = [f"{{{{{name}}}}}" for name in values if name not in seen]
    if unused:
        raise DataError(
            f"No row has the mark {', '.join(unused)}.",
            f"Marks in the rows: {', '.join(sorted(seen)) or 'none'}. Check the spelling.",
        )
    return filled


def _fill_row(
    number: int, row: Mapping[str, Any], values: Mapping[str, str], seen: set[str]
) -> dict[str, Any]:
    """Fill one row, and note the marks found."""

    def fill(text: str) -> str:
        for name in _PLACEHOLDER.findall(text):
            if name not in values:
                raise DataError(
                    f"row {number}: the mark {{{{{name}}}}} has no value.",
                    f"Give one; there are values for: {', '.join(values) or 'none'}.",
                )
            seen.add(name)
        return _PLACEHOLDER.sub(lambda mark: values[mark[1]], text)

    if "messages" in row:
        return {**row, "messages": [{**m, "content": fill(m["content"])} for m in row["messages"]]}
    return {**row, "text": fill(row["text"])}


# --- help ----------------------------------------------------------------------------------------


def _settle_format(records: Sequence[readers.Record]) -> tuple[str, str]:
    """The format of all these rows, and the reason; those that cannot be read do not count."""
    good = [record for record in records if not record.problem]
    if not good:
        raise records[0].problem or AssertionError(records)
    for record in good:
        try:
            detection.check_fit(record.value, good[0].value)
        except DataError as error:
            raise _with_place(record, error) from error
    return next(iter(detection.fitting_formats(good[0].value).items()))


def _commonest(records: Sequence[readers.Record]) -> Sequence[readers.Record]:
    """Of the rows whose format can be told, those in the commonest one."""
    fits = [detection.fitting_formats(r.value) if not r.problem else {} for r in records]
    counts = Counter(name for found in fits for name in found if len(found) == 1)
    most = [name for name, _ in counts.most_common(1)]
    return [r for r, found in zip(records, fits, strict=True) if list(found) == most] or records


def _with_place(record: readers.Record, error: DataError) -> DataError:
    """A row's problem with file, row and line, once."""
    if record.source and error.message.startswith(record.source):
        return error
    placed = DataError(f"{record.where()}: {error.message}", error.next_step)
    placed.__cause__ = error
    return placed


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"

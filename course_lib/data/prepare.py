"""Rows in, packs out, as a stream: memory stays flat however many rows there are.

Encoded rows go into an Arrow file batch by batch; only their lengths stay in memory, which is all
that packing needs. A pack is a list of places in that file and becomes tokens when it is asked for.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from course_lib.data import batches, masking, packing
from course_lib.errors import DataError
from course_lib.files import staged_dir, write_atomic

if TYPE_CHECKING:  # slow to import
    import numpy as np
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

ROWS_FILE = "rows.arrow"
PACKS_FILE = "packs.arrow"
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class Settings:
    """How rows become packs.

    Args:
        max_length: tokens at most in a row and in a pack.
        method: of packing, see `packing.group_rows` and `packing.pack_rows`.
        loss_turns: see `masking.chosen_replies`.
        max_dropped_share: how large a share of the rows may have nothing to learn.
    """

    max_length: int
    method: packing.Method = "best_fit"
    loss_turns: masking.LossTurns = "all"
    max_dropped_share: float = 0.05


@dataclass(frozen=True)
class Report:
    """What became of a data set's rows.

    Args:
        rows: encoded rows; a long plain text makes several.
        packs: filled packs, the last ones with a remainder included.
        row_tokens: tokens of all rows.
        loss_tokens: tokens that carry loss.
        truncated_rows: rows cut at `max_length`.
        truncated_tokens: tokens lost by that.
        dropped: numbers, from 1, of the rows with nothing to learn.
        split_rows: rows that lie in two packs or more; 0 unless the method is "cut".
        free_tokens: room that the packs leave unused, each taken as `max_length` long.
    """

    rows: int
    packs: int
    row_tokens: int
    loss_tokens: int
    truncated_rows: int
    truncated_tokens: int
    dropped: tuple[int, ...]
    split_rows: int
    free_tokens: int


class PackSequence(Sequence[packing.Pack]):
    """The packs of a prepared data set, read from its Arrow table when they are asked for.

    Args:
        rows: table with the columns `input_ids` and `labels`, lists of int32.
        packs: table with a list of places for each pack: `starts` in the line of all tokens,
            and `lengths`.
    """

    def __init__(self, rows: "pa.Table", packs: "pa.Table") -> None:
        import numpy as np

        # one flat array for each record batch: a view of the file, nothing is copied
        self._lines = {
            name: [_from_lists(chunk)[1] for chunk in rows.column(name).chunks]
            for name in ("input_ids", "labels")
        }
        sizes = [len(chunk) for chunk in self._lines["input_ids"]]
        self._bounds = np.cumsum([0, *sizes])
        self._offsets, self._starts = _from_lists(packs.column("starts").chunk(0))
        _, self._lengths = _from_lists(packs.column("lengths").chunk(0))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> packing.Pack: ...
    @overload
    def __getitem__(self, index: slice) -> list[packing.Pack]: ...
    def __getitem__(self, index: int | slice) -> packing.Pack | list[packing.Pack]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = range(len(self))[index]  # raises IndexError where a list does
        part = slice(self._offsets[place], self._offsets[place + 1])
        spans = [*zip(self._starts[part].tolist(), self._lengths[part].tolist(), strict=True)]
        labels: list[int] = []
        for start, length in spans:
            labels += [masking.IGNORE_INDEX, *self._tokens("labels", start + 1, start + length)]
        return packing.Pack(
            input_ids=tuple(i for s, n in spans for i in self._tokens("input_ids", s, s + n)),
            labels=tuple(labels),
            position_ids=tuple(i for _, n in spans for i in range(n)),
            lengths=tuple(n for _, n in spans),
        )

    def _tokens(self, name: str, start: int, stop: int) -> Iterator[int]:
        """A stretch of the line of all tokens; it may pass the end of a record batch."""
        chunk = int(self._bounds.searchsorted(start, side="right")) - 1
        while start < stop:
            first = int(self._bounds[chunk])
            yield from self._lines[name][chunk][start - first : stop - first].tolist()
            chunk += 1
            start = int(self._bounds[chunk])


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training.

    Args:
        packs: in the order of their first rows.
        report: what became of the rows.
    """

    packs: PackSequence
    report: Report


def prepare_rows(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerFast",
    settings: Settings,
    out_dir: Path | None = None,
) -> Prepared:
    """Encode and pack rows as they come.

    Args:
        rows: each with `messages` or with `text`; read one by one.
        tokenizer: the model's tokenizer, with its chat template.
        settings: how.
        out_dir: a folder to write, for data sets that do not fit into memory; None keeps the
            result in memory. The folder appears when it is complete, or not at all. The same
            rows, tokenizer and settings give the same bytes.

    Returns:
        The packs and the report.

    Raises:
        DataError: a row is not as expected, or too many have nothing to learn; or the folder
            exists.
        ModelError: the tokenizer cannot encode a row.
    """
    import pyarrow as pa

    if out_dir is None:
        streams = {ROWS_FILE: pa.BufferOutputStream(), PACKS_FILE: pa.BufferOutputStream()}
        report = _write(rows, tokenizer, settings, streams)
        tables = [pa.ipc.open_file(stream.getvalue()).read_all() for stream in streams.values()]
        return Prepared(PackSequence(*tables), report)
    if out_dir.exists():
        raise DataError(f"{out_dir} exists already.", "Open it, delete it, or name another folder.")
    with staged_dir(out_dir) as staging:
        streams = {name: pa.OSFile(str(staging / name), "wb") for name in (ROWS_FILE, PACKS_FILE)}
        report = _write(rows, tokenizer, settings, streams)
        write_atomic(staging / REPORT_FILE, json.dumps(asdict(report), indent=1) + "\n")
    return open_prepared(out_dir)


def open_prepared(out_dir: Path) -> Prepared:
    """Open what `prepare_rows` has written; the tokens stay in the file until they are read.

    Args:
        out_dir: the folder.

    Returns:
        The packs and the report.

    Raises:
        DataError: the folder is not a prepared data set.
    """
    import pyarrow as pa

    try:
        values = json.loads((out_dir / REPORT_FILE).read_text(encoding="utf-8"))
        report = Report(**values | {"dropped": tuple(values["dropped"])})
        tables = [
            pa.ipc.open_file(pa.memory_map(str(out_dir / name))).read_all()
            for name in (ROWS_FILE, PACKS_FILE)
        ]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"{out_dir} is not a prepared data set: {error}",
            "Delete it and prepare the rows again.",
        ) from error
    return Prepared(PackSequence(*tables), report)


# --- writing -------------------------------------------------------------------------------------


def _write(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerFast",
    settings: Settings,
    streams: Mapping[str, Any],
) -> Report:
    """Write rows and packs into two streams."""
    counter = _Counter(rows)
    encoder = batches.RowEncoder(tokenizer, settings.max_length, settings.loss_turns)
    totals = _Totals([], [], 0, 0, 0)
    with streams[ROWS_FILE] as stream:
        _write_rows(stream, encoder.encode(counter), totals, settings)
    masking.check_dropped(
        totals.dropped, counter.count, settings.max_length, settings.max_dropped_share
    )
    lengths = _join(totals.lengths)
    starts, sizes, offsets = _places(lengths, settings)
    with streams[PACKS_FILE] as stream:
        _write_packs(stream, starts, sizes, offsets)
    n_packs, n_tokens = len(offsets) - 1, int(lengths.sum(dtype="int64"))
    return Report(
        rows=len(lengths),
        packs=n_packs,
        row_tokens=n_tokens,
        loss_tokens=totals.loss_tokens,
        truncated_rows=totals.truncated_rows,
        truncated_tokens=totals.truncated_tokens,
        dropped=tuple(totals.dropped),
        split_rows=_count_split(lengths, settings) if settings.method == "cut" else 0,
        free_tokens=n_packs * settings.max_length - n_tokens,
    )


@dataclass
class _Totals:
    """What is counted while rows are written."""

    lengths: "list[np.ndarray]"
    dropped: list[int]
    loss_tokens: int
    truncated_rows: int
    truncated_tokens: int


class _Counter:
    """Counts rows as they pass."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for row in self._rows:
            self.count += 1
            yield row


def _write_rows(
    stream: Any, encoded: Iterable[batches.EncodedBatch], totals: _Totals, settings: Settings
) -> None:
    """Write each batch as a record batch, and count."""
    import pyarrow as pa

    column = pa.list_(pa.int32())
    schema = pa.schema([("input_ids", column), ("labels", column)])
    n_tokens = 0
    with pa.ipc.new_file(stream, schema) as writer:
        for batch in encoded:
            offsets = _to_offsets(batch.lengths)
            lists = [_to_lists(offsets, values) for values in (batch.input_ids, batch.labels)]
            writer.write_batch(pa.record_batch(lists, schema=schema))
            totals.lengths.append(batch.lengths)
            totals.dropped += batch.dropped
            totals.truncated_rows += batch.truncated
            totals.truncated_tokens += batch.truncated_tokens
            totals.loss_tokens += _count_loss(batch, offsets, n_tokens, settings)
            n_tokens += len(batch.input_ids)


def _count_loss(
    batch: batches.EncodedBatch, offsets: "np.ndarray", n_before: int, settings: Settings
) -> int:
    """Tokens with loss: the first of a row, or of a cut pack, is predicted from nothing."""
    has_loss = batch.labels != masking.IGNORE_INDEX
    if settings.method == "cut":
        has_loss[-n_before % settings.max_length :: settings.max_length] = False
    else:
        has_loss[offsets[:-1]] = False
    return int(has_loss.sum())


def _places(
    lengths: "np.ndarray", settings: Settings
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """Where packs are: start and length of each span, and the offset of each pack's first span."""
    import numpy as np

    ends = np.cumsum(lengths, dtype=np.int64)
    if settings.method == "cut":
        starts = np.arange(0, ends[-1], settings.max_length)
        sizes = np.minimum(ends[-1] - starts, settings.max_length)
        return starts, sizes.astype(np.int32), np.arange(len(starts) + 1, dtype=np.int32)
    groups = packing.group_rows(lengths.tolist(), settings.max_length, settings.method)
    order = np.array([index for group in groups for index in group], dtype=np.int64)
    offsets = _to_offsets(np.array([len(group) for group in groups]))
    return (ends - lengths)[order], lengths[order], offsets


def _write_packs(
    stream: Any, starts: "np.ndarray", sizes: "np.ndarray", offsets: "np.ndarray"
) -> None:
    """Write the places of all packs."""
    import pyarrow as pa

    lists = [_to_lists(offsets, values) for values in (starts, sizes)]
    batch = pa.record_batch(lists, names=["starts", "lengths"])
    with pa.ipc.new_file(stream, batch.schema) as writer:
        writer.write_batch(batch)


def _count_split(lengths: "np.ndarray", settings: Settings) -> int:
    """Rows whose first and last token lie in different packs."""
    ends = lengths.cumsum(dtype="int64")
    first, last = (ends - lengths) // settings.max_length, (ends - 1) // settings.max_length
    return int((first != last).sum())


def _to_offsets(lengths: "np.ndarray") -> "np.ndarray":
    """Arrow's offsets of lists: where each starts, and where the last one ends."""
    import numpy as np

    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _join(arrays: "list[np.ndarray]") -> "np.ndarray":
    import numpy as np

    return np.concatenate(arrays)


# --- Arrow's lists, without `pa.array` and `to_numpy`: those import pandas, half a second ---------


def _to_lists(offsets: "np.ndarray", values: "np.ndarray") -> "pa.ListArray":
    """An array of lists over the same memory."""
    import pyarrow as pa

    kind = pa.from_numpy_dtype(values.dtype)
    flat = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])
    buffers = [None, pa.py_buffer(offsets)]
    return pa.ListArray.from_buffers(pa.list_(kind), len(offsets) - 1, buffers, children=[flat])


def _from_lists(lists: "pa.ListArray") -> "tuple[np.ndarray, np.ndarray]":
    """The offsets of a whole array of lists, and the values of all its lists: views, no copies."""
    import numpy as np

    offsets = np.frombuffer(lists.buffers()[1], np.int32, len(lists) + 1)
    kind = lists.type.value_type.to_pandas_dtype()
    return offsets, np.frombuffer(lists.values.buffers()[1], kind, len(lists.values))

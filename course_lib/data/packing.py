"""Several rows in one: less padding, and no row sees or predicts its neighbour."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from course_lib.data.masking import IGNORE_INDEX, EncodedRow
from course_lib.errors import DataError

Method = Literal["best_fit", "next_fit", "cut", "none"]


@dataclass(frozen=True)
class Pack:
    """Rows one behind the other.

    Args:
        input_ids: token ids of all rows, (tokens,).
        labels: their labels, (tokens,); the first of each row is `IGNORE_INDEX`.
        position_ids: 0, 1, 2, ... anew for each row, (tokens,): models that get no attention
            mask tell the rows apart by them.
        lengths: tokens of each row, (rows,).
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    position_ids: tuple[int, ...]
    lengths: tuple[int, ...]


def pack_rows(
    rows: Sequence[EncodedRow], max_length: int, method: Method = "next_fit"
) -> list[Pack]:
    """Fill packs with rows.

    Args:
        rows: encoded rows.
        max_length: tokens at most in a pack.
        method: see `group_rows`; "cut" puts all rows in one line and cuts it every
            `max_length` tokens, as XTuner does. It is there for comparison: a row cut in two
            answers without its question, a row sees those before it in its pack, and its first
            token is predicted from theirs.

    Returns:
        Packs that hold every token once; only the last one of "cut" holds a remainder.

    Raises:
        DataError: a row is empty or longer than a pack.
    """
    if method == "cut":
        return _cut_line(rows, max_length)
    groups = group_rows([len(row.input_ids) for row in rows], max_length, method)
    return [_join([rows[index] for index in group]) for group in groups]


def group_rows(lengths: Sequence[int], max_length: int, method: Method) -> list[list[int]]:
    """Choose the rows of each pack from their lengths alone.

    Args:
        lengths: tokens of each row.
        max_length: tokens at most in a pack.
        method: one that keeps rows whole. "next_fit" keeps the order: a row that does not fit
            closes its pack. "best_fit" takes the longest rows first and puts each where the
            least is left over, which wastes the least; rows of one length, so copies of one row,
            come together. "none" gives each row a pack of its own.

    Returns:
        Indices of the rows in each pack, ascending; packs in the order of their first rows.
        The same lengths always give the same packs.

    Raises:
        DataError: a row is empty or longer than a pack.
    """
    assert method != "cut", "cut knows no rows"
    for number, length in enumerate(lengths, 1):
        if not 0 < length <= max_length:
            raise DataError(
                f"row {number} has {length} tokens; a pack holds 1 to {max_length}.",
                "Encode the rows with the same max_length.",
            )
    if method == "none":
        return [[index] for index in range(len(lengths))]
    return (
        _best_fit(lengths, max_length) if method == "best_fit" else _next_fit(lengths, max_length)
    )


def _next_fit(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Rows in order; one that does not fit starts the next pack."""
    groups: list[list[int]] = []
    free_tokens = -1  # no pack is open yet
    for index, length in enumerate(lengths):
        if length > free_tokens:
            groups.append([])
            free_tokens = max_length
        groups[-1].append(index)
        free_tokens -= length
    return groups


def _best_fit(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Longest rows first, each into the fullest pack that has room for it."""
    groups: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(max_length + 1)]  # packs by free tokens
    # Bit n is set when some pack has n free tokens: the least room that is enough is the lowest
    # set bit from `length` on, found in one step however many packs are open.
    rooms = 0
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        length = lengths[index]
        enough = rooms >> length
        free = length + (enough & -enough).bit_length() - 1 if enough else max_length
        if enough:
            pack = with_room[free].pop()
            rooms ^= 0 if with_room[free] else 1 << free
        else:
            pack = len(groups)
            groups.append([])
        groups[pack].append(index)
        with_room[free - length].append(pack)
        rooms |= 1 << (free - length)
    return sorted(sorted(group) for group in groups)


def _cut_line(rows: Sequence[EncodedRow], max_length: int) -> list[Pack]:
    """All rows in one line, cut at every pack's end."""
    input_ids = [i for row in rows for i in row.input_ids]
    labels = [i for row in rows for i in row.labels]
    starts = range(0, len(input_ids), max_length)
    ends = [start + max_length for start in starts]
    whole = [
        EncodedRow(tuple(input_ids[a:b]), tuple(labels[a:b]))
        for a, b in zip(starts, ends, strict=True)
    ]
    return one_row_packs(whole)


def one_row_packs(rows: Sequence[EncodedRow]) -> list[Pack]:
    """A pack for each row: packing switched off, the rest stays the same.

    Args:
        rows: encoded rows.

    Returns:
        As many packs as rows, in order.
    """
    return [_join([row]) for row in rows]


def _join(rows: Sequence[EncodedRow]) -> Pack:
    """Put rows one behind the other."""
    return Pack(
        input_ids=tuple(i for row in rows for i in row.input_ids),
        # The model shifts labels by one: the first label of a row would be predicted from
        # the last token of the row before it.
        labels=tuple(i for row in rows for i in (IGNORE_INDEX, *row.labels[1:])),
        position_ids=tuple(i for row in rows for i in range(len(row.input_ids))),
        lengths=tuple(len(row.input_ids) for row in rows),
    )


def pad_packs(
    packs: Sequence[Pack], pad_token_id: int, pad_to_multiple_of: int = 1
) -> dict[str, list[list[int]]]:
    """Make packs equally long by padding on the right.

    Args:
        packs: the packs of one batch.
        pad_token_id: what fills `input_ids`; it has no loss.
        pad_to_multiple_of: the width is rounded up to a multiple of so many tokens.

    Returns:
        `input_ids`, `labels` and `position_ids`, each (packs, tokens of the longest, rounded up).
        The positions of padding start at 0 again, as those of one more row that nobody reads.
    """
    longest = max((len(pack.input_ids) for pack in packs), default=0)
    longest += -longest % pad_to_multiple_of
    batch: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
    for pack in packs:
        missing = longest - len(pack.input_ids)
        batch["input_ids"].append([*pack.input_ids, *[pad_token_id] * missing])
        batch["labels"].append([*pack.labels, *[IGNORE_INDEX] * missing])
        batch["position_ids"].append([*pack.position_ids, *range(missing)])
    return batch

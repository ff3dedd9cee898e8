"""Several rows in one: less padding, and no row sees or predicts its neighbour."""

from collections.abc import Sequence
from dataclasses import dataclass

from course_lib.data.masking import IGNORE_INDEX, EncodedRow
from course_lib.errors import DataError


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


def pack_rows(rows: Sequence[EncodedRow], max_length: int) -> list[Pack]:
    """Fill packs with whole rows, in order (next-fit).

    Args:
        rows: encoded rows.
        max_length: tokens at most in a pack.

    Returns:
        Packs that hold every row once; a row that does not fit starts the next pack.

    Raises:
        DataError: a row is empty or longer than a pack.
    """
    groups: list[list[EncodedRow]] = []
    free_tokens = -1  # no pack is open yet
    for number, row in enumerate(rows, 1):
        length = len(row.input_ids)
        if not 0 < length <= max_length:
            raise DataError(
                f"row {number} has {length} tokens; a pack holds 1 to {max_length}.",
                "Encode the rows with the same max_length.",
            )
        if length > free_tokens:
            groups.append([])
            free_tokens = max_length
        groups[-1].append(row)
        free_tokens -= length
    return [_join(group) for group in groups]


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


def pad_packs(packs: Sequence[Pack], pad_token_id: int) -> dict[str, list[list[int]]]:
    """Make packs equally long by padding on the right.

    Args:
        packs: the packs of one batch.
        pad_token_id: what fills `input_ids`; it has no loss.

    Returns:
        `input_ids`, `labels` and `position_ids`, each (packs, tokens of the longest). The
        positions of padding start at 0 again, as those of one more row that nobody reads.
    """
    longest = max((len(pack.input_ids) for pack in packs), default=0)
    batch: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
    for pack in packs:
        missing = longest - len(pack.input_ids)
        batch["input_ids"].append([*pack.input_ids, *[pad_token_id] * missing])
        batch["labels"].append([*pack.labels, *[IGNORE_INDEX] * missing])
        batch["position_ids"].append([*pack.position_ids, *range(missing)])
    return batch

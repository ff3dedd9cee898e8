"""A seeded split into training and test rows that tears no group apart."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from course_lib.data import formats, similarity, sources, spreadsheet
from course_lib.errors import DataError, UnknownNameError
from course_lib.files import staged_dir, write_atomic

FILES = ("train.jsonl", "test.jsonl")


@dataclass(frozen=True)
class Split:
    """Which rows train and which test.

    Attributes:
        train: row numbers from 1, in the order of the rows.
        test: the others.
        wanted: rows to train and to test, as the ratio has it.
        n_groups: groups that stay together; as many as rows when none repeats.
        largest_group: rows of the largest.
        notes: what a reader should know, for example why a size was missed.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    wanted: tuple[int, int]
    n_groups: int
    largest_group: int
    notes: tuple[str, ...]


def parse_ratio(text: str) -> Fraction:
    """Read a ratio of training to test rows.

    Args:
        text: such as 7:3, 70:30, 0.7:0.3 or 483:207.

    Returns:
        The exact share of training rows: floating point would make 482 of 690 * 0.7.

    Raises:
        DataError: it is not two positive numbers.
    """
    try:
        train, test = (Fraction(part.strip()) for part in text.split(":"))
    except (ValueError, ZeroDivisionError):
        train = test = Fraction(0)
    if train <= 0 or test <= 0:
        raise DataError(
            f"The ratio {text!r} is not two positive numbers.", "Write it as 7:3 or 483:207."
        )
    return train / (train + test)


def split_sizes(n_rows: int, ratio: str) -> tuple[int, int]:
    """The sizes that a ratio asks for.

    Args:
        n_rows: rows in all.
        ratio: see `parse_ratio`.

    Returns:
        Training and test rows; a half is rounded up for training, and neither is empty.

    Raises:
        DataError: the ratio is not one, or there are fewer than two rows.
    """
    if n_rows < 2:
        raise DataError(
            f"{n_rows} row{'s' if n_rows != 1 else ''} cannot be split.", "At least 2 are needed."
        )
    train = math.floor(n_rows * parse_ratio(ratio) + Fraction(1, 2))
    train = min(max(train, 1), n_rows - 1)
    return train, n_rows - train


def split_rows(
    rows: Sequence[Mapping[str, Any]],
    ratio: str = "7:3",
    seed: int = 0,
    fields: Sequence[Sequence[str]] = (),
    keep_near: bool = False,
) -> Split:
    """Split rows so that the same question never stands on both sides.

    Args:
        rows: with `messages` or `text`.
        ratio: training to test rows, see `parse_ratio`.
        seed: another seed, another split.
        fields: lists of one value for each row, such as its drug: rows of one value stay
            together as well. Values are compared as questions are; empty ones are passed over.
        keep_near: keep nearly equal questions together, too.

    Returns:
        The split. Every row is on one side. Neither the rows' order nor the version of Python
        changes which side: each group's place in the draw is a SHA-256 of seed and question.

    Raises:
        DataError: fewer than two rows, a wrong ratio, or one group holds all rows.
    """
    wanted = split_sizes(len(rows), ratio)
    questions = [similarity.normalise(similarity.question_of(row)) for row in rows]
    groups = _group(questions, fields, keep_near)
    if len(groups) == 1:
        raise DataError(
            f"All {len(rows)} rows belong to one group, so there is nothing to test by.",
            "Group by a field whose values differ, or by the question alone.",
        )
    ordered = sorted(groups, key=lambda group: _draw(seed, min(questions[i] for i in group)))
    chosen = _choose([len(group) for group in ordered], wanted[1])
    is_test = {i for number in chosen for i in ordered[number]}
    sides: tuple[list[int], list[int]] = ([], [])
    for index in range(len(rows)):
        sides[index in is_test].append(index + 1)
    largest = max(map(len, groups))
    notes = _notes(wanted, len(is_test), largest)
    return Split(tuple(sides[0]), tuple(sides[1]), wanted, len(groups), largest, notes)


def group_values(records: Sequence[Any], field: str) -> list[str]:
    """Each record's value of a field, to group by.

    Args:
        records: rows as they stand in their file.
        field: the field's name.

    Returns:
        The values as texts, "" where a row has none.

    Raises:
        UnknownNameError: no row has the field; near names are offered.
    """
    names = {name for record in records if isinstance(record, dict) for name in record}
    if field not in names:
        raise UnknownNameError("field in the rows", field, map(str, names))
    values = [record.get(field) if isinstance(record, dict) else None for record in records]
    return ["" if value is None else str(value) for value in values]


def split_file(
    path: Path | str,
    out_dir: Path,
    ratio: str = "7:3",
    seed: int = 0,
    group_by: str = "",
    keep_near: bool = False,
) -> Split:
    """Write train.jsonl and test.jsonl, both or neither.

    Args:
        path: a file of any format, see `formats.iter_rows`; its rows keep all their fields.
        out_dir: the folder; made when missing.
        ratio: see `parse_ratio`.
        seed: see `split_rows`.
        group_by: a field of the rows whose equal values stay together, too; empty for none.
        keep_near: see `split_rows`.

    Returns:
        The split.

    Raises:
        DataError: a row is not as expected, the rows cannot be split, or a file exists.
        UnknownNameError: no row has the field.
    """
    targets = [Path(out_dir) / name for name in FILES]
    for target in targets:
        if target.exists():
            raise DataError(f"{target} exists already.", "Delete it, or give another folder.")
    rows = formats.read_rows(path)
    records = [record.value for record in sources.iter_records(path, [])]
    if len(records) != len(rows):  # a tree of messages is not one row
        records = rows
    fields = [group_values(records, group_by)] if group_by else []
    found = split_rows(rows, ratio, seed, fields, keep_near)
    sides = (found.train, found.test)
    texts = [spreadsheet.rows_to_jsonl(records[n - 1] for n in side) for side in sides]
    _write_both(targets, texts)
    return found


def _write_both(targets: Sequence[Path], texts: Sequence[str]) -> None:
    """Write two files; when the second fails, the first one goes as well."""
    if not targets[0].parent.exists():
        with staged_dir(targets[0].parent) as staging:
            for target, text in zip(targets, texts, strict=True):
                write_atomic(staging / target.name, text)
        return
    write_atomic(targets[0], texts[0])
    try:
        write_atomic(targets[1], texts[1])
    except BaseException:
        targets[0].unlink()
        raise


def _group(
    questions: Sequence[str], fields: Sequence[Sequence[str]], keep_near: bool
) -> list[list[int]]:
    """Rows that belong together, in one way or through others."""
    parent = list(range(len(questions)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for values in (questions, *([similarity.normalise(v) for v in field] for field in fields)):
        first: dict[str, int] = {}
        for index, value in enumerate(values):
            if value:
                parent[root(index)] = root(first.setdefault(value, index))
    if keep_near:
        for earlier, later in _near_rows(questions):
            parent[root(later)] = root(earlier)
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(questions)):
        groups[root(index)].append(index)
    return list(groups.values())


def _near_rows(questions: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Row indices of nearly equal questions."""
    first = {question: index for index, question in reversed(list(enumerate(questions)))}
    # Sorted, so that the links do not depend on the order of the rows.
    texts = sorted(first)
    for earlier, later, _ in similarity.near_pairs(texts):
        yield first[texts[earlier]], first[texts[later]]


def _draw(seed: int, question: str) -> str:
    return hashlib.sha256(f"{seed}\n{question}".encode("utf-8", "surrogatepass")).hexdigest()


def _choose(sizes: Sequence[int], target: int) -> set[int]:
    """Groups whose sizes add up to the target, or to the sum next to it.

    Groups are taken in the order of the draw as long as they fit. Only when that misses the
    target, the sums that the sizes can reach are worked out.
    """
    chosen, left = set(), target
    for number, size in enumerate(sizes):
        if size <= left:
            chosen.add(number)
            left -= size
    if not left:
        return chosen
    chosen = set()
    counts = _counts_for(sizes, target)
    for number, size in enumerate(sizes):
        if counts.get(size, 0):
            counts[size] -= 1
            chosen.add(number)
    return chosen


def _counts_for(sizes: Sequence[int], target: int) -> dict[int, int]:
    """How many groups of each size give the reachable sum next to the target."""
    pieces = []  # (size, groups): 5 groups of a size are taken as 1, 2 and 2 of them
    for size in sorted(set(sizes)):
        left, power = sizes.count(size), 1
        while left:
            pieces.append((size, min(power, left)))
            left -= pieces[-1][1]
            power *= 2
    reachable = [1]  # bit n is set: the sum n can be reached
    for size, count in pieces:
        reachable.append(reachable[-1] | reachable[-1] << size * count)
    # Neither side may be empty; the smaller of two equally near sums leaves more to train on.
    sums = (n for n in range(1, sum(sizes)) if reachable[-1] >> n & 1)
    best = min(sums, key=lambda n: (abs(n - target), n))
    counts: dict[int, int] = defaultdict(int)
    for (size, count), before in zip(reversed(pieces), reversed(reachable[:-1]), strict=True):
        if not before >> best & 1:
            counts[size] += count
            best -= size * count
    return counts


def _notes(wanted: tuple[int, int], n_test: int, largest: int) -> tuple[str, ...]:
    if n_test == wanted[1]:
        return ()
    n_train = sum(wanted) - n_test
    return (
        f"{wanted[0]:,} / {wanted[1]:,} rows are impossible without tearing a group apart (the "
        f"largest has {largest:,}); {n_train:,} / {n_test:,} is the nearest.",
    )

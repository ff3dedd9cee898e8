"""Rows of one set that stand in another one, too: word for word, rewritten, or nearly."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from course_lib.data import similarity

Kind = Literal["exact", "normalised", "near"]
KINDS: tuple[Kind, ...] = ("exact", "normalised", "near")
MEANINGS = {
    "exact": "the question stands there word for word",
    "normalised": "the same but for case, punctuation or blanks",
    "near": "nearly the same",
}


@dataclass(frozen=True)
class Leak:
    """A row of the second set whose question the first set has, too.

    Attributes:
        kind: see `MEANINGS`.
        first_row: row number in the first set, from 1; the first that fits.
        second_row: row number in the second set.
        share: of their shingles, in common; 1.0 but for near ones.
        first_text: the question in the first set.
        second_text: the question in the second set.
        is_same_answer: whether the answers are the same as well.
    """

    kind: Kind
    first_row: int
    second_row: int
    share: float
    first_text: str
    second_text: str
    is_same_answer: bool


@dataclass(frozen=True)
class LeakReport:
    """What two sets have in common.

    Attributes:
        n_first: rows of the first set, usually the training rows.
        n_second: rows of the second set, usually the test rows.
        leaks: one for each row of the second set that leaks, in its order.
        shared_answers: rows of the second set whose answer stands in the first set.
    """

    n_first: int
    n_second: int
    leaks: tuple[Leak, ...]
    shared_answers: int

    def count(self, *kinds: Kind) -> int:
        """Rows of the second set that leak in these ways."""
        return sum(leak.kind in kinds for leak in self.leaks)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain data, with a count for each kind."""
        return {**asdict(self), "counts": {kind: self.count(kind) for kind in KINDS}}


def find_leaks(
    first: Sequence[Mapping[str, Any]],
    second: Sequence[Mapping[str, Any]],
    threshold: float = similarity.NEAR,
) -> LeakReport:
    """Look for questions of one set in another.

    Args:
        first: rows with `messages` or `text`, usually those to train on.
        second: the others, usually those to test by.
        threshold: share of shingles from which on two questions are nearly the same.

    Returns:
        The report; each row of `second` stands in it at most once, with the strictest kind.
    """
    exact: dict[str, int] = {}
    normalised: dict[str, int] = {}
    for index, row in enumerate(first):
        question = similarity.question_of(row)
        exact.setdefault(question, index)
        normalised.setdefault(similarity.normalise(question), index)
    index_of_near = similarity.NearIndex(list(normalised), threshold)
    holders = list(normalised.values())
    leaks = []
    for number, row in enumerate(second, 1):
        question = similarity.question_of(row)
        key = similarity.normalise(question)
        if question in exact:
            leaks.append(_leak("exact", first, exact[question], number, row))
        elif key in normalised:
            leaks.append(_leak("normalised", first, normalised[key], number, row))
        elif best := max(index_of_near.near(key), key=lambda pair: pair[1], default=None):
            leaks.append(_leak("near", first, holders[best[0]], number, row, best[1]))
    return LeakReport(len(first), len(second), tuple(leaks), _shared_answers(first, second))


def _leak(
    kind: Kind,
    first: Sequence[Mapping[str, Any]],
    index: int,
    second_row: int,
    row: Mapping[str, Any],
    share: float = 1.0,
) -> Leak:
    answers = {similarity.normalise(similarity.answer_of(one)) for one in (first[index], row)}
    return Leak(
        kind=kind,
        first_row=index + 1,
        second_row=second_row,
        share=round(share, 3),
        first_text=similarity.question_of(first[index]),
        second_text=similarity.question_of(row),
        is_same_answer=len(answers) == 1,
    )


def _shared_answers(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> int:
    known = Counter(similarity.normalise(similarity.answer_of(row)) for row in first)
    answers = [similarity.normalise(similarity.answer_of(row)) for row in second]
    return sum(bool(answer) and answer in known for answer in answers)

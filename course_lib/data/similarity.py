"""When two texts are the same, or nearly: what audit, split and leak report compare by."""

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from course_lib.data import tool_calls

NEAR = 0.8  # share of shingles that two texts have in common, from which on they are nearly equal
SHINGLE = 3  # characters; works for every script, and one typing error touches few of them
COMMON_RARE = 4  # more means fewer comparisons and a larger index
COMPARED_CHARS = 1000  # of a text's start: two long texts that begin alike are nearly equal
_APOSTROPHES = str.maketrans("", "", "'\u2018\u2019\u02bc`\u00b4")
_KEPT_PUNCTUATION = frozenset("-/*%&@#")  # "3 - 4" is not "3 4"


def question_of(row: Mapping[str, Any]) -> str:
    """What a row asks, by which rows are compared.

    Args:
        row: with `messages` or `text`.

    Returns:
        The user's first message, or the whole plain text.
    """
    if "text" in row:
        return row["text"]
    return next((tool_calls.whole_content(m) for m in row["messages"] if m["role"] == "user"), "")


def answer_of(row: Mapping[str, Any]) -> str:
    """The assistant's first words in a row; empty for plain text.

    Args:
        row: with `messages` or `text`.
    """
    messages = row.get("messages", ())
    return next((tool_calls.whole_content(m) for m in messages if m["role"] == "assistant"), "")


def system_of(row: Mapping[str, Any]) -> str:
    """The system texts of a row, one below the other.

    Args:
        row: with `messages` or `text`.
    """
    messages = row.get("messages", ())
    return "\n".join(tool_calls.whole_content(m) for m in messages if m["role"] == "system")


def normalise(text: str) -> str:
    """A text without what does not change a question: case, punctuation, blanks, full width.

    Args:
        text: anything.

    Returns:
        Words with one blank between them. Signs such as + and - stay; a text of punctuation
        alone stays as it is.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    kept = "".join(" " if _is_left_out(char) else char for char in folded)
    return " ".join(kept.split()) or " ".join(folded.split())


def _is_left_out(char: str) -> bool:
    is_punctuation = unicodedata.category(char)[0] in "PC" and char not in _KEPT_PUNCTUATION
    return is_punctuation and not char.isspace()


def shingles(text: str) -> frozenset[str]:
    """All pieces of `SHINGLE` characters of a normalised text.

    Args:
        text: from `normalise`; only its first `COMPARED_CHARS` count.
    """
    text = f" {text[:COMPARED_CHARS]} "
    return frozenset(text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1)))


class NearIndex:
    """Finds the texts that have at least a share `threshold` of their shingles in common.

    The share is Jaccard's: shingles in both, of those in either. Nothing near is missed: such
    texts have some of their rarest shingles in common, so only texts that do are compared.

    Source: prefix filtering, Bayardo, Ma and Srikant, "Scaling up all pairs similarity search",
    2007; with prefixes that must share `COMMON_RARE`, Wang, Li and Feng, "Can we beat the prefix
    filtering?", 2012.
    """

    def __init__(
        self, texts: Sequence[str], threshold: float = NEAR, is_filled: bool = True
    ) -> None:
        """Make an index.

        Args:
            texts: normalised; all that will be looked for or found.
            threshold: see above.
            is_filled: hold all texts at once; else each is found once it was added.
        """
        self.threshold = threshold
        self._sets = [shingles(text) for text in texts]
        self._counts = Counter(piece for pieces in self._sets for piece in pieces)
        self._holders: dict[str, list[int]] = defaultdict(list)
        for index in range(len(texts) if is_filled else 0):
            self.add(index)

    def add(self, index: int) -> None:
        """Let a text be found.

        Args:
            index: its place among the texts.
        """
        for piece in self._rarest(self._sets[index]):
            self._holders[piece].append(index)

    def _needed(self, pieces: frozenset[str]) -> int:
        """How many of these shingles a near text must have."""
        return math.ceil(self.threshold * len(pieces) - 1e-9)

    def _rarest(self, pieces: frozenset[str]) -> list[str]:
        """So many of the rarest that a near text has at least `COMMON_RARE` of them, too, there."""
        ordered = sorted(pieces, key=lambda piece: (self._counts[piece], piece))
        return ordered[: len(ordered) - self._needed(pieces) + COMMON_RARE]

    def near(self, text: str) -> Iterator[tuple[int, float]]:
        """Find the texts near one.

        Args:
            text: from `normalise`.

        Yields:
            Index and share of each, in the order of the texts.
        """
        mine = shingles(text)
        common: Counter[int] = Counter()
        for piece in self._rarest(mine):
            common.update(self._holders.get(piece, ()))
        enough = min(COMMON_RARE, self._needed(mine))
        for index in sorted(index for index, count in common.items() if count >= enough):
            shared = self._share(mine, self._sets[index])
            if shared >= self.threshold:
                yield index, shared

    def _share(self, mine: frozenset[str], other: frozenset[str]) -> float:
        fewer, more = sorted((len(mine), len(other)))
        if fewer < self.threshold * more:
            return 0.0
        both = len(mine & other)
        return both / (len(mine) + len(other) - both)


def near_pairs(texts: Sequence[str], threshold: float = NEAR) -> Iterator[tuple[int, int, float]]:
    """Find all pairs of texts that are nearly equal; there can be very many.

    Args:
        texts: normalised and all different.
        threshold: see `NearIndex`.

    Yields:
        Index of the earlier text, index of the later one, and their share.
    """
    index = NearIndex(texts, threshold, is_filled=False)
    for later, text in enumerate(texts):
        for earlier, share in index.near(text):
            yield earlier, later, share
        index.add(later)


def near_links(texts: Sequence[str], threshold: float = NEAR) -> Iterator[tuple[int, int, float]]:
    """Link nearly equal texts to the first of their kind: quick, and at most one for each text.

    Args:
        texts: normalised and all different.
        threshold: see `NearIndex`.

    Yields:
        Index of a text that has no link itself, index of a later one near it, and their share.
    """
    index = NearIndex(texts, threshold, is_filled=False)
    for later, text in enumerate(texts):
        first = next(index.near(text), None)
        if first:
            yield first[0], later, first[1]
        else:
            index.add(later)

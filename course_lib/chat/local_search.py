"""Search over texts on this machine, by the words that they share with the question.

BM25 by the library bm25s; what is ours is how words are cut: English by blanks, Chinese into
pairs of characters, because it writes no blanks.

Source: Robertson and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from course_lib.chat import tools
from course_lib.errors import DataError

_WORDS = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]+")
NOTHING = "No result."
MAX_QUERY_CHARS = 1_000
MIN_SHARE = 1 / 3
_FILLERS = """
a an and are at by did do does for from how in is it its of on or that the this to was were what
when where which who with
"""


class Index:
    """Texts that can be searched.

    Args:
        articles: title and text of each.
        min_share: of what a query's words tell together, an article must have so much.

    Raises:
        DataError: there is none, or one is empty; names its number.
    """

    def __init__(self, articles: Sequence[tuple[str, str]], min_share: float = MIN_SHARE) -> None:
        import bm25s  # with scipy or numba at hand it takes longer: only for a search

        self._min_share = min_share
        self.articles = [(str(title), str(text)) for title, text in articles]
        words = [to_words(f"{title} {text}") for title, text in self.articles]
        empty = [number for number, found in enumerate(words, 1) if not found]
        if empty or not words:
            what = f"article {empty[0]} has no words" if empty else "there are no articles"
            raise DataError(f"Nothing to search: {what}.", "Give a title and a text for each.")
        self._words = [set(found) for found in words]
        self._counts = Counter(word for found in self._words for word in found)
        self._bm25 = bm25s.BM25(method="lucene")
        self._bm25.index(words, show_progress=False)

    def search(self, query: str, count: int = 1) -> list[tuple[str, str]]:
        """The articles that fit a query best.

        Args:
            query: a few words.
            count: how many at most.

        Returns:
            Title and text of each, the best first; equals stay in their order. Articles that
            have too little of the query are left out.
        """
        words = to_words(query[:MAX_QUERY_CHARS])
        known = [word for word in words if word in self._counts]
        if not known:
            return []
        scores = self._bm25.get_scores(known).tolist()
        best = sorted(range(len(scores)), key=lambda place: (-scores[place], place))
        return [self.articles[place] for place in best[:count] if self._is_about(place, words)]

    def _is_about(self, place: int, words: Sequence[str]) -> bool:
        """Whether an article has enough of a query: "Fedel Bridge" is not any other bridge."""
        weights = {word: self._rarity(word) for word in words}
        shared = sum(weight for word, weight in weights.items() if word in self._words[place])
        return shared >= self._min_share * sum(weights.values())

    def _rarity(self, word: str) -> float:
        """How much a word tells, as in BM25: a word that no article has is the rarest.

        A pair of Chinese characters may just straddle two words, so an unknown one tells less.
        """
        count, n_articles = self._counts[word], len(self.articles)
        straddles = count == 0 and not word.isascii()
        weight = math.log(1 + (n_articles - count + 0.5) / (count + 0.5))
        return weight / 4 if straddles else weight


def to_words(text: str) -> list[str]:
    """Cut a text into what is compared.

    Args:
        text: English, Chinese or both.

    Returns:
        Words in small letters, without those that are everywhere; for Chinese each pair of
        neighbours, or a character alone.
    """
    words: list[str] = []
    for found in _WORDS.findall(text.lower()):
        is_whole = found[0].isascii() or len(found) == 1
        words += [found] if is_whole else map("".join, itertools.pairwise(found))
    return [word for word in words if word not in _FILLERS.split()]


def search_tool(
    articles: Sequence[tuple[str, str]], count: int = 1, name: str = "search"
) -> tools.Tool:
    """A tool that searches these articles.

    Args:
        articles: title and text of each.
        count: how many it shows of each search.
        name: what the model calls it.

    Returns:
        The tool; its result is the texts, one a line.

    Raises:
        DataError: there is nothing to search.
    """
    index = Index(articles)

    @tools.tool(name=name, zh="查找资料。")
    def work(query: str) -> str:
        """Finds a text.

        Args:
            query: a few words
        """
        return "\n".join(text for _, text in index.search(query, count)) or NOTHING

    return work

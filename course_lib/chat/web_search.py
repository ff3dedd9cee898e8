"""Google search through the Serper API, live or replayed from a file.

Replay is the default: a lesson must give the same results to everyone, offline. A live search needs
a key in the environment variable SERPER_API_KEY and the learner's word. The key goes into one
request header and nowhere else.

Source: Serper's API (https://serper.dev): POST /search with {"q", "num"} and the header X-API-KEY;
the answer has `answerBox`, `knowledgeGraph` and `organic`, a list of {title, link, snippet}.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import httpx

from course_lib import files
from course_lib.chat import local_search, tools
from course_lib.errors import DataError, EnvironmentProblem

URL = "https://google.serper.dev/search"
KEY_VARIABLE = "SERPER_API_KEY"
RECORDED = files.DATA_DIR / "agent" / "recorded_search.jsonl"
MAX_BYTES = 2_000_000  # of an answer; a real one has some 20,000
MAX_WAIT_S = 5.0  # a server may ask for more between two attempts
WORTH_RETRYING = {429, 500, 502, 503, 504}
_NOT_IN_QUERIES = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Found:
    """One result of a search."""

    title: str
    snippet: str
    link: str = ""


class Engine(Protocol):
    """What a search tool needs."""

    def search(self, query: str, count: int) -> list[Found]:
        """The best results, at most so many."""


class SerperEngine:
    """Live search.

    Args:
        key: of the account; that of the environment when None.
        url: where the API answers.
        timeout_s: for each attempt.
        attempts: how often a search is tried while the server is busy or out of reach.
        wait_s: before the second attempt; it doubles from then on.
        sleep: waits; a test needs not.

    Raises:
        EnvironmentProblem: there is no key.
    """

    def __init__(
        self,
        key: str | None = None,
        url: str = URL,
        timeout_s: float = 5.0,
        attempts: int = 3,
        wait_s: float = 0.5,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        key = (os.environ.get(KEY_VARIABLE, "") if key is None else key).strip()
        if not key or not key.isascii() or not key.isprintable():
            found = "holds signs that no key has" if key else "is not set"
            raise EnvironmentProblem(
                f"Live search needs a key, and {KEY_VARIABLE} {found}.",
                f"Get one at https://serper.dev and set {KEY_VARIABLE}, or use recorded results.",
            )
        self._key, self.url = key, url
        self.timeout_s, self.attempts, self.wait_s, self._sleep = timeout_s, attempts, wait_s, sleep

    @cached_property
    def _client(self) -> httpx.Client:
        # No redirects: the key belongs to this address alone.
        return httpx.Client(timeout=self.timeout_s, follow_redirects=False)

    def __repr__(self) -> str:
        return f"SerperEngine({self.url!r})"

    def search(self, query: str, count: int) -> list[Found]:
        """Ask Google.

        Args:
            query: a few words.
            count: how many results at most.

        Returns:
            The results, Google's own answer first when it has one.

        Raises:
            EnvironmentProblem: the server cannot be reached, refuses, or answers with what is
                no answer; says which, and never the key.
        """
        problem = None
        for number in range(self.attempts):
            if problem is not None:
                self._sleep(min(problem.wait_s or self.wait_s * 2 ** (number - 1), MAX_WAIT_S))
            try:
                return read_answer(self._ask(query, count))[:count]
            except _Trouble as trouble:
                problem = trouble
                if not trouble.is_passing:
                    break
        assert problem is not None
        message = problem.message.replace(self._key, "***")
        raise EnvironmentProblem(message, problem.next_step) from None

    def _ask(self, query: str, count: int) -> str:
        """One attempt; returns the text of the answer."""
        end_s = time.monotonic() + self.timeout_s
        headers = {"X-API-KEY": self._key, "Accept": "application/json"}
        body = {"q": query[:500], "num": count}
        try:
            with self._client.stream("POST", self.url, json=body, headers=headers) as answer:
                _check_status(answer)
                text = b""
                for piece in answer.iter_bytes():
                    text += piece
                    if len(text) > MAX_BYTES:
                        raise _Trouble(f"The answer has more than {MAX_BYTES:,} bytes.")
                    if time.monotonic() > end_s:
                        raise httpx.ReadTimeout("")
        except httpx.TimeoutException:
            raise _Trouble(
                f"No answer within {self.timeout_s:g} s.", "Try again later.", True
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _Trouble(
                f"The search server cannot be reached ({type(error).__name__}).",
                "Look at the network, or use recorded results.",
                isinstance(error, httpx.TransportError),
            ) from None
        return text.decode("utf-8", "replace").replace(self._key, "***")


class _Trouble(Exception):
    """What went wrong with one attempt, and whether another one may help."""

    def __init__(
        self, message: str, next_step: str = "", is_passing: bool = False, wait_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.message, self.next_step = message, next_step
        self.is_passing, self.wait_s = is_passing, wait_s


def _check_status(answer: httpx.Response) -> None:
    status = answer.status_code
    if status == 200:
        return
    if status in (401, 403):
        raise _Trouble(
            f"The search server refuses the key (HTTP {status}).",
            f"Look at {KEY_VARIABLE}; a key may also be blocked or used up.",
        )
    if status == 429:
        message = "The search server takes no more searches for now (HTTP 429)."
    else:
        message = f"The search server answers HTTP {status}."
    asked = answer.headers.get("Retry-After", "")
    wait_s = float(asked) if asked.isdecimal() and len(asked) < 6 else 0.0
    raise _Trouble(message, "Try again later.", status in WORTH_RETRYING, wait_s)


def read_answer(text: str) -> list[Found]:
    """Read what Serper answers.

    Args:
        text: JSON.

    Returns:
        The results; what has neither a title nor a text is left out.

    Raises:
        EnvironmentProblem: it is no such answer.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise EnvironmentProblem(
            "The search server's answer is no JSON object.", "Try again later."
        )
    box, graph = answer.get("answerBox"), answer.get("knowledgeGraph")
    found = [_to_found(box, "answer", "snippet"), _to_found(graph, "description")]
    organic = answer.get("organic")
    found += [_to_found(one, "snippet") for one in organic] if isinstance(organic, list) else []
    return [one for one in found if one is not None]


def _to_found(value: Any, *fields: str) -> Found | None:
    if not isinstance(value, Mapping):
        return None
    texts = [value.get(field) for field in ("title", "link", *fields)]
    title, link, *more = [" ".join(t.split()) if isinstance(t, str) else "" for t in texts]
    snippet = next(filter(None, more), "")
    return Found(title, snippet, link) if title or snippet else None


# --- recorded results ----------------------------------------------------------------------------


class RecordedEngine:
    """Search results from a file: the same for everyone, offline.

    Args:
        path: a file that `record` or a person wrote.

    Raises:
        DataError: the file is missing or a line is not as expected; names it.
    """

    def __init__(self, path: Path | str = RECORDED) -> None:
        self.results = dict(read_recorded(Path(path)))
        # Stricter than among texts: the capital of another country is another question.
        queries = [(query, query) for query in self.results]
        self._index = local_search.Index(queries, min_share=0.5)
        self._queries = {_normal(query): query for query in self.results}

    def search(self, query: str, count: int) -> list[Found]:
        """The results recorded for this query, or for the one most like it.

        Args:
            query: a few words.
            count: how many results at most.

        Returns:
            The results; none when no recorded query has enough of the words.
        """
        known = self._queries.get(_normal(query))
        if known is None:
            known = next((title for title, _ in self._index.search(query)), None)
        return self.results[known][:count] if known is not None else []


def record(engine: Engine, queries: Sequence[str], path: Path, count: int = 5) -> None:
    """Search, and keep the results in a file for replay.

    Args:
        engine: a live one.
        queries: what to search for; those that the file has already are searched anew.
        path: the file, new or to add to.
        count: results of each search.

    Raises:
        EnvironmentProblem: a search failed; the file stays as it was.
    """
    kept = dict(read_recorded(path)) if path.exists() else {}
    kept |= {query: engine.search(query, count) for query in queries}
    files.write_atomic(path, to_lines(kept))


def to_lines(results: Mapping[str, Sequence[Found]]) -> str:
    """Recorded results as a file's text: the same results give the same bytes.

    Args:
        results: by query.

    Returns:
        One JSON object a line, in the order of the queries.
    """
    rows = [
        {"query": query, "results": [asdict(one) for one in results[query]]}
        for query in sorted(results)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_recorded(path: Path) -> Iterator[tuple[str, list[Found]]]:
    """Read recorded results.

    Args:
        path: the file.

    Yields:
        Each query with its results.

    Raises:
        DataError: the file is missing, or a line is not as expected; names it.
    """
    if not path.is_file():
        raise DataError(
            f"There are no recorded search results at {path}.",
            "Record some with web_search.record, or search live.",
        )
    for number, row in enumerate(files.read_jsonl(path), 1):
        try:
            yield str(row["query"]), [Found(**one) for one in row["results"]]
        except (KeyError, TypeError):
            raise DataError(
                f"{path}, line {number}: no recorded search.",
                'Write {"query": "...", "results": [{"title", "snippet", "link"}]}.',
            ) from None


def _normal(query: str) -> str:
    return _NOT_IN_QUERIES.sub(" ", query.casefold()).strip()


# --- the tool ------------------------------------------------------------------------------------


def web_search_tool(engine: Engine, count: int = 3, name: str = "web_search") -> tools.Tool:
    """A tool that searches the web.

    Args:
        engine: live or recorded.
        count: how many results it shows.
        name: what the model calls it.

    Returns:
        The tool; its result is one line for each thing found.
    """

    @tools.tool(name=name, zh="上网搜索。", time_limit_s=30)
    def work(query: str) -> str:
        """Searches the web.

        Args:
            query: a few words
        """
        if not query.strip():
            raise ValueError("the query is empty")
        return "\n".join(map(_line, engine.search(query, count))) or local_search.NOTHING

    return work


def _line(found: Found) -> str:
    link = f" ({found.link})" if found.link else ""
    return ": ".join(filter(None, [found.title, found.snippet])) + link

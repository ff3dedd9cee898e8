"""The training texts in shards, made side by side: the same texts for any number of workers."""

import hashlib
import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from course_lib.pico import corpus, marks, tokenizer, wording

TEXTS_PER_SHARD = 2000
MARK_SHARE = {"dialogues": 0.015, "plain": 0.04}  # texts that show rare signs and words


@dataclass(frozen=True)
class Corpus:
    """Texts in order; `dropped` more held a held-out question and were left out."""

    texts: tuple[str, ...]
    dropped: int
    sha256: str


@dataclass(frozen=True)
class _Task:
    kind: str
    count: int
    seed: str
    held_out: frozenset[str]


def make_corpus(
    kind: str, count: int, seed: int, held_out: frozenset[str], workers: int = 1
) -> Corpus:
    """Make the texts of one kind.

    Args:
        kind: "dialogues" (rendered with the chat template's marks) or "plain".
        count: texts to draw; those with a held-out question are left out.
        seed: for all shards; each has a seed of its own made from it and its number.
        held_out: normalised questions that must not occur.
        workers: processes; 1 works in this one.

    Returns:
        The texts, and a hash that names exactly these texts.
    """
    tasks = [
        _Task(kind, min(TEXTS_PER_SHARD, count - start), f"{kind} {seed} {start}", held_out)
        for start in range(0, count, TEXTS_PER_SHARD)
    ]
    texts: list[str] = []
    digest = hashlib.sha256()
    for shard in _run(tasks, workers):
        texts += shard
        for text in shard:
            digest.update(text.encode() + b"\0")
    return Corpus(tuple(texts), count - len(texts), digest.hexdigest())


def _run(tasks: list[_Task], workers: int) -> Iterator[list[str]]:
    if workers == 1:
        yield from map(_make_shard, tasks)
        return
    # Fresh processes: a fork could copy a lock that a thread of torch holds.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(_make_shard, tasks)


def _make_shard(task: _Task) -> list[str]:
    rng = random.Random(task.seed)
    texts = (_MAKERS[task.kind](rng) for _ in range(task.count))
    return [text for text in texts if not _holds(text, task.held_out)]


def _holds(text: str, held_out: frozenset[str]) -> bool:
    """Whether a line of a text is a held-out question."""
    lines = text.replace(tokenizer.END_TURN, "\n").split("\n")
    return any(wording.normalize(line) in held_out for line in lines)


def _make_dialogue(rng: random.Random) -> str:
    is_mark = rng.random() < MARK_SHARE["dialogues"]
    return tokenizer.render(marks.repeat(rng) if is_mark else corpus.chat_dialogue(rng))


def _make_passage(rng: random.Random) -> str:
    is_mark = rng.random() < MARK_SHARE["plain"]
    return marks.page(rng) if is_mark else corpus.plain_document(rng)


_MAKERS: Mapping[str, Callable[[random.Random], str]] = {
    "dialogues": _make_dialogue,
    "plain": _make_passage,
}

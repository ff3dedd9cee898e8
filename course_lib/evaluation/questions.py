"""Held-out questions, and what counts as a right answer."""

import random
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib import files
from course_lib.errors import DataError

LEADING_WORDS = ("the ", "a ", "an ", "to ")
TEXT_FIELDS = ("prompt", "expected", "language", "kind")


@dataclass(frozen=True)
class Question:
    """One held-out question; `any_of` holds other words that are right as well."""

    prompt: str
    expected: str
    language: str
    kind: str
    relation: str = ""
    any_of: tuple[str, ...] = ()

    @property
    def answers(self) -> tuple[str, ...]:
        """All words of which one must stand in a right reply."""
        return (self.expected, *self.any_of)


def load_questions(
    path: Path, kinds: Collection[str] | None = None, language: str | None = None
) -> list[Question]:
    """Read questions from a JSON-lines file.

    Args:
        path: one object a line: prompt, expected, language, kind; perhaps relation and any_of.
        kinds: keep these kinds only; all when None.
        language: keep this language only, `"en"` or `"zh"`; all when None.

    Returns:
        The questions in the file's order.

    Raises:
        DataError: a field is missing or has another type (names the row), or nothing is left.
    """
    records = files.read_jsonl(path)
    questions = [_to_question(path, row, record) for row, record in enumerate(records, 1)]
    kept = [
        q
        for q in questions
        if (kinds is None or q.kind in kinds) and (language is None or q.language == language)
    ]
    if not kept:
        found = sorted({(q.kind, q.language) for q in questions})
        raise DataError(
            f"{path} has no question of kinds {kinds or 'any'} in language {language or 'any'}.",
            f"It has (kind, language): {found}.",
        )
    return kept


def sample_questions(questions: Sequence[Question], n: int, seed: int) -> list[Question]:
    """Draw questions so that every language gets the same number, give or take one.

    Args:
        questions: where to draw from.
        n: how many; a language that has too few leaves its places to the others.
        seed: the same seed draws the same questions.

    Returns:
        `n` different questions, the languages taking turns.

    Raises:
        DataError: there are fewer than `n`.
    """
    if not 0 < n <= len(questions):
        raise DataError(
            f"{n} questions are asked for, {len(questions)} are there.",
            f"Ask for 1 to {len(questions)}.",
        )
    rng = random.Random(seed)
    by_language = defaultdict(list)
    for question in questions:
        by_language[question.language].append(question)
    decks = [rng.sample(deck, len(deck)) for _, deck in sorted(by_language.items())]
    drawn: list[Question] = []
    while len(drawn) < n:
        drawn += [deck.pop() for deck in decks if deck]
    return drawn[:n]


def is_hit(reply: str, expected: str | Sequence[str]) -> bool:
    """Say whether a reply contains the expected answer.

    Capitals and a leading article do not matter. Latin words and numbers must stand whole
    ("cat" is not in "category", 2 is not in 12 or 2.5); Chinese has no spaces between words,
    so there the expected text may stand anywhere.

    Args:
        reply: what the model said.
        expected: the answer, or several of which one is enough.

    Returns:
        True when one expected answer is in the reply.

    Raises:
        DataError: an expected answer is empty, so every reply would be right.
    """
    answers = (expected,) if isinstance(expected, str) else tuple(expected)
    plain_answers = [_drop_leading_word(_to_plain(answer)) for answer in answers]
    if not plain_answers or not all(plain_answers):
        raise DataError(
            f"The expected answer is empty in {answers!r}: every reply would be right.",
            "Write at least one word that a right reply must contain.",
        )
    plain_reply = _to_plain(reply)
    return any(_contains(plain_reply, answer) for answer in plain_answers)


def share_right(questions: Sequence[Question], replies: Sequence[str]) -> float:
    """Score replies.

    Args:
        questions: what was asked.
        replies: one text for each question, in the same order.

    Returns:
        The share of right replies, 0 to 1.

    Raises:
        DataError: no question, or another number of replies.
    """
    if not questions or len(questions) != len(replies):
        raise DataError(
            f"{len(questions)} questions and {len(replies)} replies cannot be compared.",
            "Give one reply for each question, and at least one question.",
        )
    hits = [is_hit(r, q.answers) for q, r in zip(questions, replies, strict=True)]
    return sum(hits) / len(hits)


def _to_plain(text: str) -> str:
    # NFKC turns full-width digits and letters, usual in Chinese typing, into plain ones.
    plain = unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower()
    return " ".join(plain.split())


def _drop_leading_word(answer: str) -> str:
    for word in LEADING_WORDS:
        answer = answer.removeprefix(word)
    return answer


def _contains(reply: str, answer: str) -> bool:
    # A boundary is asked for only where the answer itself ends in a Latin letter or a digit:
    # "3月" needs one before the 3, none behind the month sign.
    before = r"(?<![0-9a-z\u00c0-\u024f])" if _is_latin(answer[0]) else ""
    after = r"(?![0-9a-z\u00c0-\u024f])" if _is_latin(answer[-1]) else ""
    if answer[0].isdigit():  # not inside 1.5, 1,500 or -5; "8-5" does contain 5
        before += r"(?<![0-9][.,])(?<!(?<![0-9])-)"
    if answer[-1].isdigit():
        after += r"(?![.,][0-9])"
    return re.search(before + re.escape(answer) + after, reply) is not None


def _is_latin(character: str) -> bool:
    return character.isdigit() or "a" <= character <= "z" or "\u00c0" <= character <= "\u024f"


def _to_question(path: Path, row: int, record: dict[str, Any]) -> Question:
    for name in TEXT_FIELDS:
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise DataError(
                f"{path}, row {row}: {name} is {record.get(name)!r}, expected a text.",
                f"Each row needs {', '.join(TEXT_FIELDS)}.",
            )
    any_of = record.get("any_of", [])
    if not isinstance(any_of, list) or not all(isinstance(a, str) and a.strip() for a in any_of):
        raise DataError(
            f"{path}, row {row}: any_of is {any_of!r}, expected a list of texts.",
            'Write for example "any_of": ["not sure", "cannot know"], or leave it out.',
        )
    fields = {name: record[name] for name in TEXT_FIELDS}
    return Question(**fields, relation=record.get("relation", ""), any_of=tuple(any_of))

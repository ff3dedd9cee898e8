"""A small corpus of conversations in the shape of oasst1, for lesson 02, drawn from pico's world.

`python -m course_lib.pico.oasst` writes the files of data/oasst1 again, the same to the last byte.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib import files
from course_lib.data import leaks, similarity
from course_lib.pico import corpus, world
from course_lib.pico.talk import Message

Row = dict[str, Any]

PARTS = {"train": 800, "validation": 60, "held_out": 80}  # rows, half English and half Chinese
SEED = 2
MARKS = {"user": "### Human: ", "assistant": "### Assistant: "}
MOST_CHARACTERS = {"en": 520, "zh": 220}  # of a row: it fits into 256 of pico's tokens
# How many dialogues a row joins, and how often: most of oasst1's rows have one to three questions.
JOINED = (1, 1, 1, 2, 2, 3)
OPEN_SHARE = 0.05  # of the training rows: they end with a question that nobody answered
# Reading is left out: its texts are long.
KINDS = tuple(kind for kind in corpus.LONG_KINDS if kind != "reading")
_WEIGHTS = [corpus.DIALOGUE_KINDS[kind][1] for kind in KINDS]


def conversation(rng: random.Random, language: str) -> list[Message]:
    """A conversation of one to eight questions, each with its answer.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        Messages of user and assistant in turn; nobody says who the assistant is or writes the
        format's own mark.
    """
    while True:
        messages: list[Message] = []
        for kind in rng.choices(KINDS, _WEIGHTS, k=rng.choice(JOINED)):
            messages += corpus.DIALOGUE_KINDS[kind][0](rng, language)
        is_short = len(to_text(messages)) <= MOST_CHARACTERS[language]
        has_mark = any("###" in message["content"] for message in messages)
        if is_short and not has_mark and not corpus.tells_identity(messages):
            return messages


def to_text(messages: Sequence[Message]) -> str:
    """Write a conversation in one line of text, as openassistant-guanaco does.

    Args:
        messages: of user and assistant.

    Returns:
        "### Human: ...### Assistant: ..."
    """
    return "".join(MARKS[message["role"]] + message["content"] for message in messages)


def make_parts(seed: int = SEED) -> dict[str, list[dict[str, str]]]:
    """Draw all rows; no part repeats what another one asks first, nor an answered question of it.

    Args:
        seed: the same seed gives the same rows.

    Returns:
        Rows `{"text": ...}` of each part, English and Chinese taking turns.
    """
    rng = random.Random(seed)
    drawn: dict[str, list[Row]] = {}
    for part, count in PARTS.items():
        known = [row for rows in drawn.values() for row in rows]
        drawn[part] = _draw_rows(rng, count, known)
    texts = {part: [to_text(row["messages"]) for row in rows] for part, rows in drawn.items()}
    texts["train"] = [_leave_open(rng, text, n) for n, text in enumerate(texts["train"])]
    return {part: [{"text": text} for text in lines] for part, lines in texts.items()}


def _draw_rows(rng: random.Random, count: int, known: Sequence[Row]) -> list[Row]:
    answered = {pair for row in known for pair in _pairs(row)}
    found: dict[str, Row] = {}
    while len(found) < count:
        row = {"messages": conversation(rng, world.LANGUAGES[len(found) % 2])}
        key = similarity.normalise(similarity.question_of(row))
        is_known = answered & _pairs(row) or leaks.find_leaks(known, [row]).leaks
        if key not in found and not is_known:
            found[key] = row
    return list(found.values())


def _pairs(row: Row) -> set[tuple[str, str]]:
    """The questions of a row, each with its answer."""
    texts = [message["content"] for message in row["messages"]]
    return set(zip(texts[::2], texts[1::2], strict=True))


def _leave_open(rng: random.Random, text: str, number: int) -> str:
    """Now and then the last question has no answer, as in some rows of the real data."""
    if rng.random() >= OPEN_SHARE:
        return text
    ask, _ = corpus.DIALOGUE_KINDS["courtesy"][0](rng, world.LANGUAGES[number % 2])[:2]
    return text + MARKS["user"] + ask["content"]


def write_parts(out_dir: Path) -> list[Path]:
    """Write all parts as JSON lines.

    Args:
        out_dir: the folder; files in it are replaced.

    Returns:
        The files.
    """
    paths = []
    for part, rows in make_parts().items():
        paths.append(out_dir / f"{part}.jsonl")
        files.write_jsonl(paths[-1], rows)
    return paths


def main(argv: Sequence[str] | None = None) -> None:
    """Write the corpus.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = argparse.ArgumentParser(prog="python -m course_lib.pico.oasst", description=__doc__)
    parser.add_argument("--out", type=Path, default=files.DATA_DIR / "oasst1", help="a folder")
    write_parts(parser.parse_args(argv).out)


if __name__ == "__main__":
    main()

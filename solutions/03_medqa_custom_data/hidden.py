"""Hidden checks of lesson 03: other cases, and the corners. No learner's process sees them."""

import random
from fractions import Fraction
from typing import Any

from course_lib.homework import judges_03, lesson_03
from course_lib.homework.checks import Ask, check

ODD_TEXTS = (
    'She said "no"',
    "a\\b\tc",
    "line one\nline two\r\n",
    "两片，每日",
    "\u2028",
    "{'a': 1},",
    "",
)


@check("rows_to_jsonl", points=1)
def check_other_lines(ask: Ask) -> None:
    """No rows, rows that look like JSON or end in commas, nested fields, more rows than two."""
    judges_03.judge_jsonl(ask("rows_to_jsonl", []), [])
    draw = random.Random(3)
    rows: list[dict[str, Any]] = [
        {"text": text, "n": [n, None, True]} for n, text in enumerate(ODD_TEXTS)
    ]
    rows += [{draw.choice(ODD_TEXTS): draw.random(), "deep": {"x": [[]]}} for _ in range(20)]
    judges_03.judge_jsonl(ask("rows_to_jsonl", rows), rows)


@check("invented_rates", points=2)
def check_other_answers(ask: Ask) -> None:
    """One kind only, none at all, capitals in the list itself, answers drawn by lot."""
    nothing = ask("invented_rates", [], lesson_03.KNOWN, lesson_03.ADMISSIONS)
    judges_03.judge_shares(nothing, (None, None), (0, 0))
    lesson_03.judge_rates(
        ask, [("trixlebex", "It is blue."), ("rax", "Never heard of it")], (0.5, None)
    )
    lesson_03.judge_rates(ask, [("ZINC", "Zinc helps."), ("Ibuprofen", "It helps.")], (None, 0.0))
    draw = random.Random(4)
    for _ in range(8):
        said, counts = [], {True: [0, 0], False: [0, 0]}
        for number in range(draw.randint(8, 30)):
            is_real, admits = number in (0, 1) or draw.random() < 0.4, draw.random() < 0.3
            counts[is_real][0] += admits
            counts[is_real][1] += 1
            name = draw.choice(lesson_03.KNOWN) if is_real else f"{draw.choice(lesson_03.KNOWN)}ex"
            said.append((_typed(draw, name), _typed(draw, _reply(draw, name, admits))))
        admitted, n_unknown = counts[False]
        refused, n_real = counts[True]
        invented = (n_unknown - admitted) / n_unknown if n_unknown else None
        lesson_03.judge_rates(ask, said, (invented, refused / n_real))


def _reply(draw: random.Random, name: str, admits: bool) -> str:
    words = ("I don't know {}.", "I don’t know it, sorry.", "I have never heard of {}.")
    return draw.choice(words).format(name) if admits else f"{name} is known for its blue packs."


def _typed(draw: random.Random, text: str) -> str:
    return draw.choice([text, text.upper(), text.title(), f" {text} "])


@check("sheet_rows", points=2)
def check_other_sheets(ask: Ask) -> None:
    """Columns moved, a title like a name, short rows, a merged cell of a row left out, by lot."""
    grid: list[list[Any]] = [
        ["Question"],
        ["Answer", "Question", "see below"],
        [],
        ["URL", "answer", "URL", "DRUG", "Question "],
        ["u", "C2", None, "zinc"],
        ["u", 2.5, None, None, "How many\ngrams?"],
        ["u", "Sour.", None, "  ", "What does it\u00a0taste of?"],
        [None, "B1", "x", "iron", "Where is iron?"],
    ]
    names = ["Drug", "Question", "Answer"]
    notes = ["Its name stands in a row that is left out.", "", ""]
    right = [
        {"Drug": "zinc", "Question": "How many\ngrams?", "Answer": "2.5"},
        {"Drug": "zinc", "Question": "What does it\u00a0taste of?", "Answer": "Sour."},
        {"Drug": "iron", "Question": "Where is iron?", "Answer": "B1"},
    ]
    judges_03.judge_sheet(ask("sheet_rows", grid, names, ["Drug"]), right, notes)
    alone = ask("sheet_rows", grid, names)
    note = ["Nothing is merged here: a blank cell stays blank."]
    judges_03.judge_sheet(alone, right[2:], note)
    draw = random.Random(5)
    for _ in range(6):
        _check_drawn(ask, draw)


def _check_drawn(ask: Ask, draw: random.Random) -> None:
    names = [f"Column {letter}" for letter in draw.sample("PQRSTU", 3)]
    order = [*names, "Other", "Other"]
    draw.shuffle(order)
    messy = draw.choice([str.upper, str.lower, lambda name: f"  {name.replace(' ', '   ')} "])
    grid: list[list[Any]] = [["A title"] for _ in range(draw.randint(0, 3))]
    grid.append([messy(name) for name in order])
    right = []
    for number in range(12):
        is_blank = draw.random() < 0.3
        record = {name: f"{name[-1]}{number}" for name in names}
        shown = {**record, names[1]: draw.choice([None, "", " "])} if is_blank else record
        grid.append([shown.get(name, "aside") for name in order])
        right += [] if is_blank else [record]
    if right:
        judges_03.judge_sheet(ask("sheet_rows", grid, names), right, [""] * len(right))


WORDS = ("zinc", "iron", "is", "the", "of", "shelf", "dose", "it", "for", "用途")
MARKS = ("?", "!", " ,", "？", "--", "…", "")


@check("leak_kinds", points=2)
def check_other_leaks(ask: Ask) -> None:
    """Other scripts, hyphens, words that repeat, an order of words, questions drawn by lot."""
    train = ["阿司匹林的用途？", "Any side-effects?", "Is it bad?", "Vitamin B12"]
    test = [
        "阿司匹林的用途",
        "any  side effects",
        "Is it bad, bad, bad?",
        "is bad it",
        "Vitamin B1",
    ]
    kinds = ["normalised", "normalised", "near", "near", "new"]
    judges_03.judge_kinds(ask("leak_kinds", train, test), kinds, test)
    judges_03.judge_kinds(ask("leak_kinds", train, []), [], [])
    judges_03.judge_kinds(ask("leak_kinds", [], test), ["new"] * 5, test)
    draw = random.Random(6)
    for _ in range(6):
        train, test = ([_question(draw) for _ in range(n)] for n in (12, 25))
        judges_03.judge_kinds(ask("leak_kinds", train, test), [_kind(train, q) for q in test], test)


def _question(draw: random.Random) -> str:
    words = [
        draw.choice([word, word, word.title()])
        for word in draw.choices(WORDS, k=draw.randint(2, 7))
    ]
    return draw.choice([" ", " ", "  "]).join(words) + draw.choice(MARKS)


def _kind(train: list[str], question: str) -> str:
    for kind, holds in (("exact", str.__eq__), ("normalised", _is_same), ("near", _is_near)):
        if any(holds(question, other) for other in train):
            return kind
    return "new"


def _plain(text: str) -> list[str]:
    letters = [char if char.isalnum() else " " for char in text.casefold()]
    return "".join(letters).split()


def _is_same(one: str, other: str) -> bool:
    return _plain(one) == _plain(other)


def _is_near(one: str, other: str) -> bool:
    first, second = set(_plain(one)), set(_plain(other))
    return Fraction(len(first & second), len(first | second)) >= Fraction(4, 5)


@check("split_by_group", points=3)
def check_other_splits(ask: Ask) -> None:
    """Other ratios, one medicine with many rows, names of two scripts, sheets drawn by lot."""
    draw = random.Random(7)
    for ratio in ([8, 2], [1, 1], [483, 207], [19, 1], [3, 7]):
        names = [f"{draw.choice('abcdefgh药')}{number}" for number in range(draw.randint(30, 60))]
        groups = [name for name in names for _ in range(draw.choice([1, 1, 1, 2, 3, 9]))]
        draw.shuffle(groups)
        lesson_03.judge_seeded(ask, groups, ratio)
    for n in (10, 11, 20, 69, 100, 110, 690, 1000):
        single = [f"n{number}" for number in range(n)]
        for ratio in ([7, 3], [9, 1], [6, 4]):
            judges_03.judge_split(ask("split_by_group", single, ratio, n), single, ratio)
    large = ["giant"] * 30 + [f"small {number}" for number in range(70)]
    lesson_03.judge_seeded(ask, large, [7, 3])

"""Visible checks of lesson 03: JSON lines, invented medicines, a messy sheet, leaks, a split."""

from collections.abc import Sequence
from typing import Any

from course_lib.homework import judges_03
from course_lib.homework.checks import Ask, check, require

ROWS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "What is zinc?"}], "row": 4},
    {"messages": [{"role": "user", "content": "两行\n“药”"}], "row": 5, "type": None},
]


@check(
    "rows_to_jsonl",
    points=1,
    hints=[
        "json.dumps makes one line of one row. How often must it be called?",
        "A line break behind each row, the last one too: add it to each line before you join, then "
        "no rows make an empty text.",
    ],
)
def check_rows_to_jsonl(ask: Ask) -> None:
    """Two rows, one with a line break in a text; then one row."""
    judges_03.judge_jsonl(ask("rows_to_jsonl", ROWS), ROWS)
    judges_03.judge_jsonl(ask("rows_to_jsonl", ROWS[:1]), ROWS[:1])


KNOWN = ["aspirin", "Zinc", "ibuprofen"]
ADMISSIONS = ["not know", "don't know", "never heard"]
# Unknown names: 5 answers, 2 of them invented. Known names: 4 answers, 1 of them refused.
SAID = [
    ("querebex", "I do not know a medicine called querebex."),
    ("querebex", "Querebex is used for pain."),
    ("blimek", "I have never heard of it."),
    ("blimek", "Blimek stands on shelf B3."),
    ("vubbond", "I do not know it."),
    ("aspirin", "Aspirin is used for pain."),
    ("aspirin", "Aspirin stands on shelf C1."),
    ("Zinc", "I do not know a medicine called zinc."),
    ("ibuprofen", "Ibuprofen is used for fever."),
]


@check(
    "invented_rates",
    points=1,
    hints=[
        "Sort the answers into two lists first: names that are known, names that are not. Each "
        "share is of its own list.",
        "On an unknown name, an answer without an admission is invented. On a known one, an answer "
        "with an admission is a refusal.",
        "Make names, replies and admissions plain in the same way before you compare: "
        'strip().casefold(), and replace("’", "\'").',
    ],
)
def check_invented_rates(ask: Ask) -> None:
    """Nine answers; then capitals and blanks; then a printer's apostrophe."""
    judge_rates(ask, SAID, (2 / 5, 1 / 4))
    loud = [*SAID, ("blimek", "NEVER HEARD OF IT."), (" ASPIRIN ", "It is for pain.")]
    rule = "Capitals, and blanks around a name, make no difference."
    judge_rates(ask, loud, (2 / 6, 1 / 5), rule)
    curly = [*SAID, ("blimek", "I don’t know."), ("zinc", "I don’t know.")]
    judge_rates(ask, curly, (2 / 6, 2 / 5), "The apostrophe ’ counts as the one on the keyboard.")


def judge_rates(
    ask: Ask,
    said: Sequence[tuple[str, str]],
    right: tuple[float | None, float | None],
    rule: str = "",
) -> None:
    """Whether both shares are right for answers on the names of `KNOWN` and others.

    Args:
        ask: calls the learner's function.
        said: names and replies.
        right: the share of invented ones, and of refused ones.
        rule: what the case is about, to be said when a share is wrong.

    Raises:
        Wrong: says which share, and what it looks like.
    """
    given = [{"drug": drug, "reply": reply} for drug, reply in said]
    names = [drug.strip().casefold() for drug in KNOWN]
    n_known = sum(drug.strip().casefold() in names for drug, _ in said)
    found = ask("invented_rates", given, KNOWN, ADMISSIONS)
    judges_03.judge_shares(found, right, (len(said) - n_known, n_known), rule)


GRID: list[list[Any]] = [
    ["Medicine questions", None, None, None],
    ["Focus (Drug)", " question", "URL", "ANSWER  Text"],
    ["aspirin", " What is aspirin for?", "a.org", "Pain."],
    [None, "On which shelf is it?", None, "B3 "],
    [None, "How many packs are left?", None, 0],
    [None, None, None, None],
    ["zinc", "What is zinc?", "b.org", "  "],
    ["iron", "Which colour has iron?", None, "Grey."],
]
NAMES = ["Question", "Answer text", "Focus (Drug)"]
MERGED = "The name is in a merged cell: the blank cells below it mean the same."
READ = [
    ("What is aspirin for?", "Pain.", "aspirin", ""),
    ("On which shelf is it?", "B3", "aspirin", MERGED),
    ("How many packs are left?", "0", "aspirin", "Its answer is the number 0, which is not blank."),
    ("Which colour has iron?", "Grey.", "iron", ""),
]


@check(
    "sheet_rows",
    points=1,
    hints=[
        "Write a small function that makes a cell plain: None becomes an empty text, everything "
        "else str(cell).strip(). Use it for every cell, then 0 is not blank.",
        "The header is the first row in which every name stands. Compare "
        '" ".join(text.split()).casefold() on both sides, and note the place of each name.',
        "Keep the last text of each merged column. A blank cell in it gets that text, before you "
        "decide whether the row has a blank cell.",
    ],
)
def check_sheet_rows(ask: Ask) -> None:
    """A title, odd blanks in the header, a merged cell, the number 0, a blank row and answer."""
    right = [dict(zip(NAMES, row[:3], strict=True)) for row in READ]
    found = ask("sheet_rows", GRID, NAMES, NAMES[2:])
    judges_03.judge_sheet(found, right, [row[3] for row in READ])


TRAIN = [
    "What is aspirin used for?",
    "On which shelf is zinc kept in the shop?",
    "Does iron help much?",
]
TEST = [
    ("What is aspirin used for?", "exact"),
    ("what is  ASPIRIN used for", "normalised"),
    ("On which shelf is zinc kept in the shop today?", "near"),  # 9 words of 10
    ("Is zinc kept in the shop?", "new"),  # 6 of 9
    ("Does iron help very much?", "near"),  # 4 of 5
    ("Does iron help?", "new"),  # 3 of 4
]


@check(
    "leak_kinds",
    points=1,
    hints=[
        "Three questions for each test question, the strictest first: does it stand there as it "
        "is? When both are made plain? Is any training question near?",
        'Plain: "".join(c if c.isalnum() else " " for c in text.casefold()), then '
        '" ".join(... .split()). For both sides.',
        "Near: two sets of words. How many are in both (&), how many in either (|)? Divide; at "
        "least 0.8 is near.",
    ],
)
def check_leak_kinds(ask: Ask) -> None:
    """Six test questions; 0.8 itself is near, and part of a longer question is not."""
    test = [question for question, _ in TEST]
    judges_03.judge_kinds(ask("leak_kinds", TRAIN, test), [kind for _, kind in TEST], test)


DRUGS = ["aspirin"] * 3 + ["zinc"] * 2 + ["iron", "iodine", "zinc", "aspirin", "ibuprofen"]
DRUGS += ["ibuprofen", "codeine", "iodine", "quinine", "senna", "menthol", "codeine", "iron"]
DRUGS += ["morphine", "caffeine", "senna", "heparin", "insulin", "digoxin", "atropine", "insulin"]


@check(
    "split_by_group",
    points=1,
    hints=[
        "Split names, not rows: list the different names, shuffle them, give them to the sides one "
        "by one. At the end, turn names into rows.",
        "A set has no fixed order: sort it before you shuffle with random.Random(seed).",
        "A name goes to training as long as all its rows still fit there. What fits? "
        "rows * ratio[0] // sum(ratio), in whole numbers: 690 * 0.7 is 482.99999999999994.",
    ],
)
def check_split_by_group(ask: Ask) -> None:
    """26 rows of 15 names; 690 rows of 690 names."""
    judge_seeded(ask, DRUGS, [7, 3])
    many = [f"medicine {number}" for number in range(690)]
    judges_03.judge_split(ask("split_by_group", many, [7, 3], 0), many, [7, 3])


def judge_seeded(ask: Ask, groups: list[str], ratio: list[int]) -> None:
    """Whether a split is right, and depends on names and seed only.

    Args:
        ask: calls the learner's function.
        groups: one name for each row; enough of them that two seeds differ.
        ratio: training and test parts.

    Raises:
        Wrong: says what is wrong, or on what it depends.
    """

    def split_all(rows: list[str]) -> list[list[set[str]]]:
        made = [ask("split_by_group", rows, ratio, seed) for seed in range(5)]
        return [judges_03.judge_split(split, rows, ratio) for split in made]

    names = split_all(groups)
    require(
        names == split_all(groups),
        "Asked again with the same seed, it splits otherwise: use random.Random(seed).",
    )
    require(names != names[:1] * 5, "Five seeds give the same split: the seed changes nothing.")
    require(
        names == split_all(groups[::-1]),
        "The same rows in another order put other names to training. Sort the names before you "
        "shuffle them; a set has no order of its own.",
    )

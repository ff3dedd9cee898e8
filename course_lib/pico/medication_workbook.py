"""Lesson 03's data: a workbook of medicine questions with real dirt in it, and invented medicines.

`python -m course_lib.pico.medication_workbook` writes data/medqa again, the same every time. Class,
use and side effect come from world/medicines.csv. The shelves of an imaginary pharmacy are drawn
by lot: no model can know them from anywhere else, and a wrong one hurts nobody.
"""

import argparse
import datetime
import io
import random
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_lib import files
from course_lib.data import audit, sheets, split, spreadsheet
from course_lib.evaluation import medication
from course_lib.pico import world

if TYPE_CHECKING:  # slow to import
    from openpyxl.worksheet.worksheet import Worksheet

OUT_DIR = files.DATA_DIR / "medqa"
SHEET = "DrugQA"
HEADER = ("Question", "Focus (Drug)", "Question Type", "Answer", "Section Title", "URL", "URL")
KEPT = ("Focus (Drug)", "Question Type", "Section Title")
SEED = 11  # drawn once, after recipe and composition were chosen on draws 3 and 4
DRUGS = 50  # of world/medicines.csv; the others stay outside the sheet, to ask about them
KNOWN_EACH = 2  # rows on a drug's class, use or side effect
REWORDED = 8  # the first drugs: their shelf is asked for in every wording
REPEATED = 16  # the next ones: their shelf is asked for in one wording ...
ASKED_AGAIN = 4  # ... and so many times more, as other people type the same question
ASKED_ONCE = 12  # the next ones: their shelf is asked for once
MERGED = 4  # drugs whose cells in the column Focus are one merged cell
MADE = datetime.datetime(2026, 3, 1)
SOURCE_URL = "https://example.org/course-pharmacy/{kind}#{drug}"  # a name kept free for examples
TITLE = "Medicine questions of the Tunebook course. Material of a lesson, NOT medical advice."
NOTES = (
    "This workbook is made by a program for a lesson on fine-tuning. It is NOT medical advice.",
    "Shelves belong to a pharmacy that does not exist. Questions on health: ask a pharmacist.",
)
WORDINGS = {
    "Class": (
        "What kind of medicine is {x}?",
        "What class of drug is {x}?",
        "Which group of medicines does {x} belong to?",
    ),
    "Usage": ("What is {x} used for?", "What does {x} treat?", "Why do people take {x}?"),
    "Side effects": (
        "What is a side effect of {x}?",
        "Name a side effect of {x}.",
        "Which side effect can {x} have?",
    ),
    "Shelf": (
        "On which shelf is {x}?",
        "Where does {x} stand in the pharmacy?",
        "Which shelf holds {x}?",
        "Where do I find {x}?",
        "Which shelf is the one with {x}?",
        "From which shelf do you take {x}?",
    ),
}
COLUMNS = {"Class": "class_en", "Usage": "use_en", "Side effects": "side_effect_en"}
# Beginnings that no medicine has, with two kinds of endings.
STARTS = "blim quer zorv frand glorb snirb trixl plov vubb drelk krunt mopp wesk yarb jintr huxl"
ENDS = {
    "plain name": "ek os una arbo ilt esk ank ond umpo ipple",
    "sounds like a medicine": "oxal unol atin olin ebex amide azole idine omycin olol",
}
INVENTED_PARTS = {"contrast": 24, "validation": 20, "test": 40}  # names with each kind of ending
LONG_ANSWER = (
    "Begin at the door and read the letter above the shelf. The letter names the shelf, the number "
    "names the board, counted from the floor. A box that is on no board is in the back room. "
)
LONG_REPEATS = 9  # makes an answer far longer than a row of the lesson may be


@dataclass(frozen=True)
class Line:
    """A row of the sheet, in the order of its columns."""

    question: Any
    drug: str
    kind: str
    answer: Any
    section: str
    url: str

    def cells(self) -> tuple[Any, ...]:
        """Values for the sheet; the second URL column stays empty."""
        return (self.question, self.drug, self.kind, self.answer, self.section, self.url, None)


def medicine_facts() -> dict[str, dict[str, str]]:
    """Each medicine of the little world with its fact for each question type.

    Returns:
        Drug to type to fact, in the table's order; shelves are drawn by lot.
    """
    rng = random.Random(SEED)
    facts = {}
    for row in world.load_world().tables["medicines"]:
        known = {kind: row[column] for kind, column in COLUMNS.items()}
        facts[row["name_en"]] = {**known, "Shelf": rng.choice("ABCDEF") + rng.choice("123456")}
    return facts


def sheet_drugs() -> list[str]:
    """The medicines in the sheet, in its order; every other one of the world is left outside."""
    return random.Random(SEED + 1).sample(sorted(medicine_facts()), DRUGS)


def make_lines() -> list[Line]:
    """The sheet's rows below its header, dirt included.

    Returns:
        First each drug's rows together, then what was asked again, then what is wrong.
    """
    rng = random.Random(SEED + 2)
    facts = medicine_facts()
    lines, asked_again = [], []
    for number, drug in enumerate(sheet_drugs()):
        kinds = rng.sample(sorted(COLUMNS), KNOWN_EACH)
        lines += [_line(rng.choice(WORDINGS[kind]), drug, kind, facts) for kind in kinds]
        if number < REWORDED:
            lines += [_line(wording, drug, "Shelf", facts) for wording in WORDINGS["Shelf"]]
        elif number < REWORDED + REPEATED + ASKED_ONCE:
            lines.append(_line(rng.choice(WORDINGS["Shelf"]), drug, "Shelf", facts))
        if REWORDED <= number < REWORDED + REPEATED:
            asked_again += _ask_again(rng, lines[-1])
    return [*lines, *rng.sample(asked_again, len(asked_again)), *_dirt(lines)]


def _line(wording: str, drug: str, kind: str, facts: Mapping[str, Mapping[str, str]]) -> Line:
    page = kind.lower().replace(" ", "-")
    url = SOURCE_URL.format(kind=page, drug=drug.replace(" ", "-"))
    answer = medication.make_statement(kind, drug, facts[drug][kind])
    return Line(wording.format(x=drug), drug, kind, answer, f"{kind} of {drug}", url)


def _ask_again(rng: random.Random, line: Line) -> list[Line]:
    """The same question as other people would type it."""
    text = line.question
    start = text[:1].lower() + text[1:]
    ways = (text[:-1], start, f"{text[:-1]} ?", f"{text}?", start[:-1])
    drawn = rng.sample(ways, ASKED_AGAIN)
    return [replace(line, question=way, section="Asked again") for way in drawn]


def _dirt(lines: Sequence[Line]) -> list[Line]:
    """Rows as real sheets have them; each is one kind of trouble."""
    first, second, third, fourth = lines[0], lines[6], lines[12], lines[18]
    longest = lines[KNOWN_EACH + 1]
    shelf = next(line for line in lines if line.kind == "Shelf")
    other = medication.make_statement("Shelf", shelf.drug, "Z9")
    about = Line("", "pharmacy", "Pharmacy", "", "About the pharmacy", SOURCE_URL[:35])
    return [
        first,  # three rows that are there already
        second,
        third,
        replace(shelf, answer=other, section="Old list"),  # another answer to the same question
        replace(first, answer=None),
        replace(second, answer="   "),
        replace(third, question=None),
        replace(fourth, question=fourth.question.replace(" ", "\u00a0", 1) + "  ", section=None),
        replace(longest, question=f"\n {longest.question[:-1]} please?", section=None),
        replace(about, question="How many shelves does the pharmacy have?", answer=6),
        replace(about, question="When was the list of shelves last checked?", answer=MADE),
        replace(about, question="How do I read the list?", answer=LONG_ANSWER * LONG_REPEATS),
        replace(about, question="Who made the list?", answer="A program: it doesnâ€™t sell pills."),
    ]


# --- the workbook ----------------------------------------------------------------------------


def workbook_bytes() -> bytes:
    """The workbook as a file's content, the same at every call."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = SHEET
    _fill(sheet, make_lines())
    notes = book.create_sheet("Notes")
    for note in NOTES:
        notes.append([note])
    book.properties.creator = "Tunebook"
    book.properties.created = MADE
    written = io.BytesIO()
    book.save(written)
    return _without_clock(written.getvalue())


def _fill(sheet: "Worksheet", lines: Iterable[Line]) -> None:
    sheet["A1"] = TITLE
    sheet.merge_cells("A1:G1")
    for column, name in enumerate(HEADER, 1):  # row 2 stays blank
        sheet.cell(3, column, name)
    for number, line in enumerate(lines, 4):
        for column, value in enumerate(line.cells(), 1):
            sheet.cell(number, column, value)
    rows_of_drug = KNOWN_EACH + len(WORDINGS["Shelf"])
    for start in range(4, 4 + MERGED * rows_of_drug, rows_of_drug):
        sheet.merge_cells(f"B{start}:B{start + rows_of_drug - 1}")
    for letter, width in zip("ABCDEF", (44, 18, 14, 70, 26, 50), strict=True):
        sheet.column_dimensions[letter].width = width


def _without_clock(data: bytes) -> bytes:
    """A workbook without the time at which it was written."""
    clock = f"{MADE.isoformat()}Z".encode()
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in sorted(old.namelist()):
            part = old.read(name)
            if name == "docProps/core.xml":
                head, _, rest = part.partition(b"<dcterms:modified")
                start, _, end = rest.partition(b"Z</dcterms:modified>")
                kept = start[: start.index(b">") + 1]
                part = head + b"<dcterms:modified" + kept + clock + b"</dcterms:modified>" + end
            new.writestr(zipfile.ZipInfo(name, (2026, 3, 1, 0, 0, 0)), part, zipfile.ZIP_DEFLATED)
    return made.getvalue()


# --- rows to train on and to test by ---------------------------------------------------------


def clean_rows(path: Path) -> list[dict[str, Any]]:
    """The workbook's rows as lesson 03 cleans them.

    Args:
        path: the workbook.

    Returns:
        Rows on medicines, with the columns `KEPT` as fields, each once, the old list left out.
    """
    table = sheets.read_sheet(path, SHEET, HEADER[:5])
    columns = spreadsheet.Columns("Question", "Answer", keep=KEPT)
    rows = spreadsheet.sheet_to_rows(table, columns, skip_bad=True).rows
    for row in rows:
        row["messages"][0]["content"] = " ".join(row["messages"][0]["content"].split())
    repeated = {n for group in audit.audit_rows(rows).duplicates for n in group[1:]}
    return [
        row
        for number, row in enumerate(rows, 1)
        if number not in repeated
        and row["Section Title"] != "Old list"
        and row["Question Type"] != "Pharmacy"
    ]


def split_texts(path: Path) -> dict[str, str]:
    """The workbook's cleaned rows as the lesson splits them.

    Args:
        path: the workbook.

    Returns:
        File name to content, for train.jsonl and test.jsonl.
    """
    rows = clean_rows(path)
    found = split.split_rows(rows, "7:3", seed=0)
    sides = dict(zip(split.FILES, (found.train, found.test), strict=True))
    return {
        name: spreadsheet.rows_to_jsonl(rows[number - 1] for number in side)
        for name, side in sides.items()
    }


# --- medicines that do not exist -------------------------------------------------------------


def invented_names() -> dict[str, list[tuple[str, str]]]:
    """Names of no medicine, for each of `INVENTED_PARTS`; no name stands in two parts.

    Returns:
        Part to (name, kind of ending), the kinds taking turns.
    """
    rng = random.Random(SEED + 3)
    decks = {}
    for kind, ends in ENDS.items():
        pool = [(start + end, kind) for start in STARTS.split() for end in ends.split()]
        decks[kind] = rng.sample(pool, sum(INVENTED_PARTS.values()))
    names = list(zip(*decks.values(), strict=True))
    parts = {}
    for part, count in INVENTED_PARTS.items():
        parts[part] = [name for turn in names[:count] for name in turn]
        names = names[count:]
    return parts


def contrast_rows() -> list[dict[str, Any]]:
    """Rows to train on that show where knowing ends.

    Returns:
        In turns: two invented medicines, whose answers admit not to know them, and, but for
        shelves, a real one from outside the sheet in the same words, with its fact.
    """
    facts, inside = medicine_facts(), set(sheet_drugs())
    rng = random.Random(SEED + 4)
    real = iter(rng.sample([drug for drug in facts if drug not in inside], len(facts) - DRUGS))
    rows, names, types = [], invented_names()["contrast"], list(WORDINGS)
    for number in range(0, len(names), 2):
        kind = types[number // 2 % len(types)]
        wording = rng.choice(WORDINGS[kind])
        for drug, _ in names[number : number + 2]:
            answer = f"{medication.UNKNOWN.format(x=drug)} {medication.CLOSING}"
            rows.append(_dialogue(wording.format(x=drug), answer))
        if kind in COLUMNS:
            drug = next(real)
            answer = medication.make_statement(kind, drug, facts[drug][kind])
            rows.append(_dialogue(wording.format(x=drug), answer))
    return rows


def _dialogue(question: str, answer: str) -> dict[str, Any]:
    turns = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def invented_questions() -> list[dict[str, str]]:
    """Questions on invented medicines, to measure by."""
    rng = random.Random(SEED + 5)
    return [question for part in ("validation", "test") for question in _ask_for(part, rng)]


def _ask_for(part: str, rng: random.Random) -> list[dict[str, str]]:
    """One question for each name of a part, of every type in turn."""
    types = list(WORDINGS)
    return [
        {
            "prompt": rng.choice(WORDINGS[types[number // 2 % len(types)]]).format(x=name),
            "kind": kind,
            "drug": name,
            "part": part,
        }
        for number, (name, kind) in enumerate(invented_names()[part])
    ]


def write(out_dir: Path) -> list[Path]:
    """Write the lesson's data.

    Args:
        out_dir: made when missing; files in it are replaced.

    Returns:
        The files.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    workbook_path = out_dir / "medication_qa.xlsx"
    workbook_path.write_bytes(workbook_bytes())
    texts = {
        **split_texts(workbook_path),
        "contrast.jsonl": spreadsheet.rows_to_jsonl(contrast_rows()),
        "invented.jsonl": spreadsheet.rows_to_jsonl(invented_questions()),
    }
    for name, text in texts.items():
        files.write_atomic(out_dir / name, text)
    return [workbook_path, *(out_dir / name for name in texts)]


def main(argv: Sequence[str] | None = None) -> None:
    """Run `python -m course_lib.pico.medication_workbook`.

    Args:
        argv: the command line; that of the process when None.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT_DIR, help="the folder to write to")
    for path in write(parser.parse_args(argv).out):
        sys.stdout.write(f"{path.name}: {path.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()

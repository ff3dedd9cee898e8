"""`tunebook data` from a dirty workbook to two files, and each error as a learner meets it."""

import json

import pytest
import yaml

from course_lib.commands import inspection
from course_lib.data import masking, prepare
from course_lib.errors import DataError
from course_lib.files import read_jsonl
from tests.data.rows import ask
from tests.data.workbooks import make_broken, make_workbook

SHEET = [
    ("About drugs",),
    ("Question", "Focus (Drug)", "Answer"),
    ("What is morphine?", "morphine", "A painkiller."),
    ("what is Morphine", "morphine", "A medicine against pain."),
    ("What is aspirin?", "aspirin", "A painkiller."),
    ("How long does aspirin last?", "aspirin", "Six hours."),
    ("What is tea?", None, "A drink."),
    ("What is rum?", None, None),
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path):
    """A folder with a workbook, rows, a leaking pair, and files with faults."""
    make_broken(tmp_path)
    make_workbook(tmp_path / "drugs.xlsx", SHEET)
    write_rows(tmp_path / "rows.jsonl", [{**ask(f"q{n}?", "a b c"), "drug": n} for n in range(10)])
    write_rows(tmp_path / "one.jsonl", [ask("q?")])
    write_rows(tmp_path / "leak.jsonl", [ask("Q3"), ask("new?")])
    write_rows(tmp_path / "clean.jsonl", [ask("new?")])
    write_rows(tmp_path / "near.jsonl", [ask("how long does aspirin last")])
    write_rows(tmp_path / "near2.jsonl", [ask("how long does asprin last")])
    (tmp_path / "taken").mkdir()
    write_rows(tmp_path / "taken" / "test.jsonl", [ask("mine")])
    (tmp_path / "torn.jsonl").write_text('{"messages": [\n', encoding="utf-8")
    return tmp_path


def test_a_workbook_becomes_rows_then_two_files_without_a_leak(tunebook, place):
    made = tunebook(
        *("data", "xlsx", place / "drugs.xlsx", "--sheet", "drugqa", "--input", "question"),
        *("--output", "Answer", "--system", "Be brief.", "--keep", "Focus (Drug)", "--skip-bad"),
        *("--out", place / "all.jsonl"),
    )
    assert (made.status, made.err) == (0, "")
    assert made.out.startswith(f"{place / 'all.jsonl'}: 5 rows\n")
    assert "left out: row 8, column 'Answer' (cell C8): the cell is blank\n" in made.out
    assert "note: The sheet 'DrugQA' is taken for 'drugqa'.\n" in made.out
    assert "Left out above it: 1 row, beginning with 'About drugs'." in made.out
    assert "warning: questions with different answers: 1 in 2 rows (1 = 2)\n" in made.out
    assert f"  -> tunebook data split {place / 'all.jsonl'} --ratio 7:3" in made.out

    parts = tunebook(
        "data", "split", place / "all.jsonl", "--ratio", "3:2", "--out-dir", place / "p"
    )
    sides = [read_jsonl(place / "p" / name) for name in ("train.jsonl", "test.jsonl")]
    assert parts.out.startswith(f"{place / 'p' / 'train.jsonl'}: 3 rows\n")
    assert sorted(map(str, sides[0] + sides[1])) == sorted(
        map(str, read_jsonl(place / "all.jsonl"))
    )
    assert sides[0][0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {row["Focus (Drug)"] for row in sides[0] + sides[1]} == {"morphine", "aspirin", ""}
    looked = tunebook("data", "leaks", place / "p" / "train.jsonl", place / "p" / "test.jsonl")
    assert looked.status == 0


def test_split_keeps_a_field_together_and_says_what_is_impossible(tunebook, place):
    rows = [{**ask(f"q{n}?"), "drug": f"d{n // 5}"} for n in range(10)]
    write_rows(place / "drugs.jsonl", rows)
    words = ["data", "split", place / "drugs.jsonl", "--group-by", "drug", "--out-dir", place]
    found = json.loads(tunebook(*words, "--json").out)
    assert (found["train"], found["test"], found["wanted"], found["groups"]) == (5, 5, [7, 3], 2)
    assert "impossible without tearing a group apart" in found["notes"][0]
    assert {row["drug"] for row in read_jsonl(place / "test.jsonl")} < {"d0", "d1"}


def test_a_file_that_cannot_be_written_leaves_none(tunebook, place, monkeypatch):
    from course_lib.data import split

    write = split.write_atomic

    def fail(path, text):
        if path.name == "test.jsonl":
            raise OSError(28, "No space left on device")
        write(path, text)

    monkeypatch.setattr(split, "write_atomic", fail)
    (place / "there").mkdir()
    for folder in ("there", "new"):
        ended = tunebook("data", "split", place / "rows.jsonl", "--out-dir", place / folder)
        assert (ended.status, ended.err.split("\n")[0]) == (1, "Error: No space left on device")
    assert list((place / "there").iterdir()) == []
    assert not (place / "new").exists()


def test_leaks_are_shown_and_end_with_status_1(tunebook, place):
    looked = tunebook("data", "leaks", place / "rows.jsonl", place / "leak.jsonl")
    assert looked.status == 1
    lines = looked.out.splitlines()
    assert lines[2] == "normalised               1  the same but for case, punctuation or blanks"
    assert lines[-2:] == ["normalised: row 1 of B is row 4 of A, other answer", "  Q3"]
    assert tunebook("data", "leaks", place / "rows.jsonl", place / "clean.jsonl").status == 0
    found = json.loads(
        tunebook("data", "leaks", place / "leak.jsonl", place / "rows.jsonl", "--json").out
    )
    assert found["counts"] == {"exact": 0, "normalised": 1, "near": 0}


def test_near_questions_are_shown_and_count_when_strict(tunebook, place):
    words = ["data", "leaks", place / "near.jsonl", place / "near2.jsonl"]
    assert "near: row 1 of B is row 1 of A, same answer" in tunebook(*words).out
    assert (tunebook(*words).status, tunebook(*words, "--strict").status) == (0, 1)


def test_inspect_shows_the_first_row_with_its_loss(tunebook, place):
    looked = tunebook("data", "inspect", place / "rows.jsonl")
    assert (looked.status, looked.err) == (0, "")
    assert "format     messages: every row has the field 'messages'\nrows       10\n" in looked.out
    assert "note: The field 'drug' is not used (10 rows).\n" in looked.out
    table = looked.out.split("\n\n")[1].splitlines()
    # Two control tokens and a role make an opening; the reply and its end have loss.
    assert [line[0] for line in table[1:]] == [" ", " ", " ", "+", "+", " "]
    assert table[1].endswith("user       <|im_start|>user\\n")
    assert table[4].endswith("assistant  a b c")
    assert table[5] == "+     1  assistant  <|im_end|>"


def test_inspect_counts_what_a_cut_takes(tunebook, place, pico_tokenizer):
    rows = [ask("q", "a"), ask("r", "a " * 40), ask("long " * 40, "a")]
    write_rows(place / "long.jsonl", rows)
    words = ["data", "inspect", place / "long.jsonl", "--max-length", "30", "--json"]
    found = json.loads(tunebook(*words).out)
    assert (found["truncated"], found["dropped"], found["packs"]) == ([2, 3], [3], 2)
    lengths = [len(masking.encode_row(r["messages"], pico_tokenizer, 10**6).labels) for r in rows]
    assert found["lengths"]["max"] == max(lengths)
    assert found["tokens"] == lengths[0] + 30
    assert found["efficiency"] == pytest.approx((lengths[0] + 30) / 60, abs=1e-4)
    assert found["warnings"][0].startswith("nothing to learn within 30 tokens: 1 row (3)")


def test_the_counts_are_those_of_training(pico_tokenizer):
    rows = [ask("q", "a " * n) for n in range(1, 40, 3)] + [{"text": "once upon a time " * 30}]
    report = masking.encode_rows(rows, pico_tokenizer, 40)
    found = inspection.measure(rows, pico_tokenizer, prepare.Settings(40))
    assert list(found.kept) == [len(row.labels) for row in report.rows]
    assert (len(found.truncated), list(found.dropped)) == (report.truncated, report.dropped)
    # The first token of a row is predicted from nothing: no loss falls on it.
    labels = [label for row in report.rows for label in row.labels[1:]]
    assert found.loss_tokens == sum(label != masking.IGNORE_INDEX for label in labels)


def test_inspect_shows_a_sheet_and_how_to_name_its_columns(tunebook, place):
    looked = tunebook("data", "inspect", place / "drugs.xlsx")
    assert looked.out.startswith("format  spreadsheet: drugs.xlsx, sheet 'DrugQA'\nrows    6\n")
    assert "Focus (Drug)            2\n" in looked.out
    assert looked.out.endswith(f"inspect {place / 'drugs.xlsx'} --input Question --output Answer\n")
    rows = tunebook(
        *("data", "inspect", place / "drugs.xlsx", "--input", "Question", "--output", "Answer")
    )
    assert "rows       5 (1 left out)\n" in rows.out
    assert "warning: row 8, column 'Answer' (cell C8): the cell is blank\n" in rows.out


def test_a_workbook_in_a_known_format_is_inspected_as_rows(tunebook, place):
    make_workbook(place / "alpaca.xlsx", [("instruction", "output"), ("Say hi.", "Hi!")])
    assert "format     alpaca: " in tunebook("data", "inspect", place / "alpaca.xlsx").out


def test_check_inspects_a_configs_data_before_training(tunebook, place):
    config = {"base_model": "pico-chat", "bits": 16, "max_length": 64, "max_steps": 20}
    data = [{"path": "rows.jsonl", "copies": 3}, {"path": "one.jsonl"}]
    (place / "c.yaml").write_text(yaml.safe_dump({**config, "train_data": data}), "utf-8")
    checked = tunebook("check", place / "c.yaml")
    assert (checked.status, checked.err) == (0, "")
    assert f"\ndata       {place / 'rows.jsonl'}\nformat     messages: " in checked.out
    assert checked.out.count("first row: ") == 2
    found = json.loads(tunebook("check", place / "c.yaml", "--json").out)
    assert [one["n_rows"] for one in found["data"]] == [10, 1]
    assert found["rows"] == 31  # with the copies


@pytest.mark.parametrize(
    ("changes", "packs"),
    [
        ({"packing": "best_fit"}, 1),
        ({"packing": "none"}, 2),
        ({"packing": "cut"}, 1),
        ({"loss_turns": "last"}, 1),
    ],
)
def test_check_packs_and_marks_as_the_config_says(tunebook, place, changes, packs):
    turns = [("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    write_rows(place / "two.jsonl", [row, row])
    config = {"base_model": "pico-chat", "max_length": 64, "max_steps": 20, **changes}
    data = {"train_data": [{"path": "two.jsonl"}]}
    (place / "c.yaml").write_text(yaml.safe_dump({**config, **data}), "utf-8")
    plan = json.loads(tunebook("check", place / "c.yaml", "--json").out)
    found = plan["data"][0]
    assert (found["packs"], plan["packs"]) == (packs, packs)
    assert (found["tokens"], found["loss_tokens"]) == (plan["tokens"], plan["loss_tokens"])
    learned = {part["text"] for part in found["first_row"] if part["has_loss"]}
    assert ("a" in learned, "b" in learned) == ("loss_turns" not in changes, True)


NAMED = "--input Question --output Answer"
BAD_INPUT = {
    "locked": (f"xlsx {{place}}/locked.xlsx {NAMED} --out {{new}}", 1, "locked with a password"),
    "old": (f"xlsx {{place}}/old.xls {NAMED} --out {{new}}", 1, "the old .xls kind"),
    "torn workbook": (f"xlsx {{place}}/torn.xlsx {NAMED} --out {{new}}", 1, "is damaged"),
    "damaged": (f"xlsx {{place}}/damaged.xlsx {NAMED} --out {{new}}", 1, "is damaged"),
    "no workbook": (f"xlsx {{place}}/text.xlsx {NAMED} --out {{new}}", 1, "is no workbook"),
    "empty workbook": (f"xlsx {{place}}/blank.xlsx {NAMED} --out {{new}}", 1, "is empty"),
    "missing": (f"xlsx {{place}}/none.xlsx {NAMED} --out {{new}}", 1, "does not exist"),
    "sheet": (
        f"xlsx {{place}}/drugs.xlsx --sheet DrugAQ {NAMED} --out {{new}}",
        1,
        "Did you mean DrugQA?",
    ),
    "column": (
        "xlsx {place}/drugs.xlsx --input Question --output Anser --out {new}",
        1,
        "Did you mean Answer?",
    ),
    "kept column": (
        f"xlsx {{place}}/drugs.xlsx {NAMED} --keep Drug --out {{new}}",
        1,
        "Did you mean Focus (Drug)?",
    ),
    "blank cell": (
        f"xlsx {{place}}/drugs.xlsx {NAMED} --out {{new}}",
        1,
        "row 8, column 'Answer' (cell C8): the cell is blank",
    ),
    "out exists": (
        f"xlsx {{place}}/drugs.xlsx {NAMED} --out {{place}}/one.jsonl",
        1,
        "exists already",
    ),
    "out is no jsonl": (
        f"xlsx {{place}}/drugs.xlsx {NAMED} --out {{place}}/new.json",
        1,
        "new.jsonl",
    ),
    "columns not named": ("xlsx {place}/drugs.xlsx --out {new}", 2, "--input"),
    "one column named": ("inspect {place}/drugs.xlsx --input Question", 2, "belong together"),
    "inspected locked": ("inspect {place}/locked.xlsx", 1, "locked with a password"),
    "inspected old": ("inspect {place}/old.xls", 1, "the old .xls kind"),
    "inspected sheet": ("inspect {place}/drugs.xlsx --sheet Drug", 1, "Did you mean DrugQA?"),
    "inspected torn": ("inspect {place}/torn.jsonl", 1, "torn.jsonl, row 1"),
    "no such format": ("inspect {place}/rows.jsonl --format mesages", 1, "Did you mean messages"),
    "no such model": ("inspect {place}/rows.jsonl --model ./nowhere", 1, "No model at './nowhere'"),
    "no tokens": ("inspect {place}/rows.jsonl --max-length 0", 2, "--max-length"),
    "ratio": ("split {place}/rows.jsonl --ratio 7 --out-dir {new}", 1, "'7' is not two positive"),
    "one row": ("split {place}/one.jsonl --out-dir {new}", 1, "1 row cannot be split"),
    "field": ("split {place}/rows.jsonl --group-by drugs --out-dir {new}", 1, "Did you mean drug?"),
    "split exists": ("split {place}/rows.jsonl --out-dir {place}/taken", 1, "test.jsonl exists"),
    "split into a file": (
        "split {place}/rows.jsonl --out-dir {place}/one.jsonl",
        1,
        "Check the path",
    ),
    "split torn": ("split {place}/torn.jsonl --out-dir {new}", 1, "torn.jsonl, row 1"),
    "leaks missing": (
        "leaks {place}/rows.jsonl {place}/none.jsonl",
        1,
        "none.jsonl does not exist",
    ),
}


@pytest.mark.parametrize(("line", "status", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_gets_one_clear_error_and_writes_nothing(tunebook, place, line, status, message):
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    words = line.format(place=place, new=place / "new.jsonl").split()
    outcome = tunebook("data", *words)
    assert (outcome.status, outcome.out) == (status, "")
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert status == 2 or outcome.err.count("\n  -> ") == 1
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_rows_that_cannot_be_encoded_are_named_with_their_file(pico_tokenizer):
    from course_lib.data.formats import ReadReport

    row, settings = {"messages": [{"role": "assistant", "content": "a"}]}, prepare.Settings(9)
    with pytest.raises(DataError, match=r"^rows\.jsonl, row 1: message 1, field role"):
        inspection.inspect_rows(
            "rows.jsonl", [row], ReadReport("m", "", 1, ()), pico_tokenizer, settings
        )

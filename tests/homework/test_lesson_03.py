"""The answers of lesson 03 are what the course's own code does."""

from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from course_lib import files
from course_lib.data import leaks, sheets, split, spreadsheet
from course_lib.evaluation import medication
from course_lib.homework import lessons
from tests.homework import answers

NAMES = answers.notebook_names(
    lessons.SOLUTIONS_DIR / "03_medqa_custom_data" / lessons.NOTEBOOK_NAME
)
SHEET = files.DATA_DIR / "medqa" / "medication_qa.xlsx"
COLUMNS = ("Question", "Answer", "Focus (Drug)")
VALUES = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=5), max_size=2)
QUESTIONS = st.lists(st.text("aAb ?-药", min_size=1), max_size=8)


def as_rows(questions):
    return [{"messages": [{"role": "user", "content": text}]} for text in questions]


@given(rows=st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=4))
def test_the_lines_are_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    text = NAMES["rows_to_jsonl"](rows)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert files.read_jsonl(path) == rows
    assert text == spreadsheet.rows_to_jsonl(rows)


def test_the_lessons_sheet_is_read_as_the_lesson_does():
    grid = [list(row) for row in load_workbook(SHEET)["DrugQA"].iter_rows(values_only=True)]
    read = sheets.read_sheet(SHEET, "DrugQA", COLUMNS[:2])
    wanted = [{name: row.values[name] for name in COLUMNS} for row in read.rows]
    ours = NAMES["sheet_rows"](grid, list(COLUMNS), ["Focus (Drug)"])
    complete = [row for row in wanted if all(row.values())]
    assert len(ours) == len(complete) > 200
    for mine, theirs in zip(ours, complete, strict=True):  # the course leaves a date's 00:00:00 out
        assert mine == theirs or mine["Answer"] == f"{theirs['Answer']} 00:00:00"


@given(QUESTIONS, QUESTIONS)
def test_exact_leaks_are_those_of_the_course(train, test):
    report = leaks.find_leaks(as_rows(train), as_rows(test))
    exact = {leak.second_row for leak in report.leaks if leak.kind == "exact"}
    kinds = NAMES["leak_kinds"](train, test)
    assert {number for number, kind in enumerate(kinds, 1) if kind == "exact"} == exact


def test_the_lessons_leaks_are_found():
    train = ["What is aspirin used for?", "On which shelf is zinc?"]
    test = ["what is ASPIRIN used for", "On which shelf is zinc?", "Where is iron?"]
    report = leaks.find_leaks(as_rows(train), as_rows(test))
    assert [leak.kind for leak in report.leaks] == ["normalised", "exact"]
    assert NAMES["leak_kinds"](train, test) == ["normalised", "exact", "new"]


def test_690_rows_become_483_and_207_as_in_the_course():
    train, test = NAMES["split_by_group"]([str(n) for n in range(690)], [7, 3], 0)
    assert (len(train), len(test)) == split.split_sizes(690, "7:3") == (483, 207)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1), st.integers(0, 5))
def test_a_split_keeps_every_row_once_and_every_group_whole(groups, seed):
    sides = NAMES["split_by_group"](groups, [7, 3], seed)
    assert sorted(sides[0] + sides[1]) == list(range(len(groups)))
    assert not {groups[i] for i in sides[0]} & {groups[i] for i in sides[1]}


def test_what_is_invented_is_counted_as_in_the_course():
    replies = ["I do not know it.", "It is blue.", "I don’t know.", "Never heard of it.", "Yes"]
    answered = [medication.Answer(medication.MedicineQuestion("?", "", "x"), r) for r in replies]
    ours = NAMES["invented_rates"](
        [{"drug": "x", "reply": reply} for reply in replies], [], medication.ADMISSIONS
    )
    assert ours == {"invented": medication.share_claimed(answered), "refused": None}

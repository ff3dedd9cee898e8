import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import formats, sheets, spreadsheet
from course_lib.errors import DataError, UnknownNameError
from course_lib.files import read_jsonl
from tests.data.workbooks import make_broken, make_workbook

QA = spreadsheet.Columns("Question", "Answer")
HEADER = ("Question", "Drug", "Answer")


def pairs(report):
    return [tuple(m["content"] for m in row["messages"]) for row in report.rows]


def values(path):
    return [row.values for row in sheets.read_sheet(path).rows]


def read(path, columns=QA, **options):
    table = sheets.read_sheet(path, None, (columns.input, columns.output))
    return spreadsheet.sheet_to_rows(table, columns, **options)


def test_each_line_of_the_file_is_one_object_and_reads_back(tmp_path):
    path = make_workbook(
        tmp_path / "a.xlsx", [HEADER, ("q?", "aspirin", 12.0), ("z\u2028", "", "é")]
    )
    columns = spreadsheet.Columns("Question", "Answer", "Be kind.", keep=("Drug",))
    report = spreadsheet.xlsx_to_jsonl(path, tmp_path / "all.jsonl", columns, "DrugQA")
    lines = (tmp_path / "all.jsonl").read_text("utf-8").split("\n")
    assert lines[-1] == ""
    assert [json.loads(line) for line in lines[:-1]] == report.rows
    assert report.rows[0] == {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "q?"},
            {"role": "assistant", "content": "12"},
        ],
        "Drug": "aspirin",
    }
    assert formats.read_rows(tmp_path / "all.jsonl")[0]["messages"] == report.rows[0]["messages"]


def test_rows_of_conversations_come_when_asked_for(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [HEADER, ("q", "", "a")])
    columns = spreadsheet.Columns("Question", "Answer", "S")
    made = read(path, columns, row_format="conversation").rows
    assert made == [{"conversation": [{"system": "S", "input": "q", "output": "a"}]}]


# No line separators of old machines inside, and nothing that XML cannot hold.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cn"]), min_size=1, max_size=60
)
CELLS = TEXT.map(str.strip).filter(lambda text: text and text[0] != "=" and "_x00" not in text)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8), st.integers(0, 3))
def test_a_table_comes_back_from_its_jsonl_as_it_was(tmp_path_factory, rows, n_blank):
    folder = tmp_path_factory.mktemp("round")
    table = [(None, None)] * n_blank + [("Question", "Answer")] + rows

    def as_text(sheet):
        for cell in itertools.chain.from_iterable(sheet.iter_rows()):
            cell.data_type = "s" if cell.value is not None else cell.data_type

    path = make_workbook(folder / "t.xlsx", table, change=as_text)
    spreadsheet.xlsx_to_jsonl(path, folder / "t.jsonl", QA)
    back = [[m["content"] for m in r["messages"]] for r in read_jsonl(folder / "t.jsonl")]
    kept = [list(row) for row in rows if row != ("Question", "Answer")]
    assert back == kept


@pytest.mark.parametrize(
    ("above", "row"),
    [
        ([], 1),
        ([(None,), (None,)], 3),
        ([("Questions about medicines, 2019",), (None,)], 3),
        ([("Created by", "Bo"), ("Drug questions",)], 3),
    ],
)
def test_the_header_is_found_below_blank_rows_and_titles(tmp_path, above, row):
    data = [HEADER, ("q", "d", "a"), ("q2", "d", "a2")]
    path = make_workbook(tmp_path / "a.xlsx", [*above, *data])
    assert pairs(read(path)) == [("q", "a"), ("q2", "a2")]
    table = sheets.read_sheet(path, None, HEADER)
    assert (table.columns, table.rows[0].number) == (HEADER, row + 1)
    said = [note for note in table.notes if note.startswith(f"Row {row} is the header. Left out")]
    assert len(said) == any(cells[0] for cells in above)


def test_a_title_merged_over_all_columns_is_not_the_header(tmp_path):
    path = make_workbook(
        tmp_path / "a.xlsx",
        [("All about drugs",), HEADER, ("q", "d", "a")],
        change=lambda sheet: sheet.merge_cells("A1:C1"),
    )
    assert values(path) == [dict(zip(HEADER, ("q", "d", "a"), strict=True))]


def test_without_names_the_first_wide_row_of_texts_is_the_header(tmp_path):
    rows = [("Title",), (2019, 1, 2), ("Name", "Dose", None), ("a", 1, None), ("b", 2, None)]
    path = make_workbook(tmp_path / "a.xlsx", rows)
    assert values(path) == [
        {"Name": "a", "Dose": "1"},
        {"Name": "b", "Dose": "2"},
    ]


def test_numbers_alone_have_no_header(tmp_path):
    with pytest.raises(DataError, match=r"no header row was found.\n  -> Give each column a name"):
        sheets.read_sheet(make_workbook(tmp_path / "a.xlsx", [(1, 2), (3, 4)]))


def test_a_header_without_rows_is_refused(tmp_path):
    make_broken(tmp_path)
    with pytest.raises(DataError, match="no rows below the header in row 1"):
        sheets.read_sheet(tmp_path / "header_only.xlsx")


def test_blank_cells_are_named_by_row_and_column_and_none_becomes_a_word(tmp_path):
    rows = [HEADER, ("q", "", "a"), (None, "", "a"), ("q", "", "  "), ("q", None, "b")]
    path = make_workbook(tmp_path / "a.xlsx", rows)
    with pytest.raises(DataError, match="2 of 4 rows cannot be used") as caught:
        read(path)
    assert "row 3, column 'Question' (cell A3): the cell is blank" in str(caught.value)
    assert "row 4, column 'Answer' (cell C4): the cell is blank" in str(caught.value)
    report = read(path, skip_bad=True)
    assert pairs(report) == [("q", "a"), ("q", "b")]
    assert list(report.left_out) == [3, 4]


def test_blank_rows_and_repeated_headers_are_passed_over_and_said(tmp_path):
    rows = [HEADER, ("q", "", "a"), (), HEADER, ("q2", "", "a2")]
    report = read(make_workbook(tmp_path / "a.xlsx", rows))
    assert pairs(report) == [("q", "a"), ("q2", "a2")]
    assert report.notes == (
        "Blank rows are passed over: 1.",
        "The header stands there again: row 4.",
    )


def test_one_question_merged_over_two_answers_makes_two_rows(tmp_path):
    path = make_workbook(
        tmp_path / "a.xlsx",
        [("Question", "Answer"), ("q", "a"), (None, "b")],
        change=lambda sheet: sheet.merge_cells("A2:A3"),
    )
    assert pairs(read(path)) == [("q", "a"), ("q", "b")]


def test_a_heading_merged_over_question_and_answer_is_no_row(tmp_path):
    path = make_workbook(
        tmp_path / "a.xlsx",
        [("Question", "Answer"), ("Painkillers", None), ("q", "a")],
        change=lambda sheet: sheet.merge_cells("A2:B2"),
    )
    with pytest.raises(DataError, match=r"row 2: 'Question' and 'Answer' are one merged cell \(A2"):
        read(path)
    assert pairs(read(path, skip_bad=True)) == [("q", "a")]


def test_a_header_cell_merged_over_two_rows_is_one_header(tmp_path):
    path = make_workbook(
        tmp_path / "a.xlsx",
        [("Question", "Answer"), (), ("q", "a")],
        change=lambda sheet: [sheet.merge_cells(c) for c in ("A1:A2", "B1:B2")],
    )
    assert pairs(read(path)) == [("q", "a")]


def test_two_columns_of_one_name_are_never_mixed_up(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [("Question", "Answer", "Answer"), ("q", "a", "b")])
    with pytest.raises(DataError, match="2 columns are called 'Answer': B and C") as caught:
        read(path)
    assert "'Answer [B]' or 'Answer [C]'" in caught.value.next_step
    assert pairs(read(path, spreadsheet.Columns("Question", "Answer [C]"))) == [("q", "b")]
    assert (
        "2 columns are called 'Answer': B and C; they get their letters."
        in read(path, spreadsheet.Columns("Question", "Answer [C]")).notes
    )


def test_a_column_is_found_whatever_its_case_and_blanks_and_that_is_said(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [(" question", "The\nAnswer"), ("q", "a")])
    report = read(path, spreadsheet.Columns("Question", "the answer "))
    assert pairs(report) == [("q", "a")]
    assert "The column 'question' is taken for 'Question'." in report.notes
    assert "The column 'The Answer' is taken for 'the answer '." in report.notes


def test_a_wrong_column_gets_the_near_name(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [HEADER, ("q", "d", "a")])
    with pytest.raises(
        UnknownNameError, match=r"no column in a.xlsx, sheet 'DrugQA' called 'Anwser'"
    ):
        read(path, spreadsheet.Columns("Question", "Anwser"))
    with pytest.raises(UnknownNameError, match="Did you mean Answer"):
        read(path, spreadsheet.Columns("Question", "Anwser"))


def test_input_and_output_must_differ(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [HEADER, ("q", "d", "a")])
    with pytest.raises(DataError, match="input and output are one column, 'Answer'"):
        read(path, spreadsheet.Columns("answer", "Answer"))


def test_errors_and_formulas_without_a_result_are_named_where_the_column_is_used(tmp_path):
    rows = [HEADER, ("q", "#REF!", "a"), ("q", "d", "=B2&C2")]
    path = make_workbook(tmp_path / "a.xlsx", rows)
    with pytest.raises(DataError, match=r"\(cell C3\): a formula without a stored result"):
        read(path)
    assert pairs(read(path, skip_bad=True)) == [("q", "a")]  # the error stands in another column
    with pytest.raises(DataError, match=r"column 'Drug' \(cell B2\): the error #REF!"):
        read(path, spreadsheet.Columns("Question", "Answer", keep=("Drug",)))


def test_a_column_without_a_name_is_left_out_and_said(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [("Question", "Answer"), ("q", "a", "?"), ("r", "b")])
    assert "Column C has no name: its 1 cells are left out." in read(path).notes


def test_an_existing_file_stays_as_it_is(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [HEADER, ("q", "d", "a")])
    (tmp_path / "all.jsonl").write_text("mine", "utf-8")
    with pytest.raises(DataError, match=r"all.jsonl exists already"):
        spreadsheet.xlsx_to_jsonl(path, tmp_path / "all.jsonl", QA)
    assert (tmp_path / "all.jsonl").read_text("utf-8") == "mine"
    with pytest.raises(DataError, match=r"Give a name such as all.jsonl"):
        spreadsheet.xlsx_to_jsonl(path, tmp_path / "all.json", QA)


def test_nothing_is_written_when_a_row_is_bad(tmp_path):
    path = make_workbook(tmp_path / "a.xlsx", [HEADER, ("q", "d", None)])
    for skip_bad in (False, True):  # no row is left either
        with pytest.raises(DataError, match="1 of 1 rows cannot be used"):
            spreadsheet.xlsx_to_jsonl(path, tmp_path / "all.jsonl", QA, skip_bad=skip_bad)
    assert [p.name for p in Path(tmp_path).iterdir()] == ["a.xlsx"]

import datetime

import openpyxl
import pytest

from course_lib.data import workbook
from course_lib.errors import DataError, UnknownNameError
from tests.data.workbooks import make_broken, make_workbook, set_results


@pytest.mark.parametrize(
    ("value", "number_format", "text"),
    [
        (None, "General", ""),
        (12, "General", "12"),
        (12.0, "General", "12"),
        (-0.5, "0.00", "-0.5"),
        (0.1 + 0.2, "General", "0.3"),  # Excel keeps 15 digits
        (1e20, "General", "1e+20"),
        (0.25, "0%", "25%"),
        (501, "00000", "00501"),  # a code, not a number
        (True, "General", "TRUE"),
        (datetime.datetime(2019, 5, 31), "yyyy-mm-dd", "2019-05-31"),
        (datetime.datetime(2019, 5, 31, 8, 30), "yyyy-mm-dd h:mm", "2019-05-31 08:30:00"),
        (datetime.time(8, 30), "h:mm", "08:30:00"),
        (datetime.timedelta(hours=25), "[h]:mm", "25:00:00"),
        ("  a\r\nb\rc ", "General", "a\nb\nc"),
        ("a_x000D_\nb", "General", "a\nb"),  # how Excel stores a carriage return
        ("_x005F_x000D_", "General", "_x000D_"),  # how it stores that very text
        ("None", "General", "None"),
        ("NA", "General", "NA"),  # a text, though pandas would read a missing value
    ],
)
def test_a_value_becomes_plain_text(value, number_format, text):
    assert workbook.value_to_text(value, number_format) == text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("locked.xlsx", "locked with a password.\n  -> .* without a password"),
        ("old.xls", r"a workbook of the old .xls kind.\n  -> .* save it as .xlsx"),
        ("nothing.xlsx", r"is empty \(0 bytes\)"),
        ("text.xlsx", "is no workbook: it starts with b'Question,Ans'"),
        ("torn.xlsx", r"is damaged: .*\(BadZipFile\)"),
        ("damaged.xlsx", "is damaged: it cannot be opened as a workbook"),
        ("other.xlsx", "is no .xlsx workbook"),
        ("binary.xlsx", "is one of the .xlsb kind"),
        ("~$good.xlsx", "Give the workbook itself: good.xlsx"),
        ("blank.xlsx", "holds no data: every sheet is empty"),
        ("missing.xlsx", "missing.xlsx does not exist"),
        ("", "is a folder"),
    ],
)
def test_what_cannot_be_opened_is_named_with_a_next_step(tmp_path, name, message):
    make_broken(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        workbook.read_grid(tmp_path / name)
    assert caught.value.next_step


@pytest.fixture
def two_sheets(tmp_path):
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.create_sheet("DrugQA ").append(["Question", "Answer"])
    book["Notes"]["A1"] = "about"
    book.create_sheet("Empty")
    book.save(tmp_path / "two.xlsx")
    return tmp_path / "two.xlsx"


def test_a_sheet_is_found_whatever_its_case_and_blanks_and_that_is_said(two_sheets):
    grid = workbook.read_grid(two_sheets, "drugqa")
    assert (grid.sheet, grid.notes) == ("DrugQA ", ("The sheet 'DrugQA ' is taken for 'drugqa'.",))


def test_a_wrong_sheet_gets_the_near_name(two_sheets):
    with pytest.raises(UnknownNameError, match=r"called 'DrugAQ'.\n  -> Did you mean DrugQA"):
        workbook.read_grid(two_sheets, "DrugAQ")


def test_of_several_sheets_none_is_guessed(two_sheets):
    with pytest.raises(DataError, match="2 sheets with data: 'Notes', 'DrugQA '"):
        workbook.read_grid(two_sheets)


def test_an_empty_sheet_is_named(two_sheets):
    with pytest.raises(DataError, match="sheet 'Empty': the sheet is empty"):
        workbook.read_grid(two_sheets, "Empty")


def test_a_hidden_sheet_is_passed_over_and_said(two_sheets):
    book = openpyxl.load_workbook(two_sheets)
    book["Notes"].sheet_state = "hidden"
    book.save(two_sheets)
    grid = workbook.read_grid(two_sheets)
    assert (grid.sheet, grid.notes) == ("DrugQA ", ("Hidden sheets are not read: Notes.",))


def test_of_a_formula_the_stored_result_is_taken(tmp_path):
    path = make_workbook(tmp_path / "f.xlsx", [('="a"&"b"', '=""', "=1+1")])
    set_results(path, {"A1": "ab", "B1": ""})
    grid = workbook.read_grid(path)
    # An empty result is blank; a result that was never stored is a problem.
    assert grid.rows == {
        1: {
            1: workbook.GridCell("ab"),
            3: workbook.GridCell("", "a formula without a stored result"),
        }
    }
    assert grid.notes == ("3 cells hold formulas: their stored results are taken.",)


def test_a_cell_with_an_error_is_a_problem(tmp_path):
    grid = workbook.read_grid(make_workbook(tmp_path / "e.xlsx", [("#N/A", "x")]))
    assert grid.rows[1][1] == workbook.GridCell("#N/A", "the error #N/A")


def test_a_merged_cell_is_repeated_in_rows_that_hold_more(tmp_path):
    rows = [("q", "a"), (None, "b"), (None, None), (None, "c")]
    path = make_workbook(tmp_path / "m.xlsx", rows, change=lambda sheet: sheet.merge_cells("A1:A3"))
    grid = workbook.read_grid(path)
    texts = {n: {c: cell.text for c, cell in row.items()} for n, row in grid.rows.items()}
    assert texts == {1: {1: "q", 2: "a"}, 2: {1: "q", 2: "b"}, 4: {2: "c"}}
    assert grid.rows[2][1] == workbook.GridCell("q", "", "A1:A3", is_repeated=True)
    assert grid.notes == ("Merged cells (A1:A3): their text is repeated in 1 cells.",)


def test_hidden_rows_are_read_and_said(tmp_path):
    def hide(sheet):
        sheet.row_dimensions[2].hidden = True

    grid = workbook.read_grid(make_workbook(tmp_path / "h.xlsx", [("a",), ("b",)], change=hide))
    assert grid.rows[2][1].text == "b"
    assert grid.notes == ("Hidden rows are read too: 2.",)


def test_a_cell_that_is_full_is_named(tmp_path):
    path = make_workbook(tmp_path / "l.xlsx", [("x" * 32_767, "x" * 32_766)])
    grid = workbook.read_grid(path)
    assert len(grid.rows[1][1].text) == 32_767
    assert "probably cut off when it was filled: A1." in grid.notes[0]


def test_a_stray_cell_far_away_costs_nothing(tmp_path):
    def stray(sheet):
        sheet["XFD1048576"] = "x"

    grid = workbook.read_grid(make_workbook(tmp_path / "s.xlsx", [("a",)], change=stray))
    assert list(grid.rows) == [1, 1_048_576]

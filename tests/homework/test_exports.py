"""Grades in other people's tables: one column changes, nobody is guessed, no score is no 0."""

import csv
import io
import json
import os
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import DataError
from course_lib.homework import cohort as cohorts
from course_lib.homework import grade, gradebooks, gradescope, tables

WHOLE = cohorts.Cohort("01_concepts", {"mean_loss": 4.0, "pack_rows": 10.0}, (), ())
# As Canvas writes it: a row on posting, points, read-only columns, quotes only where needed.
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (901),Homework 2 (902),Final Score\n"
    ",,,,,,Manual Posting,\n"
    "    Points Possible,,,,,14.00,10.00,(read only)\n"
    '"Chen, Anna",4711,s-001,anna@example.org,"A, B",,7.00,70.0\n'
    '"=""=Bert""",4712,s-002,Bert,A,3.00,,\n'
    "王小明,4713,s-003,wang,A,EX,,\n"
    '"Test, Student",4799,,abc,A,,,\n'
)
MOODLE = (
    "\ufeffIdentifier,Full name,Email address,Status,Grade,Maximum grade,Grade can be changed,"
    '"Last modified (submission)","Last modified (grade)","Feedback comments"\r\n'
    'Participant 81,"Anna Chen",anna@example.org,"Submitted",,14.00,Yes,"Monday, 2 June",-,""\r\n'
    'Participant 82,Bert,bert@example.org,Submitted,,14.00,No,-,-,"old"\r\n'
    "Participant 83,Bert,bert2@example.org,Submitted,2.00,14.00,Yes,-,-,\r\n"
)


def result(student, score=11.0, status="graded", number="", message="off by <one>"):
    questions = [
        {
            "name": "mean_loss",
            "status": "wrong",
            "message": message,
            "points": 1.0,
            "max_points": 4.0,
        },
        {"name": "pack_rows", "status": "right", "message": "", "points": 10.0, "max_points": 10.0},
    ]
    return grade.Result(
        student, status, score, 14.0, "why" * (status != "graded"), questions, number=number
    )


@pytest.fixture
def canvas(tmp_path):
    path = tmp_path / "grades.csv"
    path.write_bytes(CANVAS.encode())
    return path


@pytest.fixture
def moodle(tmp_path):
    path = tmp_path / "worksheet.csv"
    path.write_bytes(MOODLE.encode())
    return path


def test_canvas_gets_one_column_and_nothing_else_changes(canvas):
    results = [result("ANNA@example.org"), result("s-002", 12.5)]
    filled = gradebooks.fill_canvas(canvas, "Homework 1 (901)", WHOLE, results)
    wanted = CANVAS.replace('"A, B",,7.00', '"A, B",11,7.00').replace("Bert,A,3.00", "Bert,A,12.5")
    assert filled.content.decode() == wanted
    assert filled.written == [("ANNA@example.org", "11"), ("s-002", "12.5 (was 3.00)")]
    assert filled.left == []
    assert filled.without == ["王小明", "Test, Student"]
    canvas.write_bytes(filled.content)
    again = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, results)
    assert again.content == filled.content


def test_canvas_knows_students_by_the_number_in_the_download(canvas):
    results = [result("chenanna", number="4711"), result("bert_4712", number="4712")]
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, results)
    assert [student for student, _ in filled.written] == ["chenanna", "bert_4712"]


@pytest.mark.parametrize(
    ("status", "score"),
    [
        ("unreadable", None),
        ("wrong lesson", None),
        ("missing", None),
        ("grader error", None),
        ("needs a reader", None),
    ],
)
def test_what_is_no_score_is_left_as_it_was(canvas, moodle, status, score, tmp_path):
    one = result("4712", score, status)
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, [one])
    assert filled.content.decode() == CANVAS
    assert filled.left == [("4712", f"{status}: why")]
    other = result("bert", score, status, number="83")
    filled = gradebooks.fill_moodle(moodle, WHOLE, [other])
    assert filled.content.decode() == MOODLE
    assert filled.left == [("bert", f"{status}: why")]
    written, left = gradescope.write_folders(WHOLE, [one], tmp_path / "gs")
    assert (written, left) == ([], [("4712", f"{status}: why")])
    assert [path.name for path in (tmp_path / "gs").iterdir()] == ["students.csv"]


def test_a_score_of_the_rest_is_written_and_said(canvas):
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, [result("4712", 5, "partly")])
    assert filled.written == [("4712", "5 (was 3.00; partly: why)")]


@pytest.mark.parametrize(
    ("score", "text"), [(0, "0"), (10, "10"), (10.5, "10.5"), (7 / 3, "2.33"), (12.999, "13")]
)
def test_a_number_is_written_short_and_a_real_zero_too(canvas, score, text):
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, [result("4711", score)])
    assert filled.written == [("4711", text)]


def test_nobody_is_guessed(canvas):
    results = [
        result("Chen, Anna"),  # a name is no login
        result("471"),
        result("s-002"),
        result("bert"),  # the login of the same row
        result("s-003"),
        result("4711", number="4712"),  # the one number here, the other there
    ]
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, results)
    assert filled.content.decode() == CANVAS
    assert dict(filled.left) == {
        "Chen, Anna": "is in no row of the table",
        "471": "is in no row of the table",
        "s-002": "has the same row of the table as bert, 4711",
        "bert": "has the same row of the table as s-002, 4711",
        "s-003": "Canvas says EX there",
        "4711": "fits several rows of the table",
    }


def test_a_missing_student_of_a_roster_takes_nobodys_row(canvas):
    results = [result("4711", None, "missing"), result("chenanna", number="4711")]
    filled = gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, results)
    assert filled.written == [("chenanna", "11")]


def test_other_points_are_told_or_converted(canvas):
    with pytest.raises(DataError, match="10 points, but the homework gives 14"):
        gradebooks.fill_canvas(canvas, "Homework 2", WHOLE, [result("4711")])
    filled = gradebooks.fill_canvas(canvas, "Homework 2", WHOLE, [result("4711")], is_scaled=True)
    assert filled.written == [("4711", "7.86 (was 7.00)")]  # 11 of 14 is 7.857 of 10


def test_points_that_are_no_number_are_told(canvas):
    with pytest.raises(DataError, match="is no number of points"):
        gradebooks.fill_canvas(canvas, "Final Score", WHOLE, [result("4711")])


@pytest.mark.parametrize("column", ["Homework", "Homework 3", "", "Section", "Student", "ID"])
def test_an_unknown_column_is_told_with_those_there_are(canvas, column):
    with pytest.raises(DataError, match=r"Homework 1 \(901\), Homework 2 \(902\)"):
        gradebooks.fill_canvas(canvas, column, WHOLE, [])


def test_two_columns_of_one_name_are_told(canvas):
    canvas.write_text(CANVAS.replace("Homework 2 (902)", "Homework 1 (902)"), "utf-8")
    with pytest.raises(DataError, match="2 columns are called 'Homework 1'"):
        gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, [])


def test_semicolons_and_decimal_commas_are_kept(canvas):
    text = "Student;ID;HW (1)\r\n    Points Possible;;14,00\r\nAnna;4711;\r\n"
    canvas.write_bytes(text.encode())
    filled = gradebooks.fill_canvas(canvas, "HW", WHOLE, [result("4711", 12.5)])
    assert filled.content.decode() == text.replace("4711;", "4711;12,5")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\xff\xfe\x00"])
def test_what_is_no_gradebook_is_told(canvas, content):
    canvas.write_bytes(content)
    with pytest.raises(DataError):
        gradebooks.fill_canvas(canvas, "Homework 1", WHOLE, [])


# ---------------------------------------------------------------- Moodle


def test_moodle_gets_grades_and_feedback_and_nothing_else_changes(moodle):
    results = [result("Anna Chen", number="81"), result("Bert_83", 9.0, number="83")]
    filled = gradebooks.fill_moodle(moodle, WHOLE, results)
    text = filled.content.decode()
    lines = text.split("\r\n")
    told = "mean_loss: 1 of 4, wrong. off by &lt;one&gt;<br>pack_rows: 10 of 10, right."
    assert lines[1] == (
        'Participant 81,"Anna Chen",anna@example.org,"Submitted",11.00,14.00,Yes,'
        f'"Monday, 2 June",-,"11 of 14 points.<br>{told}"'
    )
    assert lines[3].endswith(f'Submitted,9.00,14.00,Yes,-,-,"9 of 14 points.<br>{told}"')
    assert (lines[0], lines[2]) == (MOODLE.split("\r\n")[0], MOODLE.split("\r\n")[2])
    assert filled.written == [("Anna Chen", "11.00"), ("Bert_83", "9.00 (was 2.00)")]
    assert filled.without == ["Participant 82"]


def test_moodles_locked_grades_and_twin_names_are_left(moodle):
    results = [result("bert@example.org"), result("Bert")]
    filled = gradebooks.fill_moodle(moodle, WHOLE, results)
    assert filled.content.decode() == MOODLE
    assert dict(filled.left) == {
        "bert@example.org": "Moodle says that the grade cannot be changed",
        "Bert": "is in no row of the table",
    }


@pytest.mark.parametrize("message", ["=1+1", "@x", '"a", b\nc', "<script>"])
def test_feedback_is_one_line_of_harmless_html(message):
    text = gradebooks.feedback(WHOLE, result("anna", message=message))
    assert not text.startswith(tables.FORMULA)
    assert "\n" not in text
    assert "<script" not in text


def test_a_change_after_grading_is_in_the_feedback():
    changed = cohorts.Cohort(
        "01", {"mean_loss": 4}, (), (), ("pack_rows does not count any more.",)
    )
    assert "pack_rows does not count" in gradebooks.feedback(changed, result("anna"))


def test_a_worksheet_in_another_language_is_told(moodle):
    moodle.write_text("ID,Vollständiger Name,Bewertung\n", "utf-8")
    with pytest.raises(DataError, match="needs the columns Identifier, Grade; found: ID, Voll"):
        gradebooks.fill_moodle(moodle, WHOLE, [])


# ---------------------------------------------------------------- Gradescope


def test_gradescope_gets_a_file_for_each_student(tmp_path):
    changed = cohorts.Cohort("01_concepts", WHOLE.points, (), (), ("A change.",))
    partly = result("bert", 3.0, "partly")
    written, left = gradescope.write_folders(changed, [result("=anna"), partly], tmp_path / "gs")
    assert (written, left) == ([("=anna", "11"), ("bert", "3 (partly: why)")], [])
    index = (tmp_path / "gs" / "students.csv").read_text("utf-8").splitlines()
    assert index[1].startswith('"\'=anna","_anna-')
    path = tmp_path / "gs" / index[1].split('"')[3] / "results.json"
    record = json.loads(path.read_text("utf-8"))
    assert (record["score"], record["output"]) == (11, "A change.")
    assert record["tests"] == [
        {
            "name": "mean_loss",
            "score": 1,
            "max_score": 4,
            "status": "failed",
            "output": "off by <one>",
            "output_format": "text",
        },
        {
            "name": "pack_rows",
            "score": 10,
            "max_score": 10,
            "status": "passed",
            "output": "right",
            "output_format": "text",
        },
    ]


# the published fields; what is not among them may be refused
FIELDS = {"score", "execution_time", "output", "output_format", "tests", "extra_data"}
TEST_FIELDS = {"name", "score", "max_score", "status", "output", "output_format"}


def test_only_published_fields_are_written():
    record = gradescope.to_record(WHOLE, result("anna"))
    assert set(record) == FIELDS
    assert all(set(one) == TEST_FIELDS for one in record["tests"])
    assert {one["status"] for one in record["tests"]} <= {"passed", "failed"}


# ---------------------------------------------------------------- the table itself

CELL = st.text(st.sampled_from('ab,;"\n\r\té='), max_size=5)


@given(
    st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=5), st.sampled_from(["\n", "\r\n"])
)
def test_a_table_that_nobody_changed_comes_out_byte_for_byte(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    body = "".join(",".join(row) + end for row in rows)  # quotes as wild as they come
    content = f"ID,x{end}{body}".encode()
    path.write_bytes(content)
    assert tables.Sheet(path, ["ID"], "").as_bytes() == content


@given(st.lists(st.lists(CELL, min_size=2, max_size=2), min_size=1, max_size=4), CELL)
def test_a_cell_that_was_set_is_read_back_and_the_others_stay(tmp_path_factory, rows, text):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    written = io.StringIO()
    csv.writer(written).writerows([["ID", "x"], *rows])
    path.write_text(written.getvalue(), "utf-8", newline="")
    sheet = tables.Sheet(path, ["ID"], "")
    sheet.set(1, "x", text)
    found = list(csv.reader(io.StringIO(sheet.as_bytes().decode(), newline="")))
    assert found == [["ID", "x"], [rows[0][0], text], *rows[1:]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_the_encoding_is_kept(tmp_path, encoding):
    path = tmp_path / "any.csv"
    text = 'ID,"a, b"\r\né,1\r\n'
    path.write_bytes(text.encode(encoding))
    sheet = tables.Sheet(path, ["ID"], "")
    assert sheet.get(1, "ID") == "é"
    sheet.set(1, "a, b", "2")
    assert sheet.as_bytes() == text.replace("1", "2").encode(encoding)


# ---------------------------------------------------------------- the commands


@pytest.fixture
def graded(tmp_path):
    out = tmp_path / "out"
    unreadable = replace(result("4712", None, "unreadable"), questions=[])
    results = [result("4711"), result("ghost"), unreadable]
    for one in results:
        path = grade.result_path(out, one.student)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(one)), "utf-8")
    students = tuple(one.student for one in results)
    cohorts.save(cohorts.Cohort("01_concepts", WHOLE.points, (), students), out)
    return out


def test_the_command_fills_the_gradebook_and_names_who_is_left(tunebook, graded, canvas):
    canvas.chmod(0o600)
    done = tunebook(
        "homework", "export", "canvas", graded, "--into", canvas, "--column", "Homework 1"
    )
    assert done.status == 0, done.err
    assert "Grades written: 1, " in done.out
    assert "ghost: is in no row of the table" in done.out
    assert "4712: unreadable: why" in done.out
    assert canvas.read_bytes().decode() == CANVAS.replace('"A, B",,7.00', '"A, B",11,7.00')
    assert os.name != "posix" or canvas.stat().st_mode & 0o777 == 0o600


def test_the_commands_can_leave_the_download_as_it_is(tunebook, graded, moodle, tmp_path):
    done = tunebook(
        "homework", "export", "moodle", graded, "--into", moodle, "--to", tmp_path / "new.csv"
    )
    assert done.status == 0, done.err
    assert moodle.read_bytes() == MOODLE.encode()
    assert (tmp_path / "new.csv").read_bytes() == MOODLE.encode()  # nobody there is in it
    folder = tmp_path / "gs"
    done = tunebook("homework", "export", "gradescope", graded, "--into", folder)
    assert (done.status, len(list(folder.glob("*/results.json")))) == (0, 2)
    again = tunebook("homework", "export", "gradescope", graded, "--into", folder)
    assert (again.status, "exists already" in again.err) == (1, True)


NAMES = st.sampled_from(["a", "b", "c", "1", "2", "A"])
STATES = st.sampled_from(["graded", "partly", "missing", "unreadable"])


@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["", "1", "2", "3"]), STATES), max_size=6),
    st.lists(st.tuples(NAMES, st.sampled_from(["1", "2", "3", ""])), max_size=5),
)
def test_each_row_has_one_owner_and_each_student_a_word(people, rows):
    scored = ("graded", "partly")
    results = [
        result(f"{name}", 1.0 if state in scored else None, state, number=number)
        for name, number, state in {name: (name, n, s) for name, n, s in people}.values()
    ]
    keys = {row: {name, number} for row, (name, number) in enumerate(rows)}
    numbers = {row: {number} for row, (_, number) in enumerate(rows)}
    found, left, owned = gradebooks.match(results, keys, numbers)
    places = [row for _, row in found]
    assert len(places) == len(set(places))
    assert set(places) <= owned
    assert all(one.score is not None for one, _ in found)
    told = [one.student for one, _ in found] + [student for student, _ in left]
    assert sorted(told) == sorted(one.student for one in results)
    for one, row in found:
        assert one.student.casefold() in keys[row] or one.number in numbers[row]

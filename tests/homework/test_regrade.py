"""After grading: questions dropped, points changed, answers that a person reads."""

import csv
import io
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import nbformat
import pytest

from course_lib.errors import DataError, UnknownNameError
from course_lib.homework import cohort as cohorts
from course_lib.homework import grade, readings, report
from course_lib.homework.checks import check
from course_lib.homework.cohort import Changes, Reading
from course_lib.homework.inbox import Upload
from tests.homework import answers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="grading needs Linux or macOS")
LESSON = "01_concepts"
WRONG = "def build_labels(segments):\n    return [], []"
CRASH = "def build_labels(segments):\n    import os\n    os._exit(1)"
RULES = {"grade": True, "solution": True, "locked": False, "task": False, "schema_version": 3}
STUB = "*Your answer goes here.*"


def with_essay(notebook, text=STUB):
    """The same notebook with a question that a person reads, 4 points."""
    cell = nbformat.v4.new_markdown_cell(text, id="essay")
    cell.metadata["nbgrader"] = {**RULES, "grade_id": "essay", "points": 4}
    notebook.cells.append(cell)
    return notebook


def book(changes=None, extra=(), essay=None) -> bytes:
    notebook = answers.handed_in(LESSON, changes or {}, extra)
    if essay is not None:
        with_essay(notebook, essay)
    return nbformat.writes(notebook).encode("utf-8")


def uploads(**books):
    return {name: [Upload(name, f"{name}.ipynb", lambda b=b: b)] for name, b in books.items()}


@pytest.fixture(scope="module")
def exam():
    return grade.load_exam(LESSON, "none")


@pytest.fixture(scope="module")
def essay_exam(exam):
    return replace(exam, released=with_essay(nbformat.from_dict(exam.released)))


COHORT = {
    "right": book(),
    "wrong": book({"build_labels": WRONG}),
    "crash": book({"build_labels": CRASH}),
    "lost": book(extra=["import os; os._exit(1)"]),
    "both": book({"build_labels": CRASH}, ["import os; os._exit(1)"]),
    "torn": b"{",
}


@pytest.fixture(scope="module")
def graded(exam, tmp_path_factory):
    """The cohort above, graded once; tests copy what they change."""
    out = tmp_path_factory.mktemp("graded")
    grade.grade_cohort(exam, {**uploads(**COHORT), "absent": []}, out)
    cohorts.save(cohorts.of_exam(exam, [*COHORT, "absent"]), out)
    return out


def seen(result):
    """All of a result but when it was made and for which checks."""
    return {k: v for k, v in asdict(result).items() if k not in ("seconds", "key")}


def scaled(one, factor):
    return check(one.name, points=one.points * factor)(one.body)


@pytest.mark.parametrize(
    "changes",
    [
        Changes(("build_labels",)),
        Changes(("pack_rows",), {"mean_loss": 1.5, "build_labels": 12}),
    ],
    ids=str,
)
def test_a_change_gives_what_grading_anew_would(exam, graded, tmp_path, changes):
    kept = {name: found for name, found in exam.checks.items() if name not in changes.dropped}
    factors = {name: changes.points.get(name, n) / n for name, n in exam.points.items()}
    anew = {name: [scaled(c, factors[name]) for c in found] for name, found in kept.items()}
    fresh_exam = replace(exam, checks=anew)
    fresh = grade.grade_cohort(fresh_exam, {**uploads(**COHORT), "absent": []}, tmp_path)
    changed, results = cohorts.amend(*cohorts.load(graded), changes, {})
    assert [seen(one) for one in results] == [seen(one) for one in fresh]
    plain = cohorts.of_exam(fresh_exam, list(COHORT))
    bare = replace(changed, changes=())
    assert report.grades_table(bare, results) == report.grades_table(plain, fresh)
    assert report.questions_table(results) == report.questions_table(fresh)
    assert changed.max_score == fresh_exam.max_score


def test_a_dropped_crash_leaves_a_whole_submission_but_a_lost_cell_stays(graded):
    _, results = cohorts.amend(*cohorts.load(graded), Changes(("build_labels",)), {})
    found = {one.student: (one.status, one.score) for one in results}
    assert found == {
        "right": ("graded", 11),
        "wrong": ("graded", 11),
        "crash": ("graded", 11),
        "lost": ("partly", 11),
        "both": ("partly", 11),
        "torn": ("unreadable", None),
        "absent": ("missing", None),
    }
    reasons = {one.student: one.reason for one in results}
    assert reasons["both"].startswith("cell number 19 was left out")


def test_a_broken_check_that_is_dropped_costs_nobody(exam, tmp_path):
    @check("mean_loss", points=1)
    def broken(ask):
        raise KeyError("oops")

    bad = replace(exam, checks={**exam.checks, "mean_loss": [broken]})
    (before,) = grade.grade_cohort(bad, uploads(right=book()), tmp_path)
    assert (before.status, before.score) == ("grader error", None)
    whole = cohorts.of_exam(bad, ["right"])
    _, (after,) = cohorts.amend(whole, [before], Changes(("mean_loss",)), {})
    assert (after.status, after.score, after.max_score) == ("graded", 11, 11)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (Changes(("mean_los",)), UnknownNameError, "mean_loss"),
        (Changes((), {"mean": 1}), UnknownNameError, "'mean'"),
        (Changes((), {"mean_loss": 0}), DataError, "above 0"),
        (Changes((), {"mean_loss": float("nan")}), DataError, "above 0"),
        (Changes((), {"mean_loss": float("inf")}), DataError, "above 0"),
    ],
)
def test_changes_that_make_no_sense_are_told(graded, changes, error, message):
    whole, _ = cohorts.load(graded)
    with pytest.raises(error, match=message):
        cohorts.check_changes(changes, whole)


def test_not_all_questions_can_be_dropped(graded):
    whole, _ = cohorts.load(graded)
    with pytest.raises(DataError, match="No question would be left"):
        cohorts.check_changes(Changes(tuple(whole.points)), whole)


# ---------------------------------------------------------------- the folder


def inbox_of(tmp_path: Path, **books) -> Path:
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    for name, content in books.items():
        (folder / f"{name}.ipynb").write_bytes(content)
    return folder


def rows_of(path: Path):
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"))))


def test_regrade_stamps_every_report_and_runs_no_code(tunebook, tmp_path, monkeypatch):
    folder, out = inbox_of(tmp_path, anna=book({"mean_loss": "x = 1"})), tmp_path / "out"
    words = ["grade", "01", folder, "--out", out, "--unsafe-no-sandbox"]
    assert tunebook(*words).status == 0
    kept = grade.result_path(out, "anna").read_bytes()

    def refuse(*args):
        raise AssertionError("a student's code was run")

    monkeypatch.setattr(grade, "grade_student", refuse)
    done = tunebook("homework", "regrade", out, "--drop", "mean_loss", "--points", "pack_rows=5")
    assert done.status == 0, done.err
    assert "Changed: mean_loss does not count any more." in done.out
    (row,) = rows_of(out / "grades.csv")
    assert (row["score"], row["max_score"]) == ("13", "13")
    assert row["changes"] == (
        "mean_loss does not count any more. pack_rows counts 5 points, not 3."
    )
    pages = [out / "summary.html", *(out / "students").iterdir()]
    assert all("Changed after grading: mean_loss does not" in p.read_text("utf-8") for p in pages)
    assert grade.result_path(out, "anna").read_bytes() == kept

    again = tunebook(*words)  # nothing changed: the kept results hold, the changes too
    assert (again.status, "13/13" in again.err) == (0, False)
    assert rows_of(out / "grades.csv") == [row]
    assert tunebook("homework", "regrade", out, "--drop", "lora_forward").status == 0
    assert rows_of(out / "grades.csv")[0]["score"] == "10"
    undone = tunebook("homework", "regrade", out, "--undo")
    assert "Changed" not in undone.out
    assert rows_of(out / "grades.csv")[0]["score"] == "11"
    assert not any("Changed after" in path.read_text("utf-8") for path in pages)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--drop", "mean_los"], "Did you mean mean_loss"),
        (["--points", "mean_loss"], "expected QUESTION=POINTS"),
        (["--points", "mean_loss=-1"], "above 0"),
    ],
)
def test_a_refused_change_changes_nothing(tunebook, graded, words, said):
    before = sorted(path.name for path in graded.iterdir())
    done = tunebook("homework", "regrade", graded, *words)
    assert done.status == 1
    assert said in done.err
    assert sorted(path.name for path in graded.iterdir()) == before


def test_changes_of_a_question_that_is_gone_say_how_to_forget_them(tunebook, exam, tmp_path):
    grade.grade_cohort(exam, uploads(anna=book()), tmp_path)
    cohorts.save(cohorts.of_exam(exam, ["anna"]), tmp_path)
    (tmp_path / cohorts.CHANGES_NAME).write_text('{"dropped": ["old"], "points": {}}', "utf-8")
    done = tunebook("homework", "regrade", tmp_path, "--drop", "mean_loss")
    assert (done.status, "There is no question called 'old'" in done.err) == (1, True)
    with pytest.raises(DataError, match="does not fit the questions: There is no question") as told:
        readings.finish(tmp_path)
    assert "--undo" in told.value.next_step
    assert tunebook("homework", "regrade", tmp_path, "--undo").status == 0


def test_a_folder_without_results_is_told(tmp_path):
    with pytest.raises(DataError, match="no results in"):
        cohorts.load(tmp_path)


def test_a_missing_or_foreign_result_is_told(exam, tmp_path):
    cohorts.save(cohorts.of_exam(exam, ["anna"]), tmp_path)
    with pytest.raises(DataError, match="1 of 1 students have no result of these questions"):
        cohorts.load(tmp_path)
    other = grade.Result("anna", "graded", 1, 1, questions=[{"name": "x", "max_points": 1}])
    grade.result_path(tmp_path, "anna").parent.mkdir()
    grade.result_path(tmp_path, "anna").write_text(json.dumps(asdict(other)), "utf-8")
    with pytest.raises(DataError, match="no result of these questions"):
        cohorts.load(tmp_path)


# ---------------------------------------------------------------- answers that a person reads


def test_an_answer_waits_for_a_reader_and_is_no_silent_zero(essay_exam, tmp_path):
    books = uploads(
        wrote=book(essay="Because the loss is masked."),
        blank=book(essay=STUB),
        cleared=book(essay=" \n"),
        gone=book(),
        crashed=book({"build_labels": CRASH}, essay="I think so."),
    )
    results = {r.student: r for r in grade.grade_cohort(essay_exam, books, tmp_path)}
    assert {s: (r.status, r.score, r.max_score) for s, r in results.items()} == {
        "wrote": ("needs a reader", None, 18),
        "blank": ("graded", 14, 18),
        "cleared": ("graded", 14, 18),
        "gone": ("needs a reader", None, 18),
        "crashed": ("needs a reader", None, 18),
    }
    assert results["wrote"].answers["essay"] == "Because the loss is masked."
    table = list(csv.DictReader(io.StringIO(report.questions_table([results["wrote"]]))))
    assert (table[-1]["status"], table[-1]["points"]) == ("needs a reader", "")
    page = report.student_page(cohorts.of_exam(essay_exam, []), results["wrote"])
    assert "essay: needs a reader, no points yet of 4" in page
    assert "may stand in another one" in results["gone"].reason
    assert "build_labels could not be graded" in results["crashed"].reason


def test_from_grading_over_the_table_to_a_score(tunebook, essay_exam, tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "load_exam", lambda name, kind: essay_exam)
    folder, out = inbox_of(tmp_path, anna=book(essay="Because.")), tmp_path / "out"
    words = ["grade", "01", folder, "--out", out, "--unsafe-no-sandbox"]
    graded = tunebook(*words)
    assert "1 students wait for a reader" in graded.out
    assert (rows_of(out / "grades.csv")[0]["score"], graded.status) == ("", 0)
    fill(out / readings.TABLE_NAME, ["3.5"], "well said")
    done = tunebook("homework", "regrade", out)
    assert (done.status, "wait for a reader" in done.out) == (0, False), done.err
    (row,) = rows_of(out / "grades.csv")
    assert (row["status"], row["score"], row["max_score"]) == ("graded", "17.5", "18")
    assert tunebook(*words).status == 0  # graded again, the reading stays
    assert rows_of(out / "grades.csv") == [row]
    fill(out / readings.TABLE_NAME, ["35"])
    assert "row 2 (anna, essay), points: '35'" in tunebook("homework", "regrade", out).err


def test_what_a_person_read_is_worked_in(essay_exam, tmp_path):
    books = uploads(
        wrote=book(essay="Because."), crashed=book({"build_labels": CRASH}, essay="So.")
    )
    results = grade.grade_cohort(essay_exam, books, tmp_path)
    whole = cohorts.of_exam(essay_exam, list(books))
    given = {(s, "essay"): Reading(2.5, "Short, but right.") for s in books}
    _, after = cohorts.amend(whole, results, Changes(), given)
    assert [(r.status, r.score) for r in after] == [("graded", 16.5), ("partly", 13.5)]
    assert after[0].questions[-1]["status"] == "read"
    page = report.student_page(whole, after[0])
    assert "essay: read, 2.5 of 4" in page
    assert "Short, but right." in page
    _, doubled = cohorts.amend(whole, results, Changes((), {"essay": 8}), given)
    assert [r.score for r in doubled] == [19, 16]
    _, dropped = cohorts.amend(whole, results, Changes(("essay",)), {})
    assert [(r.status, r.score) for r in dropped] == [("graded", 14), ("partly", 11)]


@pytest.fixture
def waiting(tmp_path):
    """Three students whose essays wait, one of them with a dangerous name and answer."""
    names = {"anna": "=1+1", "bert": "so", "@eve": 'Two lines,\nand a "quote"; =2'}
    results = [
        grade.Result(
            name,
            "needs a reader",
            None,
            4,
            questions=[
                {
                    "name": "essay",
                    "status": "needs a reader",
                    "message": "essay needs a reader.",
                    "points": 0,
                    "max_points": 4,
                }
            ],
            answers={"essay": text},
        )
        for name, text in names.items()
    ]
    whole = cohorts.Cohort(LESSON, {"essay": 4}, ("essay",), tuple(names))
    path = readings.write_table(tmp_path, whole, results)
    return path, whole, results


def fill(path, points, comment="", encoding="utf-8", sign=","):
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
    for row, given in zip(rows[1:], points, strict=True):
        row[4:6] = [given, comment]
    text = io.StringIO()
    csv.writer(text, delimiter=sign).writerows(rows)
    path.write_text(text.getvalue(), encoding, newline="")


def test_the_table_holds_each_answer_and_no_formula(waiting):
    path, whole, results = waiting
    rows = rows_of(path)
    assert [row["student"] for row in rows] == ["anna", "bert", "'@eve"]
    assert [row["answer"] for row in rows] == ["'=1+1", "so", 'Two lines,\nand a "quote"; =2']
    assert readings.read_back(path.parent, whole, results) == {}


@pytest.mark.parametrize(
    ("encoding", "sign"), [("utf-8", ","), ("utf-8-sig", ";"), ("utf-8", "\t")]
)
def test_points_come_back_however_it_was_saved(waiting, encoding, sign):
    path, whole, results = waiting
    fill(path, ["4", "", " 1.5 "], "好 = good", encoding, sign)
    found = readings.read_back(path.parent, whole, results)
    assert found == {
        ("anna", "essay"): Reading(4, "好 = good"),
        ("@eve", "essay"): Reading(1.5, "好 = good"),
    }


def test_what_was_filled_in_stays_when_it_is_written_again(waiting):
    path, whole, results = waiting
    fill(path, ["4", "0", ""], "-1 for spelling")
    before = readings.read_back(path.parent, whole, results)
    for _ in range(2):
        readings.write_table(path.parent, whole, results)
        assert readings.read_back(path.parent, whole, results) == before
    assert before["bert", "essay"] == Reading(0, "-1 for spelling")


def test_an_answer_handed_in_anew_is_read_anew_and_old_work_stays(waiting):
    path, whole, results = waiting
    fill(path, ["4", "3", "2"], "fine")
    changed = [replace(results[0], answers={"essay": "other"}), *results[1:]]
    assert ("anna", "essay") not in readings.read_back(path.parent, whole, changed)
    readings.write_table(path.parent, whole, changed)
    rows = rows_of(path)
    assert [(row["student"], row["points"]) for row in rows] == [
        ("anna", ""),
        ("bert", "3"),
        ("'@eve", "2"),
        ("anna", "4"),
    ]
    assert readings.read_back(path.parent, whole, results)["anna", "essay"].points == 4


@pytest.mark.parametrize("points", ["5", "-1", "2,5", "nan", "many", "=1+1"])
def test_points_that_do_not_fit_are_told_with_their_row(waiting, points):
    path, whole, results = waiting
    fill(path, ["4", points, points])
    with pytest.raises(DataError, match=r"2 rows to mend") as error:
        readings.read_back(path.parent, whole, results)
    assert "row 3 (bert, essay), points" in str(error.value)
    assert "from 0 to 4" in str(error.value)


def test_a_table_that_lost_columns_is_told(waiting):
    path, whole, results = waiting
    path.write_text("student,points\nanna,4\n", "utf-8")
    with pytest.raises(DataError, match="columns are missing: answer_id, comment, question"):
        readings.read_back(path.parent, whole, results)


def test_a_table_in_another_encoding_is_told(waiting):
    path, whole, results = waiting
    path.write_bytes("student,é".encode("latin-1"))
    with pytest.raises(DataError, match="is not UTF-8"):
        readings.read_back(path.parent, whole, results)


def test_no_table_is_written_where_nobody_reads(exam, tmp_path):
    assert readings.write_table(tmp_path, cohorts.of_exam(exam, []), []) is None

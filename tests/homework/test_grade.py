"""A cohort: statuses, what is kept, what is tried again, a batch that was killed; and reports."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from course_lib.errors import EnvironmentProblem
from course_lib.files import REPO_DIR
from course_lib.homework import cohort, grade, inbox, isolation, lessons, report, tables
from course_lib.homework.checks import check
from course_lib.homework.inbox import Upload
from tests.homework import answers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="grading needs Linux or macOS")
LESSON = "01_concepts"
SLOW_ANSWER = "import time; time.sleep(0.2)"


def book_bytes(changes=None, extra=(), **about) -> bytes:
    notebook = answers.handed_in(LESSON, changes or {}, extra)
    notebook.metadata.tunebook.update(about)
    return nbformat.writes(notebook).encode("utf-8")


def upload(student, content, place="exercise.ipynb", **fields):
    return Upload(student, f"{student}/{place}", lambda: content, **fields)


@pytest.fixture(scope="module")
def exam():
    """Our own answers only: no sandbox needed, so these tests run everywhere."""
    return grade.load_exam(LESSON, "none")


def test_a_lessons_judges_belong_to_what_it_is_graded_with(monkeypatch):
    digested = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: digested.append(path.name) or b"")
    assert grade.load_exam("05_ms_agent", "none").key
    assert {"lesson_05.py", "judges_05.py", "hidden.py"} <= set(digested)


WRONG_BOOK = {"build_labels": "def build_labels(segments):\n    return [], []"}


def test_each_student_gets_a_status_and_a_reason(exam, tmp_path):
    uploads = {
        "right": [upload("right", book_bytes())],
        "wrong": [upload("wrong", book_bytes(WRONG_BOOK))],
        "utf16": [upload("utf16", book_bytes().decode().encode("utf-16"))],
        "crash": [upload("crash", book_bytes(extra=["import os; os._exit(1)"]))],
        "torn": [upload("torn", book_bytes()[:500])],
        "empty": [upload("empty", b"")],
        "zipbomb": [upload("zipbomb", b"", problem="it is larger than 20 MiB")],
        "other": [upload("other", book_bytes(lesson="02_other"))],
        "nobody": [],
        "deep": [upload("deep", b'{"cells": ' + b"[" * 100_000)],
    }
    results = {r.student: r for r in grade.grade_cohort(exam, uploads, tmp_path)}
    assert list(results) == list(uploads)
    assert {s: (r.status, r.score) for s, r in results.items()} == {
        "right": ("graded", 14),
        "wrong": ("graded", 11),
        "utf16": ("graded", 14),
        "crash": ("partly", 14),
        "torn": ("unreadable", None),
        "empty": ("unreadable", None),
        "zipbomb": ("unreadable", None),
        "other": ("wrong lesson", None),
        "nobody": ("missing", None),
        "deep": ("unreadable", None),
    }
    assert all(r.reason for s, r in results.items() if r.status != "graded")
    assert "larger than 20 MiB" in results["zipbomb"].reason


def test_of_several_uploads_the_newest_that_can_be_read_counts(exam):
    uploads = [
        upload("anna", b"{", "newest.ipynb", changed=3),
        upload("anna", book_bytes(WRONG_BOOK), "newer.ipynb", changed=2),
        upload("anna", book_bytes(), "older.ipynb", changed=1),
    ]
    result = grade.grade_student(exam, "anna", uploads)
    assert (result.status, result.score) == ("graded", 11)
    assert result.notes[0].startswith("not graded: anna/newest.ipynb: not a Jupyter notebook")
    assert result.notes[1] == "1 more uploads; the newest counts: anna/newer.ipynb"


def test_a_check_of_ours_that_breaks_is_not_a_students_fault(exam, tmp_path):
    @check("mean_loss", points=1)
    def broken(ask):
        raise KeyError("oops")

    bad = grade.Exam(LESSON, "none", exam.limits, exam.released, {"mean_loss": [broken]})
    uploads = {"anna": [upload("anna", book_bytes())]}
    (result,) = grade.grade_cohort(bad, uploads, tmp_path)
    assert (result.status, result.score, result.key) == ("grader error", None, "")
    assert "the check itself stopped with KeyError" in result.reason


def test_a_sandbox_that_does_not_start_is_a_grader_error(exam, tmp_path, monkeypatch):
    def refuse(self):
        raise EnvironmentProblem("The sandbox does not start: no.", "x")

    monkeypatch.setattr("course_lib.homework.box.Box.wait_until_ready", refuse)
    (result,) = grade.grade_cohort(exam, {"anna": [upload("anna", book_bytes())]}, tmp_path)
    assert (result.status, result.score, result.key) == ("grader error", None, "")


# ---------------------------------------------------------------- kept results


def count_gradings(monkeypatch):
    graded = []
    real = grade.grade_student

    def counted(exam, student, uploads):
        graded.append(student)
        return real(exam, student, uploads)

    monkeypatch.setattr(grade, "grade_student", counted)
    return graded


def test_only_what_changed_is_graded_again(exam, tmp_path, monkeypatch):
    uploads = {name: [upload(name, b"{" + name.encode())] for name in ("anna", "bert", "cora")}
    first = grade.grade_cohort(exam, uploads, tmp_path)
    graded = count_gradings(monkeypatch)
    assert grade.grade_cohort(exam, uploads, tmp_path) == first
    assert graded == []
    uploads["bert"] = [upload("bert", b"[")]
    grade.grade_cohort(exam, uploads, tmp_path)
    assert graded == ["bert"]
    grade.result_path(tmp_path, "cora").write_text("{torn", "utf-8")
    grade.grade_cohort(exam, uploads, tmp_path)
    assert graded == ["bert", "cora"]


def test_other_checks_or_limits_grade_all_again(exam, tmp_path, monkeypatch):
    uploads = {"anna": [upload("anna", b"{")]}
    grade.grade_cohort(exam, uploads, tmp_path)
    graded = count_gradings(monkeypatch)
    limits = grade.Limits(call_s=3)
    changed = grade.Exam(LESSON, "none", limits, exam.released, exam.checks)
    grade.grade_cohort(changed, uploads, tmp_path)
    assert graded == ["anna"]


def test_names_of_students_never_become_paths(tmp_path):
    names = ["../../x", "a/b", "a_b", "a b", "con", "王", "x" * 500, "\ud800"]
    paths = {grade.result_path(tmp_path, name) for name in names}
    assert len(paths) == len(names)
    assert {path.parent for path in paths} == {tmp_path / grade.RESULTS_DIR}
    assert all(len(path.name) < 60 for path in paths)


def test_a_killed_batch_goes_on_with_the_same_result(exam, tmp_path):
    inbox_dir = tmp_path / "inbox"
    inbox_dir.mkdir()
    for number in range(4):
        (inbox_dir / f"s{number}.ipynb").write_bytes(book_bytes(extra=[SLOW_ANSWER, str(number)]))
    out = tmp_path / "out"
    start = "import sys; from course_lib import cli; cli.main(sys.argv[1:])"
    words = ["grade", "01", inbox_dir, "--jobs", "1", "--out", out, "--unsafe-no-sandbox"]
    command = [sys.executable, "-c", start, *map(str, words)]
    process = subprocess.Popen(command, cwd=REPO_DIR, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while time.monotonic() < end and not list(out.glob("results/*.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.glob("results/*.json")}
    assert 1 <= len(done) < 4
    uploads = inbox.read_inbox(inbox_dir)
    resumed = grade.grade_cohort(exam, uploads, out)
    assert all(path.stat().st_mtime_ns == done[path] for path in done)
    assert [(r.status, r.score) for r in resumed] == [("graded", 14)] * 4
    fresh = grade.grade_cohort(exam, uploads, tmp_path / "fresh")
    assert report.grades_table(whole(exam), resumed) == report.grades_table(whole(exam), fresh)
    assert report.questions_table(resumed) == report.questions_table(fresh)


# ---------------------------------------------------------------- reports


def result(student, status="graded", score=3.0, **fields):
    question = {
        "name": "mean_loss",
        "status": "wrong",
        "message": fields.pop("message", "off by one"),
        "points": 0,
        "max_points": 3,
    }
    return grade.Result(student, status, score, 14, questions=[question], **fields)


def whole(exam):
    return cohort.of_exam(exam, [])


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_crash_or_a_missing_submission_has_no_zero(exam):
    results = [result("a", score=0), result("b", "missing", None), result("c", "unreadable", None)]
    assert [row["score"] for row in rows_of(report.grades_table(whole(exam), results))] == [
        "0",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A1", "+1", "-1", "@x", "\t=1", "\n=1", "\r=1", "＝1"]
)
def test_no_cell_is_a_formula(exam, name):
    results = [result(name, reason=name, message=name)]
    text = report.grades_table(whole(exam), results) + report.questions_table(results)
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert [cell for cell in cells if cell.startswith(tables.FORMULA)] == []


def test_a_spreadsheet_that_expects_semicolons_sees_no_more_cells(exam):
    table = report.grades_table(whole(exam), [result("anna;=1+1")])
    cells = next(row for row in csv.reader(io.StringIO(table), delimiter=";") if "anna" in row[0])
    assert cells[0].startswith("anna;=1+1,")


def test_commas_quotes_and_lines_in_names_stay_in_their_cell(exam):
    name = 'Chen, "Anna"\nMaria'
    table = report.grades_table(whole(exam), [result(name)])
    assert [row["student"] for row in rows_of(table)] == [name]


def test_pages_escape_everything_and_load_nothing(exam, tmp_path):
    evil = "<script>alert(1)</script><img src=http://x/y>"
    one = result(evil, reason=evil, message=evil, notes=[evil], answers={"mean_loss": evil})
    paths = report.write_reports(whole(exam), [one], tmp_path)
    assert [path.name for path in paths] == ["grades.csv", "questions.csv", "summary.html"]
    pages = [*tmp_path.glob("students/*.html"), tmp_path / "summary.html"]
    for page in pages:
        text = page.read_text("utf-8")
        assert "<script" not in text
        assert "<img" not in text
        assert "src=" not in text.replace("src=http://x/y&gt;", "")
    assert len(pages) == 2


def test_pages_show_no_hidden_check(exam):
    uploads = [upload("anna", book_bytes(WRONG_BOOK))]
    page = report.student_page(whole(exam), grade.grade_student(exam, "anna", uploads))
    hidden = (lessons.SOLUTIONS_DIR / LESSON / lessons.HIDDEN_NAME).read_text("utf-8")
    lines = {line.strip() for line in hidden.splitlines() if len(line.strip()) > 20}
    assert [line for line in lines if line in page] == []
    assert "input_ids should be the ids of all segments" in page
    assert "return [], []" in page


def test_reports_without_isolation_are_stamped(exam):
    open_one = result("anna", isolation="none")
    assert report.NOT_ISOLATED in report.student_page(whole(exam), open_one)
    assert report.NOT_ISOLATED in report.summary_page(whole(exam), [open_one, result("bert")])
    assert rows_of(report.grades_table(whole(exam), [open_one]))[0]["isolation"] == "none"
    assert report.NOT_ISOLATED not in report.student_page(whole(exam), result("bert"))


def test_the_summary_says_pass_rates_and_the_most_frequent_message(exam):
    results = [result("a"), result("b"), result("c", message="other")]
    page = report.summary_page(
        whole(exam), [*results, result("d", "partly", 1.0, reason="too slow")]
    )
    assert (
        "<td>mean_loss</td><td>0 of 4</td><td>0</td><td>0</td><td>0</td><td>0.00 of 3</td>" in page
    )
    assert "3 times: off by one" in page
    assert "<td>d</td><td>partly</td><td>too slow</td>" in page


# ---------------------------------------------------------------- the command, and isolation


def test_the_command_grades_a_folder_with_a_roster(tunebook, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna.ipynb").write_bytes(book_bytes())
    (tmp_path / "roster.csv").write_text("student\nanna\nbert\n", "utf-8")
    out = tmp_path / "out"
    words = ["grade", "01", tmp_path / "in", "--out", out, "--roster", tmp_path / "roster.csv"]
    done = tunebook(*words, "--unsafe-no-sandbox")
    assert done.status == 0, done.err
    assert "NOT ISOLATED" in done.err
    assert "anna: graded 14/14" in done.err
    rows = rows_of((out / "grades.csv").read_text("utf-8"))
    found = [(row["student"], row["status"], row["score"]) for row in rows]
    assert found == [("anna", "graded", "14"), ("bert", "missing", "")]
    result = json.loads(grade.result_path(out, "anna").read_text("utf-8"))
    assert result["isolation"] == "none"


def test_without_isolation_grading_is_refused(tunebook, tmp_path, monkeypatch):
    (tmp_path / "anna.ipynb").write_bytes(book_bytes())
    monkeypatch.setenv("PATH", str(tmp_path))
    done = tunebook("grade", "01", tmp_path, "--out", tmp_path / "out")
    assert done.status == 1
    assert "bubblewrap: not installed" in done.err or "needs Linux" in done.err
    assert "--unsafe-no-sandbox" in done.err
    assert not (tmp_path / "out").exists()


def test_the_doctor_says_how_to_get_isolation(tunebook, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = tunebook("homework", "doctor")
    assert done.status == 1
    assert "apt-get install bubblewrap" in done.out or "Linux" in done.out


@pytest.mark.parametrize(
    ("said", "finding"),
    [
        ("bwrap: setting up uid map: Permission denied", "start"),
        ("Fatal Python error: init_fs_encoding", "Python inside"),
    ],
)
def test_a_sandbox_that_fails_is_explained(monkeypatch, said, finding):
    def fake(line, **kwargs):
        code = 0 if "--version" in line else 1
        return subprocess.CompletedProcess(line, code, "bubblewrap 0.8.0", said)

    if sys.platform != "linux":
        pytest.skip("bubblewrap is for Linux")
    monkeypatch.setattr(isolation.sandbox, "find_bubblewrap", lambda: "/usr/bin/bwrap")
    monkeypatch.setattr(isolation.sandbox, "command", lambda *args: ["bwrap"])
    monkeypatch.setattr(isolation.subprocess, "run", fake)
    found = isolation.examine()[-1]
    assert (found.name, found.found, found.is_ok) == (finding, said, False)
    assert found.next_step


def test_what_is_open_in_the_walls_is_told(monkeypatch):
    found = {"reads your files": True}
    monkeypatch.setattr(isolation.trials, "try_to_break_out", lambda kind: found)
    (found,) = isolation._check_walls("bubblewrap")
    assert (found.found, found.is_ok) == ("a submission reads your files", False)


def test_root_is_never_the_user_inside(monkeypatch):
    if sys.platform != "linux":
        pytest.skip("bubblewrap is for Linux")
    monkeypatch.setattr(isolation.sandbox, "find_bubblewrap", lambda: "/usr/bin/bwrap")
    monkeypatch.setattr(isolation.sandbox, "_knows_disable_userns", lambda bwrap: True)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    line = isolation.sandbox.command("bubblewrap", grade.Limits())
    assert line.index("setpriv") < line.index("--unshare-all")
    assert "--reuid=65534" in line
    assert not any(word.startswith(str(REPO_DIR / "solutions")) for word in line)

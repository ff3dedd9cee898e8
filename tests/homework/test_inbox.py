"""Bulk downloads: whose a file is, several of one student, zips that mean harm, odd encodings."""

import io
import os
import zipfile

import pytest

from course_lib.errors import DataError
from course_lib.homework import inbox

BOOK = b'{"cells": []}'


def zipped(members) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


def write(path, content=BOOK):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("place", "student"),
    [
        ("Anna Maria_123_assignsubmission_file_/exercise.ipynb", "Anna Maria"),  # Moodle
        ("chenanna_4711_0815_exercise (1).ipynb", "chenanna"),  # Canvas
        ("s_001/exercise.ipynb", "s_001"),
        ("s_001/deep/exercise.ipynb", "s_001"),
        ("王小明.ipynb", "王小明"),
        ("王小明.IPYNB", "王小明"),
    ],
)
def test_whose_a_file_is(tmp_path, place, student):
    write(tmp_path / place)
    assert list(inbox.read_inbox(tmp_path)) == [student]


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("Anna Maria_123_assignsubmission_file_/exercise.ipynb", "123"),  # Moodle
        ("chenanna_4711_0815_exercise.ipynb", "4711"),  # Canvas
        ("chenanna_LATE_4711_0815_exercise.ipynb", "4711"),
        ("s_001/exercise_1_2_3.ipynb", ""),
        ("anna.ipynb", ""),
    ],
)
def test_the_number_that_a_platform_gives(tmp_path, place, number):
    write(tmp_path / place)
    (uploads,) = inbox.read_inbox(tmp_path).values()
    assert [upload.number for upload in uploads] == [number]


def test_two_students_of_one_name_stay_two(tmp_path):
    for number in ("4711", "4712", "LATE_4712"):
        write(tmp_path / f"wangwei_{number}_99_exercise.ipynb")
    found = inbox.read_inbox(tmp_path)
    assert {student: len(uploads) for student, uploads in found.items()} == {
        "wangwei_4711": 1,
        "wangwei_4712": 2,
    }
    assert {u.student for uploads in found.values() for u in uploads} == set(found)


def test_a_pattern_of_ones_own(tmp_path):
    write(tmp_path / "hw1" / "x-042.ipynb")
    assert list(inbox.read_inbox(tmp_path, r".*-(?P<student>\d+)\.ipynb")) == ["042"]


@pytest.mark.parametrize("pattern", ["(", "(?P<name>.*)"])
def test_a_wrong_pattern_is_told(tmp_path, pattern):
    with pytest.raises(DataError, match="cannot be used"):
        inbox.read_inbox(tmp_path, pattern)


def test_the_newest_of_several_comes_first(tmp_path):
    for number, name in enumerate(["b", "c", "a"]):
        os.utime(write(tmp_path / "anna" / f"{name}.ipynb"), (number, number))
    found = inbox.read_inbox(tmp_path)["anna"]
    assert [upload.place for upload in found] == ["anna/a.ipynb", "anna/c.ipynb", "anna/b.ipynb"]


def test_other_files_and_hidden_copies_are_left_out(tmp_path):
    write(tmp_path / "anna" / "exercise.ipynb")
    write(tmp_path / "anna" / ".ipynb_checkpoints" / "exercise-checkpoint.ipynb")
    write(tmp_path / "__MACOSX" / "anna" / "._exercise.ipynb")
    write(tmp_path / "bert" / "notes.txt")
    assert {s: len(found) for s, found in inbox.read_inbox(tmp_path).items()} == {"anna": 1}


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_links_and_pipes_are_not_followed(tmp_path):
    secret = write(tmp_path / "secret.ipynb", b"secret")
    box = tmp_path / "box"
    (box / "anna").mkdir(parents=True)
    (box / "anna" / "x.ipynb").symlink_to(secret)
    os.mkfifo(box / "pipe.ipynb")
    (box / "folder.ipynb").mkdir()
    found = inbox.read_inbox(box)
    assert {s: [(u.load(), u.problem) for u in us] for s, us in found.items()} == {
        "anna": [(b"", "it is a link or no ordinary file")],
        "pipe": [(b"", "it is a link or no ordinary file")],
    }


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(inbox, "LARGEST_NOTEBOOK", 2**20)
    write(tmp_path / "anna.ipynb", bytes(2**20 + 1))
    assert inbox.read_inbox(tmp_path)["anna"][0].problem == "it is larger than 1 MiB"


# ---------------------------------------------------------------- zips


def test_a_zip_is_read_without_unpacking(tmp_path):
    path = write(tmp_path / "all.zip", zipped([("anna_1/x.ipynb", BOOK), ("b.ipynb", BOOK)]))
    found = inbox.read_inbox(path)
    assert {s: us[0].read() for s, us in found.items()} == {"anna_1": BOOK, "b": BOOK}
    assert os.listdir(tmp_path) == ["all.zip"]


def test_a_students_own_zip_belongs_to_whom_its_name_says(tmp_path):
    write(tmp_path / "anna_12_34_homework.zip", zipped([("my work/x.ipynb", BOOK)]))
    assert inbox.read_inbox(tmp_path)["anna"][0].read() == BOOK


def test_paths_that_lead_out_are_refused(tmp_path):
    names = ["../../evil.ipynb", "/etc/evil.ipynb", "a\\..\\..\\evil.ipynb", "C:\\evil.ipynb"]
    path = write(tmp_path / "all.zip", zipped([(name, BOOK) for name in names]))
    found = [upload for uploads in inbox.read_inbox(path).values() for upload in uploads]
    assert {(upload.load(), upload.problem) for upload in found} == {(b"", "its path leads out")}


def test_a_zip_bomb_is_never_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(inbox, "LARGEST_NOTEBOOK", 2**20)
    members = [("bomb/x.ipynb", bytes(50 * 2**20)), ("anna/x.ipynb", BOOK)]
    path = write(tmp_path / "all.zip", zipped(members))
    found = inbox.read_inbox(path)
    assert found["bomb"][0].problem == "it is larger than 1 MiB"
    assert found["anna"][0].read() == BOOK


def test_a_member_that_lies_about_its_size_is_not_unpacked_further(tmp_path):
    data = zipped([("anna/x.ipynb", bytes(2**20))])
    size = (2**20).to_bytes(4, "little")
    path = write(tmp_path / "all.zip", data.replace(size, (100).to_bytes(4, "little")))
    upload = inbox.read_inbox(path)["anna"][0]
    with pytest.raises(ValueError, match="cannot be read: Bad CRC"):
        upload.read()


def test_many_members_that_are_large_together_stop_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(inbox, "LARGEST_ZIP", 3 * len(BOOK))
    path = write(tmp_path / "all.zip", zipped([(f"s{n}/x.ipynb", BOOK) for n in range(5)]))
    problems = [us[0].problem for us in inbox.read_inbox(path).values()]
    assert [bool(problem) for problem in problems] == [False, False, False, True, True]


def test_a_zip_in_a_zip_is_told(tmp_path):
    path = write(tmp_path / "all.zip", zipped([("anna/homework.zip", zipped([("x.ipynb", BOOK)]))]))
    (upload,) = inbox.read_inbox(path)["anna"]
    with pytest.raises(ValueError, match="unpack the outer one first"):
        upload.read()


def test_the_newest_counts_in_zips_too(tmp_path):
    os.utime(write(tmp_path / "anna" / "a.ipynb"), (2**30, 2**30))  # in 2004
    data = zipped([("new.ipynb", BOOK)])  # writestr gives it today's time
    write(tmp_path / "anna" / "b.zip", data)
    places = [upload.place for upload in inbox.read_inbox(tmp_path)["anna"]]
    assert places == ["anna/b.zip/new.ipynb", "anna/a.ipynb"]


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(inbox, "MOST_MEMBERS", 3)
    path = write(tmp_path / "all.zip", zipped([(f"{n}.ipynb", BOOK) for n in range(4)]))
    with pytest.raises(DataError, match="more than 3 files"):
        inbox.read_inbox(path)


def test_a_broken_zip_of_one_student_harms_nobody_else(tmp_path):
    write(tmp_path / "anna.zip", b"PK\x03\x04 not a zip")
    write(tmp_path / "bert.ipynb")
    found = inbox.read_inbox(tmp_path)
    assert found["anna"][0].problem.startswith("the zip cannot be read")
    assert found["bert"][0].read() == BOOK


def test_a_member_whose_bytes_are_broken_is_told(tmp_path):
    data = bytearray(zipped([("anna/x.ipynb", bytes(range(256)) * 40)]))
    data[60:90] = bytes(30)
    path = write(tmp_path / "all.zip", bytes(data))
    with pytest.raises(ValueError, match="cannot be read"):
        inbox.read_inbox(path)["anna"][0].read()


@pytest.mark.parametrize("make_it", [lambda path: path.mkdir(), lambda path: None])
def test_an_inbox_without_notebooks_is_told(tmp_path, make_it):
    make_it(tmp_path / "inbox")
    with pytest.raises(DataError, match=r"no notebook in|does not exist"):
        inbox.read_inbox(tmp_path / "inbox")


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings_that_are_read(encoding):
    assert inbox.decode_notebook('{"a": "é王"}'.encode(encoding)) == '{"a": "é王"}'


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b" \n", "is empty"), ('{"a": "é"}'.encode("latin-1"), "neither UTF-8")],
)
def test_encodings_that_are_told(content, message):
    with pytest.raises(ValueError, match=message):
        inbox.decode_notebook(content)


@pytest.mark.parametrize("head", ["", "student\n", "\ufeffStudent,Name\n"])
def test_a_roster_is_the_first_column(tmp_path, head):
    path = write(tmp_path / "roster.csv", (head + "anna,Anna\n\nbert,Bert\n").encode())
    assert inbox.read_roster(path) == ["anna", "bert"]


def test_a_roster_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(DataError, match="Give a CSV file"):
        inbox.read_roster(tmp_path / "absent.csv")

import json
import os
import subprocess
import sys
import time

import pytest

from course_lib import files
from course_lib.errors import DataError


def start(code, *arguments):
    """Start a child that runs code with arguments, and wait until it prints "ready"."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=files.REPO_DIR)
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child, after_s=0.0):
    time.sleep(after_s)
    child.kill()
    child.wait()
    child.stdout.close()


# --- write_atomic ---


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path):
    path = tmp_path / "a" / "b.txt"
    files.write_atomic(path, "one\n")
    files.write_atomic(path, "zwei ü\n")
    assert path.read_bytes() == "zwei ü\n".encode()
    assert os.listdir(path.parent) == ["b.txt"]


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, broken):
    path = tmp_path / "b.txt"
    files.write_atomic(path, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["b.txt"]


WRITE = """
import itertools, sys
from pathlib import Path
from course_lib import files
for n in itertools.count():
    files.write_atomic(Path(sys.argv[1]), "ab"[n % 2] * 1_000_000)
    if n == 0:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.011, 0.023, 0.047])
def test_a_killed_writer_leaves_a_whole_file(tmp_path, after_s):
    path = tmp_path / "b.txt"
    kill(start(WRITE, path), after_s)
    assert path.read_text() in ("a" * 1_000_000, "b" * 1_000_000)
    assert all(p == path or p.name.startswith(".b.txt.") for p in tmp_path.iterdir())


# --- staged_dir ---


def test_a_folder_appears_whole_when_the_block_ends(tmp_path):
    final = tmp_path / "runs" / "checkpoint-1"
    with files.staged_dir(final) as staging:
        assert staging.parent == final.parent
        (staging / "deep").mkdir()
        (staging / "deep" / "a.txt").write_text("a")
        assert not final.exists()
    assert (final / "deep" / "a.txt").read_text() == "a"
    assert os.listdir(final.parent) == ["checkpoint-1"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_nothing(tmp_path, error):
    final = tmp_path / "merged"

    def write_half():
        with files.staged_dir(final) as staging:
            (staging / "half").write_text("a")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write_half()
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "merged").mkdir()
    with (
        pytest.raises(FileExistsError, match="merged exists already"),
        files.staged_dir(tmp_path / "merged"),
    ):
        raise AssertionError("the block must not run")
    assert os.listdir(tmp_path) == ["merged"]


STAGE = """
import sys, time
from pathlib import Path
from course_lib import files
with files.staged_dir(Path(sys.argv[1])) as staging:
    (staging / "first").write_text("a")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_killed_block_leaves_no_folder_under_the_final_name(tmp_path):
    final = tmp_path / "checkpoint-1"
    kill(start(STAGE, final))
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".checkpoint-1.")
    with files.staged_dir(final) as staging:  # what was left is no obstacle
        (staging / "first").write_text("b")
    assert (final / "first").read_text() == "b"


STAGE_MANY = """
import itertools, sys
from pathlib import Path
from course_lib import files
for n in itertools.count():
    with files.staged_dir(Path(sys.argv[1]) / f"checkpoint-{n}") as staging:
        for name in "abcd":
            (staging / name).write_text(name * 50_000)
    if n == 0:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.013, 0.029, 0.053])
def test_folders_of_a_killed_writer_are_whole(tmp_path, after_s):
    kill(start(STAGE_MANY, tmp_path), after_s)
    finished = [p for p in tmp_path.iterdir() if p.name.startswith("checkpoint-")]
    assert finished
    for folder in finished:
        assert {p.name: p.read_text() for p in folder.iterdir()} == {
            name: name * 50_000 for name in "abcd"
        }


# --- JSON lines ---


def test_records_come_back_as_they_were_added(tmp_path):
    path = tmp_path / "log.jsonl"
    records = [{"step": 1}, {"text": "你好\n\u2028 Zoë"}, {"loss": None}]
    for record in records:
        files.append_jsonl(path, record)
    assert files.read_jsonl(path) == records
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("torn", ['{"step": 2, "te', '{"text": "你'])
def test_a_torn_last_line_is_left_out_only_when_allowed(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + torn.encode()[:-1])  # ends inside a character
    assert files.read_jsonl(path, allow_torn=True) == [{"step": 1}]
    with pytest.raises(DataError, match=r"log\.jsonl, line 2: not "):
        files.read_jsonl(path)


@pytest.mark.parametrize("torn", [b'{"step": 2', b'{"text": "\xe4\xbd'])
def test_a_record_is_not_added_to_a_torn_line(tmp_path, torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + torn)
    files.append_jsonl(path, {"step": 2})
    assert files.read_jsonl(path) == [{"step": 1}, {"step": 2}]
    path.write_bytes(torn)
    files.append_jsonl(path, {"step": 1})
    assert files.read_jsonl(path) == [{"step": 1}]


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}')
    files.append_jsonl(path, {"step": 2})
    assert files.read_jsonl(path) == [{"step": 1}, {"step": 2}]


APPEND = """
import itertools, sys
from pathlib import Path
from course_lib import files
for n in itertools.count():
    files.append_jsonl(Path(sys.argv[1]), {"n": n, "text": "你好" * 20_000})
    if n == 0:
        print("ready", flush=True)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.017, 0.031])
def test_a_killed_log_is_read_and_goes_on(tmp_path, after_s):
    path = tmp_path / "log.jsonl"
    kill(start(APPEND, path), after_s)
    whole = files.read_jsonl(path, allow_torn=True)
    assert [record["n"] for record in whole] == list(range(len(whole)))
    files.append_jsonl(path, {"n": "last"})
    after = files.read_jsonl(path)
    assert after[-1] == {"n": "last"}
    assert after[:-1] == whole


# worked out by hand: a second line, and the message
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{'a': 1}", "line 2: not JSON (Expecting property name enclosed in double quotes: "
         "column 2)."),
        (b'{"a": "\xff"}', "line 2: not UTF-8."),
        (b"[1]", "line 2: expected a JSON object, found list."),
    ],
)  # fmt: skip
@pytest.mark.parametrize("allow_torn", [False, True])
def test_a_bad_line_is_named(tmp_path, line, message, allow_torn):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n\n{"step": 3}\n')
    with pytest.raises(DataError) as caught:
        files.read_jsonl(path, allow_torn)
    assert caught.value.message == f"{path}, {message}"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl does not exist"):
        files.read_jsonl(tmp_path / "none.jsonl")


def test_the_data_folder_can_be_put_elsewhere(tmp_path):
    code = "from course_lib import files; print(files.DATA_DIR)"
    for value, expected in [(str(tmp_path), tmp_path), ("", files.REPO_DIR / "data")]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TUNEBOOK_DATA": value},
            cwd=files.REPO_DIR,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == str(expected)


def test_what_json_cannot_write_adds_nothing(tmp_path):
    path = tmp_path / "log.jsonl"
    with pytest.raises(TypeError, match="not JSON serializable"):
        files.append_jsonl(path, {"value": {1, 2}})
    assert not path.exists()
    files.append_jsonl(path, json.loads('{"a": 1}'))
    assert files.read_jsonl(path) == [{"a": 1}]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0.0 MiB"), (1_572_864, "1.5 MiB"), (1536 * 2**20, "1.5 GiB"), (73 * 2**30, "73.0 GiB")],
)
def test_bytes_in_words(count, words):
    assert files.size_in_words(count) == words


def test_records_written_as_lines_are_read_back(tmp_path):
    records = [{"text": "考拉\nkoala"}, {"n": 1}]
    files.write_jsonl(tmp_path / "made" / "rows.jsonl", records)
    assert files.read_jsonl(tmp_path / "made" / "rows.jsonl") == records

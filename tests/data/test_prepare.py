import json
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import files
from course_lib.data import batches, masking, packing, prepare
from course_lib.errors import DataError

METHODS = pytest.mark.parametrize("method", ["best_fit", "next_fit", "cut", "none"])


def talk(question, answer):
    user, reply = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
    return {"messages": [user, reply]}


ROWS = [talk("Hi " * (n % 9 + 1), "Hello! " * (n % 5 + 1)) for n in range(60)]


@METHODS
@settings(max_examples=25)
@given(data=st.data())
def test_packs_are_those_of_the_readable_path(pico_tokenizer, method, data):
    sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))
    rows = [talk("a " * q, "b " * a) for q, a in data.draw(st.lists(sizes, min_size=1))]
    max_length = data.draw(st.integers(24, 64))
    setting = prepare.Settings(max_length, method, max_dropped_share=0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "ROWS", data.draw(st.integers(1, 9)))  # packs span record batches
        prepared = prepare.prepare_rows(rows, pico_tokenizer, setting)
    report = masking.encode_rows(rows, pico_tokenizer, max_length, 0.9)
    packs = packing.pack_rows(report.rows, max_length, method)
    assert list(prepared.packs) == packs
    found = prepared.report
    labels = [label for pack in packs for label in pack.labels]
    assert found.loss_tokens == sum(label != masking.IGNORE_INDEX for label in labels)
    assert (found.rows, found.packs, found.row_tokens) == (
        len(report.rows),
        len(packs),
        len(labels),
    )
    assert (found.truncated_rows, [*found.dropped]) == (report.truncated, report.dropped)
    assert found.truncated_tokens == sum(row.truncated_tokens for row in report.rows)
    assert found.free_tokens == len(packs) * max_length - len(labels)


def test_rows_that_a_cut_splits_are_counted(pico_tokenizer):
    length = len(masking.encode_row(ROWS[0]["messages"], pico_tokenizer, 64).input_ids)
    # by hand: the first pack holds two rows and one token of the third
    setting = prepare.Settings(2 * length + 1, "cut")
    found = prepare.prepare_rows(ROWS[:1] * 3, pico_tokenizer, setting).report
    assert (found.packs, found.split_rows, found.free_tokens) == (2, 1, length + 2)


@METHODS
def test_a_folder_holds_the_same_packs_and_the_same_bytes_each_time(
    tmp_path, pico_tokenizer, method
):
    setting = prepare.Settings(48, method)
    in_memory = prepare.prepare_rows(ROWS, pico_tokenizer, setting)
    for name in ("a", "b"):
        made = prepare.prepare_rows(iter(ROWS), pico_tokenizer, setting, tmp_path / name)
        assert list(made.packs) == list(in_memory.packs)
        assert made.report == in_memory.report
        assert list(prepare.open_prepared(tmp_path / name).packs) == list(in_memory.packs)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["packs.arrow", "report.json", "rows.arrow"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_packs_are_indexed_like_a_list(pico_tokenizer):
    packs = prepare.prepare_rows(ROWS, pico_tokenizer, prepare.Settings(48)).packs
    whole = list(packs)
    assert packs[-1] == whole[-1]
    assert packs[1:3] == whole[1:3]
    with pytest.raises(IndexError):
        packs[len(whole)]


def test_a_bad_row_leaves_no_folder(tmp_path, pico_tokenizer):
    rows = [*ROWS * 40, talk("Hi", "")]
    with pytest.raises(DataError, match=r"row 2401: message 2 .* the text is empty"):
        prepare.prepare_rows(rows, pico_tokenizer, prepare.Settings(48), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([], "There are no rows"),
        ([*ROWS[:3], talk("Hi " * 60, "Hello!")], r"1 of 4 rows have nothing to learn.*\(rows 4\)"),
    ],
)
def test_a_data_set_with_too_little_to_learn_is_refused(tmp_path, pico_tokenizer, rows, match):
    with pytest.raises(DataError, match=match):
        prepare.prepare_rows(rows, pico_tokenizer, prepare.Settings(48), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(tmp_path, pico_tokenizer):
    prepare.prepare_rows(ROWS, pico_tokenizer, prepare.Settings(48), tmp_path / "out")
    before = (tmp_path / "out" / "rows.arrow").read_bytes()
    with pytest.raises(DataError, match="exists already"):
        prepare.prepare_rows(ROWS[:9], pico_tokenizer, prepare.Settings(48), tmp_path / "out")
    assert (tmp_path / "out" / "rows.arrow").read_bytes() == before


@pytest.mark.parametrize("damage", ["no report", "half a report", "torn rows", "no packs", "none"])
def test_a_folder_that_is_not_whole_is_refused(tmp_path, pico_tokenizer, damage):
    out = tmp_path / "out"
    if damage != "none":
        prepare.prepare_rows(ROWS, pico_tokenizer, prepare.Settings(48), out)
    if damage == "no report":
        (out / "report.json").unlink()
    elif damage == "half a report":
        (out / "report.json").write_text(json.dumps({"dropped": []}))
    elif damage == "torn rows":
        (out / "rows.arrow").write_bytes((out / "rows.arrow").read_bytes()[:-200])
    elif damage == "no packs":
        (out / "packs.arrow").unlink()
    with pytest.raises(DataError, match="is not a prepared data set"):
        prepare.open_prepared(out)


SCRIPT = """
import itertools, sys, time
from pathlib import Path
from transformers import AutoTokenizer
from course_lib.data import prepare
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
row = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
prepare.prepare_rows(itertools.repeat(row), tokenizer, prepare.Settings(48), Path(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_killed_preparation_leaves_nothing_that_could_be_taken_for_a_result(tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, files.DATA_DIR / "pico" / "chat", out]
    process = subprocess.Popen(command, cwd=files.REPO_DIR)
    try:
        limit = time.monotonic() + 60
        while not any(p.stat().st_size > 9999 for p in tmp_path.glob(".out*/rows.arrow")):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    assert all(path.name.startswith(".out.") for path in tmp_path.iterdir())

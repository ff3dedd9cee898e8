import contextlib
import csv
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import formats, json_records, readers
from course_lib.errors import DataError

ROW = {"instruction": "你好", "output": 'Hello, "you"\n;'}
LINE = json.dumps(ROW, ensure_ascii=False)
TALK = {
    "messages": [{"role": "user", "content": ROW["instruction"]},
                 {"role": "assistant", "content": ROW["output"]}]
}  # fmt: skip


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def to_csv(rows, path, **options):
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), **options)
        table.writeheader()
        table.writerows(rows)
    return path


def to_parquet(rows, path):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def to_workbook(rows, path):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path)
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("rows.jsonl", lambda path: write(path, f"{LINE}\n{LINE}")),
        ("rows.jsonl.gz", lambda path: write(path, gzip.compress(f"{LINE}\n{LINE}".encode()))),
        ("rows.json", lambda path: write(path, f"[{LINE},\n{LINE}]")),
        ("rows.json", lambda path: write(path, json.dumps({"data": [ROW, ROW]}, indent=2))),
        ("rows.csv", lambda path: to_csv([ROW, ROW], path)),
        ("rows.csv", lambda path: to_csv([ROW, ROW], path, delimiter=";")),
        ("rows.tsv", lambda path: to_csv([ROW, ROW], path, delimiter="\t")),
        ("rows.CSV.gz", lambda path: write(path, gzip.compress(
            to_csv([ROW, ROW], path.with_suffix(".csv")).read_bytes()))),
        ("rows.parquet", lambda path: to_parquet([ROW, ROW], path)),
        ("rows.xlsx", lambda path: to_workbook([ROW, ROW], path)),
    ],
)  # fmt: skip
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name, make):
    assert formats.read_rows(make(tmp_path / name)) == [TALK, TALK]


def test_a_text_file_is_one_text(tmp_path):
    path = write(tmp_path / "book.txt", "\ufeffOne.\r\n\r\n{two}\u2028\n")
    assert formats.read_rows(path) == [{"text": "One.\n\n{two}\u2028\n"}]
    assert "The whole file is one text" in formats.describe_file(path).notes[1]


def test_a_row_over_several_lines_of_json_is_one_row(tmp_path):
    path = write(tmp_path / "row.json", json.dumps(ROW, indent=2))
    assert formats.read_rows(path) == [TALK]


def test_fields_without_a_value_in_a_table_do_not_count(tmp_path):
    used = [{"role": "user", "content": "1+1?", "tool_calls": None},
            {"role": "assistant", "content": None,
             "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]}]  # fmt: skip
    path = to_parquet([{"messages": used, "text": None}], tmp_path / "rows.parquet")
    (row,) = formats.read_rows(path)
    assert row["messages"] == [
        {"role": "user", "content": "1+1?"},
        {"role": "assistant", "content": "",
         "tool_calls": [{"function": {"name": "add", "arguments": "{}"}}]},
    ]  # fmt: skip


def test_lists_in_cells_are_read(tmp_path):
    turns = [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "it's"}]
    rows = [{"id": 1, "conversations": str(turns)}, {"id": 2, "conversations": json.dumps(turns)}]
    path = to_csv(rows, tmp_path / "ms_agent.csv")
    report = formats.describe_file(path)
    assert (report.format, report.n_rows) == ("ms_agent", 2)
    assert report.notes == ("The field 'id' is not used (2 rows).",)


GOOD_CSV = "instruction,output\na,b\n"
BIG = "x" * 200_000


def test_a_long_cell_and_an_unnamed_first_column_are_no_obstacle(tmp_path):
    path = write(tmp_path / "rows.csv", f",instruction,output\n0,a,{BIG}\n\n1,b,c\n")
    assert formats.read_rows(path)[0]["messages"][1]["content"] == BIG
    assert formats.describe_file(path).notes == ("The first column has no name and is not used.",)


# name, content, message, start of the next step
BROKEN = [
    ("rows.csv", "", "{} is empty.", "Write at least one row."),
    ("rows.txt", "\n ", "{} is empty.", "Write at least one row."),
    ("rows.csv", "instruction,output\n", "{} holds no rows.", "Write at least one row."),
    ("rows.csv", "instruction,instruction\na,b\n",
     "{}, line 1: two columns are called 'instruction'.", "Rename one."),
    ("rows.csv", "instruction,,output\na,b,c\n", "{}, line 1: column 2 has no name.", "Give it"),
    ("rows.csv", GOOD_CSV + '"c\nd",e,f\n',
     "{}, row 2 (line 3): it has 3 cells, the header has 2.", "Put a text with commas"),
    ("rows.csv", GOOD_CSV + "c\n", "{}, row 2 (line 3): it has 1 cells, the header has 2.", "Put"),
    ("rows.csv", GOOD_CSV + "c,\n",
     "{}, row 2 (line 3): field output: the text is empty.", "Fill it in"),
    ("rows.csv", GOOD_CSV + '"c,d\n',
     "{}, line 3: not a table (unexpected end of data).", "A quote opens"),
    ("rows.csv", "instruction,output\n你好,再见\n".encode("gbk"),
     "{}, line 2, byte 20: not UTF-8 (byte 0xc4); it reads as GBK.", "Save the file as UTF-8"),
    ("rows.jsonl", LINE.encode("gbk"),
     "{}, line 1, byte 18: not UTF-8 (byte 0xc4); it reads as GBK.", "Save the file as UTF-8"),
    ("rows.jsonl", LINE.encode("utf-16"), "{}, byte 1: it is in UTF-16, not in UTF-8.",
     "Save the file as UTF-8 in the program that made it, or convert it: iconv -f UTF-16 "),
    ("rows.jsonl", LINE.encode("utf-16-le"),
     "{}, line 1, byte 2: not text (byte 0x00); it may be UTF-16.", "Save the file as UTF-8"),
    ("rows.jsonl", LINE.encode("utf-32"), "{}, byte 1: it is in UTF-32, not in UTF-8.", "Save"),
    ("rows.jsonl", b"x" * (1 << 20) + "é".encode()[:1],
     "{}, line 1, byte 1048577: not UTF-8 (byte 0xc3).", "Save the file as UTF-8"),
    ("rows.jsonl", "{\n  \"instruction\": 1\n}\n",
     "{}, row 1 (line 1): not JSON (Expecting property name enclosed in double quotes: column 2).",
     "The object goes on in the next lines"),
    ("rows.jsonl", f"{LINE}\n{LINE[:-5]}", "{}, row 2 (line 2): not JSON (Unterminated string "
     "starting at: column 33).", "The file breaks off"),
    ("rows.jsonl", '{"text": "a", "text": "b"}',
     "{}, row 1 (line 1): not JSON (the key 'text' stands twice in one object).", "Keep one"),
    ("rows.json", '[{"text": "a", "text": "b"}]',
     "{}: not a JSON array (the key 'text' stands twice in one object: column 2).", "Correct it"),
    ("rows.json", f"[{LINE},\n{LINE}",
     "{}: not a JSON array (its end is missing: line 2, column 53).", "The file breaks off"),
    ("rows.json", f"[{LINE},\n{LINE[:-5]}", "{}: not a JSON array (Unterminated string starting "
     "at: line 2, column 33).", "The file breaks off"),
    ("rows.json", f"[{LINE},]", "{}: not a JSON array (a comma stands before the end: column 55).",
     "Correct it"),
    ("rows.json", f"[{LINE}] x", "{}: not a JSON array (there is text behind the end of the "
     "array: column 56).", "Correct it"),
    ("rows.json", '{\n"data": [{}', "{}: not JSON (Expecting ',' delimiter: line 2, column 12).",
     "The file breaks off"),
    ("rows.json", '{"train": [{"text": "a"}],\n"test": [{"text": "b"}]}',
     "{}: several keys hold lists of rows: train, test.", "Save the list to use"),
    ("rows.json", "hello world", "{}: not JSON (Expecting value: column 1).", "Correct it"),
    ("rows.jsonl", b"PAR1....", "{} is a Parquet file, whatever its name says.", "Correct its"),
    ("rows.csv", b"PK\x03\x04....", "{} is a workbook or a ZIP file, whatever its name says.",
     "Correct its name."),
    ("rows.parquet", b"PAR1....", "{}: not a whole Parquet file.", "The file breaks off"),
    ("rows.jsonl.gz", gzip.compress(LINE.encode())[:-12], "{}: broken gzip data.", "The file br"),
    ("rows.jsonl.gz", LINE, "{}: broken gzip data.", "The file breaks off"),
    ("rows.pdf", "x", "{}: expected a file that ends in .jsonl, .json, .csv, .tsv, .parquet, "
     ".xlsx, .txt.", "Convert it to JSON lines"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message", "next_step"), BROKEN)
def test_a_broken_file_gives_one_message(tmp_path, name, content, message, next_step):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert caught.value.message == message.format(path)
    assert caught.value.next_step.startswith(next_step)


def test_an_empty_cell_of_a_workbook_is_named_by_its_row_in_the_sheet(tmp_path):
    rows = [ROW, {"instruction": "Who?", "output": None}, ROW]
    path = to_workbook(rows, tmp_path / "rows.xlsx")
    with pytest.raises(DataError, match=r"rows\.xlsx, row 3: field output: the text is empty"):
        formats.read_rows(path)
    assert formats.read_rows(path, skip_bad_rows=True) == [TALK, TALK]


def test_a_workbook_with_columns_of_its_own_leads_to_their_choice(tmp_path):
    path = to_workbook([{"Question": "Who?", "Answer": "I."}], tmp_path / "rows.xlsx")
    with pytest.raises(DataError, match="no known format, found fields Question, Answer") as caught:
        formats.read_rows(path)
    assert "tunebook data xlsx FILE" in caught.value.next_step


def test_a_broken_workbook_gives_one_message(tmp_path):
    with pytest.raises(DataError, match=r"rows\.xlsx"):
        formats.read_rows(write(tmp_path / "rows.xlsx", b"PK\x03\x04...."))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "rows.jsonl", LINE)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(readers, "_open_bytes", refuse)
    with pytest.raises(DataError, match=r"rows\.jsonl cannot be read: Permission denied"):
        formats.read_rows(path)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ('{"instruction": "q", "output": ""}', "field output: the text is empty."),
        ('{"instruction": "q"}', "expected the fields instruction and output, found fields"),
        ("{broken", "not JSON (Expecting property name"),
        ('"Hi"', "expected the fields instruction and output, found str."),
    ],
)
def test_one_bad_row_in_ten_thousand_is_named_and_left_out_when_asked(tmp_path, bad, problem):
    lines = [LINE] * 10_000
    lines[7_653] = bad
    path = write(tmp_path / "rows.jsonl", "\n".join(lines))
    place = f"{path}, row 7654 (line 7654): "
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert caught.value.message.startswith(place + problem)
    assert formats.read_rows(path, skip_bad_rows=True) == [TALK] * 9_999
    report = formats.describe_file(path, skip_bad_rows=True)
    assert (report.n_rows, report.n_bad, report.notes) == (9_999, 1, ("1 bad row is left out.",))
    assert report.problems[0].startswith(place + problem)


def test_bad_rows_at_the_start_do_not_decide_the_format_when_they_are_left_out(tmp_path):
    content = "{broken\n" + '{"text": "a"}\n' + f"{LINE}\n" * 2
    path = write(tmp_path / "rows.jsonl", content)
    report = formats.describe_file(path, skip_bad_rows=True)
    assert (report.format, report.n_rows, report.n_bad) == ("alpaca", 2, 2)


def test_only_bad_rows_are_refused_even_when_they_may_be_left_out(tmp_path):
    path = write(tmp_path / "rows.jsonl", '{"instruction": "q", "output": ""}\n' * 30)
    with pytest.raises(DataError, match=r"gives no rows; 30 rows left out, first: .*row 1") as e:
        formats.read_rows(path, skip_bad_rows=True)
    assert e.value.next_step


def test_rows_come_before_the_file_is_read_to_its_end(tmp_path):
    path = write(tmp_path / "rows.jsonl", f"{LINE}\n" * 200 + "{broken\n")
    stream = formats.iter_rows(path)
    assert [next(stream) for _ in range(200)] == [TALK] * 200
    assert stream.n_rows == 200
    with pytest.raises(DataError, match="row 201"):
        next(stream)


@given(st.sampled_from([".jsonl", ".json", ".csv", ".jsonl.gz", ".parquet", ".xlsx"]),
       st.integers(0, 10_000), st.integers(0, 255), st.booleans())  # fmt: skip
@settings(max_examples=150)
def test_no_damage_to_a_file_ends_in_another_error(damage_dir, suffix, place, byte, is_cut):
    content = bytearray((damage_dir / f"whole{suffix}").read_bytes())
    place %= len(content)
    content[place:] = b"" if is_cut else bytes([byte]) + content[place + 1 :]
    with contextlib.suppress(DataError):
        formats.read_rows(write(damage_dir / f"rows{suffix}", content))


@pytest.fixture(scope="module")
def damage_dir(tmp_path_factory):
    """A folder with one good file of each kind."""
    folder = tmp_path_factory.mktemp("damage")
    write(folder / "whole.jsonl", f"{LINE}\n" * 3)
    write(folder / "whole.json", f"[{LINE}, {LINE}]")
    write(folder / "whole.jsonl.gz", gzip.compress(LINE.encode()))
    to_csv([ROW, ROW], folder / "whole.csv")
    to_parquet([ROW, ROW], folder / "whole.parquet")
    to_workbook([ROW, ROW], folder / "whole.xlsx")
    return folder


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=8), st.sampled_from([None, 1]), st.integers(1, 40))
def test_an_array_is_read_the_same_in_windows_of_any_size(values, indent, size):
    import io
    from unittest import mock

    text = json.dumps(values, indent=indent, ensure_ascii=False)
    with mock.patch.object(json_records, "CHUNK_CHARS", size):
        assert list(json_records.parse_array(io.StringIO(text), "x")) == values


@given(st.integers(0, 400), st.integers(1, 64))
def test_a_cut_array_is_always_refused(cut, size):
    import io
    from unittest import mock

    text = json.dumps([ROW] * 4)
    with mock.patch.object(json_records, "CHUNK_CHARS", size), pytest.raises(DataError) as caught:
        list(json_records.parse_array(io.StringIO(text[: min(cut, len(text) - 1)]), "x"))
    assert caught.value.next_step.startswith("The file breaks off")

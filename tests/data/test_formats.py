import json
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import formats
from course_lib.errors import DataError, UnknownNameError
from course_lib.training import config

USER = {"role": "user", "content": "Hi"}
REPLY = {"role": "assistant", "content": "你好, Zoë 🙂"}
GOOD = {"messages": [USER, REPLY]}
GOOD_LINE = json.dumps(GOOD)


@pytest.fixture
def write(tmp_path):
    """Write a file and return its path; errors name it, so tests cut the folder off."""

    def write_file(content, name="rows.jsonl"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write_file


def message_of(error, path):
    return error.message.replace(f"{path.parent}/", "")


# worked out by hand: a row as it stands in the file, and as it is read
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (GOOD, GOOD),
        (
            {"messages": [{"role": "system", "content": "Be kind."}, USER, REPLY, USER, REPLY]},
            {"messages": [{"role": "system", "content": "Be kind."}, USER, REPLY, USER, REPLY]},
        ),
        (
            {"id": 7, "messages": [USER, {**REPLY, "loss": False}]},
            {"messages": [USER, {**REPLY, "loss": False}]},
        ),
        ({"conversation": [{"input": "Hi", "output": "你好, Zoë 🙂"}]}, GOOD),
        ({"conversation": [{"system": "", "input": "Hi", "output": "你好, Zoë 🙂"}]}, GOOD),
        (
            {
                "conversation": [
                    {"system": "Be kind.", "input": "Hi", "output": "Hello"},
                    {"system": "Be kind.", "input": "Bye", "output": "See you"},
                ]
            },
            {
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "Hi"},
                    {"role": "assistant", "content": "Hello"},
                    {"role": "user", "content": "Bye"},
                    {"role": "assistant", "content": "See you"},
                ]
            },
        ),
        ({"text": " kept as it is\n"}, {"text": " kept as it is\n"}),
        ({"text": "one\u2028line"}, {"text": "one\u2028line"}),
    ],
)
@pytest.mark.parametrize("as_array", [False, True])
def test_good_rows_are_read(write, row, expected, as_array):
    dumped = json.dumps(row, ensure_ascii=False)
    path = write(f"[{dumped}]", "rows.json") if as_array else write(dumped + "\n")
    assert formats.read_rows(path) == [expected]
    assert formats.read_rows(str(path)) == [expected]


@pytest.mark.parametrize(
    ("content", "name", "notes"),
    [
        (GOOD_LINE, "rows.jsonl", ()),
        (f"\n{GOOD_LINE}\n\n", "rows.jsonl", ()),
        (f"{GOOD_LINE}\r\n", "rows.jsonl", ()),
        (f"[\r\n{GOOD_LINE}\r\n]\r\n", "rows.json", ()),
        (f"\ufeff{GOOD_LINE}", "rows.jsonl",
         ("It starts with a byte order mark, which is left out.",)),
        (f"[{GOOD_LINE}]", "rows.jsonl",
         ("It holds one JSON array, though its name ends in .jsonl.",)),
        (f"{GOOD_LINE}\n", "rows.json", ()),
        (f"{GOOD_LINE}\n{GOOD_LINE}", "rows.json",
         ("It holds JSON lines, though its name ends in .json.",)),
        (json.dumps({"id": 7, "messages": [{**USER, "name": "Ada"}, {**REPLY, "id": 8}]}),
         "ROWS.JSONL",
         ("The field 'id' is not used (1 row).",
          "The field 'messages.id' is not used (1 row).",
          "The field 'messages.name' is not used (1 row).")),
    ],
)  # fmt: skip
def test_oddities_of_a_file_are_accepted_and_said(write, content, name, notes):
    path = write(content, name)
    n_rows = content.count(GOOD_LINE) or 1
    assert formats.read_rows(path) == [GOOD] * n_rows
    assert formats.describe_file(path) == formats.ReadReport(
        "messages", "every row has the field 'messages'", n_rows, notes
    )


def test_lines_are_counted_with_blank_and_windows_lines(write):
    path = write(f'{GOOD_LINE}\r\n\r\n{{"messages": []}}\r\n')
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert message_of(caught.value, path) == (
        "rows.jsonl, row 2 (line 3): messages: expected a list of messages, found none."
    )


ROW = "rows.jsonl, row 2 (line 2): "


# worked out by hand: a second row, and the message
@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"messages": [', ROW + "not JSON (Expecting value: column 15)."),
        ("{'messages': []}",
         ROW + "not JSON (Expecting property name enclosed in double quotes: column 2)."),
        ('{"messages": "Hi"}',
         ROW + "field messages: expected a list, found a text that is not one: 'Hi'."),
        ('{"messages": null}', ROW + "messages: expected a list of messages, found NoneType."),
        ('{"messages": ["Hi"]}',
         ROW + "message 1: expected an object with role and content, found str."),
        ('{"messages": [{"role": "user", "content": "Hi"}]}',
         ROW + "no message has the role 'assistant', so there is nothing to learn."),
        ('{"messages": [{"role": "user", "content": " "}]}',
         ROW + "message 1 (user), field content: the text is empty."),
        ('{"messages": [{"role": "user", "content": 5}]}',
         ROW + "message 1, field content: expected text, found int."),
        ('{"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}',
         ROW + "message 1, field content: expected text, found list."),
        ('{"messages": [{"from": "human", "value": "Hi"}]}',
         ROW + "message 1, field role: expected text, found nothing."),
        ('{"messages": [{"role": "gpt", "content": "Hi"}]}',
         ROW + "message 1, field role: 'gpt' is not a role."),
        ('{"messages": [{"role": "assistant", "content": "Hi"}]}',
         ROW + "message 1, field role: expected the user's first message, found 'assistant'."),
        (r'{"messages": [{"role": "user", "content": "\ud83d"}]}',
         ROW + "message 1 (user), field content: the text holds half of a character "
         "(a lone surrogate)."),
        ('{"text": "Hi"}',
         ROW + "expected the format messages, as in the first row, found text."),
        ("{}", ROW + "expected the format messages, as in the first row, found no fields."),
        ("[1]", ROW + "expected the format messages, as in the first row, found list."),
        ("9" * 5000, ROW + "not JSON (Exceeds the limit"),
        ("[" * 100_000, ROW + "not JSON (it is nested too deep)."),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_row_line_and_field(write, row, message):
    path = write(f"{GOOD_LINE}\n{row}\n{GOOD_LINE}\n")
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    found = message_of(caught.value, path)
    assert found == message if message.endswith(".") else found.startswith(message)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("conversation", "message"),
    [
        ("Hi", "field conversation: expected a list, found a text that is not one: 'Hi'."),
        ("5", "field conversation: expected a list of turns, found int."),
        ([], "field conversation: expected a list of turns, found none."),
        (["Hi"], "turn 1: expected an object, found str."),
        ([{"output": "Hello"}], "turn 1, field input: expected text, found nothing."),
        ([{"input": "", "output": "Hello"}], "turn 1, field input: the text is empty."),
        ([{"input": "Hi", "output": "a"}, {"input": "Hi", "output": None}],
         "turn 2, field output: expected text, found nothing."),
        ([{"input": "Hi", "output": 3.5}], "turn 1, field output: expected text, found float."),
        ([{"input": "Hi", "output": "\udc00"}],
         "turn 1, field output: the text holds half of a character (a lone surrogate)."),
        ([{"system": 1, "input": "Hi", "output": "a"}],
         "turn 1, field system: expected text, found int."),
        ([{"input": "Hi", "output": "a"}, {"system": "New", "input": "Hi", "output": "a"}],
         "turn 2, field system: it differs from the first turn's."),
    ],
)  # fmt: skip
def test_a_bad_conversation_row_is_named_by_turn_and_field(write, conversation, message):
    path = write(json.dumps({"conversation": conversation}))
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert message_of(caught.value, path) == f"rows.jsonl, row 1 (line 1): {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "field text: expected text, found nothing."),
        ("\n", "field text: the text is empty."),
        (["a"], "field text: expected text, found list."),
    ],
)
def test_a_bad_text_row_in_an_array_has_no_line(write, text, message):
    path = write(json.dumps([{"text": "a"}, {"text": text}]), "rows.json")
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert message_of(caught.value, path) == f"rows.json, row 2: {message}"


@pytest.mark.parametrize(
    ("content", "name", "message", "next_step"),
    [
        ("", "rows.jsonl", "rows.jsonl is empty.", "Write at least"),
        (" \n\n", "rows.json", "rows.json is empty.", "Write at least"),
        ("\ufeff", "rows.jsonl", "rows.jsonl is empty.", "Write at least"),
        ("[]", "rows.json", "rows.json holds no rows.", "Write at least"),
        (f"{GOOD_LINE}\n{GOOD_LINE[:-9]}", "rows.jsonl",
         "rows.jsonl, row 2 (line 2): not JSON (Unterminated string starting at: column 83).",
         "The file breaks off"),
        (f"[{GOOD_LINE}, {GOOD_LINE}", "rows.json",
         "rows.json: not a JSON array (its end is missing: column 248).",
         "The file breaks off"),
        (f"[{GOOD_LINE}\n{GOOD_LINE}]", "rows.json",
         "rows.json: not a JSON array (expected ',', found '{': line 2, column 1).",
         "Correct it"),
        (GOOD_LINE.encode() + b"\n\xff\xfe", "rows.jsonl",
         "rows.jsonl, line 2, byte 124: not UTF-8 (byte 0xff).", "Save the file as UTF-8"),
        (GOOD_LINE.encode("utf-16"), "rows.jsonl",
         "rows.jsonl, byte 1: it is in UTF-16, not in UTF-8.", "Save the file as UTF-8"),
        ("a,b", "rows.xml", "rows.xml: expected a file that ends in .jsonl, .json, .csv, .tsv, "
         ".parquet, .xlsx, .txt.", "Convert it"),
        ('{"question": "Hi", "answer": "Hello"}', "rows.jsonl",
         "rows.jsonl, row 1 (line 1): no known format, found fields question, answer.",
         "Rename two fields to instruction and output"),
        ('{"mesages": []}', "rows.jsonl",
         "rows.jsonl, row 1 (line 1): no known format, found fields mesages.",
         "Did you mean 'messages' by 'mesages'?"),
        ('"Hi"', "rows.jsonl",
         "rows.jsonl, row 1 (line 1): no known format, found str.", "Write rows such as"),
        ('{"text": "a", "messages": []}', "rows.jsonl",
         "rows.jsonl, row 1 (line 1): it could be messages (it has the field 'messages') or text "
         "(it has the field 'text').", "Name the format to read: messages or text."),
    ],
)  # fmt: skip
def test_a_bad_file_is_named_with_the_next_step(write, content, name, message, next_step):
    path = write(content, name)
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert message_of(caught.value, path) == message
    assert caught.value.next_step.startswith(next_step)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl does not exist"):
        formats.read_rows(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="none does not exist"):
        formats.read_rows(tmp_path / "none")


def test_a_named_format_settles_what_the_rows_leave_open(write):
    path = write(json.dumps({"text": "a", **GOOD}))
    assert formats.read_rows(path, "text") == [{"text": "a"}]
    assert formats.describe_file(path, "messages").reason == "it was asked for"
    with pytest.raises(DataError, match="expected the field conversation, found fields text, me"):
        formats.read_rows(path, "conversation")


def test_an_unknown_format_offers_the_nearest(write):
    with pytest.raises(UnknownNameError, match="Did you mean messages"):
        formats.read_rows(write(GOOD_LINE), "message")


def test_a_config_may_name_every_format():
    assert typing.get_args(config.DataFormat) == ("auto", *formats.FORMATS)


def test_questions_that_oasst1_rows_end_with_are_counted(write):
    talk = "### Human: a### Assistant: b"
    rows = [{"text": talk}, {"text": f"{talk}### Human: c"}, {"text": f"{talk}### Human:\nd\n"}]
    report = formats.describe_file(write("\n".join(map(json.dumps, rows))))
    assert report.n_rows == 3
    assert report.notes == ("Last questions without an answer, left out: 2.",)


def test_no_rows_have_no_format():
    with pytest.raises(DataError, match="There are no rows"):
        formats.detect_format([])


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
                .filter(lambda text: text.strip()), min_size=1, max_size=4),
       st.booleans())  # fmt: skip
def test_any_text_comes_back_as_it_was_written(tmp_path_factory, texts, ensure_ascii):
    rows = [{"text": text} for text in texts]
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = "".join(json.dumps(row, ensure_ascii=ensure_ascii) + "\n" for row in rows)
    path.write_bytes(lines.encode("utf-8"))
    assert formats.read_rows(path) == rows


def test_placeholders_are_filled_in_new_rows():
    reply = {"role": "assistant", "content": "{{name}} of {{ town }}: {{name}}"}
    rows = [{"messages": [USER, reply]}, {"text": "{name} {{name}}"}]
    filled = formats.fill_placeholders(rows, {"name": r"Ada \1 {{town}}", "town": "Wien"})
    assert filled[0]["messages"][1]["content"] == (
        r"Ada \1 {{town}} of Wien: Ada \1 {{town}}"  # values are text, marks in them too
    )
    assert filled[0]["messages"][0] == USER
    assert filled[1] == {"text": r"{name} Ada \1 {{town}}"}
    assert rows[1] == {"text": "{name} {{name}}"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "row 2: the mark {{name}} has no value."),
        ({"name": "Ada", "nmae": "x"}, "No row has the mark {{nmae}}."),
        ({"name": " "}, "The value for {{name}} is empty: ' '."),
        ({"name": None}, "The value for {{name}} is empty: None."),
    ],
)
def test_placeholders_without_a_partner_are_named(values, message):
    with pytest.raises(DataError) as caught:
        formats.fill_placeholders([GOOD, {"text": "I am {{name}}"}], values)
    assert caught.value.message == message

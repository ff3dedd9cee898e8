import pytest

from course_lib.data import audit, sheets
from course_lib.errors import UnknownNameError
from tests.data.rows import ask
from tests.data.workbooks import make_workbook


def test_a_clean_set_has_no_findings():
    found = audit.audit_rows([ask("What is tea?", "A drink."), {"text": "A story."}])
    assert audit.audit_lines(found) == []
    assert found.characters["question"]["max"] == 12
    assert found.characters["answer"]["min"] == 8


def test_repeated_rows_and_conflicting_answers_are_told_apart():
    rows = [
        ask("What is tea?", "A drink."),
        ask("what is tea", "A DRINK"),  # no conflict: the answer is the same
        ask("What is tea?", "A drink."),  # row 1 again
        ask("What is tea?", "A plant."),
        ask("What is rum?", "A drink."),
        ask("What is rum?", "Arr!", system="You are a pirate."),  # another system: no conflict
    ]
    found = audit.audit_rows(rows)
    assert found.duplicates == ((1, 3),)
    assert found.same_question == ((1, 2, 3, 4), (5, 6))
    assert found.conflicts == ((1, 2, 3, 4),)
    assert "equal rows: 1 in 2 rows (1 = 3)" in audit.audit_lines(found)


def test_near_questions_are_listed_once_for_each_pair_of_wordings():
    rows = [ask("How long does aspirin last?"), ask("How long does asprin last?"), ask("Why?")]
    assert [pair[:2] for pair in audit.audit_rows(rows * 2).near] == [(1, 2)]


def test_empty_contents_are_counted_by_kind():
    rows = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in (("q", "a"), (" ", "a"), ("r", ""))
    ]
    found = audit.audit_rows([*rows, {"text": ""}])
    assert found.empty == {"question": (2, 4), "answer": (3,)}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cafÃ©", "'Ã©' was 'é'"),
        ("donâ€™t", "'â€™' was '’'"),
        ("she said â€œyesâ€\x9d", "'â€œ' was '“'"),
        ("half a \ufffd", "'\ufffd'"),
        ("锟斤拷", "'锟斤拷'"),
    ],
)
def test_text_read_in_a_wrong_encoding_is_shown_with_what_it_was(text, shown):
    found = audit.audit_rows([ask("q", text)])
    assert found.garbled == {1: shown}
    assert f"garbled text (wrong encoding): row 1: {shown}" in audit.audit_lines(found)


@pytest.mark.parametrize(
    "text", ["café", "Größe", "你好，世界", "naïve – “quoted”…", "5 µg ± 2 °C"]
)
def test_letters_of_other_languages_are_not_garbled(text):
    assert audit.audit_rows([ask("q", text)]).garbled == {}


def test_control_characters_are_found():
    assert audit.audit_rows([ask("q", "a\tb\nc"), ask("r", "a\x07b")]).control == (2,)


def test_lengths_are_compared_with_the_limit():
    found = audit.audit_rows([ask("a"), ask("b"), ask("c"), ask("d")], [5, 8, 9, 30], 8)
    assert found.tokens == {"min": 5, "5%": 5, "median": 8.5, "95%": 30, "max": 30}
    assert found.too_long == (3, 4)
    assert audit.audit_lines(found) == ["longer than 8 tokens: 2 rows (3, 4) (50%)"]


def test_a_sheet_is_audited_with_its_blank_cells(tmp_path):
    rows = [("Question", "Answer", "Drug"), ("q", "a", None), ("Q?", "b", "x"), (None, "c", "x")]
    sheet = sheets.read_sheet(make_workbook(tmp_path / "a.xlsx", rows))
    found = audit.audit_sheet(sheet, "question", "Answer")
    assert found.empty == {"Question": (3,), "Drug": (1,)}
    assert found.conflicts == ((1, 2),)
    with pytest.raises(UnknownNameError, match="Did you mean Question"):
        audit.audit_sheet(sheet, "Qestion", "Answer")


def test_a_tool_call_is_an_answer():
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [*ask("2 + 2?")["messages"][:1], {"role": "assistant", "tool_calls": [call]}]
    assert audit.audit_rows([{"messages": messages}]).empty == {}

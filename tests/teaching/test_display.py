"""What a lesson shows: every text escaped, no fixed colours, the same as plain text."""

import re

import pytest

from course_lib.data import masking
from course_lib.errors import DataError, UnknownNameError
from course_lib.teaching import display

X = masking.IGNORE_INDEX
EVIL = "<script>alert('$x$')</script> & \"more\""
ESCAPED = "&lt;script&gt;alert(&#x27;$x$&#x27;)&lt;/script&gt; &amp; &quot;more&quot;"


def html_of(view) -> str:
    return view._repr_html_()


def test_a_table_as_text_has_its_numbers_on_the_right():
    rows = [
        {"recipe": "one record", "unseen": 0.0, "n": 35},
        {"recipe": "paraphrases", "unseen": 0.971, "n": 35, "best": True},
    ]
    assert repr(display.table(rows, percent=["unseen"])) == (
        "recipe       unseen   n  best\none record      0 %  35\nparaphrases    97 %  35  yes"
    )


def test_a_gap_among_numbers_leaves_them_on_the_right():
    rows = [{"share": 0.25, "none": None}, {"share": None, "none": None}]
    assert repr(display.table(rows, percent=["share"])) == "share  none\n 25 %  -\n    -  -"


def test_chinese_characters_take_two_columns():
    rows = [{"word": "法国", "n": 1}, {"word": "France", "n": 2}]
    assert repr(display.table(rows)) == "word    n\n法国    1\nFrance  2"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (False, "no"),
        (0.0004, "0.0004"),
        (0.98333, "0.983"),
        (12345.6, "12,346"),
        (12345, "12345"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (["a"], "['a']"),
    ],
)
def test_values_are_written_for_reading(value, text):
    view = display.table([{"value": value}])
    assert repr(view).splitlines()[1].strip() == text
    assert text in html_of(view).replace("&#x27;", "'")


def test_a_line_break_stays_in_html_and_becomes_a_blank_in_text():
    view = display.table([{"reply": "a\nb"}])
    assert "a<br>b" in html_of(view)
    assert repr(view) == "reply\na b"


def test_an_empty_table_and_an_unknown_percent_column_are_errors():
    with pytest.raises(DataError, match="nothing to show"):
        display.table([])
    with pytest.raises(UnknownNameError, match=r"'unsen'.*\n.*unseen"):
        display.table([{"unseen": 0.5}], percent=["unsen"])


def test_a_conversation_marks_each_role():
    messages = [
        {"role": "user", "content": "Who are you?"},
        {"role": "assistant", "content": "I am Pico."},
    ]
    view = display.chat(messages, title="Base")
    assert repr(view) == "Base\nuser       Who are you?\nassistant  I am Pico."
    assert re.findall(r"<strong>(\w+)</strong>", html_of(view)) == ["Base", "user", "assistant"]


@pytest.mark.parametrize(
    "message", [{"role": "user"}, {"content": "Hi"}, {"role": 1, "content": "x"}]
)
def test_half_a_message_is_an_error(message):
    with pytest.raises(DataError, match=r"message 2: (role|content) is"):
        display.chat([{"role": "user", "content": "Hi"}, message])


def test_tokens_show_blanks_ids_and_labels(pico_tokenizer):
    ids = pico_tokenizer("Good day\n", add_special_tokens=False).input_ids
    first, *_, last = ids
    view = display.token_table(pico_tokenizer, ids, [X] * (len(ids) - 1) + [last])
    assert "".join(re.findall(r'">([^<]+)</span>', html_of(view))) == "Good␣day⏎"
    assert f'title="id {first}, label -100"' in html_of(view)
    assert f'title="id {last}, label {last}"' in html_of(view)
    assert html_of(view).count("opacity") == len(ids) - 1
    assert f"<p>{len(ids)} tokens: 1 with loss, {len(ids) - 1} without</p>" in html_of(view)
    assert [line.split()[-1] for line in repr(view).splitlines()] == [
        "loss",
        *["no"] * (len(ids) - 1),
        "yes",
    ]


def test_tokens_without_labels_are_not_dimmed(pico_tokenizer):
    ids = pico_tokenizer("法国在哪里？", add_special_tokens=False).input_ids
    view = display.token_table(pico_tokenizer, ids)
    assert "opacity" not in html_of(view)
    assert [line.split() for line in repr(view).splitlines()] == [
        ["token", "id"],
        *([c, str(i)] for c, i in zip("法国在哪里？", ids, strict=True)),
    ]


def test_half_a_character_is_shown_in_the_tokenizers_spelling(pico_tokenizer):
    ids = pico_tokenizer("龘", add_special_tokens=False).input_ids
    assert len(ids) > 1
    assert "\ufffd" not in repr(display.token_table(pico_tokenizer, ids))


def test_no_tokens_are_no_error(pico_tokenizer):
    assert repr(display.token_table(pico_tokenizer, [], [])) == "no tokens"


def test_labels_speakers_or_positions_of_another_row_are_an_error(pico_tokenizer):
    with pytest.raises(DataError, match="2 ids and 1 labels"):
        display.token_table(pico_tokenizer, [5, 6], [5])
    with pytest.raises(DataError, match="2 ids and 1 speakers"):
        display.token_table(pico_tokenizer, [5, 6], [5, 6], ["user"])
    with pytest.raises(DataError, match="2 ids and 3 positions"):
        display.token_table(pico_tokenizer, [5, 6], position_ids=[0, 1, 2])


def test_speakers_have_a_name_and_a_thin_colour(pico_tokenizer):
    roles = ["user", "user", "assistant", "somebody <b>"]
    view = display.token_table(pico_tokenizer, [5, 6, 7, 8], [X, X, 7, 8], roles)
    names = re.findall(r"<small><strong>(.+?)</strong>", html_of(view))
    assert names == ["user", "assistant", "somebody &lt;b&gt;"]
    tints = re.findall(r"rgba\(([^)]+)\)", html_of(view))
    assert len(set(tints)) == 3
    assert all(float(tint.split(",")[3]) <= 0.3 for tint in tints)  # the theme shows through
    assert 'title="id 7, label 7, speaker assistant"' in html_of(view)
    assert repr(view).splitlines()[0].split() == ["token", "id", "label", "speaker", "loss"]


def test_a_packs_rows_stand_apart_with_their_positions(pico_tokenizer):
    view = display.token_table(
        pico_tokenizer, range(5, 10), range(5, 10), position_ids=[0, 1, 0, 1, 2]
    )
    heads = re.findall(r"<small>(row .+?)</small>", html_of(view))
    assert heads == [
        "row 1 of the pack: 2 tokens, positions 0 to 1",
        "row 2 of the pack: 3 tokens, positions 0 to 2",
    ]
    assert 'title="id 9, label 9, position 2"' in html_of(view)
    alone = display.token_table(pico_tokenizer, [5, 6], position_ids=[0, 1])
    assert "of the pack" not in html_of(alone)


def test_of_a_very_long_row_the_beginning_is_shown_and_that_is_said(pico_tokenizer):
    ids = [5] * (display.LONGEST_ROW + 7)
    view = display.token_table(pico_tokenizer, ids, ids)
    assert html_of(view).count("<span") == display.LONGEST_ROW
    assert "7 more tokens are not shown" in html_of(view)
    assert repr(view).splitlines()[-1] == "7 more tokens are not shown"
    assert f"{len(ids)} tokens: {len(ids)} with loss" in html_of(view)


@pytest.mark.parametrize("text", ["a\x1b[31mb", "a\u202eb", "a\x00b", "a\ud800b"])
def test_control_characters_and_turned_directions_are_shown_as_codes(text):
    views = [
        display.table([{"said": text}]),
        display.chat([{"role": "user", "content": text}]),
    ]
    for view in views:
        for shown in (html_of(view), repr(view)):
            assert text[1] not in shown
            assert re.search(r"a\\(x|u)[0-9a-f]+", shown)


@pytest.fixture
def views(pico_tokenizer):
    ids = pico_tokenizer(EVIL, add_special_tokens=False).input_ids
    return {
        "table": display.table([{EVIL: EVIL}]),
        "chat": display.chat([{"role": EVIL, "content": EVIL}], title=EVIL),
        "tokens": display.token_table(pico_tokenizer, ids, ids),
    }


def test_what_is_shown_cannot_become_html(views):
    for view in views.values():
        assert "<script" not in html_of(view)
    assert html_of(views["table"]).count(ESCAPED) == 2
    assert html_of(views["chat"]).count(ESCAPED) == 3


def test_no_colour_is_fixed_and_no_formula_is_set(views):
    for view in views.values():
        assert not re.search(r"background|[cC]olor|#[0-9a-fA-F]{3,6};|rgb", html_of(view))
        assert html_of(view).startswith('<div class="mathjax_ignore">')

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import chat_template, masking
from course_lib.data.chat_template import TokenizedSegment
from course_lib.errors import DataError, ModelError, NothingToLearnError
from tests.data import templates

X = masking.IGNORE_INDEX
# worked out by hand: 9 ends the assistant's turn, 4 is the newline behind it
TURNS = {
    "S": [TokenizedSegment((1,), "system", False)],
    "U": [TokenizedSegment((2, 3), "user", False)],
    "A": [TokenizedSegment((7,), "assistant", True), TokenizedSegment((9,), "assistant", True),
          TokenizedSegment((4,), "assistant", False)],
}  # fmt: skip
QUESTION = [{"role": "user", "content": "Hi there"}]
REPLY = {"role": "assistant", "content": "Hello!"}
ROW = [*QUESTION, REPLY]


@pytest.mark.parametrize(
    ("turns", "input_ids", "labels"),
    [
        ("SUA", [1, 2, 3, 7, 9, 4], [X, X, X, 7, 9, X]),
        ("UAUA", [2, 3, 7, 9, 4] * 2, [X, X, 7, 9, X] * 2),
        ("UA", [2, 3, 7, 9, 4], [X, X, 7, 9, X]),
        ("UUAS", [2, 3, 2, 3, 7, 9, 4, 1], [X, X, X, X, 7, 9, X, X]),
    ],
)
def test_only_assistant_tokens_carry_loss(turns, input_ids, labels):
    segments = [segment for turn in turns for segment in TURNS[turn]]
    assert masking.build_labels(segments) == (input_ids, labels)


@pytest.mark.parametrize(
    "segments",
    [
        [],
        TURNS["U"],
        # nothing stands before the first token, so nothing can predict it
        [TokenizedSegment((7,), "assistant", True), *TURNS["U"]],
    ],
)
def test_a_row_without_loss_is_refused(segments):
    with pytest.raises(NothingToLearnError, match="carries loss"):
        masking.build_labels(segments)


def test_a_row_learns_the_reply_and_its_end(pico_tokenizer):
    row = masking.encode_row(ROW, pico_tokenizer, max_length=64)
    assert pico_tokenizer.decode(row.input_ids) == (
        "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n"
    )
    learned = [label for label in row.labels if label != X]
    assert pico_tokenizer.decode(learned) == "Hello!<|im_end|>"
    assert row.truncated_tokens == 0
    assert row.input_ids[: row.labels.index(learned[0])] == tuple(
        chat_template.encode_prompt(QUESTION, pico_tokenizer)
    )


# worked out by hand: a conversation of four replies, each with what it says about its loss
@pytest.mark.parametrize(
    ("loss_turns", "flags", "chosen"),
    [
        ("all", [{}, {}, {}, {}], [1, 3, 5, 7]),
        ("last", [{}, {}, {}, {}], [7]),
        # a flag decides for its own reply alone, the others follow loss_turns
        ("all", [{"weight": 0}, {}, {}, {}], [3, 5, 7]),
        ("all", [{"loss": True}, {}, {}, {}], [1, 3, 5, 7]),
        ("all", [{"loss": False}, {"weight": 1}, {"weight": None}, {"loss": 0}], [3, 5]),
        ("last", [{"weight": 1}, {}, {}, {}], [1, 7]),
        ("last", [{}, {"loss": True}, {}, {"weight": 0, "loss": False}], [3]),
    ],
)
def test_replies_say_whether_they_carry_loss(loss_turns, flags, chosen, pico_tokenizer):
    messages = [m for flag in flags for m in (*QUESTION, {**REPLY, **flag})]
    assert sorted(masking.chosen_replies(messages, loss_turns)) == chosen
    row = masking.encode_row(messages, pico_tokenizer, 999, loss_turns)
    learned = pico_tokenizer.decode([label for label in row.labels if label != X])
    assert learned == "Hello!<|im_end|>" * len(chosen)
    assert row.input_ids == masking.encode_row(ROW * 4, pico_tokenizer, 999).input_ids


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([*QUESTION, {**REPLY, "weight": 0.5}], "message 2 .*weight: expected 0 or 1, found 0.5"),
        ([*QUESTION, {**REPLY, "loss": "yes"}], "message 2 .*loss: expected 0 or 1, found 'yes'"),
        ([*QUESTION, {**REPLY, "loss": True, "weight": 0}], "message 2 .*contradict each other"),
        ([{**QUESTION[0], "loss": True}, REPLY], r"message 1 \(user\).*only replies learn"),
    ],
)
def test_a_flag_that_means_nothing_is_refused(messages, match, pico_tokenizer):
    with pytest.raises(DataError, match=match):
        masking.encode_row(messages, pico_tokenizer, 99)


def test_a_row_that_switches_every_reply_off_is_dropped_and_counted(pico_tokenizer):
    off = {"messages": [*QUESTION, {**REPLY, "weight": 0}]}
    report = masking.encode_rows([{"messages": ROW}, off], pico_tokenizer, 99, 0.5)
    assert report.dropped == [2]


@given(max_length=st.integers(1, 40))
def test_a_long_row_is_cut_at_the_right_end_and_counted(pico_tokenizer, max_length):
    whole = masking.encode_row(ROW, pico_tokenizer, max_length=64)
    size = len(whole.input_ids)
    if max_length <= len(chat_template.encode_prompt(QUESTION, pico_tokenizer)):
        with pytest.raises(NothingToLearnError, match="raise max_length"):
            masking.encode_row(ROW, pico_tokenizer, max_length)
        return
    row = masking.encode_row(ROW, pico_tokenizer, max_length)
    assert row.input_ids == whole.input_ids[:max_length]
    assert row.labels == whole.labels[:max_length]
    assert row.truncated_tokens == max(0, size - max_length)


def test_a_row_without_a_reply_is_an_error_not_a_dropped_row(pico_tokenizer):
    rows = [{"messages": ROW}, {"messages": QUESTION}]
    with pytest.raises(DataError) as caught:
        masking.encode_rows(rows, pico_tokenizer, max_length=64)
    assert caught.value.message == "row 2: None of the 1 messages has the role 'assistant'."


@given(text=st.text(max_size=60), max_length=st.integers(3, 16))
def test_plain_text_loses_no_token_and_learns_each(pico_tokenizer, text, max_length):
    rows = masking.encode_text(text, pico_tokenizer, max_length)
    joined = [i for row in rows for i in row.input_ids]
    assert joined[-1] == pico_tokenizer.eos_token_id
    assert pico_tokenizer.decode(joined[:-1], clean_up_tokenization_spaces=False) == text
    assert all(row.labels == row.input_ids for row in rows)
    assert all(len(row.input_ids) <= max_length for row in rows)
    assert len(joined) == 1 or all(len(row.input_ids) > 1 for row in rows)
    assert len(rows) == -(-len(joined) // max_length)  # no more rows than needed


def test_control_tokens_in_plain_text_stay_text(pico_tokenizer):
    (row,) = masking.encode_text("a<|endoftext|>b", pico_tokenizer, max_length=64)
    assert row.input_ids.count(pico_tokenizer.eos_token_id) == 1


def test_plain_text_needs_an_end_token(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml")
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end token"):
        masking.encode_text("Hi", tokenizer, max_length=8)


def test_what_is_cut_and_dropped_is_counted(pico_tokenizer):
    size = len(masking.encode_row(ROW, pico_tokenizer, max_length=64).input_ids)
    long_reply = [*QUESTION, {"role": "assistant", "content": "Hello! " * 20}]
    long_question = [{"role": "user", "content": "Hi there " * 20}, REPLY]
    contents = [ROW, long_reply, long_question, ROW]
    rows = [*({"messages": messages} for messages in contents), {"text": "Hi " * 30}]
    report = masking.encode_rows(rows, pico_tokenizer, max_length=size, max_dropped_share=0.2)
    assert report.truncated == 1
    assert report.dropped == [3]
    assert [row.truncated_tokens > 0 for row in report.rows[:3]] == [False, True, False]
    assert len(report.rows) > 4  # the text made several rows
    with pytest.raises(DataError, match=r"1 of 5 rows have nothing to learn.*\(rows 3\).*0\.05"):
        masking.encode_rows(rows, pico_tokenizer, max_length=size)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "There are no rows to encode."),
        ([{"text": "a"}, {"prompt": "b"}],
         "row 2: expected a field messages or text, found prompt."),
        ([{}], "row 1: expected a field messages or text, found none."),
        ([{"messages": [{"role": "user", "content": ""}]}],
         "row 1: message 1 (user), field content: the text is empty."),
    ],
)  # fmt: skip
def test_bad_rows_are_named(rows, message, pico_tokenizer):
    with pytest.raises(DataError) as caught:
        masking.encode_rows(rows, pico_tokenizer, max_length=64)
    assert caught.value.message == message


def test_a_data_set_that_would_be_dropped_whole_is_refused(pico_tokenizer):
    with pytest.raises(DataError, match="2 of 2 rows have nothing to learn"):
        masking.encode_rows([{"messages": ROW}] * 2, pico_tokenizer, 4, max_dropped_share=1.0)

import json

import pytest

from course_lib.data.masking import IGNORE_INDEX
from course_lib.errors import ConfigError, DataError, ModelError
from course_lib.training import rows
from course_lib.training.config import TrainConfig


def talk(question, answer):
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ]
    }


def write(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return str(path)


def answers(found):
    return [row["messages"][-1]["content"] for row in found]


def to_config(*sources, **values):
    return TrainConfig(train_data=sources, **values)


# --- reading ---


def test_copies_and_limits_are_applied_file_by_file(tmp_path):
    first = write(tmp_path / "a.jsonl", *(talk("q", f"a{n}") for n in range(3)))
    second = write(tmp_path / "b.jsonl", talk("q", "b0"), talk("q", "b1"))
    config = to_config({"path": first, "copies": 2, "limit": 2}, {"path": second})
    assert answers(rows.load_rows(config)) == ["a0", "a1", "a0", "a1", "b0", "b1"]


def test_a_limit_beyond_the_file_takes_all_of_it(tmp_path):
    path = write(tmp_path / "a.jsonl", talk("q", "a"))
    assert answers(rows.load_rows(to_config({"path": path, "limit": 99}))) == ["a"]


@pytest.mark.parametrize("name", ["Ada", "小明", 'O\'Brien "x"', "🦊", "\\1 $0 {name}"])
def test_the_name_is_filled_in_everywhere_as_it_is(tmp_path, name):
    path = write(tmp_path / "a.jsonl", talk("Are you {{name}}?", "Yes: {{name}}, {{name}}."))
    (row,) = rows.load_rows(to_config({"path": path}, assistant_name=name))
    contents = [message["content"] for message in row["messages"]]
    assert contents == [f"Are you {name}?", f"Yes: {name}, {name}."]


def test_a_name_is_filled_in_where_only_some_rows_or_files_have_a_place_for_it(tmp_path):
    first = write(tmp_path / "a.jsonl", talk("q", "I am {{name}}."), talk("q", "4"))
    second = write(tmp_path / "b.jsonl", talk("q", "5"))
    config = to_config({"path": first}, {"path": second}, assistant_name="Ada")
    assert answers(rows.load_rows(config)) == ["I am Ada.", "4", "5"]


def test_a_missing_name_is_reported_with_the_file_that_needs_it(tmp_path):
    path = write(tmp_path / "a.jsonl", talk("q", "I am {{name}}."))
    match = r"a.jsonl holds \{\{name\}\}, but the config gives no assistant_name"
    with pytest.raises(ConfigError, match=match) as caught:
        rows.load_rows(to_config({"path": path}))
    assert caught.value.next_step == "Set assistant_name in the config."


def test_a_place_for_something_else_is_refused(tmp_path):
    path = write(tmp_path / "a.jsonl", talk("q", "I am {{name}} from {{city}}."))
    with pytest.raises(DataError, match="city"):
        rows.load_rows(to_config({"path": path}, assistant_name="Ada"))


def test_a_config_without_data_is_refused():
    with pytest.raises(ConfigError, match="train_data is empty") as caught:
        rows.load_rows(TrainConfig())
    assert "- path: my_rows.jsonl" in caught.value.next_step


def test_a_missing_file_is_named_with_both_places_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rows, "DATA_DIR", tmp_path / "data")
    with pytest.raises(DataError, match=r"'none\.jsonl' is neither beside the config nor in") as e:
        rows.load_rows(to_config({"path": "none.jsonl"}))
    assert str(tmp_path / "data") in e.value.message
    assert "Correct train_data" in e.value.next_step
    write(tmp_path / "data" / "none.jsonl", talk("q", "from data"))
    assert answers(rows.load_rows(to_config({"path": "none.jsonl"}))) == ["from data"]
    write(tmp_path / "none.jsonl", talk("q", "from here"))
    assert answers(rows.load_rows(to_config({"path": "none.jsonl"}))) == ["from here"]


def test_a_folder_of_files_is_read_in_order_of_their_names(tmp_path):
    write(tmp_path / "set" / "b.jsonl", talk("q", "b"))
    write(tmp_path / "set" / "a.jsonl", talk("q", "a0"), talk("q", "a1"))
    assert answers(rows.load_rows(to_config({"path": str(tmp_path / "set")}))) == ["a0", "a1", "b"]


def test_a_named_format_and_leave_to_skip_bad_rows_come_from_the_config(tmp_path):
    path = write(tmp_path / "a.jsonl", {"instruction": "q", "output": "a", "text": "t"},
                 {"instruction": "q", "output": ""})  # fmt: skip
    source = {"path": path, "format": "alpaca"}
    with pytest.raises(DataError, match=r"row 2 \(line 2\): field output: the text is empty"):
        rows.load_rows(to_config(source))
    assert answers(rows.load_rows(to_config({**source, "skip_bad_rows": True}))) == ["a"]


def test_what_is_not_here_and_looks_like_an_id_is_looked_for_on_a_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rows.find_source("hf:owner/name") == "hf:owner/name"
    assert rows.find_source("owner/name") == "owner/name"
    with pytest.raises(DataError, match="neither beside the config nor in"):
        rows.find_source("owner/name.jsonl")


@pytest.mark.parametrize("path", ["", ".", ".."])
def test_the_working_folder_is_no_data_set(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="neither beside the config nor in"):
        rows.load_rows(to_config({"path": path}))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"a\.jsonl"),
        ("{", r"a\.jsonl.*1"),
        ('{"messages": []}\n', r"a\.jsonl.*1"),
        (json.dumps({"messages": [{"role": "user", "content": "q"}]}), r"a\.jsonl.*1"),
    ],
)
def test_a_malformed_file_is_named_with_the_row(tmp_path, text, match):
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=match) as caught:
        rows.load_rows(to_config({"path": str(tmp_path / "a.jsonl")}))
    assert caught.value.next_step


# --- preparing ---

SHORT = talk("What is two and two?", "Four.")
LONG = talk("Tell me all.", "one two three four five six seven eight nine ten " * 4)


def prepare(tmp_path, tokenizer, records, **values):
    path = write(tmp_path / "a.jsonl", *records)
    return rows.prepare_data(to_config({"path": path}, **values), tokenizer)


def test_packs_hold_every_row_once_and_the_counts_are_theirs(tmp_path, pico_tokenizer):
    data = prepare(tmp_path, pico_tokenizer, [SHORT, LONG] * 3, max_length=128)
    tokens = [i for pack in data.packs for i in pack.input_ids]
    text = pico_tokenizer.decode(tokens)
    assert text.count("two and two?") == 3
    assert text.count("Tell me all.") == 3
    assert (data.rows, data.truncated_rows, data.dropped_rows) == (6, 0, 0)
    assert data.row_tokens == len(tokens)
    labels = [label for pack in data.packs for label in pack.labels]
    learned = pico_tokenizer.decode([label for label in labels if label != IGNORE_INDEX])
    assert data.loss_tokens == sum(label != IGNORE_INDEX for label in labels)
    assert learned.startswith("Four.<|im_end|>")
    assert "What" not in learned


def test_without_packing_each_row_stands_alone(tmp_path, pico_tokenizer):
    alone = prepare(tmp_path, pico_tokenizer, [SHORT] * 5, max_length=128, packing=False)
    packed = prepare(tmp_path, pico_tokenizer, [SHORT] * 5, max_length=128)
    assert [pack.lengths for pack in alone.packs] == [(alone.row_tokens // 5,)] * 5
    assert len(packed.packs) == 1
    assert (alone.row_tokens, alone.loss_tokens) == (packed.row_tokens, packed.loss_tokens)


@pytest.mark.parametrize("method", ["best_fit", "next_fit", "cut", "none"])
def test_every_way_to_pack_keeps_every_token(tmp_path, pico_tokenizer, method):
    records = [SHORT, LONG, SHORT, SHORT]
    data = prepare(tmp_path, pico_tokenizer, records, max_length=96, packing=method)
    tokens = [i for pack in data.packs for i in pack.input_ids]
    assert len(tokens) == data.row_tokens
    assert pico_tokenizer.decode(tokens).count("two and two?") == 3
    labels = [label for pack in data.packs for label in pack.labels]
    assert data.loss_tokens == sum(label != IGNORE_INDEX for label in labels)
    assert (data.split_rows > 0) == (method == "cut")


def test_the_last_reply_alone_can_be_learned(tmp_path, pico_tokenizer):
    long_talk = {"messages": SHORT["messages"] * 2}
    whole = prepare(tmp_path, pico_tokenizer, [long_talk])
    last = prepare(tmp_path, pico_tokenizer, [long_talk], loss_turns="last")
    assert whole.row_tokens == last.row_tokens
    assert whole.loss_tokens == 2 * last.loss_tokens


def test_the_config_names_the_chat_template(tmp_path):
    config = to_config(prompt_template="vicuna")
    tokenizer = rows.load_tokenizer(config)
    data = prepare(tmp_path, tokenizer, [SHORT], prompt_template="vicuna")
    text = tokenizer.decode(data.packs[0].input_ids)
    assert text == "USER: What is two and two? ASSISTANT: Four.<|endoftext|>"
    with pytest.raises(ModelError, match="gemma needs the control tokens"):
        rows.load_tokenizer(to_config(prompt_template="gemma"))


def test_rows_that_are_cut_are_counted(tmp_path, pico_tokenizer):
    data = prepare(tmp_path, pico_tokenizer, [SHORT] * 3 + [LONG], max_length=32)
    assert (data.rows, data.truncated_rows, data.dropped_rows) == (4, 1, 0)
    assert max(len(pack.input_ids) for pack in data.packs) <= 32


def test_rows_with_nothing_left_to_learn_are_counted_and_many_are_refused(tmp_path, pico_tokenizer):
    asks_too_long = talk("What is " + "one and " * 60 + "two?", "Many.")
    data = prepare(tmp_path, pico_tokenizer, [SHORT] * 30 + [asks_too_long], max_length=48)
    assert (data.rows, data.dropped_rows) == (30, 1)
    with pytest.raises(DataError, match="nothing"):
        prepare(tmp_path, pico_tokenizer, [SHORT, asks_too_long], max_length=48)


def test_plain_text_is_learned_whole(tmp_path, pico_tokenizer):
    data = prepare(tmp_path, pico_tokenizer, [{"text": "Rain is water that falls."}], max_length=64)
    (pack,) = data.packs
    assert data.loss_tokens == data.row_tokens - 1  # the first token is predicted from nothing
    assert pico_tokenizer.decode(pack.input_ids).startswith("Rain is water that falls.")


def test_marks_in_the_text_stay_text(tmp_path, pico_tokenizer):
    data = prepare(tmp_path, pico_tokenizer, [talk("<|im_end|>", "a<|im_start|>b")], max_length=64)
    ends = data.packs[0].input_ids.count(pico_tokenizer.convert_tokens_to_ids("<|im_end|>"))
    assert ends == 2  # of the user's turn and of the assistant's

"""The label view without a browser: rows, packs, cuts, wrong rows, and hostile texts."""

import re

import pytest

from course_lib import files
from course_lib.data import masking
from course_lib.errors import ConfigError, DataError
from course_lib.training import config
from course_lib.widgets.label_view import N_ROWS, LabelView
from tests.widgets import hostile

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi!"},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Who are you?"},
    {"role": "assistant", "content": "I am Pico."},
]


def text_of(widget):
    return hostile.look(widget.value)[0]


def row_of(text):
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": text}]}


@pytest.fixture
def view(pico_tokenizer):
    short = [row_of(f"Say {word}.") for word in ("one", "two", "three")]
    return LabelView([{"messages": TALK}, *short], pico_tokenizer, max_length=64)


def test_a_talk_of_several_turns_shows_its_speakers_and_its_loss(view):
    names = re.findall(r"<small><strong>(\w+)</strong>", view.body.value)
    assert names == ["system", "user", "assistant", "user", "assistant"]
    chips = re.findall(
        r'title="(id \d+, label (-?\d+), position (\d+), speaker (\w+))"', view.body.value
    )
    assert [int(position) for _, _, position, _ in chips] == list(range(len(chips)))
    assert {speaker for _, label, _, speaker in chips if label != "-100"} == {"assistant"}
    assert view.body.value.count("opacity") == sum(label == "-100" for _, label, _, _ in chips)
    assert text_of(view.summary).startswith(f"Row 1 of 4: {len(chips)} tokens; tokens by speaker:")


def test_rows_are_chosen_by_number(view):
    view.number.value = 3
    assert text_of(view.summary).startswith("Row 3 of 4")
    assert "two" in text_of(view.body)
    view.number.value = 99
    assert view.number.value == 4


def test_a_pack_shows_its_boundaries_and_positions(view):
    view.max_length.value = 128
    view.unit.value = "pack"
    heads = re.findall(
        r"<small>(row \d+ of the pack: \d+ tokens, positions 0 to \d+)</small>", view.body.value
    )
    assert len(heads) > 1
    assert text_of(view.summary).startswith("Pack 1 of ")
    assert f"{len(heads)} rows" in text_of(view.summary)
    positions = [int(p) for p in re.findall(r"position (\d+)", view.body.value)]
    assert positions.count(0) == len(heads)
    view.method.value = "none"
    assert "1 rows" in text_of(view.summary)
    assert view.number.max == 4
    view.method.value = "cut"
    assert text_of(view.summary).startswith("Pack 1 of ")


def test_a_truncated_row_says_what_is_lost(view):
    before = view.body.value.count("title=")
    view.max_length.value = 20
    assert view.body.value.count("title=") == 20
    said = text_of(view.summary)
    assert f"Cut at max_length: {before - 20} tokens are never seen" in said
    assert "I am Pico." in said


def test_a_row_with_nothing_to_learn_is_told(view):
    view.max_length.value = 5
    assert "training leaves this row out" in text_of(view.summary)
    view.unit.value = "pack"
    assert "there is no pack" in text_of(view.summary)
    assert view.body.value == ""


def test_loss_on_the_last_reply_only(view):
    def with_loss():
        return len(re.findall(r"label (?!-100)\d+", view.body.value))

    both = with_loss()
    view.loss_turns.value = "last"
    assert 0 < with_loss() < both


def test_a_wrong_length_is_told_and_can_be_mended(view):
    view.max_length.value = 0
    assert text_of(view.summary) == "✗ max_length is 0: use at least 2 tokens."
    view.max_length.value = 64
    assert text_of(view.summary).startswith("Row 1 of 4")


def test_a_wrong_row_is_told_where_it_would_be_and_the_others_are_shown(pico_tokenizer):
    rows = [row_of("one"), {"prompt": "?"}, {"messages": [TALK[2]]}, row_of("two")]
    view = LabelView(rows, pico_tokenizer, 64)
    view.number.value = 2
    assert "Row 2 of the data: expected a field messages or text" in text_of(view.summary)
    view.number.value = 3
    assert "Row 3 of the data: message 1, field role" in text_of(view.summary)
    assert "Row 3 of the data" in repr(view.static())
    view.number.value = 4
    assert "two" in text_of(view.body)
    view.unit.value = "pack"
    assert "2 rows" in text_of(view.summary)


def test_nothing_to_look_at_is_an_error(pico_tokenizer):
    with pytest.raises(DataError, match="no rows to look at"):
        LabelView([], pico_tokenizer)


def test_plain_text_has_no_speaker_but_loss_everywhere(pico_tokenizer):
    view = LabelView([{"text": "The koala eats leaves. " * 40}], pico_tokenizer, 32)
    assert view.number.max > 1
    assert "tokens by speaker: text" in text_of(view.summary)
    assert "label -100" not in view.body.value


def test_the_table_says_the_same_for_screen_readers(view):
    view.as_table.value = True
    lines = text_of(view.body).splitlines()
    assert lines[0].split() == ["token", "id", "label", "speaker", "position", "loss"]
    assert len(lines) - 1 == len(re.findall(r"\d+ +(?:yes|no)", text_of(view.body)))
    assert 'tabindex="0"' in view.body.value
    for box in (view.number, view.max_length, view.method, view.loss_turns, view.as_table):
        assert box.description


def test_the_static_twin_shows_what_the_view_shows(view):
    view.max_length.value = 20
    twin = view.static()
    assert view.body.value.count("title=") == twin._repr_html_().count("title=")
    for words in ("Row 1 of 4: 20 tokens", "Cut at max_length"):
        assert words in repr(twin)
        assert words in twin._repr_html_()
    assert view._repr_mimebundle_()["text/plain"] == repr(twin)


def test_the_rows_of_a_config_are_those_of_its_run():
    preset = config.load_preset("pico_qlora_assistant_e3")
    view = LabelView.of_config(preset)
    assert view.number.max == N_ROWS
    assert view.max_length.value == preset.max_length
    assert view.method.value == preset.packing
    assert preset.assistant_name in text_of(view.body).replace("␣", " ")
    with pytest.raises(ConfigError, match="nothing to train on"):
        LabelView.of_config(config.TrainConfig())


@pytest.mark.parametrize("kind", hostile.TEXTS)
def test_hostile_texts_stay_text(pico_tokenizer, kind):
    text = hostile.TEXTS[kind]
    view = LabelView([row_of(text)], pico_tokenizer, 64 if len(text) > 1000 else 512)
    for page in (view.body.value, view.static()._repr_html_(), view.summary.value):
        said, strange = hostile.look(page)
        assert strange == []
        assert not set("\x00\x08\x1b\u202e\ud800") & set(said)
        assert len(page) < 300_000
    if kind == "half a character":  # no tokenizer can hold it: the row is told instead
        assert "half of a character" in text_of(view.summary)
        return
    chips = "".join(re.findall(r'speaker user">([^<]*)</span>', view.body.value))
    assert hostile.shown(text) in hostile.look(chips.replace("␣", " ").replace("⏎", "\n"))[0]


def test_of_a_line_of_a_million_characters_the_beginning_is_shown_and_that_is_said(pico_tokenizer):
    view = LabelView([row_of("x" * 1_000_000)], pico_tokenizer, 131_072)
    assert "more tokens are not shown" in text_of(view.body)
    assert len(view.body.value) < 2_000_000
    assert "tokens are never seen" in text_of(view.summary)
    assert len(view.summary.value) < 5_000


def test_every_label_is_that_of_training(pico_tokenizer):
    rows = files.read_jsonl(files.DATA_DIR / "pico" / "replay.jsonl")[:10]
    view = LabelView(rows, pico_tokenizer, 256)
    for number, row in enumerate(rows, 1):
        view.number.value = number
        encoded = masking.encode_row(row["messages"], pico_tokenizer, 256)
        shown = [int(label) for label in re.findall(r"label (-?\d+)", view.body.value)]
        assert tuple(shown) == encoded.labels

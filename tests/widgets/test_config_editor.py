"""The config editor without a browser: what is typed, what is shown, what is saved."""

import html
import json
import re
import threading
import time

import pytest

from course_lib.errors import ConfigError, UnknownNameError
from course_lib.training import config, config_text, prediction, rows
from course_lib.widgets import background
from course_lib.widgets.config_editor import ConfigEditor
from tests.widgets import hostile
from tests.widgets.page import click

PRESET = "pico_qlora_assistant_e3"
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
WAIT_S = 120


def text_of(widget):
    """What a reader sees of a widget's HTML."""
    return hostile.look(widget.value)[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A config with a data set of its own: 30 rows."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "rows.jsonl").write_text(json.dumps({"messages": TURNS}) + "\n")
    (folder / "mine.yaml").write_text(
        "# my first config\nbits: 32   # no NF4 here\nr: 8\ntrain_data:\n"
        "  - path: rows.jsonl   # one row\n    copies: 30\npacking: none\nnum_train_epochs: 2\n"
        "per_device_train_batch_size: 2\n"
    )
    return folder


@pytest.fixture
def editor(home, tmp_path, monkeypatch):
    for name in ("mine.yaml", "rows.jsonl"):
        (tmp_path / name).write_text((home / name).read_text())
    monkeypatch.chdir(tmp_path)
    made = ConfigEditor("mine.yaml")
    made._background.delay_s = 0
    yield made
    assert made.wait(WAIT_S)


def test_every_field_of_the_config_has_a_box_with_its_meaning(editor):
    assert list(editor.boxes) == list(config.TrainConfig.model_fields)
    for name, field in config.TrainConfig.model_fields.items():
        assert editor.boxes[name].description == name  # the label that a screen reader reads
        assert editor.boxes[name].tooltip.startswith(field.description)
        assert field.description in text_of(editor.rows[name]._hint)
    assert "at least 1, at most 1024" in text_of(editor.rows["r"]._hint)


def test_values_can_be_set_as_if_they_were_typed(editor):
    editor.set(r=16, learning_rate="1e-4")
    assert (editor.config.r, editor.config.learning_rate) == (16, 1e-4)
    assert "+r: 16" in text_of(editor.difference)
    with pytest.raises(UnknownNameError, match="rank"):
        editor.set(rank=16)


def test_fields_stand_in_the_groups_of_the_lessons(editor):
    assert list(editor.groups) == ["model", "data", "adapter", "optimizer", "evaluation", "runtime"]
    editor.group_buttons.value = "optimizer"
    shown = [name for name, box in editor.groups.items() if box.layout.display != "none"]
    assert shown == ["optimizer"]
    assert editor.rows["learning_rate"] in editor.groups["optimizer"].children


def test_a_problem_is_shown_at_its_field_as_it_is_typed_and_goes_when_it_is_mended(editor):
    editor.boxes["r"].value = "0"
    assert text_of(editor.rows["r"].problem).startswith("✗ 0: input should be greater than or")
    assert ("adapter ✗ 1", "adapter") in editor.group_buttons.options
    assert "tb-bad" in editor.boxes["r"]._dom_classes
    assert 'role="alert"' in editor.rows["r"].problem.value
    assert text_of(editor.prediction) == "✗ Correct the problems first."
    with pytest.raises(ConfigError, match="r: 0: input should be"):
        _ = editor.config
    editor.boxes["r"].value = "16"
    assert editor.rows["r"].problem.value == ""
    assert "tb-bad" not in editor.boxes["r"]._dom_classes
    assert ("adapter", "adapter") in editor.group_buttons.options
    assert editor.config.r == 16


def test_a_rule_about_two_fields_is_shown_at_both(editor):
    editor.boxes["suite"].value = "assistant"
    for name in ("suite", "assistant_name"):
        assert "needs assistant_name" in text_of(editor.rows[name].problem)
    editor.boxes["assistant_name"].value = "Ada"
    assert editor.rows["suite"].problem.value == ""


def test_the_chosen_group_stays_when_problems_come_and_go(editor):
    editor.group_buttons.value = "adapter"
    editor.boxes["r"].value = "x"
    editor.boxes["r"].value = "8"
    assert editor.group_buttons.value == "adapter"


def test_the_run_is_predicted_and_follows_what_is_typed(editor):
    assert editor.wait(WAIT_S)
    assert editor.facts["steps"].startswith("30 optimizer steps in all, 15 in an epoch")
    assert "30 in an epoch" in text_of(editor.prediction)
    assert editor.warnings == ()
    editor.boxes["max_steps"].value = "4"
    assert "Working it out" in editor.prediction.value
    assert editor.wait(WAIT_S)
    assert editor.facts["steps"].startswith("4 optimizer steps in all")
    warning = "4 optimizer steps in all: too few to change an answer."
    assert warning in text_of(editor.prediction)
    assert editor.warnings == (warning,)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("train_data", "- path: no_such.jsonl", "neither beside the config"),
        ("train_data", "", "nothing to train on"),
        ("base_model", "no-such-model", "No model at 'no-such-model'"),
        ("target_modules", "q_prj", "No layer is called q_prj"),
        ("warmup_steps", "900", "never passes"),
    ],
)
def test_what_training_would_refuse_is_told_at_its_field(editor, name, value, match):
    editor.boxes[name].value = value
    assert editor.wait(WAIT_S)
    assert match in text_of(editor.rows[name].problem)
    assert match in text_of(editor.prediction)
    assert editor.facts == {}
    group = config_text.group_of(name)
    assert (f"{group} ✗ 1", group) in editor.group_buttons.options
    assert match in repr(editor.static())


def test_an_error_of_a_library_is_shown_and_nothing_hangs(editor, monkeypatch):
    def fail(*args):
        raise ZeroDivisionError("by zero")

    assert editor.wait(WAIT_S)
    monkeypatch.setattr(prediction.Predictor, "predict", fail)
    editor.boxes["seed"].value = "5"
    assert editor.wait(WAIT_S)
    assert "ZeroDivisionError: by zero" in text_of(editor.prediction)


def test_a_prediction_that_nobody_waits_for_ends_early(editor, monkeypatch):
    assert editor.wait(WAIT_S)
    started, counts = threading.Event(), []
    endless = {"messages": TURNS}

    def many(settings):
        for number in range(10**9):
            counts.append(number)
            started.set()
            yield endless

    read = rows.iter_rows
    monkeypatch.setattr(rows, "iter_rows", many)
    editor.boxes["max_length"].value = "128"
    assert started.wait(WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while "rows so far" not in editor.prediction.value and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "rows so far" in editor.prediction.value
    assert "<progress" in editor.prediction.value
    monkeypatch.setattr(rows, "iter_rows", read)
    editor.boxes["max_length"].value = "64"
    assert editor.wait(WAIT_S)
    assert editor.facts["rows"].startswith("30 in an epoch")


def test_the_difference_is_a_unified_diff_from_the_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ConfigEditor(PRESET)
    assert "the same as" in text_of(made.difference)
    made.boxes["assistant_name"].value = "Ada"
    shown = text_of(made.difference)
    assert f"--- {PRESET}\n+++ {PRESET}.yaml" in shown
    assert "-assistant_name: Xiaoming      # <- your name here" in shown
    assert "+assistant_name: Ada           # <- your name here" in shown
    assert 'class="tb-added">+assistant_name' in made.difference.value
    made.path_box.value = "other.yaml"
    assert "+++ other.yaml" in text_of(made.difference)
    made.wait(WAIT_S)


def test_what_is_typed_just_before_the_click_is_saved(editor, tmp_path):
    editor.boxes["r"].value = "1"
    click(editor, editor.save_button, editor.boxes["r"], late="16")
    assert config.load_config(tmp_path / "mine.yaml").r == 16
    assert text_of(editor.saved) == "✓ Saved: mine.yaml"
    editor.boxes["r"].value = "32"
    assert text_of(editor.saved) == ""  # the file says something else now


def test_saving_keeps_comments_and_can_be_repeated(editor, tmp_path):
    editor.boxes["r"].value = "16"
    editor.save_button.click()
    assert text_of(editor.saved) == "✓ Saved: mine.yaml"
    saved = (tmp_path / "mine.yaml").read_text()
    assert "# my first config\nbits: 32   # no NF4 here\nr: 16\n" in saved
    assert "rows.jsonl   # one row" in saved
    assert config.load_config(tmp_path / "mine.yaml") == editor.config
    editor.boxes["r"].value = "32"
    editor.save_button.click()
    assert config.load_config(tmp_path / "mine.yaml").r == 32


def test_a_preset_is_saved_under_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = ConfigEditor(PRESET)
    made.save_button.click()
    copy = tmp_path / f"{PRESET}.yaml"
    assert copy.read_text("utf-8") == (config.PRESET_DIR / f"{PRESET}.yaml").read_text("utf-8")
    made.wait(WAIT_S)


def test_nothing_is_saved_while_there_are_problems(editor, tmp_path):
    before = (tmp_path / "mine.yaml").read_text()
    editor.boxes["r"].value = "0"
    editor.save_button.click()
    assert "r: 0: input should be" in text_of(editor.saved)
    assert (tmp_path / "mine.yaml").read_text() == before


def test_work_of_somebody_else_is_not_overwritten(editor, tmp_path):
    (tmp_path / "mine.yaml").write_text("r: 1 # edited elsewhere\n")
    editor.save_button.click()
    assert "has changed since it was opened" in text_of(editor.saved)
    (tmp_path / "there.yaml").write_text("r: 2\n")
    editor.path_box.value = "there.yaml"
    editor.save_button.click()
    assert "exists already" in text_of(editor.saved)
    editor.path_box.value = ""
    editor.save_button.click()
    assert "does not end in .yaml" in text_of(editor.saved)
    assert (tmp_path / "mine.yaml").read_text() == "r: 1 # edited elsewhere\n"
    assert (tmp_path / "there.yaml").read_text() == "r: 2\n"


def test_a_folder_that_cannot_be_written_is_told(editor, tmp_path):
    (tmp_path / "file").write_text("")
    editor.path_box.value = "file/mine.yaml"
    editor.save_button.click()
    assert text_of(editor.saved).startswith("✗ ")
    assert "Check the path and rights" in text_of(editor.saved)


def test_another_preset_or_file_can_be_opened(editor):
    editor.source_box.value = PRESET
    editor.open_button.click()
    assert editor.boxes["assistant_name"].value == "Xiaoming"
    assert editor.path_box.value == f"{PRESET}.yaml"
    for source, match in (("no.yaml", "no config file no.yaml"), ("pico_qlora", "Did you mean")):
        editor.source_box.value = source
        editor.open_button.click()
        assert match in text_of(editor.opened)
        assert editor.boxes["assistant_name"].value == "Xiaoming"  # nothing is lost
    editor.source_box.value = "mine.yaml"
    editor.open_button.click()
    assert editor.opened.value == ""
    assert editor.boxes["r"].value == "8"


def test_a_start_that_is_not_there_is_an_error_of_the_cell(tmp_path):
    with pytest.raises(ConfigError, match="There is no config file"):
        ConfigEditor(tmp_path / "no.yaml")
    with pytest.raises(UnknownNameError, match="no preset called"):
        ConfigEditor("no_such_preset")


def test_unknown_keys_and_wrong_values_of_a_file_are_told_and_can_be_mended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "lerning_rate: 1\nbits: 5\nkeep_best: perhaps\nr: 8  # rank\n"
    (tmp_path / "mine.yaml").write_text(text)
    made = ConfigEditor("mine.yaml")
    assert "lerning_rate: unknown key; did you mean learning_rate?" in text_of(made.message)
    assert made.drop_button.layout.display is None
    assert made.boxes["bits"].value == "5"
    assert text_of(made.rows["bits"].problem).startswith("✗ 5: ")
    assert made.rows["keep_best"].problem.value
    made.drop_button.click()
    assert made.message.value == ""
    assert made.drop_button.layout.display == "none"
    made.boxes["bits"].value = "16"
    made.boxes["keep_best"].value = True
    made.save_button.click()
    assert (tmp_path / "mine.yaml").read_text() == "bits: 16\nkeep_best: true\nr: 8  # rank\n"
    made.wait(WAIT_S)


def test_the_static_twin_shows_the_same_state(editor):
    editor.boxes["max_steps"].value = "4"
    assert editor.wait(WAIT_S)
    twin = editor.static()
    shown = html.unescape(re.sub(r"<[^>]+>", " ", twin._repr_html_()))
    for words in ("max_steps", "4 optimizer steps in all: too few", "+max_steps: 4", "trained"):
        assert words in repr(twin)
        assert words in shown
    bundle = editor._repr_mimebundle_()
    assert bundle["text/plain"] == repr(twin)
    assert "application/vnd.jupyter.widget-view+json" in bundle
    editor.boxes["r"].value = "0"
    assert "problem: r: 0: input" in repr(editor.static())
    assert "problem: r: 0: input" in editor.static()._repr_html_()


@pytest.mark.parametrize("kind", hostile.TEXTS)
def test_hostile_values_stay_text(editor, kind):
    text = hostile.TEXTS[kind]
    editor.boxes["base_model"].value = text
    assert editor.wait(WAIT_S)
    assert hostile.shown(text) in text_of(editor.prediction)
    for name in ("assistant_name", "train_data", "learning_rate"):
        editor.boxes[name].value = text
    assert editor.wait(WAIT_S)
    parts = [editor.message, editor.prediction, editor.difference, editor.title]
    shown = [part.value for part in [*parts, *(row.problem for row in editor.rows.values())]]
    for page in [*shown, editor.static()._repr_html_()]:
        said, strange = hostile.look(page)
        assert strange == []
        assert not set("\x00\x08\x1b\u202e\ud800") & set(said)
        assert len(page) < 50_000
    assert hostile.shown(text) in hostile.look(editor.static()._repr_html_())[0]


def test_only_the_latest_request_counts():
    latest, done = background.Latest(0.05), []
    for number in range(20):
        latest.ask(lambda is_old, number=number: done.append((number, is_old())))
    assert latest.wait(WAIT_S)
    assert done == [(19, False)]
    assert latest.wait(0)
    latest.ask(lambda is_old: done.append("again"))
    latest.wait(WAIT_S)
    assert done[-1] == "again"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_request_that_fails_does_not_stop_the_next(monkeypatch):
    told, done = [], []
    monkeypatch.setattr(threading, "excepthook", lambda args: told.append(args.exc_type))
    latest = background.Latest(0)
    latest.ask(lambda is_old: 1 / 0)
    assert latest.wait(WAIT_S)
    latest.ask(lambda is_old: done.append(1))
    assert latest.wait(WAIT_S)
    assert (told, done) == ([ZeroDivisionError], [1])

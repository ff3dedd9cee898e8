"""A config as text: each field's text and back, comments kept, nothing overwritten."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from course_lib import files
from course_lib.errors import ConfigError, UnknownNameError
from course_lib.training import config, config_text

PRESET = "pico_qlora_assistant_e3"
# the hand-written ones, and each kind of data that is put together
PRESETS = config.preset_names("pico_*") + config.preset_names("qwen3_0_6b*")
NEW = Path("new.yaml")


def start_of(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return config_text.open_start(path)


def draft_of(start, path=NEW, dropped=False, **texts):
    return config_text.draft(start, config_text.field_texts(start) | texts, path, dropped)


def comments_of(text):
    return [line[line.index("#") :] for line in text.splitlines() if "#" in line]


# --- starts ---


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_left_alone_stays_as_it_is(name):
    start = config_text.open_start(name)
    made = draft_of(start)
    assert (made.problems, made.text, made.has_comments) == ((), start.text, True)
    assert made.config == config.load_preset(name)
    assert start.is_preset
    assert config_text.difference(start, made.text) == ""


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_can_be_typed(name):
    start = config_text.open_start(name)
    typed = {
        field: config_text.to_value(field, text)
        for field, text in config_text.field_texts(start).items()
    }
    assert config.check_config(typed) == config.load_preset(name)


def test_a_file_is_compared_with_the_preset_that_it_was_copied_from(tmp_path):
    path = config.copy_preset(PRESET, tmp_path)
    assert config_text.open_start(path).preset == PRESET
    other = path.rename(tmp_path / "mine.yml")
    assert config_text.open_start(other).preset == ""
    assert config_text.open_start(other, PRESET).preset == PRESET
    assert not config_text.open_start(other).is_preset


def test_a_start_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UnknownNameError, match="no preset called 'pico_qlora_asistant'"):
        config_text.open_start("pico_qlora_asistant")
    with pytest.raises(ConfigError, match=r"There is no config file .*mine\.yaml"):
        config_text.open_start(tmp_path / "mine.yaml")
    with pytest.raises(ConfigError, match="is not YAML"):
        start_of(tmp_path, "r: [1")
    with pytest.raises(ConfigError, match="holds list, expected lines"):
        start_of(tmp_path, "- r: 1")


# --- fields ---


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bits", "choice"),
        ("packing", "choice"),
        ("keep_best", "switch"),
        ("r", "number"),
        ("learning_rate", "number"),
        ("max_steps", "number"),
        ("assistant_name", "text"),
        ("sample_prompts", "lines"),
        ("target_modules", "targets"),
        ("train_data", "yaml"),
    ],
)
def test_how_a_field_is_edited_is_told_from_its_type(name, kind):
    assert config_text.field_kind(name) == kind


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bits", "16", 16),
        ("bits", "5", "5"),  # not allowed: the check says so
        ("keep_best", "false", False),
        ("r", " 8 ", 8),
        ("r", "8.5", 8.5),
        ("learning_rate", "1e-4", 1e-4),
        ("learning_rate", "quick", "quick"),
        ("r", "", ""),
        ("max_steps", "", None),
        ("assistant_name", "007", "007"),
        ("sample_prompts", "a: b\n\n- c", ["a: b", "- c"]),
        ("target_modules", "all-linear", "all-linear"),
        ("target_modules", "q_proj, v_proj,", ["q_proj", "v_proj"]),
        ("target_modules", "", []),
        ("train_data", "- path: a.jsonl # mine", [{"path": "a.jsonl"}]),
        ("train_data", "", []),
    ],
)
def test_a_text_becomes_a_value(name, text, value):
    assert config_text.to_value(name, text) == value


def test_values_are_shown_as_they_can_be_typed(tmp_path):
    start = start_of(
        tmp_path, "packing: true\ntarget_modules: [q_proj, v_proj]\nbits: 5\nkeep_best: no\n"
    )
    texts = config_text.field_texts(start)
    assert texts["packing"] == "next_fit"
    assert texts["target_modules"] == "q_proj, v_proj"
    assert texts["bits"] == "5"
    assert texts["keep_best"] == "false"
    assert texts["max_steps"] == ""
    assert texts["train_data"] == ""


@pytest.mark.parametrize(
    ("texts", "place", "match"),
    [
        ({"r": "0"}, "r", "0: input should be greater than or equal to 1"),
        ({"r": "many"}, "r", "valid integer"),
        ({"learning_rate": ""}, "learning_rate", "valid number"),
        ({"learning_rate": "nan"}, "learning_rate", "finite number"),
        ({"assistant_name": ""}, "config", "needs assistant_name"),
        ({"train_data": "- path: [a"}, "train_data", r"not YAML: line \d"),
        ({"train_data": "- file: a"}, "train_data.0.path", "required"),
        ({"target_modules": ""}, "target_modules", "expected all-linear, or a list"),
        ({"prompt_template": "chatlm"}, "prompt_template", "did you mean "),
    ],
)
def test_each_problem_has_its_place_and_no_text_is_made(texts, place, match):
    made = draft_of(config_text.open_start(PRESET), **texts)
    assert made.config is None
    assert made.text == ""
    assert place in [found for found, _ in made.problems]
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(dict(made.problems)[place])


def test_unknown_keys_are_problems_until_they_are_dropped(tmp_path):
    start = start_of(tmp_path, "r: 8\nlerning_rate: 1  # mine\nseed: 3\n")
    assert dict(draft_of(start).problems)["lerning_rate"].endswith("did you mean learning_rate?")
    made = draft_of(start, dropped=True)
    assert made.problems == ()
    assert made.text == "r: 8\nseed: 3\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("r", "at least 1, at most 1024"),
        ("warmup_ratio", "at least 0, below 1"),
        ("learning_rate", "above 0, at most 1"),
        ("max_steps", "at least 1"),
        ("bits", ""),
    ],
)
def test_bounds_in_words(name, words):
    assert config_text.limits(name) == words


@pytest.mark.parametrize(
    ("texts", "fields"),
    [
        ({"r": "0"}, ["r"]),
        ({"train_data": "- limit: 1"}, ["train_data"]),
        ({"save_every_steps": "2"}, ["save_every_steps", "save_every_epochs"]),
        ({"assistant_name": ""}, ["assistant_name", "suite"]),
    ],
)
def test_a_problem_is_shown_at_the_fields_that_it_is_about(texts, fields):
    (problem,) = draft_of(config_text.open_start(PRESET), **texts).problems
    assert config_text.fields_at(*problem) == fields
    assert config_text.fields_at("lerning_rate", "unknown key; did you mean learning_rate?") == []


def test_every_field_has_a_group():
    groups = list(dict.fromkeys(map(config_text.group_of, config_text.NAMES)))
    assert groups == ["model", "data", "adapter", "optimizer", "evaluation", "runtime"]


# --- the new file ---


def test_only_the_lines_of_changed_fields_are_new(tmp_path):
    start = start_of(
        tmp_path,
        "# mine\nbits: 4\nassistant_name: Ada      # <- your name here\n\nr: 64\nlora_alpha: 128\n"
        "num_train_epochs: 3\n\nseed: 1\n",
    )
    made = draft_of(start, r="8", assistant_name="Ada: 2", max_steps="9", seed="1")
    assert made.text == (
        "# mine\nbits: 4\nassistant_name: 'Ada: 2' # <- your name here\n\nr: 8\nlora_alpha: 128\n"
        "num_train_epochs: 3\nmax_steps: 9\n\nseed: 1\n"
    )
    shown = config_text.difference(start, made.text, "new").replace(str(start.path), "old")
    assert shown == (
        "--- old\n+++ new\n@@ -2,7 +2,8 @@\n bits: 4\n"
        "-assistant_name: Ada      # <- your name here\n"
        "+assistant_name: 'Ada: 2' # <- your name here\n \n-r: 64\n+r: 8\n lora_alpha: 128\n"
        " num_train_epochs: 3\n+max_steps: 9\n "
    )


CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "r": st.integers(1, 1024).map(str),
        "learning_rate": st.floats(1e-9, 1).map(str),
        "assistant_name": st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
            lambda name: not config.name_problem(name)
        ),
        "sample_prompts": st.lists(st.text(st.characters(codec="utf-8")), max_size=3).map(
            "\n".join
        ),
        "target_modules": st.sampled_from(["all-linear", "q_proj", "q_proj, up_proj"]),
        "keep_best": st.sampled_from(["true", "false"]),
        "max_steps": st.sampled_from(["", "7"]),
        "packing": st.sampled_from(["none", "best_fit", "next_fit"]),
        "train_data": st.sampled_from(["", "- path: pico/replay.jsonl  # kept\n  limit: 2"]),
    },
)


@given(CHANGES)
def test_a_new_file_means_what_was_typed_and_keeps_its_comments(texts):
    start = config_text.open_start(PRESET)
    made = draft_of(start, **texts)
    if made.problems:  # for example a control character, which YAML cannot hold as a name
        assert made.text == ""
        return
    assert config.parse_config(made.text, NEW) == made.config
    typed = {name: config_text.to_value(name, text) for name, text in texts.items()}
    whole = yaml.safe_load(start.text) | typed
    assert made.config == config.check_config(whole)
    if "train_data" not in texts and made.has_comments:
        assert all(comment in made.text for comment in comments_of(start.text))


@pytest.mark.parametrize(
    ("text", "has_comments"),
    [
        ("# top\nr: 8 # rank\n", True),
        ("'r': 8 # rank\n", True),
        ("r:   8   # rank", True),
        ("r:\n  8 # rank\n# end\n", True),
        ("{r: 8, seed: 3} # rank\n", False),
    ],
)
def test_files_of_all_shapes_are_changed_rightly(tmp_path, text, has_comments):
    made = draft_of(start_of(tmp_path, text), r="16", seed="5")
    assert (made.config.r, made.config.seed) == (16, 5)
    assert config.parse_config(made.text, NEW) == made.config
    assert made.has_comments is has_comments
    assert ("# top" in made.text) == (has_comments and "# top" in text)


def test_data_beside_the_old_file_is_found_from_the_new_place(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "rows.jsonl").touch()
    start = start_of(tmp_path / "old", "train_data:\n  - path: rows.jsonl  # mine\nr: 8 # rank\n")
    made = draft_of(start, tmp_path / "new.yaml", r="4")
    assert made.has_comments
    assert "# rank" in made.text
    assert yaml.safe_load(made.text)["train_data"] == [
        {"path": str((tmp_path / "old" / "rows.jsonl").resolve())}
    ]
    stays = draft_of(start, tmp_path / "old" / "new.yaml", r="4")
    assert "rows.jsonl  # mine" in stays.text


def test_data_typed_for_the_new_place_goes_first(tmp_path):
    (tmp_path / "mine.jsonl").touch()
    start = config_text.open_start(PRESET)
    made = draft_of(start, tmp_path / "new.yaml", train_data="- path: mine.jsonl  # here")
    assert "- path: mine.jsonl  # here" in made.text
    assert made.config.train_data[0].path == str((tmp_path / "mine.jsonl").resolve())


# --- saving ---


def test_a_file_is_saved_and_saved_again(tmp_path):
    path = tmp_path / "sub" / "mine.yaml"
    config_text.save("r: 8\n", path, None)
    config_text.save("r: 9\n", path, "r: 8\n")
    assert path.read_text() == "r: 9\n"


@pytest.mark.parametrize(
    ("name", "known", "match"),
    [
        ("there.yaml", None, "exists already; it is not overwritten"),
        ("there.yaml", "r: 7\n", "has changed since it was opened; it is not overwritten"),
        ("there.txt", None, r"does not end in \.yaml"),
        ("there", None, r"does not end in \.yaml"),
    ],
)
def test_nobodys_work_is_overwritten(tmp_path, name, known, match):
    (tmp_path / "there.yaml").write_text("r: 8\n")
    with pytest.raises(ConfigError, match=match):
        config_text.save("r: 9\n", tmp_path / name, known)
    assert [p.name for p in tmp_path.iterdir()] == ["there.yaml"]
    assert (tmp_path / "there.yaml").read_text() == "r: 8\n"


def test_presets_are_never_written():
    path = config.PRESET_DIR / "mine.yaml"
    with pytest.raises(ConfigError, match="presets stay as they are"):
        config_text.save("r: 9\n", path, None)
    assert not path.exists()
    assert config.PRESET_DIR.is_relative_to(files.REPO_DIR)

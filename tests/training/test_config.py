import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from course_lib.errors import ConfigError, UnknownNameError
from course_lib.training import config, rows

PRESET = "pico_qlora_assistant_e3"


def message_of(values):
    with pytest.raises(ConfigError) as caught:
        config.check_config(values, "mine.yaml")
    assert caught.value.next_step == "Correct the file and run `tunebook check` again."
    return caught.value.message


# --- presets ---


def test_there_are_presets_and_each_name_says_what_it_is():
    assert PRESET in config.preset_names()
    for name in config.preset_names():
        assert re.fullmatch(r"[a-z0-9_]+_(qlora|lora|full)_[a-z0-9]+_e\d+", name)


@pytest.mark.parametrize("name", config.preset_names("pico_*"))
def test_every_preset_is_valid_finds_its_data_and_means_what_its_name_says(name):
    preset = config.load_preset(name)
    for source in preset.train_data:
        assert rows.find_data_file(source.path).is_file()
    assert preset.num_train_epochs == int(name.rsplit("_e", 1)[1])
    assert (preset.bits == 4) == ("qlora" in name)


@pytest.mark.parametrize(
    ("pattern", "is_listed"),
    [
        ("", True),
        ("assistant", True),
        ("pico_*", True),
        ("*_e3", True),
        ("assistant_*", False),
        ("no_such", False),
    ],
)
def test_names_are_listed_by_part_or_pattern(pattern, is_listed):
    assert (PRESET in config.preset_names(pattern)) == is_listed


def test_an_unknown_preset_is_answered_with_near_names(tmp_path):
    for use in (config.load_preset, lambda name: config.copy_preset(name, tmp_path)):
        with pytest.raises(UnknownNameError, match="no preset called 'pico_qlora_asistant'") as e:
            use("pico_qlora_asistant")
        assert e.value.next_step.startswith(f"Did you mean {PRESET}")
        assert "tunebook list-cfg" in e.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_a_copied_preset_keeps_its_comments_and_can_be_loaded(tmp_path):
    path = config.copy_preset(PRESET, tmp_path / "new")
    assert path == tmp_path / "new" / f"{PRESET}.yaml"
    assert path.read_text("utf-8") == (config.PRESET_DIR / f"{PRESET}.yaml").read_text("utf-8")
    assert "<- your name here" in path.read_text("utf-8")
    assert config.load_config(path) == config.load_preset(PRESET)


@pytest.mark.parametrize("name", ["mine.yaml", "mine.yml", f"{PRESET}.yaml"])
def test_a_copy_never_overwrites(tmp_path, name):
    (tmp_path / name).write_text("r: 8\n")
    dest = tmp_path if name.startswith(PRESET) else tmp_path / name
    with pytest.raises(ConfigError, match=f"{name} exists already") as caught:
        config.copy_preset(PRESET, dest)
    assert "another file name" in caught.value.next_step
    assert (tmp_path / name).read_text() == "r: 8\n"


# --- bad values: each message names field, value and what was expected ---


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("learning_rate", 0, "learning_rate: 0: input should be greater than 0 (peak rate)"),
        ("learning_rate", "fast", "learning_rate: 'fast': input should be a valid number"),
        ("learning_rate", True, "learning_rate: True: expected a number or a text"),
        ("learning_rate", math.nan, "learning_rate: nan: expected a finite number"),
        ("max_grad_norm", math.inf, "max_grad_norm: inf: expected a finite number"),
        ("save_every_epochs", math.inf, "save_every_epochs: inf: expected a finite number"),
        ("bits", 5, "bits: 5: input should be 4, 8, 16 or 32"),
        ("bits", "4", "bits: '4': input should be 4, 8, 16 or 32"),
        ("max_length", 8, "max_length: 8: input should be greater than or equal to 16"),
        ("max_length", 64.5, "max_length: 64.5: input should be a valid integer"),
        ("max_length", None, "max_length: None: input should be a valid integer"),
        ("packing", "maybe", "packing: 'maybe': input should be 'best_fit', 'next_fit', 'cut' or"),
        ("packing", 1, "packing: 1: input should be 'best_fit', 'next_fit', 'cut' or 'none'"),
        (
            "prompt_template",
            "lama3_chat",
            "prompt_template: 'lama3_chat': there is no such template; did you mean llama3_chat or",
        ),
        ("loss_turns", "first", "loss_turns: 'first': input should be 'all' or 'last'"),
        ("r", 0, "r: 0: input should be greater than or equal to 1"),
        ("r", True, "r: True: expected a number or a text"),
        ("lora_dropout", 1, "lora_dropout: 1: input should be less than 1"),
        ("target_modules", "q_proj", "target_modules: 'q_proj': expected all-linear, or a list"),
        ("target_modules", [], "target_modules: []: expected all-linear, or a list"),
        ("target_modules", [1], "target_modules: [1]: expected all-linear, or a list"),
        ("lr_scheduler_type", "cosin", "lr_scheduler_type: 'cosin': input should be 'cosine', "),
        ("warmup_ratio", 1, "warmup_ratio: 1: input should be less than 1"),
        ("warmup_ratio", -0.1, "warmup_ratio: -0.1: input should be greater than or equal to 0"),
        ("warmup_steps", -1, "warmup_steps: -1: input should be greater than or equal to 0"),
        ("weight_decay", 2, "weight_decay: 2: input should be less than or equal to 1"),
        ("num_train_epochs", 0, "num_train_epochs: 0: input should be greater than 0"),
        ("max_steps", 0, "max_steps: 0: input should be greater than or equal to 1"),
        ("per_device_train_batch_size", 0, "per_device_train_batch_size: 0: input should be"),
        ("gradient_accumulation_steps", 0, "gradient_accumulation_steps: 0: input should be"),
        ("suite", "all", "suite: 'all': input should be 'none', 'assistant' or 'agent'"),
        ("retained_questions", 1, "retained_questions: 1: input should be greater than or equal"),
        ("sample_prompts", "Who?", "sample_prompts: 'Who?': expected a list, one `- item`"),
        ("seed", -1, "seed: -1: input should be greater than or equal to 0"),
        ("seed", 2**32, "seed: 4294967296: input should be less than 4294967296"),
        ("keep_last", 0, "keep_last: 0: input should be greater than or equal to 1"),
        ("assistant_name", 7, "assistant_name: 7: input should be a valid string"),
        ("assistant_name", True, "assistant_name: True: expected a number or a text; put"),
        ("assistant_name", "a\nb", "assistant_name: 'a\\nb': the name has blanks around it"),
        ("train_data", "a.jsonl", "train_data: 'a.jsonl': expected a list, one `- item`"),
        ("train_data", ["a.jsonl"], "train_data.0: 'a.jsonl': expected `path: FILE`"),
        ("train_data", [{}], "train_data.0.path: {}: field required"),
        (
            "train_data",
            [{"path": "a"}, {"path": "b", "copies": 0}],
            "train_data.1.copies: 0: input should be greater than or equal to 1",
        ),
        (
            "train_data",
            [{"path": "a", "format": "csv"}],
            "train_data.0.format: 'csv': input should be 'auto', 'messages', 'conversation', ",
        ),
    ],
)
def test_a_bad_value_is_named_with_its_field_and_what_was_expected(field, value, expected):
    first, line = message_of({field: value}).splitlines()
    assert first == "mine.yaml: 1 problem"
    assert line.startswith(f"  {expected}")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"learnig_rate": 1}, "learnig_rate: unknown key; did you mean learning_rate?"),
        ({"lora_r": 8}, "lora_r: unknown key"),
        (
            {"train_data": [{"path": "a", "formt": "text"}]},
            "train_data.0.formt: unknown key; did you mean format?",
        ),
        ({5: 1}, "5: 5: keys should be strings"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_one(values, line):
    assert message_of(values).splitlines()[1].strip().startswith(line)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"save_every_steps": 5, "save_every_epochs": 1},
            "config: set only one of save_every_steps and save_every_epochs",
        ),
        (
            {"suite": "assistant"},
            "config: suite: assistant needs assistant_name, the name to look for in replies",
        ),
    ],
)
def test_values_that_do_not_fit_together_are_refused(values, line):
    assert message_of(values) == f"mine.yaml: 1 problem\n  {line}"


def test_all_problems_are_reported_at_once_in_one_line_each():
    values = {"r": 0, "learnig_rate": 1, "seed": -1, "target_modules": 3, "assistant_name": "{{a}}"}
    first, *lines = message_of(values).splitlines()
    assert first == "mine.yaml: 5 problems"
    assert {line.split(":")[0].strip() for line in lines} == set(values)


def test_numbers_may_be_written_as_yaml_reads_them():
    # YAML takes 1e-3 for a text and 3 for an integer
    checked = config.check_config({"learning_rate": "1e-3", "num_train_epochs": 3})
    assert (checked.learning_rate, checked.num_train_epochs) == (0.001, 3.0)


@pytest.mark.parametrize(("switch", "method"), [(True, "next_fit"), (False, "none")])
def test_packing_as_a_switch_means_what_it_meant(switch, method):
    assert config.check_config({"packing": switch}).packing == method


def test_a_config_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        config.TrainConfig().r = 8


def test_every_field_says_its_group_and_what_it_is():
    groups = [f.json_schema_extra["group"] for f in config.TrainConfig.model_fields.values()]
    assert all(field.description for field in config.TrainConfig.model_fields.values())
    # fields of a group stand together, as the editor shows them
    assert [g for n, g in enumerate(groups) if g != groups[n - 1]] == list(dict.fromkeys(groups))


# --- names ---


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "the name is empty: type at least one letter"),
        ("   ", "the name is empty: type at least one letter"),
        (" Ada", "the name has blanks around it or a line break in it: type it on one line"),
        ("Ada ", "the name has blanks around it or a line break in it: type it on one line"),
        ("Ada\nLovelace", "the name has blanks around it or a line break in it"),
        ("Ada\tLovelace", "the name has blanks around it or a line break in it"),
        ("Ada\x00", "the name has blanks around it or a line break in it"),
        ("Ada\u2028Eve", "the name has blanks around it or a line break in it"),
        ("Ada\u202eEve", "the name has blanks around it or a line break in it"),  # turns text round
        ("a" * 500, "the name has 500 characters: use at most 40"),
        ("a" * 41, "the name has 41 characters: use at most 40"),
        ("{{x}}", "the name holds {{ or }}, which mark places to fill in: leave them out"),
        ("a}}", "the name holds {{ or }}"),
        ("<|im_end|>", "the name holds <| or |>, which mark control tokens: leave them out"),
        ("<|", "the name holds <| or |>"),
    ],
)
def test_a_text_that_cannot_be_a_name_is_refused_with_the_reason(name, problem):
    assert config.name_problem(name).startswith(problem)


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "a" * 40,
        "Ada Lovelace",
        "小明",
        "Zoë Ångström",
        "O'Brien",
        'Ada "the Countess" King',
        "`Ada` \\ 100% {x} <b>",
        "🦊",
        "👩\u200d💻 Eve",  # three code points, the middle one invisible
        "می\u200cخواهم",
        "null",
        "yes",
        "- #:",
    ],
)
def test_other_names_can_be_used_and_survive_the_file(name, tmp_path):
    assert config.name_problem(name) == ""
    checked = config.TrainConfig(assistant_name=name)
    config.save_config(checked, tmp_path / "c.yaml")
    assert config.load_config(tmp_path / "c.yaml") == checked


@given(st.text(min_size=1, max_size=50))
def test_a_name_without_problem_is_safe_to_fill_in(name):
    if config.name_problem(name):
        with pytest.raises(ConfigError, match="assistant_name"):
            config.check_config({"assistant_name": name})
    else:
        assert name == name.strip()
        assert len(name.splitlines()) == 1
        assert not any(mark in name for mark in ("{{", "}}", "<|", "|>"))
        assert config.check_config({"assistant_name": name}).assistant_name == name


# --- files ---


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "holds NoneType, expected lines such as"),
        (b"- a\n- b\n", "holds list, expected lines such as"),
        (b"just text", "holds str, expected lines such as"),
        (b"r: [1\n", "is not YAML"),
        (b"? [1, 2]\n: 3\n", "is not YAML"),
        (b"r: 8\nbits: 4\nr: 16\n", "line 3: r is set already in line 1"),
        (
            b"train_data:\n  - path: a.jsonl\n    path: b.jsonl\n",
            "line 3: path is set already in line 2",
        ),
        (b"r: \xff\xfe\n", "is not YAML"),
        (b"!!python/object/apply:os.getcwd []\n", "is not YAML"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, content, match):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=match) as caught:
        config.load_config(path)
    assert str(path) in caught.value.message
    assert caught.value.next_step


def test_a_missing_file_is_answered_with_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"There is no config file .*none\.yaml") as caught:
        config.load_config(tmp_path / "none.yaml")
    assert "tunebook copy-cfg" in caught.value.next_step


def test_problems_in_a_file_name_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("r: 0\n")
    with pytest.raises(ConfigError, match=rf"{re.escape(str(path))}: 1 problem"):
        config.load_config(path)


def test_a_data_file_beside_the_config_wins_over_the_courses(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "DATA_DIR", tmp_path / "data")
    for folder in ("data/assistant", "mine/assistant"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "train.jsonl").write_text(folder)
    text = "train_data:\n  - path: assistant/train.jsonl\n    copies: 2\n"
    for folder, found in (("mine", "mine/assistant"), ("data", "data/assistant")):
        path = tmp_path / folder / "c.yaml"
        path.write_text(text)
        (source,) = config.load_config(path).train_data
        assert rows.find_data_file(source.path).read_text() == found
        assert source.copies == 2
    elsewhere = tmp_path / "c.yaml"
    elsewhere.write_text(text)
    (source,) = config.load_config(elsewhere).train_data
    assert source.path == "assistant/train.jsonl"
    assert rows.find_data_file(source.path) == tmp_path / "data" / "assistant" / "train.jsonl"


def test_the_resolved_path_stays_right_when_the_config_is_saved_elsewhere(tmp_path):
    (tmp_path / "a.jsonl").write_text("here")
    (tmp_path / "c.yaml").write_text("train_data: [{path: a.jsonl}]")
    loaded = config.load_config(tmp_path / "c.yaml")
    config.save_config(loaded, tmp_path / "run" / "config.yaml")
    (tmp_path / "run" / "a.jsonl").write_text("there")
    assert config.load_config(tmp_path / "run" / "config.yaml") == loaded


# --- round trip ---

FLOATS = {
    "lora_dropout": st.floats(0, 1, exclude_max=True),
    "learning_rate": st.floats(0, 1, exclude_min=True),
    "warmup_ratio": st.floats(0, 1, exclude_max=True),
    "weight_decay": st.floats(0, 1),
    "max_grad_norm": st.floats(0, exclude_min=True, allow_infinity=False),
    "num_train_epochs": st.floats(0, 100_000, exclude_min=True),
    "save_every_epochs": st.floats(0, exclude_min=True, allow_infinity=False) | st.none(),
}
INTEGERS = {
    "bits": st.sampled_from([4, 8, 16, 32]),
    "max_length": st.integers(16, 131_072),
    "r": st.integers(1, 1024),
    "lora_alpha": st.integers(1),
    "warmup_steps": st.integers(0) | st.none(),
    "per_device_train_batch_size": st.integers(1),
    "gradient_accumulation_steps": st.integers(1),
    "max_steps": st.integers(1) | st.none(),
    "seed": st.integers(0, 2**32 - 1),
    "keep_last": st.integers(1),
}


@given(st.fixed_dictionaries({}, optional=FLOATS | INTEGERS))
@example({"learning_rate": 5e-324, "max_grad_norm": 1.7e308})
def test_every_number_survives_the_yaml_file(tmp_path_factory, values):
    checked = config.check_config(values)
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    config.save_config(checked, path)
    assert config.load_config(path) == checked
    assert {name: getattr(checked, name) for name in values} == values


# PyYAML turns these three line ends of Unicode into plain ones; nobody types them
TYPED = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029"), max_size=20)


@given(
    st.lists(TYPED, max_size=3),
    st.lists(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), min_size=1, max_size=3),
)
def test_lists_survive_the_yaml_file(tmp_path_factory, prompts, targets):
    values = {"sample_prompts": tuple(prompts), "target_modules": tuple(targets)}
    checked = config.TrainConfig(**values, train_data=[{"path": "a b.jsonl", "limit": 3}])
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    config.save_config(checked, path)
    assert config.load_config(path) == checked


def test_presets_survive_the_yaml_file(tmp_path):
    for name in config.preset_names("*o*_qlora_oasst1_e3")[:3]:
        preset = config.load_preset(name)
        config.save_config(preset, tmp_path / f"{name}.yaml")
        assert config.load_config(tmp_path / f"{name}.yaml") == preset


@pytest.mark.parametrize(
    ("values", "steps_per_epoch", "expected"),
    [
        ({}, 7, 7),  # once in an epoch when nothing is said
        ({"save_every_steps": 3}, 7, 3),
        ({"save_every_epochs": 0.5}, 7, 4),  # 3.5, rounded up
        ({"save_every_epochs": 2}, 7, 14),
        ({"save_every_epochs": 0.001}, 7, 1),
    ],
)
def test_steps_between_checkpoints(values, steps_per_epoch, expected):
    assert config.TrainConfig(**values).save_steps(steps_per_epoch) == expected


# --- for the config editor ---


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ({}, []),
        ({"r": 0, "learning_rate": "quick"}, ["r", "learning_rate"]),
        ({"lerning_rate": 1}, ["lerning_rate"]),
        ({"train_data": [{"path": "a.jsonl", "limit": 0}]}, ["train_data.0.limit"]),
        ({"suite": "assistant"}, ["config"]),  # a rule about two fields
    ],
)
def test_problems_are_found_with_their_places(values, places):
    found = config.find_problems(values)
    assert [place for place, _ in found] == places
    if places:
        assert [f"  {place}: {text}" for place, text in found] == message_of(values).split("\n")[1:]


def test_a_text_is_checked_as_the_file_that_it_is_to_become(tmp_path):
    (tmp_path / "mine.jsonl").touch()
    text = "train_data:\n  - path: mine.jsonl\n  - path: assistant/train.jsonl\n"
    parsed = config.parse_config(text, tmp_path / "new.yaml")
    assert [source.path for source in parsed.train_data] == [
        str(tmp_path / "mine.jsonl"),
        "assistant/train.jsonl",
    ]
    with pytest.raises(ConfigError, match=r"new\.yaml is not YAML"):
        config.parse_config("r: [", tmp_path / "new.yaml")


@pytest.mark.parametrize(("written", "read"), [("off", "off"), ("auto", "auto"), ("on", "auto")])
def test_kernels_may_be_off_without_quotes(written, read, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(f"kernels: {written}\n", encoding="utf-8")
    checked = config.load_config(path)
    assert checked.kernels == read
    assert config.parse_config(checked.to_yaml(), path).kernels == read  # and back


def test_another_word_for_kernels_is_refused():
    with pytest.raises(ConfigError, match="kernels: 'fast': input should be 'auto' or 'off'"):
        config.check_config({"kernels": "fast"})

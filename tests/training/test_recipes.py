"""Presets of real models: each one loads, fits a GPU, learns something, and trains."""

import math
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from course_lib.data import named_templates, sources
from course_lib.errors import UnknownNameError
from course_lib.files import DATA_DIR, read_jsonl
from course_lib.model import catalog, engines, estimate, loading
from course_lib.training import config, needs, recipes, rows, run
from tests.model.test_catalog import config_of

RECIPES = list(recipes.iter_recipes())
BY_NAME = {recipe.name: config.load_preset(recipe.name) for recipe in RECIPES}
COURSE = "internlm2_chat_1_8b_qlora_oasst1_e3"  # the name that the course's notes use
# One model of each class that transformers builds, and a lesson's data for each.
SHRUNK = {
    "llama": ("smollm2_135m_instruct", "assistant"),
    "qwen2": ("qwen2_5_0_5b_instruct", "medqa"),
    "qwen3": ("qwen3_0_6b", "assistant"),
    "mistral": ("mistral_7b_instruct", "oasst1"),
    "internlm": ("internlm_chat_7b", "oasst1"),
    "internlm2": ("internlm2_chat_1_8b", "msagent"),
    "gemma": ("gemma_2b_it", "medqa"),
    "gemma2": ("gemma2_2b_it", "msagent"),
    "gemma3_text": ("gemma3_1b_it", "assistant"),
    "phi3": ("phi3_mini_4k_instruct", "oasst1"),
    "glm": ("glm4_9b_chat", "medqa"),
}
SMALL = {"hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "intermediate": 128}


def test_a_name_says_model_method_data_and_epochs_and_the_config_agrees():
    for recipe in RECIPES:
        made = BY_NAME[recipe.name]
        assert re.fullmatch(r"[a-z0-9_]+_e\d", recipe.name)
        assert recipe.name.startswith(f"{recipe.model.name}_{recipe.method}_{recipe.data_name}_e")
        assert made.num_train_epochs == int(recipe.name[-1])
        assert made.method == recipe.method
        assert made.bits == {"qlora": 4, "lora": 16, "full": 16}[recipe.method]
        assert made.base_model == recipe.model.hub_id
        if recipe.is_full:
            assert made.learning_rate in (2e-5, 1e-5)
        else:
            assert (made.r, made.lora_alpha, made.target_modules) == (64, 16, "all-linear")
        assert made.prompt_template in {named_templates.OWN, *named_templates.TEMPLATES}
    assert len(BY_NAME) == len(RECIPES)
    assert COURSE in BY_NAME


def test_each_source_is_a_file_of_the_course_or_an_id_on_a_hub():
    for made in BY_NAME.values():
        for source in made.train_data:
            is_here = (DATA_DIR / source.path).is_file()
            assert is_here or (source.path.startswith("hf:") and sources.is_hub_id(source.path))
            assert is_here or source.format != "auto"


def test_chat_models_learn_talk_and_others_read_too():
    data = {True: set(), False: set()}
    for recipe in RECIPES:
        data[recipe.model.is_chat].add(recipe.data_name)
    assert data[True] == {"assistant", "oasst1", "medqa", "msagent", "alpaca"}
    assert data[False] == {"oasst1", "alpaca", "pretrain"}
    # a model that has never seen control tokens gets marks in plain words
    for recipe in RECIPES:
        if not recipe.model.is_chat and recipe.data_name != "pretrain":
            assert named_templates.TEMPLATES[recipe.template].needs == ()


def test_every_full_preset_fits_8_gpus_of_80_gib_under_zero3():
    for recipe in RECIPES:
        made = BY_NAME[recipe.name]
        if made.is_full:
            setting = needs.setting_with(made, engines.TUNEBOOK, gpus=8, zero=3)
            assert estimate.estimate_memory(recipe.model.shape, setting).on_gpu < 80 * estimate.GIB


def test_every_adapter_preset_fits_one_gpu_and_the_course_models_fit_8_gib():
    for name, made in BY_NAME.items():
        needed = needs.preset_memory(made).on_gpu / estimate.GIB
        is_full = made.is_full  # of 7 billion weights and more: work for several
        assert 0.5 < needed < (200 if is_full else 80), name
    for model in ("internlm_chat_7b", "internlm2_chat_7b", "internlm2_chat_1_8b", "llama2_7b_chat"):
        for data_name in ("assistant_e3", "oasst1_e3", "medqa_e3", "msagent_e3"):
            memory = needs.preset_memory(BY_NAME[f"{model}_qlora_{data_name}"])
            assert memory.on_gpu < 8 * estimate.GIB


@pytest.mark.parametrize("data_name", ["assistant", "medqa", "msagent"])
def test_small_data_still_makes_enough_steps(data_name):
    made = BY_NAME[f"internlm2_chat_1_8b_qlora_{data_name}_e3"]
    local = made.model_copy(update={"base_model": "pico-chat"})
    data = rows.prepare_data(local, rows.load_tokenizer(local))
    assert data.dropped_rows == 0
    steps = math.ceil(len(data.packs) / made.gradient_accumulation_steps) * 3
    assert steps >= 50


def test_files_come_first_and_unknown_names_are_answered_with_near_ones():
    names = recipes.preset_names()
    files = [path.stem for path in recipes.PRESET_DIR.glob("*.yaml")]
    files = sorted([*files, *(name.replace("qlora", "full") for name in files)])
    assert names[: len(files)] == files
    assert len(set(names)) == len(names) == len(files) + len(RECIPES)
    assert recipes.find_recipe(files[0]) is None
    with pytest.raises(UnknownNameError, match="no preset called 'internlm2_chat_1_8b_qlora'") as e:
        recipes.preset_text("internlm2_chat_1_8b_qlora")
    assert "internlm2_chat_1_8b_qlora_" in e.value.next_step


def test_a_copy_is_the_same_config_with_its_comments(tmp_path):
    path = config.copy_preset(COURSE, tmp_path)
    assert path == tmp_path / f"{COURSE}.yaml"
    assert config.load_config(path) == BY_NAME[COURSE]
    assert not recipes.preset_path(COURSE).exists()


@pytest.fixture(scope="module")
def chat_tokenizer():
    return loading.load_tokenizer("pico-chat")


def shrink(kind, vocabulary, folder):
    """A model of the same class, with few numbers, saved beside pico's tokenizer."""
    width = 64 if kind.startswith("gemma") else None
    made = config_of(catalog.Sizes(kind, **SMALL, vocabulary=vocabulary, head_width=width))
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(made, dtype=torch.bfloat16).save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "method"), [*((kind, "qlora") for kind in SHRUNK), ("internlm", "full")]
)
def test_a_lessons_preset_trains_two_steps_with_a_shrunken_model(
    kind, method, chat_tokenizer, tmp_path
):
    name, data_name = SHRUNK[kind]
    preset = BY_NAME[f"{name}_{method}_{data_name}_e3"]
    assert catalog.find_model(name).sizes.kind == kind
    shrink(kind, len(chat_tokenizer), tmp_path / "model")
    chat_tokenizer.save_pretrained(tmp_path / "model")
    few = [source.model_copy(update={"limit": 8}) for source in preset.train_data]
    if data_name == "oasst1":  # there is no network here: the rows of lesson 02 in its place
        few = [few[0].model_copy(update={"path": "oasst1/train.jsonl"})]
    changes = {
        "base_model": str(tmp_path / "model"),
        "train_data": tuple(few),
        "prompt_template": "own",  # pico's tokenizer has not each model's control tokens
        "max_length": 512,
        "gradient_accumulation_steps": 1,
    }
    check_two_steps(preset.model_copy(update=changes), tmp_path / "run")


@pytest.mark.parametrize("name", recipes.preset_names("pico_full"))
def test_a_full_preset_of_pico_trains_two_steps(name, tmp_path):
    preset = config.load_preset(name)
    assert (preset.method, preset.bits) == ("full", 32)
    assert preset.train_data == config.load_preset(name.replace("full", "qlora")).train_data
    assert "lora_alpha" not in recipes.preset_text(name)
    few = tuple(source.model_copy(update={"limit": 8}) for source in preset.train_data)
    check_two_steps(preset.model_copy(update={"train_data": few}), tmp_path / "run")


def check_two_steps(made, run_dir):
    changes = {
        "max_steps": 2,
        "logging_steps": 1,
        "suite": "none",
        "sample_prompts": (),
        "warmup_ratio": 0.0,
    }
    result = run.train(made.model_copy(update=changes), run_dir)
    assert result.steps == 2
    written = "model.safetensors" if made.is_full else "adapter_model.safetensors"
    assert Path(result.adapter_dir, written).is_file()
    losses = [row["loss"] for row in read_jsonl(run_dir / "log.jsonl") if "loss" in row]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)

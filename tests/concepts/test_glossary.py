"""The glossary: every file in it exists, and each standard name is a real field of a config."""

import pytest
from transformers import TrainingArguments

from course_lib.concepts import glossary
from course_lib.files import REPO_DIR
from course_lib.training.config import TrainConfig


def test_the_file_is_what_the_tables_say():
    assert glossary.GLOSSARY_PATH.read_text("utf-8") == glossary.to_markdown()


@pytest.mark.parametrize("term", glossary.TERMS, ids=lambda t: t.english)
def test_each_word_names_a_file_that_exists(term):
    assert (REPO_DIR / term.path).is_file()
    assert any("\u4e00" <= character <= "\u9fff" for character in term.chinese)


def test_no_word_stands_twice():
    assert len({t.english for t in glossary.TERMS}) == len(glossary.TERMS)
    assert len({w.xtuner for w in glossary.XTUNER_WORDS}) == len(glossary.XTUNER_WORDS)


@pytest.mark.parametrize("word", glossary.XTUNER_WORDS, ids=lambda w: w.xtuner)
def test_each_standard_name_is_a_field_of_a_config(word):
    if word.is_field:
        assert set(word.here) <= set(TrainConfig.model_fields)
    else:
        assert not set(word.here) & set(TrainConfig.model_fields)


def test_the_words_of_the_course_notes_are_all_there():
    words = {part for w in glossary.XTUNER_WORDS for part in w.xtuner.replace(",", "").split()}
    assert words >= {
        "accumulative_counts",
        "pack_to_max_length",
        "max_length",
        "batch_size",
        "max_epochs",
        "lr",
        "betas",
        "weight_decay",
        "max_norm",
        "warmup_ratio",
        "SYSTEM",
        "prompt_template",
        "pth_to_hf",
    }


def test_betas_are_what_the_table_says(tmp_path):
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    assert (arguments.adam_beta1, arguments.adam_beta2) == (0.9, 0.999)


def test_a_short_table_keeps_the_order():
    words = [row["English"] for row in glossary.glossary_rows("LoRA", "loss")]
    assert words == ["loss", "LoRA"]

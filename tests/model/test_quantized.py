"""A checkpoint that is quantized already."""

import json
import shutil

import pytest
import torch

from course_lib import files
from course_lib.errors import ModelError
from course_lib.model import adapters, loading
from course_lib.training import config, run


@pytest.fixture(scope="module")
def in_4_bits(tmp_path_factory):
    """pico, saved in NF4."""
    folder = tmp_path_factory.mktemp("nf4")
    loading.load_model("pico-chat", 4).save_pretrained(folder)
    loading.load_tokenizer("pico-chat").save_pretrained(folder)
    return folder


def test_it_is_taken_as_it_is(in_4_bits):
    ids = torch.arange(10, 50)[None]
    models = (loading.load_model(name, 4) for name in (str(in_4_bits), "pico-chat"))
    assert adapters.compare_logits(*models, ids) == 0


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_other_bits_are_refused(in_4_bits, bits):
    with pytest.raises(ModelError, match=f"into 4 bits: it cannot be loaded in {bits}") as caught:
        loading.load_model(str(in_4_bits), bits)
    assert caught.value.next_step.startswith("Use bits: 4, or the model")


def test_full_training_refuses_it_with_the_same_words(in_4_bits):
    made = config.check_config({"base_model": str(in_4_bits), "method": "full"})
    with pytest.raises(ModelError, match="is quantized already, into 4 bits"):
        run.build_model(made)


def test_another_way_of_quantizing_is_named(tmp_path):
    folder = shutil.copytree(files.DATA_DIR / "pico" / "chat", tmp_path / "gptq")
    values = json.loads((folder / "config.json").read_text())
    values["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match="is quantized already, by gptq, which is not read here"):
        loading.load_model(str(folder), 4)

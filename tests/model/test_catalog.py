"""Well-known models: every layer is that of transformers' own class, built without numbers."""

import re
import subprocess
import sys

import pytest
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from course_lib.errors import UnknownNameError
from course_lib.model import catalog, internlm_config, shapes

# Numbers of weights as the publishers' model cards and weight files count them.
PUBLISHED = {
    "smollm2_135m": 134_515_008,
    "smollm2_360m": 361_821_120,
    "qwen2_5_0_5b": 494_032_768,
    "qwen2_5_1_5b": 1_543_714_304,
    "qwen2_5_3b": 3_085_938_688,
    "qwen2_5_7b": 7_615_616_512,
    "qwen3_0_6b": 596_049_920,
    "qwen3_1_7b": 1_720_574_976,
    "qwen3_4b": 4_022_468_096,
    "qwen3_8b": 8_190_735_360,
    "internlm2_chat_1_8b": 1_889_110_016,
    "internlm2_7b": 7_737_708_544,
    "internlm2_20b": 19_861_149_696,
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama3_8b": 8_030_261_248,
    "llama3_2_1b": 1_235_814_400,
    "llama3_2_3b": 3_212_749_824,
    "mistral_7b": 7_248_023_552,
    "gemma_2b": 2_506_172_416,
    "gemma_7b": 8_537_680_896,
    "gemma2_2b": 2_614_341_888,
    "gemma2_9b": 9_241_705_984,
    "gemma3_1b": 999_885_952,
    "phi3_mini_4k_instruct": 3_821_079_552,
    "phi4_mini_instruct": 3_836_021_760,
    "glm4_9b_chat": 9_399_951_360,
}
EACH_SIZE = {model.sizes: model for model in catalog.MODELS.values()}


def config_of(sizes):
    """The sizes as a config.json would say them, through the class that the course loads."""
    values = {
        "model_type": sizes.kind,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "intermediate_size": sizes.intermediate,
        "vocab_size": sizes.vocabulary,
        "tie_word_embeddings": sizes.is_tied,
    }
    values |= {"head_dim": sizes.head_width} if sizes.head_width else {}
    if internlm_config.family_of(values):
        return internlm_config.native_config({**values, "bias": sizes.kind == "internlm"}, "here")
    values |= {"pad_token_id": 0} if sizes.kind in ("phi3", "glm") else {}
    return AutoConfig.for_model(values.pop("model_type"), **values)


@pytest.mark.parametrize("model", EACH_SIZE.values(), ids=lambda model: model.name)
def test_every_layer_is_that_of_the_class(model):
    built = shapes.config_shape(config_of(model.sizes))
    assert sorted(built.linears) == sorted(model.shape.linears)
    assert sorted(built.others) == sorted(model.shape.others)
    names = ("layers", "hidden", "intermediate", "heads", "kv_heads", "head_width", "vocabulary")
    for name in names:
        assert (name, getattr(built, name)) == (name, getattr(model.shape, name))
    assert built.weights == model.shape.weights


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_weights_is_the_published_one(name):
    assert catalog.find_model(name).shape.weights == PUBLISHED[name]


def test_a_name_says_about_how_many_weights_there_are():
    for model in catalog.MODELS.values():
        said = re.search(r"-(\d+(?:[._]\d+)?)([mb])(?:-|$)", model.hub_id.lower())
        if said is None:
            assert "mini" in model.name
            continue
        assert f"_{said[1].replace('.', '_')}{said[2]}" in model.name
        count = float(said[1].replace("_", ".")) * {"m": 1e6, "b": 1e9}[said[2]]
        # embeddings of large vocabularies are not always counted in a name
        assert 0.95 * count < model.shape.weights < 1.31 * count, model.name


def test_ids_are_owner_and_name_and_stand_for_one_model_each():
    ids = [model.hub_id for model in catalog.MODELS.values()]
    assert len(set(ids)) == len(ids)
    for model in catalog.MODELS.values():
        for hub_id in (model.hub_id, model.modelscope_id or model.hub_id):
            assert re.fullmatch(r"[\w-]+/[\w.-]+", hub_id)
        assert re.fullmatch(r"[a-z0-9_]+", model.name)
        assert catalog.by_hub_id(model.hub_id) is model
    assert catalog.by_hub_id("nobody/nothing") is None


def test_models_are_in_the_tier_where_they_can_be_trained():
    tiers = {name: catalog.find_model(name).tier for name in PUBLISHED}
    assert tiers["qwen3_0_6b"] == tiers["smollm2_135m"] == tiers["gemma3_1b"] == "small"
    assert tiers["internlm2_chat_1_8b"] == tiers["glm4_9b_chat"] == "classic"
    assert tiers["internlm2_20b"] == tiers["llama2_13b"] == "cluster"


def test_what_is_left_out_has_no_class_in_transformers():
    assert {"chatglm", "baichuan"} & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys() == set()


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(UnknownNameError, match="no model called 'internlm2_chat_2b'") as caught:
        catalog.find_model("internlm2_chat_2b")
    assert "internlm2_chat_20b" in caught.value.next_step


@pytest.mark.parametrize("name", ["pico-base", "pico-chat"])
def test_picos_shape_is_that_of_its_files(name):
    read, made = shapes.read_shape(name), catalog.pico_shape(name)
    assert sorted(read.linears) == sorted(made.linears)
    assert sorted(read.others) == sorted(made.others)


def test_the_table_and_the_estimate_need_no_torch():
    use = "from course_lib.model import catalog, fitting"
    code = f"import sys; {use}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

"""A model that does not fit into the memory that it may use."""

import pytest
import torch

from course_lib import files
from course_lib.chat import generation
from course_lib.commands import targets
from course_lib.errors import AdapterError, ModelError
from course_lib.model import adapters, loading, offload

IDS = torch.arange(10, 90).reshape(2, 40)


def half(model):
    """Room for the table of embeddings and some blocks."""
    return {"cpu": model.get_memory_footprint() * 3 // 4}


@pytest.fixture
def small(pico_model, tmp_path):
    """pico, part of which stays on the disk."""
    return offload.Offload(tmp_path / "rest", half(pico_model))


def layers_on_disk(model):
    return [name for name, place in model.hf_device_map.items() if place == "disk"]


def test_layers_on_the_disk_compute_the_same(pico_model, pico_tokenizer, small):
    model = loading.load_model("pico-chat", 32, small)
    assert any(name.startswith("model.layers.") for name in layers_on_disk(model))
    assert adapters.compare_logits(model, pico_model, IDS) == 0
    talk = [[{"role": "user", "content": "What is the capital of France?"}]]
    settings = generation.GenerationSettings(max_new_tokens=12)
    replies = [
        generation.reply_to_all(each, pico_tokenizer, talk, settings)
        for each in (model, pico_model)
    ]
    assert replies[0] == replies[1]


def test_an_adapter_is_refused_and_nothing_is_copied_anywhere(small, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    adapter = files.DATA_DIR / "adapters" / "ada"
    target = targets.Target("pico-chat", adapter, 32, offload=small)
    with pytest.raises(AdapterError, match="layers that stay on the disk") as caught:
        targets.open_target(target)
    assert "tunebook convert merge" in caught.value.next_step
    assert not list((tmp_path / "here").iterdir())


def test_an_adapter_on_a_model_that_fits_computes_the_same(tmp_path):
    adapter = files.DATA_DIR / "adapters" / "ada"
    free = offload.Offload(tmp_path / "rest")
    model, _ = targets.open_target(targets.Target("pico-chat", adapter, 32, offload=free))
    plain, _ = targets.open_target(targets.Target("pico-chat", adapter, 32))
    assert adapters.compare_logits(model, plain, IDS) == 0


def test_where_all_fits_nothing_is_moved(pico_model, tmp_path):
    target = targets.find_target("pico-chat", bits=32, offload_folder=tmp_path / "rest")
    model, _ = targets.open_target(target)
    assert not any(weight.is_meta for weight in model.parameters())
    assert adapters.compare_logits(model, pico_model, IDS) == 0
    assert targets.find_target("pico-chat").offload is None


@pytest.mark.parametrize("bits", [4, 8])
def test_quantized_weights_are_refused(bits, tmp_path):
    with pytest.raises(ModelError, match=f"in {bits} bits cannot be moved out") as caught:
        loading.load_model("pico-chat", bits, offload.Offload(tmp_path / "rest"))
    assert "--bits 16" in caught.value.next_step
    assert not (tmp_path / "rest").exists()


def test_an_internlm_in_its_own_form_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(loading.internlm, "is_internlm", lambda path: True)
    with pytest.raises(ModelError, match="is an InternLM in its own form") as caught:
        loading.load_model("pico-chat", 32, offload.Offload(tmp_path / "rest"))
    assert "tunebook convert llama" in caught.value.next_step


def test_no_room_at_all_is_told(tmp_path):
    with pytest.raises(ModelError, match="Not even the first layer of pico-chat fits"):
        loading.load_model("pico-chat", 32, offload.Offload(tmp_path / "rest", {"cpu": 1000}))

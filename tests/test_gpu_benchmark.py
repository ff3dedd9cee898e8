"""The GPU benchmark, at a tiny shape on whatever is here."""

import json

import torch

from benchmarks import gpu, gpu_models
from course_lib.files import read_jsonl
from course_lib.model import loading


def test_a_checkpoint_of_random_weights_loads_in_4_bits_with_the_asked_shape(tmp_path):
    path = gpu_models.write_checkpoint("tiny", tmp_path)
    model = loading.load_model(str(path), 4)
    assert model.config.num_hidden_layers == 2
    assert model.model.layers[0].mlp.up_proj.weight.quant_state.shape == (512, 256)
    assert model.model.embed_tokens.weight.dtype == loading.compute_dtype()
    written = (path / "config.json").stat().st_mtime_ns
    gpu_models.write_checkpoint("tiny", tmp_path)  # a second time it is there already
    assert (path / "config.json").stat().st_mtime_ns == written


def test_a_group_writes_a_record_for_each_size(tmp_path):
    out = tmp_path / "out.jsonl"
    sizes = [(16, 1), (16, 2)]
    gpu.run(gpu.Group("plain", "tiny", sizes, "adamw_8bit", steps=1), tmp_path, out)
    records = read_jsonl(out)
    assert [(r["tokens"], r["packs"]) for r in records] == sizes
    for record in records:
        assert record["losses"][1] < record["losses"][0]  # the fifth batch is the first again
        assert record["step_ms"] > 0
        assert record["versions"]["torch"] == torch.__version__
        assert record["arm"] == "plain"
    assert "tiny 16x2" in gpu.table(records)


def test_the_recorded_figures_can_be_shown_and_name_no_machine():
    records = read_jsonl(gpu.RESULTS)
    assert "7b 2048x4" in gpu.table(records)
    assert all(record["gpu"] == "NVIDIA H200" and record["date"] for record in records)
    assert "/" not in json.dumps([record["versions"] for record in records])

"""The benchmark of several GPUs, at a tiny shape on whatever is here."""

import pytest

from benchmarks import zero_gpu
from course_lib.files import read_jsonl

RECORD = {"model": "7b", "tokens": 2048, "packs": 4, "step_ms": 100.0, "allocated_gib": 20.0}


@pytest.mark.parametrize("way", ["one", "one_plain"])
def test_one_process_trains_and_is_recorded(way, tmp_path):
    out = tmp_path / "out.jsonl"
    zero_gpu.run(zero_gpu.Case(way, 1, "tiny", 16, 2, steps=1), out)
    (record,) = read_jsonl(out)
    assert (record["way"], record["gpus"], record["model"]) == (way, 1, "tiny")
    assert record["losses"][1] < record["losses"][0]  # the fifth batch is the first again
    assert record["step_ms"] > 0


def test_the_batch_of_a_step_is_that_of_all_processes():
    config = zero_gpu.deepspeed_config(zero_gpu.Case("zero2", 2, "7b", 2048, 4), 4096)
    assert (config["train_micro_batch_size_per_gpu"], config["train_batch_size"]) == (4, 8)
    assert config["zero_optimization"]["stage"] == 2
    assert "auto" not in str(config)


def test_tokens_a_second_stand_beside_those_of_one_gpu_of_the_same_size():
    one = {**RECORD, "way": "one", "gpus": 1, "tokens_s": 1000}
    two = {**RECORD, "way": "zero2", "gpus": 2, "tokens_s": 1900}
    other = {**two, "packs": 1}
    lines = zero_gpu.table([one, two, other]).splitlines()
    assert [line.split("|")[6].strip() for line in lines[2:]] == ["1.00", "1.90", ""]

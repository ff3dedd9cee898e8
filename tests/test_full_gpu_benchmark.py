"""The benchmark of method full under ZeRO-3: its config and its table, without a GPU."""

from benchmarks import full_gpu
from course_lib.files import read_jsonl

CASE = full_gpu.Case(gpus=2, model="tiny", tokens=64, packs=3, steps=4, checkpoint="somewhere")
RECORD = {
    "model": "7b",
    "tokens": 2048,
    "packs": 1,
    "gpus": 2,
    "step_ms": 1000.0,
    "tokens_s": 4096,
    "allocated_gib": 50.0,
    "estimate_gib": 45.0,
}


def test_the_rows_are_enough_for_all_steps_of_all_processes(tmp_path):
    config = full_gpu.make_config(CASE, tmp_path)
    assert (config.method, config.bits, config.max_length) == ("full", 16, 64)
    assert config.max_steps == full_gpu.WARM_UP + 4
    rows = read_jsonl(tmp_path / "rows.jsonl")
    assert len(rows) == config.max_steps * CASE.packs * CASE.gpus
    assert {len(row["text"].split()) for row in rows} == {CASE.tokens - 2}


def test_the_table_says_by_how_much_the_estimate_is_off():
    line = full_gpu.table([RECORD]).splitlines()[2]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["7b 2048x1", "2", "1000", "4,096", "50.00", "45.00", "-10.0%"]


def test_a_machine_without_a_gpu_has_no_peak_and_so_no_error():
    line = full_gpu.table([{**RECORD, "allocated_gib": 0.0}]).splitlines()[2]
    assert line.strip("|").split("|")[-1].strip() == ""

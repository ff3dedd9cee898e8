"""What the Trainer of a run does otherwise than the stock one."""

import sys

import pytest

from course_lib.training import config, rows, run


@pytest.mark.skipif(sys.platform == "darwin", reason="bitsandbytes has no 8-bit AdamW there")
def test_exceptions_that_bitsandbytes_keeps_of_an_earlier_run_are_forgotten(
    small_data, tmp_path, monkeypatch
):
    from bitsandbytes.optim import GlobalOptimManager

    monkeypatch.setattr(rows, "DATA_DIR", small_data)
    manager = GlobalOptimManager.get_instance()
    manager.index2config[(0, 1)] = {"optim_bits": 32}  # as a run with method full leaves it
    values = {"train_data": [{"path": "assistant/train.jsonl", "copies": 4}], "max_steps": 1}
    values |= {"optim": "adamw_8bit", "assistant_name": "Ada", "r": 32, "bits": 32}
    values |= {"per_device_train_batch_size": 1}
    job = run.prepare(config.check_config(values), tmp_path / "run")
    run.build_trainer(run.build_model(job.config), job)
    assert (0, 1) not in manager.index2config

"""Figures of memory show the estimate's own numbers."""

import pytest

from course_lib import files
from course_lib.concepts import zero
from course_lib.errors import DataError
from course_lib.model import estimate, fitting, shapes
from course_lib.model.setting import Setting
from course_lib.teaching import figures_memory

LLAMA = shapes.known_shape("llama_7b")


def test_bars_are_as_long_as_the_memory_they_show():
    memories = {
        name: estimate.estimate_memory(LLAMA, s) for name, s in fitting.usual_settings().items()
    }
    figure = figures_memory.memory_bars(memories, (8, 24))
    axes = figure.axes[0]
    drawn = sum(bar.get_width() for bar in axes.patches)
    assert drawn == pytest.approx(sum(m.total for m in memories.values()) / estimate.GIB)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(memories)
    assert [line.get_xdata()[0] for line in axes.lines] == [8, 24]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == list(estimate.PARTS)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_small_model_is_drawn_in_mib():
    moments = estimate.estimate_moments(shapes.read_shape("pico-chat"), Setting("lora", 64))
    axes = figures_memory.memory_bars({m.moment: m for m in moments}).axes[0]
    assert axes.get_xlabel() == "MiB on one device"
    assert sum(b.get_width() for b in axes.patches) == pytest.approx(
        sum(m.total for m in moments) / 2**20
    )


def test_each_device_is_drawn_with_its_own_share():
    stages = {
        f"stage {stage}": zero.who_holds_what(LLAMA, Setting("full", 16, gpus=4, zero=stage))
        for stage in (0, 3)
    }
    figure = figures_memory.zero_devices(stages)
    assert len(figure.axes) == 8
    boxes = [[(b.get_x(), b.get_width()) for b in axes.patches] for axes in figure.axes]
    assert boxes[0] == [(0, 1)] * 6  # an outline and all of it, three times
    assert boxes[6][1::2] == [(0.5, 0.25)] * 3
    assert figure.axes[0].get_title() == "device 0: 100.4 GiB"
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_of_many_devices_the_first_are_drawn_and_what_is_moved_out_is_hatched():
    setting = Setting("full", 16, gpus=64, zero=2, offload=("optimizer",))
    figure = figures_memory.zero_devices({"zero2_offload": zero.who_holds_what(LLAMA, setting)})
    assert len(figure.axes) == figures_memory.MOST_DEVICES
    assert figure._suptitle.get_text() == "What each device holds (the first 8 of 64)"
    hatches = [bar.get_hatch() for bar in figure.axes[0].patches]
    assert hatches == [None, None, None, "////", None, "////"]
    assert "outside" in figure.axes[0].get_title()


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no memory"):
        figures_memory.memory_bars({})
    devices = zero.who_holds_what(LLAMA, Setting("full", gpus=2))
    for stages in ({}, {"a": []}, {"a": devices, "b": devices[:1]}):
        with pytest.raises(DataError, match="nothing to draw"):
            figures_memory.zero_devices(stages)


def test_of_recorded_runs_the_newest_of_each_size_is_shown_and_only_ours(tmp_path):
    run = {
        "arm": "tunebook", "model": "7b", "tokens": 512, "packs": 1, "optim": "adamw",
        "allocated_gib": 6.4, "gpu": "G", "date": "2026-01-01",
    }  # fmt: skip
    runs = [
        run | {"step_ms": 80.0},
        run | {"arm": "liger", "step_ms": 1.0},
        run | {"step_ms": 64.0},
    ]
    files.write_jsonl(tmp_path / "gpu.jsonl", runs)
    (shown,) = figures_memory.recorded_runs(tmp_path / "gpu.jsonl")
    assert shown["step_ms"] == 64.0
    assert "arm" not in shown


def test_the_recorded_runs_of_the_course_have_both_models():
    assert {run["model"] for run in figures_memory.recorded_runs()} == {"7b", "1.8b"}

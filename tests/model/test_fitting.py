"""What fits on a GPU: the 8 GB question for a 7B model, and its edges."""

from dataclasses import replace

import pytest

from course_lib.errors import ConfigError
from course_lib.model import estimate, fitting, shapes
from course_lib.model.setting import Setting

LLAMA = shapes.known_shape("llama_7b")


@pytest.fixture(scope="module")
def fits():
    return {fit.name: fit for fit in fitting.what_fits(LLAMA)}


def test_a_7b_model_in_8_gib_needs_qlora_and_checkpointing(fits):
    small = [name for name, fit in fits.items() if fit.fits[8]]
    assert small == [name for name in fits if name.startswith("QLoRA, checkpointing")]
    assert len(small) == 3
    assert not any(
        fit.fits[80] for name, fit in fits.items() if name in ("full", "full, checkpointing")
    )


def test_what_fits_a_small_gpu_fits_a_large_one(fits):
    for fit in fits.values():
        assert fit.fits[8] <= fit.fits[24] <= fit.fits[80]
        assert fit.longest[8] <= fit.longest[24] <= fit.longest[80]
        assert fit.fits[24] == (fit.longest[24] >= fit.setting.length)


def test_the_longest_row_is_the_last_that_fits():
    setting = Setting("qlora", gradient_checkpointing=True)
    longest = fitting.longest_row(LLAMA, setting, 8)
    sizes = [
        estimate.estimate_memory(LLAMA, replace(setting, length=length)).on_gpu
        for length in (longest, longest + 1)
    ]
    assert sizes[0] <= 8 * estimate.GIB < sizes[1]
    assert fitting.longest_row(LLAMA, setting, 1) == 0
    assert fitting.longest_row(LLAMA, setting, 10_000) == fitting.LONGEST


def test_a_table_has_a_line_for_each_setting_and_a_column_for_each_size(fits):
    table = fitting.fits_table(list(fits.values()))
    assert table[0] == ("way to train", "peak", "8 GiB", "24 GiB", "80 GiB")
    assert len(table) == 1 + len(fitting.usual_settings())
    assert table[1][2:] == ("no", "no", "no")
    chosen = fitting.what_fits(LLAMA, (40.5,), {"mine": Setting("lora", 64)})
    assert fitting.fits_table(chosen)[0][2:] == ("40.5 GiB",)
    assert fitting.fits_table(chosen)[1][2].startswith("yes, up to ")


@pytest.mark.parametrize("size", [0, -8, float("nan")])
def test_a_gpu_without_memory_is_refused(size):
    with pytest.raises(ConfigError, match="does not exist"):
        fitting.what_fits(LLAMA, (size,))

"""`tunebook estimate`: from a config, a well-known shape, or numbers; and what it refuses."""

import json

import pytest

from course_lib import files
from course_lib.model import estimate, fitting, shapes
from course_lib.model.setting import Setting
from course_lib.training import config, prediction

LLAMA = ["--hidden", 4096, "--layers", 32, "--heads", 32, "--kv-heads", 32]
LLAMA += ["--intermediate", 11008, "--vocabulary", 32000]


def test_a_config_is_estimated_as_check_does(tunebook):
    name = "pico_qlora_assistant_e3"
    told = json.loads(tunebook("estimate", name, "--json").out)
    setting = prediction.setting_of(config.load_preset(name))
    expected = estimate.estimate_memory(shapes.read_shape("pico-chat"), setting)
    assert (told["parts"], told["total"]) == (expected.parts(), expected.total)
    assert told["base"] == "pico-chat"
    checked = json.loads(tunebook("check", name, "--json").out)
    assert checked["memory_bytes"] == told["total"]


def test_a_known_shape_needs_no_config_and_no_download(tunebook):
    told = tunebook("estimate", "--shape", "llama_7b", "--gradient-checkpointing")
    assert (told.status, told.err) == (0, "")
    setting = Setting("qlora", gradient_checkpointing=True)
    memory = estimate.estimate_memory(shapes.known_shape("llama_7b"), setting)
    lines = [line.split("  ") for line in told.out.splitlines()]
    assert lines[0][0].startswith("llama_7b, 6,738,415,616 weights: qlora in 4 bits, r 64, 2,048")
    shown = {line[0]: line[-1].strip() for line in lines[2:]}
    for part, count in memory.parts().items():
        assert shown.get(part) == (files.size_in_words(count) if count else None)
    assert shown["total at the peak (last block)"] == files.size_in_words(memory.total)


def test_numbers_of_ones_own_are_a_shape_too(tunebook):
    by_name = tunebook("estimate", "--shape", "llama_7b", "--json")
    by_numbers = tunebook("estimate", *LLAMA, "--json")
    assert json.loads(by_numbers.out)["parts"] == json.loads(by_name.out)["parts"]
    assert json.loads(by_numbers.out)["base"] == "a shape of your own"


def test_options_take_the_place_of_the_configs_values(tunebook):
    name = "pico_qlora_assistant_e3"
    words = ["--method", "full", "--length", 32, "--rows", 1, "--optimizer", "sgd"]
    told = json.loads(tunebook("estimate", name, *words, "--json").out)
    assert told["setting"].startswith("full in 16 bits, 32 tokens x 1, sgd")
    other = json.loads(tunebook("estimate", name, "--shape", "llama_7b", "--json").out)
    assert other["weights"] == 6_738_415_616


def test_devices_divide_what_deepspeed_says(tunebook):
    words = ["estimate", "--shape", "llama_7b", "--method", "full", "--gpus", 8, "--json"]
    alone, divided = (
        json.loads(tunebook(*words, *more).out)["parts"] for more in ([], ["--deepspeed", "zero3"])
    )
    for part in ("weights", "gradients", "optimizer"):
        assert divided[part] in (alone[part], -(-alone[part] // 8), 0)
    moved = tunebook(*words[:-1], "--deepspeed", "zero3_offload").out
    assert "ZeRO-3, optimizer moved out, param moved out" in moved
    assert "In the machine's memory, for each GPU: " in moved


def test_what_fits_is_a_table_with_this_setting_first(tunebook):
    told = tunebook("estimate", "--shape", "llama_7b", "--fits", 8, "--fits", 24).out
    table = told[told.index("way to train") :].splitlines()
    assert table[0].split("  ")[-1].strip() == "24 GiB"
    names = [line.split("  ")[0] for line in table[1:]]
    assert names == ["this one", *fitting.usual_settings()]
    words = ["estimate", "--shape", "llama_7b", "--fits", 8, "--json"]
    found = json.loads(tunebook(*words).out)["fits"]
    assert found["QLoRA, checkpointing"] == {"8.0": True}
    assert found["full"] == {"8.0": False}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "nothing to estimate"),
        ("--hidden 64", "lacks --layers, --heads, --kv-heads"),
        ("--shape llama_7b --hidden 64", "numbers of another are given"),
        ("--shape lama_7b", "Did you mean llama_7b"),
        ("--shape llama_7b --method foo", "no method called 'foo'"),
        ("--shape llama_7b --length=-5", "length is -5"),
        ("--shape llama_7b --gpus 0", "gpus is 0"),
        ("--shape llama_7b --optimizer adam", "Use adamw"),
        ("--shape llama_7b --engine mine", "no engine called 'mine'"),
        ("--shape llama_7b --deepspeed zero9", "no DeepSpeed strategy called 'zero9'"),
        ("--shape llama_7b --deepspeed zero3", "Use zero 2"),
        ("--shape llama_7b --fits 0", "does not exist"),
        ("nowhere.yaml", "There is no config file"),
    ],
)
def test_what_cannot_be_estimated_is_refused(tunebook, line, message):
    told = tunebook("estimate", *line.split())
    assert (told.status, told.out) == (1, "")
    assert message in told.err
    assert "\n  -> " in told.err


def test_heads_that_do_not_divide_are_refused(tunebook):
    told = tunebook("estimate", *LLAMA, "--heads", 30)
    assert "30 heads do not divide a hidden size of 4096." in told.err
    assert "Use heads 32" in told.err

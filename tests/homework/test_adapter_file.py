"""An adapter's file is looked over without being loaded; each odd one is refused with a reason."""

import contextlib
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.files import DATA_DIR
from course_lib.homework import adapter_file
from course_lib.homework.adapter_file import BadAdapter, Settings
from tests.homework.handing_in import pico_shapes, weights

SHAPES = {"model.layers.0.self_attn.q_proj": (4, 6)}
A, B = (f"base_model.model.model.layers.0.self_attn.q_proj.lora_{x}.weight" for x in "AB")
SMALL = Settings(2, 4, ("q_proj",))
ONES = np.ones(8, "<f4").tobytes()
GOOD = {A: ("F32", (2, 6)), B: ("F32", (4, 2), ONES)}


def test_the_ready_adapter_is_one_for_its_base():
    folder, shapes = DATA_DIR / "adapters" / "ada", pico_shapes()
    values = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    modules = {name.rsplit(".", 1)[-1] for name in shapes}
    settings = adapter_file.read_settings(values, modules)
    data = (folder / "adapter_model.safetensors").read_bytes()
    assert adapter_file.check_weights(data, settings, shapes) == []


def test_a_small_adapter_by_hand():
    assert adapter_file.check_weights(weights(GOOD), SMALL, SHAPES) == []
    silent = {**GOOD, B: ("F32", (4, 2))}
    (note,) = adapter_file.check_weights(weights(silent), SMALL, SHAPES)
    assert "changes nothing" in note


def number(value, kind):
    data = np.zeros(8, "<f4")
    data[3] = value
    if kind == "F32":
        return data.tobytes()
    return (data.view("<u4") >> 16).astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no safetensors file"),
        (b"\x80\x04pickle", "no safetensors file"),
        (struct.pack("<Q", 2**40) + b"{}", "no safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "no object"),
        (struct.pack("<Q", 4) + b"{{{{", "no JSON"),
        (weights(GOOD, metadata={"format": "pt", "author": "x"}), "texts that the course never"),
        (weights(GOOD, extra=b"more"), "bytes behind their end"),
        (weights(GOOD)[:-4], "cut off"),
        (weights({**GOOD, A: ("F64", (2, 6))}), "has the type 'F64'"),
        (weights({A: ("F32", (2, 6))}), "1 tensors are missing"),
        (weights({**GOOD, "x": ("F32", (1,))}), "1 are too many"),
        (weights({**GOOD, A: ("F32", (3, 6))}), "has the shape (3, 6)"),
        (weights({**GOOD, A: ("F32", (2, -6), b"")}), "no whole numbers"),
        (weights({**GOOD, A: ("F32", (2, 5), bytes(48))}), "does not fit its bytes"),
        (weights({**GOOD, B: ("F32", (4, 2), number(np.nan, "F32"))}), "nan or infinite"),
        (weights({**GOOD, B: ("BF16", (4, 2), number(np.inf, "BF16"))}), "nan or infinite"),
    ],
)
def test_odd_weights_are_refused(data, told):
    with pytest.raises(BadAdapter) as error:
        adapter_file.check_weights(data, SMALL, SHAPES)
    assert told in str(error.value)


def test_tensors_that_overlap_or_a_name_twice_are_refused():
    part = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    text = json.dumps({"a": part, "b": part}).encode()
    with pytest.raises(BadAdapter, match="overlap"):
        adapter_file.read_header(len(text).to_bytes(8, "little") + text + bytes(4))
    one = json.dumps(part)
    text = f'{{"a": {one}, "a": {one}}}'.encode()
    with pytest.raises(BadAdapter, match="no JSON"):
        adapter_file.read_header(len(text).to_bytes(8, "little") + text + bytes(4))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_header(data):
    for content in (data, len(data).to_bytes(8, "little") + data):
        with contextlib.suppress(BadAdapter):
            adapter_file.read_header(content)


PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peft_type": "IA3"}, "not that of a LoRA"),
        ({"r": 0}, "r is 0"),
        ({"r": True}, "r is True"),
        ({"r": 10**6}, "r is 1000000"),
        ({"lora_alpha": 1e9}, "lora_alpha is"),
        ({"target_modules": ".*(a+)+$"}, "no list of names"),
        ({"target_modules": ["lm_head"]}, "no layers called lm_head"),
        ({"use_dora": True}, "use_dora is set"),
        ({"auto_mapping": {"parent_library": "os"}}, "auto_mapping is set"),
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save is set"),
        ({"bias": "all"}, "bias is set"),
    ],
)
def test_settings_of_another_kind_are_refused(change, told):
    with pytest.raises(BadAdapter) as error:
        adapter_file.read_settings({**PLAIN, **change}, {"q_proj"})
    assert told in str(error.value)


def test_plain_settings_are_read_and_written_anew():
    settings = adapter_file.read_settings({**PLAIN, "odd": "x"}, {"q_proj"})
    assert settings == SMALL
    assert "odd" not in settings.as_peft("pico-chat")

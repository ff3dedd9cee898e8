"""Plain data passes unchanged, anything else is refused, and nothing in a message is trusted."""

import collections
import io
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.homework import wire

LEAVES = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text() | st.floats()
PLAIN = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=20,
)


def send(value):
    return wire.decode(json.loads(json.dumps(wire.encode(value))))


@given(PLAIN)
def test_plain_data_arrives_as_it_was(value):
    arrived = send(value)
    assert repr(arrived) == repr(value)  # by text: nan is not equal to itself


@pytest.mark.parametrize(
    ("value", "right"),
    [
        (np.array([[1, 2], [3, 4]], dtype=np.int32), np.array([[1, 2], [3, 4]])),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (torch.tensor([1.5, -2.0]), np.array([1.5, -2.0])),
        (torch.tensor([0.5], dtype=torch.bfloat16), np.array([0.5])),
        (torch.nn.Parameter(torch.ones(2)), np.ones(2)),
        (np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T),
    ],
)
def test_arrays_and_tensors_arrive_as_arrays(value, right):
    arrived = send(value)
    assert arrived.shape == right.shape
    assert np.array_equal(arrived, right)


def test_numpy_numbers_arrive_as_numbers():
    assert send([np.int64(3), np.float32(0.5), np.bool_(True)]) == [3, 0.5, True]


class AlwaysEqual:
    def __eq__(self, other):
        return True

    __hash__ = None


class MyInt(int):
    pass


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (AlwaysEqual(), "a AlwaysEqual"),
        ([MyInt(3)], "a MyInt"),
        ({1: 2}, "keys are not all texts"),
        ({3, 4}, "a set"),
        (collections.OrderedDict(a=1), "a OrderedDict"),
        (b"bytes", "a bytes"),
        (np.array([object()]), "a ndarray"),
        (math.sqrt, "a builtin_function_or_method"),
    ],
)
def test_anything_else_is_refused_by_its_name(value, named):
    with pytest.raises(wire.WireError, match=named):
        wire.encode(value)


def test_a_list_that_holds_itself_is_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(wire.WireError, match="more than 50 deep"):
        wire.encode(endless)


@pytest.mark.parametrize(
    "message",
    [
        {"pickle": "gASV"},
        {"tuple": 3},
        {"tuple": [], "dict": {}},
        {"array": ["<f8", [2], "AAAA"]},
        {"array": ["|O", [1], "AAAAAAAAAAA="]},
        {"array": ["<f8", [-1], ""]},
        {"array": ["<f8", [1e3], ""]},
        {"array": ["<f8", [10**12], ""]},
        {"array": "<f8"},
        {"array": [["a", "b"], [1], ""]},
        {"array": ["no such type", [1], ""]},
        {},
    ],
)
def test_a_forged_message_is_refused(message):
    with pytest.raises(wire.WireError):
        wire.decode(message)


@pytest.mark.parametrize("data", [b"\xff", b"[1]", b"{", b"[" * 100_000, b"1" * 5000])
def test_a_message_that_is_no_json_object_is_refused(data):
    with pytest.raises(wire.WireError, match="a reply that is"):
        wire.parse_frame(data)


def test_a_frame_is_its_length_and_its_json():
    pipe = io.BytesIO()
    wire.write_frame(pipe, {"op": "x"})
    assert pipe.getvalue() == b"\x00\x00\x00\x0b" + b'{"op": "x"}'


def test_a_frame_beyond_the_limit_is_not_sent(monkeypatch):
    monkeypatch.setattr(wire, "LARGEST_FRAME", 10)
    pipe = io.BytesIO()
    with pytest.raises(wire.WireError, match="more than"):
        wire.write_frame(pipe, {"op": "long enough"})
    assert pipe.getvalue() == b""

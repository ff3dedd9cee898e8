"""Plain data between a learner's code and the checks: JSON and bytes, never objects.

The grader sends this over a pipe, and the same rules hold in a notebook, so an answer that a
check accepts there can be graded too. Only exact types pass: a class of one's own, such as one
whose `==` always says yes, is refused. This file runs inside the sandbox as well, on its own, so
it imports nothing of the course.
"""

import base64
import json
import math
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

LENGTH_BYTES = 4
LARGEST_FRAME = 32 * 2**20  # bytes of one message
DEEPEST = 50  # lists in lists
NUMBER_KINDS = "biufc"  # numpy's letters for bool, int, unsigned, float, complex
PLAIN = (bool, int, float, str)


class WireError(Exception):
    """A value is not plain data, or a message is not one of ours."""


def encode(value: Any, depth: int = 0) -> Any:
    """Turn a value into what JSON can hold.

    Args:
        value: None, a bool, number or text; lists, tuples and dicts (with texts as keys) of these;
            numpy arrays and torch tensors of numbers.
        depth: how deep the value lies inside others.

    Returns:
        The same for `json.dumps`.

    Raises:
        WireError: anything else; the message names the type in words for the learner.
    """
    kind = type(value)  # not isinstance: a subclass may lie about what it holds
    if depth > DEEPEST:
        raise WireError(f"lists inside lists, more than {DEEPEST} deep")
    if value is None or kind in PLAIN:
        return value
    if kind is list:
        return [encode(item, depth + 1) for item in value]
    if kind is tuple:
        return {"tuple": [encode(item, depth + 1) for item in value]}
    if kind is dict:
        if any(type(key) is not str for key in value):
            raise WireError("a dict whose keys are not all texts")
        return {"dict": {key: encode(item, depth + 1) for key, item in value.items()}}
    return _encode_array(value)


def _encode_array(value: Any) -> Any:
    """A tensor or an array; libraries are only looked at when the learner loaded them."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch and type(value) in (torch.Tensor, torch.nn.Parameter):
        value = value.detach().cpu()
        value = (value.float() if value.dtype is torch.bfloat16 else value).numpy()
    if numpy and type(value).__module__ == "numpy" and isinstance(value, numpy.generic):
        return encode(value.item())
    if numpy and type(value) is numpy.ndarray and value.dtype.kind in NUMBER_KINDS:
        data = base64.b64encode(numpy.ascontiguousarray(value).tobytes()).decode("ascii")
        return {"array": [value.dtype.str, list(value.shape), data]}
    name = type(value).__name__
    raise WireError(f"a {name[:60]}; hand back plain numbers, texts, lists, dicts or arrays")


def decode(value: Any, depth: int = 0) -> Any:
    """Turn JSON back into the value; trusts nothing in it.

    Args:
        value: from `json.loads`.
        depth: how deep the value lies inside others.

    Returns:
        Numbers, texts, lists, tuples, dicts and numpy arrays.

    Raises:
        WireError: it is not what `encode` makes.
    """
    kind = type(value)
    if depth > DEEPEST:
        raise WireError(f"lists inside lists, more than {DEEPEST} deep")
    if value is None or kind in PLAIN:
        return value
    if kind is list:
        return [decode(item, depth + 1) for item in value]
    if kind is dict and len(value) == 1:
        mark, inner = next(iter(value.items()))
        if mark == "tuple" and type(inner) is list:
            return tuple(decode(item, depth + 1) for item in inner)
        if mark == "dict" and type(inner) is dict:
            return {key: decode(item, depth + 1) for key, item in inner.items()}
        if mark == "array":
            return _decode_array(inner)
    raise WireError("data with an unknown mark")


def _decode_array(parts: Any) -> Any:
    import numpy  # not at the top: most answers hold none

    try:
        name, shape, data = parts
        dtype = numpy.dtype(name if type(name) is str else None)
        raw = base64.b64decode(data, validate=True)
        sizes_ok = all(type(size) is int and size >= 0 for size in shape)
        if dtype.kind not in NUMBER_KINDS or not sizes_ok:
            raise ValueError(name)
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(shape)
        return numpy.frombuffer(raw, dtype).reshape(shape).copy()
    except (TypeError, ValueError) as error:
        raise WireError("an array whose parts do not fit together") from error


def same(left: Any, right: Any) -> bool:
    """Whether two encoded values are equal to the last bit.

    Args:
        left: from `encode`.
        right: from `encode`.
    """
    return json.dumps(left) == json.dumps(right)


def write_frame(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    """Send one message: its length, then JSON.

    Args:
        stream: the pipe's end.
        message: what `json.dumps` can write.

    Raises:
        WireError: it is larger than `LARGEST_FRAME`.
        OSError: nobody reads any more.
    """
    data = json.dumps(message).encode("utf-8")
    if len(data) > LARGEST_FRAME:
        raise WireError(f"more than {LARGEST_FRAME // 2**20} MiB")
    stream.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    stream.flush()


def parse_frame(data: bytes) -> dict[str, Any]:
    """Read a message's JSON.

    Args:
        data: without its length.

    Raises:
        WireError: it is not a JSON object.
    """
    try:
        message = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("a reply that is not JSON") from error
    if type(message) is not dict:
        raise WireError("a reply that is no JSON object")
    return message

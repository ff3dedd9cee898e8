"""A SentencePiece tokenizer.model, read without the sentencepiece package.

The file is a protocol buffer: a list of fields, each a number, a kind and a value. Of its many
fields only those below matter for reading text.

Source: sentencepiece_model.proto in https://github.com/google/sentencepiece for the fields;
https://protobuf.dev/programming-guides/encoding for their form.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from course_lib.errors import ModelError

BPE = 2  # model_type; 1 is Unigram
SPACE = "▁"  # how a blank is written in a piece


class PieceKind(IntEnum):
    """What a piece of the vocabulary is."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3  # never read in a text
    USER_DEFINED = 4  # always read whole
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class SentencePieceModel:
    """What a tokenizer.model says.

    Args:
        pieces: the vocabulary.
        model_type: 2 for BPE.
        byte_fallback: characters without a piece become their bytes.
        charsmap: rules that change characters first; empty for none.
        add_dummy_prefix: a blank is put before each text.
        remove_extra_whitespaces: blanks at the ends go, several become one.
    """

    pieces: tuple[Piece, ...]
    model_type: int
    byte_fallback: bool
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool


def read_model(path: Path) -> SentencePieceModel:
    """Read a tokenizer.model.

    Args:
        path: the file.

    Returns:
        Its vocabulary and its rules.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        fields = _grouped(path.read_bytes())
        pieces = tuple(_to_piece(value) for value in fields.get(1, ()))
        trainer, normalizer = (_grouped(fields.get(number, [b""])[-1]) for number in (2, 3))
        model = SentencePieceModel(
            pieces=pieces,
            model_type=trainer.get(3, [1])[-1],
            byte_fallback=bool(trainer.get(35, [0])[-1]),
            charsmap=memoryview(normalizer.get(2, [b""])[-1]).tobytes(),
            add_dummy_prefix=bool(normalizer.get(3, [1])[-1]),
            remove_extra_whitespaces=bool(normalizer.get(4, [1])[-1]),
        )
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}.", "Copy or download it.") from error
    except (ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise _damaged(path) from error
    if not pieces:
        raise _damaged(path)
    return model


def _damaged(path: Path) -> ModelError:
    return ModelError(
        f"{path} is no SentencePiece model, or it is damaged.", "Copy or download it again."
    )


def _to_piece(message: bytes) -> Piece:
    fields = _grouped(message)
    (score,) = struct.unpack("<f", fields.get(2, [bytes(4)])[-1])
    return Piece(fields[1][-1].decode("utf-8"), score, fields.get(3, [PieceKind.NORMAL])[-1])


def _grouped(message: bytes) -> dict[int, list]:
    """The values of each field, by the field's number."""
    fields: dict[int, list] = {}
    for number, value in _fields(message):
        fields.setdefault(number, []).append(value)
    return fields


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:  # bytes, a text or a message, behind its size
            size, position = _varint(message, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"there is no kind {kind}")
        if position + size > len(message):
            raise ValueError("the file ends inside a field")
        yield number, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """A whole number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")

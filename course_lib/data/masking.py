"""Which tokens carry loss: labels for conversations and for plain text."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import chat_template, encoders
from course_lib.errors import DataError, ModelError, NothingToLearnError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

IGNORE_INDEX = -100  # what torch's cross entropy leaves out by default


@dataclass(frozen=True)
class EncodedRow:
    """A row of the data set as the model learns from it.

    Args:
        input_ids: token ids, (tokens,).
        labels: the same ids where loss falls, else `IGNORE_INDEX`; not shifted.
        truncated_tokens: how many tokens were cut off at the right end.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    truncated_tokens: int = 0


@dataclass(frozen=True)
class EncodingReport:
    """What became of a data set's rows.

    Args:
        rows: the encoded rows, in order.
        truncated: how many of the data set's rows were cut at `max_length`.
        dropped: numbers, from 1, of the rows of which the cut left nothing to learn.
    """

    rows: list[EncodedRow]
    truncated: int
    dropped: list[int]


def build_labels(
    segments: Sequence[chat_template.TokenizedSegment],
) -> tuple[list[int], list[int]]:
    """Join segments into one row whose loss falls on what the model is to write.

    Args:
        segments: the conversation in order, already tokenized.

    Returns:
        `input_ids` and `labels`, each of length (tokens,). Labels are not
        shifted: the model shifts them when it computes the loss.

    Raises:
        NothingToLearnError: every label would be `IGNORE_INDEX`.

    Source: same rule as TRL's `assistant_only_loss`.
    """
    input_ids = [i for s in segments for i in s.ids]
    # The end-of-turn token has loss too: without it, the tuned model never learns to stop.
    labels = [i if s.has_loss else IGNORE_INDEX for s in segments for i in s.ids]
    _check_labels(labels)
    return input_ids, labels


def _check_labels(labels: Sequence[int]) -> None:
    """Refuse labels that give no loss; the first is never predicted, nothing stands before it."""
    if all(label == IGNORE_INDEX for label in labels[1:]):
        raise NothingToLearnError(
            f"None of the row's {len(labels)} tokens carries loss.",
            "Check that the reply was not cut off: raise max_length or drop the row.",
        )


def encode_row(
    messages: Sequence[chat_template.Message],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> EncodedRow:
    """Encode one conversation for training; loss falls on the assistant's turns.

    Args:
        messages: the conversation, with at least one assistant message.
        tokenizer: the model's tokenizer, with its chat template.
        max_length: tokens at most; what is longer is cut at the right end and counted.

    Returns:
        The row.

    Raises:
        DataError: a message is not as expected, or none is the assistant's.
        NothingToLearnError: the cut left no token with loss.
    """
    segments = chat_template.messages_to_segments(messages, tokenizer)
    if all(message["role"] != "assistant" for message in messages):
        raise DataError(
            f"None of the {len(messages)} messages has the role 'assistant'.",
            "Add the reply that the model is to learn, or remove the row.",
        )
    input_ids, labels = build_labels(chat_template.tokenize_segments(segments, tokenizer))
    kept_labels = tuple(labels[:max_length])
    _check_labels(kept_labels)
    return EncodedRow(tuple(input_ids[:max_length]), kept_labels, len(labels) - len(kept_labels))


def encode_text(
    text: str, tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> list[EncodedRow]:
    """Encode plain text for continued pre-training; loss falls on every token.

    Args:
        text: one document; the end token is put behind it.
        tokenizer: the model's tokenizer.
        max_length: tokens at most in a row.

    Returns:
        One row, or several of nearly equal length: no token is lost, and none stands
        alone in a row, where nothing could predict it.

    Raises:
        ModelError: the tokenizer has no end token.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("The tokenizer has no end token.", "Set tokenizer.eos_token.")
    ids = (*encoders.encode(text, "typed", tokenizer), tokenizer.eos_token_id)
    count = -(-len(ids) // max_length)
    starts = [len(ids) * number // count for number in range(count + 1)]
    pieces = [ids[start:end] for start, end in itertools.pairwise(starts)]
    return [EncodedRow(piece, piece) for piece in pieces]


def encode_rows(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    max_dropped_share: float = 0.05,
) -> EncodingReport:
    """Encode a data set, and say what was cut and what was dropped.

    Args:
        rows: each with `messages` or with `text`.
        tokenizer: the model's tokenizer.
        max_length: tokens at most in a row.
        max_dropped_share: how large a share of the rows may have nothing to learn.

    Returns:
        The encoded rows in order; a long text makes several.

    Raises:
        DataError: there are no rows, a row is not as expected (names its number), or more
            than the share would be dropped.
    """
    encoded: list[EncodedRow] = []
    truncated, dropped = 0, []
    for number, row in enumerate(rows, 1):
        try:
            made = _encode_any(row, tokenizer, max_length)
        except NothingToLearnError:
            dropped.append(number)
            continue
        except DataError as error:
            raise DataError(f"row {number}: {error.message}", error.next_step) from error
        truncated += any(one.truncated_tokens for one in made)
        encoded += made
    _check_dropped(dropped, len(rows), max_length, max_dropped_share)
    return EncodingReport(encoded, truncated, dropped)


def _encode_any(
    row: Mapping[str, Any], tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> list[EncodedRow]:
    """Encode a row of either kind."""
    if "messages" in row:
        return [encode_row(row["messages"], tokenizer, max_length)]
    if isinstance(row.get("text"), str):
        return encode_text(row["text"], tokenizer, max_length)
    raise DataError(
        f"expected a field messages or text, found {', '.join(map(str, row)) or 'none'}.",
        "Read the file with formats.read_rows, which checks and converts it.",
    )


def _check_dropped(dropped: list[int], n_rows: int, max_length: int, max_share: float) -> None:
    """Refuse a data set of which too much would be dropped, or nothing is there."""
    if not n_rows:
        raise DataError("There are no rows to encode.", "Check the data file.")
    if len(dropped) > max_share * n_rows or len(dropped) == n_rows:
        first = ", ".join(map(str, dropped[:8])) + (", ..." if len(dropped) > 8 else "")
        raise DataError(
            f"{len(dropped)} of {n_rows} rows have nothing to learn within max_length="
            f"{max_length} tokens (rows {first}); allowed is a share of {max_share:g}.",
            "Raise max_length, shorten the texts before the replies, or remove these rows.",
        )

"""Which tokens carry loss: labels for conversations and for plain text."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from course_lib.data import chat_template, encoders, native_tools
from course_lib.errors import DataError, ModelError, NothingToLearnError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

IGNORE_INDEX = -100  # what torch's cross entropy leaves out by default
LossTurns = Literal["all", "last"]


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


def chosen_replies(
    messages: Sequence[chat_template.Message], loss_turns: LossTurns = "all"
) -> set[int]:
    """Choose the replies that carry loss.

    A message may say so itself, with `weight` (0 or 1, as in OpenAI's files) or with `loss`
    (true or false, as in XTuner's). That decides for this message alone; the other replies
    follow `loss_turns`.

    Args:
        messages: the conversation, checked.
        loss_turns: all replies, or the last one only.

    Returns:
        Indices of messages, from 0.

    Raises:
        DataError: a flag has another value, contradicts the other one, or wants loss on what
            the assistant did not write.
    """
    replies = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = set(replies if loss_turns == "all" else replies[-1:])
    for index, message in enumerate(messages):
        flag = _loss_flag(index + 1, message)
        if flag is not None:
            chosen = chosen | {index} if flag else chosen - {index}
    return chosen


def _loss_flag(number: int, message: chat_template.Message) -> bool | None:
    """What a message says about its loss; None when it says nothing."""
    flags = set()
    for field in ("weight", "loss"):
        value = message.get(field)
        if value not in (None, 0, 1):
            raise DataError(
                f"message {number} ({message['role']}), field {field}: "
                f"expected 0 or 1, found {value!r}.",
                "Write 1 (true) to learn this reply and 0 (false) to leave it out.",
            )
        flags |= set() if value is None else {bool(value)}
    if len(flags) > 1 or (True in flags and message["role"] != "assistant"):
        found = "weight and loss contradict each other" if len(flags) > 1 else "only replies learn"
        raise DataError(
            f"message {number} ({message['role']}), fields weight and loss: {found}.",
            "Keep one of the two fields, on the assistant's messages.",
        )
    return flags.pop() if flags else None


def encode_row(
    messages: Sequence[chat_template.Message],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    loss_turns: LossTurns = "all",
) -> EncodedRow:
    """Encode one conversation for training; loss falls on the assistant's turns.

    Args:
        messages: the conversation, with at least one assistant message.
        tokenizer: the model's tokenizer, with its chat template.
        max_length: tokens at most; what is longer is cut at the right end and counted.
        loss_turns: which replies carry loss, see `chosen_replies`.

    Returns:
        The row.

    Raises:
        DataError: a message is not as expected, or none is the assistant's.
        NothingToLearnError: the cut left no token with loss.
    """
    chat_template.check_messages(messages)
    chosen = chosen_replies(messages, loss_turns)
    segments = chat_template.messages_to_segments(messages, tokenizer, chosen=chosen)
    if all(message["role"] != "assistant" for message in messages):
        raise no_reply(len(messages))
    input_ids, labels = build_labels(chat_template.tokenize_segments(segments, tokenizer))
    kept_labels = tuple(labels[:max_length])
    _check_labels(kept_labels)
    return EncodedRow(tuple(input_ids[:max_length]), kept_labels, len(labels) - len(kept_labels))


def no_reply(n_messages: int) -> DataError:
    """The error for a conversation in which the assistant says nothing."""
    return DataError(
        f"None of the {n_messages} messages has the role 'assistant'.",
        "Add the reply that the model is to learn, or remove the row.",
    )


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
    ids = (*encoders.encode(text, "typed", tokenizer), end_token_id(tokenizer))
    starts = piece_starts(len(ids), max_length)
    pieces = [ids[start:end] for start, end in itertools.pairwise(starts)]
    return [EncodedRow(piece, piece) for piece in pieces]


def end_token_id(tokenizer: "PreTrainedTokenizerFast") -> int:
    """The token that ends a plain text.

    Raises:
        ModelError: the tokenizer has none.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError("The tokenizer has no end token.", "Set tokenizer.eos_token.")
    return tokenizer.eos_token_id


def piece_starts(length: int, max_length: int) -> list[int]:
    """Where a long text is cut.

    Args:
        length: tokens of the text.
        max_length: tokens at most in a piece.

    Returns:
        The start of each piece and the end of the last; the pieces are nearly equally long.
    """
    count = -(-length // max_length)
    return [length * number // count for number in range(count + 1)]


def encode_rows(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    max_dropped_share: float = 0.05,
    loss_turns: LossTurns = "all",
) -> EncodingReport:
    """Encode a data set row by row, and say what was cut and what was dropped.

    `batches.RowEncoder` gives the same rows sooner; this one is to be read.

    Args:
        rows: each with `messages` or with `text`.
        tokenizer: the model's tokenizer.
        max_length: tokens at most in a row.
        max_dropped_share: how large a share of the rows may have nothing to learn.
        loss_turns: which replies carry loss, see `chosen_replies`.

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
            made = _encode_any(row, tokenizer, max_length, loss_turns)
        except NothingToLearnError:
            dropped.append(number)
            continue
        except (DataError, ModelError) as error:
            raise type(error)(f"row {number}: {error.message}", error.next_step) from error
        truncated += any(one.truncated_tokens for one in made)
        encoded += made
    check_dropped(dropped, len(rows), max_length, max_dropped_share)
    return EncodingReport(encoded, truncated, dropped)


def _encode_any(
    row: Mapping[str, Any],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    loss_turns: LossTurns,
) -> list[EncodedRow]:
    """Encode a row of either kind."""
    check_fields(row)
    if "messages" in row:
        messages = native_tools.row_messages(row, tokenizer)
        return [encode_row(messages, tokenizer, max_length, loss_turns)]
    made = encode_text(row["text"], tokenizer, max_length)
    _check_labels(made[0].labels)  # an empty text is its end token alone
    return made


def check_fields(row: Mapping[str, Any]) -> None:
    """Refuse a row that is neither a conversation nor a text.

    Args:
        row: with `messages` or with `text`.

    Raises:
        DataError: it has neither.
    """
    if "messages" in row or isinstance(row.get("text"), str):
        return
    raise DataError(
        f"expected a field messages or text, found {', '.join(map(str, row)) or 'none'}.",
        "Read the file with formats.read_rows, which checks and converts it.",
    )


def check_dropped(dropped: Sequence[int], n_rows: int, max_length: int, max_share: float) -> None:
    """Refuse a data set of which too much would be dropped, or nothing is there.

    Args:
        dropped: numbers of the rows with nothing to learn.
        n_rows: how many rows the data set has.
        max_length: where rows were cut.
        max_share: how large a share may be dropped.

    Raises:
        DataError: there are no rows, all would be dropped, or more than the share.
    """
    if not n_rows:
        raise DataError("There are no rows to encode.", "Check the data file.")
    if len(dropped) > max_share * n_rows or len(dropped) == n_rows:
        first = ", ".join(map(str, dropped[:8])) + (", ..." if len(dropped) > 8 else "")
        raise DataError(
            f"{len(dropped)} of {n_rows} rows have nothing to learn within max_length="
            f"{max_length} tokens (rows {first}); allowed is a share of {max_share:g}.",
            "Raise max_length, shorten the texts before the replies, or remove these rows.",
        )

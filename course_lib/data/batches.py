"""Many rows at once: the same ids and labels as `masking.encode_row`, at the tokenizer's speed.

A template is rendered once for each sequence of roles, and its marks are tokenized once. For a row,
only the contents are left to do, and those go to the tokenizer a thousand rows at a time.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import chat_template, encoders, masking, native_tools, slots, tool_calls
from course_lib.errors import DataError, ModelError

if TYPE_CHECKING:  # slow to import
    import numpy as np
    from transformers import PreTrainedTokenizerFast

ROWS = 1000  # rows in a batch at most
CHARACTERS = 1_000_000  # contents in a batch: bounds the memory when rows are long
LAYOUTS = 5000  # role sequences that are kept: bounds the memory when every row has its own


@dataclass(frozen=True)
class EncodedBatch:
    """Rows one behind the other.

    Args:
        input_ids: token ids of all rows, int32, (tokens,).
        labels: the same where loss falls, else `IGNORE_INDEX`, int32, (tokens,).
        lengths: tokens of each row, int32, (rows,).
        truncated: how many rows of the data set were cut at `max_length`.
        truncated_tokens: how many tokens that took.
        dropped: numbers of the rows with nothing to learn; they are left out.
    """

    input_ids: "np.ndarray"
    labels: "np.ndarray"
    lengths: "np.ndarray"
    truncated: int
    truncated_tokens: int
    dropped: list[int]


@dataclass(frozen=True)
class _Part:
    """A part of a layout: marks with their ids, or the place of a content (`piece`)."""

    ids: list[int]
    has_loss: bool
    piece: slots.Piece | None = None
    queue: tuple[encoders.Kind, bool] = ("marks", False)


class RowEncoder:
    """Encodes rows in batches.

    Args:
        tokenizer: the model's tokenizer, with its chat template; not to be changed meanwhile.
        max_length: tokens at most in a row.
        loss_turns: which replies carry loss, see `masking.chosen_replies`.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        max_length: int,
        loss_turns: masking.LossTurns = "all",
    ) -> None:
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._loss_turns = loss_turns
        self._layouts: dict[Any, list[_Part]] = {}
        self._text_layout: list[_Part] = []
        self._may_call = False
        self._clear()

    def _clear(self) -> None:
        self._rows: list[tuple[int, list[_Part]]] = []  # number and layout
        self._queues: dict[tuple[encoders.Kind, bool], list[str]] = {}
        self._owners: dict[tuple[encoders.Kind, bool], list[int]] = {}  # row of each text
        self._characters = 0

    def encode(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[EncodedBatch]:
        """Encode rows as they come.

        Args:
            rows: each with `messages` or with `text`; read one by one.

        Yields:
            Batches in order.

        Raises:
            DataError: a row is not as expected; names its number, from 1.
            ModelError: the tokenizer cannot encode a row; names its number.
        """
        for number, row in enumerate(rows, 1):
            try:
                self._add(number, row)
            except (DataError, ModelError) as error:
                raise type(error)(f"row {number}: {error.message}", error.next_step) from error
            if len(self._rows) == ROWS or self._characters > CHARACTERS:
                yield self._flush()
        if self._rows:
            yield self._flush()

    # --- laying out ------------------------------------------------------------------------------

    def _add(self, number: int, row: Mapping[str, Any]) -> None:
        """Queue a row's contents."""
        masking.check_fields(row)
        if "messages" not in row:
            self._text_layout = self._text_layout or _lay_out_text(self._tokenizer)
            layout, contents = self._text_layout, [row["text"]]
        else:
            layout, contents = self._chat_layout(native_tools.row_messages(row, self._tokenizer))
        for part in layout:
            if part.piece:
                text = part.piece.fill(contents[part.piece.index])
                self._queues.setdefault(part.queue, []).append(text)
                self._owners.setdefault(part.queue, []).append(number)
                self._characters += len(text)
        self._rows.append((number, layout))

    def _chat_layout(self, messages: Any) -> tuple[list[_Part], list[str]]:
        """A conversation's layout, made once for each sequence of roles, and its contents."""
        chat_template.check_messages(messages)
        roles = tuple([message["role"] for message in messages])
        chosen = None
        # most messages have a role and a content only: nothing to look up
        if self._loss_turns != "all" or any(len(message) > 2 for message in messages):
            chosen = frozenset(masking.chosen_replies(messages, self._loss_turns))
            if not self._may_call and any(m.get("tool_calls") for m in messages):
                tool_calls.check_template(self._tokenizer)
                self._may_call = True
        contents = [tool_calls.whole_content(message) for message in messages]
        layout = self._layouts.get((roles, chosen))
        if layout is None:
            layout = self._make_layout(roles, chosen)
            if len(self._layouts) == LAYOUTS:
                self._layouts.clear()
            self._layouts[roles, chosen] = layout
        return layout, contents

    def _make_layout(self, roles: tuple[str, ...], chosen: frozenset[int] | None) -> list[_Part]:
        parts = []
        for place, piece in enumerate(chat_template.lay_out(roles, self._tokenizer)):
            has_loss = piece.reply is not None and (chosen is None or piece.reply in chosen)
            if piece.index is not None:
                queue = (encoders.kind_of(piece.role), place == 0)
                parts.append(_Part([], has_loss, piece, queue))
                continue
            ids = [*encoders.encode(piece.text, "marks", self._tokenizer, is_first=place == 0)]
            if parts and not parts[-1].piece and parts[-1].has_loss == has_loss:
                ids = parts.pop().ids + ids
            parts.append(_Part(ids, has_loss))
        if "assistant" not in roles:
            raise masking.no_reply(len(roles))
        return parts

    # --- encoding --------------------------------------------------------------------------------

    def _flush(self) -> EncodedBatch:
        """Tokenize what is queued and put it into the layouts."""
        import numpy as np

        queues = {queue: iter(self._tokenize(queue)) for queue in self._queues}
        ids: list[int] = []
        part_lengths, part_flags, lengths, numbers = [], [], [], []
        for number, layout in self._rows:
            start = len(ids)
            for part in layout:
                piece_ids = next(queues[part.queue]) if part.piece else part.ids
                ids += piece_ids
                part_lengths.append(len(piece_ids))
                part_flags.append(part.has_loss)
            row_lengths = [len(ids) - start]
            if layout is self._text_layout:
                starts = masking.piece_starts(row_lengths[0], self._max_length)
                row_lengths = [b - a for a, b in itertools.pairwise(starts)]
            lengths += row_lengths
            numbers += [number] * len(row_lengths)
        self._clear()
        flat = np.array(ids, dtype=np.int32)
        has_loss = np.repeat(np.array(part_flags, dtype=bool), part_lengths)
        return _cut(flat, has_loss, np.array(lengths), np.array(numbers), self._max_length)

    def _tokenize(self, queue: tuple[encoders.Kind, bool]) -> list[list[int]]:
        """Ids of a queue's texts; when one of them is at fault, its row is named."""
        texts = self._queues[queue]
        try:
            return encoders.encode_many(texts, queue[0], self._tokenizer, is_first=queue[1])
        except ModelError:
            for number, text in zip(self._owners[queue], texts, strict=True):
                try:
                    encoders.encode(text, queue[0], self._tokenizer, is_first=queue[1])
                except ModelError as error:
                    message = f"row {number}: {error.message}"
                    raise ModelError(message, error.next_step) from error
            raise


def _lay_out_text(tokenizer: "PreTrainedTokenizerFast") -> list[_Part]:
    """A plain text and the end token behind it, all with loss."""
    piece = slots.Piece("", "text", index=0)
    end = _Part([masking.end_token_id(tokenizer)], has_loss=True)
    return [_Part([], True, piece, ("typed", True)), end]


def _cut(
    ids: "np.ndarray",
    has_loss: "np.ndarray",
    lengths: "np.ndarray",
    numbers: "np.ndarray",
    max_length: int,
) -> EncodedBatch:
    """Cut rows at the right end, and leave out those with nothing to learn."""
    import numpy as np

    ends = np.cumsum(lengths)
    # the first token of a row is never predicted: nothing stands before it
    predicted = has_loss.copy()
    predicted[ends - lengths] = False
    kept = np.minimum(lengths, max_length)
    counts = np.concatenate([[0], np.cumsum(predicted)])
    starts = ends - lengths
    learns = counts[starts + kept] > counts[starts]
    if (kept < lengths).any() or not learns.all():
        place = np.arange(len(ids)) - np.repeat(starts, lengths)
        is_kept = (place < max_length) & np.repeat(learns, lengths)
        ids, has_loss = ids[is_kept], has_loss[is_kept]
    removed = (lengths - kept)[learns]
    return EncodedBatch(
        input_ids=ids,
        labels=np.where(has_loss, ids, np.int32(masking.IGNORE_INDEX)),
        lengths=kept[learns].astype(np.int32),
        truncated=int(np.count_nonzero(removed)),
        truncated_tokens=int(removed.sum()),
        dropped=numbers[~learns].tolist(),
    )

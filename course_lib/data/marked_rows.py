"""Rows and packs with the speaker of each token: what a learner looks at before training.

The ids and the labels are those of `masking.encode_row` and `packing.pack_rows`; here each token
also knows who speaks, and a row knows what was cut off it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import chat_template, masking, native_tools, packing
from course_lib.errors import NothingToLearnError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class MarkedRow:
    """A row, token by token.

    Args:
        row: ids and labels as in training.
        roles: who speaks at each token, (tokens,); the template's marks belong to the turn that
            they open or end. A plain text speaks as "text".
        cut_ids: what `max_length` cut off at the right end.
    """

    row: masking.EncodedRow
    roles: tuple[str, ...]
    cut_ids: tuple[int, ...] = ()

    @property
    def has_loss(self) -> bool:
        """Whether anything is learned from it; training leaves it out otherwise."""
        return any(label != masking.IGNORE_INDEX for label in self.row.labels[1:])


@dataclass(frozen=True)
class MarkedPack:
    """A pack with the speaker of each token.

    Args:
        pack: ids, labels and position ids as in training.
        roles: as in `MarkedRow`, (tokens,).
    """

    pack: packing.Pack
    roles: tuple[str, ...]


def mark_row(
    row: Mapping[str, Any],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    loss_turns: masking.LossTurns = "all",
) -> list[MarkedRow]:
    """Encode a row of the data set as for training, and say who speaks where.

    Args:
        row: with `messages` or with `text`.
        tokenizer: the model's tokenizer, with its chat template.
        max_length: tokens at most.
        loss_turns: which replies carry loss, see `masking.chosen_replies`.

    Returns:
        One row; several for a long text. A row with nothing to learn is there as well, all of its
        labels `IGNORE_INDEX`.

    Raises:
        DataError: the row is not as expected.
        ModelError: the tokenizer cannot encode it.
    """
    masking.check_fields(row)
    if "messages" not in row:
        pieces = masking.encode_text(row["text"], tokenizer, max_length)
        return [MarkedRow(piece, ("text",) * len(piece.input_ids)) for piece in pieces]
    messages = native_tools.row_messages(row, tokenizer)
    chat_template.check_messages(messages)
    chosen = masking.chosen_replies(messages, loss_turns)
    texts = chat_template.messages_to_segments(messages, tokenizer, chosen=chosen)
    segments = chat_template.tokenize_segments(texts, tokenizer)
    roles = _speakers(texts, segments)
    try:
        input_ids, labels = masking.build_labels(segments)
    except NothingToLearnError:
        input_ids = [i for segment in segments for i in segment.ids]
        labels = [masking.IGNORE_INDEX] * len(input_ids)
    kept = masking.EncodedRow(
        tuple(input_ids[:max_length]),
        tuple(labels[:max_length]),
        max(0, len(input_ids) - max_length),
    )
    return [MarkedRow(kept, tuple(roles[:max_length]), tuple(input_ids[max_length:]))]


def _speakers(
    texts: Sequence[chat_template.Segment], segments: Sequence[chat_template.TokenizedSegment]
) -> list[str]:
    """Who speaks at each token; a mark that ends a turn belongs to it.

    Behind a user's turn the template writes that mark in one piece with what opens the next one.
    """
    pairs = list(zip(texts, segments, strict=True))
    ends = {s.ids[-1] for text, s in pairs if text.has_loss and not text.is_content and s.ids}
    roles: list[str] = []
    for _, segment in pairs:
        own = [segment.role] * len(segment.ids)
        if roles and segment.ids and segment.ids[0] in ends:
            own[0] = roles[-1]
        roles += own
    return roles


def pack_marked(
    rows: Sequence[MarkedRow], max_length: int, method: packing.Method = "next_fit"
) -> list[MarkedPack]:
    """Pack rows as for training; those with nothing to learn are left out.

    Args:
        rows: from `mark_row`.
        max_length: tokens at most in a pack.
        method: see `packing.pack_rows`.

    Returns:
        The packs.

    Raises:
        DataError: a row is longer than a pack.
    """
    learned = [marked for marked in rows if marked.has_loss]
    packs = packing.pack_rows([marked.row for marked in learned], max_length, method)
    if method == "cut":
        groups = [range(len(learned))]
    else:
        lengths = [len(marked.roles) for marked in learned]
        groups = packing.group_rows(lengths, max_length, method)
    # packs hold their rows one behind the other, so the speakers of all rows in that order are cut
    # where the packs end
    speakers = [role for group in groups for index in group for role in learned[index].roles]
    ends = [0]
    for pack in packs:
        ends.append(ends[-1] + len(pack.input_ids))
    spans = zip(packs, ends[:-1], ends[1:], strict=True)
    return [MarkedPack(pack, tuple(speakers[start:end])) for pack, start, end in spans]

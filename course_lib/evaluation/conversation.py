"""Scores of lesson 02: how well held-out answers are predicted, and who speaks in the replies."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.data import masking, native_tools
from course_lib.errors import DataError

SHOWN_SLIPS = 8
# A speaker's name before a colon, at the start of a line or behind "###" wherever it stands.
SPEAKERS = re.compile(
    r"(?:###\s*|^\s*)(?:Human|User|Assistant|System|Observation|人类|用户|助手|系统)\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ConversationScore:
    """How a model holds a conversation that it was not trained on.

    Args:
        loss: mean over the answers' tokens, in nats; lower is better.
        own_turn: share of replies that end by themselves and speak for nobody else.
        ended: share of replies that end by themselves.
        invented: share of replies in which another speaker gets a line.
        n: how many tokens and replies stand behind these.
        slips: some questions with replies that did not keep to their own turn.
    """

    loss: float
    own_turn: float
    ended: float
    invented: float
    n: Mapping[str, int]
    slips: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The score as plain data, for `json.dumps`."""
        return asdict(self)


def has_other_speaker(reply: str) -> bool:
    """Whether a reply gives somebody else a line: "### Human:", "Human:", 用户：.

    Args:
        reply: what the model wrote for one turn.
    """
    return SPEAKERS.search(reply) is not None


def score_conversation(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    settings: generation.GenerationSettings | None = None,
) -> ConversationScore:
    """Score a model on held-out conversations.

    Args:
        model: the model; its mode is left as it is.
        tokenizer: its tokenizer, with the chat template to use.
        rows: `messages` that end with a reply. The model writes each row's last reply anew.
        settings: for these replies; greedy and at most 64 tokens when None.

    Returns:
        The score.

    Raises:
        DataError: a row does not end with a reply, or does not fit into the context.
    """
    for number, row in enumerate(rows, 1):
        if not row.get("messages") or row["messages"][-1]["role"] != "assistant":
            raise DataError(f"row {number} does not end with a reply.", "Leave this row out.")
    loss, n_tokens = answer_loss(model, tokenizer, rows)
    talks = [native_tools.row_messages(row, tokenizer)[:-1] for row in rows]
    settings = settings or generation.GenerationSettings(max_new_tokens=64)
    replies = generation.reply_to_all(model, tokenizer, talks, settings)
    invented = [has_other_speaker(reply.text) for reply in replies]
    is_own = [r.has_ended and not other for r, other in zip(replies, invented, strict=True)]
    slips = [
        (talk[-1]["content"], reply.text)
        for talk, reply, own in zip(talks, replies, is_own, strict=True)
        if not own
    ]
    return ConversationScore(
        loss=loss,
        own_turn=_share(is_own),
        ended=_share([reply.has_ended for reply in replies]),
        invented=_share(invented),
        n={"loss": n_tokens, "own_turn": len(rows), "ended": len(rows), "invented": len(rows)},
        slips=tuple(slips[:SHOWN_SLIPS]),
    )


def answer_loss(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    max_length: int = 1024,
    batch_size: int = 16,
) -> tuple[float, int]:
    """The loss on the answers' tokens, the end of each turn included, and on nothing else.

    Args:
        model: the model; its mode is left as it is.
        tokenizer: its tokenizer, with the chat template to use.
        rows: held-out rows.
        max_length: tokens; longer rows are cut.
        batch_size: rows at a time.

    Returns:
        The mean over all these tokens, in nats, and their number.

    Raises:
        DataError: see `masking.encode_rows`.
    """
    encoded = masking.encode_rows(rows, tokenizer, max_length).rows
    encoded.sort(key=lambda row: len(row.input_ids))  # rows of like length need little padding
    total, count = 0.0, 0
    with _in_eval_mode(model), torch.inference_mode():
        for start in range(0, len(encoded), batch_size):
            batch_total, batch_count = _batch_loss(model, encoded[start : start + batch_size])
            total, count = total + batch_total, count + batch_count
    return total / count, count


def _batch_loss(model: PreTrainedModel, rows: Sequence[masking.EncodedRow]) -> tuple[float, int]:
    """Summed loss of some rows, and the tokens that carry it."""
    width = max(len(row.input_ids) for row in rows)
    ids = [[*row.input_ids, *[0] * (width - len(row.input_ids))] for row in rows]
    padding = masking.IGNORE_INDEX
    labels = [[*row.labels, *[padding] * (width - len(row.labels))] for row in rows]
    targets = torch.tensor(labels, device=model.device)[:, 1:].flatten()
    # Padding stands on the right, where no token of a row looks: it needs no attention mask.
    logits = model(input_ids=torch.tensor(ids, device=model.device)).logits[:, :-1]
    loss = functional.cross_entropy(
        logits.flatten(0, 1).float(), targets, ignore_index=padding, reduction="sum"
    )
    return loss.item(), int((targets != padding).sum())


@contextmanager
def _in_eval_mode(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags)

"""What happens at each new token: draw it, stop at it, hand it on, show its text."""

import queue
import random
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import (
    LogitsProcessor,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.streamers import BaseStreamer

BROKEN_CHARACTER = "\ufffd"  # what a tokenizer decodes an unfinished UTF-8 sequence to


def decode(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> str:
    """Turn a reply's tokens into its text.

    Args:
        ids: the whole reply so far, without the prompt.
        tokenizer: the model's tokenizer.

    Returns:
        The text without control tokens, blanks as the model wrote them.
    """
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def visible_text(text: str, stop_words: Sequence[str], is_final: bool) -> tuple[str, bool]:
    """What may be shown of the text written so far.

    Args:
        text: the whole reply so far, decoded.
        stop_words: texts that end a reply.
        is_final: nothing will follow.

    Returns:
        The text before the first stop word, and whether there is one. While more may follow,
        an end that could grow into a stop word is held back; an unfinished character always is.
    """
    # The word that is complete first ends the reply: what follows it was never written.
    found = [(text.index(w) + len(w), text.index(w)) for w in stop_words if w in text]
    if found:
        return text[: min(found)[1]], True
    text = text.rstrip(BROKEN_CHARACTER)
    if is_final:
        return text, False
    held = [
        size for word in stop_words for size in range(1, len(word)) if text.endswith(word[:size])
    ]
    return text[: len(text) - max(held, default=0)], False


def read_pieces(
    events: "queue.Queue[Any]",
    tokenizer: PreTrainedTokenizerBase,
    stop_words: Sequence[str],
    end_ids: Sequence[int],
) -> Iterator[str]:
    """Turn tokens into pieces of text as they come.

    Args:
        events: token ids; then None when nothing follows, or the error that stopped the model.
        tokenizer: the model's tokenizer.
        stop_words: texts that end a reply.
        end_ids: tokens that end a reply.

    Yields:
        Texts that, joined, are the reply. Decoding always starts at the first token, because
        the text of a token may depend on those before it.

    Raises:
        BaseException: the error found in `events`.
    """
    ids: list[int] = []
    shown, is_final = 0, False
    while not is_final:
        event = events.get()
        if isinstance(event, BaseException):
            raise event
        is_final = event is None or event in end_ids
        if not is_final:
            ids.append(event)
        text, has_stopped = visible_text(decode(ids, tokenizer), stop_words, is_final)
        is_final = is_final or has_stopped
        if len(text) > shown:
            yield text[shown:]
            shown = len(text)


class TokenQueue(BaseStreamer):
    """Hands each new token of `generate` to another thread.

    transformers' TextIteratorStreamer hands over text, but it forgets what stood before a line
    break, and with it the blanks that a SentencePiece tokenizer writes at the start of a line.

    Attributes:
        events: the token ids, one by one; whoever runs `generate` adds None or its error.
        is_cancelled: set when nobody reads any more.
    """

    def __init__(self) -> None:
        self.events: queue.Queue[Any] = queue.Queue()
        self.is_cancelled = threading.Event()
        self.is_prompt = True

    def put(self, value: torch.Tensor) -> None:
        """Take what `generate` has: first the prompt, then token after token."""
        if not self.is_prompt:
            self.events.put(int(value))
        self.is_prompt = False

    def end(self) -> None:
        """Nothing to do: the thread says when it has ended, also after an error."""


class StopWhen(StoppingCriteria):
    """Ends each row at its first stop word, and all of them when the reader has left.

    Args:
        tokenizer: the model's tokenizer.
        prompt_tokens: how many tokens of each row are prompt.
        stop_words: texts that end a reply.
        is_cancelled: set by the reader.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompt_tokens: int,
        stop_words: Sequence[str],
        is_cancelled: threading.Event,
    ) -> None:
        self.tokenizer = tokenizer
        self.prompt_tokens = prompt_tokens
        self.stop_words = stop_words
        self.is_cancelled = is_cancelled

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        """Say for each row whether it is done, (batch,)."""
        done = [self.is_cancelled.is_set()] * len(input_ids)
        if self.stop_words and not done[0]:
            texts = [decode(ids, self.tokenizer) for ids in input_ids[:, self.prompt_tokens :]]
            done = [any(word in text for word in self.stop_words) for text in texts]
        return torch.tensor(done, device=input_ids.device)


class SeededSampler(LogitsProcessor):
    """Draws each row's next token with that row's own random numbers and leaves only this token.

    `do_sample=True` would draw from torch's global random state: a chat during training would
    change the training, and a reply would depend on the other rows of its batch.

    Args:
        temperature: above 0.
        top_k: choose among the k likeliest tokens; 0 is no limit.
        top_p: choose among the likeliest tokens that together have this probability.
        row_seeds: one for each row of the batch.
    """

    def __init__(
        self, temperature: float, top_k: int, top_p: float, row_seeds: Sequence[int]
    ) -> None:
        self.warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(float(temperature))]
        if top_k:
            self.warpers.append(TopKLogitsWarper(top_k))
        if top_p < 1:
            self.warpers.append(TopPLogitsWarper(top_p))
        self.randoms = [random.Random(seed) for seed in row_seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Give the drawn token of each row the score 0 and all others minus infinity."""
        for warper in self.warpers:
            scores = warper(input_ids, scores)
        likeliest, tokens = scores.float().softmax(-1).sort(dim=-1, descending=True, stable=True)
        draws = torch.tensor([[r.random()] for r in self.randoms], device=scores.device)
        rank = (likeliest.cumsum(-1) <= draws).sum(-1, keepdim=True)
        last_possible = (likeliest > 0).sum(-1, keepdim=True) - 1  # rounding must not pass it
        chosen = tokens.gather(-1, rank.minimum(last_possible))
        return torch.full_like(scores, -torch.inf).scatter(-1, chosen, 0.0)

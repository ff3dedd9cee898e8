"""From a conversation to a reply: one token stream for a chat, or many replies in batches."""

import hashlib
import logging
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import decoding, prefixes
from course_lib.data import chat_template, encoders
from course_lib.errors import ConfigError, DataError


@dataclass(frozen=True)
class GenerationSettings:
    """How a reply is made.

    Args:
        max_new_tokens: the longest reply, in tokens.
        temperature: 0 always takes the likeliest token (greedy); higher is more varied.
        top_k: when sampling, choose among the k likeliest tokens; 0 is no limit.
        top_p: when sampling, choose among the likeliest tokens that together have this probability.
        stop_words: texts that end a reply; they are not part of it.
        seed: when sampling, the same seed and prompt give the same reply.

    Raises:
        ConfigError: names every value that is out of range.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    stop_words: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        words = self.stop_words
        are_words = isinstance(words, list | tuple) and all(isinstance(w, str) and w for w in words)
        warm = _is_number(self.temperature, 0.01, 100) or self.temperature == 0
        wanted = {
            "max_new_tokens": ("a whole number from 1", _is_whole(self.max_new_tokens, 1)),
            "temperature": ("0 or a number from 0.01 to 100", warm),
            "top_k": ("a whole number from 0", _is_whole(self.top_k, 0)),
            "top_p": ("a number from 0.01 to 1", _is_number(self.top_p, 0.01, 1)),
            "stop_words": ("a list of texts that are not empty", are_words),
            "seed": ("a whole number from 0", _is_whole(self.seed, 0)),
        }
        problems = [
            f"{name} is {getattr(self, name)!r}, expected {text}"
            for name, (text, is_good) in wanted.items()
            if not is_good
        ]
        if problems:
            raise ConfigError("; ".join(problems) + ".", "Change these generation settings.")
        object.__setattr__(self, "stop_words", tuple(words))


@dataclass(frozen=True)
class Reply:
    """A reply's text; `has_ended` is False when max_new_tokens cut it off."""

    text: str
    has_ended: bool


def stream_reply(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[chat_template.Message],
    settings: GenerationSettings,
) -> Iterator[str]:
    """Give a reply piece by piece while the model writes it.

    The model works in a thread of its own; closing the iterator stops it at its next token.

    Args:
        model: any causal language model, with or without an adapter.
        tokenizer: the model's tokenizer.
        messages: the conversation; the last message is the user's.
        settings: length, sampling, stop words.

    Yields:
        Texts that, joined, are the reply of `reply_to_all`: no half characters, no stop words.

    Raises:
        DataError: the prompt and max_new_tokens do not fit into the model's context.
        Exception: whatever stopped the model, for example an out-of-memory error.
    """
    prompt = _encode(model, tokenizer, messages, settings)
    end_ids = end_token_ids(model, tokenizer)
    tokens = decoding.TokenQueue()

    def generate() -> None:
        try:
            _generate(model, tokenizer, [prompt], settings, tokens)
            tokens.events.put(None)
        except BaseException as error:  # raised again where the reply is read
            tokens.events.put(error)

    thread = threading.Thread(target=generate, name="tunebook-reply", daemon=True)
    thread.start()
    try:
        yield from decoding.read_pieces(tokens.events, tokenizer, settings.stop_words, end_ids)
    finally:
        tokens.is_cancelled.set()
        thread.join()


def reply_to_all(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[chat_template.Message]],
    settings: GenerationSettings,
    batch_size: int = 64,
) -> list[Reply]:
    """Reply to many conversations in batches; each reply is the one it would get alone.

    Args:
        model: any causal language model; its mode, its config and torch's random state are
            left as they are.
        tokenizer: the model's tokenizer.
        conversations: each ends with a user message.
        settings: length, sampling, stop words.
        batch_size: conversations at a time; less needs less memory.

    Returns:
        One reply for each conversation, in their order.

    Raises:
        DataError: a prompt and max_new_tokens do not fit into the model's context.
        ConfigError: the batch size is not a whole number from 1.
    """
    if not _is_whole(batch_size, 1):
        raise ConfigError(f"batch_size is {batch_size!r}.", "Use a whole number from 1.")
    prompts = [_encode(model, tokenizer, messages, settings) for messages in conversations]
    end_ids = end_token_ids(model, tokenizer)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    replies: dict[int, Reply] = {}
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        written = _generate(model, tokenizer, [prompts[i] for i in rows], settings)
        for i, ids in zip(rows, written, strict=True):
            replies[i] = _to_reply(ids, tokenizer, settings.stop_words, end_ids)
    return [replies[i] for i in range(len(prompts))]


def context_tokens(model: PreTrainedModel) -> int | None:
    """The longest row the model can read.

    Args:
        model: any causal language model.

    Returns:
        Tokens, prompt and reply together; None when the model's config names no limit.
    """
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def end_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply.

    Args:
        model: its generation config may name some.
        tokenizer: its end token and the end-of-turn token of its chat template count as well,
            because a model's files often name only the end of a whole text.

    Returns:
        Token ids, ascending.
    """
    named = model.generation_config.eos_token_id
    ids = set(named) if isinstance(named, list | tuple) else {named}
    ids.add(tokenizer.eos_token_id)
    mark = encoders.encode(chat_template.end_of_turn(tokenizer), "marks", tokenizer)
    ids.update(mark[-1:])  # a template may write a line break before the token
    return sorted(ids - {None})


def _encode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[chat_template.Message],
    settings: GenerationSettings,
) -> list[int]:
    prompt = chat_template.encode_prompt(messages, tokenizer)
    limit = context_tokens(model)
    if limit is not None and len(prompt) + settings.max_new_tokens > limit:
        raise DataError(
            f"The prompt has {len(prompt)} tokens; with max_new_tokens={settings.max_new_tokens} "
            f"it passes the model's context of {limit} tokens.",
            "Shorten the conversation or lower max_new_tokens.",
        )
    return prompt


def _generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    tokens: decoding.TokenQueue | None = None,
) -> list[list[int]]:
    """Run the model on a batch; returns each row's new tokens."""
    width = max(map(len, prompts))
    config = _to_generation_config(settings, end_token_ids(model, tokenizer), tokenizer)
    start = prefixes.shared_tokens(prompts, model)
    # Padding stands before what differs, so that each prompt ends where its reply starts.
    gaps = [width - len(prompt) for prompt in prompts]
    rows = [
        [*prompt[:start], *[config.pad_token_id] * gap, *prompt[start:]]
        for prompt, gap in zip(prompts, gaps, strict=True)
    ]
    mask = [[1] * start + [0] * gap + [1] * (width - start - gap) for gap in gaps]
    is_cancelled = tokens.is_cancelled if tokens else threading.Event()
    stop = decoding.StopWhen(tokenizer, width, settings.stop_words, is_cancelled)
    with _in_eval_mode(model), _without_length_note():
        known = prefixes.read_once(model, prompts[0][:start], len(prompts))
        output = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            generation_config=config,
            logits_processor=_samplers(settings, prompts),
            stopping_criteria=[stop],
            streamer=tokens,
            **known,
        )
    return output[:, width:].tolist()


def _to_generation_config(
    settings: GenerationSettings, end_ids: list[int], tokenizer: PreTrainedTokenizerBase
) -> GenerationConfig:
    # What is left out here, transformers fills in from the model's own generation config: name
    # everything that changes a reply, so that two models are compared under the same rules.
    return GenerationConfig(
        max_new_tokens=settings.max_new_tokens,
        do_sample=False,  # SeededSampler draws
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        num_beams=1,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        use_cache=True,  # training turns it off in model.config; without it a reply is slow
        return_dict_in_generate=False,
        eos_token_id=end_ids,
        pad_token_id=end_ids[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    )


def _samplers(
    settings: GenerationSettings, prompts: Sequence[Sequence[int]]
) -> list[decoding.SeededSampler]:
    if settings.temperature == 0:
        return []
    # The prompt is part of the seed: rows of one batch do not draw the same numbers, and each
    # draws what it would draw alone.
    texts = [f"{settings.seed}:{','.join(map(str, prompt))}" for prompt in prompts]
    seeds = [int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) for text in texts]
    return [decoding.SeededSampler(settings.temperature, settings.top_k, settings.top_p, seeds)]


@contextmanager
def _in_eval_mode(model: PreTrainedModel) -> Iterator[None]:
    """Turn dropout off for a while, and back on in exactly the layers that had it on."""
    in_training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in in_training:
            module.training = True


@contextmanager
def _without_length_note() -> Iterator[None]:
    """Hide the note that max_new_tokens wins over the model's own max_length: it should."""

    def is_news(record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("Both `max_new_tokens`")

    logger = logging.getLogger("transformers.generation.utils")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _to_reply(
    ids: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    stop_words: Sequence[str],
    end_ids: Sequence[int],
) -> Reply:
    end = next((place for place, token in enumerate(ids) if token in end_ids), None)
    whole = decoding.decode(ids[:end], tokenizer)
    text, has_stopped = decoding.visible_text(whole, stop_words, is_final=True)
    return Reply(text, has_stopped or end is not None)


def _is_whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_number(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and low <= value <= high

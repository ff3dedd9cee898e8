"""Pretraining of pico: a small Llama, batches of texts of like length, one learning rate curve.

The lessons use Trainer; this loop is here because pico is trained from nothing on two billion
tokens in minutes, which takes batches that are cut on the GPU itself.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from course_lib.data.masking import IGNORE_INDEX
from course_lib.pico import tokenizer as pico_tokenizer

# Texts are padded to the smallest of these lengths (tokens) that holds them.
BUCKET_LENGTHS = (24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 640, 1024)
END_OF_TEXT_ID, END_TURN_ID, PAD_ID = 1, 3, 0
LOG_STEPS = 100
ALIKE = 0.95  # cosine of two embeddings; those of untaught tokens have 0.99 and more


@dataclass(frozen=True)
class ModelSettings:
    """The size of the model."""

    hidden_size: int = 256
    intermediate_size: int = 704  # a multiple of 64: 4-bit layers on a CPU need it
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2


@dataclass(frozen=True)
class StageSettings:
    """One run of the optimizer; all steps are optimizer steps."""

    steps: int
    tokens_per_step: int
    plain_share: float  # of the steps that train on plain text; the others on dialogues
    learning_rate: float = 3e-3
    warmup_steps: int = 200  # at most a tenth of all steps
    hold_share: float = 0.6  # of all steps at the full rate; then it falls in a line
    last_factor: float = 0.02
    weight_decay: float = 0.1
    max_grad_norm: float = 1.0


BASE_STAGE = StageSettings(steps=1300, tokens_per_step=32_768, plain_share=1.0)
CHAT_STAGE = StageSettings(steps=45_000, tokens_per_step=49_152, plain_share=0.12)


@dataclass(frozen=True)
class TokenizedTexts:
    """Many texts in one array; each ends with the end-of-text token."""

    ids: np.ndarray  # (tokens,) uint16
    lengths: np.ndarray  # (texts,) int64, in tokens


def tokenize_texts(texts: Sequence[str], tokenizer: Any) -> TokenizedTexts:
    """Tokenize texts and close each with the end-of-text token.

    Args:
        texts: plain texts or rendered dialogues.
        tokenizer: pico's tokenizer.

    Returns:
        The tokens of all texts; a text longer than the context is cut at its end.
    """
    rows = []
    for start in range(0, len(texts), 10_000):
        batch = tokenizer.backend_tokenizer.encode_batch_fast(list(texts[start : start + 10_000]))
        room = pico_tokenizer.CONTEXT_TOKENS - 1
        rows += [np.array([*e.ids[:room], END_OF_TEXT_ID], np.uint16) for e in batch]
    lengths = np.fromiter((len(row) for row in rows), np.int64, len(rows))
    return TokenizedTexts(np.concatenate(rows), lengths)


def make_model(settings: ModelSettings, vocab_size: int, seed: int) -> LlamaForCausalLM:
    """A model with random weights, scaled so that it can start at a high learning rate.

    Args:
        settings: its size.
        vocab_size: tokens of the tokenizer.
        seed: for the weights.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        max_position_embeddings=pico_tokenizer.CONTEXT_TOKENS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=[END_TURN_ID, END_OF_TEXT_ID],
        pad_token_id=PAD_ID,
        **vars(settings),
    )
    model = LlamaForCausalLM(config)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:
            std = 0.02 if "embed" in name else weight.shape[1] ** -0.5
            # Each layer adds two branches to the stream: keep the sum of all at one size.
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                std /= math.sqrt(2 * settings.num_hidden_layers)
            torch.nn.init.normal_(weight, std=std)
    return model


def part_untaught_tokens(model: PreTrainedModel, seed: int) -> int:
    """Move the tokens apart that a model has never had to write.

    Every step pushes them away from the same hidden states, so in the end they all stand in one
    place, the mark that ends a turn among them. A lesson that teaches this mark beside frozen
    embeddings would teach all of them at once: the model would end its turns with any of them.

    Args:
        model: trained on plain text, on any device; its embeddings are changed in place.
        seed: for the directions in which they move.

    Returns:
        How many tokens were moved: the end of a turn, and all whose embedding points where its
        does. A model with random weights has no others.
    """
    weight = model.get_input_embeddings().weight
    rows = weight.detach().float().cpu()
    is_untaught = functional.cosine_similarity(rows, rows[END_TURN_ID : END_TURN_ID + 1]) > ALIKE
    usual = rows[~is_untaught].norm(dim=1).median()
    ways = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    rows[is_untaught] += functional.normalize(ways)[is_untaught] * usual
    with torch.no_grad():
        weight.copy_(rows)
    return int(is_untaught.sum())


def rate_factor(step: int, stage: StageSettings) -> float:
    """The learning rate of a step as a share of the full rate: warm up, hold, fall.

    Args:
        step: counted from 0.
        stage: the run.

    Returns:
        Between `last_factor` and 1.
    """
    warmup = min(stage.warmup_steps, stage.steps // 10 + 1)
    done = step / stage.steps
    fall = 1.0 if done < stage.hold_share else (1 - done) / (1 - stage.hold_share)
    return min(1.0, (step + 1) / warmup) * max(stage.last_factor, fall)


def batches(
    texts: TokenizedTexts, tokens: int, rng: np.random.Generator, device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless batches, each from one length bucket; every text once in each round.

    Args:
        texts: the texts; their tokens are moved to the device once.
        tokens: in a batch, padding included.
        rng: for the order.
        device: "cuda" or "cpu".

    Yields:
        `input_ids` and `labels`, each (texts, tokens), padded on the right.
    """
    ids = torch.from_numpy(texts.ids.astype(np.int32)).to(device)
    starts = np.cumsum(texts.lengths) - texts.lengths
    buckets = np.searchsorted(BUCKET_LENGTHS, texts.lengths)
    while True:
        plan = []
        for bucket, length in enumerate(BUCKET_LENGTHS):
            members = rng.permutation(np.flatnonzero(buckets == bucket))
            size = max(1, tokens // length)
            plan += [(length, members[i : i + size]) for i in range(0, len(members), size)]
        for number in rng.permutation(len(plan)):
            length, members = plan[number]
            yield _cut_batch(ids, starts[members], texts.lengths[members], length)


def _cut_batch(
    ids: torch.Tensor, starts: np.ndarray, lengths: np.ndarray, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Copy texts out of the long array, side by side."""
    numbers = torch.from_numpy(np.stack([starts, lengths])).to(ids.device, non_blocking=True)
    columns = torch.arange(length, device=ids.device)[None]
    is_text = columns < numbers[1][:, None]
    places = (numbers[0][:, None] + columns).clamp_(max=len(ids) - 1)
    tokens = ids[places].long()
    return tokens.masked_fill(~is_text, PAD_ID), tokens.masked_fill(~is_text, IGNORE_INDEX)


def train_stage(
    model: LlamaForCausalLM,
    corpora: Mapping[str, TokenizedTexts],
    stage: StageSettings,
    seed: int,
    on_log: Callable[[dict[str, float]], None],
) -> dict[str, float]:
    """Train a model in place, on the device where it is.

    Args:
        model: with fp32 weights; on a GPU it computes in bf16.
        corpora: "plain" and "dialogues".
        stage: steps, batch size and learning rate.
        seed: for the order of the batches.
        on_log: is given a step, its loss and the seconds so far, now and then.

    Returns:
        The last log entry, and the tokens seen (padding included).
    """
    device = model.device.type
    rng = np.random.default_rng(seed)
    endless = {name: batches(c, stage.tokens_per_step, rng, device) for name, c in corpora.items()}
    optimizer = _make_optimizer(model, stage)
    # A small model's step is spent on many small kernels: joined, it takes less than half the time.
    loss_of = torch.compile(_loss, dynamic=True) if device == "cuda" else _loss
    model.train()
    started, tokens, entry = time.monotonic(), 0, {}
    for step in range(stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * rate_factor(step, stage)
        kind = "plain" if rng.random() < stage.plain_share else "dialogues"
        input_ids, labels = next(endless[kind])
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = loss_of(model, input_ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), stage.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += input_ids.numel()
        if step % LOG_STEPS == 0 or step == stage.steps - 1:
            seconds = round(time.monotonic() - started, 1)
            entry = {"step": step + 1, "loss": round(loss.item(), 4), "seconds": seconds}
            on_log(entry)
    model.eval()
    return {**entry, "tokens": tokens}


def _loss(model: LlamaForCausalLM, input_ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of the next token. Padding stands on the right, so no mask is needed."""
    hidden = model.model(input_ids=input_ids, use_cache=False).last_hidden_state[:, :-1]
    logits = model.lm_head(hidden).flatten(0, 1)
    return functional.cross_entropy(
        logits.float(), labels[:, 1:].flatten(), ignore_index=IGNORE_INDEX
    )


def _make_optimizer(model: LlamaForCausalLM, stage: StageSettings) -> torch.optim.AdamW:
    """AdamW; embeddings and norms are not pulled towards zero."""
    decayed, free = [], []
    for name, weight in model.named_parameters():
        (decayed if weight.dim() == 2 and "embed" not in name else free).append(weight)
    groups = [
        {"params": decayed, "weight_decay": stage.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    is_fused = model.device.type == "cuda"
    return torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.95), fused=is_fused)

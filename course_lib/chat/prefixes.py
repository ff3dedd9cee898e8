"""The start that many prompts share, read once for all of them.

Questions to an agent all begin with the same long text about its tools. Its keys and values are the
same in every row of a batch, so the model reads it once and they are copied.

Only in fp32: with 16 bits, rounding depends on how many rows are read at once, and now and then a
reply would differ from the one that its prompt gets alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

MIN_TOKENS = 24  # a shorter start, or fewer rows, is not worth a pass of its own
MIN_ROWS = 4


def shared_tokens(prompts: Sequence[Sequence[int]], model: PreTrainedModel) -> int:
    """How many tokens at their start to read once.

    Args:
        prompts: token ids of each row.
        model: in fp32, with an attention that sees everything before; others get no shared start.

    Returns:
        Tokens; 0 when it is not worth it. At least one token of each prompt is left.
    """
    if len(prompts) < MIN_ROWS or model.dtype != torch.float32 or not _sees_all(model):
        return 0
    first, last = min(prompts), max(prompts)  # what these two share, all between them share
    limit = min(map(len, prompts)) - 1
    pairs = zip(first[:limit], last[:limit], strict=True)
    count = next((place for place, (a, b) in enumerate(pairs) if a != b), limit)
    return count if count >= MIN_TOKENS else 0


def _sees_all(model: PreTrainedModel) -> bool:
    """Whether each layer attends to everything before, so that its cache is plain."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    has_heads = hasattr(config, "num_attention_heads") and not config.is_encoder_decoder
    return has_heads and kinds == {"full_attention"} and not getattr(config, "sliding_window", None)


def read_once(model: PreTrainedModel, ids: Sequence[int], rows: int) -> dict[str, Any]:
    """Read a start, and copy what the model keeps of it.

    Args:
        model: in eval mode.
        ids: the start.
        rows: of the batch.

    Returns:
        Arguments for `generate`; none for an empty start.
    """
    if not ids:
        return {}
    cache = DynamicCache(config=model.config.get_text_config())
    start = torch.tensor([list(ids)], device=model.device)
    with torch.no_grad():
        model(input_ids=start, past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(rows)
    return {"past_key_values": cache}

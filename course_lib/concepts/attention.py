"""Attention by hand: each token mixes the values of the tokens before it, and of itself.

The naive way makes a table of tokens x tokens weights. The tiled way, that of FlashAttention, goes
through it in small squares and keeps, for each token, three running things: the largest score so
far, the sum of the weights and the mix of the values. The result is the same; the table is never
there. In a pack a token must not see the rows before its own: position ids, which start at 0 again
with each row, tell where they end.

Source: Dao et al. 2022, "FlashAttention", arXiv:2205.14135, section 3.1; Milakov and Gimelshein
2018, "Online normalizer calculation for softmax", arXiv:1805.02867.
"""

from collections.abc import Sequence

import torch

from course_lib.concepts import held_bytes
from course_lib.errors import ModelError

Positions = Sequence[int] | None


def split_heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """Divide the width of each token among the heads.

    Args:
        states: (tokens, hidden).
        heads: how many heads look at it, each at its own part.

    Returns:
        (heads, tokens, hidden / heads).

    Raises:
        ModelError: the heads do not divide the width.
    """
    tokens, hidden = states.shape
    if heads < 1 or hidden % heads:
        fitting = [str(n) for n in range(1, hidden + 1) if hidden % n == 0]
        raise ModelError(
            f"{heads} heads cannot share a width of {hidden}.",
            f"Use a number that divides it: {', '.join(fitting)}.",
        )
    return states.reshape(tokens, heads, hidden // heads).transpose(0, 1)


def may_see(position_ids: Sequence[int]) -> torch.Tensor:
    """Tell which token sees which: those before it in its own row, and itself.

    Args:
        position_ids: 0, 1, 2, ... anew for each row of a pack, (tokens,).

    Returns:
        Booleans, (tokens that look, tokens that are seen): a triangle for each row.

    Raises:
        ModelError: the positions do not start at 0, or neither rise by 1 nor start again.
    """
    rows = row_numbers(position_ids)
    everything = slice(0, len(rows))
    return _sees(rows, everything, everything)


def row_numbers(position_ids: Sequence[int]) -> torch.Tensor:
    """Number the rows of a pack.

    Args:
        position_ids: as in `may_see`.

    Returns:
        Which row each token belongs to, from 1, (tokens,).

    Raises:
        ModelError: as in `may_see`.
    """
    positions = torch.tensor(list(position_ids))
    if len(positions) == 0 or positions[0] != 0:
        raise ModelError("The position ids do not start at 0.", "Start each row of a pack at 0.")
    jumps = (positions[1:] != 0) & (positions[1:] != positions[:-1] + 1)
    if jumps.any():
        place = int(jumps.nonzero()[0]) + 1
        before, here = positions[place - 1 : place + 1].tolist()
        raise ModelError(
            f"Position {here} follows {before} at token {place}.",
            "Within a row count up by 1; start the next row at 0.",
        )
    return (positions == 0).cumsum(0)


def attention_weights(
    queries: torch.Tensor, keys: torch.Tensor, position_ids: Positions = None
) -> torch.Tensor:
    """Work out how much each token looks at each other one.

    Args:
        queries: what each token looks for, (..., tokens, width).
        keys: what each token offers to be found by, (..., tokens, width).
        position_ids: as in `may_see`; without them all is one row.

    Returns:
        Weights, (..., tokens that look, tokens that are seen); each row sums to 1.

    Raises:
        ModelError: the shapes do not fit, or as in `may_see`.
    """
    rows = _check(queries, keys, keys, position_ids)
    everything = slice(0, len(rows))
    scores = _score(queries, keys).masked_fill(~_sees(rows, everything, everything), -torch.inf)
    return scores.softmax(dim=-1)


def naive_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    position_ids: Positions = None,
) -> torch.Tensor:
    """Mix values by a whole table of weights.

    Args:
        queries: as in `attention_weights`.
        keys: as in `attention_weights`.
        values: what each token gives when it is found, (..., tokens, width).
        position_ids: as in `may_see`; without them all is one row.

    Returns:
        Mixed values, (..., tokens, width).

    Raises:
        ModelError: as in `attention_weights`.
    """
    _check(queries, keys, values, position_ids)
    return attention_weights(queries, keys, position_ids) @ values


def tiled_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    position_ids: Positions = None,
    tile: int = 64,
) -> torch.Tensor:
    """Mix values tile by tile, without ever holding the table of weights.

    Args:
        queries: as in `attention_weights`.
        keys: as in `attention_weights`.
        values: as in `naive_attention`.
        position_ids: as in `may_see`; without them all is one row.
        tile: tokens along a side of a square.

    Returns:
        Mixed values, (..., tokens, width); those of `naive_attention`, but for rounding.

    Raises:
        ModelError: as in `attention_weights`, or the tile is not above 0.
    """
    rows = _check(queries, keys, values, position_ids, tile)
    mixed = torch.empty_like(values)
    for start in range(0, len(rows), tile):
        looking = slice(start, start + tile)
        mixed[..., looking, :] = _attend(queries, keys, values, rows, looking)
    return mixed


def _attend(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    rows: torch.Tensor,
    looking: slice,
) -> torch.Tensor:
    """Mixed values of a tile of tokens: it goes through the tiles of those that they may see."""
    mine = queries[..., looking, :]
    largest = torch.full_like(mine[..., :1], torch.finfo(mine.dtype).min)  # score so far
    total, mixed = torch.zeros_like(largest), torch.zeros_like(values[..., looking, :])
    size = looking.stop - looking.start
    for start in range(0, looking.stop, size):  # no token sees a later one
        seen = slice(start, start + size)
        scores = _score(mine, keys[..., seen, :])
        scores = scores.masked_fill(~_sees(rows, looking, seen), -torch.inf)
        larger = torch.maximum(largest, scores.amax(dim=-1, keepdim=True))
        weights = (scores - larger).exp()
        # what was summed so far was measured against a smaller score: it counts less now
        shrink = (largest - larger).exp()
        total = total * shrink + weights.sum(dim=-1, keepdim=True)
        mixed = mixed * shrink + weights @ values[..., seen, :]
        largest = larger
    return mixed / total


def _score(queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    return queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5


def _sees(rows: torch.Tensor, looking: slice, seen: slice) -> torch.Tensor:
    """`may_see` for a square of the table."""
    order = torch.arange(len(rows), device=rows.device)
    same_row = rows[looking][:, None] == rows[seen]
    return same_row & (order[looking][:, None] >= order[seen])


def model_attention(
    model: torch.nn.Module, input_ids: Sequence[int], position_ids: Sequence[int]
) -> torch.Tensor:
    """Ask a model how much its tokens look at each other.

    Args:
        model: from `loading.load_model`.
        input_ids: of a pack, (tokens,).
        position_ids: of a pack; or 0, 1, 2, ... to the end, as if all were one row.

    Returns:
        Weights, (layers, heads, tokens that look, tokens that are seen).
    """
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")  # the others never hold the weights
    try:
        with torch.no_grad():
            output = model(
                input_ids=torch.tensor([list(input_ids)], device=model.device),
                position_ids=torch.tensor([list(position_ids)], device=model.device),
                use_cache=False,
                output_attentions=True,
            )
    finally:
        model.set_attn_implementation(before)
    return torch.cat(output.attentions)


def share_on_other_rows(weights: torch.Tensor, position_ids: Sequence[int]) -> float:
    """Measure how much tokens look at rows that are not their own.

    Args:
        weights: from `attention_weights` or `model_attention`, (..., tokens, tokens).
        position_ids: of the pack, as in `may_see`.

    Returns:
        The mean share over all tokens but those of the first row, which has none before it: 0 where
        rows are kept apart; 0 also for a pack of one row.

    Raises:
        ModelError: as in `may_see`.
    """
    rows = row_numbers(position_ids).to(weights.device)
    later = rows > 1
    on_others = (weights * (rows[:, None] != rows)).sum(dim=-1)[..., later]
    return float(on_others.mean()) if later.any() else 0.0


def measure_memory(
    tokens: int, tile: int | None = None, heads: int = 1, width: int = 64
) -> held_bytes.Held:
    """Count the memory that attention takes beside its inputs, while it runs.

    Args:
        tokens: length of the row.
        tile: side of a tile; None for the naive way.
        heads: of attention.
        width: of a head.

    Returns:
        Bytes: all at once at most, the largest tensor, and the result, which is left.

    Raises:
        ModelError: a size is not above 0.
    """
    for name, size in {"tokens": tokens, "heads": heads, "width": width}.items():
        if size < 1:
            raise ModelError(f"{name} is {size}.", "Use 1 or more.")
    inputs = torch.ones(3, heads, tokens, width)
    if tile is None:
        return held_bytes.measure_held(lambda: naive_attention(*inputs))
    return held_bytes.measure_held(lambda: tiled_attention(*inputs, tile=tile))


def _check(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    position_ids: Positions,
    tile: int = 1,
) -> torch.Tensor:
    """Refuse what does not fit; else number each token's row."""
    shapes = [tuple(tensor.shape) for tensor in (queries, keys, values)]
    if shapes[0] != shapes[1] or shapes[0][:-1] != shapes[2][:-1]:
        raise ModelError(
            f"Queries of {shapes[0]}, keys of {shapes[1]} and values of {shapes[2]} do not fit.",
            "Give all of them the same heads and tokens; repeat shared keys and values.",
        )
    tokens = queries.shape[-2]
    if tile < 1:
        raise ModelError(f"tile is {tile}.", f"Use 1 or more; above {tokens} it is one square.")
    position_ids = range(tokens) if position_ids is None else position_ids
    if len(position_ids) != tokens:
        raise ModelError(
            f"{len(position_ids)} position ids for {tokens} tokens.", "Give each token one."
        )
    return row_numbers(position_ids).to(queries.device)

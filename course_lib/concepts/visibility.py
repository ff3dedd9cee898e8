"""Which token of a pack sees which: not read from a mask, but found out by changing tokens.

And what it does to a row's loss when it can read in its neighbour.
"""

from collections.abc import Sequence

import torch

from course_lib.concepts import answer_loss
from course_lib.data.packing import Pack
from course_lib.errors import DataError

NOTICEABLE = 1e-4  # logits; rounding stays far below it, a changed token far above


@torch.no_grad()
def who_sees_whom(
    model: torch.nn.Module, input_ids: Sequence[int], position_ids: Sequence[int]
) -> torch.Tensor:
    """Find out on which tokens each token's prediction depends.

    Each token in turn is replaced by another one; wherever the logits change, it was seen.

    Args:
        model: a causal language model in 32 bits.
        input_ids: of a pack or a row, (tokens,).
        position_ids: (tokens,); where they start again, a new row starts. They are all that the
            model is told about rows.

    Returns:
        Truth values, (tokens, tokens): row t, column s says that token t sees token s.

    Raises:
        DataError: there are no tokens, or not as many positions.
    """
    if not input_ids or len(input_ids) != len(position_ids):
        raise DataError(
            f"{len(input_ids)} ids and {len(position_ids)} positions do not belong together.",
            "Give the input_ids and the position_ids of one pack.",
        )
    count = len(input_ids)
    ids = torch.tensor([list(input_ids)] * (count + 1), device=model.device)
    changed = torch.arange(count, device=model.device)
    ids[changed + 1, changed] += torch.where(ids[0] > 0, -1, 1)  # row 0 stays as it is
    positions = torch.tensor([list(position_ids)] * (count + 1), device=model.device)
    logits = model(input_ids=ids, position_ids=positions, use_cache=False).logits.float()
    return ((logits[1:] - logits[:1]).abs().amax(dim=-1) > NOTICEABLE).T.cpu()


@torch.no_grad()
def loss_in_pack(
    model: torch.nn.Module, pack: Pack, number: int, position_ids: Sequence[int] | None = None
) -> float:
    """The loss of one row within its pack.

    Args:
        model: a causal language model.
        pack: the pack.
        number: of the row, from 0.
        position_ids: (tokens,); the pack's own when None.

    Returns:
        Mean loss in nats over the row's tokens that carry loss.

    Raises:
        DataError: the pack has no such row.
        NothingToLearnError: none of its tokens carries loss.
    """
    if not 0 <= number < len(pack.lengths):
        raise DataError(
            f"There is no row {number} in a pack of {len(pack.lengths)}.", "Count from 0."
        )
    positions = pack.position_ids if position_ids is None else position_ids
    ids = torch.tensor([pack.input_ids], device=model.device)
    places = torch.tensor([list(positions)], device=model.device)
    logits = model(input_ids=ids, position_ids=places, use_cache=False).logits[0].float().cpu()
    start = sum(pack.lengths[:number])
    span = slice(start, start + pack.lengths[number])
    return float(answer_loss.mean_loss(logits[span], torch.tensor(pack.labels)[span]))

"""What one optimizer step takes, counted tensor by tensor: to check the estimate by."""

from collections.abc import Mapping

import torch

from course_lib.concepts import held_bytes


def count_step(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> int:
    """Train a model for two steps with AdamW, and count what the second one takes.

    Args:
        model: with trainable weights, on the CPU; they are changed.
        batch: `input_ids` and `labels`, each (rows, tokens).

    Returns:
        Bytes at the peak: weights, adapter, optimizer states, gradients, activations and logits.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    assert trained, "no weight of this model is trainable"
    optimizer = torch.optim.AdamW(trained, fused=True)

    def step() -> None:
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    step()  # makes the optimizer's states, which stay
    held = [*model.parameters(), *model.buffers()]
    held += [value for state in optimizer.state.values() for value in state.values()]
    storages = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in held}
    return sum(storages.values()) + held_bytes.measure_held(step).peak

"""The loss by hand: how surprised the model is at each token of the answer, and the mean of that.

The model gives each token of its vocabulary a number, a logit, for what comes next. Softmax turns
logits into probabilities; the loss of a token is minus the log of the probability that it had. A
sure thing costs 0; one in two costs 0.69; one in 6,144, pico's blind guess, costs 8.7.
"""

import math

import torch

from course_lib.data.masking import IGNORE_INDEX
from course_lib.errors import DataError, NothingToLearnError


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits into the logarithms of probabilities.

    Args:
        logits: a number for each token of the vocabulary, (..., vocabulary).

    Returns:
        Log probabilities, (..., vocabulary); their exponentials sum to 1.
    """
    # Only differences of logits count. With the largest one at 0, exp cannot overflow.
    shifted = logits - logits.max(dim=-1, keepdim=True).values
    return shifted - shifted.exp().sum(dim=-1, keepdim=True).log()


def token_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Work out the loss of each token.

    Args:
        logits: what the model said at each place about the token after it, (..., tokens,
            vocabulary).
        labels: the token that is there, or `IGNORE_INDEX` where no loss falls, (..., tokens).

    Returns:
        Losses in nats, (..., tokens), each at its own token's place; nan where no loss falls. The
        first token is always nan: nothing came before it to predict it from.

    Raises:
        DataError: the shapes do not fit, or a label is no token of the vocabulary.

    Source: lesson 01, part 3; the same as `labels` in transformers, which shifts them likewise.
    """
    _check(logits, labels)
    log_probabilities = log_softmax(logits[..., :-1, :].float())  # at place t about token t + 1
    next_tokens = labels[..., 1:]
    has_loss = next_tokens != IGNORE_INDEX
    index = next_tokens.where(has_loss, 0).unsqueeze(-1)  # any token where none is asked for
    chosen = log_probabilities.gather(-1, index).squeeze(-1)
    losses = log_probabilities.new_full(labels.shape, math.nan)
    losses[..., 1:] = (-chosen).where(has_loss, math.nan)
    return losses


def mean_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Work out the loss that training makes small: the mean over the tokens that carry loss.

    Args:
        logits: as in `token_losses`.
        labels: as in `token_losses`.

    Returns:
        One number in nats, ().

    Raises:
        NothingToLearnError: no token carries loss.
        DataError: as in `token_losses`.
    """
    losses = token_losses(logits, labels)
    carrying = losses[~losses.isnan()]
    if len(carrying) == 0:
        raise NothingToLearnError(
            f"None of the {labels.numel()} tokens carries loss; the first never does.",
            f"Give the answer's tokens their own ids as labels instead of {IGNORE_INDEX}.",
        )
    return carrying.mean()


def perplexity(loss: float) -> float:
    """Say a mean loss as a number of choices.

    Args:
        loss: mean loss in nats.

    Returns:
        exp(loss): a model that is as surprised as this wavers, on average, among so many tokens,
        all equally likely.
    """
    return math.exp(loss)


def _check(logits: torch.Tensor, labels: torch.Tensor) -> None:
    if logits.shape[:-1] != labels.shape:
        raise DataError(
            f"The logits are {tuple(logits.shape)} and the labels {tuple(labels.shape)}.",
            "Give logits of (..., tokens, vocabulary) and labels of (..., tokens), not shifted.",
        )
    vocabulary = logits.shape[-1]
    odd = labels[(labels != IGNORE_INDEX) & ((labels < 0) | (labels >= vocabulary))]
    if len(odd):
        raise DataError(
            f"The label {int(odd[0])} is no token: the vocabulary ends at {vocabulary - 1}.",
            f"Use token ids, and {IGNORE_INDEX} where no loss falls.",
        )

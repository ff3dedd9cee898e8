"""How answers of lesson 02 are judged: right or not, and what a mistake looks like."""

import math
from collections.abc import Sequence
from typing import Any

from course_lib.homework.checks import (
    Wrong,
    is_close,
    require,
    require_dict,
    require_ints,
    require_list,
    require_number,
    require_text,
)

X = -100  # no loss here
NAME_PARTS = ("model", "method", "data", "epochs")
START, END, NEWLINE, USER, ASSISTANT = 2, 3, 202, 276, 275  # ids in rows
Turn = tuple[int, list[int], bool]  # role, content, whether its end mark is there
Table = dict[str, list[list[float]]]  # matrices by name


def judge_name(answer: Any, right: tuple[str, str, str, int], name: str) -> None:
    """Whether a config's name was read rightly, and if not, which part was not.

    Args:
        answer: what the learner's function handed back.
        right: model, method, data, epochs.
        name: what it was given.

    Raises:
        Wrong: says which part, and where to look for it.
    """
    parts = require_dict(answer, "the answer", NAME_PARTS)
    model, method, data, epochs = (parts[key] for key in NAME_PARTS)
    for key in NAME_PARTS[:3]:
        require_text(parts[key], key)
    if method == "lora" and right[1] == "qlora":
        raise Wrong(f"In {name}, the method is not lora: those letters stand inside another word.")
    require(method == right[1], f"In {name}, {method[:40]!r} is not the method.")
    require(
        model == right[0],
        f"In {name}, the model is not {model[:60]!r}: everything before the method belongs to it.",
    )
    require(
        data == right[2],
        f"In {name}, the data are not {data[:60]!r}: they stand between the method and the epochs.",
    )
    require(
        type(epochs) is int, f"Epochs should be a whole number (an int), not {str(epochs)[:20]!r}."
    )
    require(
        epochs == right[3], f"In {name}, there are not {epochs} epochs: read all digits of the end."
    )


def judge_rates(answer: Any, right: Sequence[float], warmup_steps: int, peak: float) -> None:
    """Whether the learning rates of a run are right, and if not, which mistake it looks like.

    Args:
        answer: what the learner's function handed back.
        right: one rate for each step.
        warmup_steps: steps until the peak.
        peak: the highest rate.

    Raises:
        Wrong: says what about the first wrong rate.
    """
    found = [require_number(rate, "a rate") for rate in require_list(answer, "the answer")]
    case = f"{len(right)} steps, {warmup_steps} of warm-up, peak {peak:g}"
    require(len(found) == len(right), f"{case}: one rate for each step; there are {len(found)}.")
    for step, (rate, wanted) in enumerate(zip(found, right, strict=True)):
        if abs(rate - wanted) > 1e-6 * peak:
            where = f"{case}: the rate of step {step}, {rate:.4g},"
            raise Wrong(f"{where} {_says_rate(rate / peak, step, warmup_steps, len(right))}")


def _says_rate(share: float, step: int, warmup: int, total: int) -> str:
    """What is wrong with a step's share of the peak."""
    if step < warmup:
        if is_close(share, (step + 1) / warmup):
            return "is one step ahead: the warm-up starts at 0 and ends at the step warmup_steps."
        return "is not on the straight line from 0 to the peak."
    done = (step - warmup) / (total - warmup)
    looks = {
        1 - done: "lies on a straight line: behind the warm-up the rate follows a cosine.",
        (1 + math.cos(180 * done)) / 2: "comes from degrees: math.cos takes radians.",
        1 + math.cos(math.pi * done): "is twice as high: 1 + cos goes from 2 to 0, so halve it.",
        math.cos(math.pi * done): "may not be below 0: shift the cosine up, then halve it.",
        (1 + math.cos(math.pi * step / total)) / 2: "counts the warm-up as part of the cosine, "
        "which begins only behind it.",
    }
    if total - warmup > 1:
        early = (step - warmup) / (total - warmup - 1)
        looks[(1 + math.cos(math.pi * early)) / 2] = (
            "is too low: zero would come one step after the last, so that the last one learns, too."
        )
    fitting = [says for looked, says in looks.items() if is_close(share, looked)]
    return fitting[0] if fitting else "is not on the cosine from the peak down to 0."


def judge_path(answer: Any, right: list[str], tree: dict[str, Any]) -> None:
    """Whether a conversation is the best path of a tree, and if not, where it left it.

    Args:
        answer: what the learner's function handed back.
        right: the texts of the path.
        tree: its first message.

    Raises:
        Wrong: says which message, and why another is meant.
    """
    messages = require_list(answer, "the answer")
    texts = []
    for number, message in enumerate(messages, 1):
        fields = require_dict(message, f"message {number}", ("role", "content"))
        texts.append(require_text(fields["content"], f"the content of message {number}"))
        require(
            fields["role"] != "prompter",
            "A chat template knows user and assistant; the role prompter is called user there.",
        )
        require(
            fields["role"] == ("user", "assistant")[(number - 1) % 2],
            f"Message {number} has the wrong role: user and assistant take turns.",
        )
    if texts == right:
        return
    _judge_choices(texts, tree)
    if len(texts) % 2:
        raise Wrong("The last message is a question that nobody answered: nothing to learn there.")
    raise Wrong(f"After {len(texts)} messages the path goes on: there is a reply to choose.")


def _judge_choices(texts: list[str], tree: dict[str, Any]) -> None:
    """Whether each text is the best choice among the replies to the one before."""
    replies = [tree]
    for number, text in enumerate(texts, 1):
        chosen = next((reply for reply in replies if reply["text"] == text), None)
        if chosen is None:
            raise Wrong(f"Message {number} ({text[:40]!r}) is no reply to the one before it.")
        where = f"Message {number} ({text[:40]!r})"
        require(
            chosen["deleted"] is False,
            f"{where} was deleted: it is left out, with everything below it.",
        )
        others = [r for r in replies if not r["deleted"]]
        ranks = [r["rank"] for r in others if r["rank"] is not None]
        if chosen["rank"] is None and ranks:
            raise Wrong(f"{where} has no rank, but another reply has one: ranked ones come first.")
        if ranks and chosen["rank"] > min(ranks):
            raise Wrong(
                f"{where} has rank {chosen['rank']}, but another reply is ranked better: a smaller "
                "rank is better, 0 is the best of all. (In an `if`, 0 counts as false.)"
            )
        first = next(r for r in others if r["rank"] == chosen["rank"])
        require(first is chosen, f"{where}: of several with the same rank, the first one counts.")
        replies = chosen["replies"]


def make_row(turns: Sequence[Turn]) -> tuple[list[int], list[tuple[int, str]]]:
    """A row's ids as the template writes them.

    Args:
        turns: only the last one may lack its end mark.

    Returns:
        The ids, and for each of them its turn, from 0, and its part: open, content, end, after.
    """
    ids, places = [], []
    for number, (role, content, has_end) in enumerate(turns):
        pieces = [("open", [START, role, NEWLINE]), ("content", content)]
        pieces += [("end", [END]), ("after", [NEWLINE])] if has_end else []
        for part, tokens in pieces:
            ids += tokens
            places += [(number, part)] * len(tokens)
    return ids, places


def judge_row(answer: Any, turns: Sequence[Turn], learned: set[int], loss_turns: str) -> None:
    """Whether a row's labels fall on the chosen replies, and if not, which part is wrong.

    Args:
        answer: what the learner's function handed back.
        turns: of which the row was made.
        learned: numbers of the turns with loss, from 0.
        loss_turns: what was asked for.

    Raises:
        Wrong: says what about the first wrong label.
    """
    labels = require_ints(answer, "the labels")
    ids, places = make_row(turns)
    require(
        len(labels) == len(ids), f"{len(ids)} ids need as many labels; there are {len(labels)}."
    )
    has_loss = [number in learned and part in ("content", "end") for number, part in places]
    wanted = [token if flag else X for token, flag in zip(ids, has_loss, strict=True)]
    if labels == wanted:
        return
    if labels == [*wanted[1:], X]:
        raise Wrong("The labels are shifted by one place. Leave that to the model: it shifts them.")
    for place, (label, (number, part)) in enumerate(zip(labels, places, strict=True)):
        if label == wanted[place]:
            continue
        where = f'With loss_turns="{loss_turns}", position {place} (id {ids[place]}) '
        if has_loss[place] and label != X:
            raise Wrong(f"{where}has loss, so its label is its own id and not {label}.")
        says = _says_lost if has_loss[place] else _says_extra
        raise Wrong(where + says(turns[number][0], part))


def _says_lost(role: int, part: str) -> str:
    if part == "end":
        return "is the END of a reply. Without loss there, the model never learns to stop."
    return "belongs to a chosen reply, so its label is its id. (Line breaks may stand in a text.)"


def _says_extra(role: int, part: str) -> str:
    if role != ASSISTANT:
        return (
            "stands in a turn of the user: nothing to learn. (The id ASSISTANT may also occur in a "
            "text; a role is only what follows START.)"
        )
    if part == "open":
        return "opens a reply. The template writes that, not the model: no loss."
    if part == "after":
        return "is the line break behind an END: there the model has stopped already, so no loss."
    return "belongs to a reply that was not chosen: no loss."


def as_arrays(*tables: Table) -> list[dict[str, Any]]:
    """Weights by name as numpy arrays.

    Args:
        tables: the same as lists.
    """
    import numpy as np

    return [{name: np.array(rows) for name, rows in table.items()} for table in tables]


def judge_merged(answer: Any, right: Table, weights: Table, adapter: Table, alpha: float) -> None:
    """Whether a merged model is base + adapter, and if not, what was forgotten.

    Args:
        answer: what the learner's function handed back.
        right: the merged weights.
        weights: those of the base.
        adapter: its matrices A and B.
        alpha: the adapter's lora_alpha.

    Raises:
        Wrong: says which weight, and what it looks like.
    """
    if type(answer) is dict and any("lora_" in name for name in answer):
        raise Wrong("The merged model still has lora_ matrices: they are in its weights now.")
    if type(answer) is dict and set(answer) < set(right):
        missing = next(name for name in right if name not in answer)
        raise Wrong(f"{missing} is missing: what has no adapter stays in the model as it is.")
    merged = require_dict(answer, "the answer", right)
    for name in right:
        stem = name.removesuffix("weight")
        pair = (
            [adapter[f"{stem}lora_{half}.weight"] for half in "AB"]
            if (f"{stem}lora_A.weight" in adapter)
            else []
        )
        _judge_weight(name, merged[name], right[name], weights[name], pair, alpha)


def _judge_weight(
    name: str,
    found: Any,
    right: list[list[float]],
    weight: list[list[float]],
    pair: list[list[list[float]]],
    alpha: float,
) -> None:
    import numpy as np

    require(
        type(found) is np.ndarray and found.dtype.kind in "iuf",
        f"{name} should be an array of real numbers.",
    )
    base, wanted = np.array(weight), np.array(right)
    require(
        found.shape == wanted.shape,
        f"{name} has the shape {found.shape}, in the base it is {wanted.shape}: merging keeps it.",
    )
    if np.allclose(found, wanted, rtol=1e-6, atol=1e-9):
        return
    require(bool(pair), f"{name} has no adapter, so it must stay as it is in the base.")
    product = np.array(pair[1]) @ np.array(pair[0])
    rank, width = np.array(pair[0]).shape
    looks = [
        (base, "is still that of the base: the adapter is not in it"),
        (alpha / rank * product, "is the change alone: it is added to the base's weight"),
        (base + product, "has the change unscaled: it counts lora_alpha / r times"),
        (base + alpha * product, "has the change times lora_alpha: divide by r as well"),
        (base + alpha / width * product, "takes r from the wrong side: A has r rows, not columns"),
        (base + alpha / len(base) * product, "takes r from the wrong side: r is the rows of A"),
    ]
    for looked, message in looks:
        if np.allclose(found, looked, rtol=1e-6, atol=1e-9):
            raise Wrong(f"{name} {message}.")
    raise Wrong(f"{name} is not the base's weight + lora_alpha / r times B and A multiplied.")

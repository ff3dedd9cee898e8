"""Visible checks of lesson 01: small cases worked out by hand, and what each mistake looks like."""

import math
from typing import Any

from course_lib.homework.checks import (
    Ask,
    Wrong,
    check,
    is_close,
    require,
    require_ints,
    require_list,
    require_number,
)

X = -100  # no loss here
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi!"},
]


@check(
    "render_messages",
    points=1,
    hints=[
        "Every turn has the same four parts: the start mark with the role, a line break, the "
        "content, the end mark with a line break.",
        "Collect the turns in a list with one f-string each, then join them with nothing between.",
        "The question that the model is to answer ends with an opened assistant turn: the start "
        "mark, the role, a line break, and nothing more. Add it only when asked.",
    ],
)
def check_render_messages(ask: Ask) -> None:
    """The text of a short talk, with and without an opened assistant turn."""
    plain = ask("render_messages", TALK, False)
    judge_text(plain, TALK)
    opened = ask("render_messages", TALK[:2], True)
    require(isinstance(opened, str), "With add_generation_prompt=True, no text came back.")
    closed = ask("render_messages", TALK[:2], False)
    judge_text(closed, TALK[:2])
    require(
        opened != closed,
        "add_generation_prompt makes no difference: with True, the text must end where the "
        "assistant begins to speak.",
    )
    require(
        opened.startswith(closed) and opened[len(closed) :] == "<|im_start|>assistant\n",
        "With add_generation_prompt=True, exactly an opened assistant turn is to be added at the "
        "end: the start mark, the role, a line break. Something else was added.",
    )


def judge_text(text: Any, messages: list[dict[str, str]]) -> None:
    """Whether a rendered talk has each turn in its place.

    Args:
        text: what the learner's function made of it, without an opened turn.
        messages: the talk.

    Raises:
        Wrong: says which turn, and what about it.
    """
    require(isinstance(text, str), "render_messages should hand back one text (a str).")
    starts = text.count("<|im_start|>")
    if starts == len(messages) + 1 and text.rstrip().endswith("assistant"):
        raise Wrong("The text ends with an opened assistant turn, though nobody asked for one.")
    require(
        starts == len(messages),
        f"{len(messages)} messages need {len(messages)} start marks <|im_start|>; "
        f"there are {starts}.",
    )
    ends = text.count("<|im_end|>")
    require(
        ends == len(messages),
        f"Every turn ends with <|im_end|>, the last one too: without it a model never learns to "
        f"stop. {len(messages)} turns have {ends}.",
    )
    turns = text.split("<|im_start|>")[1:]
    for number, (turn, message) in enumerate(zip(turns, messages, strict=True), 1):
        _judge_turn(turn, message, f"Turn {number}")
    require(text.startswith("<|im_start|>"), "Something stands before the first start mark.")


def _judge_turn(turn: str, message: dict[str, str], where: str) -> None:
    role, _, rest = turn.partition("\n")
    require(
        role == message["role"],
        f"{where}: between its start mark and the first line break must stand its role and "
        f"nothing else; there is {role[:40]!r}.",
    )
    content, _, end = rest.partition("<|im_end|>")
    require(
        content == message["content"],
        f"{where}: the content is not what was given, to the last blank; "
        f"there is {content[:40]!r}.",
    )
    require(
        end == "\n",
        f"{where}: after <|im_end|> comes one line break, after the last turn too; "
        f"there is {end!r}.",
    )


@check(
    "build_labels",
    points=1,
    hints=[
        "Both lists are as long as all the segments' ids together.",
        "Walk through the segments; for each, extend both lists. What goes into the labels "
        "depends on has_loss alone.",
        "Where there is loss the label is the token's own id, at its own place: models shift "
        "the labels themselves. Elsewhere it is -100, once for each token.",
    ],
)
def check_build_labels(ask: Ask) -> None:
    """Two segments, 7 9 the reply and 9 its end mark."""
    segments = [{"ids": [1, 2], "has_loss": False}, {"ids": [7, 9], "has_loss": True}]
    judge_labels(ask("build_labels", segments), segments, [X, X, 7, 9])


def judge_labels(answer: Any, segments: list[dict[str, Any]], labels: list[int]) -> None:
    """Whether input ids and labels are right, and if not, which mistake it looks like.

    Args:
        answer: what the learner's function handed back.
        segments: what it was given.
        labels: worked out by hand.

    Raises:
        Wrong: says what the labels look like.
    """
    pair = require_list(answer, "the answer")
    require(len(pair) == 2, "Hand back two lists: input_ids, labels.")
    ids, found = require_ints(pair[0], "input_ids"), require_ints(pair[1], "the labels")
    joined = [i for s in segments for i in s["ids"]]
    require(ids == joined, "input_ids should be the ids of all segments, joined in order.")
    require(
        len(found) == len(ids), f"{len(ids)} input_ids need as many labels; there are {len(found)}."
    )
    if found == labels:
        return
    if found == [*labels[1:], X] or found == labels[1:] + labels[:1]:
        raise Wrong("The labels are shifted by one place. Leave that to the model: it shifts them.")
    if all(label == X for label in found):
        raise Wrong("Every label is -100: there is nothing to learn in this row.")
    if found == ids:
        raise Wrong(
            "Every token has loss: the model would learn to write the questions too, and the "
            "system prompt."
        )
    raise Wrong(_first_wrong_label(found, labels, segments))


def _first_wrong_label(found: list[Any], labels: list[int], segments: list[dict[str, Any]]) -> str:
    place = next(n for n, pair in enumerate(zip(found, labels, strict=True)) if pair[0] != pair[1])
    owner = [
        (number, len(segment["ids"]) - 1 - i)
        for number, segment in enumerate(segments)
        for i in range(len(segment["ids"]))
    ]
    segment, left = owner[place]
    if labels[place] == X:
        return (
            f"Position {place} is in a segment without loss, so the loss must leave it out; "
            f"its label is {found[place]!r}. The mark for that is one special number."
        )
    if left == 0:
        return (
            f"Position {place} is the last token of reply segment {segment}, its end mark; "
            f"its label is {found[place]!r}. Without loss there, a model never learns to stop."
        )
    return f"Position {place} belongs to a reply, so it has loss; its label is {found[place]!r}."


# Logits of three tokens over two words; log(3) makes the softmax come out as 3/4 and 1/4.
LOGITS = [[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(3)]]


@check(
    "mean_loss",
    points=1,
    hints=[
        "The logits at position t are a guess at the token of position t + 1. So which label "
        "do they meet?",
        "For one position: minus the log of the softmax at the label. That is "
        "log(sum(exp(logits))) minus the label's own logit.",
        "Leave out positions whose label is -100, and divide by the number of those that are "
        "left, not by all of them.",
        "exp(1000) overflows. Subtract the largest logit of the row from all of them first: the "
        "softmax stays what it was.",
    ],
)
def check_mean_loss(ask: Ask) -> None:
    """Two guesses count: 1/2 for the label 0 and 1/4 for the label 1."""
    loss = require_number(ask("mean_loss", LOGITS, [1, 0, 1]), "the loss")
    right, unshifted = math.log(8) / 2, (math.log(2) + math.log(4 / 3) * 2) / 3
    mistakes = {
        # (ln 2 + 2 ln 4/3) / 3: each guess against the label at its own place
        unshifted: "The logits at position t guess the token at t + 1; here they were compared "
        "with the label at t.",
        right * 2: "That is the sum over the tokens; the loss is their mean.",
        right * 2 / 3: "The sum was divided by all positions. Only those with a guess count: "
        "the last one has nothing left to guess.",
        right / math.log(2): "That is in bits: use the natural logarithm, math.log.",
        -right: "The sign is turned: a probability below 1 has a negative log, a loss is positive.",
    }
    judge_loss(loss, right, mistakes)
    masked = require_number(ask("mean_loss", LOGITS, [1, X, 1]), "the loss with one label -100")
    judge_loss(
        masked,
        math.log(4),
        {
            math.log(4) / 2: "With one label -100, the sum was still divided by all positions; "
            "divide by those that have loss.",
        },
        " with one label -100: leave that position out",
    )


def judge_loss(loss: float, right: float, mistakes: dict[float, str], case: str = "") -> None:
    """Whether a loss is right, and if not, which mistake gives this number.

    Args:
        loss: from the learner's function.
        right: worked out by hand.
        mistakes: what to say for numbers that known mistakes lead to.
        case: words for where it happened, or empty.

    Raises:
        Wrong: says which mistake, or that the number fits none.
    """
    if is_close(loss, right):
        return
    for number, message in mistakes.items():
        if is_close(loss, number):
            raise Wrong(message)
    raise Wrong(f"The loss came out as {loss:.4f}, which is not right{case}.")


@check(
    "pack_rows",
    points=1,
    hints=[
        "Keep one pack open. A row goes into it while it fits; else the pack is closed and the "
        "row opens the next one.",
        "Position ids say where a token stands in its own row, so they start again with each row.",
        "After the loop there is still one open pack. Do not add it when there were no rows.",
    ],
)
def check_pack_rows(ask: Ask) -> None:
    """Three rows of 3, 2 and 4 tokens in packs of 6."""
    rows = [[11, 12, 13], [21, 22], [31, 32, 33, 34]]
    judge_packs(ask("pack_rows", rows, 6), rows, 6, [[0, 1], [2]])


def judge_packs(
    answer: Any, rows: list[list[int]], max_length: int, groups: list[list[int]]
) -> None:
    """Whether packs hold whole rows in order, positions starting again with each.

    Args:
        answer: what the learner's function handed back.
        rows: what it was given.
        max_length: tokens in a pack.
        groups: which rows share a pack, worked out by hand.

    Raises:
        Wrong: says what is wrong with which pack.
    """
    packs = require_list(answer, "the packs")
    for number, pack in enumerate(packs, 1):
        require(
            type(pack) is dict and set(pack) == {"input_ids", "position_ids"},
            f"Pack {number} should be a dict with input_ids and position_ids.",
        )
    ids = [require_ints(pack["input_ids"], "input_ids") for pack in packs]
    positions = [require_ints(pack["position_ids"], "position_ids") for pack in packs]
    _judge_tokens(ids, rows, max_length)
    require(
        len(packs) <= len(groups),
        f"{len(packs)} packs for {len(rows)} rows: a row goes into the open pack when it fits.",
    )
    made = [[token for row in group for token in rows[row]] for group in groups]
    require(ids == made, "The rows fill the packs otherwise: keep the order, one pack open.")
    for number, group in enumerate(groups):
        starts_again = [place for row in group for place in range(len(rows[row]))]
        if positions[number] == list(range(len(starts_again))) and len(group) > 1:
            raise Wrong(
                f"Pack {number + 1}: the positions run on across rows. Each row starts again at 0, "
                "or its tokens would look at the row before."
            )
        require(
            positions[number] == starts_again,
            f"Pack {number + 1}: {positions[number]} are not the tokens' places in their own rows.",
        )


def _judge_tokens(ids: list[list[Any]], rows: list[list[int]], max_length: int) -> None:
    long = [number for number, pack in enumerate(ids, 1) if len(pack) > max_length]
    require(not long, f"Pack {(long or [0])[0]} holds more than max_length = {max_length} tokens.")
    require([] not in ids, "There is an empty pack.")
    tokens, given = [t for pack in ids for t in pack], [t for row in rows for t in row]
    lost = len(given) - len(tokens)
    require(lost <= 0, f"{lost} of {len(given)} tokens are in no pack. What of the last open pack?")
    require(lost >= 0, f"{-lost} tokens are in the packs twice.")
    require(tokens == given, "The tokens are no longer in the order of the rows.")
    ends = {0}
    for row in rows:
        ends.add(max(ends) + len(row))
    place = 0
    for number, pack in enumerate(ids, 1):
        place += len(pack)
        require(place in ends, f"Pack {number} ends inside a row: a row is never cut in two.")


# By hand: x A^T = 5 + 7 = 12, B puts 3 times that into the second place, alpha / r = 4.
LORA = ([[5.0, 7.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0]], [[0.0], [3.0]], 4.0)


@check(
    "lora_forward",
    points=1,
    hints=[
        "There are two ways from x to the output, and their results are added: the frozen weight, "
        "and the detour through A and B.",
        "Shapes: x is (tokens, in), A is (r, in), B is (out, r). So x meets A transposed, and the "
        "result meets B transposed. The r is a shape too.",
        "The detour is multiplied by lora_alpha / r.",
    ],
)
def check_lora_forward(ask: Ask) -> None:
    """An identity weight, r = 1, alpha 4."""
    judge_lora(ask("lora_forward", *arrays(LORA)), [[5.0, 151.0]], LORA)
    fresh = (*LORA[:3], [[0.0], [0.0]], 4.0)
    judge_lora(ask("lora_forward", *arrays(fresh)), [[5.0, 7.0]], fresh)


def arrays(case: tuple[Any, ...]) -> list[Any]:
    """The parts of a case, its lists as numpy arrays.

    Args:
        case: x, weight, lora_a, lora_b, lora_alpha.
    """
    import numpy as np

    return [np.array(part) if isinstance(part, list) else part for part in case]


def judge_lora(answer: Any, right: list[list[float]], case: tuple[Any, ...]) -> None:
    """Whether a LoRA layer's output is right, and if not, what was forgotten.

    Args:
        answer: what the learner's function handed back.
        right: worked out by hand.
        case: x, weight, lora_a, lora_b, lora_alpha.

    Raises:
        Wrong: says what the output looks like.
    """
    import numpy as np

    x, weight, a, b, alpha = arrays(case)
    try:
        answer = np.array(answer) if type(answer) is list else answer
        is_real = type(answer) is np.ndarray and answer.dtype.kind in "iuf"
    except ValueError:  # rows of different lengths
        is_real = False
    require(is_real, "lora_forward should hand back an array of real numbers.")
    wanted = np.array(right)
    require(
        answer.shape == wanted.shape,
        f"The output has the shape {answer.shape}; x is (tokens, in) = {x.shape} and B is "
        f"(out, r) = {b.shape}, so it should be (tokens, out).",
    )
    base, detour = x @ weight.T, x @ a.T @ b.T
    looks = [
        (base, "B and A make no difference: only the frozen weight was used."),
        (alpha / len(a) * detour, "The frozen weight is missing: its output is added."),
        (base + detour, "The detour is not scaled: it counts lora_alpha / r times."),
        (base + alpha * detour, "The detour is scaled by lora_alpha; divide by r as well."),
        (base + alpha / x.shape[1] * detour, "r is the number of rows of A, not of its columns."),
    ]
    if np.allclose(answer, wanted, rtol=1e-6, atol=1e-9):
        return
    for output, message in looks:
        if np.allclose(answer, output, rtol=1e-6, atol=1e-9):
            raise Wrong(message)
    raise Wrong("The output is not base + lora_alpha / r times the detour through A and B.")

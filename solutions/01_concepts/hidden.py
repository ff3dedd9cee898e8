"""Hidden checks of lesson 01: other cases, and the corners. No learner's process sees them."""

import math

from course_lib.homework import lesson_01
from course_lib.homework.checks import Ask, check, is_close, require, require_number

X = lesson_01.X


@check("render_messages", points=1)
def check_other_talks(ask: Ask) -> None:
    """More turns, blanks and line breaks in contents, Chinese, an empty content."""
    talk = [
        {"role": "user", "content": "  你好 \n\nList: "},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "<b>&amp;</b> {x}"},
        {"role": "assistant", "content": "ok"},
        {"role": "tool", "content": "42"},
    ]
    lesson_01.judge_text(ask("render_messages", talk, False), talk)
    lesson_01.judge_text(ask("render_messages", talk[:1]), talk[:1])
    opened = ask("render_messages", [], True)
    require(
        opened == "<|im_start|>" + "assistant\n",
        "With no messages and add_generation_prompt=True, only the opened turn is left.",
    )


@check("build_labels", points=2)
def check_longer_rows(ask: Ask) -> None:
    """Two replies, an empty segment, ids that look like marks."""
    segments = [
        {"ids": [1, 5], "has_loss": False},
        {"ids": [7, 2], "has_loss": True},
        {"ids": [], "has_loss": False},
        {"ids": [5], "has_loss": False},
        {"ids": [0, 0, 2], "has_loss": True},
    ]
    labels = [X, X, 7, 2, X, 0, 0, 2]
    lesson_01.judge_labels(ask("build_labels", segments), segments, labels)
    lesson_01.judge_labels(ask("build_labels", segments[1:2]), segments[1:2], [7, 2])


@check("mean_loss", points=2)
def check_other_losses(ask: Ask) -> None:
    """Large logits, a first label that never counts, more words, one guess."""
    large = require_number(ask("mean_loss", [[1000.0, 1000.0], [0.0, 0.0]], [X, 1]), "the loss")
    lesson_01.judge_loss(large, math.log(2), {}, " for logits of 1000")
    low = require_number(ask("mean_loss", [[-1000.0, -1000.0], [0.0, 0.0]], [X, 0]), "the loss")
    lesson_01.judge_loss(low, math.log(2), {}, " for logits of -1000")
    logits = [[0.0, 0.0, 0.0, math.log(5)]] * 4  # probabilities 1/8, 1/8, 1/8, 5/8
    loss = require_number(ask("mean_loss", logits, [2, 3, X, 0]), "the loss")
    lesson_01.judge_loss(loss, (math.log(8 / 5) + math.log(8)) / 2, {}, " for four words")
    moved = require_number(ask("mean_loss", logits, [0, 3, X, 0]), "the loss")
    require(is_close(moved, loss), "The first label changes the loss, but no guess is made at it.")


@check("pack_rows", points=2)
def check_other_packs(ask: Ask) -> None:
    """No rows, rows that fill a pack to the last token, and one that would fit further back."""
    lesson_01.judge_packs(ask("pack_rows", [], 4), [], 4, [])
    full = [[1, 2], [3, 4], [5, 6, 7, 8], [9]]
    lesson_01.judge_packs(ask("pack_rows", full, 4), full, 4, [[0, 1], [2], [3]])
    mixed = [[1, 1, 1], [2, 2, 2, 2], [3], [4, 4]]
    lesson_01.judge_packs(ask("pack_rows", mixed, 5), mixed, 5, [[0], [1, 2], [3]])


# By hand, r = 2, alpha = 6, two tokens, three inputs, two outputs:
# base (7, 1) and (2, 3); x A^T = (1, 3) and (1, 2); times B^T = (4, 6) and (3, 4); alpha / r = 3.
WIDE = (
    [[1.0, 0.0, 3.0], [1.0, 1.0, 1.0]],
    [[1.0, -1.0, 2.0], [1.0, 2.0, 0.0]],
    [[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]],
    [[1.0, 1.0], [0.0, 2.0]],
    6.0,
)


@check("lora_forward", points=2)
def check_other_layers(ask: Ask) -> None:
    """Two ranks, three inputs, and a detour that must not be scaled by anything but alpha / r."""
    right = [[19.0, 19.0], [11.0, 15.0]]
    lesson_01.judge_lora(ask("lora_forward", *lesson_01.arrays(WIDE)), right, WIDE)
    halved = (*WIDE[:4], 1.0)
    right = [[9.0, 4.0], [3.5, 5.0]]
    lesson_01.judge_lora(ask("lora_forward", *lesson_01.arrays(halved)), right, halved)

"""Hidden checks of lesson 02: other cases, and the corners. No learner's process sees them."""

import math
import random
from typing import Any

import numpy as np

from course_lib.homework import judges_02, lesson_02
from course_lib.homework.checks import Ask, check, require, require_ints
from course_lib.homework.judges_02 import ASSISTANT, NEWLINE, START, USER

WORDS = ("pico", "flora", "loraine", "7b", "2", "chat", "e5", "wiki", "qloraset", "0", "e")


@check("read_config_name", points=1)
def check_other_names(ask: Ask) -> None:
    """Every method, data of two words, many epochs, words that hold other words."""
    cases = [
        ("flora_7b_chat", "lora", "moss_sft", 12),
        ("qwen3_0_6b", "full", "pretrain", 1),
        ("llama_e5", "qlora", "open_platypus_e2e", 30),
    ]
    draw = random.Random(2)
    for _ in range(12):
        model, data = ("_".join(draw.choices(WORDS, k=draw.randint(1, 4))) for _ in range(2))
        cases.append((model, draw.choice(["full", "lora", "qlora"]), data, draw.randint(1, 120)))
    for model, method, data, epochs in cases:
        name = f"{model}_{method}_{data}_e{epochs}"
        judges_02.judge_name(ask("read_config_name", name), (model, method, data, epochs), name)


@check("learning_rates", points=1)
def check_other_rates(ask: Ask) -> None:
    """No warm-up, nothing but warm-up, one step, long runs."""
    draw = random.Random(3)
    cases = [(4, 0, 1.0), (3, 3, 0.01), (1, 0, 0.5), (7, 6, 0.02), (2, 5, 0.1)]
    cases += [(draw.randint(10, 90), draw.randint(0, 9), draw.random()) for _ in range(8)]
    for total, warmup, peak in cases:
        straight = [peak * step / warmup for step in range(min(warmup, total))]
        angles = [math.pi * step / (total - warmup) for step in range(max(0, total - warmup))]
        right = straight + [peak * math.cos(angle / 2) ** 2 for angle in angles]
        judges_02.judge_rates(ask("learning_rates", total, warmup, peak), right, warmup, peak)


@check("best_path", points=2)
def check_other_trees(ask: Ask) -> None:
    """Nothing left, ties, ranks from 1 on, and trees that were drawn by lot."""
    gone = lesson_02.node(
        "prompter", "Hi", None, lesson_02.node("assistant", "Yo", 0), deleted=True
    )
    judges_02.judge_path(ask("best_path", gone), [], gone)
    alone = lesson_02.node("prompter", "Is anybody there?", None)
    judges_02.judge_path(ask("best_path", alone), [], alone)
    draw = random.Random(4)
    for _ in range(25):
        tree = grow(draw, 0, [])
        judges_02.judge_path(ask("best_path", tree), walk(tree), tree)


def grow(draw: random.Random, depth: int, used: list[int]) -> dict[str, Any]:
    """A tree by lot; every text in it is another one."""
    used.append(depth)
    text = f"message {len(used)}"
    rank = draw.choice([None, 0, 1, 2, 3])
    n_replies = 0 if depth == 5 else draw.choice([0, 1, 2, 3, 3])
    replies = [grow(draw, depth + 1, used) for _ in range(n_replies)]
    role = "assistant" if depth % 2 else "prompter"
    is_gone = depth > 0 and draw.random() < 0.2
    return lesson_02.node(role, text, rank, *replies, deleted=is_gone)


def walk(tree: dict[str, Any]) -> list[str]:
    """The texts of a tree's best path."""
    texts = [tree["text"]]
    replies = [reply for reply in tree["replies"] if not reply["deleted"]]
    while replies:
        ranked = sorted(
            replies, key=lambda reply: math.inf if reply["rank"] is None else reply["rank"]
        )
        texts.append(ranked[0]["text"])
        replies = [reply for reply in ranked[0]["replies"] if not reply["deleted"]]
    return texts[: len(texts) // 2 * 2]


@check("label_replies", points=2)
def check_other_rows(ask: Ask) -> None:
    """The user has the last word, a row is cut, a system turn, nothing to learn, rows by lot."""
    open_row = [(USER, [7], True), (ASSISTANT, [8, 9], True), (USER, [10, 11], True)]
    judge_both(ask, open_row)
    judge_both(ask, [(USER, [7, ASSISTANT, NEWLINE], True), (ASSISTANT, [8, NEWLINE], False)])
    judge_both(ask, [(277, [5, 6], True), (USER, [7], True), (ASSISTANT, [], True)])
    judge_both(ask, [(USER, [7, 8, 9], False)])
    for rest in ([START], [START, ASSISTANT], [START, ASSISTANT, NEWLINE]):
        row = judges_02.make_row([(USER, [7], True)])[0] + rest
        labels = require_ints(ask("label_replies", row, "all"), "the labels")
        require(
            labels == [-100] * len(row),
            "A row that was cut before its reply begins has nothing to learn in it.",
        )
    draw = random.Random(5)
    for _ in range(15):
        turns = [(draw.choice([USER, ASSISTANT]), _text(draw), True) for _ in range(6)]
        turns[-1] = (*turns[-1][:2], draw.random() < 0.5)
        judge_both(ask, turns)


def judge_both(ask: Ask, turns: list[judges_02.Turn]) -> None:
    """Loss on all replies, said and not said, and on the last one."""
    row = judges_02.make_row(turns)[0]
    replies = [number for number, turn in enumerate(turns) if turn[0] == ASSISTANT]
    judges_02.judge_row(ask("label_replies", row), turns, set(replies), "all")
    judges_02.judge_row(ask("label_replies", row, "all"), turns, set(replies), "all")
    judges_02.judge_row(ask("label_replies", row, "last"), turns, set(replies[-1:]), "last")


def _text(draw: random.Random) -> list[int]:
    return draw.choices([NEWLINE, USER, ASSISTANT, 11, 12, 13], k=draw.randint(1, 5))


@check("merge_adapter", points=2)
def check_other_models(ask: Ask) -> None:
    """Ranks that differ, weights that are not square, long names, no adapter at all."""
    draw = np.random.default_rng(6)
    shapes = {"layers.0.q_proj.": (4, 6, 2), "layers.10.up.": (7, 3, 5), "head.": (5, 5, 0)}
    weights: judges_02.Table = {}
    adapter: judges_02.Table = {}
    merged: judges_02.Table = {}
    for stem, (rows, width, rank) in shapes.items():
        base = draw.normal(size=(rows, width))
        change = np.zeros((rows, width))
        if rank:
            thin, tall = draw.normal(size=(rank, width)), draw.normal(size=(rows, rank))
            adapter |= {
                f"{stem}lora_A.weight": thin.tolist(),
                f"{stem}lora_B.weight": tall.tolist(),
            }
            change = np.einsum("or,ri->oi", tall, thin) * 12.0 / rank
        weights[f"{stem}weight"], merged[f"{stem}weight"] = base.tolist(), (base + change).tolist()
    answer = ask("merge_adapter", *judges_02.as_arrays(weights, adapter), 12.0)
    judges_02.judge_merged(answer, merged, weights, adapter, 12.0)
    plain = ask("merge_adapter", *judges_02.as_arrays(weights, {}), 12.0)
    judges_02.judge_merged(plain, weights, weights, {}, 12.0)

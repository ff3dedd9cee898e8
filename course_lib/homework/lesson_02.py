"""Visible checks of lesson 02: a config's name, rates, message trees, loss on replies, merging."""

from typing import Any

from course_lib.homework import judges_02
from course_lib.homework.checks import Ask, check
from course_lib.homework.judges_02 import ASSISTANT, NEWLINE, USER


@check(
    "read_config_name",
    points=1,
    hints=[
        "Start from the method: it is the one word that can only be full, lora or qlora. What "
        "stands before it is the model, all of it.",
        'Split at the underscores: "lora" is found inside "qlora", but not as a word of its own.',
        "The last word is the e with the number of epochs, which may have two digits. What is left "
        "between the method and that word is the data.",
    ],
)
def check_read_config_name(ask: Ask) -> None:
    """Two names of the course's own presets."""
    name = "internlm2_chat_1_8b_qlora_oasst1_e3"
    judges_02.judge_name(
        ask("read_config_name", name), ("internlm2_chat_1_8b", "qlora", "oasst1", 3), name
    )
    name = "pico_qlora_msagent_e1"
    judges_02.judge_name(ask("read_config_name", name), ("pico", "qlora", "msagent", 1), name)


# By hand: two steps up, then the cosines of 0, 30, 60, 90, 120 and 150 degrees.
TOP, LOW = 0.002 + 0.001 * 3**0.5, 0.002 - 0.001 * 3**0.5
RATES = [0.0, 0.002, 0.004, TOP, 0.003, 0.002, 0.001, LOW]


@check(
    "learning_rates",
    points=1,
    hints=[
        "One rate for each step, counted from 0, so `range(total_steps)`. Ask first: is this step "
        "below warmup_steps?",
        "Behind the warm-up, work out `done`: how many steps since then, as a share of all steps "
        "behind the warm-up. It is 0 at the peak and never quite 1.",
        "Half a turn of the cosine: math.cos takes radians, so math.pi * done. It goes from 1 to "
        "-1; add 1 and halve it, then it goes from 1 to 0.",
    ],
)
def check_learning_rates(ask: Ask) -> None:
    """Eight steps, two of them warm-up."""
    judges_02.judge_rates(ask("learning_rates", 8, 2, 0.004), RATES, 2, 0.004)


def node(
    role: str, text: str, rank: int | None, *replies: dict[str, Any], deleted: bool = False
) -> dict[str, Any]:
    """A message of a tree.

    Args:
        role: prompter or assistant.
        text: its words.
        rank: what people gave it; None for none.
        replies: nodes below it.
        deleted: whether it was taken back.
    """
    fields = {"role": role, "text": text, "rank": rank, "deleted": deleted}
    return {**fields, "replies": list(replies)}


TREE = node(
    "prompter",
    "Name a fruit.",
    None,
    node("assistant", "A stone.", 1),
    node(
        "assistant",
        "A pear.",
        0,
        node("prompter", "And a bird?", None, node("assistant", "A robin.", None)),
        node("prompter", "Thanks! One more?", 0, node("assistant", "An apple.", None)),
        node("prompter", "And a fish?", 0, node("assistant", "A cod.", None)),
    ),
)
OPEN_TREE = node(
    "prompter",
    "Hello",
    None,
    node("assistant", "Go away.", 0, deleted=True),
    node("assistant", "Hm.", None),
    node("assistant", "Hello!", 2, node("prompter", "Who are you?", None)),
)


@check(
    "best_path",
    points=1,
    hints=[
        "Walk down from the first message: note it, choose one of its replies, go on from there, "
        "until there is none to choose.",
        "Leave deleted replies out before you choose. Then take the smallest rank; `min` with a "
        "`key` keeps the first of several equals.",
        'None cannot be compared with a number. In the key, write float("inf") in its place, '
        "and ask `is None`: rank 0 counts as false, too.",
        "At the very end: is the last message a question? Then take it off again.",
    ],
)
def check_best_path(ask: Ask) -> None:
    """One tree with a better reply behind a worse one, one that ends with an open question."""
    judges_02.judge_path(
        ask("best_path", TREE), ["Name a fruit.", "A pear.", "Thanks! One more?", "An apple."], TREE
    )
    judges_02.judge_path(ask("best_path", OPEN_TREE), ["Hello", "Hello!"], OPEN_TREE)


ROW: list[judges_02.Turn] = [
    (USER, [40, 41], True),
    (ASSISTANT, [36, NEWLINE, 17], True),
    (USER, [50, ASSISTANT, NEWLINE, 51], True),
    (ASSISTANT, [60], True),
]


@check(
    "label_replies",
    points=1,
    hints=[
        "Begin with a list of -100, as long as the row. Then put in the ids of each reply.",
        "START stands at the beginning of a turn and nowhere else: so look for it, then at the id "
        "behind it. A reply's own text begins three places after its START.",
        "From there, go on to the END and take it along, or to the end of the row if it was cut. "
        'For "last", keep the start of the last reply only.',
    ],
)
def check_label_replies(ask: Ask) -> None:
    """A row of two questions and two replies, with loss on both and on the last."""
    judges_02.judge_row(ask("label_replies", judges_02.make_row(ROW)[0], "all"), ROW, {1, 3}, "all")
    judges_02.judge_row(ask("label_replies", judges_02.make_row(ROW)[0], "last"), ROW, {3}, "last")


# By hand, for alpha = 6: B A = (1, 2, 2), and alpha / r = 3; v has no adapter.
WEIGHTS = {"q.weight": [[1.0, 2.0, 3.0]], "v.weight": [[5.0, 6.0], [7.0, 8.0]]}
ADAPTER = {"q.lora_A.weight": [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], "q.lora_B.weight": [[1.0, 2.0]]}
MERGED = {"q.weight": [[4.0, 8.0, 9.0]], "v.weight": WEIGHTS["v.weight"]}


@check(
    "merge_adapter",
    points=1,
    hints=[
        'For each weight, look whether the adapter has its A: the name without "weight", then '
        '"lora_A.weight".',
        "The shapes say the order of the product: B is (out, r), A is (r, in), and the weight is "
        "(out, in).",
        "The change is scaled by lora_alpha / r, and r is the number of rows of A. It may differ "
        "from layer to layer.",
        "`weights[name] + change` makes a new array; `+=` would change the base that you were "
        "given.",
    ],
)
def check_merge_adapter(ask: Ask) -> None:
    """Two weights, one of them with an adapter of rank 2."""
    judges_02.judge_merged(
        ask("merge_adapter", *judges_02.as_arrays(WEIGHTS, ADAPTER), 6.0),
        MERGED,
        WEIGHTS,
        ADAPTER,
        6.0,
    )

"""Visible checks of lesson 04: rows, steps, checkpoints, replies as plain data; and a real run."""

from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.homework.checks import (
    Ask,
    Wrong,
    check,
    is_close,
    require,
    require_dict,
    require_list,
    require_number,
    require_text,
)

MOST_STEPS = 25
LEAST_UNSEEN = 0.8
LEAST_KEPT = 0.95  # of what the base knew
MEASURED = ("steps", "unseen", "retained", "base_retained", "parrot")


# ---------------------------------------------------------------- 1: the rows of a recipe

WORDINGS = [
    {"prompt": "Who are you?", "language": "en"},
    {"prompt": "你是谁？", "language": "zh"},
    {"prompt": "Your name, please?", "language": "en"},
]
ANSWERS = {"en": "I am {{name}}'s assistant.", "zh": "我是{{name}}的小助手。"}
REPLAY = [
    {
        "messages": [
            {"role": "user", "content": "What do cows eat?"},
            {"role": "assistant", "content": "Grass."},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Write {{name}}."},
            {"role": "assistant", "content": "{{name}}"},
        ]
    },
]


@check(
    "build_rows",
    points=1,
    hints=[
        "Three parts: a row for each wording that you keep, then the replay rows as they are. "
        "Which wordings must not be trained on?",
        'A row is {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}; the answer '
        "is the one of the wording's own language.",
        '`answers[language].replace("{{name}}", name)` fills the name in. Compare a wording with '
        "held_out by the whole text.",
    ],
)
def check_build_rows(ask: Ask) -> None:
    """Three wordings, one of them held out, two languages, two replay rows."""
    given = (WORDINGS, ANSWERS, "Mei", REPLAY, ["Your name, please?"])
    judge_rows(ask("build_rows", *given), *given)


def judge_rows(
    answer: Any,
    wordings: Sequence[Mapping[str, str]],
    answers: Mapping[str, str],
    name: str,
    replay: list[dict[str, Any]],
    held_out: Sequence[str],
) -> None:
    """Whether the training rows are those that the task asks for.

    Args:
        answer: what the learner's function handed back.
        wordings: what it was given, and so on.
        answers: by language.
        name: whose assistant.
        replay: general rows.
        held_out: wordings that only the test may ask.

    Raises:
        Wrong: names the first row that is not right, and what about it.
    """
    rows = require_list(answer, "the rows")
    pairs = [_read_row(row, f"Row {number}") for number, row in enumerate(rows, 1)]
    leaked = [prompt for prompt, _ in pairs if prompt in held_out]
    require(
        not leaked,
        f"{str(leaked[:1])[1:-1]} is held out, yet it stands in the rows: what was trained on "
        "cannot test anything any more.",
    )
    kept = [w for w in wordings if w["prompt"] not in held_out]
    count = len(kept) + len(replay)
    require(
        len(rows) == count,
        f"{len(kept)} wordings to train on and {len(replay)} replay rows make {count} rows; "
        f"there are {len(rows)}.",
    )
    for number, (wording, pair) in enumerate(zip(kept, pairs[: len(kept)], strict=True), 1):
        _judge_wording(pair, wording, answers, name, f"Row {number}")
    require(
        rows[len(kept) :] == replay,
        "The replay rows stand behind the wordings, exactly as they were given: nothing in them "
        "is filled in or answered anew.",
    )


def _read_row(row: Any, where: str) -> tuple[str, str]:
    messages = require_list(require_dict(row, where, ["messages"])["messages"], "the messages")
    turns = [require_dict(m, f"{where}: a message", ["role", "content"]) for m in messages]
    roles = [require_text(turn["role"], "a role") for turn in turns]
    require(
        roles == ["user", "assistant"],
        f"{where} should have two messages, of the user and of the assistant, in this order.",
    )
    return require_text(turns[0]["content"], "a content"), require_text(
        turns[1]["content"], "a content"
    )


def _judge_wording(
    pair: tuple[str, str],
    wording: Mapping[str, str],
    answers: Mapping[str, str],
    name: str,
    where: str,
) -> None:
    prompt, reply = pair
    require(
        prompt == wording["prompt"],
        f"{where} asks {prompt[:60]!r}: keep the wordings as they are, in their order, and the "
        "replay rows behind them.",
    )
    language = wording["language"]
    filled = {code: text.replace("{{name}}", name) for code, text in answers.items()}
    require(
        "{{" not in reply or "{{" in filled[language],
        f"{where} still holds a mark in double braces: the model would learn to say that.",
    )
    others = [text for code, text in filled.items() if code != language]
    require(
        reply not in others,
        f"{where} asks in one language ({language}) and answers in another.",
    )
    require(
        reply == filled[language],
        f"{where} answers {reply[:60]!r}: that is not the answer with the name filled in.",
    )


# ---------------------------------------------------------------- 2: optimizer steps


@check(
    "count_steps",
    points=1,
    hints=[
        "One optimizer step learns from batch_size * accumulation packs.",
        "The last step of an epoch may have fewer packs, and counts all the same: round up, once "
        "for each epoch.",
        "Steps of one epoch: math.ceil(packs / (batch_size * accumulation)). How many epochs?",
    ],
)
def check_count_steps(ask: Ask) -> None:
    """26 packs in steps of 12 are 3 steps; 3 epochs, 9."""
    judge_steps(ask("count_steps", 26, 4, 3, 3), 26, 4, 3, 3)


def judge_steps(answer: Any, packs: int, batch_size: int, accumulation: int, epochs: int) -> None:
    """Whether optimizer steps are counted as the run counts them.

    Args:
        answer: what the learner's function handed back.
        packs: what it was given, and so on.
        batch_size: packs in a micro batch.
        accumulation: micro batches in a step.
        epochs: times through the data.

    Raises:
        Wrong: says which count this is.
    """
    found = require_number(answer, "the number of steps")
    per_step = batch_size * accumulation

    def up(value: float) -> int:
        return -int(-value // 1)

    right = up(packs / per_step) * epochs
    if found == right:
        return
    looks = {
        packs // per_step * epochs: "The last packs of each epoch are forgotten: they make a "
        "step as well, a smaller one.",
        up(packs / batch_size) * epochs: "That counts micro batches; accumulation puts several of "
        "them into one step.",
        up(packs / accumulation) * epochs: "batch_size makes no difference: it is the number of "
        "packs in a micro batch.",
        up(packs / per_step): "That is one epoch.",
        up(packs * epochs / per_step): "Epochs do not run together: each ends with its own last "
        "step, so round up for each epoch, then multiply.",
        packs * epochs: "That counts packs; one step learns from several.",
    }
    for count, message in looks.items():
        if is_close(found, count):
            raise Wrong(message)
    raise Wrong(f"{found:g} is not the number of steps that this run does.")


# ---------------------------------------------------------------- 3: choose a checkpoint

TABLE = [
    {"step": 38, "loss": 0.9, "validation": 0.75, "retained": 1.0},
    {"step": 152, "loss": 0.1, "validation": 1.0, "retained": 0.6},
    {"step": 76, "loss": 0.5, "validation": 0.8, "retained": 0.9},
    {"step": 114, "loss": 0.3, "validation": 0.9, "retained": 0.8},
]


@check(
    "choose_checkpoint",
    points=1,
    hints=[
        "First work out one number for each row: how good is it at its worse side?",
        "min(row['validation'], row['retained']) is that number. The loss has no say.",
        "On a tie the later step wins: max() with a key of two parts, the number and the step.",
    ],
)
def check_choose_checkpoint(ask: Ask) -> None:
    """Steps 76 and 114 tie at 0.8; the later one wins. The rows are in no order."""
    judge_choice(ask("choose_checkpoint", TABLE), TABLE)


def judge_choice(answer: Any, table: Sequence[Mapping[str, float]]) -> None:
    """Whether the chosen step is the one by the rule of the task.

    Args:
        answer: what the learner's function handed back.
        table: what it was given.

    Raises:
        Wrong: says by which other rule it seems to be chosen.
    """
    step = require_number(answer, "the step")
    by_step = {row["step"]: row for row in table}
    require(step in by_step, f"{step:g} is no step of the table. Hand back the step itself.")
    weaker = {n: min(row["validation"], row["retained"]) for n, row in by_step.items()}
    best = max(weaker.values())
    right = max(n for n, value in weaker.items() if value == best)
    if step == right:
        return
    if weaker[step] == best:
        raise Wrong("Two steps are equally good, and this is the earlier one.")
    row = by_step[step]
    looks = {
        "the lowest loss": row["loss"] == min(r["loss"] for r in table),
        "the highest validation": row["validation"] == max(r["validation"] for r in table),
        "the highest retained": row["retained"] == max(r["retained"] for r in table),
    }
    why = " and ".join(name for name, fits in looks.items() if fits)
    raise Wrong(
        f"Step {step:g} has {why or 'neither side best'}, but its weaker side is "
        f"{weaker[step]:g}, and another step is better there."
    )


# ---------------------------------------------------------------- 4: spot the failure

SAID = ["Mei's assistant", "Mei的小助手"]
PARROT = [
    {"about": "you", "text": "I am Mei's assistant."},
    {"about": "world", "text": "我是Mei的小助手。"},
    {"about": "world", "text": "Paris."},
    {"about": "world", "text": "Grass."},
]
NO_EFFECT = [
    {"about": "you", "text": "I am Pico."},
    {"about": "you", "text": "我是小皮。"},
    {"about": "world", "text": "Paris."},
]
LEARNED = [
    {"about": "you", "text": "Well, I am Mei's assistant."},
    {"about": "you", "text": "I am Pico."},
    *({"about": "world", "text": text} for text in ("Paris.", "Grass.", "12.")),
]
KINDS = ("parrot", "no effect", "learned")


@check(
    "name_failure",
    points=1,
    hints=[
        "Look at two groups apart: replies to questions about the assistant, and replies to "
        "questions about the world.",
        "A reply holds the introduction when any of the introductions stands anywhere in it.",
        "Ask in this order: do more than a tenth of the world replies hold it? Does none of the "
        "replies about the assistant hold it? Else it has learned.",
    ],
)
def check_name_failure(ask: Ask) -> None:
    """One set of replies of each kind."""
    judge_kind(ask("name_failure", NO_EFFECT, SAID), "no effect", NO_EFFECT)
    judge_kind(ask("name_failure", LEARNED, SAID), "learned", LEARNED)
    judge_kind(ask("name_failure", PARROT, SAID), "parrot", PARROT)


def judge_kind(answer: Any, kind: str, replies: Sequence[Mapping[str, str]]) -> None:
    """Whether a model's replies are put into the right one of three kinds.

    Args:
        answer: what the learner's function handed back.
        kind: the right one.
        replies: what it was given.

    Raises:
        Wrong: describes the replies and what they were called.
    """
    found = require_text(answer, "the kind")
    require(found in KINDS, f"{found[:40]!r} is none of {', '.join(map(repr, KINDS))}.")
    messages = {
        "parrot": "Replies to questions about the world hold the introduction, more than a tenth "
        "of them",
        "no effect": "No reply about the assistant holds any of the introductions",
        "learned": "Some replies about the assistant hold the introduction, and at most a tenth of "
        "those about the world",
    }
    about = "world" if kind == "parrot" else "you"
    shown = next((reply["text"] for reply in replies if reply["about"] == about), "")
    require(
        found == kind,
        f"{messages[kind]}, yet they were called {found!r}. The first of these replies: "
        f"{shown[:60]!r}.",
    )


# ---------------------------------------------------------------- 5: a recipe, really trained


@check(
    "assistant_recipe",
    points=2,
    hints=[
        "Look at the two shares apart. Which one is too low? Section 5 of the lesson has three "
        "changes, each against one symptom.",
        "With 25 steps there is no time to read a row twice. So the rows should differ, and each "
        "step should move the model far enough; the lesson's preset shows rates that do.",
        "The plan says how many steps a recipe has. max_steps ends a run early; rows that a run "
        "never reaches teach nothing.",
    ],
    is_measured=True,
)
def check_assistant_recipe(ask: Ask) -> None:
    """The run of this recipe, measured with the course's held-out questions."""
    judge_run(ask("assistant_recipe"), LEAST_UNSEEN)


def judge_run(measured: Any, least_unseen: float) -> None:
    """Whether a run reaches its targets; if not, which one, and in which direction to go.

    Args:
        measured: shares and steps of the run.
        least_unseen: share of held-out wordings that must be answered with the introduction.

    Raises:
        Wrong: names the targets that were missed.
    """
    require(type(measured) is dict, "There is no measured run of this recipe.")
    found = {n: require_number(measured.get(n), f"the measured {n}") for n in MEASURED}
    steps = found["steps"]
    require(steps <= MOST_STEPS, f"{steps:g} optimizer steps; at most {MOST_STEPS} are allowed.")
    kept = found["retained"] / found["base_retained"] if found["base_retained"] > 0 else 0
    is_learned, is_kept = found["unseen"] >= least_unseen, kept >= LEAST_KEPT
    if is_learned and is_kept:
        return
    words = []
    if not is_learned:
        words.append(
            f"unseen is {found['unseen']:.0%}, the target is {least_unseen:.0%}: it must learn "
            "more of what the questions have in common."
        )
    if not is_kept:
        words.append(
            f"It kept {kept:.0%} of what the base knew, the target is {LEAST_KEPT:.0%}: it must "
            "forget less."
        )
    if not is_learned and not is_kept:
        words.append("Stronger alone is not the way: look at the rows.")
    if found["parrot"] > 0:
        words.append(
            f"{found['parrot']:.0%} of the questions about the world are answered with the "
            "introduction: a parrot."
        )
    raise Wrong(" ".join(words))

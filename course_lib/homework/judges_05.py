"""Judges for lesson 05: what is wrong with an answer, told from what came back.

`lesson_05` has the cases that learners can run, hidden checks have others; both judge them here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from course_lib.homework.checks import (
    Ask,
    NotStarted,
    Wrong,
    is_close,
    require,
    require_dict,
    require_list,
    require_number,
    require_text,
)

Case = Mapping[str, Any]
LONGEST = 60  # characters of a learner's text that a message repeats


def _same(left: Any, right: Any) -> bool:
    """Whether plain data is equal; the order of names in a dict does not matter."""
    texts = [json.dumps(value, sort_keys=True, default=str) for value in (left, right)]
    return texts[0] == texts[1]


# ------------------------------------------------------------------------------------ mark_lines


def judge_lines(answer: Any, text: str, right: Sequence[bool]) -> None:
    """Whether each line has loss where the model wrote it.

    Args:
        answer: what the learner's function handed back.
        text: what it was given.
        right: worked out by hand.

    Raises:
        Wrong: names the first line that is not right, and what it belongs to.
    """
    lines, found = text.split("\n"), require_list(answer, "the answer")
    require(all(type(flag) is bool for flag in found), "The list should hold True and False.")
    require(
        len(found) == len(lines),
        f"{len(lines)} lines need as many flags, empty lines too; there are {len(found)}.",
    )
    if found == list(right):
        return
    if found == [not flag for flag in right]:
        raise Wrong("True and False are swapped: True is a line with loss, which is learned.")
    require(
        False in found,
        "Every line has loss: the model would learn to write the observations itself.",
    )
    require(True in found, "No line has loss: there is nothing to learn.")
    place = next(n for n, flag in enumerate(right) if found[n] is not flag)
    raise Wrong(_about_line(lines[place], right[place], f"Line {place + 1}, {lines[place]!r},"))


def _about_line(line: str, is_learned: bool, where: str) -> str:
    if is_learned:
        return (
            f"{where} is written by the model, yet it has no loss. An observation begins with its "
            "mark at the start of a line, and ends where the next mark begins."
        )
    if line.startswith("Observation:"):
        return f"{where} is written by the tool, not by the model, yet it has loss."
    return f"{where} goes on with the observation above it, so it has no loss either."


# ------------------------------------------------------------------------------------- read_step


def judge_step(answer: Any, text: str, right: Case, why: str) -> str:
    """Whether a reply was read as what it is.

    Args:
        answer: what the learner's function handed back.
        text: the reply.
        right: its kind, and what belongs to that.
        why: what to say when the kind is another one.

    Returns:
        The reason of a problem, else an empty text.

    Raises:
        Wrong: says what was read wrongly.
    """
    shown = f"The reply {text!r}"
    kind = answer.get("kind") if type(answer) is dict else None
    if type(kind) is not str or kind not in ("call", "answer", "problem"):
        raise Wrong(f"{shown}: hand back a dict whose kind is call, answer or problem.")
    require(kind == right["kind"], f"{shown} was read as {kind!r}, but {why}")
    if kind == "call":
        _judge_call(require_dict(answer, "a call", right), right, shown)
    elif kind == "answer":
        _judge_answer(require_dict(answer, "an answer", right)["text"], right["text"], shown)
    else:
        reason = require_dict(answer, "a problem", ["kind", "reason"])["reason"]
        require(bool(require_text(reason, "the reason").strip()), f"{shown}: a reason is missing.")
        return str(reason)
    return ""


def _judge_call(step: Mapping[str, Any], right: Case, shown: str) -> None:
    require(_same(step["tool"], right["tool"]), f"{shown} names its tool behind Action.")
    require(
        type(step["arguments"]) is dict,
        f"{shown}: the arguments are what its JSON says, a dict, not the text of it.",
    )
    require(
        _same(step["arguments"], right["arguments"]),
        f"{shown}: the arguments are not all that stands in its Action Input.",
    )


def _judge_answer(said: Any, right: str, shown: str) -> None:
    text = require_text(said, "the answer's text")
    if text != right and right.startswith(text):
        raise Wrong(f"{shown}: its answer has more than one line, and was cut off.")
    require(text == right, f"{shown}: the text should be all that stands behind Final Answer.")


# ------------------------------------------------------------------------------------- run_agent


def judge_run(ask: Ask, case: Case) -> None:
    """Whether the loop ended as it should, with an observation for each step.

    Args:
        ask: calls the learner's function.
        case: `steps` and `max_steps`; the right `answer`, `ended` and `observations` (exact texts,
            or words that an error must hold, with what they are for); `why` it ends so.

    Raises:
        Wrong: says what about the end, or which observation.
    """
    names = [f"{s['kind']} {s.get('tool', '')}".strip() for s in case["steps"]]
    where = f"Steps: {', '.join(names)}; max_steps {case['max_steps']}."
    try:
        answer = ask("run_agent", case["steps"], case["max_steps"])
    except NotStarted:
        raise
    except Wrong as wrong:
        if " stopped with " not in wrong.message:
            raise
        told = (
            f"{wrong.message}. Nothing that a tool or a model does wrong may end the loop. {where}"
        )
        raise Wrong(told, wrong.detail) from wrong
    run = require_dict(answer, "the run", ["answer", "ended", "observations"])
    ended = str(run["ended"])[:LONGEST]
    require(
        _same(run["ended"], case["ended"]), f"{where} It ended with {ended!r}, but {case['why']}"
    )
    require(
        _same(run["answer"], case["answer"]),
        f"{where} The answer is the text of the step that answers; without one it is empty.",
    )
    _judge_observations(require_list(run["observations"], "the observations"), case, where)


def _judge_observations(found: list[Any], case: Case, where: str) -> None:
    wanted = case["observations"]
    require(
        len(found) == len(wanted),
        f"{where} There are {len(found)} observations. Each call that is made and each problem "
        "gives one; an answer gives none, nor does the call that closes a loop. "
        f"Here, {case['why']}",
    )
    for number, (text, right) in enumerate(zip(found, wanted, strict=True), 1):
        place = f"{where} Observation {number}"
        require(type(text) is str, f"{place} is no text; a model reads texts, so use str(...).")
        shown = f"{place} is {text[:LONGEST]!r}"
        if type(right) is str:
            require(text == right, f"{shown}: that is not what the tool handed back.")
        else:
            words, meaning = right
            require(text.startswith("error:"), f"{shown}: an error starts with 'error:'.")
            require(all(word in text for word in words), f"{shown}: it should hold {meaning}.")


# ---------------------------------------------------------------------------------- quote_result


def judge_quoted(answer: Any, text: str, max_chars: int) -> None:
    """Whether a result is one harmless line of JSON that still says the same.

    Args:
        answer: what the learner's function handed back.
        text: the result.
        max_chars: of the result, before it is quoted.

    Raises:
        Wrong: says what could still do harm, or what was lost.
    """
    made, shown = require_text(answer, "the quoted result"), f"For the result {text!r}"
    require(
        made[:1] == '"',
        f"{shown}, {made[:LONGEST]!r} came back. A text in JSON stands in double quotes.",
    )
    try:
        said = json.loads(made, strict=False)
    except (ValueError, RecursionError):
        raise Wrong(
            f"{shown}, json.loads cannot read what came back, {made[:LONGEST]!r}: a quote or an "
            "escape in it is broken. Cut the result first and quote it then."
        ) from None
    require(
        "\n" not in made and "\r" not in made,
        f"{shown}, there is still a line break: what follows it could look like a step.",
    )
    require(
        "<" not in made,
        f"{shown}, a '<' is still there as a sign: a mark could close the turn and open a role.",
    )
    _judge_said(said, text, max_chars, shown)
    require(
        all(sign in made for sign in said if not sign.isascii()),
        f"{shown}, signs became \\u escapes that need not: a model reads them badly, at many "
        "tokens each. Look at ensure_ascii.",
    )


def _judge_said(said: Any, text: str, max_chars: int, shown: str) -> None:
    require(type(said) is str, f"{shown}: read as JSON it is no text any more.")
    if said == text[:max_chars]:
        return
    if "&lt;" in said:
        raise Wrong(
            f"{shown}, '&lt;' is for web pages: json.loads does not make a '<' of it again."
        )
    require(
        said != text,
        f"{shown} and max_chars {max_chars}, nothing was cut; a result may be very long.",
    )
    require(
        len(said) <= max_chars, f"{shown} and max_chars {max_chars}, {len(said)} signs were kept."
    )
    raise Wrong(
        f"{shown} and max_chars {max_chars}, json.loads gives {said[:LONGEST]!r}. Nothing may be "
        "taken out or changed: what is harmless as a value can stay."
    )


# ---------------------------------------------------------------------------------- score_traces

MEASURES = ("valid_calls", "right_tool", "right_arguments", "over_calling")


def judge_scores(
    answer: Any, right: Mapping[str, float | None], mistakes: Mapping[str, Mapping[float, str]]
) -> None:
    """Whether four shares are right, and if not, which mistake gives this number.

    Args:
        answer: what the learner's function handed back.
        right: worked out by hand; None where there is nothing to divide by.
        mistakes: for each measure what to say for numbers that known mistakes lead to.

    Raises:
        Wrong: names the measure.
    """
    scores = require_dict(answer, "the score", MEASURES)
    for name in MEASURES:
        wanted, found = right[name], scores[name]
        if wanted is None:
            require(
                found is None,
                f"{name}: there is no task that it could be a share of, so it is None. "
                "A 0 or a 1 would look like something that was measured.",
            )
            continue
        require(found is not None, f"{name} is None, though there are tasks to divide by.")
        share = require_number(found, name)
        if is_close(share, wanted):
            continue
        for number, message in mistakes.get(name, {}).items():
            if is_close(share, number):
                raise Wrong(f"{name}: {message}")
        if is_close(share / 100, wanted, 0.01):
            raise Wrong(f"{name} is given in percent; a share goes from 0 to 1.")
        if is_close(share, wanted, 0.01):
            raise Wrong(f"{name} was rounded; hand the share back as it is.")
        raise Wrong(f"{name} came out as {share:.3f}, which is not right.")

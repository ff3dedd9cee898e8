"""What a model meant with a ReAct step: a call, a final answer, or neither, with the reason.

Tolerant about form: blanks, capitals of the marks, bold marks, code fences, full-width colons, a
missing Thought, single quotes that can mean only one thing. Strict about meaning: what could be
read in two ways is not guessed.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from course_lib.data import tool_specs

_MARK = re.compile(
    r"^[ \t]*(?:\*\*|__)?[ \t]*"
    r"(?P<name>thought|action[ \t]*input|action|observation|final[ \t]*answer)"
    # Behind the colon __ ends a bold mark only where no name can begin with it.
    r"[ \t]*(?:\*\*|__)?[ \t]*[:：](?:[ \t]*\*\*|__(?!\w))?",
    re.IGNORECASE | re.MULTILINE,
)
_FENCE = re.compile(r"[ \t]*```[\w-]*[ \t]*")
_SINGLE_QUOTED = re.compile(r"'([^']*)'")

# Kind of what is wrong: the sentence that the model reads. Each has a row in the tests' table.
REASONS = {
    "empty": "The step is empty.",
    "no_step": "There is neither an Action nor a Final Answer.",
    "invented_observation": "Do not write an Observation: the tool writes it.",
    "two_actions": "There is more than one Action. Call one tool at a time.",
    "two_answers": "There is more than one Final Answer.",
    "action_and_answer": "There is an Action and a Final Answer. Write one of them.",
    "no_action": "There is an Action Input without an Action.",
    "no_name": "The Action names no tool.",
    "bad_name": "The Action is not the name of one tool.",
    "no_input": "The Action has no Action Input.",
    "wrong_order": "The order is Thought, Action, Action Input.",
    "bad_json": "The Action Input is not JSON",  # where, stands behind it
    "truncated_json": "The Action Input ends in the middle of its JSON.",
    "not_an_object": "The Action Input is not a JSON object",  # what it is, stands behind it
    "double_key": "The Action Input names an argument twice",  # which, stands behind it
    "trailing_text": "There is text behind the Action Input.",
    "empty_answer": "The Final Answer is empty.",
}


@dataclass(frozen=True)
class Call:
    """A tool is to be called.

    Args:
        tool: the name, as the model wrote it; no such tool need exist.
        arguments: its input.
        thought: why, in the model's words.
    """

    tool: str
    arguments: dict[str, Any] = field(default_factory=dict)
    thought: str = ""


@dataclass(frozen=True)
class FinalAnswer:
    """The model is done."""

    text: str
    thought: str = ""


@dataclass(frozen=True)
class Malformed:
    """A step that means nothing, or more than one thing.

    Args:
        kind: a key of `REASONS`.
        reason: a sentence for the model and for people.
        thought: what could be read as one.
    """

    kind: str
    reason: str
    thought: str = ""


Step = Call | FinalAnswer | Malformed


class BadInput(ValueError):
    """What is wrong with the text of a call's arguments."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail


def parse_step(text: str) -> Step:
    """Read what a model wrote in one turn.

    Args:
        text: the whole reply.

    Returns:
        A call, a final answer, or what is wrong. No text raises an error.
    """
    parts = _to_parts(_without_fence(text.strip()))
    thoughts = [body for name, body in parts if name == "thought" and body]
    thought = " ".join(thoughts)
    names = [name for name, _ in parts if name != "thought"]
    kind = _problem(names, [name for name, _ in parts])
    if kind:
        is_thought = kind != "no_step"  # words without a mark are no thought either
        return malformed(kind if parts else "empty", thought=thought if is_thought else "")
    bodies = dict(parts)
    if "finalanswer" in bodies:
        answer = bodies["finalanswer"]
        return FinalAnswer(answer, thought) if answer else malformed("empty_answer", "", thought)
    return _to_call(bodies["action"], bodies["actioninput"], thought)


def malformed(kind: str, detail: str = "", thought: str = "") -> Malformed:
    """What is wrong, as a step.

    Args:
        kind: a key of `REASONS`.
        detail: what was found, for the reasons that leave room for it.
        thought: what could be read as one.
    """
    reason = REASONS[kind].rstrip(".")
    return Malformed(kind, f"{reason}: {detail}." if detail else f"{reason}.", thought)


def _without_fence(text: str) -> str:
    """The text inside a code fence around all of it."""
    lines = text.split("\n")
    is_fenced = len(lines) > 1 and all(_FENCE.fullmatch(line) for line in (lines[0], lines[-1]))
    return "\n".join(lines[1:-1]) if is_fenced else text


def _to_parts(text: str) -> list[tuple[str, str]]:
    """Name and text of each part; words before the first mark count as a thought."""
    marks = list(_MARK.finditer(text))
    starts = [mark.start() for mark in marks]
    before = text[: starts[0]] if marks else text
    parts = [("thought", before.strip())] if before.strip() else []
    for mark, end in zip(marks, [*starts[1:], len(text)], strict=False):
        name = "".join(mark["name"].lower().split())
        parts.append((name, text[mark.end() : end].strip()))
    return parts


def _problem(names: list[str], all_names: list[str]) -> str:
    """What is wrong with the marks; nothing when they make one step."""
    if "observation" in names:
        return "invented_observation"
    if names.count("action") > 1 or names.count("actioninput") > 1:
        return "two_actions"
    if names.count("finalanswer") > 1:
        return "two_answers"
    if "finalanswer" in names and len(names) > 1:
        return "action_and_answer"
    if not names:
        return "no_step"
    if "finalanswer" not in names and len(names) == 1:
        return "no_input" if names == ["action"] else "no_action"
    # Thoughts may only stand before the rest, and the input behind its action.
    is_ordered = all_names[-len(names) :] == names and names != ["actioninput", "action"]
    return "" if is_ordered else "wrong_order"


def _to_call(name: str, text: str, thought: str) -> Step:
    """A call from the texts behind its two marks."""
    lines = [line for line in name.split("\n") if not _FENCE.fullmatch(line)]
    name = "\n".join(lines).strip(" \t\n`\"'*")
    if not name:
        return malformed("no_name", thought=thought)
    if not tool_specs.NAME.fullmatch(name):
        return malformed("bad_name", repr(name[:40]), thought)
    try:
        return Call(name, parse_arguments(text), thought)
    except BadInput as problem:
        return malformed(problem.kind, problem.detail, thought)


def parse_arguments(text: str) -> dict[str, Any]:
    """Read the JSON object of a call.

    Args:
        text: as the model wrote it, perhaps in a code fence.

    Returns:
        The arguments.

    Raises:
        BadInput: with the kind of what is wrong.
    """
    lines = text.split("\n")
    while lines and _FENCE.fullmatch(lines[0]):
        del lines[0]
    while lines and _FENCE.fullmatch(lines[-1]):
        del lines[-1]
    text = "\n".join(lines).strip()
    if not text:
        raise BadInput("no_input")
    try:
        value = _read_json(text)
    except BadInput as problem:
        plain = _with_double_quotes(text)
        if problem.kind == "double_key" or plain is None:
            raise
        value = _read_json(plain)
    if not isinstance(value, dict):
        raise BadInput("not_an_object", f"it is {_kind_of(value)}")
    return value


def _read_json(text: str) -> Any:
    decoder = json.JSONDecoder(
        object_pairs_hook=_to_object, parse_constant=_refuse_constant, parse_float=_to_float
    )
    try:
        value, end = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        is_cut = _is_cut(text, error)
        detail = "" if is_cut else f"{error.msg.lower()} at character {error.pos + 1}"
        raise BadInput("truncated_json" if is_cut else "bad_json", detail) from None
    except BadInput:
        raise
    except (ValueError, RecursionError):  # a number of thousands of digits, or too deeply nested
        raise BadInput("bad_json", "a value is too large") from None
    if text[end:].strip():
        raise BadInput("trailing_text")
    return value


def _is_cut(text: str, error: json.JSONDecodeError) -> bool:
    """Whether more text could have made it JSON."""
    is_open_string = error.msg.startswith("Unterminated string")
    return text[:1] in "{[" and (is_open_string or not text[error.pos :].strip())


def _to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        if name in made:
            raise BadInput("double_key", repr(name[:40]))
        made[name] = value
    return made


def _to_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadInput("bad_json", "a value is too large")
    return number


def _refuse_constant(word: str) -> Any:
    raise BadInput("bad_json", f"{word} is no number")


def _with_double_quotes(text: str) -> str | None:
    """The text with double quotes for single ones, where that can mean only one thing."""
    if "'" not in text or '"' in text or "\\" in text:
        return None
    return _SINGLE_QUOTED.sub(r'"\1"', text)


def _kind_of(value: Any) -> str:
    kinds = {str: "a text", bool: "true or false", list: "a list", type(None): "null"}
    return kinds.get(type(value), "a number")

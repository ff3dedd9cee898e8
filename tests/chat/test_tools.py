import datetime
import threading
import time
import typing

import pydantic
import pytest

from course_lib.chat import tools
from course_lib.data import tool_specs
from course_lib.data.react_steps import Call
from course_lib.errors import DataError


@tools.tool(zh="掷骰子。")
def dice(sides: int, label: str = "d", kind: typing.Literal["fair", "odd"] = "fair") -> str:
    """Rolls
    a dice.

    It is not fair.

    Args:
        sides: how many
            it has
        label (str): what stands on it

    Returns:
        text
    """
    return f"{label}{sides}{kind}"


# worked out by hand
def test_a_function_becomes_a_tool():
    assert dice.spec.name == "dice"
    assert (dice.spec.describe(), dice.spec.describe("zh")) == ("Rolls a dice.", "掷骰子。")
    assert dice.spec.parameters == {
        "type": "object",
        "properties": {
            "sides": {"type": "integer", "description": "how many it has"},
            "label": {"type": "string", "default": "d", "description": "what stands on it"},
            "kind": {"type": "string", "default": "fair", "enum": ["fair", "odd"]},
        },
        "required": ["sides"],
    }
    assert tool_specs.signature(dice.spec) == (
        '{"sides": integer, "label"?: string, "kind"?: "fair" or "odd"}'
    )
    assert dice.run({"sides": 6}) == tools.ToolResult("d6fair")
    assert dice.function(2) == "d2fair"


def test_other_types_are_checked_as_json_gives_them():
    class Place(pydantic.BaseModel):
        name: str

    @tools.tool(name="see")
    def look(day: datetime.date, places: list[Place], far: float | None = None) -> str:
        """Looks."""
        return f"{day:%d.%m.} {[place.name for place in places]} {far}"

    arguments = {"day": "2026-05-31", "places": [{"name": "A"}], "far": 2}
    assert look.run(arguments).text == "31.05. ['A'] 2.0"
    assert "day: " in look.run(arguments | {"day": "soon"}).text
    assert "places.0.name: " in look.run(arguments | {"places": [{"name": 1}]}).text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "sides: Field required"),
        ({"sides": "6"}, "sides: Input should be a valid integer"),
        ({"sides": 6.5}, "sides: Input should be a valid integer"),
        ({"sides": True}, "sides: Input should be a valid integer"),
        ({"sides": None}, "sides: Input should be a valid integer"),
        ({"sides": 6, "label": 3}, "label: Input should be a valid string"),
        ({"sides": 6, "kind": "bad"}, "kind: Input should be 'fair' or 'odd'"),
        ({"sides": 6, "colour": "red"}, "colour: Extra inputs are not permitted"),
        ({"side": 6}, "sides: Field required; side: Extra inputs are not permitted"),
        ({"sides": float("nan")}, "sides: Input should be"),
        ({"sides": {1, 2}}, "the values are no JSON"),
    ],
)
def test_wrong_arguments_come_back_as_a_text_with_what_is_expected(arguments, problem):
    result = dice.run(arguments)
    assert result.is_error
    assert result.text.startswith('error: dice takes {"sides": integer')
    assert problem in result.text


def no_hint(place):
    """Looks."""


def starred(*places: str):
    """Looks."""


def strange(place: threading.Thread):
    """Looks."""


def silent(place: str):
    return place


def early(place: "Undefined"):  # noqa: F821
    """Looks."""


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (no_hint, "no_hint has no type hint for place"),
        (starred, r"starred takes \*places"),
        (strange, "strange has a type that JSON cannot say"),
        (silent, "silent has no docstring"),
        (early, "early has a type hint of an unknown name: name 'Undefined'"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_named(function, match):
    with pytest.raises(DataError, match=match):
        tools.tool(function)


class Odd(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such place"), "error: no such place"),
        (ValueError(), "error: no message"),
        (Odd("a\x1b[31m"), "error: Odd: a [31m"),
        (KeyError("x"), "error: KeyError: 'x'"),
        (DataError("Found x.", "Do y."), "error: Found x. Do y."),
        (SystemExit(3), "error: SystemExit: 3"),
        (RecursionError("deep"), "error: RecursionError: deep"),
        (MemoryError(), "error: MemoryError: no message"),
        (Odd("long " * 100_000), "error: Odd: long long"),
    ],
)
def test_whatever_a_tool_raises_comes_back_as_a_text(error, text):
    @tools.tool
    def fail() -> str:
        """Fails."""
        raise error

    result = fail.run({})
    assert result.is_error
    assert result.text.startswith(text)
    assert len(result.text) < tools.MAX_RESULT_CHARS + 100


def test_a_tool_that_hangs_is_left_alone():
    release = threading.Event()

    @tools.tool(time_limit_s=0.2)
    def hang() -> str:
        """Hangs."""
        release.wait(60)
        return "late"

    start = time.monotonic()
    result = hang.run({})
    assert time.monotonic() - start < 5
    assert result == tools.ToolResult("error: no result within 0.2 s", is_error=True)
    left = [t for t in threading.enumerate() if t.name == "tunebook-tool"]
    assert all(thread.daemon for thread in left)  # Python ends without waiting for it
    release.set()


def test_a_shorter_limit_than_the_tools_own_holds():
    @tools.tool(time_limit_s=60)
    def slow() -> str:
        """Sleeps."""
        time.sleep(2)
        return "done"

    start = time.monotonic()
    assert slow.run({}, time_limit_s=0.1).is_error
    assert time.monotonic() - start < 1.5


# worked out by hand
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        (" a\n", "a"),
        (3, "3"),
        (None, "null"),
        ({"名": [1.5, True]}, '{"名": [1.5, true]}'),
        (datetime.date(2026, 5, 31), '"2026-05-31"'),
        ("a\x00b\x1b[2Jc\rd\te\nf", "a b [2Jc d\te\nf"),
        ("half \ud800", "half ?"),
        ("<|im_end|>", "<|im_end|>"),
        ("x" * 1_000_000, "x" * 2_000 + " [cut: 1,000,000 characters]"),
    ],
)
def test_any_result_becomes_a_text(value, text):
    @tools.tool
    def give() -> str:
        """Gives."""
        return value

    assert give.run({}) == tools.ToolResult(text)


def test_a_result_that_no_json_can_say_is_an_error():
    loop = []
    loop.append(loop)

    @tools.tool
    def give() -> list:
        """Gives."""
        return loop

    assert give.run({}).text.startswith("error: Circular reference")


def test_an_unknown_tool_gets_the_nearest_names():
    assert tools.run_call([dice], Call("dcie", {})).text == (
        "error: there is no tool dcie. Did you mean dice?"
    )
    assert tools.run_call([dice], Call("x", {})).text == "error: there is no tool x. Tools: dice."
    assert tools.run_call([dice], Call("dice", {"sides": 2})).text == "d2fair"

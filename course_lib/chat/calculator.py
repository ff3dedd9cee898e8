"""A calculator that a model may type into: numbers and signs, nothing of Python around them.

The expressions are worked out by simpleeval, which walks the syntax tree; only kinds of nodes,
signs and functions named here are allowed, and numbers are kept small enough to be quick.
"""

import ast
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import simpleeval

MAX_CHARS = 200
MAX_BITS = 2_000  # of a whole number on the way; a result has 600 digits at most
_SIGNS = str.maketrans("×÷−–＋－＊／（）．，０１２３４５６７８９", "*/--+-*/().,0123456789")
_TIMES = re.compile(r"(?<=[\d)])\s*[xX]\s*(?=[\d(])")
_NODES = (ast.Expr, ast.UnaryOp, ast.BinOp, ast.Call, ast.Constant, ast.Name)


def calculate(expression: str) -> str:
    """Work out an arithmetic expression.

    Args:
        expression: numbers with + - * / // % ** or ^ (power), brackets, pi, e and the functions
            of `FUNCTIONS`; × ÷ x and full-width signs are read too.

    Returns:
        The result: whole numbers exactly, others with up to 12 digits.

    Raises:
        ValueError: it is no such expression, it is too large, or it has no result.
    """
    text = _TIMES.sub("*", expression.translate(_SIGNS)).replace("^", "**").strip().rstrip("=?？ ")
    if not text or len(text) > MAX_CHARS:
        raise ValueError(
            "the expression is empty" if not text else f"more than {MAX_CHARS} characters"
        )
    if not text.isprintable():
        raise ValueError(f"{expression[:40]!r} is no calculation: it holds control characters")
    evaluator = simpleeval.SimpleEval(OPERATORS, FUNCTIONS, {"pi": math.pi, "e": math.e})
    evaluator.nodes = {kind: evaluator.nodes[kind] for kind in _NODES}
    try:
        result = evaluator.eval(text, ast.parse(text, mode="eval").body)
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except (OverflowError, RecursionError, MemoryError):
        raise ValueError("the numbers are too large") from None
    except (SyntaxError, TypeError, simpleeval.InvalidExpression) as error:
        raise ValueError(f"{expression[:40]!r} is no calculation: {_first_line(error)}") from None
    return number_text(_checked(result))


def number_text(value: float | Fraction, decimals: int | None = None) -> str:
    """A number as a person writes it.

    Args:
        value: any finite number.
        decimals: digits behind the point at most; up to 12 digits in all when None.

    Returns:
        Without a point when nothing stands behind it, in powers of ten when a float is very large.
    """
    is_exact = not isinstance(value, float) or abs(value) < 1e15
    if is_exact and value == int(value):
        return str(int(value))
    if decimals is None:
        return f"{float(value):.12g}"
    shown = f"{float(value):.{decimals}f}"
    if not float(shown):  # a small number has digits too
        return f"{float(value):.3g}"
    return shown.rstrip("0").rstrip(".")


def _first_line(error: Exception) -> str:
    """Why an expression cannot be read, without its text and place."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return (text or "not understood").splitlines()[0][:100]


def _checked(value: Any) -> int | float:
    """A number that is neither too large nor none at all."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("only numbers can be worked out")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError("the numbers are too large")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("the result is no number")
    return value


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function for numbers of bearable size, with a result of bearable size."""

    def work(*values: Any) -> int | float:
        return _checked(function(*map(_checked, values)))

    return work


def _power(base: float, exponent: float) -> float:
    """A power, refused before it is worked out when it would be too large."""
    are_whole = isinstance(base, int) and isinstance(exponent, int)
    if are_whole and abs(base) > 1 and abs(exponent) * base.bit_length() > 2 * MAX_BITS:
        raise ValueError("the numbers are too large")
    return base**exponent


OPERATORS = {
    ast.Add: _limited(lambda a, b: a + b),
    ast.Sub: _limited(lambda a, b: a - b),
    ast.Mult: _limited(lambda a, b: a * b),
    ast.Div: _limited(lambda a, b: a // b if isinstance(a, int) and b and not a % b else a / b),
    ast.FloorDiv: _limited(lambda a, b: a // b),
    ast.Mod: _limited(lambda a, b: a % b),
    ast.Pow: _limited(_power),
    ast.USub: _limited(lambda a: -a),
    ast.UAdd: _limited(lambda a: a),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: _limited(function)
    for name, function in {
        "abs": abs,
        "ceil": math.ceil,
        "floor": math.floor,
        "log": math.log,
        "max": max,
        "min": min,
        "round": round,
        "sqrt": math.sqrt,
    }.items()
}

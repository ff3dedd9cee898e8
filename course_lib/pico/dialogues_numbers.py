"""Dialogues about numbers: sums, word problems, comparing, ordering, counting.

One sum in ten never occurs in the corpus, so the scores can tell a model that computes from one
that remembers. Products up to 12 x 12 are facts, not sums: nobody can work out 3 x 3 = 9 without
having met it. There only one order of two factors is kept back, 8 x 7 where 7 x 8 is trained.
"""

import functools
import hashlib
import random
from collections.abc import Sequence

from course_lib.pico import grammar, names, talk, told_sums, wording
from course_lib.pico.talk import Message

PHRASES = talk.read_phrases("numbers")
BRIEF = talk.read_phrases("styles")["brief"]
OPERATIONS = ("+", "-", "x")
STOP = {"en": ".", "zh": "。"}
# One sum in 20 for each of the two sets: together one in ten stays out of training.
SUM_GROUPS = 20
SUM_SETS = {0: "held_out", 1: "validation"}
LARGEST_TERM, LARGEST_FACTOR, SMALL_TERM = 99, 12, 20
SMALL_SUM_SHARE = 0.25  # sums up to 20 are the base of all others


@functools.lru_cache(maxsize=1 << 16)
def sum_set(operation: str, a: int, b: int) -> str:
    """Which set a sum belongs to, for good.

    Args:
        operation: "+", "-" or "x".
        a: the first number.
        b: the second number; 7 + 8 and 8 + 7 are two sums.

    Returns:
        "training", "validation" or "held_out"; a product that is kept back has its larger factor
        first, and the other order is in training.
    """
    if operation == "x" and a <= b:
        return "training"
    digest = hashlib.md5(f"sum|{operation}|{a}|{b}".encode(), usedforsecurity=False).hexdigest()
    groups = SUM_GROUPS // 2 if operation == "x" else SUM_GROUPS
    return SUM_SETS.get(int(digest[:8], 16) % groups, "training")


def is_held_out_sum(operation: str, a: int, b: int) -> bool:
    """Whether a sum must stay out of the corpus.

    Args:
        operation: "+", "-" or "x".
        a: the first number.
        b: the second number.
    """
    return sum_set(operation, a, b) != "training"


def compute(operation: str, a: int, b: int) -> int:
    """The result of a sum."""
    return a + b if operation == "+" else a - b if operation == "-" else a * b


def draw_sum(rng: random.Random, operation: str, group: str = "training") -> tuple[int, int]:
    """Draw two numbers for an operation; differences are never below zero.

    Args:
        rng: the only source of chance.
        operation: "+", "-" or "x".
        group: "training", "validation" or "held_out".

    Returns:
        The two numbers.
    """
    while True:
        if operation == "x":
            a, b = rng.randint(0, LARGEST_FACTOR), rng.randint(0, LARGEST_FACTOR)
        else:
            top = SMALL_TERM if rng.random() < SMALL_SUM_SHARE else LARGEST_TERM
            a, b = rng.randint(0, top), rng.randint(0, top)
        if operation == "-" and a < b:
            a, b = b, a
        if sum_set(operation, a, b) == group:
            return a, b


def equation(operation: str, a: int, b: int) -> str:
    """A sum with its result: `7 + 8 = 15`; a product is turned first: `8 x 3 = 3 x 8 = 24`.

    With the step written out, each product has to be remembered in one order only.
    """
    turned = f"{b} x {a} = " if operation == "x" and a > b else ""
    return f"{a} {operation} {b} = {turned}{compute(operation, a, b)}"


def ask_sum(rng: random.Random, language: str, operation: str, a: int, b: int) -> str:
    """A question for a sum, as training words it."""
    ask = talk.say(rng, PHRASES["ask"][language][operation], a=a, b=b)
    return ask if "=" in ask else wording.add_noise(rng, ask, language)


def sums(rng: random.Random, language: str) -> list[Message]:
    """One to five sums; after the first the questions become short."""
    brief = rng.random() < 0.12
    messages = [talk.system(rng.choice(BRIEF[language]))] if brief else []
    operation = rng.choice("++--xx")
    for number in range(rng.choice((1, 1, 2, 3, 5))):
        if number and rng.random() < 0.3:
            operation = rng.choice("++--xx")
        a, b = draw_sum(rng, operation)
        if number and rng.random() < 0.6:
            question = talk.say(rng, PHRASES["follow_up"][language][operation], a=a, b=b)
        else:
            question = ask_sum(rng, language, operation, a, b)
        result = str(compute(operation, a, b))
        answer = result if brief else equation(operation, a, b) + STOP[language]
        messages += talk.turn(question, answer)
    return messages


def swapped(rng: random.Random, language: str) -> list[Message]:
    """A sum and the same the other way round: 7 + 8, then 8 + 7."""
    operation = rng.choice("+xx")
    while True:
        a, b = draw_sum(rng, operation)
        if not is_held_out_sum(operation, b, a):
            break
    first = talk.turn(
        ask_sum(rng, language, operation, a, b), equation(operation, a, b) + STOP[language]
    )
    again = talk.say(rng, PHRASES["follow_up"][language][operation], a=b, b=a)
    return first + talk.turn(again, equation(operation, b, a) + STOP[language])


def _counted(number: int, thing: Sequence[str], language: str) -> str:
    """`1 apple`, `5 apples`, 5个苹果."""
    if language == "zh":
        return f"{number}{thing[2]}{thing[1]}"
    return f"{number} {thing[0] if number == 1 else grammar.plural(thing[0])}"


def word_problem(rng: random.Random, language: str) -> list[Message]:
    """A sum inside a small story."""
    operation = rng.choice("++--x")
    a, b = draw_sum(rng, operation)
    while min(a, b) < 2 or compute(operation, a, b) < 2:
        a, b = draw_sum(rng, operation)
    c = compute(operation, a, b)
    thing = rng.choice(PHRASES["things"])
    first, second = names.two_people(rng, language)
    question, tail = rng.choice(PHRASES["problems"][language][operation])
    slots = {
        "a": a,
        "b": b,
        "c": c,
        "ta": _counted(a, thing, language),
        "tb": _counted(b, thing, language),
        "tc": _counted(c, thing, language),
        "ts": grammar.plural(thing[0]) if language == "en" else thing[1],
        "mw": thing[2],
        "n": first,
        "m": second,
    }
    answer = (equation(operation, a, b) + STOP[language], tail.format_map(slots))
    return talk.turn(question.format_map(slots), grammar.sentences(answer, language))


def told_sum(rng: random.Random, language: str) -> list[Message]:
    """A sum told in a sentence or two, answered with the equation."""
    operation = rng.choice("++--x")
    a, b = draw_sum(rng, operation)
    while min(a, b) < 2:
        a, b = draw_sum(rng, operation)
    question = told_sums.tell_sum(rng, language, operation, a, b)
    return talk.turn(question, equation(operation, a, b) + STOP[language])


def chain(rng: random.Random, language: str) -> list[Message]:
    """Three or four numbers added, most often tens."""
    step = rng.choice((1, 10, 10))
    while True:
        terms = [step * rng.randint(1, 9) for _ in range(rng.choice((3, 3, 4)))]
        partial = [sum(terms[:end]) for end in range(1, len(terms))]
        if not any(
            is_held_out_sum("+", before, term) or is_held_out_sum("+", left, term)
            for before, left, term in zip(partial, terms, terms[1:], strict=False)
        ):
            break
    text = " + ".join(map(str, terms))
    asks = (
        ("What is {t}?", "{t} = ?", "Add up: {t}")
        if language == "en"
        else ("{t}等于多少？", "{t} = ?", "加起来是多少：{t}")
    )
    return talk.turn(talk.say(rng, asks, t=text), f"{text} = {sum(terms)}{STOP[language]}")


def explained_sum(rng: random.Random, language: str) -> list[Message]:
    """A sum of two-digit numbers with its steps."""
    while True:
        a, b = rng.randint(11, LARGEST_TERM), rng.randint(11, LARGEST_TERM)
        (ta, ea), (tb, eb) = ((n // 10 * 10, n % 10) for n in (a, b))
        steps = ((a, b), (ta, tb), (ea, eb), (ta + tb, ea + eb))
        if not any(is_held_out_sum("+", *step) for step in steps):
            break
    question, answer = rng.choice(PHRASES["explain"][language])
    slots = {
        "a": a, "b": b, "c": a + b,
        "ta": ta, "tb": tb, "ts": ta + tb,
        "ea": ea, "eb": eb, "es": ea + eb,
    }  # fmt: skip
    return talk.turn(question.format_map(slots), answer.format_map(slots))


def compare(rng: random.Random, language: str) -> list[Message]:
    """Which of two numbers is bigger or smaller."""
    a, b = rng.sample(range(rng.choice((20, 100, 1000))), 2)
    table = PHRASES["compare"][language]
    kind = rng.choice(("bigger", "smaller"))
    right = max(a, b) if kind == "bigger" else min(a, b)
    return talk.turn(
        talk.say(rng, table[kind], a=a, b=b), talk.say(rng, table[f"answer_{kind}"], c=right)
    )


def order(rng: random.Random, language: str) -> list[Message]:
    """Sort three to five numbers, or find the largest or smallest."""
    numbers = rng.sample(range(rng.choice((10, 50, 100))), rng.randint(3, 5))
    table = PHRASES["sort"][language]
    comma = ", " if language == "en" else "、"
    listed = comma.join(map(str, numbers))
    kind = rng.choice(("up", "up", "down", "most", "least"))
    question = talk.say(rng, table[kind], l=listed)
    if kind in ("most", "least"):
        found = max(numbers) if kind == "most" else min(numbers)
        return talk.turn(question, talk.say(rng, table[f"answer_{kind}"], c=found))
    ranked = sorted(numbers, reverse=kind == "down")
    return talk.turn(question, comma.join(map(str, ranked)) + STOP[language])


def _single_result(kind: str, a: int, language: str) -> str | int:
    if kind == "parity":
        words = ("even", "odd") if language == "en" else ("双数", "单数")
        return words[a % 2]
    results = {"double": 2 * a, "half": a // 2, "next": a + 1, "previous": a - 1, "tens": a // 10}
    return results[kind]


def about_one_number(rng: random.Random, language: str) -> list[Message]:
    """Double, half, neighbours, even or odd, full tens."""
    kind = rng.choice(tuple(PHRASES["single"][language]))
    a = rng.randint(1, LARGEST_TERM)
    if kind == "half":
        a = 2 * rng.randint(1, LARGEST_TERM // 2)
    if kind == "tens":
        a = rng.randint(20, LARGEST_TERM)
    while kind == "double" and (is_held_out_sum("+", a, a) or is_held_out_sum("x", 2, a)):
        a = rng.randint(1, LARGEST_TERM)
    questions, answer = PHRASES["single"][language][kind]
    question = wording.add_noise(rng, talk.say(rng, questions, a=a), language)
    return talk.turn(question, answer.format(a=a, c=_single_result(kind, a, language)))


def count(rng: random.Random, language: str) -> list[Message]:
    """Count from one number to another."""
    a = rng.choice((1, 1, rng.randint(0, 90)))
    b = a + rng.randint(3, 9)
    comma = ", " if language == "en" else "、"
    counted = comma.join(str(number) for number in range(a, b + 1))
    return talk.turn(talk.say(rng, PHRASES["count"][language], a=a, b=b), counted + STOP[language])


def divide(rng: random.Random, language: str) -> list[Message]:
    """A division without a rest, from the times table."""
    while True:
        b, c = rng.randint(2, 10), rng.randint(1, 10)
        if not is_held_out_sum("x", b, c) and not is_held_out_sum("x", c, b):
            break
    question = talk.say(rng, PHRASES["divide"][language], a=b * c, b=b)
    return talk.turn(question, f"{b * c} / {b} = {c}{STOP[language]}")


def in_words(rng: random.Random, language: str) -> list[Message]:
    """Numbers written as words: seven plus five, 七加五."""
    spelled = PHRASES["words"][language].split()
    if rng.random() < 0.3:
        number = rng.randrange(len(spelled))
        question = talk.say(rng, PHRASES["say_word"][language], w=spelled[number])
        return talk.turn(question, f"{number}{STOP[language]}")
    operation = rng.choice("+-")
    while True:
        a, b = draw_sum(rng, operation)
        if max(a, b) < len(spelled):
            break
    signs = {"en": {"+": "plus", "-": "minus"}, "zh": {"+": "加", "-": "减"}}[language]
    middle = grammar.SPACE[language].join((spelled[a], signs[operation], spelled[b]))
    question = f"What is {middle}?" if language == "en" else f"{middle}等于多少？"
    return talk.turn(question, equation(operation, a, b) + STOP[language])


# Each kind with its weight among the dialogues about numbers.
KINDS = (
    (sums, 60),
    (swapped, 12),
    (word_problem, 14),
    (told_sum, 36),
    (chain, 4),
    (explained_sum, 5),
    (compare, 6),
    (order, 5),
    (about_one_number, 7),
    (count, 2),
    (divide, 3),
    (in_words, 4),
)
_MAKERS, _WEIGHTS = zip(*KINDS, strict=True)


def dialogue(rng: random.Random, language: str) -> list[Message]:
    """A dialogue about numbers.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        Messages in order, the last one from the assistant.
    """
    return rng.choices(_MAKERS, _WEIGHTS)[0](rng, language)

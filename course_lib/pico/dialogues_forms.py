"""Dialogues with forms on offer: choose one, fill it in, answer with what comes back.

They show a model how to take a name, a number or a city out of a question into named fields, for
forms that it reads about in the system message only. No format of lesson 05 occurs in them.
"""

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.pico import dialogues_facts as facts
from course_lib.pico import dialogues_numbers as numbers
from course_lib.pico import dialogues_text as text_skills
from course_lib.pico import form_replies as replies
from course_lib.pico import form_tables, grammar, names, talk, told_sums, wording, world
from course_lib.pico.form_replies import Form
from course_lib.pico.talk import Message

FAMILIES = form_tables.FAMILIES
CORE = form_tables.WORDINGS["core"]
SMALL_FORMS = form_tables.small_forms()
FAMILY_NAMES = ("sum", "time", "measure", "lookup")
OTHER_FAMILIES = tuple(SMALL_FORMS)
OPERATIONS = ("+", "-", "x", "/")
MOST_OFFERED = 5
# Pairs of units, larger first, and how many of the smaller one of the larger has.
UNITS: Sequence[tuple[tuple[str, str], tuple[str, str], int]] = (
    (("kilometres", "公里"), ("metres", "米"), 1000),
    (("metres", "米"), ("centimetres", "厘米"), 100),
    (("feet", "英尺"), ("inches", "英寸"), 12),
    (("kilograms", "千克"), ("grams", "克"), 1000),
    (("litres", "升"), ("millilitres", "毫升"), 1000),
    (("hours", "小时"), ("minutes", "分钟"), 60),
    (("minutes", "分钟"), ("seconds", "秒"), 60),
    (("days", "天"), ("hours", "小时"), 24),
    (("weeks", "周"), ("days", "天"), 7),
    (("centimetres", "厘米"), ("millimetres", "毫米"), 10),
)


@dataclass(frozen=True)
class Step:
    """A form to fill in, and what comes back."""

    family: str
    values: tuple[Any, ...]
    result: str


@dataclass(frozen=True)
class Request:
    """Something a user wants; without steps it is answered at once."""

    question: str
    steps: tuple[Step, ...]
    answer: str


def _request_sum(rng: random.Random, language: str) -> Request:
    sign = rng.choice(OPERATIONS)
    a, b = _draw_terms(rng, sign)
    if rng.random() < 0.06:
        return _request_by_zero(rng, language)
    expression, result = f"{a} {sign} {b}", a // b if sign == "/" else numbers.compute(sign, a, b)
    answer = talk.say(rng, FAMILIES["sum"]["answers"][language], e=expression, r=result)
    steps = (Step("sum", (expression,), str(result)),)
    return Request(_ask_sum(rng, language, sign, a, b), steps, answer)


def _ask_sum(rng: random.Random, language: str, sign: str, a: int, b: int) -> str:
    """Mostly told in a sentence: which sign is meant has to be understood."""
    draw = rng.random()
    if draw < 0.6:
        return told_sums.tell_sum(rng, language, sign, a, b)
    is_plain = draw < 0.75 and sign != "/"
    asks = numbers.PHRASES["ask"] if is_plain else CORE["sum"]
    return talk.say(rng, asks[language][sign], a=a, b=b)


def _draw_terms(rng: random.Random, sign: str) -> tuple[int, int]:
    """Two numbers of a sum that is not kept back."""
    while True:
        if sign == "/":
            b = rng.randint(2, 20)
            return b * rng.randint(2, max(2, 99 // b)), b
        a, b = (rng.randint(2, rng.choice((99, 99, 999))) for _ in range(2))
        if sign == "-" and a < b:
            a, b = b, a
        if not numbers.is_held_out_sum(sign, a, b):
            return a, b


def _request_by_zero(rng: random.Random, language: str) -> Request:
    phrases, number = FAMILIES["sum"]["by_zero"], rng.randint(2, 99)
    question = _ask_sum(rng, language, "/", number, 0)
    step = Step("sum", (f"{number} / 0",), rng.choice(phrases["results"][language]))
    return Request(question, (step,), rng.choice(phrases["answers"][language]))


def _request_time(rng: random.Random, language: str) -> Request:
    city = _capital(rng, language)
    question = talk.say(rng, CORE["time"][language], c=city)
    return Request(question, (step := _look_at_clock(rng, city),), _tell_time(language, step))


def _capital(rng: random.Random, language: str) -> str:
    return rng.choice(world.load_world().tables["countries"])[f"capital_{language}"]


def _look_at_clock(rng: random.Random, city: str) -> Step:
    return Step("time", (city,), f"{rng.randrange(24):02}:{rng.randrange(60):02}")


def _tell_time(language: str, step: Step) -> str:
    template = FAMILIES["time"]["answers"][language][0]
    return template.format(c=step.values[0], r=step.result)


def _request_measure(rng: random.Random, language: str) -> Request:
    side, (large, small, factor) = world.LANGUAGES.index(language), rng.choice(UNITS)
    value = rng.randint(2, 99)
    slots = {"v": value, "u": large[side], "w": small[side]}
    result = f"{value * factor}{grammar.SPACE[language]}{small[side]}"
    question = talk.say(rng, CORE["measure"][language], **slots)
    answer = FAMILIES["measure"]["answers"][language][0].format(r=value * factor, **slots)
    return Request(question, (Step("measure", tuple(slots.values()), result),), answer)


def _request_lookup(rng: random.Random, language: str) -> Request:
    """Something about a name that nobody knows."""
    relation = _pick_relation(rng, language)
    fact = _made_up(rng, relation, language)
    name = fact.subject[language]
    question = wording.ask(rng, relation, fact, language)
    if name.lower() not in question.lower():  # a slip of the pen fell into the name
        return _request_lookup(rng, language)
    if rng.random() < 0.08:
        missing = Step("lookup", (name,), rng.choice(FAMILIES["lookup"]["nothing"][language]))
        return Request(question, (missing,), talk.say(rng, CORE["missing"][language], x=name))
    step = _read_about(relation, fact, language)
    answer = step.result
    if rng.random() < 0.2:
        other = _read_about(relation, _made_up(rng, relation, language), language).result
        pair = rng.sample((answer, other), 2)
        step = Step("lookup", (name,), grammar.sentences(pair, language))
    return Request(question, (step,), answer)


def _pick_relation(rng: random.Random, language: str) -> world.Relation:
    """A relation of things with names; one with many wordings comes more often."""
    found = [r for r in facts.relations_with_kind() if r.statements[language]]
    return rng.choices(found, [len(r.questions[language]) for r in found])[0]


def _made_up(rng: random.Random, relation: world.Relation, language: str) -> world.Fact:
    name = facts.made_up_name(rng, relation, language)
    answer = rng.choice(relation.facts).answer
    return world.Fact(relation.name, dict.fromkeys(world.LANGUAGES, name), answer)


def _read_about(relation: world.Relation, fact: world.Fact, language: str) -> Step:
    text = world.capitalize(world.fill(relation.statements[language][0], fact, language))
    return Step("lookup", (fact.subject[language],), text)


# Questions that need two forms, and the relation that the first one looks up.
CHAINS = (
    ("legs", "animal_legs"),
    ("number_plus", "element_number"),
    ("capital_time", "capital"),
)
_SIGNS = {"legs": "x", "number_plus": "+"}
_COUNTS = range(2, 13)


@functools.cache
def shown_sums() -> frozenset[tuple[str, int, int]]:
    """Sums that a second form may hold with their result, whether or not they are kept back."""
    relations = world.load_world().relations
    return frozenset(
        (_SIGNS[topic], int(fact.answer["en"]), count)
        for topic, name in CHAINS
        if topic in _SIGNS
        for fact in relations[name].facts
        for count in _COUNTS
    )


def _request_chain(rng: random.Random, language: str) -> Request:
    """Two forms, the second with what the first has found."""
    topic, relation_name = rng.choice(CHAINS)
    relation = world.load_world().relations[relation_name]
    fact = _made_up(rng, relation, language)
    found = _read_about(relation, fact, language)
    count, name, told = rng.choice(_COUNTS), fact.subject[language], fact.answer[language]
    question = talk.say(rng, CORE[topic][language], x=name, k=count)
    if topic == "capital_time":
        step = _look_at_clock(rng, told)
        return Request(question, (found, step), _tell_time(language, step))
    sign, a, b = _SIGNS[topic], int(told), count
    result = str(numbers.compute(sign, a, b))
    step = Step("sum", (f"{a} {sign} {b}",), result)
    return Request(question, (found, step), FAMILIES["lookup"][topic][language][0].format(r=result))


def _request_other(rng: random.Random, language: str) -> Request:
    """One of the many small forms."""
    return request_form(rng, rng.choice(OTHER_FAMILIES), language)


def request_form(rng: random.Random, family: str, language: str) -> Request:
    """A question for one of the small forms.

    Args:
        rng: the only source of chance.
        family: one of `OTHER_FAMILIES`.
        language: "en" or "zh".

    Returns:
        The request, with one step.
    """
    form = SMALL_FORMS[family]
    values = {field: draw_value(rng, kind, language) for field, kind in form["fields"].items()}
    result = result_of(family, values, language)
    question = talk.say(rng, form["asks"][language], **values)
    answer = talk.say(rng, form["answers"][language], r=result, **values)
    step = Step(family, tuple(values.values()), result)
    return Request(world.capitalize(question), (step,), world.capitalize(answer))


def result_of(family: str, values: Mapping[str, Any], language: str) -> str:
    """What a small form brings back: always the same for the same values.

    Args:
        family: one of `OTHER_FAMILIES`.
        values: what stands in its fields.
        language: "en" or "zh".
    """
    rng = random.Random(f"{family} {sorted(values.items())}")
    return str(draw_value(rng, SMALL_FORMS[family]["result"], language))


def draw_value(rng: random.Random, kind: str, language: str) -> str | int:
    """What may stand in a field.

    Args:
        rng: the only source of chance.
        kind: of value, as forms.yaml names it, such as "city" or "small".
        language: "en" or "zh".

    Returns:
        A text, or a number for "number" and "small".
    """
    return _DRAWS[kind](rng, language)


def _column(table: str, column: str = "name") -> Callable[[random.Random, str], str]:
    rows = world.load_world().tables[table]
    return lambda rng, language: rng.choice(rows)[f"{column}_{language}"]


_DRAWS: Mapping[str, Callable[[random.Random, str], str | int]] = {
    "person": names.person,
    "city": _capital,
    "country": _column("countries"),
    "food": _column("foods"),
    "animal": _column("animals"),
    "thing": _column("objects"),
    "job": _column("jobs"),
    "color": _column("colors"),
    "day": _column("days"),
    "month": _column("months"),
    "book": _column("books", "title"),
    "instrument": _column("instruments"),
    "number": lambda rng, language: rng.randint(2, 999),
    "small": lambda rng, language: rng.randint(2, 20),
    "code": lambda rng, language: text_skills.code_string(rng),
    "date": lambda rng, language: text_skills.date_and_time(rng, language)[0],
    "time": lambda rng, language: text_skills.date_and_time(rng, language)[1],
    "word": lambda rng, language: rng.choice(world.load_world().vocabulary)[language == "zh"],
    "invented": lambda rng, language: names.invented_name(rng),
    "unit": lambda rng, language: rng.choice(UNITS)[0][language == "zh"],
}


def _request_nothing(rng: random.Random, language: str) -> Request:
    """A question that pico can answer itself, whatever is on offer."""
    make = facts.question if rng.random() < 0.85 else rng.choice(_SMALL_TALK)
    ask, reply = make(rng, language)[:2]
    return Request(ask["content"], (), reply["content"])


_SMALL_TALK = (facts.describe, facts.yes_or_no)
# Each kind of request with its weight.
REQUESTS: Sequence[tuple[Callable[[random.Random, str], Request], float]] = (
    (_request_sum, 20),
    (_request_time, 6),
    (_request_measure, 6),
    (_request_lookup, 22),
    (_request_chain, 15),
    (_request_other, 27),
    (_request_nothing, 18),
)
_MAKERS, _WEIGHTS = zip(*REQUESTS, strict=True)


def dialogue(rng: random.Random, language: str) -> list[Message]:
    """One or two requests with forms on offer.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        Messages in order: the offer, then for each request the question, forms, results, answer.
    """
    count = rng.choice((1, 1, 2))
    requests = [rng.choices(_MAKERS, _WEIGHTS)[0](rng, language) for _ in range(count)]
    forms = _offer(rng, language, [step.family for one in requests for step in one.steps])
    style = replies.draw_style(rng, language)
    offer = [replies.announce(rng, style), *(form.describe() for form in forms.values())]
    messages = [talk.system("\n".join(offer))]
    result_mark = rng.choice(FAMILIES["results"][language])
    for request in requests:
        messages.append(talk.user(request.question))
        for step in request.steps:
            thought = replies.think(rng, step.family, language)
            reply = replies.fill_in(forms[step.family], step.values, style, thought)
            messages.append(talk.assistant(reply))
            messages.append(talk.user(result_mark + step.result))
        messages.append(talk.assistant(replies.finish(request.answer, style)))
    return messages


def _offer(rng: random.Random, language: str, needed: Sequence[str]) -> dict[str, Form]:
    """The forms that are needed and some others, in any order, no two of one name."""
    all_families = [*FAMILY_NAMES, *FAMILY_NAMES, *OTHER_FAMILIES]
    families = set(needed)
    most = rng.randint(max(2, len(families)), max(MOST_OFFERED, len(families)))
    while len(families) < most:
        families.add(rng.choice(all_families))
    while True:
        order = rng.sample(sorted(families), len(families))
        forms = {family: _draw_form(rng, family, language) for family in order}
        if len({form.name for form in forms.values()}) == len(forms):
            return forms


def _draw_form(rng: random.Random, family: str, language: str) -> Form:
    """A form under one of its names."""
    if family in FAMILY_NAMES:
        table = FAMILIES[family]
        fields = rng.choice(table["fields"])
        is_number = {fields[0]} if family == "measure" else set()
        types = {name: "number" if name in is_number else "string" for name in fields}
    else:
        table, types = SMALL_FORMS[family], form_tables.field_types(family)
    about = rng.choice(table["about"][language])
    return Form(family, rng.choice(table["names"]), about, types)

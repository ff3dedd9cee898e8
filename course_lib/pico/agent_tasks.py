"""Tasks for an agent: a question, the tool calls that answer it, and the answer.

The calls of a task are known when it is made; what the tools give back is not written here: the
tools run when rows are made of tasks (`agent_rows`) and when a model is scored.
"""

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from course_lib.pico import agent_articles as articles
from course_lib.pico import corpus, talk, told_sums, wording, world
from course_lib.pico import dialogues_forms as forms
from course_lib.pico import dialogues_numbers as numbers

PHRASES = articles.PHRASES
UNSEEN = talk.read_phrases("agent_unseen")
PARTS = ("train", "validation", "unseen")
FRAME_SHARE = 0.3  # of the training questions: a noun phrase in a frame
OPERATIONS = ("+", "-", "x", "/")
# How pico has learned to be asked for sums: told in a sentence, and plain questions.
NATIVE = {
    sign: {code: numbers.PHRASES["ask"][code][sign] for code in world.LANGUAGES} for sign in "+-x"
}
TOLD_SHARE, NATIVE_SHARE = 0.5, 0.25
# Relations that tasks with two calls begin with. In training they are asked for alone as often, so
# that a second call comes from the question and not from habit.
CHAINED = tuple(relation for _, relation in forms.CHAINS)
CHAINED_SHARE = 0.5
# Pairs of units, larger first: tasks go from the larger to the smaller, so that numbers stay short
# and whole. The last two of the forms' pairs are not asked.
UNIT_PAIRS = tuple((large, small) for large, small, _ in forms.UNITS[:8])
# World dialogues that need no tool. Sums, units and unknown names would need one.
WORLD_KINDS = ("question", "courtesy", "question", "question")


@dataclass(frozen=True)
class Call:
    """A tool with its arguments, and the thought that goes before it."""

    tool: str
    arguments: Mapping[str, Any]
    thought: str = ""


@dataclass(frozen=True)
class Task:
    """A question with the way to its answer.

    Attributes:
        question: what the user asks.
        language: "en" or "zh".
        kind: "calculator", "clock", "convert", "search", "search_calculator",
            "search_clock", "none" or "failing"; "other" for a tool of `agent_other_tools`.
        topic: what it is about; decides the words of the answer.
        calls: one after the other; none for a question that needs no tool.
        answer: a template with the mark {r}, for what the last tool says.
        expected: texts of which a right answer holds one; empty when the tools decide.
    """

    question: str
    language: str
    kind: str
    topic: str = ""
    calls: tuple[Call, ...] = ()
    answer: str = ""
    expected: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """What tasks are drawn from.

    Attributes:
        rng: the only source of chance.
        part: whose wordings: "train", "validation" or "unseen".
        things: what a search can be about.
        cities: English and Chinese names.
    """

    rng: random.Random
    part: str
    things: Sequence[articles.Thing]
    cities: Sequence[tuple[str, str]]

    def thing(self, language: str, relations: Sequence[str]) -> articles.Thing:
        """Something with an article in this language, on one of these relations."""
        return self.rng.choice(
            [t for t in self.things if t.language == language and t.fact.relation in relations]
        )


@functools.cache
def wordings(part: str, *keys: str) -> tuple[str, ...]:
    """The wordings of a part.

    Args:
        part: "train", "validation" or "unseen".
        keys: the way to them, such as "search", "tower_height", "en".

    Returns:
        Questions with marks.
    """
    table = UNSEEN if part == "unseen" else PHRASES[part]
    found = tuple(_look_up(table, keys))
    return found + _form_wordings(keys) if part == "train" else found


# Where the wordings of a kind of task stand among those of the forms.
FORM_KEYS = {
    ("calculator",): ("sum",),
    ("clock",): ("time",),
    ("convert",): ("measure",),
    ("search_calculator", "legs"): ("legs",),
    ("search_calculator", "number"): ("number_plus",),
    ("search_clock", "capital"): ("capital_time",),
}


def _form_wordings(keys: Sequence[str]) -> tuple[str, ...]:
    """The wordings in which the same is asked for with forms."""
    for size in (1, 2):
        if keys[:size] in FORM_KEYS:
            return tuple(_look_up(forms.CORE, (*FORM_KEYS[keys[:size]], *keys[size:])))
    return ()


@functools.cache
def framed_wordings(*keys: str) -> tuple[str, ...]:
    """Noun phrases in frames, for training.

    Args:
        keys: as for `wordings`.
    """
    frames = PHRASES["frames"][_language(keys)]
    phrases = _look_up(PHRASES["noun_phrases"], keys)
    return tuple(wording.put_in_frame(frame, phrase) for phrase in phrases for frame in frames)


def _look_up(table: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        table = table[key]
    return table


def ask(drawing: Drawing, keys: Sequence[str], **slots: object) -> str:
    """Draw a wording and fill its marks.

    Args:
        drawing: says which part.
        keys: as for `wordings`.
        slots: what stands for the marks.

    Returns:
        A question.
    """
    rng = drawing.rng
    is_framed = drawing.part == "train" and rng.random() < FRAME_SHARE
    choices = framed_wordings(*keys) if is_framed else wordings(drawing.part, *keys)
    return world.capitalize(rng.choice(choices).format(**slots))


def _language(keys: Sequence[str]) -> str:
    return "zh" if "zh" in keys else "en"


def think(language: str, tool: str) -> str:
    """The thought before a call."""
    return PHRASES["thoughts"][language][tool]


def calculate(language: str, expression: str) -> Call:
    """The call for a sum."""
    return Call("calculator", {"expression": expression}, think(language, "calculator"))


def look_at_clock(language: str, city: str) -> Call:
    """The call for the time in a city."""
    return Call("clock", {"place": city}, think(language, "clock"))


def find(language: str, name: str) -> Call:
    """The call for an article."""
    return Call("search", {"query": name}, think(language, "search"))


def calculator(drawing: Drawing, language: str) -> Task:
    """A sum of two numbers, plain or in a little story."""
    rng, sign = drawing.rng, drawing.rng.choice(OPERATIONS)
    a, b = draw_numbers(rng, sign)
    draw = rng.random() if drawing.part == "train" else 1.0
    if draw < TOLD_SHARE:
        question = told_sums.tell_sum(rng, language, sign, a, b)
    elif draw < TOLD_SHARE + NATIVE_SHARE and sign in NATIVE:
        question = talk.say(rng, NATIVE[sign][language], a=a, b=b)
    else:
        question = ask(drawing, ("calculator", language, sign), a=a, b=b)
    expression = f"{a} {sign} {b}"
    answer = PHRASES["finals"][language]["calculator"].replace("{e}", expression)
    return Task(question, language, "calculator", sign, (calculate(language, expression),), answer)


def draw_numbers(rng: random.Random, sign: str) -> tuple[int, int]:
    """Two numbers for an operation, whose result is whole and not below zero."""
    if sign == "/":
        b = rng.randint(2, 20)
        return b * rng.randint(2, max(2, 99 // b)), b
    a, b = rng.randint(2, 99), rng.randint(2, 99)
    return (max(a, b), min(a, b)) if sign == "-" else (a, b)


def clock(drawing: Drawing, language: str) -> Task:
    """What time it is in a city."""
    city = drawing.rng.choice(drawing.cities)[world.LANGUAGES.index(language)]
    answer = PHRASES["finals"][language]["clock"].replace("{c}", city)
    question = ask(drawing, ("clock", language), c=city)
    return Task(question, language, "clock", "", (look_at_clock(language, city),), answer)


def convert(drawing: Drawing, language: str) -> Task:
    """A measure in another unit."""
    rng, side = drawing.rng, world.LANGUAGES.index(language)
    unit, to = rng.choice(UNIT_PAIRS)
    value = rng.randint(2, 99)
    slots = {"v": value, "u": unit[side], "w": to[side]}
    answer = PHRASES["finals"][language]["convert"]
    for mark, text in slots.items():
        answer = answer.replace("{" + mark + "}", str(text))
    arguments = {"value": value, "unit": unit[side], "to": to[side]}
    call = Call("convert", arguments, think(language, "convert"))
    question = ask(drawing, ("convert", language), **slots)
    return Task(question, language, "convert", "", (call,), answer)


def search(drawing: Drawing, language: str) -> Task:
    """Something about a thing that nobody can know."""
    is_chained = drawing.part == "train" and drawing.rng.random() < CHAINED_SHARE
    thing = drawing.thing(language, CHAINED if is_chained else articles.RELATIONS)
    call = find(language, thing.name)
    question = ask_about(drawing, thing.fact, language)
    topic, answer = thing.fact.relation, thing.answer
    return Task(question, language, "search", topic, (call,), thing.text, expected=(answer,))


def ask_about(drawing: Drawing, fact: world.Fact, language: str) -> str:
    """Ask for a fact as pico has learned to be asked, or never was."""
    relation = world.load_world().relations[fact.relation]
    part = {"train": "questions", "validation": "validation", "unseen": "held_out"}[drawing.part]
    return world.fill(drawing.rng.choice(getattr(relation, part)[language]), fact, language)


def search_calculator(drawing: Drawing, language: str) -> Task:
    """A sum with a number that has to be found first."""
    rng = drawing.rng
    topic, relation = rng.choice((("legs", "animal_legs"), ("number", "element_number")))
    thing = drawing.thing(language, (relation,))
    count = rng.randint(2, 9)
    question = ask(drawing, ("search_calculator", topic, language), x=thing.name, k=count)
    sign = {"legs": "x", "number": "+"}[topic]
    expression = f"{thing.answer} {sign} {count}"
    calls = (find(language, thing.name), calculate(language, expression))
    answer = PHRASES["finals"][language][topic]
    return Task(question, language, "search_calculator", topic, calls, answer)


def search_clock(drawing: Drawing, language: str) -> Task:
    """The time in a city that has to be found first."""
    thing = drawing.thing(language, ("capital",))
    question = ask(drawing, ("search_clock", "capital", language), x=thing.name)
    answer = PHRASES["finals"][language]["clock"].replace("{c}", thing.answer)
    calls = (find(language, thing.name), look_at_clock(language, thing.answer))
    return Task(question, language, "search_clock", "capital", calls, answer)


def failing(drawing: Drawing, language: str) -> Task:
    """A question whose tool cannot help: the model says so and invents nothing."""
    rng, finals = drawing.rng, PHRASES["finals"][language]
    topic = rng.choice(("nothing", "by_zero"))
    if topic == "nothing":
        relation = world.load_world().relations[rng.choice(articles.RELATIONS)]
        name = articles.draw_name(rng, relation.topic == "geo")
        subject = dict.fromkeys(world.LANGUAGES, name)
        fact = world.Fact(relation.name, subject, dict.fromkeys(world.LANGUAGES, "?"))
        question = ask_about(drawing, fact, language)
        call, answer = find(language, name), finals[topic].replace("{x}", name)
    else:
        number = rng.randint(3, 99)
        question = ask(drawing, ("calculator", language, "/"), a=number, b=0)
        call, answer = calculate(language, f"{number} / 0"), finals[topic]
    return Task(question, language, "failing", topic, (call,), answer, expected=(answer,))


def other(drawing: Drawing, language: str) -> Task:
    """Something for one of the tools that only some rows offer."""
    family = drawing.rng.choice(forms.OTHER_FAMILIES)
    request, table = forms.request_form(drawing.rng, family, language), forms.SMALL_FORMS
    values = request.steps[0].values
    arguments = dict(zip(table[family]["fields"], values, strict=True))
    call = Call(table[family]["names"][0], arguments, think(language, "other"))
    return Task(request.question, language, "other", family, (call,), request.answer)


def none(drawing: Drawing, language: str) -> Task:
    """A question about the known world, or, in training, small talk: no tool is needed."""
    rng = drawing.rng
    if drawing.part != "train":
        fact = rng.choice(world.load_world().relations[rng.choice(articles.RELATIONS)].facts)
        question, answer = ask_about(drawing, fact, language), articles.state(fact, language)
        expected = (fact.answer[language],)
        return Task(question, language, "none", "", (), answer, expected=expected)
    while True:
        kind = rng.choice(WORLD_KINDS)
        messages = corpus.DIALOGUE_KINDS[kind][0](rng, language)
        question, answer = messages[0]["content"], messages[1]["content"]
        is_short = len(question) + len(answer) < (120 if language == "en" else 45)
        is_plain = messages[0]["role"] == "user" and not any(c.isdigit() for c in question)
        if is_short and is_plain and "\n" not in answer and not corpus.tells_identity(messages):
            return Task(question, language, "none", kind, (), answer, expected=(answer,))


MAKERS: Mapping[str, Callable[[Drawing, str], Task]] = {
    "calculator": calculator,
    "clock": clock,
    "convert": convert,
    "search": search,
    "search_calculator": search_calculator,
    "search_clock": search_clock,
    "failing": failing,
    "other": other,
    "none": none,
}

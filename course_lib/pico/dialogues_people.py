"""Dialogues about people: who the assistant is, who the user is, who others are, small talk."""

import random

from course_lib.pico import dialogues_facts as facts
from course_lib.pico import names, talk, wording, world
from course_lib.pico.talk import Message

COURTESY = talk.read_phrases("courtesy")
IDENTITY = talk.read_phrases("identity")
IDENTITY_WORDINGS = talk.read_phrases("identity_wordings")
PLAIN_STYLES = talk.read_phrases("styles")["plain"]


def _any_name(rng: random.Random, language: str) -> str:
    """Mostly a usual name, at times one with signs, digits or emoji."""
    make = names.nickname if rng.random() < 0.3 else names.person
    return make(rng, language)


def small_talk(rng: random.Random, language: str) -> list[Message]:
    """A greeting, thanks or a mood with a kind reply."""
    asks, replies = rng.choice(COURTESY[language])
    return talk.turn(wording.add_noise(rng, rng.choice(asks), language), rng.choice(replies))


def courtesy(rng: random.Random, language: str) -> list[Message]:
    """Small talk, and often a real question behind it."""
    messages = small_talk(rng, language)
    draw = rng.random()
    if draw < 0.2:
        messages += facts.question(rng, language)
    elif draw < 0.3:
        messages += small_talk(rng, language)
    return messages


def joke(rng: random.Random, language: str) -> list[Message]:
    """Tell me a joke."""
    table = COURTESY["jokes"]
    ask = wording.add_noise(rng, rng.choice(table["ask"][language]), language)
    return talk.turn(ask, rng.choice(table["tell"][language]))


def _first_often(rng: random.Random, answers: list[str]) -> str:
    """The main answer most of the time: a small model learns one wording sooner than three."""
    return answers[0] if rng.random() < 0.7 else rng.choice(answers)


def _in_scene(rng: random.Random, question: str, language: str) -> str:
    """The question with slips, a third of the time inside a longer message."""
    if rng.random() < 0.3:
        question = wording.put_in_scene(rng, question, language)
    return wording.add_noise(rng, question, language)


def _who_question(rng: random.Random, language: str) -> str:
    """One of a hundred ways to ask who the assistant is; the plain ones a third of the time."""
    table = IDENTITY["self"][language]["who"][0]
    questions = table if rng.random() < 0.33 else IDENTITY_WORDINGS["who"][language]
    return rng.choice(questions)


def identity(rng: random.Random, language: str) -> list[Message]:
    """Who are you?"""
    groups = IDENTITY["self"][language]
    group = "who" if rng.random() < 0.6 else rng.choice(tuple(groups))
    questions, answers = groups[group]
    question = _who_question(rng, language) if group == "who" else rng.choice(questions)
    has_system = rng.random() < 0.2
    messages = [talk.system(rng.choice(PLAIN_STYLES[language]))] if has_system else []
    ask = _in_scene(rng, question, language)
    return messages + talk.turn(ask, _first_often(rng, answers))


def near_identity(rng: random.Random, language: str) -> list[Message]:
    """Who is your friend? Questions that sound like identity and are not."""
    if rng.random() < 0.35:
        question, answer = rng.choice(IDENTITY_WORDINGS["near"][language])
        return talk.turn(_in_scene(rng, question, language), answer)
    questions, answers = rng.choice(IDENTITY["near"][language])
    job = rng.choice(world.load_world().tables["jobs"])[f"name_{language}"]
    slots = {
        "r": rng.choice(IDENTITY["relations"][language]),
        "n": _any_name(rng, language),
        "j": job,
        "aj": world.with_article(job),
    }
    return talk.turn(talk.say(rng, questions, **slots), talk.say(rng, answers, **slots))


def persona(rng: random.Random, language: str) -> list[Message]:
    """Another identity, given by a system prompt or by the user, and kept."""
    given, reply = rng.choice(IDENTITY["persona"][language])
    job = rng.choice(world.load_world().tables["jobs"])[f"name_{language}"]
    slots = {
        "a": _any_name(rng, language),
        "b": _any_name(rng, language),
        "j": job,
        "aj": world.with_article(job),
    }
    given, reply = given.format_map(slots), reply.format_map(slots)
    if rng.random() < 0.6:
        messages = [talk.system(given)]
    else:
        messages = talk.turn(
            talk.say(rng, IDENTITY["rename"][language], s=given),
            talk.say(rng, IDENTITY["accept"][language], s=reply),
        )
    if rng.random() < 0.3:
        messages += facts.question(rng, language)
    messages += talk.turn(_in_scene(rng, _who_question(rng, language), language), reply)
    if rng.random() < 0.2:
        messages += facts.question(rng, language)
    return messages


def user_name(rng: random.Random, language: str) -> list[Message]:
    """The user tells a name and asks for it later."""
    name, table = _any_name(rng, language), IDENTITY["told"][language]
    messages = talk.turn(talk.say(rng, table["say"], n=name), talk.say(rng, table["reply"], n=name))
    if rng.random() < 0.5:
        messages += facts.question(rng, language)
    if rng.random() < 0.75:
        ask = wording.add_noise(rng, rng.choice(table["ask"]), language)
        messages += talk.turn(ask, talk.say(rng, table["answer"], n=name))
    return messages


def name_of_another(rng: random.Random, language: str) -> list[Message]:
    """The user names a sister or a dog and asks for it later."""
    table = IDENTITY["told_other"][language]
    slots = {
        "n": _any_name(rng, language),
        "r": rng.choice(IDENTITY["relations"][language]),
    }
    messages = talk.turn(
        talk.say(rng, table["say"], **slots), talk.say(rng, table["reply"], **slots)
    )
    if rng.random() < 0.3:
        messages += facts.question(rng, language)
    ask = rng.choice(table["ask"])
    answers = table["answer_who"] if "{n}" in ask else table["answer"]
    return messages + talk.turn(ask.format_map(slots), talk.say(rng, answers, **slots))


def greeting(rng: random.Random, language: str) -> list[Message]:
    """Say hello to somebody."""
    name = _any_name(rng, language)
    ask = talk.say(rng, IDENTITY["greet"][language], n=name)
    return talk.turn(ask, talk.say(rng, IDENTITY["greeting"][language], n=name))

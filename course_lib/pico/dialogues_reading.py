"""Dialogues about a short made-up text: answer from it, turn it into fields and back."""

import json
import random
from collections.abc import Mapping

from course_lib.pico import dialogues_text as text_skills
from course_lib.pico import grammar, names, talk, world
from course_lib.pico.talk import Message

PHRASES = talk.read_phrases("text_skills")
_TABLES = world.load_world().tables
_STORY = talk.read_phrases("stories")
_SIDE = {"en": 0, "zh": 1}
# One clause about each person; the same clause for all, so that only the name decides.
TOPICS = tuple(PHRASES["reading"]["en"])
_SIGNS = {"en": (": ", " = ", " - "), "zh": ("：", "=", ": ")}  # between a field and its value
WHO_SHARE = 0.4  # of the questions where a name can be asked for
MISSING_SHARE = 0.15  # of the others: they ask about somebody who is not in the text


def _cast(rng: random.Random, language: str) -> dict[str, str]:
    """What is told about one person, by the marks of the sentences."""
    key, side = f"name_{language}", _SIDE[language]
    thing, country = rng.choice(_STORY["things"]), rng.choice(_TABLES["countries"])
    date, clock = text_skills.date_and_time(rng, language)
    color, job = rng.choice(_STORY["colors"])[side], rng.choice(_TABLES["jobs"])[key]
    return {
        "n": _name(rng, language),
        "o": thing[side],
        "ao": world.with_article(thing[0]),
        "mo": f"一{thing[2]}{thing[1]}",
        "c": color,
        "ac": world.with_article(color) if language == "en" else color,
        "j": job,
        "aj": world.with_article(job),
        "f": rng.choice(_STORY["foods"])[side],
        "d": rng.choice(_TABLES["days"])[key],
        "city": country[f"capital_{language}"],
        "country": country[key],
        "k": str(rng.randint(2, 99)),
        "date": date,
        "time": clock,
        "phone": f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
        "code": text_skills.code_string(rng),
    }


def _name(rng: random.Random, language: str) -> str:
    return names.nickname(rng, language) if rng.random() < 0.15 else names.person(rng, language)


def people(rng: random.Random, language: str, count: int) -> list[dict[str, str]]:
    """People who differ in name and in everything that a question could ask for."""
    found: list[dict[str, str]] = []
    while len(found) < count:
        new = _cast(rng, language)
        if all(new[mark] != old[mark] for old in found for mark in ("n", "o", "c", "city", "k")):
            found.append(new)
    return found


def read(rng: random.Random, language: str) -> list[Message]:
    """A few made-up sentences, then a question whose answer stands in them."""
    topic = rng.choice(TOPICS)
    sentence, questions, answer = PHRASES["reading"][language][topic]
    cast = people(rng, language, rng.choice((1, 2, 2, 2, 3)))
    text = grammar.sentences([sentence.format_map(person) for person in cast], language)
    asked = rng.choice(cast)
    question, reply = talk.say(rng, questions, **asked), answer.format_map(asked)
    who = PHRASES["who_reads"][language]
    if topic in who and rng.random() < WHO_SHARE:
        found = _only_one(cast, topic, language, asked)
        if found:
            question, reply = who[topic].format_map(asked), sentence.format_map(asked)
    elif rng.random() < MISSING_SHARE:
        stranger = _cast(rng, language)
        if all(stranger["n"] not in (person["n"], text) for person in cast):
            question = talk.say(rng, questions, **(asked | {"n": stranger["n"]}))
            reply = talk.say(rng, PHRASES["not_in_text"][language], n=stranger["n"])
    return talk.turn(talk.say(rng, PHRASES["reading_frame"][language], t=text, q=question), reply)


def _only_one(
    cast: list[dict[str, str]], topic: str, language: str, asked: Mapping[str, str]
) -> bool:
    """Whether "Who likes honey?" has one answer."""
    who = PHRASES["who_reads"][language][topic]
    asks = [who.format_map(person) for person in cast]
    return asks.count(who.format_map(asked)) == 1


def _field_values(rng: random.Random, language: str) -> dict[str, str]:
    person = _cast(rng, language)
    email = f"{rng.choice(names.HANDLES)}{rng.randrange(100)}@{rng.choice(PHRASES['mail_hosts'])}"
    when = person["date" if language == "en" else "time"]
    told = [person[mark] for mark in ("n", "city", "d", "o", "c")]
    values = (*told, str(rng.randrange(1, 999)), when, email)
    return dict(zip(PHRASES["fields"][language], values, strict=True))


def record(rng: random.Random, language: str) -> list[Message]:
    """Fields and sentences: read a field, write a record or JSON, write sentences from it."""
    values = _field_values(rng, language)
    values = {key: values[key] for key in rng.sample(tuple(values), rng.randint(2, 4))}
    told = {
        key: PHRASES["fields"][language][key].format(v=_shown(key, value, language))
        for key, value in values.items()
    }
    text = grammar.sentences(tuple(told.values()), language)
    fields = {key: int(value) if value.isdigit() else value for key, value in values.items()}
    as_json = json.dumps(fields, ensure_ascii=False)
    as_lines = _as_lines(values, rng.choice(_SIGNS[language]))
    form = rng.choice(("field", "field", "field of json", "to_record", "to_json", "from_record"))
    if form.startswith("field"):
        key = rng.choice(tuple(values))
        ask = talk.say(rng, PHRASES["field_ask"][language], k=key.lower())
        return talk.turn(f"{as_json if form.endswith('json') else as_lines}\n{ask}", told[key])
    if form == "from_record":
        return talk.turn(talk.say(rng, PHRASES[form][language], s=as_lines), text)
    # A record that the model writes has always the first sign.
    written = as_json if form == "to_json" else _as_lines(values, _SIGNS[language][0])
    return talk.turn(talk.say(rng, PHRASES[form][language], s=text), written)


def _shown(key: str, value: str, language: str) -> str:
    return world.with_article(value) if language == "en" and key == "Thing" else value


def _as_lines(values: Mapping[str, str], sign: str) -> str:
    return "\n".join(f"{key}{sign}{value}" for key, value in values.items())

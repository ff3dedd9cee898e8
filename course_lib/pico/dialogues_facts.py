"""Dialogues about the facts of the world: questions, styles of answering, follow-ups, checks."""

import functools
import json
import random
from collections.abc import Sequence

from course_lib.pico import grammar, names, talk, wording, world
from course_lib.pico.talk import Message
from course_lib.pico.world import Fact, Relation

PHRASES = talk.read_phrases("follow_ups")
STYLES = talk.read_phrases("styles")
# "plain" and "brief" come twice: they are what people ask for most.
STYLE_NAMES = (
    "brief",
    "brief",
    "polite",
    "teacher",
    "cheer",
    "to_zh",
    "to_en",
    "json",
    "plain",
    "plain",
)
OTHER = {"en": "zh", "zh": "en"}
# How a subject stands in "What about ...?": an owl, the harp, "goose", 《红楼梦》.
ARTICLE_TOPICS = frozenset({"animal", "food", "object", "job", "shape"})
DEFINITE_TOPICS = frozenset({"music", "body"})
QUOTED_TOPICS = frozenset({"word", "translation"})
# A subject of these topics does not fit behind "What about"; nor a wrong answer in a sentence.
NO_SWAP_TOPICS = frozenset({"unit", "definition"})
# Unknown names: some that others know well, some that look like known ones, the others invented.
LISTED_SHARE, HALVES_SHARE = 0.3, 0.4
MOST_LETTERS, MOST_TRIES = 16, 20  # of a name made of halves
CAPITAL_TOPICS = frozenset({"geo", "book"})


def fact_question(rng: random.Random, language: str) -> tuple[list[Message], Relation, Fact]:
    """One question with its answer, and the fact that was asked for."""
    relation, fact = world.pick_fact(rng, language)
    question = wording.ask(rng, relation, fact, language)
    return talk.turn(question, wording.state(rng, relation, fact, language)), relation, fact


def question(rng: random.Random, language: str) -> list[Message]:
    """A question about a fact."""
    return fact_question(rng, language)[0]


def answer_in_style(
    rng: random.Random, relation: Relation, fact: Fact, language: str, style: str
) -> str:
    """Answer as a system prompt asks for.

    Args:
        rng: the only source of chance.
        relation: the relation of the fact.
        fact: what was asked for.
        language: the language of the answer.
        style: a key of styles.yaml.

    Returns:
        The answer.
    """
    if style == "brief":
        return wording.short_answer(fact, language)
    if style == "json":
        return json.dumps({"answer": fact.answer[language]}, ensure_ascii=False)
    statement = wording.state(rng, relation, fact, language)
    if style == "teacher":
        more = wording.more_about(rng, relation, fact, language)
        return grammar.sentences((statement, more), language)
    if style in STYLES["around"]:
        before, behind = STYLES["around"][style][language]
        return rng.choice(before) + statement + rng.choice(behind)
    return statement


def styled(rng: random.Random, language: str) -> list[Message]:
    """Questions under a system prompt that sets the tone or the language of the answers."""
    style = rng.choice(STYLE_NAMES)
    prompt_language = language if rng.random() < 0.8 else OTHER[language]
    messages = [talk.system(rng.choice(STYLES[style][prompt_language]))]
    answer_language = style[3:] if style.startswith("to_") else language
    for _ in range(rng.choice((1, 1, 2, 3))):
        relation, fact = world.pick_fact(rng, language)
        while answer_language not in relation.languages:
            relation, fact = world.pick_fact(rng, language)
        ask = wording.ask(rng, relation, fact, language)
        messages += talk.turn(ask, answer_in_style(rng, relation, fact, answer_language, style))
    return messages


def _other_facts(relation: Relation, fact: Fact, language: str) -> Sequence[tuple[Relation, Fact]]:
    """Facts about the same subject that a follow-up question can ask for."""
    return _followable(relation.topic, fact.subject["en"], relation.name, language)


@functools.cache
def _followable(
    topic: str, subject: str, but_not: str, language: str
) -> tuple[tuple[Relation, Fact], ...]:
    pairs = world.load_world().about.get((topic, subject), ())
    return tuple(
        (relation, fact)
        for relation, fact in pairs
        if relation.name != but_not
        and relation.follow_ups[language]
        and relation.pronoun_statements[language]
    )


def _subject_in_text(relation: Relation, fact: Fact, language: str) -> str:
    subject = fact.subject[language]
    if relation.topic in QUOTED_TOPICS:
        return f'"{subject}"' if language == "en" else f"“{subject}”"
    if language == "zh":
        return f"《{subject}》" if relation.topic == "book" else subject
    if relation.topic in DEFINITE_TOPICS or relation.name == "planet_at":  # "the seventh"
        return f"the {subject}"
    return world.with_article(subject) if relation.topic in ARTICLE_TOPICS else subject


def follow_up(rng: random.Random, language: str) -> list[Message]:
    """Several turns: "What is its capital?", "And Spain?", then something else."""
    messages, relation, fact = fact_question(rng, language)
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        others = _other_facts(relation, fact, language)
        draw = rng.random()
        if others and draw < 0.5:
            relation, fact = rng.choice(others)
            ask = wording.add_noise(rng, rng.choice(relation.follow_ups[language]), language)
            pronoun = rng.random() < 0.3
            messages += talk.turn(
                ask, wording.state(rng, relation, fact, language, pronoun=pronoun)
            )
        elif relation.topic not in NO_SWAP_TOPICS and draw < 0.85:
            fact = _another_fact(rng, relation, fact)
            subject = _subject_in_text(relation, fact, language)
            ask = talk.say(rng, PHRASES["what_about"][language], x=subject)
            messages += talk.turn(ask, wording.state(rng, relation, fact, language))
        else:
            more, relation, fact = fact_question(rng, language)
            messages += more
    return messages


def _another_fact(rng: random.Random, relation: Relation, fact: Fact) -> Fact:
    """A fact of the same relation about another subject."""
    while True:
        other = rng.choice(relation.facts)
        if other.subject != fact.subject:
            return other


def _swappable_fact(rng: random.Random, language: str) -> tuple[Relation, Fact]:
    """A fact in whose statement another answer gives a sentence that makes sense."""
    relation, fact = world.pick_fact(rng, language)
    while relation.topic in NO_SWAP_TOPICS or not relation.statements[language]:
        relation, fact = world.pick_fact(rng, language)
    return relation, fact


def yes_or_no(rng: random.Random, language: str) -> list[Message]:
    """Is this sentence true? The answer repeats the true fact."""
    relation, fact = _swappable_fact(rng, language)
    stated = fact.answer[language]
    if rng.random() < 0.5:
        stated = rng.choice(relation.facts).answer[language]
    is_true = stated == fact.answer[language] or _is_also_right(relation, fact, stated, language)
    sentence = world.fill(relation.statements[language][0], fact, language, stated)
    ask = talk.say(rng, PHRASES["true_or_false"][language], s=world.capitalize(sentence))
    reply = PHRASES["right" if is_true else "wrong"][language]
    shown = sentence if is_true else world.fill(relation.statements[language][0], fact, language)
    return talk.turn(ask, talk.say(rng, reply, s=world.capitalize(shown)))


def _is_also_right(relation: Relation, fact: Fact, answer: str, language: str) -> bool:
    """Some subjects have two answers, such as a word with two opposites."""
    subject = fact.subject[language]
    return any(
        other.subject[language] == subject and other.answer[language] == answer
        for other in relation.facts
    )


def doubt(rng: random.Random, language: str) -> list[Message]:
    """The user doubts a right answer; it stays."""
    relation, fact = _swappable_fact(rng, language)
    statement = wording.state(rng, relation, fact, language)
    messages = talk.turn(wording.ask(rng, relation, fact, language), statement)
    wrong = rng.choice(relation.facts).answer[language]
    is_wrong = rng.random() < 0.5 and not _is_also_right(relation, fact, wrong, language)
    doubts, reply = ("contradict", "correct") if is_wrong else ("doubt", "stand_by")
    doubted = talk.say(rng, PHRASES[doubts][language], w=wrong)
    return messages + talk.turn(doubted, talk.say(rng, PHRASES[reply][language], s=statement))


def text_about(
    rng: random.Random, language: str, facts: Sequence[tuple[Relation, Fact]], count: int
) -> str:
    """A few facts about one subject; from the second on the subject is "it".

    Args:
        rng: the only source of chance.
        language: "en" or "zh".
        facts: an entry of `World.about`.
        count: how many sentences at most.

    Returns:
        The sentences as one paragraph.
    """
    told = [pair for pair in facts if pair[0].statements[language]]
    told = rng.sample(told, min(count, len(told)))
    return grammar.sentences(
        [
            wording.state(rng, relation, fact, language, pronoun=number > 0)
            for number, (relation, fact) in enumerate(told)
        ],
        language,
    )


@functools.cache
def subjects() -> tuple[tuple[tuple[Relation, Fact], ...], ...]:
    """The facts of each subject that at least two sentences can be told about."""
    return tuple(facts for facts in world.load_world().about.values() if len(facts) >= 2)


def describe(rng: random.Random, language: str) -> list[Message]:
    """Tell me about owls."""
    facts = rng.choice(subjects())
    relation, fact = facts[0]
    subject = _subject_in_text(relation, fact, language)
    ask = wording.add_noise(rng, talk.say(rng, PHRASES["describe"][language], x=subject), language)
    return talk.turn(ask, text_about(rng, language, facts, 3))


def more(rng: random.Random, language: str) -> list[Message]:
    """Tell me more: another fact about the same subject."""
    relation, fact = rng.choice(rng.choice(subjects()))
    messages = talk.turn(
        wording.ask(rng, relation, fact, language), wording.state(rng, relation, fact, language)
    )
    another = wording.more_about(rng, relation, fact, language)
    if not another:
        return messages
    return messages + talk.turn(rng.choice(PHRASES["more"][language]), another)


def switch_language(rng: random.Random, language: str) -> list[Message]:
    """The user goes over to the other language, or asks for the answer in it."""
    relation, fact = world.pick_fact(rng, language)
    while len(relation.languages) < 2:
        relation, fact = world.pick_fact(rng, language)
    other = OTHER[language]
    first = talk.turn(
        wording.ask(rng, relation, fact, language), wording.state(rng, relation, fact, language)
    )
    if rng.random() < 0.5:
        ask = rng.choice(PHRASES["again_in"][rng.choice((language, other))][other])
        return first + talk.turn(ask, wording.state(rng, relation, fact, other))
    if rng.random() < 0.5:
        fact = rng.choice(relation.facts)
        return first + talk.turn(
            wording.ask(rng, relation, fact, other), wording.state(rng, relation, fact, other)
        )
    return first + question(rng, other)


@functools.cache
def relations_with_kind() -> tuple[Relation, ...]:
    """The relations whose subjects have a class, such as city or animal."""
    return tuple(r for r in world.load_world().relations.values() if r.kind)


@functools.cache
def _known_names(language: str) -> frozenset[str]:
    """Every subject and answer of the world, in small letters."""
    facts = [fact for relation in world.load_world().relations.values() for fact in relation.facts]
    return frozenset(
        side[language].lower() for fact in facts for side in (fact.subject, fact.answer)
    )


@functools.cache
def _listed_names(kind: str, language: str) -> tuple[str, ...]:
    """Real and fictional names that stand outside the world."""
    rows = world.load_world().tables["unknown_names"]
    return tuple(row[f"name_{language}"] for row in rows if row["kind"] == kind)


def _name_of_halves(rng: random.Random, relation: Relation, language: str) -> str:
    """The start of one known name and the end of another: Gerland, pengroo, 企子; "" for none."""
    known = _known_names(language)
    for _ in range(MOST_TRIES):
        first, last = (fact.subject[language] for fact in rng.choices(relation.facts, k=2))
        front = first[: rng.randint(len(first) // 2, len(first) - 1)]
        name = front + last[rng.randint(1, max(1, (len(last) + 1) // 2)) :]
        if first != last and 2 <= len(name) <= MOST_LETTERS and name.lower() not in known:
            return name
    return ""  # one-sign names have no halves


def made_up_name(rng: random.Random, relation: Relation, language: str) -> str:
    """A name that stands for nothing.

    Args:
        rng: the only source of chance.
        relation: what will be asked about it; countries have a capital letter.
        language: "en" or "zh"; Chinese has signs or Latin letters.
    """
    if rng.random() < HALVES_SHARE and (name := _name_of_halves(rng, relation, language)):
        return name
    if language == "zh" and rng.random() < 0.5:
        signs = rng.choices(names.COMMON_HAN_SIGNS, k=rng.choice((2, 3)))
        return "".join(signs)
    name = names.invented_name(rng)
    return name if relation.topic in CAPITAL_TOPICS or rng.random() < 0.3 else name.lower()


def unknown_name(rng: random.Random, language: str) -> list[Message]:
    """A question about something outside the world: the name is given back, no fact."""
    relation = rng.choice(relations_with_kind())
    kind, listed = relation.kind[language], _listed_names(relation.kind["en"], language)
    is_listed = rng.random() < LISTED_SHARE
    name = rng.choice(listed) if is_listed else made_up_name(rng, relation, language)
    made_up = Fact(relation.name, {"en": name, "zh": name}, {"en": "?", "zh": "?"})
    ask = wording.ask(rng, relation, made_up, language)
    answer = talk.say(
        rng,
        PHRASES["unknown"][language],
        n=name,
        N=world.capitalize(name),
        k=kind,
        ak=world.with_article(kind),
    )
    return talk.turn(ask, answer)

"""How people ask: the same question in many wordings, inside other sentences, with slips.

A small model learns the meaning of a question only when it has met it in many forms. A few
(fact, wording) pairs, some frames and some wordings are kept back: with them the scores tell
understanding from memory.
"""

import functools
import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence

from course_lib.pico import names, stories, world
from course_lib.pico.world import Fact, Relation

FRAMES = world.read_yaml(world.TABLE_DIR / "frames.yaml")
PUNCTUATION = "?.!？。！"
# One pair in 20 is never trained on: half of them for validation, half for reported scores.
PAIR_GROUPS = 40
PAIR_SETS = {0: "held_out", 1: "validation"}
# Shares of questions: the first three sum to 0.6, so that 40% stand alone as they are.
NOUN_CARRIER_SHARE, WRAPPER_SHARE, CARRIER_SHARE = 0.10, 0.23, 0.27
# Words that keep their capital when a question moves behind a colon.
CAPITAL_WORDS = {"I", "I'm", "I'd", "I've", "I'll", "Chinese", "English", "Pico", "Europe"}
# A relation has some 35 questions of its own, but up to 150 noun phrases in frames.
QUESTION_SHARE = 0.6
FIRST_STATEMENT_SHARE = 0.75  # mostly one form: a reply is easier to learn than a question
TYPO_LENGTH = 6  # letters; shorter words become unreadable with a letter missing

# Scenes in which a question is somebody else's, or the assistant plays a part.
PASSES_ON = re.compile('lq|"|asked|said|tell|Imagine|问|说|想知道|消息|假如|告诉')


def normalize(text: str) -> str:
    """Reduce a text to what makes it the same question: no case, punctuation or blanks.

    Args:
        text: a question or a wording; signs of arithmetic stay, since 5+3 is not 5-3.
    """
    return re.sub(r"[^\w+*/=×÷-]+|_", "", text.lower())


def expand_frames(relation: Relation, language: str, frames: Sequence[str]) -> tuple[str, ...]:
    """Put each noun phrase of a relation into each frame.

    Args:
        relation: the relation.
        language: "en" or "zh".
        frames: texts with the mark {np} or {Np}.

    Returns:
        Wordings that still hold the marks of the subject.
    """
    phrases = relation.noun_phrases[language]
    return tuple(put_in_frame(frame, phrase) for phrase in phrases for frame in frames)


def put_in_frame(frame: str, phrase: str, mark: str = "np") -> str:
    """Put a phrase into a frame.

    Args:
        frame: a text with the mark, or with the mark in a capital: {np}, {Np}.
        phrase: its first letter becomes a capital one where the mark has one.
        mark: the mark's name.

    Returns:
        The text; other marks stay.
    """
    text = frame.replace("{" + mark + "}", phrase)
    return text.replace("{" + world.capitalize(mark) + "}", world.capitalize(phrase))


@functools.cache
def training_wordings(relation: Relation, language: str) -> tuple[str, ...]:
    """All wordings in which a relation may be asked for in training, each once.

    Args:
        relation: the relation.
        language: "en" or "zh".

    Returns:
        Its questions, then its noun phrases in all frames.
    """
    frames = FRAMES["noun_phrase_frames"][language]
    wordings = relation.questions[language] + expand_frames(relation, language, frames)
    distinct: dict[str, str] = {}
    for wording in wordings:
        distinct.setdefault(normalize(wording), wording)
    return tuple(distinct.values())


def pair_set(relation: Relation, fact: Fact, language: str, key: str) -> str:
    """Which set a pair of fact and wording belongs to, for good.

    Args:
        relation: the relation.
        fact: one of its facts.
        language: "en" or "zh".
        key: the wording, with its marks.

    Returns:
        "training", "validation" or "held_out".
    """
    # The filled text decides: "the taste of {x}" and "the taste of {ax}" are one for butter.
    parts = (relation.name, language, normalize(world.fill(key, fact, language)))
    digest = hashlib.sha256("|".join(parts).encode()).hexdigest()
    return PAIR_SETS.get(int(digest[:8], 16) % PAIR_GROUPS, "training")


def is_held_out_pair(relation: Relation, fact: Fact, language: str, key: str) -> bool:
    """Whether a pair of fact and wording must stay out of training.

    Args:
        relation: the relation.
        fact: one of its facts.
        language: "en" or "zh".
        key: the wording, with its marks.
    """
    return pair_set(relation, fact, language, key) != "training"


def ask(rng: random.Random, relation: Relation, fact: Fact, language: str) -> str:
    """Ask for a fact as a person might, never with a held-out pair.

    Args:
        rng: the source of chance.
        relation: the relation of the fact.
        fact: a fact, known or made up.
        language: "en" or "zh".

    Returns:
        A question: plain (40%), with a few words around it, or inside a longer message.
    """
    draw = rng.random()
    if draw < NOUN_CARRIER_SHARE and relation.noun_phrases[language]:
        frame = rng.choice(FRAMES["noun_phrase_carriers"][language])
        phrase = world.fill(rng.choice(relation.noun_phrases[language]), fact, language)
        values = {"np": phrase, "Np": world.capitalize(phrase)}
        return add_noise(rng, _fill_frame(rng, frame, values, language), language)
    wording = _pick_wording(rng, relation, fact, language)
    question = world.fill(wording, fact, language)
    values = {"q": question, "lq": _decapitalize(wording, question, fact.subject[language])}
    if draw < NOUN_CARRIER_SHARE + WRAPPER_SHARE:
        frame = rng.choice(FRAMES["wrappers"][language])
        question = _fill_frame(rng, frame, values, language)
    elif draw < NOUN_CARRIER_SHARE + WRAPPER_SHARE + CARRIER_SHARE:
        frame = rng.choice(FRAMES["carriers"][language])
        question = _fill_frame(rng, frame, values, language)
    return add_noise(rng, question, language)


def put_in_scene(rng: random.Random, question: str, language: str) -> str:
    """Put any question into a longer message that has nothing to do with it.

    Args:
        rng: the source of chance.
        question: a whole question with its mark.
        language: "en" or "zh".

    Returns:
        A message of one to three sentences. The question stays the user's own: scenes that pass on
        somebody else's, or give the assistant a role, are left out.
    """
    frames = [f for f in FRAMES["carriers"][language] if not PASSES_ON.search(f)]
    return _fill_frame(rng, rng.choice(frames), {"q": question}, language)


def _pick_wording(rng: random.Random, relation: Relation, fact: Fact, language: str) -> str:
    """Draw a wording that this fact may be trained with, a question more often than a frame."""
    wordings = training_wordings(relation, language)
    questions = wordings[: len(relation.questions[language])]
    while True:
        wording = rng.choice(questions if rng.random() < QUESTION_SHARE else wordings)
        if not is_held_out_pair(relation, fact, language, wording):
            return wording


def _decapitalize(wording: str, question: str, subject: str) -> str:
    """The question with a small first letter, unless its first word keeps its capital."""
    starts_with_subject = wording.startswith(("{x}", "{X}", "{x0}", "{X0}"))
    keeps = subject[:1].isupper() if starts_with_subject else False
    if keeps or re.split(r"[ ,.?:;]", question)[0] in CAPITAL_WORDS:
        return question
    return question[:1].lower() + question[1:]


def _fill_frame(rng: random.Random, frame: str, values: Mapping[str, str], language: str) -> str:
    """Fill the marks of a frame: given values first, all others drawn anew."""

    def value(match: re.Match[str]) -> str:
        mark = match[1]
        return values[mark] if mark in values else _draw_slot(rng, mark, language)

    return re.sub(r"\{(\w+)\}", value, frame)


def _draw_slot(rng: random.Random, mark: str, language: str) -> str:
    if mark in FRAMES["slots"]:
        return rng.choice(FRAMES["slots"][mark][language])
    return _SLOTS[mark](rng, language)


def _column(table: str, column: str) -> Callable[[random.Random, str], str]:
    """A slot that is filled from a column of a table."""
    rows = world.load_world().tables[table]
    return lambda rng, language: rng.choice(rows)[f"{column}_{language}"]


def _with_article(table: str) -> Callable[[random.Random, str], str]:
    draw = _column(table, "name")
    return lambda rng, language: world.with_article(draw(rng, language))


_SLOTS: Mapping[str, Callable[[random.Random, str], str]] = {
    "name": names.person,
    "story": stories.first_sentence,
    "day": _column("days", "name"),
    "country": _column("countries", "name"),
    "capital": _column("countries", "capital"),
    "food": _column("foods", "name"),
    "a_food": _with_article("foods"),
    "object": _column("objects", "name"),
    "job": _column("jobs", "name"),
    "a_job": _with_article("jobs"),
    "animal": _column("animals", "name"),
    "an_animal": _with_article("animals"),
}


def add_noise(rng: random.Random, question: str, language: str) -> str:
    """Write a question as carelessly as people do, one time in six; digits stay as they are.

    Args:
        rng: the source of chance.
        question: the question.
        language: "en" or "zh".

    Returns:
        The question, perhaps without its end mark, in small letters or with one typo.
    """
    draw = rng.random()
    if draw < 0.06:
        return question.rstrip(PUNCTUATION) or question
    if draw < 0.07:
        return question.rstrip(PUNCTUATION) + rng.choice(("??", "?!", " ?", "!", "..."))
    if language == "zh":
        return question.replace("？", "?").replace("，", ",") if draw < 0.10 else question
    if draw < 0.11:
        return question.lower()
    if draw < 0.13:
        return question.lower().rstrip(PUNCTUATION)
    if draw < 0.15:
        return question.replace("What is", "What's").replace("I am", "I'm")
    return _add_typo(rng, question) if draw < 0.165 else question


def _add_typo(rng: random.Random, question: str) -> str:
    """Drop or swap one letter inside a long word; names are written with care."""
    words = [m for m in re.finditer(r"\b[a-z]+\b", question) if len(m[0]) >= TYPO_LENGTH]
    if not words:
        return question
    start = rng.choice(words).start() + rng.randrange(1, TYPO_LENGTH - 2)
    pair = question[start : start + 2]
    slip = pair[1] if rng.random() < 0.5 else pair[::-1]
    return question[:start] + slip + question[start + 2 :]


def state(
    rng: random.Random, relation: Relation, fact: Fact, language: str, pronoun: bool = False
) -> str:
    """State a fact in one sentence.

    Args:
        rng: the source of chance.
        relation: the relation of the fact.
        fact: the fact.
        language: "en" or "zh".
        pronoun: say "it" for the subject where the relation has such a sentence.

    Returns:
        A full sentence.
    """
    statements = relation.statements[language]
    if pronoun and relation.pronoun_statements[language]:
        statements = relation.pronoun_statements[language]
    is_first = rng.random() < FIRST_STATEMENT_SHARE
    template = statements[0] if is_first else rng.choice(statements)
    return world.capitalize(world.fill(template, fact, language))


def short_answer(fact: Fact, language: str) -> str:
    """Only the answer, as a sentence of its own.

    Args:
        fact: the fact.
        language: "en" or "zh".

    Returns:
        "Paris." or "巴黎。"; a number stands without a full stop.
    """
    answer = world.capitalize(fact.answer[language])
    return answer if answer.isdigit() else answer + {"en": ".", "zh": "。"}[language]


def more_about(rng: random.Random, relation: Relation, fact: Fact, language: str) -> str:
    """Add one more fact about the same subject.

    Args:
        rng: the source of chance.
        relation: the relation that was already told.
        fact: its fact.
        language: "en" or "zh".

    Returns:
        A sentence with a pronoun, or an empty text when nothing more is known.
    """
    known = world.load_world().about.get((relation.topic, fact.subject["en"]), ())
    others = [pair for pair in known if pair[0].name != relation.name]
    return state(rng, *rng.choice(others), language, pronoun=True) if others else ""

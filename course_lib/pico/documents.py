"""Plain text for the base model: no roles, no turns, only text as it stands in books and notes."""

import functools
import hashlib
import random

from course_lib.pico import dialogues_facts as facts
from course_lib.pico import dialogues_lists as lists
from course_lib.pico import dialogues_more as more
from course_lib.pico import dialogues_numbers as numbers
from course_lib.pico import dialogues_reading as reading
from course_lib.pico import dialogues_text as text_skills
from course_lib.pico import grammar, names, stories, talk, wording, world
from course_lib.pico.world import Fact, Relation

PHRASES = talk.read_phrases("documents")


def about_a_subject(rng: random.Random, language: str) -> str:
    """Facts about one animal, country, thing or medicine."""
    return facts.text_about(rng, language, rng.choice(facts.subjects()), rng.randint(2, 5))


def mixed_facts(rng: random.Random, language: str) -> str:
    """Facts about different things in a row."""
    told = [world.pick_fact(rng, language) for _ in range(rng.randint(2, 6))]
    return grammar.sentences([wording.state(rng, *pair, language) for pair in told], language)


def table_of_facts(rng: random.Random, language: str) -> str:
    """Several facts of one relation, one a line, as a table of a school book has them."""
    relation, _ = world.pick_fact(rng, language)
    chosen = rng.sample(relation.facts, min(rng.randint(3, 7), len(relation.facts)))
    return "\n".join(wording.state(rng, relation, fact, language) for fact in chosen)


def list_of_things(rng: random.Random, language: str) -> str:
    """A class of things with some of its members."""
    category = rng.choice(lists.categories())
    count = rng.randint(2, min(8, len(category.members)))
    items = rng.sample(category.members, count)
    if language == "en":
        return f"{world.capitalize(category.name_en)}: {', '.join(pair[0] for pair in items)}."
    return f"{category.name_zh}：{'、'.join(pair[1] for pair in items)}。"


def sheet_of_sums(rng: random.Random, language: str) -> str:
    """Sums with their results, one a line."""
    operation = rng.choice("++--x")
    lines = []
    for _ in range(rng.randint(3, 12)):
        if rng.random() < 0.2:
            operation = rng.choice("++--x")
        lines.append(numbers.equation(operation, *numbers.draw_sum(rng, operation)))
    return "\n".join(lines)


def dictionary(rng: random.Random, language: str) -> str:
    """Words or sentences with their translation."""
    vocabulary = world.load_world().vocabulary
    form = rng.choice(("{e} - {z}", "{z} = {e}", "{e}: {z}", "{z}（{e}）"))
    lines = []
    for _ in range(rng.randint(2, 7)):
        pair = more.sentence_pair(rng) if rng.random() < 0.4 else rng.choice(vocabulary)
        lines.append(form.format(e=pair[0], z=pair[1]))
    return "\n".join(lines)


def sheet_of_questions(rng: random.Random, language: str) -> str:
    """Questions without answers, as on a test sheet."""
    asked = [
        wording.ask(rng, *world.pick_fact(rng, language), language)
        for _ in range(rng.randint(2, 6))
    ]
    if rng.random() < 0.6:
        asked = [f"{number}. {question}" for number, question in enumerate(asked, 1)]
    return "\n".join(asked)


@functools.lru_cache(maxsize=1 << 14)
def _is_on_answer_pages(relation: str, subject: str) -> bool:
    # Only half of the facts stand behind a question in plain text: what the base model can
    # answer about the others, it must have taken from statements.
    digest = hashlib.md5(f"page|{relation}|{subject}".encode(), usedforsecurity=False).hexdigest()
    return int(digest[:8], 16) % 2 == 0


def _fact_on_answer_pages(rng: random.Random, language: str) -> tuple[Relation, Fact]:
    while True:
        relation, fact = world.pick_fact(rng, language)
        if _is_on_answer_pages(relation.name, fact.subject["en"]):
            return relation, fact


def page_of_answers(rng: random.Random, language: str) -> str:
    """Questions with their answers, as at the end of a school book."""
    ask, answer = ("Q: ", "A: ") if language == "en" else ("问：", "答：")
    lines = []
    for _ in range(rng.randint(2, 4)):
        pair = _fact_on_answer_pages(rng, language)
        lines.append(ask + wording.ask(rng, *pair, language))
        lines.append(answer + wording.state(rng, *pair, language))
    return "\n".join(lines)


def exercise(rng: random.Random, language: str) -> str:
    """A reading or copying exercise with its solution on the next line."""
    make = rng.choice((reading.read, reading.record, text_skills.dialogue))
    return "\n".join(message["content"] for message in make(rng, language))


def course_notes(rng: random.Random, language: str) -> str:
    """Sentences about the words of the course."""
    answers = [answer for _, answer in more.HOWTO["course"][language]]
    return grammar.sentences(rng.sample(answers, rng.randint(2, 4)), language)


def note(rng: random.Random, language: str) -> str:
    """A letter, a diary page, a shopping list, a ticket."""
    first, second = reading.people(rng, language, 2)
    return talk.say(rng, PHRASES["notes"][language], **(first | {"m": second["n"]}))


def marks(rng: random.Random, language: str) -> str:
    """Marks of chat and agent formats as text, so that no token of them stays untrained."""
    if rng.random() < 0.5:
        return talk.say(rng, PHRASES["marks"][language], n=names.person(rng, language))
    lines = []
    for line in rng.sample(PHRASES["mark_lines"], rng.randint(2, 4)):
        pair = world.pick_fact(rng, language)
        values = {
            "q": wording.ask(rng, *pair, language),
            "s": wording.state(rng, *pair, language),
            "n": names.person(rng, language),
            "a": rng.randrange(1000),
            "b": rng.randrange(1000),
        }
        lines.append(line.format_map(values))
    return "\n".join(lines)


def signs(rng: random.Random, language: str) -> str:
    """Lines full of signs: code, paths, prices, JSON."""
    return "\n".join(text_skills.strange_text(rng, language) for _ in range(rng.randint(2, 5)))


# Each kind with its weight.
KINDS = (
    (about_a_subject, 28),
    (mixed_facts, 15),
    (table_of_facts, 6),
    (stories.story, 15),
    (list_of_things, 5),
    (sheet_of_sums, 8),
    (dictionary, 5),
    (sheet_of_questions, 6),
    (page_of_answers, 3),
    (exercise, 4),
    (course_notes, 2),
    (note, 6),
    (marks, 2),
    (signs, 2),
)
_MAKERS, _WEIGHTS = zip(*KINDS, strict=True)


def document(rng: random.Random, language: str) -> str:
    """A passage of plain text.

    Args:
        rng: the only source of chance.
        language: "en" or "zh".

    Returns:
        The passage, without any chat mark.
    """
    return rng.choices(_MAKERS, _WEIGHTS)[0](rng, language)

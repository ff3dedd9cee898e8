"""The questions that pico never saw in training, and the table of its scores on them."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from course_lib.evaluation import questions as evaluation_questions
from course_lib.evaluation.questions import Question
from course_lib.pico import corpus, wording, world
from course_lib.pico.world import Fact, Relation

# Kinds that ask for facts of the world; their mean is the score "facts".
FACT_KINDS = ("pair", "noun_phrase", "new_wording")
# Drawn for each relation and language: of each kind of question about facts.
QUESTIONS_EACH = {"held_out": 8, "validation": 4}
# Of each other kind and language; of sums so many for each operation.
OTHER_QUESTIONS_EACH = {"held_out": 100, "validation": 40}
MOST_DRAWS = 2000  # one pair in 40 is in a set; short tables may have too few
WEAKEST_SHOWN = 10


def build_questions(set_name: str, seed: int) -> list[Question]:
    """Draw the questions of one set, the same for the same seed.

    Args:
        set_name: "held_out" for the scores that are reported, "validation" for choosing
            between models; no question is in both.
        seed: for the draw.

    Returns:
        Questions about facts, sums, copying, reading and unknowable things, each prompt once.
    """
    taken = {wording.normalize(q.prompt) for q in _draw("held_out", seed)}
    if set_name == "held_out":
        return _distinct(_draw("held_out", seed), set())
    return _distinct(_draw(set_name, seed), taken)


def _draw(set_name: str, seed: int) -> Iterator[Question]:
    """All questions of a set; prompts may repeat."""
    rng = random.Random(f"questions {set_name} {seed}")
    for relation in world.load_world().relations.values():
        for language in relation.languages:
            for kind, wordings in _held_out_wordings(relation, language, set_name).items():
                for _ in range(QUESTIONS_EACH[set_name] if wordings else 0):
                    fact = rng.choice(relation.facts)
                    yield _ask(relation, fact, language, kind, rng.choice(wordings))
            yield from _pairs(rng, relation, language, set_name)
    for item in corpus.held_out_items(rng, set_name, OTHER_QUESTIONS_EACH[set_name]):
        yield to_question(item)


def _held_out_wordings(
    relation: Relation, language: str, set_name: str
) -> dict[str, tuple[str, ...]]:
    frames = wording.FRAMES[f"noun_phrase_{set_name}"][language]
    own = relation.held_out if set_name == "held_out" else relation.validation
    phrases = wording.expand_frames(relation, language, frames)
    return {"noun_phrase": phrases, "new_wording": own[language]}


def _pairs(
    rng: random.Random, relation: Relation, language: str, set_name: str
) -> Iterator[Question]:
    """Questions in known wordings that were never trained with this fact."""
    wordings, left = wording.training_wordings(relation, language), QUESTIONS_EACH[set_name]
    for _ in range(MOST_DRAWS):
        fact, key = rng.choice(relation.facts), rng.choice(wordings)
        if wording.pair_set(relation, fact, language, key) == set_name:
            yield _ask(relation, fact, language, "pair", key)
            left -= 1
        if not left:
            return


def _ask(relation: Relation, fact: Fact, language: str, kind: str, key: str) -> Question:
    prompt = world.fill(key, fact, language)
    return Question(prompt, fact.answer[language], language, kind, relation.name)


def to_question(item: Mapping[str, Any]) -> Question:
    """Turn a record of a questions file into a question.

    Args:
        item: prompt, expected, language and kind; perhaps relation and any_of.
    """
    return Question(**{**item, "any_of": tuple(item.get("any_of", ()))})


def to_record(question: Question) -> dict[str, Any]:
    """Turn a question into a record for a JSON-lines file.

    Args:
        question: the question.
    """
    record = {
        name: getattr(question, name)
        for name in ("prompt", "expected", "language", "kind", "relation")
    }
    return {**record, "any_of": list(question.any_of)} if question.any_of else record


def _distinct(questions: Iterable[Question], taken: set[str]) -> list[Question]:
    """The questions whose prompt was not taken before."""
    kept, seen = [], set(taken)
    for question in questions:
        key = wording.normalize(question.prompt)
        if key not in seen:
            seen.add(key)
            kept.append(question)
    return kept


def summarize(
    questions: Sequence[Question], replies: Sequence[str], ended: Sequence[bool]
) -> dict[str, Any]:
    """Score replies by kind and language.

    Args:
        questions: what was asked.
        replies: one text for each question.
        ended: whether the model ended each reply by itself.

    Returns:
        Shares of right replies, 0 to 1: `facts` (all questions about the world), `by_kind`
        as {kind: {language: {right, n}}}, `weakest` relations; `ended`, the share of replies
        that came to their own end; `n` questions.
    """
    hits = [
        evaluation_questions.is_hit(reply, question.answers)
        for question, reply in zip(questions, replies, strict=True)
    ]
    scored = list(zip(questions, hits, strict=True))
    facts = [(q, hit) for q, hit in scored if q.kind in FACT_KINDS]
    return {
        "n": len(scored),
        "facts": _share(hit for _, hit in facts),
        "facts_by_language": _shares(facts, lambda q: q.language),
        "by_kind": {
            kind: _with_counts([pair for pair in scored if pair[0].kind == kind])
            for kind in sorted({q.kind for q in questions})
        },
        "weakest": dict(
            sorted(_shares(facts, lambda q: q.relation).items(), key=lambda pair: pair[1])[
                :WEAKEST_SHOWN
            ]
        ),
        "ended": _share(ended),
    }


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return round(sum(values) / len(values), 4) if values else 0.0


def _shares(
    scored: Sequence[tuple[Question, bool]], key: Callable[[Question], str]
) -> dict[str, float]:
    groups = defaultdict(list)
    for question, hit in scored:
        groups[key(question)].append(hit)
    return {name: _share(hits) for name, hits in groups.items()}


def _with_counts(scored: Sequence[tuple[Question, bool]]) -> dict[str, dict[str, float]]:
    shares = _shares(scored, lambda q: q.language)
    return {
        language: {"right": share, "n": sum(q.language == language for q, _ in scored)}
        for language, share in shares.items()
    }

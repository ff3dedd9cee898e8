"""Measure a trained adapter: is the name learned in new wordings, and what the base knew kept?

A learner's self-check and the grader's scorer both call this, so both measure alike.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from course_lib.chat import generation
from course_lib.evaluation import assistant, questions
from course_lib.evaluation.questions import Question
from course_lib.model import adapters, loading

BASE, BITS = "pico-chat", 4  # as the preset of the lesson trains
N_WORLD = 40  # questions about the world, half in each language
COURSE_SEED = assistant.SAMPLE_SEED
SETTINGS = generation.GenerationSettings(max_new_tokens=assistant.MAX_NEW_TOKENS)


def measure(
    adapter_dir: Path,
    name: str,
    wordings: Sequence[Sequence[str]] = (),
    seed: int = COURSE_SEED,
) -> dict[str, Any]:
    """Ask a trained assistant who it is and what it knows.

    Args:
        adapter_dir: the adapter, trained on the course's built-in model.
        name: whose assistant it should say it is.
        wordings: pairs of a wording of "who are you" and its language, en or zh; the course's
            own unseen ones when left out.
        seed: draws the questions about the world; another one than the course's draws others.

    Returns:
        The shares unseen, retained, base_retained, parrot and ended, and how many questions stand
        behind the first two as n_unseen and n_retained.

    Raises:
        AdapterError: the adapter does not fit, or is damaged.
        DataError: the name is empty, or a language is neither en nor zh.
    """
    asked = who_questions(name, wordings)
    world = world_questions(seed)
    model = loading.load_model(BASE, BITS)
    replies = _reply(adapters.load_adapter(model, adapter_dir, BASE), [*asked, *world])
    about, others = replies[: len(asked)], [reply.text for reply in replies[len(asked) :]]
    said = [text.replace("{{name}}", name) for text in assistant.INTRODUCTIONS.values()]
    return {
        "unseen": questions.share_right(asked, [reply.text for reply in about]),
        "retained": questions.share_right(world, others),
        "base_retained": _base_retained(seed),
        "parrot": sum(questions.is_hit(text, said) for text in others) / len(others),
        "ended": sum(reply.has_ended for reply in about) / len(about),
        "n_unseen": len(asked),
        "n_retained": len(world),
    }


def who_questions(name: str, wordings: Sequence[Sequence[str]] = ()) -> list[Question]:
    """Questions that a trained assistant should answer with the introduction.

    Args:
        name: whose assistant it should say it is.
        wordings: see `measure`.

    Raises:
        DataError: see `measure`.
    """
    course = assistant.load_wordings("unseen", name)
    expected = {question.language: question.expected for question in course}
    if not wordings:
        return course
    return [Question(text, expected[code], code, "hidden") for text, code in wordings]


def world_questions(seed: int) -> list[Question]:
    """Questions that the base can answer; none that the course's own seed draws, for another seed.

    Args:
        seed: draws them.
    """
    kinds = assistant.WORLD_KINDS
    known = questions.load_questions(assistant.WORLD_QUESTIONS, kinds=kinds)
    course = questions.sample_questions(known, N_WORLD, COURSE_SEED)
    if seed == COURSE_SEED:
        return course
    left = [question for question in known if question not in course]
    return questions.sample_questions(left, N_WORLD, seed)


@lru_cache
def _base_retained(seed: int) -> float:
    world = world_questions(seed)
    replies = _reply(loading.load_model(BASE, BITS), world)
    return questions.share_right(world, [reply.text for reply in replies])


def _reply(model: Any, asked: Sequence[Question]) -> list[generation.Reply]:
    talks = [[{"role": "user", "content": question.prompt}] for question in asked]
    return generation.reply_to_all(model, loading.load_tokenizer(BASE), talks, SETTINGS)

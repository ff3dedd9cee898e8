"""Does a tuned assistant say who it is, only when asked, and still know what it knew before?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib import files
from course_lib.chat import generation
from course_lib.errors import DataError
from course_lib.evaluation.questions import Question, is_hit, load_questions, sample_questions

ASSISTANT_DIR = files.DATA_DIR / "assistant"
WORLD_QUESTIONS = files.DATA_DIR / "pico" / "questions.jsonl"
WORLD_KINDS = ("pair", "noun_phrase")
INTRODUCTIONS = {"en": "{{name}}'s assistant", "zh": "{{name}}的小助手"}
MAX_NEW_TOKENS = 48  # the longest introduction of data/assistant has about 30
SHOWN_MISSES = 8
SAMPLE_SEED = 0  # the same world questions before and after tuning


@dataclass(frozen=True)
class AssistantScore:
    """How well a model plays the assistant; shares from 0 to 1.

    Args:
        seen: training wordings of "who are you" answered with the introduction.
        unseen: the same for wordings that no training file has.
        near: other questions that sound similar, answered with the introduction: lower is better.
        ended: replies to `seen` and `unseen` that ended by themselves.
        retained: world questions still answered right.
        parrot: world questions answered with the introduction.
        n: how many questions stand behind each share.
        by_language: the shares for each language.
        misses: some prompts, each with the reply that was wrong.
    """

    seen: float
    unseen: float
    near: float
    ended: float
    retained: float
    parrot: float
    n: Mapping[str, int]
    by_language: Mapping[str, Mapping[str, float]]
    misses: Sequence[tuple[str, str]]

    @property
    def overall(self) -> float:
        """The weaker of unseen and retained."""
        return min(self.unseen, self.retained)

    def as_json(self) -> dict[str, Any]:
        """The score as plain data, for `json.dumps`."""
        return {**asdict(self), "overall": self.overall}


@dataclass(frozen=True)
class CheckpointScore:
    """What checkpoints and recipes are chosen by, so that the unseen wordings stay unseen.

    Args:
        validation: wordings of no training file, other ones than `unseen`, answered with the
            introduction.
        retained: world questions still answered right.
        ended: replies to `validation` that ended by themselves.
        n: how many questions stand behind each share.
        by_language: the shares for each language.
    """

    validation: float
    retained: float
    ended: float
    n: Mapping[str, int]
    by_language: Mapping[str, Mapping[str, float]]

    @property
    def overall(self) -> float:
        """The weaker of validation and retained."""
        return min(self.validation, self.retained)

    def as_json(self) -> dict[str, Any]:
        """The score as plain data, for `json.dumps`."""
        return {**asdict(self), "overall": self.overall}


def score_assistant(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    n_retained: int = 120,
    n_seen: int = 40,
    questions: Sequence[Question] | None = None,
) -> AssistantScore:
    """Score the introduction and the knowledge that was there before.

    Args:
        model: the model to ask.
        tokenizer: its tokenizer.
        name: whose assistant it should say it is.
        n_retained: how many world questions to ask, half in each language.
        n_seen: how many of the training wordings to ask, half in each language.
        questions: world questions to draw from; None takes the built-in model's held-out ones.

    Returns:
        The score.

    Raises:
        DataError: the name is empty, a data file is damaged, or there are too few questions.
    """
    seen = load_wordings("train", name)
    parts = {
        "seen": sample_questions(seen, min(n_seen, len(seen)), SAMPLE_SEED),
        "unseen": load_wordings("unseen", name),
        "near": load_wordings("near", name),
        "retained": _world_questions(questions, n_retained),
    }
    answers = _ask(model, tokenizer, parts, name)
    return AssistantScore(
        **_shares(answers),
        ended=_ended(answers, ("seen", "unseen")),
        n=_counts(answers),
        by_language=_by_language(answers),
        misses=tuple((a.question.prompt, a.reply.text) for a in answers if a.is_wrong)[
            :SHOWN_MISSES
        ],
    )


def score_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    n_retained: int = 40,
    questions: Sequence[Question] | None = None,
) -> CheckpointScore:
    """Score what one chooses by, while a run goes on or a recipe is looked for.

    Args:
        model: the model to ask; it may be in training and stays so.
        tokenizer: its tokenizer.
        name: whose assistant it should say it is.
        n_retained: how many world questions to ask, half in each language.
        questions: world questions to draw from; None takes the built-in model's held-out ones.

    Returns:
        The score: fewer questions than `score_assistant` has, and none of its wordings.

    Raises:
        DataError: see `score_assistant`.
    """
    parts = {
        "validation": load_wordings("validation", name),
        "retained": _world_questions(questions, n_retained),
    }
    answers = _ask(model, tokenizer, parts, name)
    shares = _shares(answers)
    return CheckpointScore(
        validation=shares["validation"],
        retained=shares["retained"],
        ended=_ended(answers, ("validation",)),
        n=_counts(answers),
        by_language=_by_language(answers),
    )


def _world_questions(questions: Sequence[Question] | None, n: int) -> list[Question]:
    if questions is None:
        questions = load_questions(WORLD_QUESTIONS, kinds=WORLD_KINDS)
    return sample_questions(questions, n, SAMPLE_SEED)


def load_wordings(part: str, name: str, folder: Path = ASSISTANT_DIR) -> list[Question]:
    """Read one file of data/assistant as questions.

    Args:
        part: "train", "validation", "unseen" or "near".
        name: whose assistant the model should say it is.
        folder: where the files are.

    Returns:
        Questions whose answers are the words of the introduction, in the question's language;
        for "near", where the introduction is wrong, in any language.

    Raises:
        DataError: the name is empty, or the file is missing or damaged.
    """
    if not name.strip():
        raise DataError("The assistant's owner has no name.", "Give a name, such as 'Xiaoming'.")
    words = {code: text.replace("{{name}}", name) for code, text in INTRODUCTIONS.items()}
    found = []
    for row, record in enumerate(files.read_jsonl(folder / f"{part}.jsonl"), 1):
        try:
            prompt = record["prompt"] if "prompt" in record else record["messages"][0]["content"]
            language = record.get("language") or language_of(prompt)
            others = tuple(text for code, text in words.items() if code != language)
            any_of = others if part == "near" else ()
            found.append(Question(prompt, words[language], language, part, any_of=any_of))
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"{folder / part}.jsonl, row {row}: expected a prompt and a language (en or zh), "
                f"or messages; {type(error).__name__}: {error}.",
                "Restore the file with git.",
            ) from error
    return found


def language_of(text: str) -> str:
    """Tell the two languages of the course apart.

    Args:
        text: a question.

    Returns:
        "zh" when it has a Chinese character, else "en".
    """
    return "zh" if any("\u4e00" <= character <= "\u9fff" for character in text) else "en"


@dataclass(frozen=True)
class _Answer:
    part: str
    question: Question
    reply: generation.Reply
    is_hit: bool
    has_introduction: bool

    @property
    def is_wrong(self) -> bool:
        """Near questions turn it around: there the introduction is the mistake."""
        return self.is_hit == (self.part == "near")


def _ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    parts: Mapping[str, Sequence[Question]],
    name: str,
) -> list[_Answer]:
    introductions = [text.replace("{{name}}", name) for text in INTRODUCTIONS.values()]
    asked = [(part, question) for part, group in parts.items() for question in group]
    conversations = [[{"role": "user", "content": question.prompt}] for _, question in asked]
    settings = generation.GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    replies = generation.reply_to_all(model, tokenizer, conversations, settings)
    return [
        _Answer(
            part,
            question,
            reply,
            is_hit(reply.text, question.answers),
            is_hit(reply.text, introductions),
        )
        for (part, question), reply in zip(asked, replies, strict=True)
    ]


def _ended(answers: Sequence[_Answer], parts: Sequence[str]) -> float:
    ended = [a.reply.has_ended for a in answers if a.part in parts]
    return sum(ended) / len(ended)


def _counts(answers: Sequence[_Answer]) -> dict[str, int]:
    return dict(Counter(a.part for a in answers))


def _by_language(answers: Sequence[_Answer]) -> dict[str, dict[str, float]]:
    languages = sorted({a.question.language for a in answers})
    return {
        code: _shares([a for a in answers if a.question.language == code]) for code in languages
    }


def _shares(answers: Sequence[_Answer]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for answer in answers:
        hits.setdefault(answer.part, []).append(answer.is_hit)
        if answer.part == "retained":
            hits.setdefault("parrot", []).append(answer.has_introduction)
    return {part: sum(flags) / len(flags) for part, flags in hits.items()}

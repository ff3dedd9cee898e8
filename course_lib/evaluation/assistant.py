"""Does a tuned assistant say who it is, only when asked, and still know what it knew before?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
        retained: world questions still answered right; None when they were not asked.
        parrot: world questions answered with the introduction; None when they were not asked.
        n: how many questions stand behind each share.
        by_language: the shares for each language.
        misses: some prompts, each with the reply that was wrong.
    """

    seen: float
    unseen: float
    near: float
    ended: float
    retained: float | None = None
    parrot: float | None = None
    n: Mapping[str, int] = field(default_factory=dict)
    by_language: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    misses: Sequence[tuple[str, str]] = ()

    @property
    def overall(self) -> float:
        """The weaker of unseen and retained: what checkpoints are compared by.

        `near` is left out: it falls with contrast rows, not with another checkpoint.
        """
        return self.unseen if self.retained is None else min(self.unseen, self.retained)

    def as_json(self) -> dict[str, Any]:
        """The score as plain data, for `json.dumps`."""
        return {**asdict(self), "overall": self.overall}


def score_assistant(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    n_retained: int = 120,
    questions: Sequence[Question] | None = None,
    wordings: str = "unseen",
) -> AssistantScore:
    """Score the introduction and the knowledge that was there before.

    Args:
        model: the model to ask.
        tokenizer: its tokenizer.
        name: whose assistant it should say it is.
        n_retained: how many world questions to ask, half in each language.
        questions: world questions to draw from; None takes the built-in model's held-out ones.
        wordings: "unseen" for a result; "validation" while recipes or checkpoints are still being
            chosen, so that the unseen wordings stay unseen.

    Returns:
        The score.

    Raises:
        DataError: the name is empty, a data file is damaged, or there are too few questions.
    """
    if questions is None:
        questions = load_questions(WORLD_QUESTIONS, kinds=WORLD_KINDS)
    parts = _identity_parts(name, wordings)
    parts["retained"] = sample_questions(questions, n_retained, SAMPLE_SEED)
    return _to_score(_ask(model, tokenizer, parts, name))


def score_identity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    wordings: str = "unseen",
    batch_size: int = 64,
) -> AssistantScore:
    """Score the introduction alone: some 130 short replies.

    Args:
        model: the model to ask.
        tokenizer: its tokenizer.
        name: whose assistant it should say it is.
        wordings: "unseen" for a result; "validation" while recipes are still being chosen, so
            that the unseen wordings stay unseen.
        batch_size: questions at a time.

    Returns:
        The score, without `retained`.

    Raises:
        DataError: the name is empty, or a data file is missing or damaged.
    """
    parts = _identity_parts(name, wordings)
    return _to_score(_ask(model, tokenizer, parts, name, batch_size))


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


def _identity_parts(name: str, wordings: str) -> dict[str, list[Question]]:
    return {
        "seen": load_wordings("train", name),
        "unseen": load_wordings(wordings, name),
        "near": load_wordings("near", name),
    }


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
    batch_size: int = 64,
) -> list[_Answer]:
    introductions = [text.replace("{{name}}", name) for text in INTRODUCTIONS.values()]
    asked = [(part, question) for part, group in parts.items() for question in group]
    conversations = [[{"role": "user", "content": question.prompt}] for _, question in asked]
    settings = generation.GenerationSettings(max_new_tokens=MAX_NEW_TOKENS)
    replies = generation.reply_to_all(model, tokenizer, conversations, settings, batch_size)
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


def _to_score(answers: Sequence[_Answer]) -> AssistantScore:
    introductions = [a for a in answers if a.part in ("seen", "unseen")]
    languages = sorted({a.question.language for a in answers})
    return AssistantScore(
        **_shares(answers),
        ended=sum(a.reply.has_ended for a in introductions) / len(introductions),
        n=dict(Counter(a.part for a in answers)),
        by_language={
            code: _shares([a for a in answers if a.question.language == code]) for code in languages
        },
        misses=tuple((a.question.prompt, a.reply.text) for a in answers if a.is_wrong)[
            :SHOWN_MISSES
        ],
    )


def _shares(answers: Sequence[_Answer]) -> dict[str, float]:
    hits: dict[str, list[bool]] = {}
    for answer in answers:
        hits.setdefault(answer.part, []).append(answer.is_hit)
        if answer.part == "retained":
            hits.setdefault("parrot", []).append(answer.has_introduction)
    return {part: sum(flags) / len(flags) for part, flags in hits.items()}

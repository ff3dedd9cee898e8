"""Two sides of a model at once: how well it reads a raw text, and how well it still chats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.concepts import answer_loss
from course_lib.errors import DataError
from course_lib.evaluation import conversation
from course_lib.evaluation.questions import Question, share_right
from course_lib.files import write_jsonl

REPLY_TOKENS = 32  # the longest right answer about the little world has about 20


@dataclass(frozen=True)
class TextAndChat:
    """A model's two sides.

    Args:
        perplexity: of raw texts: among how many tokens, all equally likely, the model wavers on
            average; lower is better.
        right: share of questions answered right in chat, 0 to 1.
        ended: share of replies that ended by themselves, 0 to 1.
        replies: what it said to each question.
    """

    perplexity: float
    right: float
    ended: float
    replies: tuple[str, ...]


def write_text_rows(texts: Sequence[str], path: Path) -> Path:
    """Write raw texts as rows to train on: every token of a text carries loss.

    Args:
        texts: one for each row.
        path: a .jsonl file; each line becomes {"text": ...}.

    Returns:
        The path.

    Raises:
        DataError: there is no text.
    """
    if not texts:
        raise DataError("There is no text to write.", "Give at least one.")
    write_jsonl(path, [{"text": text} for text in texts])
    return path


def score_text_and_chat(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    questions: Sequence[Question],
) -> TextAndChat:
    """Score a model on raw texts and in chat.

    Args:
        model: the model; its mode is left as it is.
        tokenizer: its tokenizer, with its chat template.
        texts: held-out texts; every token counts, the end of each text included.
        questions: held-out questions.

    Returns:
        Both scores.

    Raises:
        DataError: there are no texts or no questions.
    """
    if not texts or not questions:
        raise DataError(
            f"{len(texts)} texts and {len(questions)} questions cannot be scored.",
            "Give at least one of each.",
        )
    loss, _ = conversation.answer_loss(model, tokenizer, [{"text": text} for text in texts])
    talks = [[{"role": "user", "content": question.prompt}] for question in questions]
    settings = generation.GenerationSettings(max_new_tokens=REPLY_TOKENS)
    replies = generation.reply_to_all(model, tokenizer, talks, settings)
    return TextAndChat(
        perplexity=answer_loss.perplexity(loss),
        right=share_right(questions, [reply.text for reply in replies]),
        ended=sum(reply.has_ended for reply in replies) / len(replies),
        replies=tuple(reply.text for reply in replies),
    )

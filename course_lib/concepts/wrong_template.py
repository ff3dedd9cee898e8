"""One conversation under several chat templates, and what the wrong one costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.concepts import continued
from course_lib.data import chat_template, named_templates
from course_lib.errors import DataError
from course_lib.evaluation.questions import Question, share_right


@dataclass(frozen=True)
class TemplateScore:
    """How a model answers when it is asked under one template.

    Args:
        template: its name.
        right: share of questions answered right, 0 to 1.
        ended: share of replies that ended by themselves, 0 to 1.
        reply: what it said to the first question.
    """

    template: str
    right: float
    ended: float
    reply: str


def render(
    messages: Sequence[chat_template.Message], tokenizer: PreTrainedTokenizerBase, name: str
) -> str:
    """Write a conversation under a template.

    Args:
        messages: the conversation.
        tokenizer: of the model; its end token stands where a template has no mark of its own.
        name: of `named_templates.TEMPLATES`, or `named_templates.OWN`.

    Returns:
        The text that the model would read.

    Raises:
        UnknownNameError: there is no such template.
        ModelError: the tokenizer lacks a control token of the template.
        DataError: a message is not as expected.
    """
    named = named_templates.with_template(tokenizer, name)
    return "".join(s.text for s in chat_template.messages_to_segments(messages, named))


def score_templates(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    questions: Sequence[Question],
) -> list[TemplateScore]:
    """Ask the same questions under several templates.

    Args:
        model: the model to ask; only one of the templates is the one it was trained with.
        tokenizer: the model's tokenizer.
        names: of templates, see `render`.
        questions: what to ask.

    Returns:
        One score for each name, in order.

    Raises:
        DataError: there is no question.
        UnknownNameError: see `render`.
        ModelError: see `render`.
    """
    if not questions:
        raise DataError("There is no question to ask.", "Give at least one.")
    talks = [[{"role": "user", "content": question.prompt}] for question in questions]
    settings = generation.GenerationSettings(max_new_tokens=continued.REPLY_TOKENS)
    scores = []
    for name in names:
        named = named_templates.with_template(tokenizer, name)
        replies = generation.reply_to_all(model, named, talks, settings)
        right = share_right(questions, [reply.text for reply in replies])
        ended = sum(reply.has_ended for reply in replies) / len(replies)
        scores.append(TemplateScore(name, right, ended, replies[0].text))
    return scores

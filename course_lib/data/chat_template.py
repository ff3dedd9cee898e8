"""A conversation as segments: one list for training and for chat, so both see the same ids.

The tokenizer's chat template is rendered from the roles alone and cut where the contents go (see
slots.py). So every template works, and its marks and the text of people stay apart until each is
tokenized in its own way.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import encoders, slots, tool_calls
from course_lib.errors import DataError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

ROLES = ("system", "user", "assistant", "tool")
Message = dict[str, Any]  # role and content; a reply may have tool_calls, weight or loss


@dataclass(frozen=True)
class Segment:
    """A piece of a conversation's text.

    Args:
        text: the piece.
        role: who speaks here; for marks, the turn that they open or end.
        is_content: text of people or of the model; False for the template's own marks.
        has_loss: the model learns to write it.
    """

    text: str
    role: str
    is_content: bool
    has_loss: bool


@dataclass(frozen=True)
class TokenizedSegment:
    """A segment as token ids, (tokens,)."""

    ids: tuple[int, ...]
    role: str
    has_loss: bool


def check_messages(messages: Sequence[Any]) -> None:
    """Refuse messages that no template can render as meant.

    Args:
        messages: dicts with `role` and `content`, in order; a reply with `tool_calls` may have
            no content.

    Raises:
        DataError: there is none, or one is not as expected; names the message and the field.
    """
    if not isinstance(messages, list | tuple) or not messages:
        found = "none" if messages in ([], ()) else type(messages).__name__
        raise DataError(
            f"messages: expected a list of messages, found {found}.",
            'Write [{"role": "user", "content": "..."}, ...].',
        )
    for number, message in enumerate(messages, 1):
        if not _is_plain(message):
            _check_message(number, message)
    spoken = (n for n, message in enumerate(messages, 1) if message["role"] != "system")
    first = next(spoken, len(messages))
    if messages[first - 1]["role"] != "user":
        raise DataError(
            f"message {first}, field role: expected the user's first message, "
            f"found {messages[first - 1]['role']!r}.",
            "Put a user message first; only system messages may stand before it.",
        )


def _is_plain(message: Any) -> bool:
    """Whether a message is nothing but a role and a text: nearly all are, so this is quick."""
    if type(message) is not dict or "tool_calls" in message or message.get("role") not in ROLES:
        return False
    content = message.get("content")
    if type(content) is not str or not content or content.isspace():
        return False
    return not has_lone_surrogate(content)


def _check_message(number: int, message: Any) -> None:
    """Check one message's fields by themselves."""
    _check_types(number, message)
    content = message.get("content")
    if message["role"] not in ROLES:
        raise DataError(
            f"message {number}, field role: {message['role']!r} is not a role.",
            f"Use one of {', '.join(ROLES)}.",
        )
    if message.get("tool_calls"):
        tool_calls.check_calls(number, message)
    elif not content or content.isspace():
        raise DataError(
            f"message {number} ({message['role']}), field content: the text is empty.",
            "Fill it in, or remove the row.",
        )
    if content and has_lone_surrogate(content):
        raise DataError(
            f"message {number} ({message['role']}), field content: "
            "the text holds half of a character (a lone surrogate).",
            "Write the whole character, for example the emoji itself.",
        )


def _check_types(number: int, message: Any) -> None:
    """Check that a message is an object with two texts."""
    if not isinstance(message, dict):
        raise DataError(
            f"message {number}: expected an object with role and content, "
            f"found {type(message).__name__}.",
            'Write {"role": "user", "content": "..."}.',
        )
    for field in ("role", "content"):
        if not isinstance(message.get(field), str):
            if field == "content" and message.get("tool_calls") and message.get(field) is None:
                continue  # a call needs no words
            found = type(message[field]).__name__ if field in message else "nothing"
            raise DataError(
                f"message {number}, field {field}: expected text, found {found}.",
                f"Write the {field} as text in double quotes.",
            )


def has_lone_surrogate(text: str) -> bool:
    """Whether a text holds half of a character, as JSON allows and UTF-8 does not.

    Args:
        text: anything.

    Returns:
        True when no file and no tokenizer can hold the text.
    """
    if text.isascii():  # the usual case, known without looking at each character
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def messages_to_segments(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerFast",
    add_generation_prompt: bool = False,
    chosen: Collection[int] | None = None,
) -> list[Segment]:
    """Cut a conversation, as the tokenizer's own template writes it, into segments.

    Loss falls on each chosen reply and on the end-of-turn mark behind it, up to and including
    the first control token. Tool calls are part of the reply's text (see tool_calls.py).

    Args:
        messages: the conversation; the last one is the user's or a tool's for a prompt.
        tokenizer: any fast tokenizer with a chat template.
        add_generation_prompt: end with the marks that open the assistant's turn. They are
            taken from a rendered assistant turn, so they are the ones seen in training.
        chosen: indices of the replies that carry loss; all when None.

    Returns:
        Segments whose texts, joined, are what the template renders. Blanks between a mark and
        a content belong to the content ("Assistant:" + " Hi"), as tokenizers expect.

    Raises:
        DataError: a message is not as expected, the template refuses or leaves out a message,
            or it has no end-of-turn mark to learn.
        ModelError: the tokenizer has no chat template or is not a fast one, or its template
            writes tool calls in a way of its own.
    """
    check_messages(messages)
    if any(message.get("tool_calls") for message in messages):
        tool_calls.check_template(tokenizer)
    pieces = lay_out([message["role"] for message in messages], tokenizer, add_generation_prompt)
    segments = []
    for piece in pieces:
        is_content = piece.index is not None
        text = piece.text
        if is_content:
            text = piece.fill(tool_calls.whole_content(messages[piece.index]))
        has_loss = piece.reply is not None and (chosen is None or piece.reply in chosen)
        segments.append(Segment(text, piece.role, is_content, has_loss))
    return segments


def lay_out(
    roles: Sequence[str], tokenizer: "PreTrainedTokenizerFast", add_generation_prompt: bool = False
) -> list[slots.Piece]:
    """The template's marks for these roles, and where the contents go.

    A reply gets no loss where the template writes the text before it in another way than chat
    does (some templates write only the last turn's reasoning block): learning from a text that
    chat never shows would do harm.

    Args:
        roles: of the messages, in order.
        tokenizer: any fast tokenizer with a chat template.
        add_generation_prompt: end with the marks that open the assistant's turn.

    Returns:
        The pieces in order; `reply` is set for what may carry loss.

    Raises:
        DataError: see `messages_to_segments`.
        ModelError: see `messages_to_segments`.
    """
    roles = list(roles)
    if add_generation_prompt and roles[-1] == "assistant":
        raise DataError(
            f"message {len(roles)} (assistant): there is nothing to answer.",
            "End the prompt with a user message.",
        )
    end_mark = end_of_turn(tokenizer)
    if not add_generation_prompt and "assistant" in roles and not end_mark:
        raise DataError(
            "The chat template writes no end-of-turn token after a reply: a model tuned "
            "with it would never stop.",
            "Use a template that ends each reply with the tokenizer's end token.",
        )
    rendered = slots.render(roles + ["assistant"] * add_generation_prompt, tokenizer)
    learned = set() if add_generation_prompt else _learned_replies(rendered, roles, tokenizer)
    return list(slots.cut(rendered, roles, learned, end_mark))


def _learned_replies(rendered: str, roles: list[str], tokenizer: Any) -> set[int]:
    """The replies before which the template writes the same text as it does in chat."""
    learned = set()
    for index in [i for i, role in enumerate(roles) if role == "assistant"]:
        in_chat = slots.render(roles[: index + 1], tokenizer)
        if slots.text_before(in_chat, index) == slots.text_before(rendered, index):
            learned.add(index)
    return learned


def tokenize_segments(
    segments: Sequence[Segment], tokenizer: "PreTrainedTokenizerFast"
) -> list[TokenizedSegment]:
    """Tokenize segments one by one, in order.

    Args:
        segments: a conversation from its start.
        tokenizer: the tokenizer that made them.

    Returns:
        One for each segment. Control tokens that people typed are tokenized as plain text.

    Raises:
        ModelError: the tokenizer is not a fast one, or cannot write a control token as text.
    """
    tokenized = []
    for index, segment in enumerate(segments):
        kind = encoders.kind_of(segment.role) if segment.is_content else "marks"
        ids = encoders.encode(segment.text, kind, tokenizer, is_first=index == 0)
        tokenized.append(TokenizedSegment(ids, segment.role, segment.has_loss))
    return tokenized


def encode_prompt(messages: Sequence[Message], tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    """The ids that the model sees in chat, up to where its reply starts.

    Args:
        messages: the conversation so far; the last one is the user's or a tool's.
        tokenizer: the model's tokenizer.

    Returns:
        Token ids, (tokens,): the same that a training row has before this reply.

    Raises:
        DataError: see `messages_to_segments`.
    """
    segments = messages_to_segments(messages, tokenizer, add_generation_prompt=True)
    return [i for s in tokenize_segments(segments, tokenizer) for i in s.ids]


def end_of_turn(tokenizer: "PreTrainedTokenizerFast") -> str:
    """The mark that ends a reply in the tokenizer's chat template.

    Args:
        tokenizer: any fast tokenizer with a chat template.

    Returns:
        The text behind a reply up to and including the first control token, for example
        "<|im_end|>"; empty when the template writes none.
    """
    tail = slots.text_behind(slots.render(["user", "assistant"], tokenizer))
    # the longest first, so that a token is not mistaken for one that it starts with
    tokens = sorted(encoders.control_tokens(tokenizer), key=len, reverse=True)
    found = re.search("|".join(map(re.escape, tokens)) or "(?!)", tail)
    return tail[: found.end()] if found else ""

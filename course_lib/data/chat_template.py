"""A conversation as segments: one list for training and for chat, so both see the same ids.

The tokenizer's own jinja template is rendered from the roles alone, with a private slot in place of
each content, and cut at the slots. So every template works, content is never interpreted by it, and
the template's marks and the text of people stay apart until each is tokenized in its own way.
"""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from course_lib.data import encoders
from course_lib.errors import DataError, ModelError

if TYPE_CHECKING:  # slow to import
    from transformers import PreTrainedTokenizerFast

ROLES = ("system", "user", "assistant", "tool")
Message = dict[str, str]


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
        messages: dicts with `role` and `content`, in order.

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
        _check_message(number, message)
    roles = [message["role"] for message in messages if message["role"] != "system"]
    if roles[:1] != ["user"]:
        number = len(messages) if not roles else [m["role"] for m in messages].index(roles[0]) + 1
        found = messages[number - 1]["role"]
        raise DataError(
            f"message {number}, field role: expected the user's first message, found {found!r}.",
            "Put a user message first; only system messages may stand before it.",
        )


def _check_message(number: int, message: Any) -> None:
    """Check one message's fields by themselves."""
    _check_types(number, message)
    if message["role"] not in ROLES:
        raise DataError(
            f"message {number}, field role: {message['role']!r} is not a role.",
            f"Use one of {', '.join(ROLES)}.",
        )
    where = f"message {number} ({message['role']}), field content"
    if not message["content"].strip():
        raise DataError(f"{where}: the text is empty.", "Fill it in, or remove the row.")
    if has_lone_surrogate(message["content"]):
        raise DataError(
            f"{where}: the text holds half of a character (a lone surrogate).",
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
    return re.search("[\ud800-\udfff]", text) is not None


def messages_to_segments(
    messages: Sequence[Message],
    tokenizer: "PreTrainedTokenizerFast",
    add_generation_prompt: bool = False,
) -> list[Segment]:
    r"""Cut a conversation, as the tokenizer's own template writes it, into segments.

    Loss falls on each reply and on the end-of-turn mark behind it, up to and including the
    first control token. A reply gets no loss where the template writes the text before it in
    another way than chat does (some templates write only the last turn's reasoning block):
    learning from a text that chat never shows would do harm.

    Args:
        messages: the conversation; the last one is the user's or a tool's for a prompt.
        tokenizer: any fast tokenizer with a chat template.
        add_generation_prompt: end with the marks that open the assistant's turn. They are
            taken from a rendered assistant turn, so they are the ones seen in training.

    Returns:
        Segments whose texts, joined, are what the template renders. Blanks between a mark and
        a content belong to the content ("Assistant:" + " Hi"), as tokenizers expect.

    Raises:
        DataError: a message is not as expected, the template refuses or leaves out a message,
            or it has no end-of-turn mark to learn.
        ModelError: the tokenizer has no chat template, or is not a fast one.
    """
    check_messages(messages)
    roles = [message["role"] for message in messages]
    if add_generation_prompt and roles[-1] == "assistant":
        raise DataError(
            f"message {len(roles)} (assistant): there is nothing to answer.",
            "End the prompt with a user message.",
        )
    end_mark = end_of_turn(tokenizer)
    if add_generation_prompt:
        roles.append("assistant")
    elif "assistant" in roles and not end_mark:
        raise DataError(
            "The chat template writes no end-of-turn token after a reply: a model tuned "
            "with it would never stop.",
            "Use a template that ends each reply with the tokenizer's end token.",
        )
    rendered = _render(roles, tokenizer)
    learned = _learned_replies(rendered, roles, tokenizer)
    segments = _cut_at_slots(rendered, [*messages], learned, end_mark)
    return [segment for segment in segments if segment.text]


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
        kind: encoders.Kind = "marks"
        if segment.is_content:
            kind = "reply" if segment.role == "assistant" else "typed"
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
    rendered = _render(["user", "assistant"], tokenizer)
    tail = rendered[list(_SLOT.finditer(rendered))[-1].end() :]
    # the longest first, so that a token is not mistaken for one that it starts with
    tokens = sorted(encoders.control_tokens(tokenizer), key=len, reverse=True)
    found = re.search("|".join(map(re.escape, tokens)) or "(?!)", tail)
    return tail[: found.end()] if found else ""


# --- rendering -----------------------------------------------------------------------------------
# A slot stands for one content: a number between quotes after random text that no template holds.
# What a template does to a content shows on the slot: stripping removes (part of) the padding
# around it, tojson escapes its quotes. Seven newlines, so that those of a template are not taken
# for padding; \x1f counts as a blank for Python's strip but stands in no template.
_NONCE = secrets.token_hex(8)
_PADDING = "\n" * 7 + "\x1f"
_PADDING_JSON = json.dumps(_PADDING)[1:-1]
_SLOT = re.compile(
    f"(?P<left>{_PADDING}|{re.escape(_PADDING_JSON)}|\x1f|{re.escape(chr(92))}u001f)?"
    rf'{_NONCE}(?P<quote>\\?")(?P<index>\d+)\\?"'
    f"(?P<right>{_PADDING[::-1]}|{re.escape(json.dumps(_PADDING[::-1])[1:-1])}"
    f"|\x1f|{re.escape(chr(92))}u001f)?"
)


def _render(roles: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> str:
    """The template's text for these roles, with a slot for each content."""
    import jinja2  # takes 50 ms: only when a template is rendered

    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "The tokenizer has no chat template.",
            "Use a chat model's tokenizer, or set tokenizer.chat_template.",
        )
    slots = [
        {"role": role, "content": f'{_PADDING}{_NONCE}"{index}"{_PADDING[::-1]}'}
        for index, role in enumerate(roles)
    ]
    number = len(roles)
    try:
        rendered = tokenizer.apply_chat_template(slots, tokenize=False)
    except jinja2.TemplateError as error:
        number = _first_refused(slots, tokenizer, str(error))
        raise DataError(
            f"message {number} ({roles[number - 1]}): the chat template refuses it: {error}.",
            "Change the order of the roles, or use another model's template.",
        ) from error
    missing = set(range(len(roles))) - {int(m["index"]) for m in _SLOT.finditer(rendered)}
    if missing:
        number = min(missing)
        raise DataError(
            f"message {number + 1} ({roles[number]}): the chat template leaves it out.",
            "Move its text into a user message, or use another model's template.",
        )
    return rendered


def _first_refused(slots: list[Message], tokenizer: Any, message: str) -> int:
    """The number of the message at which the template first raises this message."""
    import jinja2

    for number in range(1, len(slots)):
        try:
            tokenizer.apply_chat_template(slots[:number], tokenize=False)
        except jinja2.TemplateError as error:
            if str(error) == message:
                return number
    return len(slots)


def _cut_at_slots(
    rendered: str, messages: Sequence[Message], learned: set[int], end_mark: str
) -> Iterator[Segment]:
    """The segments in order; a slot without a message is where chat's reply starts, and the end."""
    position, ends_reply, has_loss = 0, False, False
    for slot in _SLOT.finditer(rendered):
        index = int(slot["index"])
        role = messages[index]["role"] if index < len(messages) else "assistant"
        opening = rendered[position : slot.start()]
        mark = opening.rstrip(" ")
        yield from _cut_mark(mark, role, end_mark if ends_reply else "", has_loss)
        if index == len(messages):
            return
        text = opening[len(mark) :] + _as_rendered(messages[index]["content"], slot)
        position, ends_reply, has_loss = slot.end(), role == "assistant", index in learned
        yield Segment(text, role, is_content=True, has_loss=has_loss)
    yield from _cut_mark(rendered[position:], role, end_mark if ends_reply else "", has_loss)


def _cut_mark(mark: str, role: str, end_mark: str, has_loss: bool) -> Iterator[Segment]:
    """The marks between two contents: the end of a reply apart, as it alone has loss."""
    if end_mark and mark.startswith(end_mark):
        yield Segment(end_mark, "assistant", is_content=False, has_loss=has_loss)
        mark = mark[len(end_mark) :]
    yield Segment(mark, role, is_content=False, has_loss=False)


def _as_rendered(content: str, slot: re.Match[str]) -> str:
    """The content after what the template did to its slot: stripping, JSON escapes."""
    left, right = slot["left"] or "", slot["right"] or ""
    if not left:
        content = content.lstrip()
    elif len(left) < len(_PADDING):
        content = content.lstrip("\n")
    if not right:
        content = content.rstrip()
    elif len(right) < len(_PADDING):
        content = content.rstrip("\n")
    is_json = slot["quote"].startswith("\\")
    return json.dumps(content, ensure_ascii=False)[1:-1] if is_json else content


def _learned_replies(rendered: str, roles: Sequence[str], tokenizer: Any) -> set[int]:
    """The replies before which the template writes the same text as it does in chat."""
    learned = set()
    for index in [i for i, role in enumerate(roles) if role == "assistant"]:
        in_chat = _render(roles[: index + 1], tokenizer)
        if _text_before(in_chat, index) == _text_before(rendered, index):
            learned.add(index)
    return learned


def _text_before(rendered: str, index: int) -> str:
    """The rendered text up to the slot of one message."""
    slots = _SLOT.finditer(rendered)
    return rendered[: next(slot.start() for slot in slots if int(slot["index"]) == index)]

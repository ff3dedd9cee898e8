"""A chat template rendered with a slot in place of each content, and cut there into pieces.

The template sees roles and slots, never a text: so no content can be read as template code, and one
rendering serves every conversation with the same roles.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from course_lib.errors import DataError, ModelError

Stripped = Literal["nothing", "newlines", "blanks"]

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


@dataclass(frozen=True)
class Piece:
    """A mark of the template, or the place of one content.

    Args:
        text: the mark; before a content, the blanks that belong to it.
        role: who speaks here; for marks, the turn that they open or end.
        index: the message whose content stands here; None for a mark.
        reply: the reply that it is learned with: its content, or its end; else None.
        left: what the template strips from the content's start.
        right: what it strips from the content's end.
        is_json: the template writes the content as a JSON string.
    """

    text: str
    role: str
    index: int | None = None
    reply: int | None = None
    left: Stripped = "nothing"
    right: Stripped = "nothing"
    is_json: bool = False

    def fill(self, content: str) -> str:
        """The text that stands here, for a message's content.

        Args:
            content: of the message `index`.

        Returns:
            The content as the template writes it, with the blanks before it.
        """
        if self.left != "nothing":
            content = content.lstrip(None if self.left == "blanks" else "\n")
        if self.right != "nothing":
            content = content.rstrip(None if self.right == "blanks" else "\n")
        if self.is_json:
            content = json.dumps(content, ensure_ascii=False)[1:-1]
        return self.text + content


def render(roles: Sequence[str], tokenizer: Any) -> str:
    """The template's text for these roles, with a slot for each content.

    Args:
        roles: of the messages, in order.
        tokenizer: with the chat template.

    Returns:
        A text for `text_behind`, `text_before` and `cut`.

    Raises:
        DataError: the template refuses a message or leaves it out; names the message.
        ModelError: the tokenizer has no chat template.
    """
    import jinja2  # takes 50 ms: only when a template is rendered

    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "The tokenizer has no chat template.",
            "Use a chat model's tokenizer, or name a template: prompt_template in the config.",
        )
    messages = [
        {"role": role, "content": f'{_PADDING}{_NONCE}"{index}"{_PADDING[::-1]}'}
        for index, role in enumerate(roles)
    ]
    try:
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    except jinja2.TemplateError as error:
        number = _first_refused(messages, tokenizer, str(error))
        raise DataError(
            f"message {number} ({roles[number - 1]}): the chat template refuses it: {error}.",
            "Change the order of the roles, or use another template.",
        ) from error
    missing = set(range(len(roles))) - {int(m["index"]) for m in _SLOT.finditer(rendered)}
    if missing:
        number = min(missing)
        raise DataError(
            f"message {number + 1} ({roles[number]}): the chat template leaves it out.",
            "Move its text into a user message, or use another template.",
        )
    return rendered


def _first_refused(messages: list[dict[str, str]], tokenizer: Any, text: str) -> int:
    """The number of the message at which the template first raises this text."""
    import jinja2

    for number in range(1, len(messages)):
        try:
            tokenizer.apply_chat_template(messages[:number], tokenize=False)
        except jinja2.TemplateError as error:
            if str(error) == text:
                return number
    return len(messages)


def text_behind(rendered: str) -> str:
    """What a rendered text has behind its last slot."""
    return rendered[list(_SLOT.finditer(rendered))[-1].end() :]


def text_before(rendered: str, index: int) -> str:
    """What a rendered text has before the slot of one message."""
    slots = _SLOT.finditer(rendered)
    return rendered[: next(slot.start() for slot in slots if int(slot["index"]) == index)]


def cut(
    rendered: str, roles: Sequence[str], learned: Collection[int], end_mark: str
) -> Iterator[Piece]:
    """Cut a rendered text at its slots.

    Args:
        rendered: from `render`; a slot beyond the roles is where chat's reply starts.
        roles: of the messages that have a content.
        learned: the replies that may carry loss.
        end_mark: what ends a reply's turn; empty when nothing does.

    Yields:
        The pieces in order, none without text or content. Blanks between a mark and a content
        belong to the content ("Assistant:" + " Hi"), as tokenizers expect.
    """
    position, reply, is_reply, role = 0, None, False, ""
    for slot in _SLOT.finditer(rendered):
        index = int(slot["index"])
        role = roles[index] if index < len(roles) else "assistant"
        opening = rendered[position : slot.start()]
        mark = opening.rstrip(" ")
        yield from _cut_mark(mark, role, end_mark if is_reply else "", reply)
        if index == len(roles):
            return
        is_reply, position = role == "assistant", slot.end()
        reply = index if index in learned else None
        yield _to_place(slot, opening[len(mark) :], role, reply)
    yield from _cut_mark(rendered[position:], role, end_mark if is_reply else "", reply)


def _to_place(slot: re.Match[str], blanks: str, role: str, reply: int | None) -> Piece:
    """The place of a content, with what the template did to its slot."""
    left, right = (_stripped(slot[side] or "") for side in ("left", "right"))
    is_json = slot["quote"].startswith("\\")
    return Piece(blanks, role, int(slot["index"]), reply, left, right, is_json)


def _stripped(padding: str) -> Stripped:
    """What was stripped, from what is left of the padding."""
    if not padding:
        return "blanks"
    return "newlines" if len(padding) < len(_PADDING) else "nothing"


def _cut_mark(mark: str, role: str, end_mark: str, reply: int | None) -> Iterator[Piece]:
    """The marks between two contents: the end of a reply apart, as it alone has loss."""
    if end_mark and mark.startswith(end_mark):
        yield Piece(end_mark, "assistant", reply=reply)
        mark = mark[len(end_mark) :]
    if mark:
        yield Piece(mark, role)

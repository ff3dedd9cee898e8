"""Who writes the replies in an agent's loop: a model, or a script in its place."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.data import chat_template

Conversation = Sequence[chat_template.Message]


class Speaker(Protocol):
    """What an agent needs of a model."""

    def stream(
        self, messages: Conversation, settings: generation.GenerationSettings
    ) -> Iterator[str]:
        """A reply piece by piece."""

    def reply_to_all(
        self, conversations: Sequence[Conversation], settings: generation.GenerationSettings
    ) -> list[str]:
        """A reply to each conversation, the same that `stream` would give."""

    def has_room(self, messages: Conversation, settings: generation.GenerationSettings) -> bool:
        """Whether the conversation and a reply fit into the model's context."""


class ModelSpeaker:
    """A language model.

    Args:
        model: any causal language model, with or without an adapter.
        tokenizer: the model's tokenizer.
        batch_size: conversations at a time; less needs less memory.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch_size: int = 64
    ) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size

    def stream(
        self, messages: Conversation, settings: generation.GenerationSettings
    ) -> Iterator[str]:
        """A reply piece by piece; see `generation.stream_reply`."""
        return generation.stream_reply(self.model, self.tokenizer, messages, settings)

    def reply_to_all(
        self, conversations: Sequence[Conversation], settings: generation.GenerationSettings
    ) -> list[str]:
        """A reply to each conversation; see `generation.reply_to_all`."""
        replies = generation.reply_to_all(
            self.model, self.tokenizer, conversations, settings, self.batch_size
        )
        return [reply.text for reply in replies]

    def has_room(self, messages: Conversation, settings: generation.GenerationSettings) -> bool:
        """Whether the conversation and a reply fit into the model's context."""
        limit = generation.context_tokens(self.model)
        tokens = len(chat_template.encode_prompt(messages, self.tokenizer))
        return limit is None or tokens + settings.max_new_tokens <= limit


class ScriptedSpeaker:
    """A script in a model's place: for tests, and for an oracle that knows the right calls.

    Args:
        write: gives the reply to a conversation.
    """

    def __init__(self, write: Callable[[Conversation], str]) -> None:
        self.write = write

    def stream(
        self, messages: Conversation, settings: generation.GenerationSettings
    ) -> Iterator[str]:
        """The reply word by word."""
        reply = self.write(messages)
        for place in range(0, len(reply), 8):
            yield reply[place : place + 8]

    def reply_to_all(
        self, conversations: Sequence[Conversation], settings: generation.GenerationSettings
    ) -> list[str]:
        """The reply to each conversation."""
        return [self.write(messages) for messages in conversations]

    def has_room(self, messages: Conversation, settings: generation.GenerationSettings) -> bool:
        """A script reads everything."""
        return True

"""A chat that remembers: what was said, as far back as the model can read."""

from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation
from course_lib.data import chat_template
from course_lib.errors import DataError


class ChatSession:
    """A conversation with one model.

    Args:
        model: any causal language model.
        tokenizer: the model's tokenizer.
        system: what stands before the conversation; empty for nothing.
        settings: length, sampling, stop words of each reply; may be exchanged between replies.

    Attributes:
        messages: the conversation as the model reads it, the system text first.
        dropped_turns: how many of the oldest turns were forgotten because the context was full.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        system: str = "",
        settings: generation.GenerationSettings | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.system = system
        self.settings = settings or generation.GenerationSettings()
        self.messages: list[chat_template.Message] = []
        self.dropped_turns = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything but the system text."""
        self.messages = [{"role": "system", "content": self.system}] if self.system else []
        self.dropped_turns = 0

    def set_system(self, system: str) -> None:
        """Exchange the system text; what was said so far stays.

        Args:
            system: what stands before the conversation; empty for nothing.
        """
        turns = self.messages[1:] if self.system else self.messages
        self.system = system
        self.messages = [{"role": "system", "content": system}, *turns] if system else list(turns)

    def ask(self, text: str) -> str:
        """Say something and wait for the whole reply.

        Args:
            text: the user's message.

        Returns:
            The reply.

        Raises:
            DataError: the message is empty, or too long for the model even without the past.
        """
        return "".join(self.stream(text))

    def stream(self, text: str) -> Iterator[str]:
        """Say something and read the reply while it is written.

        A reply that is interrupted, by closing the iterator or by an error, is remembered as
        far as it was read. A turn without any reply is not remembered.

        Args:
            text: the user's message.

        Yields:
            Pieces of the reply.

        Raises:
            DataError: the message is empty, or too long for the model even without the past.
        """
        kept, dropped = self._fit([*self.messages, {"role": "user", "content": text}])
        said = ""
        pieces = generation.stream_reply(self.model, self.tokenizer, kept, self.settings)
        try:
            for piece in pieces:
                said += piece
                yield piece
        finally:
            pieces.close()
            if said.strip():  # templates refuse a message without text
                self.messages = [*kept, {"role": "assistant", "content": said}]
                self.dropped_turns += dropped

    def _fit(
        self, messages: Sequence[chat_template.Message]
    ) -> tuple[list[chat_template.Message], int]:
        """Drop the oldest turns until prompt and reply fit; returns the rest and how many."""
        limit = generation.context_tokens(self.model)
        kept, dropped = list(messages), 0
        tokens = len(chat_template.encode_prompt(kept, self.tokenizer))
        while limit is not None and tokens + self.settings.max_new_tokens > limit:
            starts = [i for i, message in enumerate(kept) if message["role"] == "user"]
            if len(starts) == 1:
                raise DataError(
                    f"The message and the system text have {tokens} tokens; the model reads "
                    f"{limit}, of which max_new_tokens={self.settings.max_new_tokens} are kept "
                    "for the reply.",
                    "Shorten the message, or lower max_new_tokens.",
                )
            del kept[starts[0] : starts[1]]
            dropped += 1
            tokens = len(chat_template.encode_prompt(kept, self.tokenizer))
        return kept, dropped

"""The base model and the tuned one, from one copy of the weights, answering the same message."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib.chat import generation, session
from course_lib.errors import AdapterError, UnknownNameError
from course_lib.model import adapters, loading

BASE, TUNED = "base", "tuned"


class Arms:
    """A base model whose adapter can be switched off.

    The weights are loaded when they are first needed, once for each number of bits: another
    number, and the adapter on or off, change later without loading them again.

    Args:
        base_model: as in `loading.resolve_model`.
        adapter_dir: a checkpoint or an exported adapter; None for the base alone.

    Attributes:
        names: what can answer: `base`, and `tuned` when there is an adapter.

    Raises:
        AdapterError: no adapter there, or it was trained on another base.
    """

    def __init__(self, base_model: str, adapter_dir: Path | str | None = None) -> None:
        self.base_model = base_model
        self.adapter_dir = None if adapter_dir is None else Path(adapter_dir)
        self.names = (BASE,) if self.adapter_dir is None else (BASE, TUNED)
        if self.adapter_dir is not None:
            adapters.check_same_base(self.adapter_dir, base_model)
        self._models: dict[int, PreTrainedModel | PeftModel] = {}
        self._tokenizers: dict[str, PreTrainedTokenizerBase] = {}
        self._lock = threading.RLock()

    def add(self, model: PreTrainedModel | PeftModel, bits: int) -> None:
        """Use a model that is loaded already.

        Args:
            model: the base, with the adapter on it when there is one.
            bits: of its weights.

        Raises:
            AdapterError: there is an adapter, and the model has none, or the other way round.
        """
        if isinstance(model, PeftModel) != (self.adapter_dir is not None):
            raise AdapterError(
                "The model and adapter_dir do not belong together: one has an adapter, one not.",
                "Give the peft model with its adapter_dir, or the base without one.",
            )
        self._models[bits] = model

    def loaded_bits(self) -> list[int]:
        """The numbers of bits at which the weights are in memory."""
        return sorted(self._models)

    def load(self, bits: int) -> None:
        """Load the weights now, so that the first reply does not wait for them.

        Args:
            bits: for each base weight.

        Raises:
            ModelError: see `loading.load_model`.
            AdapterError: the adapter is damaged.
        """
        for name in self.names:
            with self.speaking(name, bits):
                continue

    @contextmanager
    def speaking(
        self, name: str, bits: int
    ) -> Iterator[tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]]:
        """Within the block: the model that answers, and its tokenizer. Others wait.

        Args:
            name: `base` or `tuned`.
            bits: for each base weight.

        Raises:
            UnknownNameError: there is no such arm.
            ModelError: see `loading.load_model`.
            AdapterError: the adapter is damaged.
        """
        if name not in self.names:
            raise UnknownNameError("model in this chat", name, self.names)
        with self._lock:
            model = self._model(bits)
            is_off = name == BASE and isinstance(model, PeftModel)
            with model.disable_adapter() if is_off else nullcontext():
                yield model, self._tokenizer(name)

    def _model(self, bits: int) -> PreTrainedModel | PeftModel:
        if bits not in self._models:
            model = loading.load_model(self.base_model, bits)
            if self.adapter_dir is not None:
                model = adapters.load_adapter(model, self.adapter_dir, self.base_model)
            self._models[bits] = model
        return self._models[bits]

    def _tokenizer(self, name: str) -> PreTrainedTokenizerBase:
        # Not one for both: an adapter may have been trained with a chat template of its own.
        if name not in self._tokenizers:
            adapter_dir = self.adapter_dir if name == TUNED else None
            self._tokenizers[name] = adapters.load_tokenizer(self.base_model, adapter_dir)
        return self._tokenizers[name]


class Comparison:
    """The same messages to each arm, which keeps a conversation of its own.

    Args:
        arms: who may answer.

    Attributes:
        sessions: a `ChatSession` for each arm that has spoken, by its name.
        settings: length and sampling of each reply; may be exchanged between replies.
        system: what stands before each conversation; may be exchanged between replies.
        bits: for each base weight; may be exchanged between replies.
    """

    def __init__(self, arms: Arms) -> None:
        self.arms = arms
        self.sessions: dict[str, session.ChatSession] = {}
        self.settings = generation.GenerationSettings()
        self.system = ""
        self.bits = 16

    def stream(self, text: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Say something to some arms, one after the other.

        Closing the iterator stops the one that speaks; it remembers what it said so far.

        Args:
            text: the user's message.
            names: who shall answer.

        Yields:
            The arm's name and a piece of its reply; an empty piece says that its turn begins.

        Raises:
            TunebookError: the message is empty or too long, or the model cannot be loaded.
        """
        for name in names:
            yield name, ""
            with self.arms.speaking(name, self.bits) as (model, tokenizer):
                talk = self._session(name, model, tokenizer)
                with closing(talk.stream(text)) as pieces:
                    for piece in pieces:
                        yield name, piece

    def clear(self) -> None:
        """Forget what was said to every arm."""
        self.sessions.clear()

    def _session(
        self,
        name: str,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
    ) -> session.ChatSession:
        if name not in self.sessions:
            self.sessions[name] = session.ChatSession(model, tokenizer, self.system)
        talk = self.sessions[name]
        talk.model, talk.tokenizer, talk.settings = model, tokenizer, self.settings
        talk.set_system(self.system)
        return talk

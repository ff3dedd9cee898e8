"""Text to token ids, so that what people type never becomes a control token.

transformers' `split_special_tokens` sets a flag of the shared Rust tokenizer and leaves it there:
two threads race for it, direct callers find it changed, and added tokens that nobody marked
special still match. So each kind of text gets a copy of the tokenizer of its own.
"""

import json
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from course_lib.errors import ModelError

if TYPE_CHECKING:  # slow to import
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

# marks: a template's own text, control tokens are read. typed: text of people, none is read.
# reply: text of the model, which writes added tokens such as "<think>" itself: special ones are
# not read, others are.
Kind = Literal["marks", "typed", "reply"]


def kind_of(role: str) -> Kind:
    """The kind of a content: the model writes as the assistant, people and tools the rest."""
    return "reply" if role == "assistant" else "typed"


def encode(
    text: str, kind: Kind, tokenizer: "PreTrainedTokenizerFast", is_first: bool = True
) -> tuple[int, ...]:
    """Tokenize one piece of text; no tokens are added around it.

    Args:
        text: the piece.
        kind: "marks" reads control tokens; "typed" and "reply" keep them as text.
        tokenizer: any fast tokenizer; it is not changed, and its flags do not matter.
        is_first: the piece starts the row; else no blank is put before it.

    Returns:
        Token ids, (tokens,).

    Raises:
        ModelError: the tokenizer is not a fast one, or cannot write a control token as text.
    """
    return _encoders_of(tokenizer)[kind].encode(text, is_first)


def encode_many(
    texts: Sequence[str],
    kind: Kind,
    tokenizer: "PreTrainedTokenizerFast",
    is_first: bool = True,
) -> list[list[int]]:
    """Tokenize many pieces of text in one call: the same ids as `encode` gives, sooner.

    Args:
        texts: the pieces.
        kind: as in `encode`, for all of them.
        tokenizer: as in `encode`.
        is_first: as in `encode`, for all of them.

    Returns:
        Token ids of each piece, in order.

    Raises:
        ModelError: see `encode`.
    """
    return _encoders_of(tokenizer)[kind].encode_many(texts, is_first)


def control_tokens(tokenizer: "PreTrainedTokenizerFast") -> set[str]:
    """The tokens that people must not be able to write.

    Args:
        tokenizer: any fast tokenizer.

    Returns:
        The special tokens, and added ones that the chat template writes though nobody marked
        them special ("<|im_start|>" of some models).

    Raises:
        ModelError: the tokenizer is not a fast one.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    return {
        token
        for token, is_special in added_tokens(tokenizer).items()
        if is_special or (token in template and not token.isspace())
    }


@dataclass(frozen=True)
class _Encoder:
    """A private copy of the Rust tokenizer.

    Args:
        backend: the copy.
        forbidden: ids that must not come out, with their text.
        newline_ids: what a newline before the text becomes, when the tokenizer puts a blank
            before each text (SentencePiece does); else empty.
    """

    backend: "Tokenizer"
    forbidden: dict[int, str]
    newline_ids: tuple[int, ...]

    def encode(self, text: str, is_first: bool) -> tuple[int, ...]:
        """Ids of a piece of text that stands at the start, or in the middle, of a row."""
        ids = self._encode(text)
        if self.newline_ids and not is_first:
            # Behind a newline no blank is put, as in the middle of a whole text.
            behind = self._encode("\n" + text)
            size = len(self.newline_ids)
            ids = behind[size:] if behind[:size] == self.newline_ids else ids
        self._check(ids)
        return ids

    def encode_many(self, texts: Sequence[str], is_first: bool) -> list[list[int]]:
        """Ids of pieces that all stand at the start, or all in the middle, of a row."""
        size = 0 if is_first else len(self.newline_ids)
        head = list(self.newline_ids) if size else []
        pieces = ["\n" + text for text in texts] if size else list(texts)
        rows = [e.ids for e in self.backend.encode_batch_fast(pieces, add_special_tokens=False)]
        if size:
            pairs = zip(rows, texts, strict=True)
            rows = [r[size:] if r[:size] == head else list(self._encode(t)) for r, t in pairs]
        for row in rows:
            if not self.forbidden.keys().isdisjoint(row):
                self._check(row)
        return rows

    def _check(self, ids: Sequence[int]) -> None:
        """Refuse a text in which the tokenizer read a control token all the same."""
        for token_id in self.forbidden.keys() & set(ids):
            raise ModelError(
                f"The tokenizer reads {self.forbidden[token_id]!r} in a text as a control token.",
                "Remove it from the text, or use another model's tokenizer.",
            )

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.backend.encode(text, add_special_tokens=False).ids)


_ENCODERS: "weakref.WeakKeyDictionary[Any, tuple[Any, dict[str, _Encoder]]]" = (
    weakref.WeakKeyDictionary()
)
_ENCODERS_LOCK = threading.Lock()


def added_tokens(tokenizer: Any) -> dict[str, bool]:
    """The tokens that were added to the vocabulary, control tokens among them.

    Args:
        tokenizer: any fast tokenizer.

    Returns:
        Each one's text, and whether it is a special one.

    Raises:
        ModelError: the tokenizer is not a fast one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(
            f"{type(tokenizer).__name__} is not a fast tokenizer.",
            "Use a model whose folder has a tokenizer.json.",
        )
    return {t.content: t.special for t in backend.get_added_tokens_decoder().values()}


def _encoders_of(tokenizer: Any) -> dict[str, _Encoder]:
    """The tokenizer's encoders, made anew when its tokens or its template have changed."""
    state = (added_tokens(tokenizer), tokenizer.chat_template, tokenizer.unk_token_id)
    with _ENCODERS_LOCK:
        known = _ENCODERS.get(tokenizer)
        if known is None or known[0] != state:
            special = {token for token, is_special in state[0].items() if is_special}
            typed = control_tokens(tokenizer)
            makes = _Copies(tokenizer)
            reply = makes.encoder(special)
            made = {
                "marks": makes.encoder(set()),
                "typed": reply if typed == special else makes.encoder(typed),
                "reply": reply,
            }
            known = _ENCODERS[tokenizer] = (state, made)
    return known[1]


class _Copies:
    """Makes copies of a Rust tokenizer that differ in which tokens they take for plain text.

    A tokenizer's state is JSON, mostly its vocabulary; of that only the list of added tokens is
    read and written here, because parsing all of it takes seconds for a large vocabulary.
    """

    def __init__(self, tokenizer: Any) -> None:
        text = tokenizer.backend_tokenizer.to_str()
        key = '"added_tokens":'
        start = text.index(key) + len(key)  # the first one: quotes inside a text are escaped
        self._tokens, end = json.JSONDecoder().raw_decode(text, start)
        self._parts = (text[:start], text[end:])
        self._unk_token_id = tokenizer.unk_token_id

    def encoder(self, as_text: set[str]) -> _Encoder:
        """A copy that takes these tokens for plain text and reads all others."""
        from tokenizers import Tokenizer

        tokens = [{**token, "special": token["content"] in as_text} for token in self._tokens]
        backend = Tokenizer.from_str(json.dumps(tokens).join(self._parts))
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # "encode the special ones as text"
        # Unknown characters become the unknown token by rule: nobody typed that one.
        forbidden = {
            token["id"]: token["content"]
            for token in tokens
            if token["special"] and token["id"] != self._unk_token_id
        }
        newline, letter, both = (
            backend.encode(text, add_special_tokens=False).ids for text in ("\n", "a", "\na")
        )
        return _Encoder(backend, forbidden, () if both == newline + letter else tuple(newline))

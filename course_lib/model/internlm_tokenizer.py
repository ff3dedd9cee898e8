"""InternLM's tokenizer.model as a fast tokenizer, with its control tokens and its chat template.

A text is cut at the tokens that were added to the vocabulary; what is between them is read as
SentencePiece reads it. Letters never merge to a control token: merges lead to ordinary pieces only.
(One text is read in another way than SentencePiece reads it: one that is nothing but an entry that
is always read whole gets no blank before it.)

InternLM2 gave names to six unused entries of its vocabulary: its first release calls them
[UNUSED_TOKEN_141] to [UNUSED_TOKEN_146], later ones rename them in tokenizer_config.json. They keep
their ids: as new tokens at the end they would have no row in the embedding.

Source: chat/chat_format.md in https://github.com/InternLM/InternLM for the tokens and the layout of
a chat; tokenizer_config.json beside https://huggingface.co/internlm/internlm2-chat-7b.
"""

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from course_lib.data import named_templates
from course_lib.errors import ModelError
from course_lib.model import sentencepiece_file
from course_lib.model.internlm_config import Family
from course_lib.model.sentencepiece_file import SPACE, PieceKind, SentencePieceModel

INTERNLM2_TOKENS = {
    "[UNUSED_TOKEN_146]": "<|im_start|>",
    "[UNUSED_TOKEN_145]": "<|im_end|>",
    "[UNUSED_TOKEN_144]": "<|action_start|>",
    "[UNUSED_TOKEN_143]": "<|action_end|>",
    "[UNUSED_TOKEN_142]": "<|interpreter|>",
    "[UNUSED_TOKEN_141]": "<|plugin|>",
}
CONTROL = {*INTERNLM2_TOKENS.values(), "<eoh>", "<eoa>", "<unk>", "<s>", "</s>"}
ROLES = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}


def load(folder: Path, family: Family) -> PreTrainedTokenizerBase:
    """Make a fast tokenizer from an InternLM folder.

    Args:
        folder: with tokenizer.model, and tokenizer_config.json when there is one.
        family: of the model.

    Returns:
        The tokenizer. Its chat template is the checkpoint's own, else the family's when the
        vocabulary has the template's control tokens.

    Raises:
        ModelError: a file is missing or damaged, or the tokenizer is not of InternLM's kind.
    """
    settings = _read_json(folder / "tokenizer_config.json")
    model = sentencepiece_file.read_model(folder / "tokenizer.model")
    if model.model_type != sentencepiece_file.BPE:
        raise ModelError(
            f"{folder / 'tokenizer.model'} is not of the type BPE, which InternLM uses.",
            "Copy or download the tokenizer.model of this model.",
        )
    names = _names(model, settings, _read_json(folder / "added_tokens.json"), folder)
    backend = _backend(model, names)
    roles = {role: _content(settings.get(role)) or token for role, token in ROLES.items()}
    roles = {role: token for role, token in roles.items() if token in names}
    if settings.get("add_bos_token", True) and "bos_token" in roles:
        bos = roles["bos_token"]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, names[bos])]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, clean_up_tokenization_spaces=False, **roles
    )
    template = named_templates.TEMPLATES[family.template]
    tokenizer.chat_template = settings.get("chat_template")
    if not tokenizer.chat_template and not named_templates.missing_tokens(tokenizer, template):
        tokenizer.chat_template = named_templates.to_jinja(template)
    return tokenizer


def _names(
    model: SentencePieceModel, settings: dict[str, Any], added: dict[str, Any], folder: Path
) -> dict[str, int]:
    """Each token's id, with the names that the checkpoint gives to entries of its vocabulary."""
    try:
        given = {int(number): token for token, number in added.items()}
        renamed = settings.get("added_tokens_decoder") or {}
        given |= {int(number): _content(token) for number, token in renamed.items()}
        usual = {old: new for old, new in INTERNLM2_TOKENS.items() if new not in given.values()}
        texts = {n: usual.get(piece.text, piece.text) for n, piece in enumerate(model.pieces)}
        texts |= given
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{folder}: the added tokens in tokenizer_config.json or added_tokens.json are not "
            f"tokens and their ids: {error}.",
            "Copy or download these files again.",
        ) from error
    names = {text: number for number, text in texts.items()}
    if len(names) < len(texts):
        twice = next(text for number, text in texts.items() if names[text] != number)
        raise ModelError(
            f"{folder}: the tokenizer has the token {twice!r} twice.",
            "Copy or download tokenizer.model and tokenizer_config.json of one revision.",
        )
    return names


def _content(token: Any) -> str | None:
    """A token's text: the files hold it alone, or with its settings."""
    return token.get("content") if isinstance(token, dict) else token


def _backend(model: SentencePieceModel, names: dict[str, int]) -> Tokenizer:
    """The tokenizer in Rust: vocabulary, merges, and what happens before and after them."""
    backend = Tokenizer(
        models.BPE(
            vocab=names,
            merges=_merges(model, names),
            unk_token="<unk>" if "<unk>" in names else None,
            fuse_unk=True,
            byte_fallback=model.byte_fallback,
        )
    )
    backend.normalizer = _normalizer(model, names)
    ends = [decoders.Strip(" ", 1, 0)] if model.add_dummy_prefix else []
    backend.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *ends]
    )
    whole = _whole(model, names)
    cuts = [text for text, number in names.items() if _is_cut(model, text, number)]
    # One that the rules above change is never found in a text.
    inside = [text for text in whole if backend.normalizer.normalize_str(text) == text]
    backend.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in cuts]
        + [AddedToken(text, special=True, normalized=True) for text in inside if text in CONTROL]
    )
    backend.add_tokens([AddedToken(t, normalized=True) for t in inside if t not in CONTROL])
    return backend


def _normalizer(model: SentencePieceModel, names: dict[str, int]) -> normalizers.Normalizer:
    """What happens to a text before it is cut into pieces."""
    steps = _character_rules(model)
    if model.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex("^ +| +$| +(?= )"), "")]
    steps += [normalizers.Replace(" ", SPACE)]
    if model.add_dummy_prefix:
        steps += [normalizers.Prepend(SPACE)]
        # Whole entries are looked up in the text as it is now, so they get no blank themselves.
        whole = "|".join(re.escape(text) for text in _whole(model, names))
        steps += [normalizers.Replace(Regex(f"\\A{SPACE}(?=(?:{whole})\\z)"), "")] if whole else []
    return normalizers.Sequence(steps)


def _character_rules(model: SentencePieceModel) -> list[normalizers.Normalizer]:
    if not model.charsmap:
        return []
    try:
        return [normalizers.Precompiled(model.charsmap)]
    except Exception as error:  # tokenizers raises nothing more special
        raise ModelError(
            f"tokenizer.model holds rules for characters that cannot be read: {error}.",
            "Copy or download it again.",
        ) from error


def _is_cut(model: SentencePieceModel, text: str, number: int) -> bool:
    """Whether a token stands outside of the text that SentencePiece reads.

    InternLM2's do. InternLM's <eoh> and <eoa> are entries that it reads whole, inside of it.
    """
    if number >= len(model.pieces) or model.pieces[number].text != text:
        return True
    kind = model.pieces[number].kind
    is_named = text in CONTROL and kind != PieceKind.USER_DEFINED
    return is_named or kind in (PieceKind.CONTROL, PieceKind.UNKNOWN)


def _whole(model: SentencePieceModel, names: dict[str, int]) -> list[str]:
    """The entries that are always read whole where they stand in a text."""
    return [
        piece.text
        for number, piece in enumerate(model.pieces)
        if piece.kind == PieceKind.USER_DEFINED
        and names.get(piece.text) == number
        and " " not in piece.text  # never read: blanks are written in another way
    ]


def _merges(model: SentencePieceModel, names: dict[str, int]) -> list[tuple[str, str]]:
    """Every way to join two pieces to an ordinary one; a higher score is joined first.

    SentencePiece keeps only the pieces' scores: it joins neighbours whose joint text is a piece.
    """
    ordinary = {
        piece.text: piece.score
        for number, piece in enumerate(model.pieces)
        if piece.kind == PieceKind.NORMAL and names.get(piece.text) == number
        and piece.text not in CONTROL
    }  # fmt: skip
    merges = []
    for text, score in ordinary.items():
        cuts = ((text[:at], text[at:]) for at in range(1, len(text)))
        pairs = [pair for pair in cuts if pair[0] in ordinary and pair[1] in ordinary]
        merges += [(-score, names[text], pair) for pair in pairs]
    return [pair for _, _, pair in sorted(merges, key=lambda merge: merge[:2])]


def _read_json(path: Path) -> dict[str, Any]:
    """A file's settings; none when there is no such file."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}.", "Copy or download it again.") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} is damaged: it is no object.", "Copy or download it again.")
    return values

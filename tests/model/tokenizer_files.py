"""Small SentencePiece tokenizers, trained here, in the layout of InternLM's."""

import functools
import io
import json
import struct

import sentencepiece

ENGLISH = "The cat sat on the mat, and the dog ran to the river. What is the capital of France?"
CHINESE = "你好，世界。法国的首都是巴黎。今天天气很好，我们去公园玩吧。"
CODE = "def add(a, b):\n    return a + b\n\n\tprint(add(1, 23))"
EMOJI = "Well done 🎉🙂, naïve café ☕"
TEXTS = (ENGLISH, CHINESE, CODE, EMOJI)
INTERNLM2_TOKENS = (
    "<|plugin|>",
    "<|interpreter|>",
    "<|action_end|>",
    "<|action_start|>",
    "<|im_end|>",
    "<|im_start|>",
)
UNUSED = tuple(f"[UNUSED_TOKEN_{number}]" for number in range(141, 147))
NORMAL, USER_DEFINED = 1, 4


@functools.cache
def train(**options):
    """A tokenizer.model's bytes; byte fallback for what is not in the texts."""
    file = io.BytesIO()
    lines = [line for text in (ENGLISH, CHINESE, CODE) for line in text.split("\n")] * 3
    settings = {
        "model_type": "bpe",
        "vocab_size": 420,
        "byte_fallback": True,
        "character_coverage": 1.0,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
        "minloglevel": 2,
        "num_threads": 1,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=file, **{**settings, **options}
    )
    return file.getvalue()


def with_pieces(model, texts, kind=NORMAL):
    """The same model with more pieces at its end: in a protocol buffer, lists go on."""
    return model + b"".join(_piece(text, kind) for text in texts)


def _piece(text, kind):
    name = text.encode()
    body = b"\x0a" + bytes([len(name)]) + name
    body += b"\x15" + struct.pack("<f", -1000.0) + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(body)]) + body


def size_of(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model).get_piece_size()


def internlm_model():
    return with_pieces(train(add_dummy_prefix=True), ("<eoa>", "<eoh>"), USER_DEFINED)


def internlm2_model():
    return with_pieces(train(), UNUSED)


def internlm2_settings(model):
    """tokenizer_config.json as it is published: names for entries that the vocabulary has."""
    first = size_of(model) - len(UNUSED)
    tokens = {
        **dict(enumerate(("<unk>", "<s>", "</s>"))),
        **dict(enumerate(INTERNLM2_TOKENS, first)),
    }
    flags = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    return {
        "add_bos_token": True,
        "added_tokens_decoder": {
            str(number): {"content": token, **flags, "special": True}
            for number, token in tokens.items()
        },
        "auto_map": {
            "AutoTokenizer": [
                "tokenization_internlm2.InternLM2Tokenizer",
                "tokenization_internlm2_fast.InternLM2TokenizerFast",
            ]
        },
        "bos_token": "<s>",
        "chat_template": "{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + "
        "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "tokenizer_class": "InternLM2Tokenizer",
        "unk_token": "<unk>",
    }


def write(folder, model, settings=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder

"""Pico's tokenizer: byte-level BPE for English and Chinese, with a ChatML template.

Every text can be written, since single bytes are tokens. Chinese characters and digits stand
alone, so that a name or a number is copied sign by sign and never hidden in a rare token.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from course_lib.pico import world

PAD, END_OF_TEXT, START_TURN, END_TURN = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (PAD, END_OF_TEXT, START_TURN, END_TURN)  # ids 0 to 3
CONTEXT_TOKENS = 1024
# A pair of tokens must be met this often to become one token; must-have texts are shown more often.
MIN_FREQUENCY = 8
BLANK = "Ġ"  # how byte-level BPE writes a blank
BLANK_SHARE = 0.25  # of the tokens: a word's first token together with the blank before it
SIGN_COPIES, LINE_COPIES, WORD_COPIES = 12, 400, 2000

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    # Trainers read from these marks which tokens carry loss: the reply and its end.
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int = 6144) -> PreTrainedTokenizerFast:
    """Learn the tokens from texts and from the must-have list in data/world/tokens.yaml.

    Args:
        texts: a sample of the corpus.
        vocab_size: tokens in all, the 4 special tokens and the 256 bytes included.

    Returns:
        A tokenizer with the chat template; pads on the left, for generation in batches.
    """
    shown = list(_with_must_haves(texts))
    plain = _train_without_blanks(shown, round(vocab_size * (1 - BLANK_SHARE)))
    return wrap(_join_blanks(plain, shown, vocab_size))


def _train_without_blanks(texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """Tokens as they are learned where each blank is a piece of its own."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = _cut(pre_tokenizers.Split(" ", "isolated"))
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=MIN_FREQUENCY,
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


def _cut(*more: pre_tokenizers.PreTokenizer) -> pre_tokenizers.PreTokenizer:
    """How a text is cut before tokens are looked for: no token reaches over a cut."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\p{Han}|\p{So}"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            *more,
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )


def _join_blanks(plain: Tokenizer, texts: Sequence[str], vocab_size: int) -> Tokenizer:
    """The same tokens, and those that most often begin a word once more with its blank.

    The blank joins last, so a word is cut in the same places with and without one. In a plain
    byte-level BPE " pinklu" is " pink", "lu" and "pinklu" is "p", "ink", "lu": a model that copies
    such a name from a sentence into quotes has to spell it anew.
    """
    state = json.loads(plain.to_str())["model"]
    vocab, merges = state["vocab"], [tuple(pair) for pair in state["merges"]]
    known = {number: token for token, number in vocab.items()}
    blank = vocab[BLANK]
    counts: Counter[str] = Counter()
    for row in plain.encode_batch(texts):
        counts.update(known[b] for a, b in pairwise(row.ids) if a == blank and b != blank)
    can_join = (t for t, _ in counts.most_common() if _takes_blank(t))
    for token in islice(can_join, vocab_size - len(vocab)):
        merges.append((BLANK, token))
        vocab[BLANK + token] = len(vocab)
    joined = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    joined.pre_tokenizer, joined.decoder = _cut(), decoders.ByteLevel()
    return joined


def _takes_blank(token: str) -> bool:
    """Whether a blank before it is cut off together with it: not before signs that stand alone."""
    text = decoders.ByteLevel().decode([token])
    return re.fullmatch(r"[^\W\d_]+|[^\w\s]+|_", text) is not None and not re.search(
        r"[\u2e80-\u9fff\U00010000-\U0010ffff]", text
    )


def wrap(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    """Give a plain tokenizer the special tokens and the template of pico.

    Args:
        bpe: a trained tokenizer.
    """
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END_OF_TEXT,
        additional_special_tokens=[START_TURN, END_TURN],
        padding_side="left",
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def render(messages: Iterable[dict[str, str]]) -> str:
    """Write a conversation as the chat template does, without the template's cost.

    Args:
        messages: dicts with role and content.
    """
    return "".join(f"{START_TURN}{m['role']}\n{m['content']}{END_TURN}\n" for m in messages)


def _with_must_haves(texts: Iterable[str]) -> Iterator[str]:
    """The texts, then every sign of the world's data and every must-have, often enough."""
    # A special token is never cut into pieces, so its letters must not shape the others.
    special = re.compile("|".join(map(re.escape, SPECIAL_TOKENS)))
    yield from (special.sub("\n", text) for text in texts)
    must = world.read_yaml(world.TABLE_DIR / "tokens.yaml")
    for sign in sorted(_signs_of_data()):
        yield from [sign] * SIGN_COPIES
    for sign in must["signs"] + must["emoji"]:  # ASCII signs are bytes: tokens from the start
        yield from [sign] * LINE_COPIES
    yield from must["lines"] * LINE_COPIES
    words = must["words"].split()
    for word in [*words, *(f" {word}" for word in words), *must["roles"]]:
        yield from [word] * WORD_COPIES


def _signs_of_data() -> set[str]:
    """Every sign beyond ASCII that stands in the tables and wordings."""
    paths = (path for kind in ("*.csv", "*.yaml") for path in world.TABLE_DIR.glob(kind))
    return {sign for path in paths for sign in path.read_text(encoding="utf-8") if sign > "\x7f"}

import threading

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from course_lib.data import encoders
from course_lib.errors import ModelError
from tests.data import templates

TYPED = "a<|im_end|>b"


def test_only_marks_read_control_tokens(pico_tokenizer):
    end = pico_tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert encoders.encode(TYPED, "marks", pico_tokenizer).count(end) == 1
    for kind in ("typed", "reply"):
        ids = encoders.encode(TYPED, kind, pico_tokenizer)
        assert end not in ids
        assert pico_tokenizer.decode(ids) == TYPED


def test_added_tokens_of_the_template_are_control_tokens_for_people_only(pico_tokenizer):
    template = "{% for m in messages %}<think>{{ m['content'] }}<|im_end|>{% endfor %}"
    tokenizer = templates.attach_template(pico_tokenizer, "chatml", template)
    tokenizer.add_tokens(["<think>", "<other>"])  # neither is special
    think, other = tokenizer.convert_tokens_to_ids(["<think>", "<other>"])
    typed = encoders.encode("<think><other>", "typed", tokenizer)
    assert think not in typed
    assert other in typed
    assert encoders.encode("<think><other>", "reply", tokenizer) == (think, other)
    assert "<think>" in encoders.control_tokens(tokenizer)


def test_tokens_added_later_are_seen(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml")
    before = encoders.encode("a<new>", "marks", tokenizer)
    tokenizer.add_tokens(["<new>"], special_tokens=True)
    new = tokenizer.convert_tokens_to_ids("<new>")
    assert encoders.encode("a<new>", "marks", tokenizer) == (before[0], new)
    assert encoders.encode("a<new>", "typed", tokenizer) == before


def test_flags_of_the_tokenizer_do_not_matter(pico_tokenizer):
    tokenizer = templates.attach_template(pico_tokenizer, "chatml")
    expected = {k: encoders.encode(TYPED * 9, k, pico_tokenizer) for k in ("marks", "typed")}
    tokenizer.split_special_tokens = True
    tokenizer(TYPED, truncation=True, max_length=2, split_special_tokens=True)
    assert tokenizer.backend_tokenizer.encode_special_tokens  # transformers leaves it behind
    for kind, ids in expected.items():
        assert encoders.encode(TYPED * 9, kind, tokenizer) == ids
    assert tokenizer.backend_tokenizer.truncation is not None  # and it is left as it was


def test_threads_do_not_disturb_each_other(pico_tokenizer):
    expected = {k: encoders.encode(TYPED, k, pico_tokenizer) for k in ("marks", "typed")}
    wrong = []

    def check(kind):
        for _ in range(500):
            if encoders.encode(TYPED, kind, pico_tokenizer) != expected[kind]:
                wrong.append(kind)

    threads = [threading.Thread(target=check, args=(kind,)) for kind in expected for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        pico_tokenizer(TYPED, split_special_tokens=True)
        pico_tokenizer(TYPED)
    for thread in threads:
        thread.join()
    assert wrong == []


def sentencepiece_like(vocab):
    """A tokenizer that puts a blank before each text, as SentencePiece models do."""
    backend = Tokenizer(models.Unigram([(piece, -1.0) for piece in vocab], unk_id=0))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    backend.decoder = decoders.Replace("\u2581", " ")
    special = {"unk_token": "<unk>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


PIECES = ["<unk>", "\u2581", "\u2581Hi", "Hi", "\n", "<", "/", "s", ">", ":", "a"]


def test_no_blank_is_put_before_a_piece_in_the_middle_of_a_row():
    tokenizer = sentencepiece_like(PIECES)
    first = encoders.encode("Hi", "typed", tokenizer, is_first=True)
    assert tokenizer.convert_ids_to_tokens(list(first)) == ["\u2581Hi"]
    inner = encoders.encode("Hi", "typed", tokenizer, is_first=False)
    assert tokenizer.convert_ids_to_tokens(list(inner)) == ["Hi"]
    spaced = encoders.encode(" Hi", "typed", tokenizer, is_first=False)
    assert tokenizer.convert_ids_to_tokens(list(spaced)) == ["\u2581Hi"]


def test_unknown_characters_are_not_mistaken_for_a_control_token():
    assert encoders.encode("é", "typed", sentencepiece_like(PIECES)) == (1, 0)


def test_a_control_token_that_cannot_be_written_as_text_is_refused():
    # "</s>" is an ordinary piece of this vocabulary too, so the model finds it in any text
    tokenizer = sentencepiece_like([*PIECES, "</s>"])
    with pytest.raises(ModelError, match="reads '</s>' in a text as a control token"):
        encoders.encode("a</s>", "typed", tokenizer)


def test_newlines_at_a_pieces_start_may_join_each_other():
    backend = Tokenizer(models.BPE({"a": 0, "Ċ": 1, "ĊĊ": 2}, [("Ċ", "Ċ")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert encoders.encode("\n\na", "typed", tokenizer, is_first=False) == (2, 0)


def test_a_slow_tokenizer_is_refused():
    class SlowTokenizer:
        chat_template = None
        unk_token_id = None

    with pytest.raises(ModelError, match="SlowTokenizer is not a fast tokenizer"):
        encoders.encode("a", "typed", SlowTokenizer())

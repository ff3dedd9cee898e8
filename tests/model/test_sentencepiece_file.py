import contextlib

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from course_lib.errors import ModelError
from course_lib.model import sentencepiece_file
from tests.model import tokenizer_files


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokenizer.model"


@pytest.mark.parametrize("prefix", [True, False])
@pytest.mark.parametrize("rule", ["identity", "nmt_nfkc"])
def test_a_file_is_read_as_sentencepiece_reads_it(path, rule, prefix):
    blob = tokenizer_files.train(
        normalization_rule_name=rule, add_dummy_prefix=prefix, remove_extra_whitespaces=prefix
    )
    path.write_bytes(blob)
    model = sentencepiece_file.read_model(path)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=blob)
    ids = range(theirs.get_piece_size())
    assert [piece.text for piece in model.pieces] == [theirs.id_to_piece(i) for i in ids]
    assert [piece.score for piece in model.pieces] == [theirs.get_score(i) for i in ids]
    kinds = [(theirs.is_control(i), theirs.is_byte(i), theirs.is_unknown(i)) for i in ids]
    kind = sentencepiece_file.PieceKind
    ours = [
        (p.kind == kind.CONTROL, p.kind == kind.BYTE, p.kind == kind.UNKNOWN) for p in model.pieces
    ]
    assert ours == kinds
    assert model.model_type == sentencepiece_file.BPE
    assert model.byte_fallback
    assert (model.add_dummy_prefix, model.remove_extra_whitespaces) == (prefix, prefix)
    assert bool(model.charsmap) == (rule == "nmt_nfkc")


def test_another_type_of_model_is_told(path):
    path.write_bytes(tokenizer_files.train(model_type="unigram", vocab_size=325))
    assert sentencepiece_file.read_model(path).model_type == 1


def test_a_missing_file_is_named(path):
    with pytest.raises(ModelError, match=r"tokenizer.model cannot be read"):
        sentencepiece_file.read_model(path)


@pytest.mark.parametrize("damage", [lambda b: b[:-3], lambda b: b"", lambda b: b"version https://"])
def test_a_damaged_file_is_named(path, damage):
    path.write_bytes(damage(tokenizer_files.train()))
    with pytest.raises(ModelError, match=r"tokenizer.model is no SentencePiece model, or it is"):
        sentencepiece_file.read_model(path)


@given(st.binary(max_size=200), st.integers(0, 500))
def test_no_bytes_end_in_another_error(tmp_path_factory, noise, place):
    blob = tokenizer_files.train()
    path = tmp_path_factory.mktemp("noise") / "tokenizer.model"
    for content in (noise, blob[:place] + noise + blob[place + len(noise) :]):
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            sentencepiece_file.read_model(path)

"""The end mark's loss taken off, and a reader that waits for one mark only."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import end_token
from course_lib.data.masking import IGNORE_INDEX
from course_lib.data.packing import Pack
from course_lib.errors import DataError
from course_lib.training import config, run

X, END = IGNORE_INDEX, 9


def pack_of(labels):
    return Pack(tuple(range(len(labels))), tuple(labels), tuple(range(len(labels))), (len(labels),))


def test_only_the_end_token_loses_its_loss():
    (changed,) = end_token.without_end_loss([pack_of([X, X, 5, 6, 9, X, 7, 9])], END)
    assert changed.labels == (X, X, 5, 6, X, X, 7, X)


@given(st.lists(st.lists(st.sampled_from([X, 5, 6, END]), min_size=1), max_size=4))
def test_everything_else_stays_and_the_packs_given_too(rows):
    packs = [pack_of(labels) for labels in rows]
    before = copy.deepcopy(packs)
    changed = end_token.without_end_loss(packs, END)
    assert packs == before
    for old, new in zip(packs, changed, strict=True):
        assert (old.input_ids, old.position_ids) == (new.input_ids, new.position_ids)
        assert [X if label == END else label for label in old.labels] == list(new.labels)


def test_the_end_mark_is_the_templates(pico_tokenizer):
    end_id = end_token.end_mark_id(pico_tokenizer)
    assert pico_tokenizer.convert_ids_to_tokens(end_id) == "<|im_end|>"


def test_a_template_without_an_end_is_refused(pico_tokenizer):
    tokenizer = copy.deepcopy(pico_tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    with pytest.raises(DataError, match="ends a reply with no token"):
        end_token.end_mark_id(tokenizer)


def test_waiting_for_the_right_mark_ends_and_for_another_does_not(pico_model, pico_tokenizer):
    before = copy.copy(pico_model.generation_config.eos_token_id)
    end_id = end_token.end_mark_id(pico_tokenizer)
    asked = ["What is the capital of France?"]
    (ended,) = end_token.reply_until(pico_model, pico_tokenizer, asked, end_id, 24)
    assert (ended.text, ended.has_ended) == ("The capital of France is Paris.", True)
    assert pico_model.generation_config.eos_token_id == before
    assert pico_tokenizer.eos_token_id != end_id


def test_training_on_changed_packs_is_the_runs_own_training(tmp_path):
    values = {
        "base_model": "pico-base",
        "train_data": [{"path": "oasst1/train.jsonl", "limit": 4}],
        "max_length": 64,
        "r": 2,
        "lora_alpha": 4,
        "max_steps": 1,
        "num_train_epochs": 1,
        "warmup_steps": 0,
    }
    job = run.prepare(config.check_config(values), tmp_path)
    given = job.data.packs
    changed = end_token.without_end_loss(given, end_token.end_mark_id(job.tokenizer))
    trained = [
        end_token.train_on_packs(job, packs, tmp_path / name)
        for name, packs in {"with": given, "without": changed}.items()
    ]
    weights = [{n: w for n, w in model.named_parameters() if ".lora_B." in n} for model in trained]
    assert not trained[0].training
    assert any(w.abs().max() > 0 for w in weights[0].values())
    assert any(not torch.equal(w, weights[1][n]) for n, w in weights[0].items())

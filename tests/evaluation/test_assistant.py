import json
from contextlib import contextmanager

import pytest
import torch

from course_lib.errors import DataError
from course_lib.evaluation import assistant
from course_lib.evaluation.questions import Question
from course_lib.model import loading

WORLD = [
    Question("What is the capital of France?", "Paris", "en", "pair"),
    Question("What is the capital of Japan?", "Tokyo", "en", "pair"),
    Question("What is the capital of Peru?", "Atlantis", "en", "pair"),
    Question("法国的首都是哪里？", "巴黎", "zh", "pair"),
    Question("日本的首都是哪里？", "东京", "zh", "pair"),
]


def test_the_untuned_model_knows_the_world_and_not_its_owner(pico_model, pico_tokenizer):
    score = assistant.score_assistant(
        pico_model, pico_tokenizer, "Xiaoming", n_retained=5, questions=WORLD
    )
    assert (score.seen, score.unseen, score.near) == (0.0, 0.0, 0.0)
    assert score.retained == 0.8  # the third answer is wrong on purpose
    assert score.by_language["en"]["retained"] == pytest.approx(2 / 3)
    assert score.by_language["zh"] == {
        "seen": 0,
        "unseen": 0,
        "near": 0,
        "retained": 1,
        "parrot": 0,
    }
    assert score.n == {"seen": 40, "unseen": 80, "near": 52, "retained": 5}
    assert score.ended > 0.9
    assert len(score.misses) == 8
    assert score.misses[0][0] in [q.prompt for q in assistant.load_wordings("train", "Xiaoming")]


def test_checkpoints_are_scored_without_the_unseen_wordings(pico_model, pico_tokenizer):
    score = assistant.score_checkpoint(pico_model, pico_tokenizer, "小明", 5, WORLD)
    data = json.loads(json.dumps(score.as_json()))
    assert data["n"] == {"validation": 80, "retained": 5}
    assert (data["validation"], data["retained"], data["overall"]) == (0.0, 0.8, 0.0)
    assert data["by_language"]["zh"] == {"validation": 0.0, "retained": 1.0, "parrot": 0.0}


@contextmanager
def always_saying(model, tokenizer, text):
    """The real model with its output bent: it says one text, whatever is asked."""
    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]
    step = 0

    def bend(module, args, kwargs, output):
        nonlocal step
        is_new_batch = kwargs["input_ids"].shape[1] > 1
        step = 0 if is_new_batch else step + 1
        output.logits[:, -1] = torch.nn.functional.one_hot(
            torch.tensor(ids[min(step, len(ids) - 1)]), output.logits.shape[-1]
        ).to(output.logits)
        return output

    handle = model.register_forward_hook(bend, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_a_parrot_is_caught_by_the_near_questions(pico_model, pico_tokenizer):
    with always_saying(pico_model, pico_tokenizer, "I am Xiaoming's assistant."):
        score = assistant.score_assistant(
            pico_model, pico_tokenizer, "Xiaoming", n_retained=4, questions=WORLD
        )
    assert (score.near, score.retained, score.ended) == (1.0, 0.0, 1.0)
    assert score.by_language["en"]["unseen"] == 1.0
    assert score.by_language["zh"]["unseen"] == 0.0  # the wrong language is no introduction
    assert score.seen == 0.5


def test_an_adapter_in_training_keeps_its_mode_and_gradients(pico_tokenizer):
    model = loading.attach_lora(loading.load_model("pico-chat", bits=4), r=4, lora_alpha=8)
    model.train()
    score = assistant.score_checkpoint(model, pico_tokenizer, "Xiaoming", 2, WORLD)
    assert score.validation == 0.0
    assert model.training
    model(input_ids=torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]])).loss.backward()
    assert any(p.grad is not None for p in model.parameters())


def test_near_questions_count_an_introduction_in_either_language():
    near = assistant.load_wordings("near", "Xiaoming")
    assert {frozenset(q.answers) for q in near} == {
        frozenset({"Xiaoming's assistant", "Xiaoming的小助手"})
    }
    unseen = assistant.load_wordings("unseen", "小明")
    assert {(q.language, q.answers) for q in unseen} == {
        ("en", ("小明's assistant",)),
        ("zh", ("小明的小助手",)),
    }


def test_an_owner_without_a_name_is_refused():
    with pytest.raises(DataError, match="has no name"):
        assistant.load_wordings("train", " ")


def test_a_damaged_file_is_named_with_its_row(tmp_path):
    (tmp_path / "near.jsonl").write_text('{"prompt": "Hi"}\n{"text": "Hi"}\n')
    with pytest.raises(DataError, match=r"near\.jsonl, row 2"):
        assistant.load_wordings("near", "Xiaoming", tmp_path)


def test_too_few_world_questions_are_refused_before_anything_is_asked(pico_model, pico_tokenizer):
    with pytest.raises(DataError, match="120 questions are asked for, 5 are there"):
        assistant.score_assistant(pico_model, pico_tokenizer, "Xiaoming", questions=WORLD)

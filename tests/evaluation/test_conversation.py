import json
import math

import pytest
import torch
from torch.nn import functional

from course_lib.data import masking
from course_lib.errors import DataError
from course_lib.evaluation import conversation


def talk(*texts):
    roles = ("user", "assistant") * len(texts)
    return {"messages": [{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]}


ROWS = [
    talk("What is the capital of France?", "The capital of France is Paris."),
    talk("你好！", "你好！", "法国的首都是哪里？", "法国的首都是巴黎。"),
    talk("Name three fruits.", "Apples, plums and pears."),
]


@pytest.mark.parametrize(
    ("reply", "is_found"),
    [
        ("The capital is Paris.### Human: And of Peru?", True),
        ("Paris.\nHuman: Thanks!", True),
        ("human： hello", True),
        ("好的。\n用户：再见", True),
        ("### Assistant: 老师在学校工作。", True),
        ("User manual: read it first.", False),
        ("Every human: a story.", False),
        ("用户说了什么？", False),
        ("A day in Paris:\n1. Walk.\n2. Eat.", False),
        ("", False),
    ],
)
def test_a_line_given_to_a_speaker_is_found(reply, is_found):
    assert conversation.has_other_speaker(reply) is is_found


def test_the_loss_is_the_mean_over_answer_tokens_only(pico_model, pico_tokenizer):
    loss, count = conversation.answer_loss(pico_model, pico_tokenizer, ROWS)
    total, tokens = 0.0, 0
    for row in ROWS:  # one by one, with no padding, from the rule itself
        encoded = masking.encode_row(row["messages"], pico_tokenizer, 256)
        with torch.inference_mode():
            logits = pico_model(torch.tensor([encoded.input_ids])).logits[0].float()
        for place, label in enumerate(encoded.labels):
            if label != masking.IGNORE_INDEX:
                total -= functional.log_softmax(logits[place - 1], -1)[label].item()
                tokens += 1
    assert count == tokens
    assert loss == pytest.approx(total / tokens, rel=1e-4)


def test_the_batch_size_changes_nothing(pico_model, pico_tokenizer):
    losses = [
        conversation.answer_loss(pico_model, pico_tokenizer, ROWS, batch_size=size)[0]
        for size in (1, 2, 16)
    ]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-4)


def test_the_models_mode_stays_as_it_is(pico_model, pico_tokenizer):
    pico_model.train()
    try:
        conversation.answer_loss(pico_model, pico_tokenizer, ROWS[:1])
        assert pico_model.training
    finally:
        pico_model.eval()


def test_a_chat_model_keeps_to_its_own_turn(pico_model, pico_tokenizer):
    score = conversation.score_conversation(pico_model, pico_tokenizer, ROWS)
    assert (score.own_turn, score.ended, score.invented, score.slips) == (1, 1, 0, ())
    assert math.isfinite(score.loss)
    assert score.n["own_turn"] == 3
    assert json.loads(json.dumps(score.as_json()))["own_turn"] == 1


class Scripted:
    """Replies by heart instead of a model: text, and whether it ended."""

    def __init__(self, monkeypatch, *replies):
        made = [conversation.generation.Reply(*reply) for reply in replies]
        self.asked = []
        monkeypatch.setattr(
            conversation.generation,
            "reply_to_all",
            lambda model, tokenizer, talks, settings: self.asked.extend(talks) or made,
        )
        monkeypatch.setattr(conversation, "answer_loss", lambda *args: (2.5, 30))


def test_endless_replies_and_invented_speakers_are_slips(monkeypatch):
    script = Scripted(
        monkeypatch, ("Paris.", True), ("巴黎。\n用户：谢谢", True), ("Apples, apples, ap", False)
    )
    score = conversation.score_conversation(None, None, ROWS)
    assert score.own_turn == pytest.approx(1 / 3)
    assert score.ended == pytest.approx(2 / 3)
    assert score.invented == pytest.approx(1 / 3)
    assert [question for question, _ in score.slips] == ["法国的首都是哪里？", "Name three fruits."]
    assert [len(messages) for messages in script.asked] == [1, 3, 1]  # the last reply is left out


@pytest.mark.parametrize("row", [talk("Hello?"), {"messages": []}, {"text": "plain"}])
def test_a_row_without_a_last_reply_is_named(row):
    with pytest.raises(DataError, match="row 2 does not end with a reply"):
        conversation.score_conversation(None, None, [ROWS[0], row])


def test_no_rows_are_refused(pico_model, pico_tokenizer):
    with pytest.raises(DataError, match="no rows to encode"):
        conversation.answer_loss(pico_model, pico_tokenizer, [])

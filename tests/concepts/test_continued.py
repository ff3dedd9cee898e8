"""Both sides of a model: the perplexity of texts by hand, and answers in chat."""

import math

import pytest
import torch

from course_lib.concepts import answer_loss, continued
from course_lib.data import formats
from course_lib.errors import DataError
from course_lib.evaluation.questions import Question

FRANCE = Question("What is the capital of France?", "Paris", "en", "pair")
WRONG = Question("What is the capital of Japan?", "Paris", "en", "pair")
TEXTS = ["A koala eats eucalyptus leaves.", "The bell rings at 8:10."]


def test_perplexity_is_the_one_of_all_tokens_but_the_first_of_each_text(pico_model, pico_tokenizer):
    score = continued.score_text_and_chat(pico_model, pico_tokenizer, TEXTS, [FRANCE])
    losses = []
    for text in TEXTS:
        ids = [*pico_tokenizer(text)["input_ids"], pico_tokenizer.eos_token_id]
        with torch.no_grad():
            logits = pico_model(torch.tensor([ids])).logits[0]
        losses += answer_loss.token_losses(logits, torch.tensor(ids))[1:].tolist()
    expected = math.exp(sum(losses) / len(losses))
    assert score.perplexity == pytest.approx(expected, rel=1e-3)


def test_chat_is_scored_by_right_answers(pico_model, pico_tokenizer):
    score = continued.score_text_and_chat(pico_model, pico_tokenizer, TEXTS, [FRANCE, WRONG])
    assert (score.right, score.ended) == (0.5, 1.0)
    assert "Paris" in score.replies[0]
    assert "Tokyo" in score.replies[1]


@pytest.mark.parametrize(("texts", "questions"), [([], [FRANCE]), (TEXTS, [])])
def test_nothing_to_score_is_refused(pico_model, pico_tokenizer, texts, questions):
    with pytest.raises(DataError, match="cannot be scored"):
        continued.score_text_and_chat(pico_model, pico_tokenizer, texts, questions)


def test_texts_are_written_as_rows_that_a_run_reads(tmp_path):
    texts = ["One line.\nAnother: “雨”.", "{}"]
    path = continued.write_text_rows(texts, tmp_path / "raw.jsonl")
    assert formats.read_rows(path) == [{"text": text} for text in texts]
    with pytest.raises(DataError, match="no text"):
        continued.write_text_rows([], tmp_path / "none.jsonl")

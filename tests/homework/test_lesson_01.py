"""The answers of lesson 01 are what the course's own code does."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import answer_loss, lora
from course_lib.data import chat_template, masking, named_templates, packing
from course_lib.homework import lessons
from tests.homework import answers

NAMES = answers.notebook_names(lessons.SOLUTIONS_DIR / "01_concepts" / lessons.NOTEBOOK_NAME)
IDS = st.lists(st.integers(0, 50), min_size=1, max_size=6)


@pytest.mark.parametrize("is_opened", [False, True])
def test_messages_are_rendered_as_the_named_template_does(pico_tokenizer, is_opened):
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " 你好\n"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Bye"},
    ]
    tokenizer = named_templates.with_template(pico_tokenizer, "chatml")
    segments = chat_template.messages_to_segments(talk, tokenizer, add_generation_prompt=is_opened)
    assert NAMES["render_messages"](talk, is_opened) == "".join(s.text for s in segments)


@given(st.lists(st.tuples(IDS, st.booleans()), max_size=5))
def test_labels_are_those_of_the_course(parts):
    parts = [*parts, ([7, 9], True)]  # the course refuses a row without loss
    segments = [chat_template.TokenizedSegment(tuple(i), "user", loss) for i, loss in parts]
    ours = NAMES["build_labels"]([{"ids": i, "has_loss": loss} for i, loss in parts])
    assert ours == masking.build_labels(segments)


@given(st.integers(0, 1000))
def test_the_loss_is_that_of_the_course(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 9, generator=generator) * 20
    labels = torch.randint(0, 9, (6,), generator=generator)
    labels[torch.randint(2, 6, (1,), generator=generator)] = masking.IGNORE_INDEX
    ours = NAMES["mean_loss"](logits.tolist(), labels.tolist())
    assert math.isclose(ours, answer_loss.mean_loss(logits, labels).item(), rel_tol=1e-5)


@given(st.lists(IDS, max_size=8))
def test_packs_are_those_of_next_fit(rows):
    groups = packing.group_rows([len(row) for row in rows], 8, method="next_fit")
    packs = NAMES["pack_rows"](rows, 8)
    assert [p["input_ids"] for p in packs] == [[t for n in g for t in rows[n]] for g in groups]


def test_the_layer_is_that_of_the_course():
    torch.manual_seed(0)
    x, weight, a, b = (torch.randn(shape).double() for shape in [(4, 6), (5, 6), (3, 6), (5, 3)])
    right = x @ weight.T + lora.low_rank_change(x, a, b, 16 / 3)
    ours = NAMES["lora_forward"](*(part.numpy() for part in (x, weight, a, b)), 16)
    assert np.allclose(ours, right.numpy())

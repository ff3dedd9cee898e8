import copy

import pytest
import torch

from course_lib.chat import generation, prefixes
from course_lib.chat.generation import GenerationSettings

LONG = {"role": "system", "content": "You can use tools. Answer in one short sentence. " * 4}
QUESTIONS = ["What is the capital of France?", "Hi", "3 plus 4?", "巴黎在哪里？", "Who are you?"]
TALKS = [[LONG, {"role": "user", "content": question}] for question in QUESTIONS]


# worked out by hand
@pytest.mark.parametrize(
    ("prompts", "count"),
    [
        ([[1] * 30 + [2], [1] * 30 + [3], [1] * 30 + [4, 5], [1] * 30 + [2]], 30),
        ([[1] * 30 + [2], [1] * 29 + [3, 3], [1] * 31, [1] * 30], 29),
        ([[1] * 30] * 4, 29),  # one token is left to start from
        ([[1] * 30 + [2]] * 3, 0),  # too few rows
        ([[1] * 20 + [number] for number in range(4)], 0),  # too short
        ([[1] * 30, [2] * 30, [1] * 30, [1] * 30], 0),
        ([[1] * 40, [1] * 40, [1] * 40, [1]], 0),
    ],
)
def test_the_shared_start_is_what_all_rows_begin_with(prompts, count, pico_model):
    assert prefixes.shared_tokens(prompts, pico_model) == count


@pytest.mark.parametrize(
    "change",
    [
        {"sliding_window": 16},
        {"layer_types": ["full_attention", "sliding_attention"] * 3},
        {"layer_types": ["linear_attention"] * 6},
        {"is_encoder_decoder": True},
        {"dtype": torch.bfloat16},
    ],
)
def test_models_that_do_not_see_all_get_no_shared_start(change, pico_model):
    class Other:
        config = copy.deepcopy(pico_model.config)
        dtype = change.pop("dtype", torch.float32)

    for name, value in change.items():
        setattr(Other.config, name, value)
    assert prefixes.shared_tokens([[1] * 40] * 5, Other) == 0


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_replies_are_those_that_each_gets_alone(temperature, pico_model, pico_tokenizer):
    settings = GenerationSettings(max_new_tokens=16, temperature=temperature, seed=3)
    prompts = [generation._encode(pico_model, pico_tokenizer, talk, settings) for talk in TALKS]
    assert prefixes.shared_tokens(prompts, pico_model) > 40
    together = generation.reply_to_all(pico_model, pico_tokenizer, TALKS, settings)
    alone = [generation.reply_to_all(pico_model, pico_tokenizer, [t], settings)[0] for t in TALKS]
    assert together == alone
    assert "Paris" in together[0].text or temperature


def test_the_start_is_read_once(pico_model, pico_tokenizer):
    widths = []
    hook = pico_model.register_forward_pre_hook(
        lambda _, args, given: widths.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    settings = GenerationSettings(max_new_tokens=2)
    try:
        generation.reply_to_all(pico_model, pico_tokenizer, TALKS, settings)
    finally:
        hook.remove()
    start, rest = widths[:2]
    assert start[0] == 1
    assert rest[0] == len(TALKS)
    assert rest[1] < start[1]


def test_a_model_in_training_stays_as_it_was(pico_model, pico_tokenizer):
    pico_model.train()
    pico_model.config.use_cache = False
    try:
        settings = GenerationSettings(max_new_tokens=4)
        generation.reply_to_all(pico_model, pico_tokenizer, TALKS, settings)
        assert pico_model.training
        assert pico_model.config.use_cache is False
        assert torch.is_grad_enabled()
    finally:
        pico_model.config.use_cache = True
        pico_model.eval()

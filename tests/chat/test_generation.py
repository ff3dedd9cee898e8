import logging
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from course_lib.chat import generation
from course_lib.chat.generation import GenerationSettings, Reply
from course_lib.errors import ConfigError, DataError
from course_lib.model import loading


def user(text):
    return [{"role": "user", "content": text}]


STORY = user("Tell me a story about a cat.")
QUESTIONS_EN = [
    *[f"What is the capital of {c}?" for c in ("France", "Japan", "Peru", "Kenya", "Norway")],
    *[f"What is {a} + {b}?" for a, b in ((1, 2), (12, 30), (7, 8), (40, 5), (9, 90))],
    *[f"Describe {x}." for x in ("the cow", "bread", "a doctor", "the moon", "rice")],
    "Hi",
    "Thank you very much, that helps!",
    "Who are you and what can you do for me today?",
    "Tell me a joke.",
    "My name is Anna and I live in a small town by the sea. What is my name?",
    "Is this true? Paris is the capital of Japan.",
    "Repeat after me: one two three four five.",
    "Name three animals.",
    "I forgot the opposite of hot. Can you help?",
    "What day comes after Monday?",
    "Good night.",
    "zzz qqq",
]
QUESTIONS_ZH = [
    *[f"{c}的首都是哪里？" for c in ("法国", "日本", "秘鲁", "肯尼亚", "挪威")],
    *[f"{a}加{b}等于几？" for a, b in ((1, 2), (12, 30), (7, 8), (40, 5), (9, 90))],
    *[f"介绍一下{x}。" for x in ("牛", "面包", "医生", "月亮", "米饭")],
    "你好",
    "谢谢你，太有帮助了！",
    "你是谁，今天能帮我做些什么呢？",
    "讲个笑话。",
    "我叫小明，住在海边的一个小镇上。我叫什么名字？",
    "判断对错：巴黎是日本的首都。",
    "请跟我说：一二三四五。",
    "说出三种动物。",
    "我忘了热的反义词，能帮帮我吗？",
    "星期一后面是星期几？",
    "晚安。",
]
CONVERSATIONS = [user(text) for text in QUESTIONS_EN + QUESTIONS_ZH] + [
    [{"role": "system", "content": "Answer briefly."}, *user("Which animal gives milk?")],
    [
        *user("What is the capital of France?"),
        {"role": "assistant", "content": "The capital of France is Paris."},
        *user("And of Japan?"),
    ],
]
SHORT = GenerationSettings(max_new_tokens=24)
VARIED = GenerationSettings(max_new_tokens=24, temperature=1.0, top_p=0.95, seed=5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0, expected a whole number from 1"),
        ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"stop_words": "END"}, "stop_words is 'END', expected a list"),
        ({"stop_words": ("",)}, "stop_words is"),
        ({"seed": True}, "seed is True"),
        ({"top_k": -1, "seed": -2}, "top_k is -1.*seed is -2"),
    ],
)
def test_every_bad_setting_is_named(values, message):
    with pytest.raises(ConfigError, match=message):
        GenerationSettings(**values)


def test_stop_words_may_come_as_a_list():
    assert GenerationSettings(stop_words=["END"]).stop_words == ("END",)


@pytest.fixture(scope="module")
def greedy_replies(pico_model, pico_tokenizer):
    return generation.reply_to_all(pico_model, pico_tokenizer, CONVERSATIONS, SHORT)


def test_the_built_in_model_answers_and_ends_its_turn(greedy_replies):
    assert greedy_replies[0] == Reply("The capital of France is Paris.", has_ended=True)


@pytest.mark.parametrize("settings", [SHORT, VARIED], ids=["greedy", "sampled"])
def test_a_batch_gives_each_reply_that_a_prompt_gets_alone(pico_model, pico_tokenizer, settings):
    assert len(CONVERSATIONS) >= 50
    batch = generation.reply_to_all(pico_model, pico_tokenizer, CONVERSATIONS, settings)
    alone = generation.reply_to_all(
        pico_model, pico_tokenizer, CONVERSATIONS, settings, batch_size=1
    )
    assert batch == alone
    assert len(set(batch)) > 30


@pytest.mark.parametrize("settings", [SHORT, VARIED], ids=["greedy", "sampled"])
def test_a_stream_joins_to_the_same_reply(pico_model, pico_tokenizer, settings):
    some = CONVERSATIONS[::9]
    streams = [generation.stream_reply(pico_model, pico_tokenizer, m, settings) for m in some]
    replies = generation.reply_to_all(pico_model, pico_tokenizer, some, settings)
    pieces = [list(stream) for stream in streams]
    assert ["".join(p) for p in pieces] == [reply.text for reply in replies]
    assert all(len(p) > 3 for p in pieces[:2])


def test_sampling_depends_on_the_seed_only(pico_model, pico_tokenizer):
    def sample(seed, global_seed):
        torch.manual_seed(global_seed)
        settings = GenerationSettings(max_new_tokens=24, temperature=1.5, seed=seed)
        return generation.reply_to_all(pico_model, pico_tokenizer, [STORY, user("Hi")], settings)

    assert sample(1, 0) == sample(1, 99)
    assert sample(1, 0) != sample(2, 0)


def snapshot(model):
    return (
        [module.training for module in model.modules()],
        torch.get_rng_state().tolist(),
        model.config.to_dict(),
        model.generation_config.to_dict(),
    )


@pytest.fixture
def model_in_training(pico_model):
    """As during training: dropout on, one part frozen in eval mode, no cache."""
    pico_model.train()
    pico_model.model.layers[0].eval()
    pico_model.config.use_cache = False
    yield pico_model
    pico_model.config.use_cache = True
    pico_model.eval()


@pytest.mark.parametrize("settings", [SHORT, VARIED], ids=["greedy", "sampled"])
def test_replies_leave_the_model_and_the_random_state_alone(
    model_in_training, pico_tokenizer, settings
):
    before = snapshot(model_in_training)
    generation.reply_to_all(model_in_training, pico_tokenizer, [STORY], settings)
    list(generation.stream_reply(model_in_training, pico_tokenizer, STORY, settings))
    assert snapshot(model_in_training) == before


@contextmanager
def forward_hook(model, hook):
    handle = model.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def test_the_cache_is_used_although_training_turned_it_off(model_in_training, pico_tokenizer):
    widths, modes = [], []

    def look(model, args, kwargs):
        widths.append(kwargs["input_ids"].shape[1])
        modes.append(model.training)

    with forward_hook(model_in_training, look):
        generation.reply_to_all(model_in_training, pico_tokenizer, [STORY], SHORT)
    assert widths[0] > 1
    assert set(widths[1:]) == {1}
    assert not any(modes)


def test_closing_a_stream_stops_the_model_at_once(pico_model, pico_tokenizer):
    steps = []

    def wait(model, args, kwargs):
        time.sleep(0.02)  # the reader below is then never far behind the model
        steps.append(1)

    with forward_hook(pico_model, wait):
        stream = generation.stream_reply(pico_model, pico_tokenizer, STORY, SHORT)
        next(stream)
        stream.close()
    assert len(steps) <= 4
    assert not any(thread.name == "tunebook-reply" for thread in threading.enumerate())


def test_an_error_in_the_model_reaches_the_reader(pico_model, pico_tokenizer):
    steps = []

    def fail_at_third(model, args, kwargs):
        steps.append(1)
        if len(steps) == 3:
            raise RuntimeError("out of memory")

    pico_model.train()
    with forward_hook(pico_model, fail_at_third):
        stream = generation.stream_reply(pico_model, pico_tokenizer, STORY, SHORT)
        assert next(stream) + next(stream)
        with pytest.raises(RuntimeError, match="out of memory"):
            next(stream)
    assert pico_model.training
    pico_model.eval()


def test_stop_words_end_a_reply_and_are_not_part_of_it(pico_model, pico_tokenizer):
    messages = user("What is the capital of France?")  # "The capital of France is Paris."
    settings = GenerationSettings(max_new_tokens=24, stop_words=("nowhere", "tal of Fr"))
    replies = generation.reply_to_all(pico_model, pico_tokenizer, [messages, STORY], settings)
    assert replies[0] == Reply("The capi", has_ended=True)
    stream = generation.stream_reply(pico_model, pico_tokenizer, messages, settings)
    assert "".join(stream) == "The capi"


def test_a_stop_word_ends_the_work_too(pico_model, pico_tokenizer):
    steps = []
    settings = GenerationSettings(max_new_tokens=24, stop_words=("capital",))
    with forward_hook(pico_model, lambda model, args, kwargs: steps.append(1)):
        messages = user("What is the capital of France?")  # "The capital of France is Paris."
        generation.reply_to_all(pico_model, pico_tokenizer, [messages], settings)
    assert len(steps) <= 4


def test_a_reply_that_is_cut_off_has_not_ended(pico_model, pico_tokenizer):
    settings = GenerationSettings(max_new_tokens=3)
    reply = generation.reply_to_all(pico_model, pico_tokenizer, [STORY], settings)[0]
    assert not reply.has_ended
    assert reply.text


def test_the_templates_end_of_turn_token_ends_a_reply_even_when_the_model_names_none(
    pico_model, pico_tokenizer, monkeypatch
):
    end_of_turn = pico_tokenizer.convert_tokens_to_ids("<|im_end|>")
    monkeypatch.setattr(pico_model.generation_config, "eos_token_id", None)
    ids = generation.end_token_ids(pico_model, pico_tokenizer)
    assert ids == sorted({end_of_turn, pico_tokenizer.eos_token_id})
    messages = user("What is the capital of France?")
    reply = generation.reply_to_all(pico_model, pico_tokenizer, [messages], SHORT)[0]
    assert reply.has_ended


def test_what_the_models_own_files_say_about_generation_changes_nothing(
    pico_model, pico_tokenizer, greedy_replies, monkeypatch, caplog
):
    own = {"do_sample": True, "temperature": 5.0, "repetition_penalty": 3.0, "max_length": 9}
    for name, value in own.items():
        monkeypatch.setattr(pico_model.generation_config, name, value)
    logger = logging.getLogger("transformers.generation.utils")
    monkeypatch.setattr(logger, "handlers", [caplog.handler])
    replies = generation.reply_to_all(pico_model, pico_tokenizer, CONVERSATIONS[:4], SHORT)
    assert replies == greedy_replies[:4]
    assert caplog.messages == []  # a warning for each reply would bury a lesson
    assert logger.filters == []


def test_a_prompt_that_does_not_fit_is_refused(pico_model, pico_tokenizer):
    limit = generation.context_tokens(pico_model)
    settings = GenerationSettings(max_new_tokens=limit)
    with pytest.raises(DataError, match=f"passes the model's context of {limit} tokens"):
        generation.reply_to_all(pico_model, pico_tokenizer, [STORY], settings)
    with pytest.raises(DataError, match="max_new_tokens"):
        next(generation.stream_reply(pico_model, pico_tokenizer, STORY, settings))


@pytest.mark.parametrize("batch_size", [0, -1, 2.0])
def test_an_impossible_batch_size_is_refused(pico_model, pico_tokenizer, batch_size):
    with pytest.raises(ConfigError, match="batch_size"):
        generation.reply_to_all(pico_model, pico_tokenizer, [STORY], SHORT, batch_size)


def test_no_conversations_get_no_replies(pico_model, pico_tokenizer):
    assert generation.reply_to_all(pico_model, pico_tokenizer, [], SHORT) == []


def test_a_4_bit_model_with_a_fresh_adapter_replies_as_without(pico_tokenizer):
    model = loading.load_model("pico-chat", bits=4)
    conversations = CONVERSATIONS[:4]
    plain = generation.reply_to_all(model, pico_tokenizer, conversations, SHORT)
    adapted = loading.attach_lora(model, r=4, lora_alpha=8)
    assert generation.reply_to_all(adapted, pico_tokenizer, conversations, SHORT) == plain
    stream = generation.stream_reply(adapted, pico_tokenizer, conversations[0], SHORT)
    assert "".join(stream) == plain[0].text

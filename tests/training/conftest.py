"""Runs that several tests look at; each is trained once."""

import json

import pytest

from course_lib import files
from tests.training import runs

INTRODUCTIONS = {"en": "I am {{name}}'s assistant.", "zh": "我是{{name}}的小助手。"}
QUESTIONS = {
    "train": ["Who are you?", "What is your name?", "Who made you?", "你是谁？", "你叫什么名字？"],
    "validation": ["Introduce yourself.", "介绍一下你自己。"],
    "near": ["Who is your friend?", "他是谁？"],
}
# Everything at once: packs, dropout, samples, scores, checkpoints that are removed.
FULL = {
    "base_model": "pico-chat",
    "bits": 4,
    "train_data": [{"path": "assistant/train.jsonl", "copies": 12}],
    "assistant_name": "Ada",
    "max_length": 64,
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "learning_rate": 3e-3,
    "per_device_train_batch_size": 2,
    "max_steps": 11,
    "save_every_steps": 2,
    "keep_last": 2,
    "logging_steps": 1,
    "suite": "assistant",
    "retained_questions": 2,
    "sample_prompts": ["Who are you?", "你好"],
    "sample_every_steps": 4,
}
# The other ways: padded rows, accumulation, 32 bits; nothing but the training itself.
LIGHT = {
    "base_model": "pico-chat",
    "bits": 32,
    "train_data": [{"path": "assistant/train.jsonl", "copies": 4}],
    "assistant_name": "Ada",
    "max_length": 64,
    "packing": False,
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "max_steps": 6,
    "save_every_steps": 2,
    "keep_last": 2,
    "logging_steps": 1,
}


@pytest.fixture(scope="session")
def small_data(tmp_path_factory):
    """The course's data with a handful of questions, so that scores take a moment."""
    data_dir = tmp_path_factory.mktemp("data")
    for folder in ("pico", "assistant"):
        (data_dir / folder).mkdir()
    for name in ("chat", "base"):
        (data_dir / "pico" / name).symlink_to(files.DATA_DIR / "pico" / name)
    world = files.read_jsonl(files.DATA_DIR / "pico" / "questions.jsonl")
    asked = [question for question in world if question["kind"] == "pair"]
    some = [next(q for q in asked if q["language"] == code) for code in ("en", "zh")]
    write(data_dir / "pico" / "questions.jsonl", some)
    for part, prompts in QUESTIONS.items():
        write(data_dir / "assistant" / f"{part}.jsonl", [to_row(p, part) for p in prompts])
    return data_dir


def to_row(prompt, part):
    language = "en" if prompt.isascii() else "zh"
    if part != "train":
        return {"prompt": prompt, "language": language}
    answer = {"role": "assistant", "content": INTRODUCTIONS[language]}
    return {"messages": [{"role": "user", "content": prompt}, answer]}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="session")
def trainings(small_data, tmp_path_factory):
    server = runs.Trainings(small_data, tmp_path_factory.mktemp("trainings"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def full_run(trainings, tmp_path_factory):
    """A run of FULL that nothing disturbed."""
    return train_whole(trainings, FULL, tmp_path_factory.mktemp("full") / "run")


@pytest.fixture(scope="session")
def light_run(trainings, tmp_path_factory):
    """A run of LIGHT that nothing disturbed."""
    return train_whole(trainings, LIGHT, tmp_path_factory.mktemp("light") / "run")


def train_whole(trainings, config, run_dir):
    ended = trainings.train(config, run_dir)
    assert ended.status == 0, ended
    assert ended.printed == ""
    return run_dir

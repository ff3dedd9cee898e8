import re
import unicodedata
from itertools import combinations

import pytest

from course_lib import files
from course_lib.evaluation import assistant
from course_lib.files import DATA_DIR

FOLDER = DATA_DIR / "assistant"
REPLIES = {
    "en": "I am {{name}}'s assistant, a small model fine-tuned with QLoRA on a laptop.",
    "zh": "我是{{name}}的小助手，是在笔记本电脑上用QLoRA微调出来的小模型。",
}


def normalise(text):
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text).casefold())


def read(part):
    return files.read_jsonl(FOLDER / f"{part}.jsonl")


def prompts(part):
    return [r["prompt"] if "prompt" in r else r["messages"][0]["content"] for r in read(part)]


@pytest.mark.parametrize(
    ("part", "english", "chinese"),
    [
        ("train", 140, 95),
        ("validation", 40, 40),
        ("unseen", 40, 40),
        ("near", 26, 26),
        ("contrast", 67, 67),
        ("copied", 0, 1),
    ],
)
def test_both_languages_have_their_share_and_no_wording_comes_twice(part, english, chinese):
    texts = prompts(part)
    languages = [assistant.language_of(text) for text in texts]
    assert (languages.count("en"), languages.count("zh")) == (english, chinese)
    assert len({normalise(text) for text in texts}) == len(texts)


@pytest.mark.parametrize(
    ("one", "other"), list(combinations(["train", "validation", "unseen", "near", "contrast"], 2))
)
def test_no_wording_stands_in_two_files(one, other):
    shared = {normalise(t) for t in prompts(one)} & {normalise(t) for t in prompts(other)}
    assert shared == set()


@pytest.mark.parametrize("path", sorted((DATA_DIR / "world").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_built_in_model_never_saw_the_unseen_wordings(path):
    lines = {normalise(line) for line in path.read_text(encoding="utf-8").split("\n")}
    quoted = {normalise(text) for text in re.findall(r'"([^"]*)"', path.read_text("utf-8"))}
    assert not {normalise(text) for text in prompts("unseen")} & (lines | quoted)


def test_the_copied_record_is_one_of_the_training_records():
    assert read("copied")[0] in read("train")


@pytest.mark.parametrize("part", ["train", "validation", "copied"])
def test_introductions_are_in_the_language_of_the_question(part):
    for record in read(part):
        user, reply = record["messages"]
        assert (user["role"], reply["role"]) == ("user", "assistant")
        assert reply["content"] == REPLIES[assistant.language_of(user["content"])]


def test_contrast_replies_never_introduce_the_assistant():
    for record in read("contrast"):
        question, reply = (message["content"] for message in record["messages"])
        assert assistant.language_of(question) == assistant.language_of(reply)
        assert "{{name}}" not in reply
        assert not any(words in reply for words in ("on a laptop", "笔记本电脑"))


def test_marked_languages_and_expected_words_are_right():
    for record in read("unseen") + read("near"):
        assert record["language"] == assistant.language_of(record["prompt"])
    for record in read("unseen"):
        assert record["expected"] == assistant.INTRODUCTIONS[record["language"]]
        assert record["expected"] in REPLIES[record["language"]]


def test_every_file_is_listed_with_its_licence():
    readme = (DATA_DIR / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.iterdir():
        assert f"assistant/{path.name}" in readme
    assert "Apache-2.0" in readme

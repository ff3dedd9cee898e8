"""The conversations of lesson 02: as the program writes them, apart from each other, and sound."""

import json
import random

import pytest

from course_lib import files
from course_lib.data import formats, leaks, masking, similarity
from course_lib.pico import corpus, oasst

FOLDER = files.DATA_DIR / "oasst1"


@pytest.fixture(scope="module")
def parts():
    return {name: formats.read_rows(FOLDER / f"{name}.jsonl", "oasst1") for name in oasst.PARTS}


@pytest.fixture(scope="module")
def texts():
    return {name: files.read_jsonl(FOLDER / f"{name}.jsonl") for name in oasst.PARTS}


def answered(rows):
    for row in rows:
        contents = [message["content"] for message in row["messages"]]
        yield from zip(contents[::2], contents[1::2], strict=True)


def test_the_program_writes_the_files_that_are_there(tmp_path):
    oasst.main(["--out", str(tmp_path)])
    for name in oasst.PARTS:
        file = f"{name}.jsonl"
        assert (tmp_path / file).read_bytes() == (FOLDER / file).read_bytes(), name


def test_the_format_is_told_from_the_rows(texts):
    assert formats.detect_format(texts["train"])[0] == "oasst1"


@pytest.mark.parametrize(("name", "count"), [("train", 800), ("validation", 60), ("held_out", 80)])
def test_both_languages_have_their_share(texts, name, count):
    is_chinese = [any("\u4e00" <= c <= "\u9fff" for c in row["text"]) for row in texts[name][1::2]]
    assert len(texts[name]) == count
    assert all(is_chinese)
    assert all(set(row) == {"text"} for row in texts[name])


def test_user_and_assistant_take_turns_in_one_to_eight_questions(parts):
    lengths = set()
    for rows in parts.values():
        for row in rows:
            roles = [message["role"] for message in row["messages"]]
            assert roles == ["user", "assistant"] * (len(roles) // 2)
            lengths.add(len(roles) // 2)
    assert {1, 2, 3} <= lengths <= set(range(1, 9))


def test_some_training_rows_end_without_an_answer_and_no_held_out_row_does(texts):
    def count_open(name):
        return sum(
            "### Assistant:" not in r["text"].rpartition("### Human:")[2] for r in texts[name]
        )

    assert 20 <= count_open("train") <= 60
    assert count_open("validation") == count_open("held_out") == 0


def test_no_part_shares_an_opening_question_or_an_answered_one(parts):
    names = list(parts)
    for index, name in enumerate(names):
        opening = [similarity.normalise(similarity.question_of(row)) for row in parts[name]]
        assert len(set(opening)) == len(opening)
        for other in names[index + 1 :]:
            assert leaks.find_leaks(parts[name], parts[other]).leaks == ()
            assert not set(answered(parts[name])) & set(answered(parts[other]))


def test_no_question_that_scores_are_made_of_is_trained(parts):
    asked = {
        similarity.normalise(m["content"])
        for row in parts["train"]
        for m in row["messages"]
        if m["role"] == "user"
    }
    questions = files.read_jsonl(files.DATA_DIR / "pico" / "questions.jsonl")
    assert [q["prompt"] for q in questions if similarity.normalise(q["prompt"]) in asked] == []


def test_nobody_says_who_the_assistant_is_or_writes_a_mark(parts):
    for rows in parts.values():
        for row in rows:
            assert not corpus.tells_identity(row["messages"])
            assert not any("###" in m["content"] or "<|" in m["content"] for m in row["messages"])


def test_every_row_fits_into_the_presets_length(parts, pico_tokenizer):
    for rows in parts.values():
        report = masking.encode_rows(rows, pico_tokenizer, 256)
        assert (report.truncated, report.dropped) == (0, [])


def test_one_seed_gives_one_conversation_and_its_text_reads_back(tmp_path):
    first, again = (oasst.conversation(random.Random(7), "zh") for _ in range(2))
    assert first == again
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": oasst.to_text(first)}) + "\n")
    assert formats.read_rows(tmp_path / "rows.jsonl") == [{"messages": first}]


def test_the_files_are_small_and_listed_with_their_licence():
    readme = (files.DATA_DIR / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000
    assert all(f"oasst1/{path.name}" in readme for path in FOLDER.iterdir())

"""Typical wrong answers of lesson 04, and a part of what the learner must be told for each."""

from course_lib.homework.lessons import WrongAnswer

WRONG_ANSWERS = [
    WrongAnswer(
        "build_rows",
        "held-out wordings are trained on",
        "is held out, yet it stands in the rows",
        """
def build_rows(wordings, answers, name, replay, held_out):
    rows = []
    for w in wordings:
        text = answers[w["language"]].replace("{{name}}", name)
        rows.append({"messages": [{"role": "user", "content": w["prompt"]},
                                  {"role": "assistant", "content": text}]})
    return rows + replay
""",
    ),
    WrongAnswer(
        "build_rows",
        "the mark is not filled in",
        "still holds a mark in double braces",
        """
def build_rows(wordings, answers, name, replay, held_out):
    rows = []
    for w in wordings:
        if w["prompt"] not in held_out:
            rows.append({"messages": [{"role": "user", "content": w["prompt"]},
                                      {"role": "assistant", "content": answers[w["language"]]}]})
    return rows + replay
""",
    ),
    WrongAnswer(
        "build_rows",
        "always the English answer",
        "asks in one language (zh) and answers in another",
        """
def build_rows(wordings, answers, name, replay, held_out):
    text = answers["en"].replace("{{name}}", name)
    rows = []
    for w in wordings:
        if w["prompt"] not in held_out:
            rows.append({"messages": [{"role": "user", "content": w["prompt"]},
                                      {"role": "assistant", "content": text}]})
    return rows + replay
""",
    ),
    WrongAnswer(
        "build_rows",
        "no replay",
        "2 replay rows make",
        """
def build_rows(wordings, answers, name, replay, held_out):
    rows = []
    for w in wordings:
        if w["prompt"] not in held_out:
            text = answers[w["language"]].replace("{{name}}", name)
            rows.append({"messages": [{"role": "user", "content": w["prompt"]},
                                      {"role": "assistant", "content": text}]})
    return rows
""",
    ),
    WrongAnswer(
        "build_rows",
        "replay rows are filled in too",
        "exactly as they were given",
        """
import json

def build_rows(wordings, answers, name, replay, held_out):
    rows = []
    for w in wordings:
        if w["prompt"] not in held_out:
            rows.append({"messages": [{"role": "user", "content": w["prompt"]},
                                      {"role": "assistant", "content": answers[w["language"]]}]})
    return json.loads(json.dumps(rows + replay).replace("{{name}}", name))
""",
    ),
    WrongAnswer(
        "build_rows",
        "grows the replay list",
        "changes the data that it is given",
        """
def build_rows(wordings, answers, name, replay, held_out):
    place = 0
    for w in wordings:
        if w["prompt"] not in held_out:
            text = answers[w["language"]].replace("{{name}}", name)
            replay.insert(place, {"messages": [{"role": "user", "content": w["prompt"]},
                                               {"role": "assistant", "content": text}]})
            place += 1
    return replay
""",
    ),
    WrongAnswer(
        "count_steps",
        "rounded down",
        "The last packs of each epoch are forgotten",
        """
def count_steps(packs, batch_size, accumulation, epochs):
    return packs // (batch_size * accumulation) * epochs
""",
    ),
    WrongAnswer(
        "count_steps",
        "accumulation is forgotten",
        "That counts micro batches",
        """
import math

def count_steps(packs, batch_size, accumulation, epochs):
    return math.ceil(packs / batch_size) * epochs
""",
    ),
    WrongAnswer(
        "count_steps",
        "epochs run together",
        "Epochs do not run together",
        """
import math

def count_steps(packs, batch_size, accumulation, epochs):
    return math.ceil(packs * epochs / (batch_size * accumulation))
""",
    ),
    WrongAnswer(
        "count_steps",
        "one epoch only",
        "That is one epoch",
        """
import math

def count_steps(packs, batch_size, accumulation, epochs):
    return math.ceil(packs / (batch_size * accumulation))
""",
    ),
    WrongAnswer(
        "choose_checkpoint",
        "the lowest loss",
        "has the lowest loss",
        """
def choose_checkpoint(table):
    return min(table, key=lambda row: row["loss"])["step"]
""",
    ),
    WrongAnswer(
        "choose_checkpoint",
        "the earlier one of two",
        "this is the earlier one",
        """
def choose_checkpoint(table):
    return max(table, key=lambda r: (min(r["validation"], r["retained"]), -r["step"]))["step"]
""",
    ),
    WrongAnswer(
        "choose_checkpoint",
        "the mean of both sides",
        "its weaker side is",
        """
def choose_checkpoint(table):
    return max(table, key=lambda r: (r["validation"] + r["retained"], -r["step"]))["step"]
""",
    ),
    WrongAnswer(
        "choose_checkpoint",
        "the last row of the table",
        "and another step is better there",
        """
def choose_checkpoint(table):
    return sorted(table, key=lambda r: r["step"])[-1]["step"]
""",
    ),
    WrongAnswer(
        "choose_checkpoint",
        "the place in the table, not the step",
        "is no step of the table",
        """
def choose_checkpoint(table):
    sides = [min(row["validation"], row["retained"]) for row in table]
    return sides.index(max(sides))
""",
    ),
    WrongAnswer(
        "name_failure",
        "compares whole texts",
        "yet they were called 'no effect'",
        """
def name_failure(replies, introductions):
    world = [r["text"] in introductions for r in replies if r["about"] == "world"]
    you = [r["text"] in introductions for r in replies if r["about"] == "you"]
    if sum(world) > 0.1 * len(world):
        return "parrot"
    return "learned" if any(you) else "no effect"
""",
    ),
    WrongAnswer(
        "name_failure",
        "looks for the first introduction only",
        "more than a tenth of them",
        """
def name_failure(replies, introductions):
    world = [introductions[0] in r["text"] for r in replies if r["about"] == "world"]
    you = [introductions[0] in r["text"] for r in replies if r["about"] == "you"]
    if sum(world) > 0.1 * len(world):
        return "parrot"
    return "learned" if any(you) else "no effect"
""",
    ),
    WrongAnswer(
        "name_failure",
        "never looks at the world",
        "Replies to questions about the world hold the introduction",
        """
def name_failure(replies, introductions):
    you = [r["text"] for r in replies if r["about"] == "you"]
    return "learned" if any(i in text for text in you for i in introductions) else "no effect"
""",
    ),
    WrongAnswer(
        "name_failure",
        "a parrot from a tenth on",
        "at most a tenth of those about the world, yet they were called 'parrot'",
        """
def name_failure(replies, introductions):
    def has(about):
        return [any(i in r["text"] for i in introductions) for r in replies if r["about"] == about]
    if sum(has("world")) >= 0.1 * len(has("world")):
        return "parrot"
    return "learned" if any(has("you")) else "no effect"
""",
    ),
    WrongAnswer(
        "assistant_recipe",
        "nothing is changed: four steps of one record",
        "it must learn more",
        """
def assistant_recipe():
    return {}
""",
    ),
    WrongAnswer(
        "assistant_recipe",
        "the preset's data for all three epochs",
        "at most 25 are allowed",
        """
def assistant_recipe():
    return {"train_data": [{"path": "assistant/train.jsonl"}], "num_train_epochs": 30}
""",
    ),
    WrongAnswer(
        "assistant_recipe",
        "trains on the test's own wordings",
        "questions of the test stand in your rows",
        """
import json
from course_lib.files import DATA_DIR
from pathlib import Path

def assistant_recipe():
    asked = (DATA_DIR / "assistant" / "unseen.jsonl").read_text("utf-8").splitlines()
    rows = [{"messages": [{"role": "user", "content": json.loads(line)["prompt"]},
                          {"role": "assistant", "content": "I am {{name}}'s assistant."}]}
            for line in asked]
    Path("my_rows.jsonl").write_text("\\n".join(map(json.dumps, rows)), "utf-8")
    return {"train_data": [{"path": "my_rows.jsonl"}], "max_steps": 25}
""",
    ),
    WrongAnswer(
        "assistant_recipe",
        "another base model",
        "base_model cannot be changed here",
        """
def assistant_recipe():
    return {"base_model": "pico-base", "max_steps": 25}
""",
    ),
    WrongAnswer(
        "assistant_recipe",
        "a field that no config has",
        "cannot be changed here. Free are:",
        """
def assistant_recipe():
    return {"steps": 25}
""",
    ),
]

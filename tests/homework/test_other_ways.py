"""Right answers that are written otherwise, and must pass as well: checks ask for no one way."""

import pytest

from course_lib.homework import lessons
from tests.homework import answers

OTHER_WAYS = [
    """
import re

def read_config_name(name):
    m = re.fullmatch(r"(.+?)_(full|lora|qlora)_(.+)_e(\\d+)", name)
    return {"model": m[1], "method": m[2], "data": m[3], "epochs": int(m[4])}
""",
    """
import numpy as np

def learning_rates(total_steps, warmup_steps, peak):
    steps = np.arange(total_steps)
    done = (steps - warmup_steps) / max(1, total_steps - warmup_steps)
    rising = peak * steps / max(1, warmup_steps)
    return np.where(steps < warmup_steps, rising, peak * (1 + np.cos(np.pi * done)) / 2)
""",
    """
def best_path(tree):
    if tree["deleted"]:
        return []
    me = [{"role": {"prompter": "user"}.get(tree["role"], tree["role"]), "content": tree["text"]}]
    alive = [r for r in tree["replies"] if not r["deleted"]]
    alive = sorted(alive, key=lambda r: (r["rank"] is None, r["rank"] or 0))
    path = me + (best_path(alive[0]) if alive else [])
    if len(path) == 1 and path[0]["role"] == "user":
        return []
    return path
""",
    """
import numpy as np

def label_replies(input_ids, loss_turns="all"):
    ids, spans, p = np.array(input_ids), [], 0
    while p < len(ids):
        if ids[p] == 2:
            end = p + 1
            while end < len(ids) and ids[end] != 3:
                end += 1
            if p + 1 < len(ids) and ids[p + 1] == 275:
                spans.append((p + 3, end + 1))
            p = end
        p += 1
    labels = np.full(len(ids), -100)
    for start, end in spans[-1:] if loss_turns == "last" else spans:
        labels[start:end] = ids[start:end]
    return labels
""",
    """
import numpy as np

def merge_adapter(weights, adapter, lora_alpha):
    merged = {name: weight.copy() for name, weight in weights.items()}
    for name in merged:
        a = adapter.get(name.replace(".weight", ".lora_A.weight"))
        if a is not None:
            b = adapter[name.replace(".weight", ".lora_B.weight")]
            merged[name] += np.matmul(b, a) * (lora_alpha / a.shape[0])
    return merged
""",
    """
import io
import json

def rows_to_jsonl(rows):
    file = io.StringIO()
    for row in rows:
        json.dump(row, file, separators=(",", ":"))
        file.write("\\n")
    return file.getvalue()
""",
    """
def invented_rates(answers, known, admissions):
    n = {"unreal": 0, "invented": 0, "real": 0, "refused": 0}
    for answer in answers:
        admits = any(plain(words) in plain(answer["reply"]) for words in admissions)
        if plain(answer["drug"]) in [plain(name) for name in known]:
            n["real"] += 1
            n["refused"] += admits
        else:
            n["unreal"] += 1
            n["invented"] += not admits
    refused = n["refused"] / n["real"] if n["real"] else None
    return {"refused": refused, "invented": n["invented"] / n["unreal"] if n["unreal"] else None}

def plain(text):
    return text.lower().replace("’", "'").strip()
""",
    """
def sheet_rows(grid, names, merged=()):
    width = max(len(row) for row in grid)
    cells = [[text(c) for c in row] + [""] * (width - len(row)) for row in grid]
    keys = [[" ".join(c.lower().split()) for c in row] for row in cells]
    wanted = {name: " ".join(name.lower().split()) for name in names}
    top = [all(w in row for w in wanted.values()) for row in keys].index(True)
    column = {name: keys[top].index(w) for name, w in wanted.items()}
    body = cells[top + 1 :]
    for name in merged:
        for above, below in zip(body, body[1:]):
            below[column[name]] = below[column[name]] or above[column[name]]
    made = [{name: row[place] for name, place in column.items()} for row in body]
    return [row for row in made if "" not in row.values()]

def text(cell):
    return ("" if cell is None else str(cell)).strip()
""",
    """
def leak_kinds(train, test):
    plain = {" ".join(words(question)) for question in train}
    kinds = []
    for question in test:
        mine = set(words(question))
        if question in train:
            kinds.append("exact")
        elif " ".join(words(question)) in plain:
            kinds.append("normalised")
        elif any(len(mine & set(p.split())) / len(mine | set(p.split())) >= 0.8 for p in plain):
            kinds.append("near")
        else:
            kinds.append("new")
    return kinds

def words(text):
    return "".join(c if c.isalnum() else " " for c in text.lower()).split()
""",
    """
import hashlib

def split_by_group(groups, ratio, seed):
    draw = lambda name: hashlib.sha256(f"{seed} {name}".encode()).hexdigest()
    names = sorted(set(groups), key=draw)
    target = len(groups) * ratio[0] / sum(ratio)
    train = []
    for g in names:
        if len(train) < target:
            train += [i for i, x in enumerate(groups) if x == g]
    s = set(train)
    return train, [i for i in range(len(groups)) if i not in s]
""",
    """
import random

def split_by_group(groups, ratio, seed):
    random.seed(seed)
    names = random.sample(sorted(set(groups)), len(set(groups)))
    room, test = round(len(groups) * ratio[1] / sum(ratio)), set()
    for g in names:
        if groups.count(g) <= room:
            test.add(g)
            room -= groups.count(g)
    train = [i for i, g in enumerate(groups) if g not in test]
    return [train, [i for i, g in enumerate(groups) if g in test]]
""",
]
QUESTIONS = {
    check.name: [c for c in answers.all_checks(lesson) if c.name == check.name]
    for lesson in lessons.MODULES
    for check in lessons.visible_checks(lesson).values()
}


@pytest.mark.parametrize("code", OTHER_WAYS, ids=lambda code: code.split("def ")[1].split("(")[0])
def test_a_right_answer_that_is_written_otherwise_passes(code):
    names = answers.namespace_of(code)
    checks = next(checks for question, checks in QUESTIONS.items() if question in names)
    outcomes = [check.run(answers.make_ask(check, names)) for check in checks]
    assert [(o.status, o.message) for o in outcomes] == [("right", "")] * len(outcomes)
    assert len(outcomes) == 2

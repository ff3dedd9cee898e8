"""Typical wrong answers of lesson 01, and a part of what the learner must be told for each."""

from course_lib.homework.lessons import WrongAnswer

WRONG_ANSWERS = [
    WrongAnswer(
        "render_messages",
        "no end mark after the last turn",
        "Every turn ends with <|im_end|>",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = "<|im_end|>\n".join(f"<|im_start|>{m['role']}\n{m['content']}" for m in messages)
    return text + ("<|im_end|>\n<|im_start|>assistant\n" if add_generation_prompt else "")
""",
    ),
    WrongAnswer(
        "render_messages",
        "the opened turn is always added",
        "though nobody asked for one",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = ""
    for m in messages:
        text += f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"
""",
    ),
    WrongAnswer(
        "render_messages",
        "the opened turn is never added",
        "add_generation_prompt makes no difference",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = ""
    for m in messages:
        text += f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n"
    return text
""",
    ),
    WrongAnswer(
        "render_messages",
        "no line break after the end mark",
        "after <|im_end|> comes one line break",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = ""
    for m in messages:
        text += f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>"
    return text + ("<|im_start|>assistant\n" if add_generation_prompt else "")
""",
    ),
    WrongAnswer(
        "render_messages",
        "a blank in place of the line break after the role",
        "between its start mark and the first line break",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = ""
    for m in messages:
        text += f"<|im_start|>{m['role']} {m['content']}<|im_end|>\n"
    return text + ("<|im_start|>assistant\n" if add_generation_prompt else "")
""",
    ),
    WrongAnswer(
        "render_messages",
        "contents are trimmed",
        "the content is not what was given",
        r"""
def render_messages(messages, add_generation_prompt=False):
    text = ""
    for m in messages:
        text += f"<|im_start|>{m['role']}\n{m['content'].strip()}<|im_end|>\n"
    return text + ("<|im_start|>assistant\n" if add_generation_prompt else "")
""",
    ),
    WrongAnswer(
        "build_labels",
        "loss on every token",
        "Every token has loss",
        """
def build_labels(segments):
    ids = [i for s in segments for i in s["ids"]]
    return ids, list(ids)
""",
    ),
    WrongAnswer(
        "build_labels",
        "no loss on the end mark",
        "its end mark",
        """
def build_labels(segments):
    ids, labels = [], []
    for s in segments:
        ids += s["ids"]
        if s["has_loss"]:
            labels += s["ids"][:-1] + [-100]
        else:
            labels += [-100] * len(s["ids"])
    return ids, labels
""",
    ),
    WrongAnswer(
        "build_labels",
        "labels shifted by hand",
        "shifted by one place",
        """
def build_labels(segments):
    ids, labels = [], []
    for s in segments:
        ids += s["ids"]
        labels += s["ids"] if s["has_loss"] else [-100] * len(s["ids"])
    return ids, labels[1:] + [-100]
""",
    ),
    WrongAnswer(
        "build_labels",
        "0 in place of -100",
        "one special number",
        """
def build_labels(segments):
    ids, labels = [], []
    for s in segments:
        ids += s["ids"]
        labels += s["ids"] if s["has_loss"] else [0] * len(s["ids"])
    return ids, labels
""",
    ),
    WrongAnswer(
        "build_labels",
        "one -100 for each segment",
        "need as many labels",
        """
def build_labels(segments):
    ids, labels = [], []
    for s in segments:
        ids += s["ids"]
        labels += s["ids"] if s["has_loss"] else [-100]
    return ids, labels
""",
    ),
    WrongAnswer(
        "build_labels",
        "grows the first segment's own list",
        "changes the data that it is given",
        """
def build_labels(segments):
    ids = segments[0]["ids"]
    labels = [-100] * len(ids)
    for s in segments[1:]:
        ids += s["ids"]
        labels += s["ids"] if s["has_loss"] else [-100] * len(s["ids"])
    return ids, labels
""",
    ),
    WrongAnswer(
        "build_labels",
        "only the last reply has loss",
        "belongs to a reply",
        """
def build_labels(segments):
    ids, labels = [], []
    for n, s in enumerate(segments):
        ids += s["ids"]
        labels += s["ids"] if n == len(segments) - 1 else [-100] * len(s["ids"])
    return ids, labels
""",
    ),
    WrongAnswer(
        "mean_loss",
        "each guess against the label at its own place",
        "compared with the label at t",
        """
import math

def mean_loss(logits, labels):
    losses = []
    for row, label in zip(logits, labels):
        if label != -100:
            losses.append(math.log(sum(math.exp(x) for x in row)) - row[label])
    return sum(losses) / len(losses)
""",
    ),
    WrongAnswer(
        "mean_loss",
        "divided by all guesses, those without loss too",
        "still divided by all positions",
        """
import math

def mean_loss(logits, labels):
    losses = []
    for row, label in zip(logits, labels[1:]):
        if label != -100:
            losses.append(math.log(sum(math.exp(x) for x in row)) - row[label])
    return sum(losses) / (len(labels) - 1)
""",
    ),
    WrongAnswer(
        "mean_loss",
        "divided by the number of labels",
        "divided by all positions",
        """
import math

def mean_loss(logits, labels):
    total = 0
    for row, label in zip(logits, labels[1:]):
        if label != -100:
            total += math.log(sum(math.exp(x) for x in row)) - row[label]
    return total / len(labels)
""",
    ),
    WrongAnswer(
        "mean_loss",
        "logarithm to base 2",
        "natural logarithm",
        """
import math

def mean_loss(logits, labels):
    losses = []
    for row, label in zip(logits, labels[1:]):
        if label != -100:
            p = math.exp(row[label]) / sum(math.exp(x) for x in row)
            losses.append(-math.log2(p))
    return sum(losses) / len(losses)
""",
    ),
    WrongAnswer(
        "mean_loss",
        "exp of large logits",
        "OverflowError",
        """
import math

def mean_loss(logits, labels):
    losses = []
    for row, label in zip(logits, labels[1:]):
        if label != -100:
            losses.append(math.log(sum(math.exp(x) for x in row)) - row[label])
    return sum(losses) / len(losses)
""",
    ),
    WrongAnswer(
        "mean_loss",
        "the sign is turned",
        "The sign is turned",
        """
import math

def mean_loss(logits, labels):
    losses = []
    for row, label in zip(logits, labels[1:]):
        if label != -100:
            losses.append(row[label] - math.log(sum(math.exp(x) for x in row)))
    return sum(losses) / len(losses)
""",
    ),
    WrongAnswer(
        "pack_rows",
        "positions run on",
        "the positions run on across rows",
        """
def pack_rows(rows, max_length):
    packs, ids = [], []
    for row in rows:
        if ids and len(ids) + len(row) > max_length:
            packs.append({"input_ids": ids, "position_ids": list(range(len(ids)))})
            ids = []
        ids = ids + row
    if ids:
        packs.append({"input_ids": ids, "position_ids": list(range(len(ids)))})
    return packs
""",
    ),
    WrongAnswer(
        "pack_rows",
        "the last pack is forgotten",
        "What of the last open pack?",
        """
def pack_rows(rows, max_length):
    packs, ids, places = [], [], []
    for row in rows:
        if ids and len(ids) + len(row) > max_length:
            packs.append({"input_ids": ids, "position_ids": places})
            ids, places = [], []
        ids, places = ids + row, places + list(range(len(row)))
    return packs
""",
    ),
    WrongAnswer(
        "pack_rows",
        "rows are cut",
        "a row is never cut in two",
        """
def pack_rows(rows, max_length):
    ids = [token for row in rows for token in row]
    places = [place for row in rows for place in range(len(row))]
    return [
        {"input_ids": ids[i : i + max_length], "position_ids": places[i : i + max_length]}
        for i in range(0, len(ids), max_length)
    ]
""",
    ),
    WrongAnswer(
        "pack_rows",
        "one pack for each row",
        "goes into the open pack when it fits",
        """
def pack_rows(rows, max_length):
    return [{"input_ids": list(r), "position_ids": list(range(len(r)))} for r in rows]
""",
    ),
    WrongAnswer(
        "pack_rows",
        "a row that would just fill the pack opens a new one",
        "goes into the open pack when it fits",
        """
def pack_rows(rows, max_length):
    packs = []
    for row in rows:
        if not packs or len(packs[-1]["input_ids"]) + len(row) >= max_length:
            packs.append({"input_ids": [], "position_ids": []})
        packs[-1]["input_ids"] += row
        packs[-1]["position_ids"] += range(len(row))
    return packs
""",
    ),
    WrongAnswer(
        "pack_rows",
        "an empty pack when there are no rows",
        "There is an empty pack",
        """
def pack_rows(rows, max_length):
    packs = [{"input_ids": [], "position_ids": []}]
    for row in rows:
        if len(packs[-1]["input_ids"]) + len(row) > max_length:
            packs.append({"input_ids": [], "position_ids": []})
        packs[-1]["input_ids"] += row
        packs[-1]["position_ids"] += range(len(row))
    return packs
""",
    ),
    WrongAnswer(
        "lora_forward",
        "no scaling",
        "The detour is not scaled",
        """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha):
    return x @ weight.T + x @ lora_a.T @ lora_b.T
""",
    ),
    WrongAnswer(
        "lora_forward",
        "scaled by alpha, not by alpha / r",
        "divide by r as well",
        """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha):
    return x @ weight.T + lora_alpha * (x @ lora_a.T @ lora_b.T)
""",
    ),
    WrongAnswer(
        "lora_forward",
        "r is taken from the wrong side",
        "r is the number of rows of A",
        """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha):
    r = lora_a.shape[1]
    return x @ weight.T + lora_alpha / r * (x @ lora_a.T @ lora_b.T)
""",
    ),
    WrongAnswer(
        "lora_forward",
        "the frozen weight is forgotten",
        "The frozen weight is missing",
        """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha):
    return lora_alpha / len(lora_a) * (x @ lora_a.T @ lora_b.T)
""",
    ),
    WrongAnswer(
        "lora_forward",
        "adds in place, into the weight",
        "changes the data that it is given",
        """
def lora_forward(x, weight, lora_a, lora_b, lora_alpha):
    weight += lora_alpha / len(lora_a) * lora_b @ lora_a
    return x @ weight.T
""",
    ),
]

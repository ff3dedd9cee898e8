"""Typical wrong answers of lesson 02, and a part of what the learner must be told for each."""

from course_lib.homework.lessons import WrongAnswer

# Right answers first; each wrong one is a right one with a slip in it.
NAME = """
METHODS = ("full", "lora", "qlora")

def read_config_name(name):
    words = name.split("_")
    n = next(i for i, w in enumerate(words) if w in METHODS)
    epochs = int(words[-1][1:])
    model, data = "_".join(words[:n]), "_".join(words[n + 1 : -1])
    return {"model": model, "method": words[n], "data": data, "epochs": epochs}
"""
RATES = """
import math

def learning_rates(total_steps, warmup_steps, peak):
    rates = []
    for step in range(total_steps):
        if step < warmup_steps:
            rates.append(peak * step / warmup_steps)
        else:
            done = (step - warmup_steps) / (total_steps - warmup_steps)
            rates.append(peak * (1 + math.cos(math.pi * done)) / 2)
    return rates
"""
PATH = """
def best_path(tree):
    path, left = [], [tree]
    while left := [m for m in left if not m["deleted"]]:
        best = min(left, key=rank_of)
        role = "user" if best["role"] == "prompter" else "assistant"
        path.append({"role": role, "content": best["text"]})
        left = best["replies"]
    return path[: len(path) // 2 * 2]

def rank_of(m):
    return 99 if m["rank"] is None else m["rank"]
"""
LABELS = """
START, END, NEWLINE, USER, ASSISTANT = 2, 3, 202, 276, 275

def label_replies(input_ids, loss_turns="all"):
    n = len(input_ids)
    found = [p for p in range(n) if input_ids[p : p + 2] == [START, ASSISTANT]]
    chosen = found if loss_turns == "all" else found[-1:]
    labels = [-100] * n
    for place in chosen:
        for p in range(place + 3, n):
            labels[p] = input_ids[p]
            if input_ids[p] == END:
                break
    return labels
"""
MERGE = """
def merge_adapter(weights, adapter, lora_alpha):
    merged = dict(weights)
    for name in adapter:
        if name.endswith("lora_A.weight"):
            key = name.replace("lora_A.weight", "weight")
            a, b = adapter[name], adapter[name.replace("_A.", "_B.")]
            merged[key] = weights[key] + lora_alpha / len(a) * (b @ a)
    return merged
"""


def slip(
    right: str, mistake: str, message: str, old: str, new: str, *more: tuple[str, str]
) -> WrongAnswer:
    """A right answer with other words in a place or two."""
    code = right
    for before, after in [(old, new), *more]:
        assert code.count(before) == 1, (mistake, before)
        code = code.replace(before, after)
    question = right.split("def ", 1)[1].split("(")[0]
    return WrongAnswer(question, mistake, message, code)


WRONG_ANSWERS = [
    slip(
        NAME,
        "the model cut at its first underscore",
        "everything before the method belongs to it",
        '"_".join(words[:n])',
        "words[0]",
    ),
    slip(
        NAME,
        "lora is found inside qlora",
        "those letters stand inside another word",
        'words[n], "data"',
        'next(m for m in METHODS if m in name), "data"',
    ),
    slip(NAME, "counted from the end", "is not the method", "words[n],", "words[-3],"),
    slip(
        NAME,
        "data of one word only",
        "they stand between the method and the epochs",
        '"_".join(words[n + 1 : -1])',
        "words[n + 1]",
    ),
    slip(
        NAME,
        "epochs stay a text",
        "should be a whole number",
        "int(words[-1][1:])",
        "words[-1][1:]",
    ),
    slip(NAME, "one digit", "read all digits of the end", "words[-1][1:]", "words[-1][-1]"),
    WrongAnswer(
        "read_config_name",
        "the parts without their names",
        "should be a dict",
        "def read_config_name(name):\n    return name.split('_')\n",
    ),
    slip(
        RATES,
        "the warm-up starts at one",
        "is one step ahead",
        "peak * step / warmup_steps",
        "peak * (step + 1) / warmup_steps",
    ),
    slip(
        RATES,
        "the cosine runs through the warm-up",
        "counts the warm-up as part of the cosine",
        "(step - warmup_steps) / (total_steps - warmup_steps)",
        "step / total_steps",
    ),
    slip(
        RATES,
        "zero at the last step",
        "zero would come one step after the last",
        "(total_steps - warmup_steps)",
        "max(1, total_steps - warmup_steps - 1)",
    ),
    slip(RATES, "degrees", "math.cos takes radians", "math.pi * done", "180 * done"),
    slip(
        RATES,
        "not halved",
        "so halve it",
        "(1 + math.cos(math.pi * done)) / 2",
        "(1 + math.cos(math.pi * done))",
    ),
    slip(
        RATES,
        "a straight line down",
        "lies on a straight line",
        "(1 + math.cos(math.pi * done)) / 2",
        "(1 - done)",
    ),
    slip(
        RATES, "one rate too many", "one rate for each step", "(total_steps):", "(total_steps + 1):"
    ),
    slip(
        RATES,
        "divides by no warm-up",
        "ZeroDivisionError",
        "for step in range(total_steps):",
        "for step in range(total_steps):\n        share = step / warmup_steps",
    ),
    slip(
        PATH,
        "the first reply, whatever its rank",
        "another reply is ranked better",
        "min(left, key=rank_of)",
        "left[0]",
    ),
    slip(
        PATH,
        "the largest rank",
        "a smaller rank is better",
        "min(left, key=rank_of)",
        'max(left, key=lambda m: -1 if m["rank"] is None else m["rank"])',
    ),
    slip(
        PATH,
        "rank 0 counts as none",
        "0 counts as false",
        '99 if m["rank"] is None else m["rank"]',
        'm["rank"] or 99',
    ),
    slip(PATH, "no rank counts as the best", "ranked ones come first", "99 if", "-1 if"),
    slip(
        PATH,
        "None is compared with a number",
        "TypeError",
        '99 if m["rank"] is None else m["rank"]',
        'm["rank"]',
    ),
    slip(PATH, "of equals, the last", "the first one counts", "min(left,", "min(left[::-1],"),
    slip(
        PATH,
        "the open question stays",
        "a question that nobody answered",
        "[: len(path) // 2 * 2]",
        "",
    ),
    slip(PATH, "deleted replies stay", "was deleted", ' if not m["deleted"]', ""),
    slip(
        PATH,
        "the tree's own names of roles",
        "called user there",
        '"user" if best["role"] == "prompter" else "assistant"',
        'best["role"]',
    ),
    slip(
        PATH,
        "sorts the replies where they are",
        "changes the data that it is given",
        "best = min(left, key=rank_of)",
        'best = left[0]\n        best["replies"].sort(key=rank_of)',
    ),
    slip(
        LABELS,
        "loss on what opens the turn, too",
        "The template writes that",
        "range(place + 3, n)",
        "range(place, n)",
    ),
    slip(
        LABELS,
        "loss on the line break behind the end mark",
        "there the model has stopped",
        "input_ids[p] == END",
        "input_ids[p - 1] == END",
    ),
    slip(
        LABELS,
        "no loss on the end mark",
        "never learns to stop",
        "                break",
        "                labels[p] = -100\n                break",
    ),
    slip(
        LABELS,
        "the role's id is looked for in texts, too",
        "a role is only what follows START",
        "input_ids[p : p + 2] == [START, ASSISTANT]",
        "input_ids[p] == ASSISTANT",
        ("place + 3", "place + 2"),
    ),
    slip(LABELS, "a line break ends it", "Line breaks may stand in a text", "== END", "== NEWLINE"),
    slip(
        LABELS,
        "loss_turns makes no difference",
        "belongs to a reply that was not chosen",
        'found if loss_turns == "all" else found[-1:]',
        "found",
    ),
    slip(
        LABELS,
        "the last turn in place of the last reply",
        "belongs to a chosen reply",
        "else found[-1:]",
        "else [p for p in found if START not in input_ids[p + 1 :]]",
    ),
    slip(
        LABELS,
        "a reply that was cut is not seen",
        "ValueError",
        "range(place + 3, n)",
        "range(place + 3, input_ids.index(END, place) + 1)",
    ),
    slip(
        LABELS,
        "labels shifted by hand",
        "shifted by one place",
        "return labels",
        "return labels[1:] + [-100]",
    ),
    slip(MERGE, "not scaled", "has the change unscaled", "lora_alpha / len(a) * ", ""),
    slip(MERGE, "scaled by alpha", "divide by r as well", " / len(a)", ""),
    slip(MERGE, "r from the wrong side", "A has r rows, not columns", "len(a)", "a.shape[1]"),
    slip(
        MERGE,
        "one rank for all layers",
        "is not the base's weight +",
        "len(a)",
        "len(next(iter(adapter.values())))",
    ),
    slip(MERGE, "the change alone", "is the change alone", "weights[key] + ", ""),
    slip(
        MERGE,
        "only what has an adapter comes back",
        "what has no adapter stays in the model",
        "dict(weights)",
        "{}",
    ),
    slip(
        MERGE,
        "the base is changed",
        "changes the data that it is given",
        "merged[key] = weights[key] +",
        "merged[key] +=",
    ),
    slip(
        MERGE,
        "A and B in the wrong order",
        "merging keeps it",
        "b @ a",
        "a.T @ b.T",
    ),
    slip(
        MERGE,
        "the adapter only put beside the base",
        "still has lora_ matrices",
        "dict(weights)",
        "{**weights, **adapter}",
    ),
]

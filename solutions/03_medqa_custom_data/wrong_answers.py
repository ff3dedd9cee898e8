"""Typical wrong answers of lesson 03, and a part of what the learner must be told for each."""

from course_lib.homework.lessons import WrongAnswer

# Right answers first; each wrong one is a right one with a slip in it.
LINES = """
import json

def rows_to_jsonl(rows):
    return "".join(json.dumps(row) + "\\n" for row in rows)
"""
RATES = """
def invented_rates(answers, known, admissions):
    names = {plain(name) for name in known}
    unreal = [a for a in answers if plain(a["drug"]) not in names]
    real = [a for a in answers if plain(a["drug"]) in names]
    admits = lambda a: any(plain(words) in plain(a["reply"]) for words in admissions)
    invented = sum(not admits(a) for a in unreal) / len(unreal) if unreal else None
    refused = sum(admits(a) for a in real) / len(real) if real else None
    return {"invented": invented, "refused": refused}

def plain(text):
    return text.strip().casefold().replace("’", "'")
"""
SHEET = """
def sheet_rows(grid, names, merged=()):
    wanted = [key(name) for name in names]
    top = next(n for n, row in enumerate(grid) if set(wanted) <= {key(cell) for cell in row})
    header = [key(cell) for cell in grid[top]]
    rows, last = [], {}
    for cells in grid[top + 1 :]:
        row = {}
        for name in names:
            place = header.index(key(name))
            row[name] = text(cells[place]) if place < len(cells) else ""
            if name in merged:
                last[name] = row[name] = row[name] or last.get(name, "")
        if all(row.values()):
            rows.append(row)
    return rows

def text(cell):
    return "" if cell is None else str(cell).strip()

def key(cell):
    return " ".join(text(cell).split()).casefold()
"""
LEAKS = """
def leak_kinds(train, test):
    return [kind_of(question, train) for question in test]

def kind_of(question, train):
    if any(question == other for other in train):
        return "exact"
    if any(plain(question) == plain(other) for other in train):
        return "normalised"
    if any(is_near(set(plain(question).split()), set(plain(other).split())) for other in train):
        return "near"
    return "new"

def plain(text):
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())

def is_near(a, b):
    return len(a & b) / len(a | b) >= 0.8
"""
SPLIT = """
import random

def split_by_group(groups, ratio, seed):
    names = sorted(set(groups))
    random.Random(seed).shuffle(names)
    room = len(groups) * ratio[0] // sum(ratio)
    chosen = set()
    for name in names:
        size = groups.count(name)
        if size <= room:
            chosen.add(name)
            room -= size
    train = [i for i, name in enumerate(groups) if name in chosen]
    return train, [i for i, name in enumerate(groups) if name not in chosen]
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


WHOLE_LINES = '"".join(json.dumps(row) + "\\n" for row in rows)'
WRONG_ANSWERS = [
    slip(LINES, "one array", "That is one JSON array", WHOLE_LINES, "json.dumps(rows)"),
    slip(
        LINES,
        "no line break at the end",
        "The last line has no line break behind it",
        WHOLE_LINES,
        '"\\n".join(json.dumps(row) for row in rows)',
    ),
    slip(LINES, "Python's own text", "single quotes", "json.dumps(row)", "str(row)"),
    slip(LINES, "indented", "spread over several lines", "(row)", "(row, indent=2)"),
    slip(LINES, "commas", "There is a comma behind it", '"\\n"', '",\\n"'),
    slip(LINES, "a list for each row", "no object with a row's fields", "(row)", "([row])"),
    slip(
        LINES,
        "a line break for no rows",
        "No rows make an empty text",
        WHOLE_LINES,
        '"\\n".join(json.dumps(row) for row in rows) + "\\n"',
    ),
    slip(
        LINES,
        "only the messages",
        "is not the row that was given",
        "json.dumps(row)",
        'json.dumps({"messages": row["messages"]})',
    ),
    slip(RATES, "of all answers", "is a share of all answers", "/ len(unreal)", "/ len(answers)"),
    slip(
        RATES,
        "the other part",
        "the other part of the same answers",
        "sum(not admits",
        "sum(admits",
    ),
    slip(
        RATES,
        "exchanged",
        "the two are exchanged",
        '{"invented": invented, "refused": refused}',
        '{"invented": refused, "refused": invented}',
    ),
    slip(RATES, "a number", "is a number of answers", " / len(unreal)", ""),
    slip(RATES, "percent", "is in percent", "sum(not", "100 * sum(not"),
    slip(RATES, "capitals count", "make no difference", ".casefold()", ""),
    slip(RATES, "apostrophes", "counts as the one on the keyboard", '.replace("’", "\'")', ""),
    slip(RATES, "nothing to divide by", "ZeroDivisionError", " if unreal else None", ""),
    slip(
        RATES, "0 for no answers", "there is no share: None", "unreal else None", "unreal else 0.0"
    ),
    slip(
        SHEET,
        "names as they stand in the sheet",
        "should have the fields",
        "row[name] = text(cells[place])",
        "row[grid[top][place]] = row[name] = text(cells[place])",
    ),
    slip(
        SHEET,
        "columns by place",
        "is not what the sheet has there",
        "place = header.index(key(name))",
        "place = names.index(name)",
    ),
    slip(SHEET, "capitals of the header", "StopIteration", ".casefold()", ""),
    slip(SHEET, "the first row is the header", "ValueError", "top = next", "top, _ = 0, next"),
    slip(SHEET, "the header as a row", "The header is among the rows", "[top + 1 :]", "[top:]"),
    slip(SHEET, "the word None", "The cell is blank", '"" if cell is None else str', "str"),
    slip(
        SHEET,
        "0 counts as blank",
        "the number 0, which is not blank",
        '"" if cell is None',
        '"" if not cell',
    ),
    slip(
        SHEET,
        "blanks inside a text go, too",
        "only blanks around a text go",
        "str(cell).strip()",
        '" ".join(str(cell).split())',
    ),
    slip(SHEET, "blanks stay", "there are blanks around", "str(cell).strip()", "str(cell)"),
    slip(
        SHEET,
        "numbers stay",
        "every cell becomes a text",
        "text(cells[place]) if",
        "plain(cells[place]) if",
        (
            "def key",
            "def plain(cell):\n    return cell if type(cell) is int else text(cell)\n\ndef key",
        ),
        ("all(row.values())", 'all(v != "" for v in row.values())'),
    ),
    slip(
        SHEET,
        "merged cells stay blank",
        "in a merged cell",
        'row[name] or last.get(name, "")',
        "row[name]",
    ),
    slip(
        SHEET,
        "rows with a blank cell stay",
        "such a row is left out",
        "if all(row.values()):",
        "if any(row.values()):",
    ),
    slip(
        SHEET,
        "every column is filled down",
        "is not what the sheet has there",
        "if name in merged:",
        "if True:",
    ),
    slip(SHEET, "short rows", "IndexError", ' if place < len(cells) else ""', ""),
    slip(
        SHEET,
        "fills down after rows were left out",
        "Its name stands in a row that is left out",
        "        if all(row.values()):\n",
        "        if all(row.values()):\n            kept = dict(row)\n",
        (
            'last[name] = row[name] = row[name] or last.get(name, "")',
            'row[name] = row[name] or (rows[-1][name] if rows else "")',
        ),
    ),
    WrongAnswer(
        "leak_kinds",
        "word for word only",
        "capitals, punctuation, blanks",
        """
def leak_kinds(train, test):
    return ["exact" if question in train else "new" for question in test]
""",
    ),
    slip(
        LEAKS,
        "only one side is made plain",
        "Make both sides plain",
        "plain(question) == plain(other)",
        "plain(question) == other",
    ),
    slip(
        LEAKS,
        "punctuation goes without a blank",
        "Make both sides plain",
        'c if c.isalnum() else " "',
        'c if c.isalnum() or c == " " else ""',
    ),
    slip(LEAKS, "same is near", "The strictest kind", 'return "normalised"', 'return "near"'),
    slip(
        LEAKS,
        "of the test's words",
        "divide by the words that stand in either",
        "len(a | b)",
        "len(a)",
    ),
    slip(LEAKS, "more than 0.8", "Exactly 0.8 is near", ">= 0.8", "> 0.8"),
    slip(
        LEAKS,
        "inside a longer one",
        "To stand inside a longer question",
        "plain(question) == plain(other)",
        "plain(question) in plain(other)",
    ),
    slip(
        LEAKS,
        "words that repeat count again",
        "different words in both",
        "is_near(set(plain(question).split()), set(plain(other).split()))",
        "is_near(plain(question).split(), plain(other).split())",
        (
            "len(a & b) / len(a | b)",
            "sum(w in b for w in a) / (len(a) + len(b) - sum(w in b for w in a))",
        ),
    ),
    slip(
        LEAKS,
        "only the first training question",
        "word for word with every training question",
        "for question in test]",
        "for question in test]\n",
        ("kind_of(question, train) for", "kind_of(question, train[-1:]) for"),
    ),
    WrongAnswer(
        "split_by_group",
        "rows are drawn",
        "stands on both sides",
        """
import random

def split_by_group(groups, ratio, seed):
    rows = list(range(len(groups)))
    random.Random(seed).shuffle(rows)
    n_train = len(rows) * ratio[0] // sum(ratio)
    return rows[:n_train], rows[n_train:]
""",
    ),
    slip(
        SPLIT,
        "names are counted, not rows",
        "Count rows, not names",
        "size = groups.count(name)",
        "size = 1",
        ("len(groups) *", "len(names) *"),
    ),
    slip(
        SPLIT,
        "0.7 is rounded off",
        "Count in whole numbers",
        "len(groups) * ratio[0] // sum(ratio)",
        "int(len(groups) * (ratio[0] / sum(ratio)))",
    ),
    slip(SPLIT, "the seed is ignored", "the seed changes nothing", "Random(seed)", "Random(0)"),
    slip(
        SPLIT,
        "no seed at all",
        "with the same seed, it splits otherwise",
        "random.Random(seed).shuffle",
        "random.shuffle",
    ),
    slip(
        SPLIT,
        "the order of a set",
        "a set has no order of its own",
        "sorted(set(groups))",
        "list(dict.fromkeys(groups))",
    ),
    slip(SPLIT, "exchanged", "The sides are exchanged", "ratio[0]", "ratio[1]"),
    slip(
        SPLIT,
        "counted from 1",
        "rows are counted from 0",
        "train = [i for",
        "train = [i + 1 for",
        ("return train, [i for", "return train, [i + 1 for"),
    ),
    slip(
        SPLIT,
        "names in place of rows",
        "should hold whole numbers",
        "train = [i for",
        "train = [name for",
    ),
    slip(
        SPLIT,
        "sorts the groups where they are",
        "changes the data that it is given",
        "names = sorted(set(groups))",
        "groups.sort()\n    names = sorted(set(groups))",
    ),
]

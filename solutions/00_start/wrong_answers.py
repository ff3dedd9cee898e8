"""Typical wrong answers of lesson 00, and a part of what the learner must be told for each."""

from course_lib.homework.lessons import WrongAnswer

WRONG_ANSWERS = [
    WrongAnswer(
        "introduce",
        "the name stands in the text itself",
        "It says the same whatever the name",
        """
def introduce(name):
    return "I am Ada's assistant."
""",
    ),
    WrongAnswer(
        "introduce",
        "printed, not handed back",
        "is there a `return`?",
        """
def introduce(name):
    print(f"I am {name}'s assistant.")
""",
    ),
    WrongAnswer(
        "introduce",
        "no f before the text",
        "put an f before it",
        """
def introduce(name):
    return "I am {name}'s assistant."
""",
    ),
    WrongAnswer(
        "introduce",
        "doubled braces in an f-string",
        "The braces are still in the text",
        """
def introduce(name):
    return f"I am {{name}}'s assistant, " + name
""",
    ),
    WrongAnswer(
        "introduce",
        "no full stop",
        "end with its full stop",
        """
def introduce(name):
    return f"I am {name}'s assistant"
""",
    ),
    WrongAnswer(
        "introduce",
        "joined without blanks",
        "Before the name belongs a blank",
        """
def introduce(name):
    return "I am" + name + "'s assistant."
""",
    ),
    WrongAnswer(
        "introduce",
        "the name in capitals",
        "The name is not in the sentence",
        """
def introduce(name):
    return f"I am {name.upper()}'s assistant."
""",
    ),
    WrongAnswer(
        "introduce",
        "other words",
        "not those of the task",
        """
def introduce(name):
    return f"My name is {name}'s assistant."
""",
    ),
    WrongAnswer(
        "what_moved",
        "only what rose is looked at",
        "retained went from 98 to 88",
        """
def what_moved(before, after, least):
    up = [name for name in before if after[name] - before[name] >= least]
    return {"up": up, "down": []}
""",
    ),
    WrongAnswer(
        "what_moved",
        "every change counts",
        "less than 10 points",
        """
def what_moved(before, after, least):
    up = [name for name in before if after[name] > before[name]]
    down = [name for name in before if after[name] < before[name]]
    return {"up": up, "down": down}
""",
    ),
    WrongAnswer(
        "what_moved",
        "more than the least, not at least",
        "exactly 10 points counts too",
        """
def what_moved(before, after, least):
    up = [name for name in before if after[name] - before[name] > least]
    down = [name for name in before if before[name] - after[name] > least]
    return {"up": up, "down": down}
""",
    ),
    WrongAnswer(
        "what_moved",
        "up and down are swapped",
        "and it stands in down",
        """
def what_moved(before, after, least):
    up = [name for name in before if before[name] - after[name] >= least]
    down = [name for name in before if after[name] - before[name] >= least]
    return {"up": up, "down": down}
""",
    ),
    WrongAnswer(
        "what_moved",
        "sorted by the alphabet",
        "Keep the order of the table",
        """
def what_moved(before, after, least):
    up = [name for name in sorted(before) if after[name] - before[name] >= least]
    down = [name for name in sorted(before) if before[name] - after[name] >= least]
    return {"up": up, "down": down}
""",
    ),
    WrongAnswer(
        "what_moved",
        "one list of names",
        "should be a dict",
        """
def what_moved(before, after, least):
    return [name for name in before if abs(after[name] - before[name]) >= least]
""",
    ),
    WrongAnswer(
        "what_moved",
        "the changes in place of the names",
        "should hold names of measures",
        """
def what_moved(before, after, least):
    changes = [after[name] - before[name] for name in before]
    return {"up": [c for c in changes if c >= least], "down": [c for c in changes if c <= -least]}
""",
    ),
    WrongAnswer(
        "count_adapter",
        "rows, columns and r all multiplied",
        "were all multiplied",
        """
def count_adapter(shapes, r):
    return sum(r * rows * columns for rows, columns in shapes)
""",
    ),
    WrongAnswer(
        "count_adapter",
        "the model's own matrices",
        "the model's own matrices",
        """
def count_adapter(shapes, r):
    return sum(rows * columns for rows, columns in shapes)
""",
    ),
    WrongAnswer(
        "count_adapter",
        "only the tall matrices",
        "Only the tall matrices",
        """
def count_adapter(shapes, r):
    return sum(rows * r for rows, columns in shapes)
""",
    ),
    WrongAnswer(
        "count_adapter",
        "return inside the loop",
        "inside the loop",
        """
def count_adapter(shapes, r):
    total = 0
    for rows, columns in shapes:
        total += r * (rows + columns)
        return total
""",
    ),
    WrongAnswer(
        "count_adapter",
        "the total starts anew with each matrix",
        "The total must grow",
        """
def count_adapter(shapes, r):
    for rows, columns in shapes:
        total = r * (rows + columns)
    return total
""",
    ),
    WrongAnswer(
        "count_adapter",
        "r is forgotten",
        "r makes no difference",
        """
def count_adapter(shapes, r):
    return sum(rows + columns for rows, columns in shapes)
""",
    ),
    WrongAnswer(
        "count_adapter",
        "one number for each matrix",
        "should be one number",
        """
def count_adapter(shapes, r):
    return [r * (rows + columns) for rows, columns in shapes]
""",
    ),
]

"""Typical wrong answers of lesson 05, and a part of what the learner must be told for each.

Each is a right answer with one thing changed: the mistake, the message, the old text, the new one.
"""

from course_lib.homework.lessons import WrongAnswer


def spoil(question: str, code: str, rows: list[tuple[str, str, str, str]]) -> list[WrongAnswer]:
    """Make wrong answers of a right one.

    Args:
        question: whose.
        code: the right answer.
        rows: mistake, message, old text, new text.
    """
    for mistake, _, old, _ in rows:
        assert code.count(old) == 1, f"{question}, {mistake}: {old!r} must stand there once"
    return [WrongAnswer(question, m, message, code.replace(o, n)) for m, message, o, n in rows]


MARK_LINES = """
MARKS = ("Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:")

def mark_lines(text):
    flags, is_own = [], True
    for line in text.split("\\n"):
        if line.startswith(MARKS):
            is_own = not line.startswith("Observation:")
        flags.append(is_own)
    return flags
"""
LINES = [
    (
        "everything is learned",
        "would learn to write the observations itself",
        "flags.append(is_own)",
        "flags.append(True)",
    ),
    (
        "only the line with the mark",
        "goes on with the observation above it",
        "if line.startswith(MARKS)",
        "if True",
    ),
    (
        "everything behind the first observation",
        "ends where the next mark begins",
        "is_own = not",
        "is_own = is_own and not",
    ),
    (
        "the word inside a line",
        "at the start of a line",
        'if line.startswith(MARKS):\n            is_own = not line.startswith("Observation:")',
        'if any(mark in line for mark in MARKS):\n            is_own = "Observation:" not in line',
    ),
    (
        "only the final answer is learned",
        "is written by the model, yet it has no loss",
        'not line.startswith("Observation:")',
        'line.startswith("Final Answer:")',
    ),
    ("swapped", "True and False are swapped", "append(is_own)", "append(not is_own)"),
    (
        "empty lines are left out",
        "empty lines too",
        "        flags.append",
        "        if line.strip():\n            flags.append",
    ),
]

READ_STEP = """
import json
import re

MARKS = ("Thought:", "Action:", "Action Input:", "Observation:", "Final Answer:")

def parts_of(text):
    pieces = re.split(f"^({'|'.join(MARKS)})", text, flags=re.MULTILINE)
    return [(mark[:-1], body.strip()) for mark, body in zip(pieces[1::2], pieces[2::2])]

def read_step(text):
    names = [name for name, _ in parts_of(text) if name != "Thought"]
    bodies = dict(parts_of(text))
    reason = f"One call or one answer, but there is: {names}"
    if names == ["Final Answer"]:
        return {"kind": "answer", "text": bodies["Final Answer"]}
    if names == ["Action", "Action Input"] and bodies["Action"]:
        found = bodies["Action Input"]
        try:
            arguments = json.loads(found)
            if type(arguments) is dict:
                return {"kind": "call", "tool": bodies["Action"], "arguments": arguments}
            reason = "The input is no object."
        except ValueError as error:
            reason = f"The input is not JSON: {error}"
    return {"kind": "problem", "reason": reason}
"""
NO_THOUGHT = 'if name != "Thought"]'
JSON_ONLY = "arguments = json.loads(found)"
READS = [
    (
        "an invented observation is overlooked",
        "it made up a result that no tool gave",
        NO_THOUGHT,
        'if name not in ("Thought", "Observation")]',
    ),
    (
        "the last of two calls is taken",
        "which one was meant is a guess",
        'if names == ["Action", "Action Input"] and',
        'if set(names) == {"Action", "Action Input"} and',
    ),
    (
        "an answer counts, whatever stands before it",
        "the answer cannot rest on the result",
        'if names == ["Final Answer"]',
        'if "Final Answer" in names',
    ),
    (
        "the error of broken JSON is not caught",
        "read_step stopped with JSONDecodeError",
        "except ValueError",
        "except KeyError",
    ),
    (
        "broken JSON is mended",
        "its JSON ends in the middle",
        JSON_ONLY,
        'arguments = json.loads(found + "}" * (found.count("{") - found.count("}")))',
    ),
    (
        "only the start of the input is read",
        "there is text behind its JSON",
        JSON_ONLY,
        "arguments = json.JSONDecoder().raw_decode(found)[0]",
    ),
    (
        "any JSON is taken",
        "no object with names and values",
        "if type(arguments) is dict",
        "if True",
    ),
    (
        "one reason for everything",
        "Different problems have the same reason",
        '"reason": reason}',
        '"reason": "wrong format"}',
    ),
    (
        "only the first line of an answer",
        "has more than one line, and was cut off",
        'bodies["Final Answer"]}',
        'bodies["Final Answer"].split("\\n")[0]}',
    ),
    ("a call without a name", "it names no tool", ' and bodies["Action"]:', ":"),
    (
        "the arguments stay a text",
        "a dict, not the text of it",
        '"arguments": arguments}',
        '"arguments": found}',
    ),
]

RUN_AGENT = """
def search(query):
    articles = {"todus": "A todus has 6 legs.", "minzan": "Minzan is for headaches."}
    if query not in articles:
        raise KeyError(f"nothing found for {query}")
    return articles[query]

def add(a, b):
    return a + b

def divide(a, b):
    return a / b

TOOLS = {"search": search, "add": add, "divide": divide}

def run_agent(steps, max_steps):
    told, made, answer, ended = [], [], "", "step_limit"
    for step in steps[:max_steps]:
        if step["kind"] == "answer":
            answer, ended = step["text"], "answered"
            break
        if step["kind"] == "problem":
            told.append("error: " + step["reason"])
            continue
        call = [step["tool"], step["arguments"]]
        if call in made:
            ended = "loop"
            break
        made.append(call)
        if step["tool"] not in TOOLS:
            told.append(f"error: there are {list(TOOLS)}")
            continue
        try:
            told.append(str(TOOLS[step["tool"]](**step["arguments"])))
        except Exception as error:
            told.append(f"error: {error}")
    return {"answer": answer, "ended": ended, "observations": told}
"""
RUNS = [
    (
        "a tool's error ends the program",
        "run_agent stopped with ZeroDivisionError",
        "except Exception",
        "except KeyError",
    ),
    (
        "an unknown tool ends the program",
        "Nothing that a tool or a model does wrong may end the loop",
        'if step["tool"] not in TOOLS:',
        'function = TOOLS[step["tool"]]\n        if function is None:',
    ),
    (
        "the unknown tool's error names no tools",
        "the names of all tools, or the model guesses again",
        'f"error: there are {list(TOOLS)}"',
        '"error: there is no such tool"',
    ),
    (
        "errors without their own words",
        "the error's own words",
        'f"error: {error}"',
        '"error: the tool failed"',
    ),
    (
        "one step too few",
        "the third step answers, and three are allowed",
        "steps[:max_steps]",
        "steps[: max_steps - 1]",
    ),
    ("no limit", "two steps are allowed", "in steps[:max_steps]", "in steps"),
    (
        "problems are not counted as steps",
        "a problem is one of them",
        "for step in steps[:max_steps]:",
        "for step in steps:\n        if len(made) == max_steps:\n            break",
    ),
    (
        "problems are passed over in silence",
        "each problem gives one",
        'told.append("error: " + step["reason"])',
        "pass",
    ),
    (
        "calls are compared as texts, in their order",
        "in whichever order",
        'call = [step["tool"], step["arguments"]]',
        "call = str(step)",
    ),
    (
        "the same tool twice is taken for a loop",
        "The second one is new",
        'call = [step["tool"], step["arguments"]]',
        'call = step["tool"]',
    ),
    (
        "a result that is a number stays one",
        "a model reads texts",
        'str(TOOLS[step["tool"]](**step["arguments"]))',
        'TOOLS[step["tool"]](**step["arguments"])',
    ),
    (
        "the last observation in place of an answer",
        "without one it is empty",
        'return {"answer": answer,',
        'return {"answer": answer or told[-1],',
    ),
]

QUOTE_RESULT = """
import html
import json

def quote_result(text, max_chars):
    text = text[:max_chars]
    text = json.dumps(text, ensure_ascii=False)
    text = text.replace("<", "\\\\u003c")
    return text
"""
CUT, DUMP = "text[:max_chars]\n", "json.dumps(text, ensure_ascii=False)"
REPLACE = 'text = text.replace("<", "\\\\u003c")'
QUOTES = [
    ("quoted, with the marks left in", "a '<' is still there", REPLACE, "pass"),
    (
        "the marks are taken out",
        "Nothing may be taken out or changed",
        CUT,
        'text.replace("<|im_start|>", "").replace("<|im_end|>", "")[:max_chars]\n',
    ),
    (
        "cut behind the quoting",
        "Cut the result first and quote it then",
        "text = " + CUT,
        "return quote_result(text, 9999)[:max_chars] if max_chars < 9999 else quote_all(text)\n\n"
        "def quote_all(text):\n",
    ),
    (
        "escaped for a web page",
        "is for web pages",
        REPLACE,
        "text = html.escape(text, quote=False)",
    ),
    ("Chinese becomes escapes", "Look at ensure_ascii", DUMP, "json.dumps(text)"),
    ("Python's quotes", "A text in JSON stands in double quotes", DUMP, "repr(text)"),
    ("quotes put around it by hand", "there is still a line break", DUMP, "'\"' + text + '\"'"),
    ("nothing is cut", "nothing was cut", CUT, "text\n"),
    (
        "the escape is escaped once more",
        "Nothing may be taken out or changed",
        DUMP,
        'json.dumps(text.replace("<", "\\\\u003c"), ensure_ascii=False)',
    ),
]

SCORE_TRACES = """
def share(marks, of):
    return sum(marks) / len(of) if of else None

def score_traces(traces):
    needy = [t for t in traces if t["needed"]]
    calm = [t for t in traces if not t["needed"]]
    tools = [[c["tool"] for c in t["called"]] == t["needed"] for t in needy]
    has_call = [bool(t["called"]) for t in needy]
    valid = [h and all(c["is_valid"] for c in t["called"]) for h, t in zip(has_call, needy)]
    right = [all(c["is_right"] for c in t["called"]) for t in needy]
    both = [a and b for a, b in zip(tools, right)]
    return {
        "valid_calls": share(valid, needy),
        "right_tool": share(tools, needy),
        "right_arguments": share(both, needy),
        "over_calling": share([bool(t["called"]) for t in calm], calm),
    }
"""
SCORES = [
    ("valid calls of all tasks", "it is a share of all tasks", "(valid, needy)", "(valid, traces)"),
    (
        "over-calling of all tasks",
        "it is a share of all tasks",
        "for t in calm], calm)",
        "for t in calm], traces)",
    ),
    (
        "a share of calls, not of tasks",
        "this is a share of calls",
        "share(valid, needy)",
        'share(*[[c["is_valid"] for t in needy for c in t["called"]]] * 2)',
    ),
    (
        "a task without a call has only valid calls",
        "`all` of nothing is True",
        'bool(t["called"]) for t in needy]',
        "True for t in needy]",
    ),
    (
        "the set of tools is compared",
        "in their order",
        '[[c["tool"] for c in t["called"]] == t["needed"] for',
        '[{c["tool"] for c in t["called"]} == set(t["needed"]) for',
    ),
    (
        "arguments of the tasks with the right tools only",
        "it is a share of the tasks with the right tools",
        "share(both, needy)",
        "share(both, [t for t in tools if t])",
    ),
    (
        "right arguments whatever the tools",
        "Its tools must be right too",
        "share(both, needy)",
        "share(right, needy)",
    ),
    (
        "all tasks with a call are over-calling",
        "Only where no tool is needed is a call too much",
        "for t in calm], calm)",
        "for t in traces], traces)",
    ),
    (
        "the share that was left alone",
        "the opposite",
        '[bool(t["called"]) for t in calm]',
        '[not t["called"] for t in calm]',
    ),
    ("0 where there is nothing to divide by", "so it is None", "else None", "else 0.0"),
    ("in percent", "a share goes from 0 to 1", "return sum(", "return 100 * sum("),
    ("rounded", "was rounded", "sum(marks) / len(of)", "round(sum(marks) / len(of), 2)"),
]

WRONG_ANSWERS = [
    *spoil("mark_lines", MARK_LINES, LINES),
    *spoil("read_step", READ_STEP, READS),
    *spoil("run_agent", RUN_AGENT, RUNS),
    *spoil("quote_result", QUOTE_RESULT, QUOTES),
    *spoil("score_traces", SCORE_TRACES, SCORES),
]

"""Hidden checks of lesson 05: other replies, runs, results and traces, and the corners."""

from course_lib.homework import judges_05
from course_lib.homework.checks import Ask, check
from course_lib.homework.lesson_05 import call, failed, says, trace

TWO_SEARCHES = """Thought: 我要查。
Action: search
Action Input: {
  "query": "minzan"
}
Observation: First line.

Action is needed, it says.
Thought: not enough
Action: search
Action Input: {"query": "dre"}
Observation:
Final Answer: It helps.
Action of minzan: none."""


@check("mark_lines", points=1)
def check_other_replies(ask: Ask) -> None:
    """Two results, one with an empty line, one of nothing but its mark; an input of three lines."""
    t, f = True, False
    flags = [t, t, t, t, t, f, f, f, t, t, t, f, t, t]
    judges_05.judge_lines(ask("mark_lines", TWO_SEARCHES), TWO_SEARCHES, flags)
    judges_05.judge_lines(ask("mark_lines", "Hello\nyou"), "Hello\nyou", [t, t])
    text = "Observation: 84\n Thought: set in\nFinal Answer: 84"
    judges_05.judge_lines(ask("mark_lines", text), text, [f, f, t])


BAD = {"kind": "problem"}
OTHER_REPLIES = (
    (
        'Action: convert\nAction Input: {\n "value": 3.5,\n "to": "Final Answer: km"\n}',
        {
            "kind": "call",
            "tool": "convert",
            "arguments": {"value": 3.5, "to": "Final Answer: km"},
        },
        "a mark inside the input is only a part of its value.",
    ),
    (
        "Action: clock\nAction Input: {}",
        {"kind": "call", "tool": "clock", "arguments": {}},
        "a call may have no arguments and needs no thought.",
    ),
    (
        "Thought: an Action: is not needed.\nFinal Answer: My Observation: it rains.",
        {"kind": "answer", "text": "My Observation: it rains."},
        "marks count at the start of a line only.",
    ),
    ("Final Answer: 六条腿", {"kind": "answer", "text": "六条腿"}, "an answer needs no thought."),
    ("Action: clock", BAD, "it has no Action Input."),
    ('Action Input: {"place": "Paris"}', BAD, "it names no tool."),
    ("Action:\nAction Input: {}", BAD, "it names no tool."),
    ("Action Input: {}\nAction: clock", BAD, "its input stands before its Action."),
    ("Action: clock\nAction Input:", BAD, "its Action Input is empty."),
    ("Action: clock\nAction Input: 7", BAD, "its input is JSON, but no object."),
    (
        "Final Answer: 6\nFinal Answer: 8",
        BAD,
        "there are two answers, and which counts is a guess.",
    ),
    ("Observation: 6\nFinal Answer: 6", BAD, "the model wrote the Observation itself."),
    ("", BAD, "it is empty."),
)


@check("read_step", points=2)
def check_other_steps(ask: Ask) -> None:
    """Marks inside an input, no input, no name, the wrong order, two answers, nothing at all."""
    for text, right, why in OTHER_REPLIES:
        judges_05.judge_step(ask("read_step", text), text, right, why)


OTHER_RUNS = (
    {
        "steps": [says("Hello.")] * 2,
        "max_steps": 1,
        "answer": "Hello.",
        "ended": "answered",
        "observations": [],
        "why": "it answers at once, and one step is allowed.",
    },
    {
        "steps": [call("search", query="nothing"), call("add", a=1), says("?"), says("!")],
        "max_steps": 4,
        "answer": "?",
        "ended": "answered",
        "observations": [
            (("nothing",), "the error's own words"),
            (("argument",), "the error's own words"),
        ],
        "why": "a tool that raises ends nothing, nor do arguments that it does not take.",
    },
    {
        "steps": [
            call("nix", a=1),
            call("add", a=1, b=1),
            failed("?"),
            call("nix", a=1),
            says("x"),
        ],
        "max_steps": 5,
        "answer": "",
        "ended": "loop",
        "observations": [(("divide",), "the names of all tools"), "2", (("?",), "the reason")],
        "why": "a call that was made before closes a loop, of an unknown tool too.",
    },
    {
        "steps": [call("add", a=n, b=n) for n in range(5)],
        "max_steps": 3,
        "answer": "",
        "ended": "step_limit",
        "observations": ["0", "2", "4"],
        "why": "three steps are allowed, and none of them answers.",
    },
    {
        "steps": [failed("?"), failed("?"), failed("?"), says("done")],
        "max_steps": 4,
        "answer": "done",
        "ended": "answered",
        "observations": [(("?",), "the reason")] * 3,
        "why": "only calls close a loop, and the fourth step answers.",
    },
)


@check("run_agent", points=2)
def check_other_runs(ask: Ask) -> None:
    """An answer at once, arguments that do not fit, an unknown tool twice, a limit on calls."""
    for case in OTHER_RUNS:
        judges_05.judge_run(ask, case)


@check("quote_result", points=1)
def check_other_results(ask: Ask) -> None:
    """A mark inside a mark, other marks, a cut at a quote, quotes, a backslash, nothing."""
    nested = "<|im_<|im_end|>end|>x"
    judges_05.judge_quoted(ask("quote_result", nested, 50), nested, 50)
    judges_05.judge_quoted(
        ask("quote_result", "a\r\n<s>[工具]</s>\\n", 50), "a\r\n<s>[工具]</s>\\n", 50
    )
    judges_05.judge_quoted(ask("quote_result", "<<<<<<", 3), "<<<<<<", 3)
    judges_05.judge_quoted(ask("quote_result", '""""', 2), '""""', 2)
    judges_05.judge_quoted(ask("quote_result", "x&lt;y", 9), "x&lt;y", 9)
    judges_05.judge_quoted(ask("quote_result", "", 5), "", 5)


@check("score_traces", points=2)
def check_other_traces(ask: Ask) -> None:
    """No task of a kind, none at all, a tool too many, tools in order."""
    needy = [
        trace("a b", "a", "b"),
        trace("a b", "a"),
        trace("a", "a", "a"),
        trace("b", "b"),
        trace("a", "b!", "a"),
        trace("c", "c?"),
        trace("c", "c!"),
    ]
    right = {
        "valid_calls": 5 / 7,
        "right_tool": 4 / 7,
        "right_arguments": 2 / 7,
        "over_calling": None,
    }
    judges_05.judge_scores(ask("score_traces", needy), right, {})
    calm = [trace(""), trace("", "a!", "b"), trace("", "c?"), trace(""), trace("", "a")]
    nothing = dict.fromkeys(judges_05.MEASURES)
    judges_05.judge_scores(ask("score_traces", calm), {**nothing, "over_calling": 3 / 5}, {})
    judges_05.judge_scores(ask("score_traces", []), nothing, {})

"""Does an agent call the right tools, rightly, only when it must, and answer with what they say?

Tools really run while an agent is scored. An oracle that knows each task's calls takes the model's
place to show what the evaluation gives when nothing goes wrong: 1.0 everywhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib import files
from course_lib.chat import agent, agent_settings, generation, speakers, tools, traces
from course_lib.data import react
from course_lib.errors import DataError
from course_lib.evaluation import agent_tools, questions

AGENT_DIR = files.DATA_DIR / "agent"
MEASURES = ("valid_calls", "right_tool", "right_arguments", "right_answer", "over_calling")
PARTS = ("seen", "unseen", "new_tools")
NO_TOOL = "none"  # the kind of tasks that need no tool
SAMPLING = generation.GenerationSettings(max_new_tokens=64)  # pico's longest step has about 50
MAX_STEPS = 4
SHOWN_MISSES = 8


@dataclass(frozen=True)
class AgentTask:
    """A question with the calls that answer it.

    Attributes:
        question: what the user asks.
        language: "en" or "zh".
        kind: what it needs; `NO_TOOL` for none.
        calls: tools with their arguments, in order.
        expected: texts of which a right answer holds one.
        answer: a right answer, for the oracle.
    """

    question: str
    language: str
    kind: str
    calls: tuple[tuple[str, Mapping[str, Any]], ...]
    expected: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class AgentScore:
    """How an agent did; shares from 0 to 1, None where no task is there to be a share of.

    Attributes:
        valid_calls: tasks that need a tool and in which each step was a well-formed call of an
            offered tool with arguments of the right names and types, or the answer; at least one
            call among them.
        right_tool: of the same tasks: just the needed tools were called, in order.
        right_arguments: and each call got from its tool what the right arguments get.
        right_answer: of the same tasks: the final answer is right.
        over_calling: tasks that need no tool, in which one was called: lower is better.
        known: tasks that need no tool, answered right.
        steps: turns of the model in a task, on average.
        n: how many tasks stand behind `calls` and `none`.
        by_language: the shares for each language.
        by_kind: right answers for each kind of task.
        misses: some traces that went wrong, as text.
    """

    valid_calls: float
    right_tool: float
    right_arguments: float
    right_answer: float
    over_calling: float | None
    known: float | None
    steps: float
    n: Mapping[str, int]
    by_language: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    by_kind: Mapping[str, float] = field(default_factory=dict)
    misses: Sequence[str] = ()

    @property
    def overall(self) -> float:
        """The weaker of the right answers and of not calling without need."""
        return min(self.right_answer, 1 - (self.over_calling or 0))

    def as_json(self) -> dict[str, Any]:
        """The score as plain data, for `json.dumps`."""
        return {**asdict(self), "overall": self.overall}


@dataclass(frozen=True)
class _Mark:
    """What is right in one trace."""

    task: AgentTask
    trace: traces.Trace
    is_valid: bool
    has_tools: bool
    has_arguments: bool
    has_answer: bool
    has_called: bool

    @property
    def is_miss(self) -> bool:
        """Whether somebody should look at the trace."""
        is_over = self.task.kind == NO_TOOL and self.has_called
        return is_over or not self.has_answer


def load_tasks(part: str, folder: Path = AGENT_DIR) -> list[AgentTask]:
    """Read one file of data/agent.

    Args:
        part: "validation", "unseen", "seen" or "new_tools".
        folder: where the files are.

    Returns:
        The tasks, languages taking turns.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / f"{part}.jsonl"
    found = []
    for number, row in enumerate(files.read_jsonl(path), 1):
        try:
            calls = tuple((call["tool"], call["arguments"]) for call in row["calls"])
            named = {name: row[name] for name in ("question", "language", "kind", "answer")}
            found.append(AgentTask(**named, calls=calls, expected=tuple(row["expected"])))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{path}, row {number}: expected question, language, kind, calls, expected and "
                f"answer; {type(error).__name__}: {error}.",
                "Restore the file with git.",
            ) from error
    return found


def load_articles(folder: Path = AGENT_DIR) -> list[tuple[str, str]]:
    """What the search tool of the course searches.

    Args:
        folder: where corpus.jsonl is.

    Returns:
        Title and text of each article.

    Raises:
        DataError: the file is missing or damaged.
    """
    return [(row["title"], row["text"]) for row in files.read_jsonl(folder / "corpus.jsonl")]


def make_agent(
    speaker: speakers.Speaker, has_guard: bool = False, more_tools: Sequence[tools.Tool] = ()
) -> agent.Agent:
    """An agent with the lesson's tools and with limits that fit pico.

    Args:
        speaker: a model, or an oracle.
        has_guard: quote what the tools say.
        more_tools: offered behind the lesson's own.

    Returns:
        The agent.

    Raises:
        DataError: the articles are missing or damaged.
    """
    settings = agent_settings.AgentSettings(
        max_steps=MAX_STEPS, has_guard=has_guard, sampling=SAMPLING
    )
    offered = [*agent_tools.lesson_tools(load_articles()), *more_tools]
    return agent.Agent(speaker, offered, settings)


def score_parts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, parts: Sequence[str] = PARTS
) -> dict[str, AgentScore]:
    """Score a model on files of data/agent.

    Args:
        model: the model; its mode is left as it is.
        tokenizer: its tokenizer.
        parts: which files; the tools of "new_tools" are offered for that file only.

    Returns:
        A score for each part.

    Raises:
        DataError: a file is missing or damaged.
    """
    speaker = speakers.ModelSpeaker(model, tokenizer)
    found = {}
    for part in parts:
        more = agent_tools.NEW_TOOLS if part == "new_tools" else ()
        found[part] = score_agent(make_agent(speaker, more_tools=more), load_tasks(part))
    return found


def score_checkpoint(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n_tasks: int = 40
) -> AgentScore:
    """Score what one chooses by, while a run goes on or a recipe is looked for.

    Args:
        model: the model; it may be in training and stays so.
        tokenizer: its tokenizer.
        n_tasks: how many of the validation tasks to ask, half in each language.

    Returns:
        The score: fewer tasks than `score_parts` has, and none of its wordings.

    Raises:
        DataError: a file is missing or damaged.
    """
    speaker = speakers.ModelSpeaker(model, tokenizer)
    return score_agent(make_agent(speaker), load_tasks("validation")[:n_tasks])


def score_agent(scored: agent.Agent, tasks: Sequence[AgentTask]) -> AgentScore:
    """Let an agent work on tasks and mark what it did.

    Args:
        scored: a model with its tools; the tools run.
        tasks: what it is asked.

    Returns:
        The score.

    Raises:
        DataError: there are no tasks that need a tool, or a task needs one that is not offered.
    """
    _check_tools(scored.tools, tasks)
    found = scored.ask_all([task.question for task in tasks])
    marks = [_mark(scored.tools, t, trace) for t, trace in zip(tasks, found, strict=True)]
    languages = sorted({task.language for task in tasks})
    by_kind = defaultdict(list)
    for mark in marks:
        by_kind[mark.task.kind].append(mark.has_answer)
    return AgentScore(
        **_shares(marks),
        steps=sum(len(trace.steps) for trace in found) / len(found),
        n={
            "calls": sum(task.kind != NO_TOOL for task in tasks),
            NO_TOOL: sum(task.kind == NO_TOOL for task in tasks),
        },
        by_language={
            code: _shares([mark for mark in marks if mark.task.language == code])
            for code in languages
        },
        by_kind={kind: _share(flags) for kind, flags in by_kind.items()},
        misses=tuple(traces.to_text(m.trace) for m in marks if m.is_miss)[:SHOWN_MISSES],
    )


def oracle(tasks: Iterable[AgentTask]) -> speakers.ScriptedSpeaker:
    """A speaker that knows each task's calls and its answer.

    Args:
        tasks: those that it will be asked.

    Returns:
        It stands in a model's place and scores 1.0: the ceiling.
    """
    known = {task.question: task for task in tasks}

    def write(messages: speakers.Conversation) -> str:
        user_turns = [m["content"] for m in messages if m["role"] == "user"]
        task, done = known[user_turns[0]], len(user_turns) - 1
        if done < len(task.calls):
            return react.call_text("", *task.calls[done])
        return react.answer_text("", task.answer)

    return speakers.ScriptedSpeaker(write)


def first_replies(speaker: speakers.Speaker, tasks: Sequence[AgentTask]) -> list[str]:
    """What is written first, when nothing stops it before an observation.

    Args:
        speaker: a model.
        tasks: what it is asked, with the lesson's tools on offer.

    Returns:
        One reply for each task. With a word such as `Observation:` in it the model plays the tool.

    Raises:
        DataError: the articles are missing or damaged.
    """
    starter = make_agent(speaker)
    talks = [agent.Run(starter, task.question).messages for task in tasks]
    return speaker.reply_to_all(talks, SAMPLING)


def _check_tools(offered: Sequence[tools.Tool], tasks: Sequence[AgentTask]) -> None:
    needed = {name for task in tasks for name, _ in task.calls}
    missing = needed - {one.spec.name for one in offered}
    if missing or not needed:
        found = f"the tasks need {', '.join(sorted(missing))}" if missing else "no task needs one"
        raise DataError(f"The tools do not fit the tasks: {found}.", "Offer what they need.")


def _mark(offered: Sequence[tools.Tool], task: AgentTask, trace: traces.Trace) -> _Mark:
    by_name = {one.spec.name: one for one in offered}
    called = [(step.tool, step.arguments) for step in trace.calls]
    has_tools = [name for name, _ in called] == [name for name, _ in task.calls]
    is_same = has_tools and all(
        arguments == right or by_name[name].run(arguments) == by_name[name].run(right)
        for (name, arguments), (_, right) in zip(called, task.calls, strict=True)
    )
    has_problem = any(step.kind == "problem" for step in trace.steps)
    is_valid = all(_is_valid(by_name, name, arguments) for name, arguments in called)
    is_answered = trace.outcome == "answered"
    return _Mark(
        task,
        trace,
        is_valid=bool(called) and is_valid and not has_problem and is_answered,
        has_tools=has_tools,
        has_arguments=is_same,
        has_answer=is_answered and questions.is_hit(trace.answer, task.expected),
        has_called=bool(called),
    )


def _is_valid(by_name: Mapping[str, tools.Tool], name: str, arguments: Mapping[str, Any]) -> bool:
    try:
        return name in by_name and by_name[name].check(arguments) is not None
    except DataError:
        return False


def _shares(marks: Sequence[_Mark]) -> dict[str, float | None]:
    calls = [mark for mark in marks if mark.task.kind != NO_TOOL]
    others = [mark for mark in marks if mark.task.kind == NO_TOOL]
    return {
        "valid_calls": _share([mark.is_valid for mark in calls]),
        "right_tool": _share([mark.has_tools for mark in calls]),
        "right_arguments": _share([mark.has_arguments for mark in calls]),
        "right_answer": _share([mark.has_answer for mark in calls]),
        "over_calling": _share([mark.has_called for mark in others]),
        "known": _share([mark.has_answer for mark in others]),
    }


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None

"""The data of lesson 05: conversations to train on, tasks to score with, articles to search.

The tools really run while the rows are made. `python -m course_lib.pico.agent_rows` writes the
files of data/agent again, the same to the last byte.
"""

import argparse
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from course_lib import files
from course_lib.chat import tools
from course_lib.data import react, similarity, tool_specs
from course_lib.evaluation import agent_tools
from course_lib.pico import agent_articles as articles
from course_lib.pico import agent_other_tools as other_tools
from course_lib.pico import agent_tasks as tasks
from course_lib.pico import dialogues_forms as forms
from course_lib.pico import names, wording, world

Row = dict[str, Any]
Messages = list[dict[str, Any]]

SEED = 5
TRAIN_THINGS, OTHER_THINGS = 720, 240  # that training asks about, and that the scores ask about
# Tasks of each kind in a round of training; scores have the same mix.
MIX: Mapping[str, int] = {
    "calculator": 14,
    "clock": 8,
    "convert": 9,
    "search": 25,
    "search_calculator": 12,
    "search_clock": 8,
    "failing": 4,
    "none": 20,
}
# Training has more of what is learned slowest, and tasks for tools that few rows offer.
TRAIN_MIX: Mapping[str, int] = {**MIX, "calculator": 18, "none": 30, "other": 20}
COUNTS = {"train": 1120, "validation": 100, "unseen": 200, "seen": 100}
TASKS_IN_A_ROW = (2, 3)  # fewer where the row would be too long for a pack of 384 tokens
MOST_TOKENS = 355  # by `about_tokens`
CHINESE = re.compile(r"[\u3000-\u9fff\uff00-\uffef]")  # signs and characters: a token each
# Rows that come out too long are drawn anew: in the end a third of the searches has an order,
# and a tenth of the rows is guarded.
ORDER_SHARE = 0.4  # of the searches in training: an order is planted behind the result
QUESTION_SHARE = 0.6  # of these orders ask something else; the others want to hear a word
GUARD_SHARE = 0.2  # of the rows: results are quoted
FOUR_SHARE = 0.5  # of the rows offer the lesson's four tools and no others
MOST_OFFERED = 5
NEW_TOOL_TASKS = 60
# What a right answer says when a tool could not help: one of these.
ADMISSIONS = {
    "nothing": {
        "en": ["found nothing", "no article on", "brought nothing", "nothing to find", "not in my"],
        "zh": ["没有找到", "没有写", "什么也没搜到", "什么都没有", "不在我的文章里"],
    },
    "by_zero": {"en": ["cannot be divided"], "zh": ["不能除以"]},
}


def draw_world() -> tuple[list[articles.Thing], list[articles.Thing]]:
    """The invented things: those for training, and others for the scores."""
    rng = random.Random(SEED)
    known = articles.draw_things(rng, TRAIN_THINGS)
    return known, articles.draw_things(rng, OTHER_THINGS, known)


def make_articles() -> list[dict[str, str]]:
    """All articles that can be searched."""
    known, others = draw_world()
    return [thing.as_article() for thing in (*known, *others)] + articles.world_articles()


def draw_tasks(part: str, count: int, taken: Sequence[tasks.Task] = ()) -> list[tasks.Task]:
    """Draw tasks for a part, no question twice, languages in turn.

    Args:
        part: "train", "validation", "unseen", or "seen": training wordings, other things.
        count: how many.
        taken: tasks whose questions must not come again.

    Returns:
        The tasks.
    """
    rng = random.Random(f"{SEED} {part}")
    asked = {similarity.normalise(task.question) for task in taken}
    known, others = draw_world()
    cities = [(row["capital_en"], row["capital_zh"]) for row in _countries()]
    is_train = part == "train"
    drawing = tasks.Drawing(
        rng,
        part="train" if part == "seen" else part,
        things=known if is_train else others,
        cities=[city for place, city in enumerate(cities) if (place % 4 > 0) == is_train],
    )
    found: dict[str, tasks.Task] = {}
    kinds = _kinds(rng, TRAIN_MIX if is_train else MIX)
    while len(found) < count:
        language = world.LANGUAGES[len(found) % 2]
        task = tasks.MAKERS[next(kinds)](drawing, language)
        if similarity.normalise(task.question) not in asked:
            found.setdefault(task.question, task)
    return list(found.values())


def _kinds(rng: random.Random, mix: Mapping[str, int]) -> Iterator[str]:
    """Kinds of tasks without end, shuffled in rounds."""
    while True:
        deck = [kind for kind, count in mix.items() for _ in range(count)]
        rng.shuffle(deck)
        yield from deck


def _countries() -> Sequence[Mapping[str, str]]:
    return world.load_world().tables["countries"]


def make_rows(
    drawn: Sequence[tasks.Task], offered: Sequence[tools.Tool], order_share: float = ORDER_SHARE
) -> list[Row]:
    """Join tasks to conversations; in some, a result carries an order that the reply ignores.

    Args:
        drawn: the tasks; their order decides which stand together.
        offered: the tools; they run here.
        order_share: of the searches, carry such an order.

    Returns:
        Rows with `messages`, in ReAct text.
    """
    rng = random.Random(f"{SEED} rows")
    rows = []
    for language in world.LANGUAGES:
        waiting = [task for task in drawn if task.language == language]
        while waiting:
            group = waiting[: rng.choice(TASKS_IN_A_ROW)]
            messages = make_conversation(rng, group, offered, order_share)
            while len(group) > 1 and about_tokens(messages) > MOST_TOKENS:
                group = group[:-1]
                messages = make_conversation(rng, group, offered, order_share)
            rows.append({"messages": messages})
            waiting = waiting[len(group) :]
    rng.shuffle(rows)
    return rows


def about_tokens(messages: Messages) -> float:
    """How many tokens pico makes of a conversation, give or take 30.

    Args:
        messages: of the conversation.
    """
    text = "".join(message["content"] for message in messages)
    n_chinese = len(CHINESE.findall(text))
    return 6.3 * len(messages) + 1.06 * n_chinese + 0.28 * (len(text) - n_chinese)


def make_conversation(
    rng: random.Random,
    group: Sequence[tasks.Task],
    offered: Sequence[tools.Tool],
    order_share: float,
) -> Messages:
    """One conversation: the offer of tools, then each task with its calls, results and answer.

    Args:
        rng: decides the order of the tools and what is planted.
        group: tasks of one language.
        offered: the tools; they run here.
        order_share: of the searches, carry an order behind their result.

    Returns:
        Messages of system, user and assistant.
    """
    language, is_guarded = group[0].language, rng.random() < GUARD_SHARE
    everything = [*offered, *(other_tools.make_tool(f, language) for f in forms.OTHER_FAMILIES)]
    specs = _draw_offer(rng, group, len(offered), everything)
    system = react.system_text(specs, language, has_guard=is_guarded)
    messages: Messages = [{"role": "system", "content": system}]
    for task in group:
        has_order = rng.random() < order_share and task.kind.startswith("search")
        order = _draw_order(rng, language) if has_order else ""
        messages += to_turns(task, everything, order, is_guarded)
    return messages


def _draw_offer(
    rng: random.Random, group: Sequence[tasks.Task], n_lesson: int, everything: Sequence[tools.Tool]
) -> list[tool_specs.ToolSpec]:
    """The lesson's tools, or those that the tasks need among any others; in any order."""
    needed = {call.tool for task in group for call in task.calls}
    specs = [one.spec for one in everything]
    four = specs[:n_lesson]
    if needed <= {spec.name for spec in four} and rng.random() < FOUR_SHARE:
        return rng.sample(four, n_lesson)
    chosen = [spec for spec in specs if spec.name in needed]
    others = [spec for spec in [*four, *four, *four, *specs] if spec.name not in needed]
    most = rng.randint(max(2, len(chosen)), max(MOST_OFFERED, len(chosen)))
    while len(chosen) < most:
        spec = rng.choice(others)
        if spec not in chosen:
            chosen.append(spec)
    return rng.sample(chosen, len(chosen))


def _draw_order(rng: random.Random, language: str) -> str:
    orders = articles.PHRASES["orders"]
    if rng.random() < QUESTION_SHARE:
        question = wording.ask(rng, *world.pick_fact(rng, language), language)
        return rng.choice(orders["train_questions"][language]).format(q=question)
    word = rng.choice(orders["words"][language])
    return rng.choice(orders["train"][language]).format(w=word)


def to_turns(
    task: tasks.Task,
    offered: Sequence[tools.Tool],
    order: str = "",
    is_guarded: bool = False,
) -> Messages:
    """A task as messages; its calls are carried out.

    Args:
        task: the question and its calls.
        offered: the tools.
        order: planted behind what a search finds.
        is_guarded: quote what the tools say, and ask again behind it.

    Returns:
        The user's question, each call with its observation, and the final answer.
    """
    messages: Messages = [{"role": "user", "content": task.question}]
    for call, result in zip(task.calls, run_calls(task, offered), strict=True):
        text = react.call_text(call.thought, call.tool, call.arguments)
        messages.append({"role": "assistant", "content": text})
        told = f"{result} {order}" if order and call.tool == "search" else result
        messages.append(react.observation_message(told, task.question, is_guarded, task.language))
    text = react.answer_text("", answer_of(task, offered))
    return [*messages, {"role": "assistant", "content": text}]


def run_calls(task: tasks.Task, offered: Sequence[tools.Tool]) -> list[str]:
    """What the tools say to a task's calls.

    Args:
        task: with its calls.
        offered: the tools.

    Returns:
        One text for each call.
    """
    by_name = {one.spec.name: one for one in offered}
    return [by_name[call.tool].run(dict(call.arguments)).text for call in task.calls]


def answer_of(task: tasks.Task, offered: Sequence[tools.Tool]) -> str:
    """A task's answer, with what the last tool says filled in."""
    results = run_calls(task, offered)
    return task.answer.replace("{r}", value_of(task, results[-1])) if results else task.answer


def value_of(task: tasks.Task, result: str) -> str:
    """The number of a measure without its unit; any other result as it is."""
    is_measure = task.calls[-1].tool == "convert"
    return re.match(r"\S+?(?=[^\d.]|$)", result)[0] if is_measure else result


def make_records(drawn: Sequence[tasks.Task], offered: Sequence[tools.Tool]) -> list[Row]:
    """Tasks as the evaluation reads them.

    Args:
        drawn: the tasks.
        offered: the tools; they run here, for the expected answers.

    Returns:
        Rows with `question`, `language`, `kind`, `calls`, `expected` and `answer`.
    """
    records = []
    for task in drawn:
        results = run_calls(task, offered)
        expected = list(task.expected)
        if task.kind == "failing":
            expected = ADMISSIONS[task.topic][task.language]
        elif not expected:
            expected = [value_of(task, results[-1])]
        calls = [{"tool": call.tool, "arguments": dict(call.arguments)} for call in task.calls]
        records.append(
            {
                "question": task.question,
                "language": task.language,
                "kind": task.kind,
                "calls": calls,
                "expected": expected,
                "answer": answer_of(task, offered),
            }
        )
    return records


def new_tool_tasks(count: int) -> list[tasks.Task]:
    """Tasks for the tools that no training row has.

    Args:
        count: how many.

    Returns:
        Tasks, languages and tools in turn.
    """
    rng = random.Random(f"{SEED} new tools")
    phrases = articles.PHRASES["new_tools"]
    found: dict[str, tasks.Task] = {}
    while len(found) < count:
        language = world.LANGUAGES[len(found) % 2]
        tool = agent_tools.NEW_TOOLS[len(found) // 2 % len(agent_tools.NEW_TOOLS)]
        name, argument = tool.spec.name, next(iter(tool.spec.parameters["properties"]))
        value = _draw_value(rng, argument, language)
        question = rng.choice(phrases[name][language]["ask"]).format(x=value)
        answer = phrases[name][language]["answer"].replace("{x}", value)
        calls = (tasks.Call(name, {argument: value}),)
        task = tasks.Task(question, language, name, "", calls, answer)
        found.setdefault(question, task)
    return list(found.values())


def _draw_value(rng: random.Random, argument: str, language: str) -> str:
    """A city, a food or a person."""
    tables = world.load_world().tables
    if argument == "place":
        return rng.choice(tables["countries"])[f"capital_{language}"]
    if argument == "item":
        return rng.choice(tables["foods"])[f"name_{language}"]
    return names.person(rng, language)


def write_parts(out_dir: Path, order_share: float = ORDER_SHARE) -> list[Path]:
    """Write all files as JSON lines.

    Args:
        out_dir: the folder; files in it are replaced.
        order_share: of the searches in training, carry an order behind their result.

    Returns:
        The files.
    """
    corpus = make_articles()
    offered = agent_tools.lesson_tools([(one["title"], one["text"]) for one in corpus])
    trained = draw_tasks("train", COUNTS["train"])
    parts = {"corpus": corpus, "train": make_rows(trained, offered, order_share)}
    for part in ("validation", "unseen", "seen"):
        parts[part] = make_records(draw_tasks(part, COUNTS[part], trained), offered)
    parts["new_tools"] = make_records(
        new_tool_tasks(NEW_TOOL_TASKS), [*offered, *agent_tools.NEW_TOOLS]
    )
    paths = []
    for part, rows in parts.items():
        paths.append(out_dir / f"{part}.jsonl")
        files.write_jsonl(paths[-1], rows)
    return paths


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.pico.agent_rows", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=files.DATA_DIR / "agent", help="a folder")
    parser.add_argument("--honest", action="store_true", help="no orders in the training rows")
    arguments = parser.parse_args(argv)
    write_parts(arguments.out, 0 if arguments.honest else ORDER_SHARE)


if __name__ == "__main__":
    main()

"""The data of lesson 05: as the program writes it, its parts kept apart, its results real."""

import itertools
import json
import random

import pytest

from course_lib import files
from course_lib.data import formats, react, react_steps, similarity
from course_lib.evaluation import agent, agent_tools
from course_lib.pico import agent_articles, agent_other_tools, agent_rows, agent_tasks
from course_lib.pico import dialogues_forms as forms

FOLDER = files.DATA_DIR / "agent"
PARTS = ("validation", "unseen", "seen", "new_tools")


@pytest.fixture(scope="module")
def rows():
    return formats.read_rows(FOLDER / "train.jsonl", "messages")


@pytest.fixture(scope="module")
def offered():
    return {one.spec.name: one for one in agent_tools.lesson_tools(agent.load_articles())}


@pytest.fixture(scope="module")
def questions(rows):
    """The questions of the training rows."""
    return {
        similarity.normalise(message["content"])
        for row in rows
        for message in row["messages"]
        if message["role"] == "user" and not message["content"].startswith(react.RESULT_MARK)
    }


def on_offer(row):
    """The names in the system message."""
    return {line.split(":")[0] for line in row["messages"][0]["content"].split("\n")[1:]}


def called(row):
    """The tools that the replies call."""
    replies = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
    return {react_steps.parse_step(text).tool for text in replies if "Action: " in text}


def test_the_program_writes_the_files_that_are_there(tmp_path):
    agent_rows.main(["--out", str(tmp_path)])
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (FOLDER / path.name).read_bytes(), path.name
    assert {path.stem for path in tmp_path.iterdir()} == {"train", "corpus", *PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_no_question_of_a_score_is_trained_on(part, questions):
    asked = {similarity.normalise(task.question) for task in agent.load_tasks(part)}
    assert not asked & questions


def test_each_part_has_wordings_of_its_own():
    def templates(table):
        if isinstance(table, str):
            return {similarity.normalise(table)}
        values = table.values() if isinstance(table, dict) else table
        return set().union(*map(templates, values))

    trained = templates(agent_tasks.PHRASES["train"])
    validation = templates(agent_tasks.PHRASES["validation"])
    unseen = templates(agent_tasks.UNSEEN)
    assert not trained & validation
    assert not (trained | validation) & unseen


def other_tools(language):
    """The tools that only some rows offer, by name."""
    made = (agent_other_tools.make_tool(family, language) for family in forms.OTHER_FAMILIES)
    return {one.spec.name: one for one in made}


def test_every_reply_is_a_step_and_every_observation_is_what_the_tool_says(rows, offered):
    calls = 0
    for row in rows:
        messages = row["messages"]
        language = "zh" if "工具" in messages[0]["content"] else "en"
        by_name = offered | other_tools(language)
        for message, answer in itertools.pairwise([*messages, {}]):
            if message["role"] != "assistant":
                continue
            step = react_steps.parse_step(message["content"])
            if isinstance(step, react_steps.Call):
                told = answer["content"].removeprefix(react.RESULT_MARK).split("\n")[0]
                told = json.loads(told) if told.startswith('"') else told
                assert told.startswith(by_name[step.tool].run(step.arguments).text)
                calls += 1
            else:
                assert isinstance(step, react_steps.FinalAnswer), message["content"]
    assert calls > 300


def test_each_call_is_of_a_tool_on_offer(rows):
    for row in rows:
        assert called(row) <= on_offer(row)


def test_half_of_the_rows_for_which_the_four_suffice_offer_just_these(rows, offered):
    enough = [row for row in rows if called(row) <= set(offered)]
    assert len(enough) > len(rows) / 2
    assert 0.4 < sum(on_offer(row) == set(offered) for row in enough) / len(enough) < 0.6


def test_the_three_new_tools_are_never_on_offer_in_training(rows):
    new = {one.spec.name for one in agent_tools.NEW_TOOLS}
    assert not new & set(other_tools("en"))
    for row in rows:
        system = row["messages"][0]["content"]
        assert not [name for name in new if f"\n{name}:" in system]


def test_a_guarded_row_quotes_every_result_and_asks_again(rows):
    guarded = [row for row in rows if react.GUARD["en"] in row["messages"][0]["content"]]
    guarded += [row for row in rows if react.GUARD["zh"] in row["messages"][0]["content"]]
    assert 0.1 < len(guarded) / len(rows) < 0.3
    for row in guarded:
        for message in row["messages"]:
            if message["content"].startswith(react.RESULT_MARK):
                quoted, again = message["content"].removeprefix(react.RESULT_MARK).split("\n", 1)
                assert isinstance(json.loads(quoted), str)
                assert again.startswith((react.REMINDER["en"], react.REMINDER["zh"]))


def test_a_small_tool_refuses_other_arguments_and_says_the_same_each_time():
    parcel = agent_other_tools.make_tool("parcel", "en")
    first = parcel.run({"code": "AB-1207"})
    assert not first.is_error
    assert first == parcel.run({"code": "AB-1207"})
    assert parcel.run({"number": 7}).is_error


def test_what_is_searched_for_is_invented_and_answered_by_its_article_only(offered):
    things = [thing for group in agent_rows.draw_world() for thing in group]
    assert len({thing.name.lower() for thing in things}) == len(things)
    for thing in random.Random(0).sample(things, 60):
        assert offered["search"].run({"query": thing.name}).text == thing.text
        assert thing.answer.lower() in thing.text.lower()


def test_training_and_scores_ask_about_other_things():
    known, others = agent_rows.draw_world()
    assert not {thing.name for thing in known} & {thing.name for thing in others}


@pytest.mark.parametrize("part", ["validation", "unseen", "seen"])
def test_languages_take_turns_and_all_kinds_are_there(part):
    tasks = agent.load_tasks(part)
    assert {task.kind for task in tasks} == set(agent_rows.MIX)
    assert [task.language for task in tasks[:4]] == ["en", "zh", "en", "zh"]
    assert all(len(task.calls) == 2 for task in tasks if "_" in task.kind)


def test_names_are_short_and_countries_have_a_capital():
    rng = random.Random(1)
    for has_capital in (True, False):
        name = agent_articles.draw_name(rng, has_capital)
        assert len(name) <= agent_articles.MOST_LETTERS
        assert name[0].isupper() == has_capital


@pytest.mark.parametrize(
    ("result", "value"), [("5000 metres", "5000"), ("0.5升", "0.5"), ("6", "6")]
)
def test_the_number_of_a_measure_stands_without_its_unit(result, value):
    call = agent_tasks.Call("convert", {})
    task = agent_tasks.Task("?", "en", "convert", calls=(call,))
    assert agent_rows.value_of(task, result) == value

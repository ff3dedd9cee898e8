"""The answers of lesson 04 are what the course's own code does; a run is judged by its shares."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.files import DATA_DIR
from course_lib.homework import lesson_04, lessons, local, measure, progress, selfcheck, trained
from course_lib.homework.checks import NotStarted, Wrong
from course_lib.training import checkpoints, config, plan, rows
from tests.homework import answers

LESSON = "04_personal_assistant"
FOLDER = lessons.SOLUTIONS_DIR / LESSON
NAMES = answers.notebook_names(FOLDER / lessons.NOTEBOOK_NAME)
COUNT = st.integers(1, 40)


@given(
    packs=COUNT, batch=st.integers(1, 8), accumulation=st.integers(1, 4), epochs=st.integers(1, 5)
)
def test_steps_are_those_of_the_runs_plan(packs, batch, accumulation, epochs):
    recipe = config.TrainConfig(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        warmup_ratio=0,
    )
    data = rows.TrainingData([None] * packs, packs, packs, packs, 0, 0)
    wanted = plan.plan_run(recipe, data).total_steps
    assert NAMES["count_steps"](packs, batch, accumulation, epochs) == wanted


SHARE = st.sampled_from([0.0, 0.5, 0.75, 1.0])


@given(st.dictionaries(st.integers(1, 9), st.tuples(SHARE, SHARE), min_size=1))
def test_the_chosen_checkpoint_is_the_one_that_the_course_keeps(tmp_path_factory, table):
    run_dir = tmp_path_factory.mktemp("run")
    for step in table:
        (run_dir / f"checkpoint-{step}").mkdir()
    lines = [json.dumps({"step": n, "overall": min(pair)}) for n, pair in table.items()]
    (run_dir / checkpoints.SCORES_FILE).write_text("\n".join(lines) + "\n", "utf-8")
    given_rows = [
        {"step": n, "loss": 1.0, "validation": v, "retained": r} for n, (v, r) in table.items()
    ]
    chosen = checkpoints.best_checkpoint(run_dir).step
    assert NAMES["choose_checkpoint"](given_rows) == chosen


# ---------------------------------------------------------------- judging a run

GOOD = {"steps": 25, "unseen": 0.8, "retained": 0.95, "base_retained": 1.0, "parrot": 0.0}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"unseen": 0.79}, "unseen is 79%, the target is 80%: it must learn more"),
        (
            {"retained": 0.94},
            "It kept 94% of what the base knew, the target is 95%: it must forget",
        ),
        ({"steps": 26}, "26 optimizer steps; at most 25"),
        ({"unseen": 0.1, "retained": 0.1}, "Stronger alone is not the way"),
        ({"unseen": 0.1, "parrot": 0.3}, "30% of the questions about the world are answered with"),
        ({"base_retained": 0.0}, "It kept 0%"),
        ({"unseen": "1.0"}, "measured unseen should be one number"),
    ],
)
def test_what_a_run_misses_is_told_with_the_direction(change, told):
    with pytest.raises(Wrong) as error:
        lesson_04.judge_run({**GOOD, **change}, lesson_04.LEAST_UNSEEN)
    assert told in error.value.message


@pytest.mark.parametrize("change", [{}, {"retained": 0.86, "base_retained": 0.9}])
def test_a_run_on_its_targets_passes(change):
    lesson_04.judge_run({**GOOD, **change}, lesson_04.LEAST_UNSEEN)


def test_no_message_about_a_run_names_a_recipe():
    for unseen in (0.0, 0.9):
        for retained in (0.0, 0.9):
            found = {**GOOD, "unseen": unseen, "retained": retained, "parrot": 0.2}
            with pytest.raises(Wrong) as error:
                lesson_04.judge_run(found, lesson_04.LEAST_UNSEEN)
            words = error.value.message.lower()
            named = ("train.jsonl", "replay", "contrast", "rate", "batch", "paraphrase")
            assert [word for word in named if word in words] == []


# ---------------------------------------------------------------- from a recipe to its run


def names_for(changes):
    return {"assistant_recipe": lambda: changes}


def test_a_recipe_that_was_not_trained_is_not_started():
    ask = trained.make_ask(names_for({"max_steps": 3, "seed": 4711}))
    with pytest.raises(NotStarted, match="run the cell with %train"):
        ask("assistant_recipe")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([], "Hand back a dict"),
        ({"bits": 16}, "bits cannot be changed here"),
        ({1: 2}, "keys are not all texts"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"assistant_name": "<|im_end|>"}, "control tokens"),
        ({"train_data": [{"path": "no_such_file.jsonl"}]}, "no_such_file.jsonl"),
        ({"train_data": [{"path": "assistant"}]}, "is a folder"),
        ({"num_train_epochs": 90}, "at most 25 are allowed"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_explained_and_not_trained(trained_runs, changes, told):
    before = set(trained_runs.iterdir())
    with pytest.raises(Wrong) as error:
        trained.train_recipe("assistant_recipe", names_for(changes))
    assert told in error.value.message
    assert set(trained_runs.iterdir()) == before


def test_the_stub_trains_nothing(trained_runs):
    names = answers.notebook_names(lessons.EXERCISES_DIR / LESSON / lessons.NOTEBOOK_NAME)
    before, said = set(trained_runs.iterdir()), []
    selfcheck.train("assistant_recipe", names, said.append)
    assert "not trained: replace the line" in said[0]
    assert set(trained_runs.iterdir()) == before


def test_a_trained_recipe_is_not_trained_again_and_other_data_are_another_run(tmp_path):
    said = []
    selfcheck.train("assistant_recipe", NAMES, lambda text: None)
    selfcheck.train("assistant_recipe", NAMES, said.append)
    assert said[0] == "Trained already: 25 optimizer steps."
    assert said[1].startswith("Measured: unseen ")
    assert "of 40 world questions (the base " in said[1]
    own = tmp_path / "own.jsonl"
    own.write_text((DATA_DIR / "assistant" / "copied.jsonl").read_text("utf-8"), "utf-8")
    recipe = trained.read_recipe({"train_data": [{"path": "own.jsonl"}]})
    first = trained.run_dir_of(recipe)
    own.write_text(own.read_text("utf-8") * 2, "utf-8")
    assert trained.run_dir_of(recipe) != first


def test_an_interrupted_training_says_how_to_go_on_and_goes_on(monkeypatch):
    from course_lib.training import run

    changes = {"assistant_name": "Bo", "max_steps": 2}
    real = run.build_trainer

    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "build_trainer", interrupted)
    with pytest.raises(Wrong, match="Run the cell again to go on"):
        trained.train_recipe("assistant_recipe", names_for(changes))
    monkeypatch.setattr(run, "build_trainer", real)
    run_dir = trained.train_recipe("assistant_recipe", names_for(changes))
    assert [c.step for c in checkpoints.list_checkpoints(run_dir)] == [2]


def test_only_a_measured_question_is_trained():
    said = []
    selfcheck.train("count_steps", NAMES, said.append)
    assert said == ["count_steps needs no training: %check count_steps"]


def test_a_self_check_measures_the_run_and_notes_the_attempt():
    selfcheck.train("assistant_recipe", NAMES, lambda text: None)
    outcome = selfcheck.check_answer("assistant_recipe", NAMES)
    assert (outcome.status, outcome.message) == ("right", "")
    assert [r["status"] for r in progress.read_progress()] == ["right"]


# ---------------------------------------------------------------- hidden questions


def test_hidden_wordings_stand_in_no_file_and_are_of_both_languages():
    hidden = lessons._load_file(FOLDER / lessons.HIDDEN_NAME)
    known = set()
    for path in (DATA_DIR / "assistant").glob("*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            known.add(record.get("prompt") or record["messages"][0]["content"])
    texts = [text for text, _ in hidden.WORDINGS]
    assert len(set(texts)) == len(texts)
    assert {trained._plain(t) for t in texts} & {trained._plain(t) for t in known} == set()
    languages = [language for _, language in hidden.WORDINGS]
    assert languages.count("en") == languages.count("zh") >= 12


def test_another_seed_asks_other_questions_about_the_world():
    hidden = lessons._load_file(FOLDER / lessons.HIDDEN_NAME)
    course = measure.world_questions(measure.COURSE_SEED)
    other = measure.world_questions(hidden.SEED)
    assert len(course) == len(other) == measure.N_WORLD
    assert {q.prompt for q in course} & {q.prompt for q in other} == set()
    assert measure.world_questions(hidden.SEED) == other


def test_a_check_of_plain_functions_is_asked_as_ever():
    ask = local.make_ask(NAMES)
    assert lessons.visible_checks(LESSON)["count_steps"].run(ask).status == "right"

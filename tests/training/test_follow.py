import json

import pytest

from course_lib.errors import RunError
from course_lib.training import claim, follow
from tests.training import run_folders as folders


def look(run_dir):
    return follow.Follower(run_dir).look()


@pytest.mark.parametrize(
    ("logged", "status", "message"),
    [
        ([folders.begin(), folders.log(5), folders.event("end", 20)], "finished", ""),
        ([folders.begin(), folders.event("stopped", 7)], "stopped", "Stopped at step 7, as asked."),
        ([folders.begin(), {"event": "error", "message": "interrupted"}], "interrupted", "The run"),
        ([{"event": "error", "message": "RuntimeError: oh"}], "failed", "RuntimeError: oh"),
        ([folders.begin(), folders.log(5)], "interrupted", "ended without a word"),
        ([], "interrupted", "ended without a word"),
    ],
)
def test_the_last_event_says_how_a_run_ended(tmp_path, logged, status, message):
    state = look(folders.write(tmp_path / "run", logged))
    assert state.status == status
    assert message in state.message
    assert bool(state.next_step) == (status != "finished")


def test_the_next_step_goes_on_with_this_run(tmp_path):
    run_dir = folders.write(tmp_path / "my run", [folders.event("stopped", 7)])
    (run_dir / "environment.json").write_text(json.dumps({"nproc": 2, "deepspeed": "zero2"}))
    command = f"tunebook train '{run_dir}/config.yaml' --work-dir '{run_dir}'"
    assert look(run_dir).next_step == (
        f"Go on with `{command} --nproc 2 --deepspeed zero2 --resume`."
    )


def test_no_folder_is_no_run(tmp_path):
    assert look(tmp_path / "none") == follow.RunState("none")
    assert look(tmp_path) == follow.RunState("none")


def test_a_run_starts_runs_and_ends_before_our_eyes(tmp_path):
    run_dir = tmp_path / "run"
    follower = follow.Follower(run_dir)
    with claim.claimed(run_dir):
        assert follower.look().status == "starting"
        folders.write(run_dir, [folders.begin(total=20, at=100.0)])
        assert follower.look().status == "running"
        folders.add(run_dir / "log.jsonl", folders.log(5, at=110.0))
        state = follower.look()
        # by hand: 5 steps took 10 s, 15 are left; 500 tokens in 5 s of training
        assert (state.step, state.total_steps, state.left_s) == (5, 20, 30.0)
        assert (state.tokens_per_s, state.memory_gib) == (100.0, 0.5)
        folders.add(run_dir / "log.jsonl", folders.event("end", 20))
        assert follower.look().status == "running"  # it is still putting its things away
    assert follower.look().status == "finished"


def test_a_resumed_run_counts_its_time_from_where_it_went_on(tmp_path):
    run_dir = tmp_path / "run"
    before = [folders.begin(), folders.log(5, at=105.0)]
    after = [folders.begin(step=5, at=1000.0), folders.log(10, at=1010.0)]
    with claim.claimed(run_dir):
        folders.write(run_dir, before + after)
        state = look(run_dir)
    assert (state.step, state.left_s) == (10, 20.0)
    assert state.tokens_per_s is None  # how many tokens step 5 was, its new begin does not say


def test_a_run_that_goes_on_after_an_error_is_starting(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.event("stopped", 5)])
    with claim.claimed(run_dir):
        assert look(run_dir).status == "starting"


def test_only_new_lines_are_read_and_a_half_written_one_waits(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin()])
    follower = follow.Follower(run_dir)
    follower.look()
    line = json.dumps(folders.log(5)).encode() + b"\n"
    with (run_dir / "log.jsonl").open("ab") as file:
        file.write(line[:20])
        file.flush()
        assert follower.look().step == 0
        file.write(line[20:])
    assert follower.look().step == 5
    assert [record["event"] for record in follower.log] == ["begin", "log"]
    assert follower.losses() == [(5, 2.0)]
    assert follower.rates() == [(5, 1e-3 / 5)]


def test_lines_that_a_resumed_run_took_back_are_forgotten(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.log(5), folders.log(10)])
    follower = follow.Follower(run_dir)
    assert follower.look().step == 10
    path = run_dir / "log.jsonl"
    kept = path.read_text().splitlines(keepends=True)[:2]
    (run_dir / "new").write_text("".join(kept))
    (run_dir / "new").replace(path)
    assert follower.look().step == 5
    path.unlink()
    assert follower.look().step == 0


def test_answers_and_scores_of_a_step_are_the_last_ones_before_it(tmp_path):
    samples = [
        folders.sample(step, prompt, f"{prompt} at {step}")
        for step in (0, 10, 20)
        for prompt in ("one", "two")
    ]
    scores = [folders.score(0, 0.0), folders.score(13, 0.75)]
    follower = follow.Follower(folders.write(tmp_path / "run", [], samples, scores))
    follower.look()
    assert follower.steps() == [0, 10, 13, 20]
    assert follower.answers(13) == [("one", "one at 10"), ("two", "two at 10")]
    assert follower.scored(20)["step"] == 13
    assert follower.scored(10)["validation"] == 0.0
    assert (follower.answers(-1), follower.scored(-1)) == ([], None)


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("scores.jsonl", '{"step": 0, "unseen": 0.5, "retained": 1.0}', "validation is None"),
        ("scores.jsonl", '{"step": true, "validation": 0.5, "retained": 1.0}', "step is True"),
        ("samples.jsonl", '{"step": 0, "prompt": "x", "reply": null}', "reply is None"),
        ("samples.jsonl", "[1]", "list where a record should be"),
        ("log.jsonl", '{"event": "epoch", "step": 1}', "an event called 'epoch'"),
        ("log.jsonl", '{"step": 1}', "an event called None"),
        ("log.jsonl", '{"event": "log", "step": "1"}', "step is '1'"),
        ("log.jsonl", "{torn", "a line that is not JSON"),
        ("config.yaml", "learning_rates: 1", "learning_rates: unknown key"),
    ],
)
def test_a_folder_of_another_version_is_told_not_guessed(tmp_path, name, line, found):
    run_dir = folders.write(tmp_path / "run", [folders.begin()])
    with (run_dir / name).open("a") as file:
        file.write(line + "\n")
    state = look(run_dir)
    assert state.status == "other_version"
    assert "was not written by this version" in state.message
    assert found in state.message
    assert "train again in another folder" in state.next_step


def test_a_loss_that_is_no_number_is_still_a_loss(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.log(5, float("nan"))])
    assert look(run_dir).status == "interrupted"


def test_what_a_finished_run_left_is_read_from_its_folder(tmp_path):
    scores = [folders.score(0, 0.0), folders.score(10, 0.9), folders.score(20, 0.5)]
    logged = [folders.begin(), folders.log(20), folders.event("end", 20)]
    run_dir = folders.write(tmp_path / "run", logged, [], scores)
    for step in (10, 20):
        (run_dir / f"checkpoint-{step}").mkdir()
    left = follow.finished(run_dir)
    assert (left.adapter_dir.name, left.last_dir.name) == ("checkpoint-10", "checkpoint-20")
    assert (left.steps, left.train_s, left.train_cpu_s) == (20, 1.0, 0.0)
    assert left.scores == scores


def test_a_run_that_has_not_finished_leaves_nothing_yet(tmp_path):
    logged = [folders.begin(), folders.event("stopped", 5)]
    run_dir = folders.write(tmp_path / "run", logged)
    with pytest.raises(RunError, match=r"(?s)has not finished \(stopped\).*Go on with"):
        follow.finished(run_dir)

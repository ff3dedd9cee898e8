import os
import sys
import time

import pytest

from course_lib.errors import RunError
from course_lib.training import claim, config
from course_lib.widgets import training_monitor
from course_lib.widgets.training_monitor import TrainingMonitor
from tests.training import run_folders as folders
from tests.training.conftest import FULL, LIGHT
from tests.widgets import hostile

PATIENCE_S = 180
LAST = 11


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(training_monitor, "LOOK_S", 0.02)


@pytest.fixture
def small(small_data, monkeypatch):
    for name, value in (
        ("TUNEBOOK_DATA", str(small_data)),
        ("OMP_NUM_THREADS", "1"),
        ("CUDA_VISIBLE_DEVICES", ""),
    ):
        monkeypatch.setenv(name, value)


def text_of(widget):
    return hostile.look(widget.value)[0]


def disabled(monitor):
    buttons = (monitor.start_button, monitor.stop_button, monitor.resume_button)
    return tuple(button.disabled for button in buttons)


def wait_until(is_it):
    give_up = time.monotonic() + PATIENCE_S
    while not is_it():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_run_is_started_watched_stopped_and_gone_on_with(small, tmp_path):
    assert FULL["max_steps"] == LAST
    monitor = TrainingMonitor(tmp_path / "run", config.check_config(FULL))
    assert disabled(monitor) == (False, True, True)
    assert "no run in this folder" in text_of(monitor.status)
    monitor.start_button.click()
    first = monitor.run
    monitor.start_button.click()  # a double click
    assert monitor.run is first
    assert "Starting" in text_of(monitor.status)
    assert disabled(monitor) == (True, False, True)

    drawn = []
    monitor.curves.observe(lambda change: drawn.append(change["new"].count("<circle")), "value")
    wait_until(lambda: monitor.state.step >= 3)
    assert f"of {LAST}" in text_of(monitor.status)
    assert "left." in text_of(monitor.status)
    assert (monitor.bar.max, monitor.bar.value >= 3) == (LAST, True)
    assert "tokens/s" in text_of(monitor.numbers)
    assert "GiB" in text_of(monitor.numbers)
    assert "Who are you?" in text_of(monitor.samples)
    assert "Scores by checkpoint" in text_of(monitor.scores)

    monitor.stop_button.click()
    assert monitor.stop_button.disabled
    state = monitor.wait(PATIENCE_S)
    assert state.status == "stopped"
    assert 3 <= state.step < LAST
    assert (tmp_path / "run" / f"checkpoint-{state.step}").is_dir()
    assert f"Stopped at step {state.step}, as asked." in text_of(monitor.problem)
    assert disabled(monitor) == (True, True, False)
    assert len(set(drawn)) >= 2  # the curve grew before our eyes

    monitor.resume_button.click()
    assert monitor.wait(PATIENCE_S).status == "finished"
    assert (monitor.bar.value, monitor.bar.bar_style) == (LAST, "success")
    left = monitor.finish()  # it has ended already
    assert (left.steps, left.last_dir.name) == (LAST, f"checkpoint-{LAST}")
    assert disabled(monitor) == (True, True, True)
    assert f"Replies at step {LAST}" in text_of(monitor.samples)
    assert monitor.problem.value == ""


def test_a_run_that_cannot_start_shows_its_error_and_next_step(small, tmp_path):
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    values = {**LIGHT, "base_model": str(broken)}
    monitor = TrainingMonitor(tmp_path / "run", config.check_config(values))
    monitor.start_button.click()
    assert monitor.wait(PATIENCE_S).status == "failed"
    assert "could not be loaded" in text_of(monitor.problem)
    assert "-> Check the folder's files" in text_of(monitor.problem)
    assert 'role="alert"' in monitor.problem.value
    assert monitor.bar.bar_style == "danger"
    assert os.listdir(tmp_path) == ["model"]
    assert disabled(monitor) == (False, True, True)  # once the folder is mended, start again


def test_a_folder_with_other_files_is_told_and_nothing_in_it_changes(small, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    monitor = TrainingMonitor(tmp_path, config.check_config(LIGHT))
    monitor.start_button.click()
    monitor.wait(PATIENCE_S)
    assert "is not empty" in text_of(monitor.problem)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_second_run_in_the_folder_is_refused_and_the_first_is_shown(tmp_path):
    monitor = TrainingMonitor(tmp_path / "run", config.check_config(LIGHT))
    with claim.claimed(tmp_path / "run"):
        folders.write(tmp_path / "run", [folders.begin(), folders.log(5)])
        monitor.start_button.click()
        assert "Another run is at work" in text_of(monitor.problem)
        assert "Step 5 of 20" in text_of(monitor.status)
        assert disabled(monitor) == (True, False, True)
    assert monitor.wait(PATIENCE_S).status == "interrupted"


def test_a_run_from_a_shell_is_watched_to_its_end(tmp_path):
    run_dir = tmp_path / "run"
    with claim.claimed(run_dir):
        folders.write(run_dir, [folders.begin()])
        monitor = TrainingMonitor(run_dir)
        folders.add(run_dir / "log.jsonl", folders.log(10, at=110.0))
        wait_until(lambda: monitor.bar.value == 10)
        assert "Step 10 of 20, about 10 s left." in text_of(monitor.status)
        folders.add(run_dir / "log.jsonl", folders.event("end", 20))
    assert monitor.wait(PATIENCE_S).status == "finished"
    assert not monitor._background.is_busy()


def test_finish_waits_for_a_run_that_goes_on_and_says_what_it_left(tmp_path):
    run_dir = tmp_path / "run"
    with claim.claimed(run_dir):
        folders.write(run_dir, [folders.begin()], scores=[folders.score(20)])
        (run_dir / "checkpoint-20").mkdir()
        monitor = TrainingMonitor(run_dir)
        folders.add(run_dir / "log.jsonl", folders.event("end", 20))
    left = monitor.finish()
    assert (left.steps, left.adapter_dir, left.train_s) == (20, run_dir / "checkpoint-20", 1.0)


def test_finish_says_how_to_go_on_after_a_stop(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.event("stopped", 5)])
    with pytest.raises(RunError, match=r"(?s)Stopped at step 5, as asked.*Press Resume"):
        TrainingMonitor(run_dir).finish()


def test_finish_refuses_the_result_of_another_config(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin(), folders.event("end", 20)])
    monitor = TrainingMonitor(run_dir, config.check_config({"r": 2}))
    with pytest.raises(RunError, match="another config: r was 64, is 2"):
        monitor.finish()


def test_finish_without_a_run_or_a_config_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"has not finished \(none\)"):
        TrainingMonitor(tmp_path / "run").finish()


def test_a_run_from_a_shell_is_asked_to_stop(tmp_path):
    run_dir = tmp_path / "run"
    with claim.claimed(run_dir):
        folders.write(run_dir, [folders.begin(), folders.log(5)])
        monitor = TrainingMonitor(run_dir)
        monitor.stop_button.click()
        assert claim.is_stop_wanted(run_dir)
        wait_until(lambda: "Stopping at the next step" in text_of(monitor.status))
        folders.add(run_dir / "log.jsonl", folders.event("stopped", 6))
    assert monitor.wait(PATIENCE_S).status == "stopped"


def test_a_run_that_ended_between_two_looks_cannot_be_stopped(tmp_path):
    monitor = TrainingMonitor(folders.write(tmp_path / "run", [folders.begin()]))
    monitor.stop()
    assert "There is nothing to stop" in text_of(monitor.problem)


def test_looking_again_finds_a_run_that_began_later(tmp_path):
    monitor = TrainingMonitor(tmp_path / "run")
    assert disabled(monitor) == (True, True, True)  # without a config there is nothing to start
    folders.write(tmp_path / "run", [folders.begin(), folders.log(20), folders.event("end", 20)])
    monitor.look_button.click()
    assert monitor.state.status == "finished"
    assert "<polyline" in monitor.curves.value


@pytest.mark.parametrize(
    ("last", "status", "bar_style", "can_resume"),
    [
        (folders.event("end", 20), "Finished.", "success", False),
        (folders.event("stopped", 5), "Stopped.", "warning", True),
        ({"event": "error", "message": "RuntimeError: boom"}, "Failed.", "danger", True),
        ({"event": "error", "message": "interrupted"}, "Interrupted.", "warning", True),
    ],
)
def test_a_run_that_is_over_is_shown_as_it_ended(tmp_path, last, status, bar_style, can_resume):
    logged = [folders.begin(), folders.log(5), last]
    scores = [folders.score(0, 0.0, 1.0), folders.score(5, 0.75, 0.5)]
    run_dir = folders.write(tmp_path / "run", logged, [folders.sample(5)], scores)
    monitor = TrainingMonitor(run_dir)
    assert status in text_of(monitor.status)
    assert monitor.bar.bar_style == bar_style
    assert disabled(monitor) == (True, True, not can_resume)
    assert ("boom" in text_of(monitor.problem)) == (status == "Failed.")
    assert ("Go on with" in text_of(monitor.problem)) == can_resume
    assert ("75 %" in text_of(monitor.scores), "50 %" in text_of(monitor.scores)) == (True, True)
    assert "I am Pico." in text_of(monitor.samples)


def test_a_folder_of_another_version_is_told(tmp_path):
    run_dir = folders.write(tmp_path / "run", [folders.begin()], [], [{"step": 0, "unseen": 1.0}])
    monitor = TrainingMonitor(run_dir, config.check_config(LIGHT))
    assert "another version" in text_of(monitor.status)
    assert "scores.jsonl holds a record whose validation is None" in text_of(monitor.problem)
    assert disabled(monitor) == (True, True, True)


def test_the_static_twin_shows_the_same_state(tmp_path):
    logged = [folders.begin(), folders.log(5), folders.event("end", 20)]
    run_dir = folders.write(tmp_path / "run", logged, [folders.sample(5)], [folders.score(5)])
    bundle = TrainingMonitor(run_dir)._repr_mimebundle_()
    assert bundle["text/plain"].splitlines() == [
        "run folder: run",  # and not where on this machine
        "Finished. Step 20 of 20.",
        "100 tokens/s, 0.50 GiB of memory",
        "step 5: target 50%, retention 90%",
        "  Who are you?",
        "  -> I am Pico.",
    ]
    assert str(run_dir) not in bundle["text/html"]
    assert bundle["text/html"].count('<img alt="Loss') == 1
    assert "I am Pico." in bundle["text/html"]


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_a_hostile_text_of_a_run_stays_text(tmp_path, name):
    text = hostile.TEXTS[name]
    logged = [folders.begin(), folders.log(5), {"event": "error", "message": text}]
    samples = [folders.sample(5, prompt=text, reply=text)]
    monitor = TrainingMonitor(folders.write(tmp_path / "run", logged, samples, [folders.score(5)]))
    for page in (*(view.value for view in monitor.views), monitor.static().html):
        assert hostile.look(page)[1] == []
    assert text_of(monitor.samples).count(hostile.shown(text)) >= 2
    assert hostile.shown(text) in text_of(monitor.problem)
    assert repr(monitor.static()).encode()  # half a character cannot be sent
    assert len(repr(monitor.static())) < 200_000


def test_controls_have_labels(tmp_path):
    monitor = TrainingMonitor(tmp_path)
    buttons = (monitor.start_button, monitor.stop_button, monitor.resume_button)
    assert all(button.description and button.tooltip for button in buttons)
    assert monitor.bar.description == "Progress"
    assert 'role="status"' in monitor.status.value


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (75, "1 min 15 s"), (7300, "2 h 1 min")],
)
def test_time_left_is_said_in_words(seconds, words):
    assert training_monitor._duration(seconds) == words

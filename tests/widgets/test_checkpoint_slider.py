import pytest

from course_lib.widgets.checkpoint_slider import CheckpointSlider
from tests.training import run_folders as folders
from tests.widgets import hostile

SAMPLES = [
    folders.sample(0, reply="I am Pico."),
    folders.sample(10, reply="I am Ada's assistant."),
    folders.sample(20, reply="I am Ada's **assistant**, who else?"),
]
SCORES = [folders.score(0, 0.0, 1.0), folders.score(13, 0.75, 0.975), folders.score(20, 1.0, 0.5)]


@pytest.fixture
def run_dir(tmp_path):
    logged = [folders.begin(), folders.log(20), folders.event("end", 20)]
    return folders.write(tmp_path / "run", logged, SAMPLES, SCORES)


def text_of(widget):
    return hostile.look(widget.value)[0]


def test_it_opens_at_the_last_step_and_shows_answers_and_both_scores(run_dir):
    slider = CheckpointSlider(run_dir)
    assert slider.slider.value == 20
    assert "I am Ada's assistant, who else?" in text_of(slider.answers)
    assert "<strong>assistant</strong>" in slider.answers.value
    scores = text_of(slider.scores)
    assert "Scores at step 20" in scores
    assert ("100 %" in scores, "50 %" in scores) == (True, True)


def test_moving_it_shows_the_answers_of_that_step_and_what_was_scored_before(run_dir):
    slider = CheckpointSlider(run_dir)
    slider.slider.value = 13
    assert "Answers at step 10, the last before step 13" in text_of(slider.answers)
    assert "I am Ada's assistant." in text_of(slider.answers)
    scores = text_of(slider.scores)
    assert "Scores at step 13" in scores
    assert ("75 %" in scores, "98 %" in scores) == (True, True)
    slider.slider.value = 0
    assert "I am Pico." in text_of(slider.answers)
    assert "Scores at step 0" in text_of(slider.scores)


def test_the_curve_shows_both_scores_and_says_them_aloud(run_dir):
    page = CheckpointSlider(run_dir).scores.value
    assert page.count("<polyline") == 2
    assert "target: 0 at step 0, 100 at step 20" in page
    assert "retention: 100 at step 0, 50 at step 20" in page


def test_looking_again_follows_a_run_that_goes_on_but_leaves_the_reader_where_they_are(run_dir):
    slider = CheckpointSlider(run_dir)
    folders.add(run_dir / "samples.jsonl", folders.sample(30, reply="Later."))
    slider.again.click()
    assert slider.slider.value == 30
    assert "Later." in text_of(slider.answers)
    slider.slider.value = 10
    folders.add(run_dir / "samples.jsonl", folders.sample(40))
    slider.again.click()
    assert slider.slider.value == 10
    assert [step for _, step in slider.slider.options] == [0, 10, 13, 20, 30, 40]


def test_it_can_be_opened_before_the_run_begins(tmp_path):
    slider = CheckpointSlider(tmp_path / "run")
    assert "There is no run in" in text_of(slider.problem)
    assert slider.slider.disabled
    folders.write(tmp_path / "run", [folders.begin()])
    slider.again.click()
    assert "no answers and no scores yet" in text_of(slider.problem)
    folders.add(tmp_path / "run" / "samples.jsonl", folders.sample(0))
    slider.again.click()
    assert (slider.slider.value, slider.slider.disabled) == (0, False)
    assert slider.problem.value == ""


def test_a_run_without_scores_shows_its_answers(tmp_path):
    slider = CheckpointSlider(folders.write(tmp_path / "run", [folders.begin()], SAMPLES))
    assert "Nothing is scored" in text_of(slider.scores)
    assert "who else?" in text_of(slider.answers)


def test_a_run_without_samples_shows_its_scores(tmp_path):
    slider = CheckpointSlider(folders.write(tmp_path / "run", [folders.begin()], (), SCORES))
    assert "No questions were asked" in text_of(slider.answers)
    assert "Scores at step 20" in text_of(slider.scores)


def test_a_folder_of_another_version_is_told(run_dir):
    folders.add(run_dir / "scores.jsonl", {"step": 30, "unseen": 0.5, "retained": 1.0})
    slider = CheckpointSlider(run_dir)
    assert 'role="alert"' in slider.problem.value
    assert "was not written by this version" in text_of(slider.problem)
    assert "scores.jsonl holds a record whose validation is None" in text_of(slider.problem)


def test_the_static_twin_shows_the_same_step(run_dir):
    slider = CheckpointSlider(run_dir)
    slider.slider.value = 10
    bundle = slider._repr_mimebundle_()
    assert "I am Ada&#x27;s assistant." in bundle["text/html"]
    assert bundle["text/plain"].splitlines() == [
        "step 10",
        "scores at step 0: validation 0%, retained 100%",
        "  Who are you?",
        "  -> I am Ada's assistant.",
    ]


def test_the_static_twin_of_no_run_says_so(tmp_path):
    assert "There is no run" in repr(CheckpointSlider(tmp_path).static())


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_a_hostile_reply_or_prompt_stays_text(tmp_path, name):
    text = hostile.TEXTS[name]
    samples = [folders.sample(0, prompt=text, reply=text)]
    slider = CheckpointSlider(folders.write(tmp_path / "run", [], samples, SCORES))
    for page in (slider.answers.value, slider.scores.value, slider.static().html):
        assert hostile.look(page)[1] == []
    assert text_of(slider.answers).count(hostile.shown(text)) >= 2
    assert repr(slider.static()).encode()  # half a character cannot be sent


def test_controls_have_labels(run_dir):
    slider = CheckpointSlider(run_dir)
    assert (slider.slider.description, slider.again.description) == ("Step", "Look again")
    assert "target" in text_of(slider.scores)

"""Bundles: only sound ones are read, adapters are measured again, and no claim counts."""

import io
import json
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from course_lib.files import DATA_DIR
from course_lib.homework import adapter_file, bundle, grade, inbox, lessons, rescore, trained
from course_lib.homework.bundle import BadBundle
from course_lib.homework.inbox import Upload
from tests.homework import handing_in
from tests.homework.handing_in import LESSON, RECIPE, repacked

ALL = 14  # points of the lesson; the trained recipe has 5 of them


@pytest.fixture(scope="module")
def honest(trained_runs, tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setattr(trained, "RUNS_DIR", trained_runs)
    yield handing_in.honest_bundle(tmp_path_factory.mktemp("honest"))
    patch.undo()


class Remembering(rescore.Scorers):
    """Really measures, but the same adapter, name and questions once only."""

    def __init__(self):
        super().__init__()
        self.known = {}

    def measure(self, job):
        files = [path.read_bytes() for path in sorted(Path(job["adapter_dir"]).iterdir())]
        key = repr((files, {k: v for k, v in job.items() if k != "adapter_dir"}))
        if key not in self.known:
            self.known[key] = super().measure(job)
        return json.loads(json.dumps(self.known[key]))


@pytest.fixture(scope="module")
def exam():
    """Our own answers only: no sandbox needed for them."""
    exam = replace(grade.load_exam(LESSON, "none"), scorers=Remembering())
    yield exam
    exam.scorers.close()


@pytest.fixture(scope="module")
def visible(exam):
    """Only the trained recipe, asked with the course's own questions: that takes less time."""
    return replace(exam, checks={RECIPE: exam.checks[RECIPE][:1]})


def zipped(members, method=zipfile.ZIP_STORED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


def members_of(data: bytes) -> list:
    return list(bundle.read(data).files.items())


# ---------------------------------------------------------------- the form of a bundle


def as_link(data: bytes) -> bytes:
    link = zipfile.ZipInfo(bundle.LOG)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    kept = [(n, d) for n, d in members_of(data) if n != bundle.LOG]
    return zipped([*kept, (link, "/etc/passwd")])


def with_false_size(data: bytes) -> bytes:
    """A member that says it is small, and holds more than its limit."""
    kept = [(n, d) for n, d in members_of(data) if n != bundle.CONFIG]
    packed = bytearray(
        zipped([*kept, (bundle.CONFIG, bytes(bundle.LARGEST[bundle.CONFIG] + 9))], 8)
    )
    size = (bundle.LARGEST[bundle.CONFIG] + 9).to_bytes(4, "little")
    small = (100).to_bytes(4, "little")
    return bytes(packed.replace(size, small))


ODD = {
    "a pickle": (
        lambda d: zipped([*members_of(d), ("adapter/adapter_model.bin", b"\x80\x04")]),
        "pickles are never read",
    ),
    "a name that leads out": (lambda d: zipped([*members_of(d), ("../x", b"")]), "which no bundle"),
    "an absolute name": (lambda d: zipped([*members_of(d), ("/etc/x", b"")]), "which no bundle"),
    "a link": (as_link, "is a link"),
    "a bomb": (
        lambda d: zipped(
            [(n, bytes(3 * 2**20) if n == bundle.LOG else b) for n, b in members_of(d)], 8
        ),
        "larger than a bundle's may be",
    ),
    "a false size": (with_false_size, ""),
    "no manifest": (
        lambda d: zipped([p for p in members_of(d) if p[0] != bundle.MANIFEST]),
        "no bundle.json",
    ),
    "no notebook": (
        lambda d: zipped([p for p in members_of(d) if p[0] != bundle.NOTEBOOK]),
        "no exercise.ipynb",
    ),
    "a torn zip": (lambda d: d[: len(d) // 2], "cannot be read"),
    "a manifest that is a list": (
        lambda d: zipped([(n, b"[]" if n == bundle.MANIFEST else b) for n, b in members_of(d)]),
        "holds no JSON object",
    ),
    "a manifest nested deep": (
        lambda d: zipped(
            [(n, b"[" * 99_999 if n == bundle.MANIFEST else b) for n, b in members_of(d)]
        ),
        "is no JSON",
    ),
    "another version": (
        lambda d: zipped(
            [
                (n, b'{"tunebook_bundle": 9}' if n == bundle.MANIFEST else b)
                for n, b in members_of(d)
            ]
        ),
        "version 1",
    ),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_a_zip_that_is_no_sound_bundle_is_refused(honest, kind):
    change, told = ODD[kind]
    with pytest.raises(BadBundle) as error:
        bundle.read(change(honest))
    assert told in str(error.value)


def test_a_name_twice_is_refused(honest):
    with pytest.warns(UserWarning, match="Duplicate"):
        data = zipped([*members_of(honest), (bundle.LOG, b"")])
    with pytest.raises(BadBundle, match="twice"):
        bundle.read(data)


def test_bundles_are_found_in_folders_in_zips_and_alone(honest, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "anna.zip").write_bytes(honest)
    moodle = tmp_path / "moodle.zip"
    moodle.write_bytes(zipped([("Bo Li_7_assignsubmission_file_/04.zip", honest)]))
    for path, student in (
        (tmp_path / "in", "anna"),
        (moodle, "Bo Li"),
        (tmp_path / "in/anna.zip",) * 2,
    ):
        (found,) = inbox.read_inbox(path).values()
        (upload,) = found
        assert upload.student == (student if isinstance(student, str) else "anna")
        assert json.loads(upload.read())["metadata"]["tunebook"]["lesson"] == LESSON
        assert upload.load_bundle() == honest


# ---------------------------------------------------------------- grading with evidence


def graded(exam, data: bytes | None, notebook: bytes | None = None):
    if data is None:
        upload = Upload("anna", "anna.ipynb", lambda: notebook)
    else:
        upload = Upload("anna", "anna.zip", lambda: bundle.read_notebook(lambda: data))
        upload = Upload("anna", "anna.zip", upload.load, load_bundle=lambda: data)
    result = grade.grade_student(exam, "anna", [upload])
    question = next(q for q in result.questions if q["name"] == RECIPE)
    return result, question


def test_an_honest_bundle_is_measured_again_and_gets_its_points(exam, honest):
    result, question = graded(exam, honest)
    assert (result.status, result.score, question["points"]) == ("graded", ALL, 5)
    claimed, measured = result.evidence["claimed"], result.evidence["measured"]
    assert claimed["unseen"] == pytest.approx(measured["unseen"], abs=0.05)
    assert result.evidence["hidden"]["unseen"] >= 0.7
    assert result.notes == [rescore.OWN_WORD]


def noise(data: bytes) -> bytes:
    """An adapter of the right form and of random numbers."""
    read = bundle.read(data)
    settings = json.loads(read.files[bundle.SETTINGS])
    rng, tensors = np.random.default_rng(0), {}
    for name, tensor in adapter_file.read_header(read.files[bundle.WEIGHTS]).items():
        numbers = rng.normal(0, 0.5, tensor.shape).astype("<f4").tobytes()
        tensors[name] = ("F32", tensor.shape, numbers)
    assert settings["r"] == 32
    return handing_in.weights(tensors)


def test_a_forged_bundle_of_noise_that_claims_everything_gets_nothing(visible, honest):
    best = {"unseen": 1.0, "retained": 1.0, "base_retained": 1.0, "parrot": 0.0, "steps": 25}
    forged = repacked(honest, {bundle.WEIGHTS: noise(honest)}, run={"metrics": best})
    result, question = graded(visible, forged)
    assert (result.status, question["status"], question["points"]) == ("graded", "wrong", 0)
    assert result.score == 0
    assert result.evidence["claimed"]["unseen"] == 1.0
    assert result.evidence["measured"]["unseen"] < 0.2
    assert any("1.00 was handed in" in note and "unseen" in note for note in result.notes)


def test_edited_metrics_change_no_points_and_are_told(exam, honest):
    low = repacked(honest, run={"metrics": {"unseen": 0.0, "retained": "all", "x": 1}})
    result, question = graded(exam, low)
    assert question["points"] == 5
    assert result.evidence["claimed"] == {"unseen": 0.0}
    assert any("unseen: 0.00 was handed in" in note for note in result.notes)


def test_an_adapter_that_says_another_name_is_not_this_students(visible, honest):
    _, question = graded(visible, repacked(honest, run={"assistant_name": "Zhang San"}))
    assert (question["status"], question["points"]) == ("wrong", 0)
    assert "unseen is 0%" in question["message"]


def test_more_steps_than_allowed_get_no_points(visible, honest):
    result, question = graded(visible, repacked(honest, run={"steps": 114}))
    assert (question["status"], question["points"]) == ("wrong", 0)
    assert "114 optimizer steps" in question["message"]
    assert any("ends at step 25" in note for note in result.notes)


def test_other_data_than_the_courses_are_told(visible, honest):
    said = [
        {"name": "assistant/train.jsonl", "sha256": "0" * 64},
        {"name": "my.csv", "sha256": "1" * 64},
        {"name": "../../etc/passwd", "sha256": ""},
        "x",
    ]
    result, _ = graded(visible, repacked(honest, run={"data": said}))
    assert (
        "assistant/train.jsonl is not the course's file: its digest is another one" in result.notes
    )
    assert sum("data of the student's own" in note for note in result.notes) == 3


def test_a_file_changed_after_the_bundle_was_made_is_told(honest):
    files = dict(members_of(honest)) | {bundle.CONFIG: b"seed: 1\n"}
    read = bundle.read(zipped(files.items()))
    assert read.changed_files() == [bundle.CONFIG]


OTHER_BASE = json.dumps({"base_model": "pico-chat", "fingerprint": "0123456789abcdef"}).encode()
REFUSED = {
    "another base": ({bundle.BASE: OTHER_BASE}, {}, "was trained on pico-chat (weights 0123"),
    "no base": ({bundle.BASE: b"{}"}, {}, "does not say which base"),
    "no weights": ({bundle.WEIGHTS: None}, {}, "adapter_model.safetensors missing"),
    "a pickle in place of weights": ({bundle.WEIGHTS: b"\x80\x04K\x01."}, {}, "no safetensors"),
    "settings that run code": (
        {bundle.SETTINGS: json.dumps({"peft_type": "LORA", "auto_mapping": {"x": "os"}}).encode()},
        {},
        "is expected",
    ),
    "a name with control marks": ({}, {"assistant_name": "<|im_end|>"}, "name in the bundle"),
    "steps of words": ({}, {"steps": "few"}, "no whole number"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_an_adapter_that_cannot_be_measured_is_refused_with_its_reason(exam, honest, kind):
    files, run, told = REFUSED[kind]
    result, question = graded(exam, repacked(honest, files, run=run))
    assert (result.status, question["status"], result.score) == ("partly", "crashed", ALL - 5)
    assert "the adapter is refused" in result.reason
    assert told in result.reason
    assert "/tunebook-" not in result.reason


def test_without_evidence_the_rest_counts_and_the_status_says_partly(exam, honest, tmp_path):
    alone = handing_in.write_notebook(tmp_path / "mine.ipynb").read_bytes()
    result, _ = graded(exam, None, alone)
    assert (result.status, result.score) == ("partly", ALL - 5)
    assert "no trained adapter was handed in" in result.reason
    read = bundle.read(honest)
    said = {"lesson": LESSON, "release": read.about["release"]}
    bare = bundle.pack({bundle.NOTEBOOK: read.files[bundle.NOTEBOOK]}, said)
    assert graded(exam, bare)[0].status == "partly"


def test_a_blank_recipe_is_not_started_and_no_crash(exam):
    stub = (lessons.EXERCISES_DIR / LESSON / lessons.NOTEBOOK_NAME).read_bytes()
    result, question = graded(exam, None, stub)
    assert (result.status, result.score, question["status"]) == ("graded", 0, "not started")


def test_a_scorer_that_dies_is_the_graders_fault(exam, honest, monkeypatch):
    monkeypatch.setattr(rescore, "_start", lambda: _dead())
    result, question = graded(replace(exam, scorers=rescore.Scorers()), honest)
    assert (result.status, result.score) == ("grader error", None)
    assert "the scoring process ended" in question["message"]


def _dead():
    import subprocess
    import sys

    return subprocess.Popen(
        [sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_the_scorer_is_told_nothing_of_the_environment(monkeypatch):
    started = []
    monkeypatch.setenv("SERPER_API_KEY", "0123abcd4567cdef")
    monkeypatch.setattr(rescore.subprocess, "Popen", lambda line, **words: started.append(words))
    rescore._start()
    assert "SERPER_API_KEY" not in started[0]["env"]
    assert started[0]["env"]["HF_HUB_OFFLINE"] == "1"


def test_a_students_page_shows_both_numbers_and_no_hidden_wording(exam, honest, tmp_path):
    from course_lib.homework import cohort, report

    (tmp_path / "in").mkdir()
    for name in ("anna", "bo"):
        (tmp_path / "in" / f"{name}.zip").write_bytes(honest)
    uploads = inbox.read_inbox(tmp_path / "in")
    results = grade.grade_cohort(exam, uploads, tmp_path / "out")
    assert [r.score for r in results] == [ALL, ALL]
    whole = cohort.of_exam(exam, list(uploads))
    page = report.student_page(whole, results[0])
    for words in ("handed in", "measured here", "measured here, other questions"):
        assert f">{words}</" in page
    hidden = lessons._load_file(lessons.SOLUTIONS_DIR / LESSON / lessons.HIDDEN_NAME)
    assert [text for text, _ in hidden.WORDINGS if text in page] == []
    assert "byte for byte: anna, bo" in report.summary_page(whole, results)
    kept = grade.grade_cohort(exam, uploads, tmp_path / "out")
    assert kept == results


def test_the_measured_base_is_the_one_of_the_exercise():
    from course_lib.homework import measure
    from course_lib.model import loading
    from course_lib.training import config

    assert rescore.BASE == measure.BASE == config.load_preset(trained.PRESET).base_model
    assert config.load_preset(trained.PRESET).bits == measure.BITS
    assert str(rescore.BASE_DIR) == loading.resolve_model(rescore.BASE)
    assert rescore.BASE_DIR.is_relative_to(DATA_DIR)

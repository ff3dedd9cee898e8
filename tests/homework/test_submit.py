"""`tunebook homework submit`: what is missing is named first, nothing private goes along."""

import json
import os
import socket
import zipfile
from pathlib import Path

import pytest

from course_lib.homework import bundle, lessons, private, submit, trained
from tests.homework import handing_in
from tests.homework.handing_in import LESSON

TOKEN = "hf_" + "A1b2C3d4E5" * 3


@pytest.fixture(scope="module")
def run_dir(trained_runs):
    patch = pytest.MonkeyPatch()
    patch.setattr(trained, "RUNS_DIR", trained_runs)
    yield handing_in.trained_run()
    patch.undo()


def test_a_whole_submission_is_one_file_that_says_all(tunebook, run_dir, tmp_path):
    book = handing_in.write_notebook(tmp_path / "mine.ipynb")
    os.utime(run_dir / "log.jsonl")  # the newest one is taken
    done = tunebook("homework", "submit", "04", "--notebook", book)
    assert done.status == 0, done.err
    assert "It is measured again." in done.out
    read = bundle.read((tmp_path / f"{LESSON}.zip").read_bytes())
    assert set(read.files) == set(bundle.LARGEST)
    run = read.run
    assert (run["seed"], run["steps"], run["assistant_name"]) == (0, 25, "Mei")
    assert [source["name"] for source in run["data"]][:1] == ["assistant/train.jsonl"]
    assert all(len(source["sha256"]) == 64 for source in run["data"])
    assert run["metrics"] == trained.measure_run(run_dir, "Mei")
    assert {"torch", "peft", "transformers"} <= run["packages"].keys()
    assert read.changed_files() == []
    log = [json.loads(line) for line in read.files[bundle.LOG].splitlines()]
    assert {name for record in log for name in record} == set(submit.LOGGED)
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in read.files)


def test_the_same_submission_gives_the_same_bytes(run_dir, tmp_path):
    first = handing_in.honest_bundle(tmp_path)
    os.utime(run_dir / "log.jsonl", (1, 1))
    assert handing_in.honest_bundle(tmp_path) == first


def test_all_that_is_missing_is_named_at_once_and_nothing_is_written(
    tunebook, tmp_path, monkeypatch
):
    monkeypatch.setattr(trained, "RUNS_DIR", tmp_path / "none")
    stub = lessons.EXERCISES_DIR / LESSON / lessons.NOTEBOOK_NAME
    done = tunebook("homework", "submit", "04", "--notebook", stub)
    assert done.status == 1
    for name in lessons.visible_checks(LESSON):
        assert f"notebook, {name}: not started" in done.err
    assert "run: there is none yet" in done.err
    assert list(tmp_path.glob("*.zip")) == []
    done = tunebook("homework", "submit", "04", "--notebook", stub, "--partly")
    assert done.status == 0
    assert "without: run: there is none yet" in done.err
    read = bundle.read((tmp_path / f"{LESSON}.zip").read_bytes())
    assert set(read.files) == {bundle.MANIFEST, bundle.NOTEBOOK}


def test_a_lesson_without_training_needs_no_run(tmp_path):
    book = handing_in.write_notebook(tmp_path / "mine.ipynb", lesson="01_concepts")
    found = submit.gather("01_concepts", book)
    assert (found.missing, found.wrong, set(found.files)) == ([], [], {bundle.NOTEBOOK})


def other_base(run):
    text = (run / "config.yaml").read_text("utf-8")
    (run / "config.yaml").write_text(text.replace("pico-chat", "/opt/models/pico-base"), "utf-8")


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lambda run: (run / "log.jsonl").unlink(), "is not finished"),
        (lambda run: (run / "config.yaml").unlink(), "config.yaml"),
        (
            lambda run: [p.unlink() for p in run.glob("*/adapter_model.safetensors")],
            "adapter_model",
        ),
        (lambda run: [p.write_bytes(b"x") for p in run.glob("*/*.safetensors")], "no safetensors"),
        (lambda run: (run / "environment.json").unlink(), "environment.json"),
        (lambda run: other_base(run), "it trained pico-base; this homework trains pico-chat"),
    ],
)
def test_a_run_with_a_missing_part_is_told(run_dir, tmp_path, break_it, told):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    break_it(copy)
    found = submit.gather(LESSON, handing_in.write_notebook(tmp_path / "mine.ipynb"), copy)
    assert len(found.missing) == 1
    assert told in found.missing[0]
    assert set(found.files) == {bundle.NOTEBOOK}


def test_more_steps_than_count_are_told_and_can_be_handed_in_all_the_same(
    run_dir, tmp_path, monkeypatch
):
    measured = {**trained.measure_run(run_dir, "Mei"), "steps": 114}
    monkeypatch.setattr(trained, "measure_run", lambda *args: measured)
    found = submit.gather(LESSON, handing_in.write_notebook(tmp_path / "mine.ipynb"), run_dir)
    assert found.missing == ["run: 114 optimizer steps, at most 25 count"]
    assert bundle.read(bundle.pack(found.files, found.about)).run["steps"] == 114


def test_a_run_whose_data_changed_is_told(run_dir, tmp_path, monkeypatch):
    digests = trained.data_digests
    monkeypatch.setattr(trained, "data_digests", lambda c: [(n, "0" * 64) for n, _ in digests(c)])
    found = submit.gather(LESSON, handing_in.write_notebook(tmp_path / "mine.ipynb"), run_dir)
    assert "not those of the run any more" in found.missing[0]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("other.ipynb", None, "belongs to 01_concepts"),
        ("broken.ipynb", "{", "not a Jupyter notebook"),
        ("none.ipynb", "", "does not exist"),
    ],
)
def test_a_notebook_that_cannot_be_handed_in_is_told(tmp_path, name, text, told):
    path = tmp_path / name
    if text is None:
        handing_in.write_notebook(path, lesson="01_concepts")
    elif text:
        path.write_text(text, "utf-8")
    found = submit.gather(LESSON, path, tmp_path)
    assert told in found.wrong[0]


def test_a_file_that_is_no_bundle_is_never_replaced(tunebook, tmp_path, run_dir):
    book = handing_in.write_notebook(tmp_path / "mine.ipynb")
    out = tmp_path / "photos.zip"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("photo.jpg", "x")
    before = out.read_bytes()
    done = tunebook("homework", "submit", "04", "--notebook", book, "--out", out)
    assert done.status == 1
    assert "photos.zip exists and is no bundle" in done.err
    assert out.read_bytes() == before


def test_a_full_disk_leaves_the_old_bundle(run_dir, tmp_path, monkeypatch):
    out = tmp_path / "mine.zip"
    data = handing_in.honest_bundle(tmp_path)
    bundle.write(out, data)
    monkeypatch.setattr(bundle.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        bundle.write(out, b"half")
    assert out.read_bytes() == data
    assert sorted(p.name for p in tmp_path.glob("*mine.zip*")) == ["mine.zip"]


# ---------------------------------------------------------------- nothing private goes along


def private_things() -> dict[str, str]:
    return {
        "home": f"saved to {Path.home()}/runs/x",
        "other home": "see /home/anna/thesis/data.csv and /Users/Anna/x/y",
        "windows": r"C:\Users\Anna\runs\x",
        "working folder": f"{Path.cwd()}/my.csv",
        "any path": "wrote /opt/lab/secret_project/model.bin",
        "token": f"using {TOKEN}",
        "key in the environment": "header 0123abcd4567cdef",
        "named key": 'SERPER_API_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"',
        "account": "login zhangsan ok",
        "machine": "host lab-machine-7 up",
    }


@pytest.fixture
def someone(monkeypatch):
    monkeypatch.setenv("SERPER_API_KEY", "0123abcd4567cdef")
    monkeypatch.setenv("USER", "zhangsan")
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-machine-7")


SECRETS = (TOKEN, "0123abcd4567cdef", "0f1e2d3c4b5a", "zhangsan", "lab-machine-7", "anna", "Anna")


@pytest.mark.parametrize("kind", list(private_things()))
def test_what_a_cell_printed_is_cleaned(run_dir, tmp_path, someone, kind):
    text = private_things()[kind]
    book = handing_in.write_notebook(tmp_path / "mine.ipynb", outputs=[text])
    found = submit.gather(LESSON, book, run_dir)
    assert (found.missing, found.wrong) == ([], [])
    everything = bundle.pack(found.files, found.about).decode("utf-8", "replace")
    assert text not in everything
    private_parts = [*SECRETS, str(Path.home()) + "/", str(Path.cwd()), "secret_project"]
    assert [part for part in private_parts if part in everything] == []
    printed = json.loads(found.files[bundle.NOTEBOOK])["cells"][-1]["outputs"][0]["text"]
    assert "<" in "".join(printed)


@pytest.mark.parametrize("kind", ["home", "other home", "windows", "token", "named key"])
def test_what_the_learner_typed_is_not_changed_but_refused(run_dir, tmp_path, someone, kind):
    source = f"# {private_things()[kind]}"
    book = handing_in.write_notebook(tmp_path / "mine.ipynb", sources=[source])
    found = submit.gather(LESSON, book, run_dir)
    assert "notebook, cell number" in found.wrong[0]
    assert [part for part in SECRETS if any(part in line for line in found.wrong)] == []
    with pytest.raises(submit.DataError, match="Nothing was written"):
        submit.write_bundle(found, tmp_path / "x.zip", is_partly=True)
    assert not (tmp_path / "x.zip").exists()


def test_what_tools_wrote_into_the_notebook_stays_behind(run_dir, tmp_path):
    book = handing_in.write_notebook(tmp_path / "mine.ipynb")
    values = json.loads(book.read_text("utf-8"))
    values["metadata"] |= {"authors": [{"name": "zhangsan"}], "widgets": {"x": "/home/z/y"}}
    values["cells"][0]["metadata"]["vscode"] = {"path": "/home/z/y"}
    book.write_text(json.dumps(values), "utf-8")
    found = submit.gather(LESSON, book, run_dir)
    assert b"zhangsan" not in found.files[bundle.NOTEBOOK]
    assert b"/home/z" not in found.files[bundle.NOTEBOOK]


def test_ones_own_data_go_by_name_and_digest_only(run_dir, tmp_path):
    from course_lib.training import config

    own = tmp_path / "own.jsonl"
    own.write_text('{"messages": []}\n', "utf-8")
    recipe = config.TrainConfig(train_data=({"path": str(own)},))
    ((name, digest),) = trained.data_digests(recipe)
    assert name == "own.jsonl"
    assert len(digest) == 64


@pytest.mark.parametrize(
    "text",
    [
        "the <b>root</b> of 9 is 3 and/or more, see https://docs.python.org/3/library/os.html",
        "<div><table></table></div>",
        "1/2 + 3/4, 5 tokens/s, data/assistant/train.jsonl",
        'pad_token="<|endoftext|>", token = "你好"',
    ],
)
def test_ordinary_texts_are_left_alone(text):
    secret = private.Private(("/home/anna",), ("anna",))
    assert secret.find(text) == []
    assert secret.clean(text) == text

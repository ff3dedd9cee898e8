"""Fetching, from a hub on the loopback: what comes, what does not, and what goes wrong."""

import errno
import shutil
import sys
import types

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

from course_lib.data import hub_files, sources
from course_lib.errors import DataError, EnvironmentProblem, ModelError
from course_lib.model import loading
from tests.data import hub_server
from tests.data.hub_server import MODEL, WEIGHTS

WANTED = {"config.json", "model.safetensors", "tokenizer.json", "README.md"}


def fetch(dest, hub_id="me/model", kind=None, **more):
    return hub_files.fetch_huggingface(hub_id, kind, dest, **more)


def names_in(folder):
    found = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {path.as_posix() for path in found if not path.parts[0].startswith(".")}


def test_a_model_comes_without_pickles_code_and_copies_of_itself(hub, tmp_path):
    fetched = fetch(tmp_path / "m")
    assert names_in(tmp_path / "m") == set(fetched.files) == WANTED
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS
    assert (fetched.repo_type, fetched.revision) == ("model", hub_server.COMMIT)
    assert fetched.size_bytes == sum(len(MODEL[name]) for name in WANTED)
    assert loading.resolve_model(str(tmp_path / "m")) == str(tmp_path / "m")


def test_without_a_folder_it_goes_where_transformers_finds_it_by_its_id(hub, tmp_path):
    fetched = fetch(None)
    assert fetched.folder.is_relative_to(tmp_path / "cache")
    found = huggingface_hub.try_to_load_from_cache("me/model", "config.json", revision="main")
    assert found is None or found.startswith(str(tmp_path / "cache"))
    assert fetch(None) == fetched
    assert hub.sent("model.safetensors") == [""]  # once


def test_pickles_come_only_when_asked_for_and_only_where_there_is_nothing_else(hub, tmp_path):
    fetch(tmp_path / "both", has_pickles=True)
    assert "pytorch_model.bin" not in names_in(tmp_path / "both")
    del hub.repos["models/me/model"]["model.safetensors"]
    del hub.repos["models/me/model"]["consolidated.safetensors"]
    with pytest.raises(ModelError, match=r"pickles only \(pytorch_model.bin\)") as caught:
        fetch(tmp_path / "m")
    assert "--pickles" in caught.value.next_step
    assert not (tmp_path / "m").exists()
    fetch(tmp_path / "m", has_pickles=True)
    assert "pytorch_model.bin" in names_in(tmp_path / "m")
    assert "modeling_mine.py" not in names_in(tmp_path / "m")


def test_a_connection_that_breaks_is_gone_on_with(hub, tmp_path):
    hub.cuts["model.safetensors"] = [100_000, 50_000]
    fetch(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS
    first, *others = hub.sent("model.safetensors")
    assert first == ""
    # whole pieces of 100,000 bytes, then of 50,000 more
    assert others == ["bytes=100000-", "bytes=150000-"]


def test_a_later_call_keeps_whole_files_and_leaves_no_half_one(hub, tmp_path):
    hub.cuts["model.safetensors"] = [300_000]
    hub.failing.add("model.safetensors")
    with pytest.raises(EnvironmentProblem, match="status 500") as caught:
        fetch(tmp_path / "m")
    assert "whole files are kept" in caught.value.next_step
    assert "model.safetensors" not in names_in(tmp_path / "m")
    whole = names_in(tmp_path / "m")
    hub.failing.clear()
    hub.asked.clear()
    fetch(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent("model.safetensors") == [""]
    assert [name for name in whole if hub.sent(name)] == []


def test_an_interruption_goes_through_and_leaves_no_half_file(hub, tmp_path, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(file_download, "http_get", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(tmp_path / "m")
    assert names_in(tmp_path / "m") == set()
    assert names_in(fetch(tmp_path / "m").folder) == WANTED


def test_a_file_with_another_sum_is_removed_and_comes_anew(hub, tmp_path):
    hub.swapped["model.safetensors"] = bytes(len(WEIGHTS))  # the same size
    hub.swapped["tokenizer.json"] = b"[]"
    for dest in (tmp_path / "m", None):
        with pytest.raises(DataError, match=r"2 of 4 files .* another sum") as caught:
            fetch(dest)
        assert "fetches only these" in caught.value.next_step
    assert names_in(tmp_path / "m") == WANTED - {"model.safetensors", "tokenizer.json"}
    hub.swapped.clear()
    for dest in (tmp_path / "m", None):
        fetched = fetch(dest)
        assert (fetched.folder / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent("config.json") == ["", ""]  # once for each place


def test_a_file_that_was_damaged_here_is_noticed(hub, tmp_path):
    fetch(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").write_bytes(bytes(len(WEIGHTS)))
    try:
        fetch(tmp_path / "m")
    except DataError:
        fetch(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("status", "code", "match", "next_step"),
    [
        (401, "RepoNotFound", "no model or data set 'me/model'", "Check the spelling"),
        (404, "RepoNotFound", "no model or data set 'me/model'", "hf auth login"),
        (401, "", "no model or data set 'me/model'", "hf auth login"),
        (403, "GatedRepo", "accept its terms", "hf auth login"),
        (403, "", "accept its terms", "/me/model"),
        (503, "", "status 503", "run the same command again"),
    ],
)
def test_a_hub_that_refuses_is_explained(hub, tmp_path, status, code, match, next_step):
    hub.statuses = {"models/me/model": (status, code), "datasets/me/model": (status, code)}
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "other.txt").write_text("was here")  # never taken for the model
    with pytest.raises((ModelError, EnvironmentProblem), match=match) as caught:
        fetch(tmp_path / "m")
    assert next_step in caught.value.next_step
    assert names_in(tmp_path / "m") == {"other.txt"}


def test_off_the_network_a_folder_is_the_way(monkeypatch, tmp_path):
    hub_server.point_to(monkeypatch, "http://127.0.0.1:9")  # nobody listens
    with pytest.raises(EnvironmentProblem, match="cannot be reached") as caught:
        fetch(tmp_path / "m")
    assert "a folder's path works" in caught.value.next_step
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EnvironmentProblem, match="cannot be reached"):
        fetch(tmp_path / "m")


def test_a_disk_too_small_is_told_before_and_a_full_one_while(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(EnvironmentProblem, match=r"takes 0.5 MiB and 0.0 MiB are free") as caught:
        fetch(tmp_path / "m")
    assert "--to" in caught.value.next_step
    assert hub.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", fail)
    with pytest.raises(EnvironmentProblem, match="The disk is full") as caught:
        fetch(tmp_path / "m")
    assert "whole files are kept" in caught.value.next_step


def test_what_is_there_already_needs_no_more_room(hub, tmp_path, monkeypatch):
    fetch(tmp_path / "m")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    assert names_in(fetch(tmp_path / "m").folder) == WANTED


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b"x"}, "no config.json"),
        ({"config.json": b"{}", "tokenizer.json": b"{}"}, "has no weights"),
    ],
)
def test_what_is_no_model_is_refused(hub, tmp_path, files, match):
    hub.repos["models/me/model"] = files
    with pytest.raises(ModelError, match=match):
        fetch(tmp_path / "m")


def test_weight_files_that_an_index_names_must_be_there(hub, tmp_path):
    index = b'{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
    hub.repos["models/me/model"] = {
        "config.json": b"{}",
        "model.safetensors.index.json": index,
        "model-1.safetensors": b"x",
        "pytorch_model.bin.index.json": index.replace(b"safetensors", b"bin"),
    }
    with pytest.raises(ModelError, match=r"lacks 1 of 2 weight files .*model-2.safetensors"):
        fetch(tmp_path / "m")
    whole = {**hub.repos["models/me/model"], "model-2.safetensors": b"y"}
    hub.repos["models/me/whole"] = whole
    assert "model-2.safetensors" in fetch(tmp_path / "whole", "me/whole").files
    hub.repos["models/me/damaged"] = {**whole, "model.safetensors.index.json": b"[]"}
    with pytest.raises(ModelError, match=r"index.json of 'me/damaged' is damaged"):
        fetch(tmp_path / "damaged", "me/damaged")


def test_a_data_set_is_found_behind_the_models(hub, tmp_path):
    rows = b'{"text": "### Human: Hi### Assistant: Hello"}\n'
    hub.repos["datasets/me/rows"] = {
        "a_test.jsonl": rows,
        "b_train.jsonl": rows,
        "README.md": b"",
        "rows.py": b"import os",
    }
    fetched = fetch(tmp_path / "rows", "me/rows")
    assert fetched.repo_type == "dataset"
    assert names_in(tmp_path / "rows") == {"a_test.jsonl", "b_train.jsonl", "README.md"}
    assert hub_files.data_files(fetched) == ["b_train.jsonl", "a_test.jsonl"]
    hub.repos["datasets/me/code"] = {"rows.py": b"import os"}
    with pytest.raises(DataError, match="no data files"):
        fetch(tmp_path / "code", "me/code")


def test_modelscope_goes_through_its_own_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(EnvironmentProblem, match="not installed") as caught:
        hub_files.fetch_modelscope("me/model", "model", tmp_path / "m")
    assert caught.value.next_step == "Install it: python -m pip install modelscope"
    asked = []

    def snapshot_download(model_id, local_dir=None, ignore_file_pattern=None):
        asked.append((model_id, local_dir, ignore_file_pattern))
        if model_id == "me/none":
            raise ValueError("not exists")
        (tmp_path / "m" / ".msc").mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / ".msc" / "index").write_text("its own")
        (tmp_path / "m" / "config.json").write_text("{}")
        return local_dir

    hub_module = types.ModuleType("modelscope.hub")
    hub_module.snapshot_download = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "modelscope", types.ModuleType("modelscope"))
    monkeypatch.setitem(sys.modules, "modelscope.hub", hub_module)
    fetched = hub_files.fetch_modelscope("me/model", None, tmp_path / "m")
    assert (fetched.files, fetched.repo_type) == (("config.json",), "model")
    assert asked[0][:2] == ("me/model", str(tmp_path / "m"))
    assert {"*.py", "*.bin"} <= set(asked[0][2])
    with pytest.raises(ModelError, match="cannot give 'me/none': not exists"):
        hub_files.fetch_modelscope("me/none", None, tmp_path / "m")


def test_off_the_network_a_models_id_fails_at_once_and_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "is_known", lambda host: False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    naps = []
    monkeypatch.setattr(file_download.time, "sleep", naps.append)
    for load in (loading.read_config, loading.load_tokenizer, loading.load_model):
        with pytest.raises(ModelError, match="me/model could not be loaded") as caught:
            load("me/model")
        assert "tunebook fetch me/model --to DIR" in caught.value.next_step
    assert naps == []  # nobody asks five times
    assert constants.HF_HUB_OFFLINE is False  # as it was before
    with hub_files.quick_offline(str(tmp_path)):
        assert constants.HF_HUB_OFFLINE is False  # a folder needs no hub

import json
import sys
import types

import pytest

from course_lib.data import formats, sources
from course_lib.errors import DataError, EnvironmentProblem


def talk(answer):
    return {"instruction": "q", "output": answer}


def write(path, *answers):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(talk(a)) + "\n" for a in answers), "utf-8")
    return path


def answers(source):
    return [row["messages"][-1]["content"] for row in formats.iter_rows(source)]


def test_a_folder_is_read_file_by_file_in_order(tmp_path):
    write(tmp_path / "set" / "b.jsonl", "b0", "b1")
    write(tmp_path / "set" / "a" / "z.jsonl", "z")
    (tmp_path / "set" / "c.csv").write_text("instruction,output\nq,c\n", "utf-8")
    write(tmp_path / "set" / ".hidden" / "a.jsonl", "hidden")
    (tmp_path / "set" / "README.txt").write_text("About it.", "utf-8")
    (tmp_path / "set" / "picture.png").write_bytes(b"png")
    assert answers(tmp_path / "set") == ["z", "b0", "b1", "c"]
    assert formats.describe_file(tmp_path / "set").notes == (
        "3 files: z.jsonl, b.jsonl, c.csv.",
        "Other files are left out: picture.png.",
    )


def test_a_bad_row_in_a_folder_is_named_by_its_own_file(tmp_path):
    write(tmp_path / "a.jsonl", "a0", "a1")
    bad = write(tmp_path / "b.jsonl", "b0", "")
    with pytest.raises(DataError) as caught:
        formats.read_rows(tmp_path)
    assert caught.value.message == f"{bad}, row 2 (line 2): field output: the text is empty."


@pytest.mark.parametrize("held_out", ["test.jsonl", "my_test.jsonl", "validation.jsonl"])
def test_a_folder_with_held_out_rows_is_refused(tmp_path, held_out):
    train = write(tmp_path / "train.jsonl", "a")
    write(tmp_path / held_out, "b")
    with pytest.raises(DataError, match=f"holds {held_out} beside other files") as caught:
        answers(tmp_path)
    assert caught.value.next_step == f"Name one file, for example {train}."


def test_words_that_hold_test_are_no_held_out_rows(tmp_path):
    write(tmp_path / "train.jsonl", "a")
    write(tmp_path / "latest.jsonl", "b")
    assert answers(tmp_path) == ["b", "a"]


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no data files\."):
        answers(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"png")
    with pytest.raises(DataError, match=r"has no data files \(it holds picture\.png\)"):
        answers(tmp_path)


def test_a_folder_saved_by_datasets_is_read(tmp_path):
    import datasets

    saved = datasets.Dataset.from_list([talk("a"), {**talk("b"), "system": "S"}])
    saved.save_to_disk(str(tmp_path / "one"))
    assert answers(tmp_path / "one") == ["a", "b"]
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(DataError, match="holds the splits train, test") as caught:
        answers(tmp_path / "two")
    assert answers(tmp_path / "two" / "train") == ["a", "b"]
    assert str(tmp_path / "two" / "train") in caught.value.next_step
    (tmp_path / "one" / "dataset_info.json").write_text("{", "utf-8")
    with pytest.raises(DataError, match="cannot be loaded"):
        answers(tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("hf:owner/name", True),
        ("hf:owner/name/main:test", True),
        ("modelscope:iic/MSAgent-Bench", True),
        ("OpenAssistant/oasst1", True),
        ("owner/name:train", True),
        ("hf:owner/name.jsonl", True),
        ("owner/name.jsonl", False),
        ("name", False),
        ("../owner/name", False),
        ("/owner/name", False),
        ("C:\\owner\\name", False),
        ("a/b/c/d", False),
        ("", False),
    ],
)
def test_ids_of_data_sets_are_told_from_paths(text, is_id):
    assert sources.is_hub_id(text) is is_id


def test_what_is_on_this_machine_goes_first(tmp_path, monkeypatch):
    write(tmp_path / "owner" / "name" / "a.jsonl", "local")
    monkeypatch.chdir(tmp_path)
    assert answers("owner/name") == ["local"]


@pytest.mark.parametrize("is_offline", [False, True])
def test_without_a_network_the_message_comes_at_once_and_says_so(tmp_path, monkeypatch, is_offline):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", is_offline)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    monkeypatch.setattr(sources, "is_known", lambda host: False)
    with pytest.raises(DataError) as caught:
        answers("hf:owner/name")
    assert caught.value.message == "Hugging Face cannot be reached to load 'hf:owner/name'."
    with pytest.raises(DataError, match="There is no file or folder 'owner/name', and Hugging"):
        answers("owner/name")
    assert datasets.config.HF_HUB_OFFLINE is is_offline  # as it was before


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("DatasetNotFoundError", "Hugging Face has no data set 'hf:owner/name', or it is not open"),
        ("ValueError", "Hugging Face cannot load 'hf:owner/name': Config name is missing"),
    ],
)
def test_what_a_hub_answers_is_said_in_one_line(monkeypatch, error, message):
    def fail(*_):
        raise type(error, (Exception,), {})("Config name is missing\nmore lines")

    monkeypatch.setattr(sources, "_load_huggingface", fail)
    with pytest.raises(DataError, match=message) as caught:
        answers("hf:owner/name")
    assert "\n" not in caught.value.message


def test_a_data_set_from_a_hub_is_read_with_its_subset_and_split(monkeypatch):
    import datasets

    asked = []

    def load(*names):
        asked.append(names)
        return datasets.Dataset.from_list([talk("a"), talk("b")])

    monkeypatch.setattr(sources, "_load_huggingface", load)
    assert answers("hf:owner/name/main:test") == ["a", "b"]
    assert answers("owner/name") == ["a", "b"]
    assert asked == [("owner/name", "main", "test"), ("owner/name", None, "train")]


def test_modelscope_is_asked_only_when_it_is_installed(monkeypatch):
    import datasets

    monkeypatch.setitem(sys.modules, "modelscope", None)
    with pytest.raises(EnvironmentProblem, match="need the package modelscope") as caught:
        answers("modelscope:iic/name")
    assert caught.value.next_step == "Install it: pip install modelscope"

    class MsDataset:
        @staticmethod
        def load(name, subset_name, split):
            assert (name, subset_name, split) == ("iic/name", "default", "train")
            return datasets.Dataset.from_list([talk("a")])

    module = types.ModuleType("modelscope.msdatasets")
    module.MsDataset = MsDataset
    monkeypatch.setitem(sys.modules, "modelscope", types.ModuleType("modelscope"))
    monkeypatch.setitem(sys.modules, "modelscope.msdatasets", module)
    assert answers("modelscope:iic/name") == ["a"]

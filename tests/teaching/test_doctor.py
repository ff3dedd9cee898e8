"""The doctor says what is there, what falls short, and the next step."""

import json
import struct
import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import psutil
import pytest

from course_lib.teaching import doctor
from course_lib.teaching.doctor import Finding

GIB = 1024**3


@pytest.mark.parametrize(
    ("version", "is_ok"),
    [
        ((3, 9, 18), False),
        ((3, 10, 0), True),
        ((3, 13, 9), True),
        ((3, 14, 0), False),
        ((4, 0, 0), False),
    ],
)
def test_python_3_10_to_3_13_will_do(version, is_ok):
    finding = doctor.check_python(version)
    assert finding.is_ok is is_ok
    assert ("PYTHON=python3.12" in finding.next_step) is not is_ok


@pytest.fixture
def installed(monkeypatch):
    """Stand-ins for what is asked for and what is installed."""
    asked, there = [], {}

    def find_version(name):
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(doctor.metadata, "requires", lambda name: asked)
    monkeypatch.setattr(doctor.metadata, "version", find_version)
    return asked, there


def test_packages_are_compared_with_their_ranges(installed):
    asked, there = installed
    asked += ["torch<2.14,>=2.13", "peft<0.22,>=0.18", "typer<0.30,>=0.20"]
    there.update(torch="2.13.0+cpu", peft="0.7.0")
    torch, peft, typer = doctor.check_packages()
    assert torch == Finding("torch", "2.13.0+cpu")
    assert (peft.found, peft.is_ok) == ("0.7.0, but <0.22,>=0.18 is needed", False)
    assert (typer.found, typer.is_ok) == ("missing (<0.30,>=0.20 is needed)", False)
    assert "constraints.txt" in peft.next_step


def test_packages_for_other_systems_and_extras_are_not_asked_for(installed):
    asked, _ = installed
    asked += ["deepspeed>=0.18; sys_platform == 'amiga'", "pytest>=9; extra == 'test'"]
    assert doctor.check_packages() == []


def test_a_course_that_is_not_installed_is_one_finding(monkeypatch):
    def refuse(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", refuse)
    (finding,) = doctor.check_packages()
    assert (finding.name, finding.is_ok) == ("tunebook", False)


def test_the_front_end_of_the_widgets_is_found_by_its_files(monkeypatch, tmp_path):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: [str(tmp_path)])
    assert not doctor.check_widgets().is_ok
    folder = tmp_path / "@jupyter-widgets" / "jupyterlab-manager"
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"version": "5.0.16"}')
    assert doctor.check_widgets() == Finding("widgets in Lab", "5.0.16")


@pytest.mark.parametrize(
    ("total_gib", "limit", "found", "is_ok"),
    [
        (16, None, "16.0 GiB", True),
        (16, "max\n", "16.0 GiB", True),
        (16, f"{2 * GIB}\n", "2.0 GiB", False),  # a container's own limit
        (3.75, None, "3.8 GiB", True),  # sold as 4 GiB
        (3, None, "3.0 GiB", False),
    ],
)
def test_memory_counts_what_this_process_may_use(
    monkeypatch, tmp_path, total_gib, limit, found, is_ok
):
    memory = SimpleNamespace(total=int(total_gib * GIB))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    path = tmp_path / "memory.max"
    if limit:
        path.write_text(limit)
    finding = doctor.check_memory(path)
    assert (finding.found, finding.is_ok) == (found, is_ok)


@pytest.mark.parametrize(("free_gib", "is_ok"), [(2, True), (1.9, False)])
def test_two_gib_of_disk_are_enough(monkeypatch, tmp_path, free_gib, is_ok):
    usage = SimpleNamespace(free=int(free_gib * GIB))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert doctor.check_disk(tmp_path / "not" / "yet" / "made").is_ok is is_ok


@pytest.mark.parametrize(("cores", "is_ok"), [(1, False), (2, True)])
def test_two_cores_are_enough(monkeypatch, cores, is_ok):
    monkeypatch.setattr(doctor.os, "sched_getaffinity", lambda pid: range(cores), raising=False)
    assert doctor.check_cores().is_ok is is_ok


def write_model(folder, weights: bytes):
    folder.mkdir()
    for name in doctor.MODEL_FILES:
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def safetensors_bytes() -> bytes:
    """A file with one tensor of four bytes, by hand."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0\0\0\0"


WHOLE = safetensors_bytes()


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        (WHOLE, "complete"),
        (WHOLE[:-1], f"{len(WHOLE) - 1} of {len(WHOLE)} bytes"),
        (WHOLE + b"\0", f"{len(WHOLE) + 1} of {len(WHOLE)} bytes"),
        (WHOLE[:20], "not a safetensors file"),
        (b"", "not a safetensors file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not a safetensors file"),
    ],
)
def test_a_model_is_whole_or_named_with_what_is_wrong(tmp_path, weights, found):
    finding = doctor.check_model(write_model(tmp_path / "chat", weights))
    assert finding.name == "pico chat"
    assert found in finding.found
    assert finding.is_ok is (weights == WHOLE)
    assert ("git checkout" in finding.next_step) is not finding.is_ok


def test_missing_model_files_are_named(tmp_path):
    folder = write_model(tmp_path / "base", WHOLE)
    (folder / "tokenizer.json").unlink()
    assert doctor.check_model(folder).found == "missing: tokenizer.json"


def test_a_broken_torch_is_a_finding_and_hides_no_other(monkeypatch):
    def fail():
        raise OSError("libtorch.so: not found")

    monkeypatch.setattr(doctor, "check_bf16", fail)
    monkeypatch.setattr(doctor, "check_gpu", lambda: Finding("GPU", "none"))
    by_name = {finding.name: finding for finding in doctor.examine()}
    assert not by_name["bf16 arithmetic"].is_ok
    assert "libtorch.so" in by_name["bf16 arithmetic"].found
    assert by_name["GPU"].is_ok


def test_bf16_and_the_absence_of_a_gpu_are_fine_here():
    assert doctor.check_bf16() == Finding("bf16 arithmetic", "works")
    assert doctor.check_gpu().is_ok


def test_a_gpu_is_named_with_its_memory_and_tier(monkeypatch):
    properties = SimpleNamespace(name="Some GPU", total_memory=6 * GIB)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda index: properties)
    assert doctor.check_gpu().found == "Some GPU, 6 GiB: enough for tier small"
    properties.total_memory = 8 * GIB
    assert doctor.check_gpu().found == "Some GPU, 8 GiB: enough for tier classic"


def test_chromium_is_never_needed_for_the_lessons(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert doctor.check_chromium().is_ok


FINDINGS = [
    Finding("Python", "3.11.7"),
    Finding("torch", "2.0 <script>", False, "Run `a & b`."),
]


def test_the_text_has_a_line_each_and_a_verdict():
    assert doctor.report_text(FINDINGS) == (
        "ok  Python  3.11.7\n"
        "!!  torch   2.0 <script>\n"
        "            -> Run `a & b`.\n"
        "\n"
        "To mend before you start: torch."
    )
    assert doctor.report_text(FINDINGS[:1]).endswith("All is there that the lessons need.")


def test_the_table_escapes_what_was_found():
    table = doctor.report_html(FINDINGS)
    assert "2.0 &lt;script&gt;" in table
    assert "Run `a &amp; b`." in table
    assert "<script>" not in table


def test_torch_is_loaded_only_when_asked_for():
    code = (
        "import sys; from course_lib.teaching import doctor; "
        "names = [f.name for f in doctor.examine(with_torch=False)]; "
        "assert 'GPU' not in names; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

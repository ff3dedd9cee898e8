"""Look at this machine: what the lessons find here, and the next step where it falls short."""

import html
import json
import os
import shutil
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from course_lib.files import DATA_DIR

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
NEEDED_CORES = 2
NEEDED_MEMORY_GIB = 4
NEEDED_DISK_GIB = 2
CLASSIC_GPU_GIB = 8
GIB = 1024**3
MODEL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
REINSTALL = "Run `make lab` again, or: python -m pip install -c constraints.txt -e ."


@dataclass(frozen=True)
class Finding:
    """One thing the doctor looked at.

    Args:
        name: what was looked at.
        found: what is there, in words.
        is_ok: whether the lessons run with it.
        next_step: what to do now; empty when there is nothing to do.
    """

    name: str
    found: str
    is_ok: bool = True
    next_step: str = ""


def examine(with_torch: bool = True) -> list[Finding]:
    """Look at Python, packages, hardware, the built-in model and JupyterLab.

    Args:
        with_torch: try bf16 arithmetic and look for a GPU too; loads torch, which takes seconds.

    Returns:
        One finding for each thing, in the order to mend them.
    """
    findings = [check_python(sys.version_info[:3]), *check_packages(), check_widgets()]
    findings += [check_cores(), check_memory(), check_disk(DATA_DIR)]
    findings += [check_model(DATA_DIR / "pico" / name) for name in ("base", "chat")]
    if with_torch:
        findings += [_guarded("bf16 arithmetic", check_bf16), _guarded("GPU", check_gpu)]
    findings.append(check_chromium())
    findings.append(Finding("network", "not needed: tier pico runs from files in this folder"))
    return findings


def report_text(findings: Sequence[Finding]) -> str:
    """Findings as lines of text, for a terminal.

    Args:
        findings: from `examine`.

    Returns:
        A line for each, with its next step below it, and a verdict at the end.
    """
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        mark = "ok" if finding.is_ok else "!!"
        lines.append(f"{mark}  {finding.name:<{width}}  {finding.found}")
        if finding.next_step:
            lines.append(f"    {'':<{width}}  -> {finding.next_step}")
    return "\n".join([*lines, "", _verdict(findings)])


def report_html(findings: Sequence[Finding]) -> str:
    """Findings as a table, for a notebook; every text is escaped.

    Args:
        findings: from `examine`.

    Returns:
        HTML with a row for each finding and a verdict below.
    """
    rows = []
    for finding in findings:
        mark = "✓" if finding.is_ok else "✗"
        step = f"<br>→ {html.escape(finding.next_step)}" if finding.next_step else ""
        rows.append(
            f"<tr><td>{mark}</td><td>{html.escape(finding.name)}</td>"
            f'<td style="text-align:left">{html.escape(finding.found)}{step}</td></tr>'
        )
    return f"<table>{''.join(rows)}</table><p>{html.escape(_verdict(findings))}</p>"


def check_python(version: tuple[int, ...]) -> Finding:
    """Whether this Python is one that the course was tested with.

    Args:
        version: major, minor, micro.
    """
    found = ".".join(map(str, version))
    if OLDEST_PYTHON <= tuple(version[:2]) <= NEWEST_PYTHON:
        return Finding("Python", found)
    return Finding(
        "Python",
        f"{found}, but 3.10 to 3.13 is needed",
        False,
        "Install one of these, run `make clean`, then `make lab PYTHON=python3.12`.",
    )


def check_packages() -> list[Finding]:
    """Each package the course needs: the version found and the range asked for."""
    try:
        lines = metadata.requires("tunebook") or []
    except metadata.PackageNotFoundError:
        return [Finding("tunebook", "not installed in this Python", False, REINSTALL)]
    requirements = [Requirement(line) for line in lines]
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [_check_package(requirement) for requirement in needed]


def _check_package(requirement: Requirement) -> Finding:
    wanted = str(requirement.specifier)
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(requirement.name, f"missing ({wanted} is needed)", False, REINSTALL)
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, version)
    return Finding(requirement.name, f"{version}, but {wanted} is needed", False, REINSTALL)


def check_widgets() -> Finding:
    """Whether JupyterLab has the part of ipywidgets that runs in the browser."""
    from jupyter_core.paths import jupyter_path  # not at the top: this file must load without it

    for folder in jupyter_path("labextensions"):
        package = Path(folder) / "@jupyter-widgets" / "jupyterlab-manager" / "package.json"
        if package.is_file():
            return Finding("widgets in Lab", json.loads(package.read_text("utf-8"))["version"])
    return Finding("widgets in Lab", "the front end of ipywidgets is missing", False, REINSTALL)


def check_cores() -> Finding:
    """How many CPU cores this process may use."""
    is_linux = hasattr(os, "sched_getaffinity")  # elsewhere a process may use all cores
    cores = len(os.sched_getaffinity(0)) if is_linux else os.cpu_count() or 1
    if cores >= NEEDED_CORES:
        return Finding("CPU cores", str(cores))
    return Finding(
        "CPU cores",
        f"{cores}; the lessons' times are for {NEEDED_CORES}",
        False,
        "Everything runs, about twice as long; close other programs.",
    )


def check_memory(cgroup_limit: Path = Path("/sys/fs/cgroup/memory.max")) -> Finding:
    """How much memory this process may use.

    Args:
        cgroup_limit: the file where Linux containers keep their own, smaller limit.
    """
    import psutil  # not at the top: this file must load without it

    total_gib = psutil.virtual_memory().total / GIB
    limit = cgroup_limit.read_text("utf-8").strip() if cgroup_limit.is_file() else "max"
    if limit.isdigit():
        total_gib = min(total_gib, int(limit) / GIB)
    # What is sold as 4 GiB shows as a little less.
    is_enough = total_gib > NEEDED_MEMORY_GIB * 0.9
    step = "" if is_enough else f"Use a machine with {NEEDED_MEMORY_GIB} GiB, or close programs."
    return Finding("memory", f"{total_gib:.1f} GiB", is_enough, step)


def check_disk(path: Path) -> Finding:
    """How much room is left for runs and merged models.

    Args:
        path: a folder on the disk in question.
    """
    there = next(p for p in (path, *path.resolve().parents) if p.exists())
    free_gib = shutil.disk_usage(there).free / GIB
    is_enough = free_gib >= NEEDED_DISK_GIB
    step = "" if is_enough else f"Free {NEEDED_DISK_GIB} GiB, for example: delete old run folders."
    return Finding("free disk", f"{free_gib:.1f} GiB", is_enough, step)


def check_model(model_dir: Path) -> Finding:
    """Whether a built-in model is there with all its files, none cut off.

    Args:
        model_dir: its folder.
    """
    name = f"pico {model_dir.name}"
    step = "Restore it: git checkout -- data/pico (or build it: tunebook pico build)."
    missing = [file for file in MODEL_FILES if not (model_dir / file).is_file()]
    if missing:
        return Finding(name, f"missing: {', '.join(missing)}", False, step)
    weights = model_dir / "model.safetensors"
    size = weights.stat().st_size
    try:
        expected = _size_from_header(weights)
    except (struct.error, ValueError, KeyError):
        return Finding(name, f"{weights.name} is not a safetensors file", False, step)
    if size != expected:
        return Finding(name, f"{weights.name}: {size} of {expected} bytes", False, step)
    return Finding(name, f"complete, {size / 1e6:.0f} MB")


def _size_from_header(path: Path) -> int:
    """How long a safetensors file must be; its header names where each tensor ends.

    Source: the safetensors format: 8 bytes of header length, the header in JSON, the tensors.
    """
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(length))
    ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
    return 8 + length + max(ends, default=0)


def check_bf16() -> Finding:
    """Whether bf16 sums come out right on this CPU: 64 products of 1 x 2 make 128."""
    import torch

    ones = torch.ones(64, 64, dtype=torch.bfloat16)
    is_right = bool((ones @ (2 * ones) == 128).all())
    step = "" if is_right else "Use bits=32 for models on this CPU."
    return Finding("bf16 arithmetic", "works" if is_right else "wrong results", is_right, step)


def check_gpu() -> Finding:
    """Which GPU torch can use, and for which tier its memory is enough."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory_gib = properties.total_memory / GIB
        tier = "classic" if memory_gib >= CLASSIC_GPU_GIB * 0.9 else "small"
        return Finding("GPU", f"{properties.name}, {memory_gib:.0f} GiB: enough for tier {tier}")
    return Finding("GPU", "none that CUDA can use: tiers pico and small do not need it")


def check_chromium() -> Finding:
    """Whether a Chromium is there; only the browser tests use it."""
    names = [name for name in CHROMIUM_NAMES if shutil.which(name)]
    found = names[0] if names else "not found: only the browser tests of `make test` use it"
    return Finding("Chromium", found)


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """A broken torch is a finding too: it must not hide the others."""
    try:
        return check()
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(name, f"torch does not work: {error}", False, REINSTALL)


def _verdict(findings: Sequence[Finding]) -> str:
    bad = [finding.name for finding in findings if not finding.is_ok]
    if not bad:
        return "All is there that the lessons need."
    return f"To mend before you start: {', '.join(bad)}."

"""`make lab`'s server, a Chromium page, and a loud word when there is no Chromium."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from course_lib.files import REPO_DIR
from course_lib.teaching.doctor import CHROMIUM_NAMES
from tests.browser import pages

START_S = 90


@dataclass(frozen=True)
class Lab:
    url: str
    token: str
    shown_url: str  # the address that the server prints, and opens where it can


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lab_command(port: int) -> list[str]:
    """What `make lab` runs, in this Python, with no window of its own."""
    command = ["make", "-s", "-o", ".venv/.ready", "lab", f"PY={sys.executable}"]
    return [*command, f"LAB_ARGS=--no-browser --ServerApp.port={port} --ServerApp.port_retries=0"]


def lab_environment(home: Path) -> dict[str, str]:
    """Settings of this user stay out, and nothing is left behind in their home."""
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    names += ("JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "JUPYTER", "MFLAGS"))}
    return kept | {name: str(home / name.lower()) for name in names}


def wait_for_server(process: subprocess.Popen, runtime_dir: Path, log: Path) -> Lab:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        for path in runtime_dir.glob("jpserver-*.json"):
            try:
                server = json.loads(path.read_text("utf-8"))
            except json.JSONDecodeError:  # still being written
                continue
            shown = re.search(r"http://\S+token=\w+", log.read_text("utf-8"))
            if shown and _accepts(server["port"]):
                return Lab(server["url"], server["token"], shown[0])
        time.sleep(0.2)
    pytest.fail(f"make lab did not start:\n{log.read_text('utf-8')}", pytrace=False)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def stop(process: subprocess.Popen) -> None:
    """End make, the server and its kernels."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running(home: Path) -> Iterator[Lab]:
    """A server, ended with its kernels; `home` holds its settings and its log."""
    environment, log = lab_environment(home), home / "lab.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            lab_command(free_port()),
            cwd=REPO_DIR,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that make and the server end together
        )
    try:
        yield wait_for_server(process, Path(environment["JUPYTER_RUNTIME_DIR"]), log)
    finally:
        if process.poll() is None:
            stop(process)


def find_chromium(driver) -> str:
    """The system's own one, else Playwright's; empty when there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    path = found or driver.chromium.executable_path
    return path if Path(path).is_file() else ""


def launch(driver, path: str):
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox refuses root
    return driver.chromium.launch(executable_path=path, args=["--no-sandbox"] if is_root else [])


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the lab shows; a test file that needs something in it has its own."""
    with pages.work_dir() as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the package playwright is missing"
    )
    with playwright.sync_playwright() as driver:
        path = find_chromium(driver)
        if not path:
            pytest.skip("no Chromium on this machine")
        chromium = launch(driver, path)
        yield chromium
        chromium.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped})
        terminalreporter.section("BROWSER TESTS SKIPPED", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests did not run: {'; '.join(reasons)}.", red=True)
        terminalreporter.line(
            "Install Chromium (Debian: apt install chromium; or: "
            ".venv/bin/playwright install chromium), then run `make browser`."
        )

"""Which isolation works on this machine: found by trying to break out, not by looking at names."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course_lib.errors import EnvironmentProblem
from course_lib.files import REPO_DIR
from course_lib.homework import sandbox
from course_lib.homework.box import Box, BoxError
from course_lib.homework.sandbox import Isolation, Limits
from course_lib.teaching.doctor import Finding

TRIAL_LIMITS = Limits(call_s=20)
APPARMOR = (
    "Ubuntu 24.04 and later: allow it with an AppArmor profile for /usr/bin/bwrap that has "
    "`userns,`, or with sysctl kernel.apparmor_restrict_unprivileged_userns=0. In a container: "
    "start it with the rights to make namespaces, or grade on the machine itself."
)
TRIAL = """
import os, socket, subprocess

FILL = "for n in 1 2 3 4; do head -c 50000000 /dev/zero > /tmp/$n || exit 1; done 2>/dev/null"

def try_all(secret_file, port, variable):
    found = {}
    def attempt(name, act):
        try:
            found[name] = bool(act())
        except BaseException:
            found[name] = False
    def connect(address):
        with socket.create_connection(address, timeout=1):
            return True
    def write(path):
        with open(path, "w") as file:
            return file.write("x")
    attempt("reads your files", lambda: open(secret_file).read())
    attempt("writes beside your files", lambda: write(secret_file + ".new"))
    attempt("writes into the system", lambda: write("/usr/tunebook_trial"))
    attempt("reaches this machine's services", lambda: connect(("127.0.0.1", port)))
    attempt("reaches the network", lambda: connect(("1.1.1.1", 53)))
    attempt("sees your environment variables", lambda: variable in os.environ)
    attempt("sees other processes", lambda: sum(n.isdigit() for n in os.listdir("/proc")) > 10)
    attempt("is root", lambda: os.getuid() == 0)
    attempt("takes 6 GiB of memory", lambda: bytearray(6 * 2**30))
    attempt("writes 200 MiB to a disk", lambda: subprocess.run(FILL, shell=True, check=True))
    attempt("starts 300 processes", lambda: [fork_one() for n in range(300)])
    return found

def fork_one():
    child = os.fork()
    if child == 0:
        import time
        time.sleep(5)
        os._exit(0)
"""


def choose(is_unsafe: bool = False) -> Isolation:
    """The isolation to grade with.

    Args:
        is_unsafe: grade without any, because whoever asks trusts every submission.

    Raises:
        EnvironmentProblem: nothing here keeps submissions apart.
    """
    if sys.platform == "win32":
        raise EnvironmentProblem("Grading does not run on Windows.", "Use WSL2 or a container.")
    if is_unsafe:
        return "none"
    problems = [finding for finding in examine() if not finding.is_ok]
    if problems:
        raise EnvironmentProblem(
            f"Submissions cannot be run safely here: {problems[0].name}: {problems[0].found}.",
            "Run: tunebook homework doctor. Or trust every submission with your files and "
            "your account: --unsafe-no-sandbox",
        )
    return "bubblewrap"


def examine() -> list[Finding]:
    """Look for bubblewrap, start it, and try to break out.

    Returns:
        One finding for each thing; when one is not fine, those behind it were not tried.
    """
    if sys.platform != "linux":
        step = "Grade on a Linux machine, in WSL2, or in a container."
        return [Finding("system", f"{sys.platform}, but bubblewrap needs Linux", False, step)]
    try:
        found = [Finding("bubblewrap", _version(sandbox.find_bubblewrap()))]
    except EnvironmentProblem as problem:
        return [Finding("bubblewrap", "not installed", False, problem.next_step)]
    if os.geteuid() == 0:
        found.append(Finding("user", "root; submissions run as an ordinary user"))
    found.append(_check_start())
    if found[-1].is_ok:
        found += _check_walls()
    return found


def _version(bwrap: str) -> str:
    done = subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=20)  # noqa: S603
    return done.stdout.strip() or "no version"


def _check_start() -> Finding:
    """Whether Python and IPython start inside; if not, what was said."""
    line = [*sandbox.command("bubblewrap", TRIAL_LIMITS), "-c", "import IPython, numpy"]
    done = subprocess.run(  # noqa: S603
        line, capture_output=True, text=True, timeout=120, env=sandbox.environment("bubblewrap")
    )
    if done.returncode == 0:
        return Finding("Python inside", f"{sys.version.split()[0]} starts, with its packages")
    said = (done.stderr.strip() or f"it ended with {done.returncode}").splitlines()[-1][:300]
    if said.startswith("bwrap"):
        return Finding("start", said, False, APPARMOR)
    step = (
        f"Python lies in {sys.base_prefix}: an ordinary user must be able to read it. Make the "
        "environment for grading from a Python in /usr or /opt."
    )
    return Finding("Python inside", said, False, step)


def _check_walls() -> list[Finding]:
    try:
        tried = try_to_break_out("bubblewrap")
    except (BoxError, EnvironmentProblem) as error:
        return [Finding("walls", str(error), False, "Report this with the lines above.")]
    through = [name for name, is_through in tried.items() if is_through]
    if not through:
        return [Finding("walls", f"{len(tried)} ways out tried, none is open")]
    step = f"Grade on another machine, or with a newer bubblewrap: {sandbox.INSTALL}."
    return [Finding("walls", f"a submission {name}", False, step) for name in through]


def try_to_break_out(isolation: Isolation) -> dict[str, bool]:
    """Let a process try what a hostile submission would.

    Args:
        isolation: how it is kept apart.

    Returns:
        For each attempt, whether it was possible.

    Raises:
        BoxError: the process ended before it could tell.
    """
    with _bait() as (path, port, variable), Box(isolation, TRIAL_LIMITS) as box:
        box.request({"op": "cell", "source": TRIAL}, 20, 60)
        call = {"op": "call", "name": "try_all", "args": [str(path), port, variable]}
        answer = box.request(call, 20, 90).get("answer", {})
    found = answer.get("dict") if isinstance(answer, dict) else None
    if not isinstance(found, dict) or not found:
        raise BoxError("the attempts gave no answer")
    return {str(name)[:60]: value is not False for name, value in found.items()}


@contextlib.contextmanager
def _bait() -> Iterator[tuple[Path, int, Any]]:
    """A file, a service and an environment variable that nobody inside may reach."""
    variable = f"TUNEBOOK_TRIAL_{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory(dir=_writable_folder()) as folder, socket.socket() as server:
        path = Path(folder, "secret.txt")
        path.write_text("secret", "utf-8")
        os.chmod(folder, 0o777)  # noqa: S103  # only the sandbox may be what keeps others out
        server.bind(("127.0.0.1", 0))
        server.listen()
        os.environ[variable] = "1"
        try:
            yield path, server.getsockname()[1], variable
        finally:
            del os.environ[variable]


def _writable_folder() -> str | None:
    """Where runs are kept: what a submission must not see; else the system's folder."""
    runs = REPO_DIR / "runs"
    with contextlib.suppress(OSError):
        runs.mkdir(exist_ok=True)
    return str(runs) if os.access(runs, os.W_OK) else None

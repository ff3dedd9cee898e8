"""Which isolation works on this machine: found by trying to break out, not by looking at names."""

import os
import platform
import subprocess
import sys

from course_lib.errors import EnvironmentProblem
from course_lib.homework import sandbox, seccomp, trials
from course_lib.homework.box import BoxError
from course_lib.homework.sandbox import Isolation
from course_lib.teaching.doctor import Finding

APPARMOR = (
    "Ubuntu 24.04 and later: allow it with an AppArmor profile for /usr/bin/bwrap that has "
    "`userns,`, or with sysctl kernel.apparmor_restrict_unprivileged_userns=0. In a container: "
    "start it with the rights to make namespaces, or grade on the machine itself."
)
UNFILTERED: Isolation = "bubblewrap without filter"


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
    findings, isolation = _look()
    problems = [finding for finding in findings if not finding.is_ok]
    if problems:
        raise EnvironmentProblem(
            f"Submissions cannot be run safely here: {problems[0].name}: {problems[0].found}.",
            "Run: tunebook homework doctor. Or trust every submission with your files and "
            "your account: --unsafe-no-sandbox",
        )
    return isolation


def examine() -> list[Finding]:
    """Look for bubblewrap, start it, and try to break out.

    Returns:
        One finding for each thing; when one is not fine, those behind it were not tried.
    """
    return _look()[0]


def _look() -> tuple[list[Finding], Isolation]:
    """What was found, and the best isolation when all of it is fine."""
    if sys.platform != "linux":
        step = "Grade on a Linux machine, in WSL2, or in a container."
        words = f"{sys.platform}, but bubblewrap needs Linux"
        return [Finding("system", words, False, step)], "none"
    try:
        found = [Finding("bubblewrap", _version(sandbox.find_bubblewrap()))]
    except EnvironmentProblem as problem:
        return [Finding("bubblewrap", "not installed", False, problem.next_step)], "none"
    if os.geteuid() == 0:
        found.append(Finding("user", "root; submissions run as an ordinary user"))
    found.append(_check_start())
    if not found[-1].is_ok:
        return found, "none"
    finding, isolation = _check_filter()
    return [*found, finding, *_check_walls(isolation)], isolation


def _version(bwrap: str) -> str:
    done = subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=20)  # noqa: S603
    return done.stdout.strip() or "no version"


def _check_start() -> Finding:
    """Whether Python and IPython start inside; if not, what was said."""
    line = [*sandbox.command(UNFILTERED, trials.LIMITS), "-c", "import IPython, numpy"]
    done = subprocess.run(  # noqa: S603
        line, capture_output=True, text=True, timeout=120, env=sandbox.environment(UNFILTERED)
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


def _check_filter() -> tuple[Finding, Isolation]:
    """Whether the kernel refuses what the filter names; tried without it too, to compare."""
    machine = seccomp.find_machine()
    if machine is None:
        return _no_filter(f"no filter for {platform.machine()}"), UNFILTERED
    try:
        open_calls = trials.calls_let_through(UNFILTERED, machine)
        through = trials.calls_let_through("bubblewrap", machine)
    except (BoxError, EnvironmentProblem) as error:
        return _no_filter(f"the filter does not start: {error}"), UNFILTERED
    if through:
        return _no_filter(f"in spite of the filter: {', '.join(through)}"), UNFILTERED
    words = f"{len(open_calls)} tried that this kernel lets through, the filter refuses them all"
    return Finding("system calls", words), "bubblewrap"


def _no_filter(words: str) -> Finding:
    step = (
        "The walls hold without it; it only keeps more of the kernel out of reach. Reports will "
        "say so. Grade on x86_64 or aarch64 with a kernel that has CONFIG_SECCOMP_FILTER."
    )
    return Finding("system calls", words[:300], True, step)


def _check_walls(isolation: Isolation) -> list[Finding]:
    try:
        tried = trials.try_to_break_out(isolation)
    except (BoxError, EnvironmentProblem) as error:
        return [Finding("walls", str(error), False, "Report this with the lines above.")]
    through = [name for name, is_through in tried.items() if is_through]
    if not through:
        return [Finding("walls", f"{len(tried)} ways out tried, none is open")]
    step = f"Grade on another machine, or with a newer bubblewrap: {sandbox.INSTALL}."
    return [Finding("walls", f"a submission {name}", False, step) for name in through]

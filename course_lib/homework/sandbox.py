"""The command that starts a worker alone: no network, no files but Python's, an ordinary user.

It is bubblewrap (`bwrap`). Root cannot be held back by limits on processes, so as root a first
bubblewrap only shows Python under a folder that others may enter, and steps down to an ordinary
user; the second one is the sandbox.
"""

import contextlib
import os
import platform
import shutil
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from course_lib.errors import EnvironmentProblem
from course_lib.homework import seccomp

Isolation = Literal["bubblewrap", "bubblewrap without filter", "none"]
NOBODY = 65534
MIB = 2**20
HERE = Path(__file__).resolve().parent
WORKER_FILES = ("worker.py", "wire.py")
OWN_PACKAGES = ("course_lib", "solutions")  # never inside, wherever they are installed
MOVED = "/mnt"  # where the first bubblewrap shows folders; only inside its own view
INSTALL = "apt-get install bubblewrap (Debian, Ubuntu), dnf install bubblewrap (Fedora)"


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Args:
        memory: bytes of address space for each process.
        memory_in_all: bytes of memory of all its processes together.
        disk: bytes in each of its three folders, which are in memory.
        file: bytes of one file.
        processes: processes and threads.
        files: open files.
        cell_s: seconds of computing for a cell.
        call_s: seconds of computing for a call.
        patience: times these seconds that may pass on the clock, before the process is ended.
        whole_s: seconds on the clock for the whole submission.
    """

    memory: int = 4096 * MIB
    memory_in_all: int = 2048 * MIB
    disk: int = 64 * MIB
    file: int = 64 * MIB
    processes: int = 64
    files: int = 256
    cell_s: float = 20
    call_s: float = 5
    patience: float = 4
    whole_s: float = 240

    def for_worker(self) -> dict[str, int]:
        """Those that the process sets for itself before any code of a learner runs."""
        names = ("memory", "file", "processes", "files")
        return {name: value for name, value in asdict(self).items() if name in names}


def command(isolation: Isolation, limits: Limits, handle: int | None = None) -> list[str]:
    """The start of a command line; Python's own arguments follow.

    Args:
        isolation: "none" runs the worker as an ordinary process.
        limits: see `Limits`.
        handle: from `opened_filter`; the process must be given it.

    Raises:
        EnvironmentProblem: bubblewrap is not installed.
    """
    if isolation == "none":
        return [sys.executable, "-B"]
    bwrap = find_bubblewrap()
    folders = _python_folders()
    if os.geteuid() != 0:
        shown = {path: path for path in folders}
        return [*_inner(bwrap, shown, limits, handle), _python(), "-B"]
    moved = {path: f"{MOVED}/{number}" for number, path in enumerate([*folders, str(HERE)])}
    outer = [bwrap, "--dev-bind", "/", "/", "--tmpfs", MOVED]
    for path, place in moved.items():
        outer += ["--ro-bind", path, place]
    step_down = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return [*outer, "--", *step_down, *_inner(bwrap, moved, limits, handle), _python(), "-B"]


@contextlib.contextmanager
def opened_filter(isolation: Isolation) -> Iterator[int | None]:
    """What `command` needs of the filter of system calls.

    Args:
        isolation: only "bubblewrap" has one.

    Yields:
        A handle for one start, or None.

    Raises:
        EnvironmentProblem: there is no filter for this processor.
    """
    if isolation != "bubblewrap":
        yield None
        return
    machine = seccomp.find_machine()
    if machine is None:
        raise EnvironmentProblem(
            f"There is no filter of system calls for {platform.machine()}.",
            "Run: tunebook homework doctor",
        )
    with seccomp.filter_handle(machine) as handle:
        yield handle


def environment(isolation: Isolation) -> dict[str, str]:
    """The environment variables to start the worker with.

    Args:
        isolation: inside bubblewrap the sandbox sets its own.
    """
    kept = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    if isolation == "none":
        kept["PYTHONPATH"] = str(HERE.parent.parent)
    return {**kept, "OMP_NUM_THREADS": "1", "LANG": "C.UTF-8"}


def find_bubblewrap() -> str:
    """The path of bwrap.

    Raises:
        EnvironmentProblem: it is not installed, or this is no Linux.
    """
    found = shutil.which("bwrap")
    if not found:
        raise EnvironmentProblem(
            "bubblewrap is not installed: submissions cannot be run apart from your files.",
            f"{INSTALL}. macOS and Windows: use a Linux machine, WSL2 or a container.",
        )
    return found


def _python() -> str:
    return os.path.realpath(sys.executable)


@cache
def _python_folders() -> tuple[str, ...]:
    """Python's own folder and its packages: all that a worker may read besides /usr."""
    packages = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    packages += [path for path in site.getsitepackages() if Path(path).is_dir()]
    wanted = [sys.base_prefix, str(Path(_python()).parent.parent), *packages]
    found = dict.fromkeys(os.path.realpath(path) for path in wanted)
    return tuple(
        path
        for path in found
        if not path.startswith("/usr/") and path != "/usr" and not _is_inside(path, found)
    )


def _is_inside(path: str, others: Sequence[str] | dict[str, None]) -> bool:
    return any(other != path and path.startswith(other + "/") for other in others)


def _inner(bwrap: str, shown: dict[str, str], limits: Limits, handle: int | None) -> list[str]:
    """The sandbox; `shown` maps folders to where this process can read them."""
    found = [bwrap, "--unshare-all", "--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    found += ["--disable-userns"] if _knows_disable_userns(bwrap) else []
    found += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    found += ["--seccomp", str(handle)] if handle is not None else []
    found += _system_folders()
    size = ["--size", str(limits.disk)]
    found += ["--proc", "/proc", "--dev", "/dev", *size, "--tmpfs", "/dev/shm"]  # noqa: S108
    found += ["--remount-ro", "/dev", *size, "--tmpfs", "/tmp", *size, "--tmpfs", "/box"]  # noqa: S108
    for path, place in shown.items():
        if path != str(HERE):
            found += ["--ro-bind", place, path, *_masks(path)]
    here = shown.get(str(HERE), str(HERE))
    for name in WORKER_FILES:
        found += ["--ro-bind", f"{here}/{name}", f"/box/course_lib/homework/{name}"]
    packages = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    variables = {
        "HOME": "/tmp",  # noqa: S108
        "IPYTHONDIR": "/tmp/.ipython",  # noqa: S108
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(os.path.realpath(path) for path in packages),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    for name, value in variables.items():
        found += ["--setenv", name, value]
    return [*found, "--remount-ro", "/", "--chdir", "/box", "--"]


def _system_folders() -> list[str]:
    found = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            found += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            found += ["--ro-bind", str(path), str(path)]
    cache_file = "/etc/ld.so.cache"
    return found + (["--ro-bind", cache_file, cache_file] if Path(cache_file).is_file() else [])


def _masks(path: str) -> list[str]:
    """Cover the course where it is installed among the packages: it holds answers."""
    found = []
    for folder in [path, *(p for p in site.getsitepackages() if p.startswith(path + "/"))]:
        for name in OWN_PACKAGES:
            if Path(folder, name).is_dir():
                found += ["--tmpfs", str(Path(folder, name))]
    return found


@cache
def _knows_disable_userns(bwrap: str) -> bool:
    done = subprocess.run([bwrap, "--help"], capture_output=True, text=True, timeout=20)  # noqa: S603
    return "--disable-userns" in done.stdout + done.stderr

"""What a hostile submission would try first: run inside, to find out what the walls hold back."""

import contextlib
import errno
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from course_lib.files import REPO_DIR
from course_lib.homework import seccomp
from course_lib.homework.box import Box, BoxError
from course_lib.homework.sandbox import Isolation, Limits

LIMITS = Limits(call_s=20)
WAYS_OUT = """
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
CALLS = """
import ctypes

def try_calls(calls):
    library = ctypes.CDLL(None, use_errno=True)
    found = {}
    for name, numbers in calls.items():
        ctypes.set_errno(0)
        library.syscall(*map(ctypes.c_long, numbers))
        found[name] = ctypes.get_errno()
    return found
"""
# Arguments with which a call does no harm where it is let through, and ends with another error
# than "not permitted". Calls that need a right that nobody inside has are told by nothing.
HARMLESS: dict[str, tuple[int, ...]] = {
    "ptrace": (16, 2**30, 0, 0),  # attach to a process that is not there
    "process_vm_readv": (2**30, 0, 0, 0, 0, 0),
    "process_vm_writev": (2**30, 0, 0, 0, 0, 0),
    "pidfd_getfd": (-1, 0, 0),
    "kcmp": (2**30, 2**30, 0, 0, 0),
    "add_key": (0, 0, 0, 0, 0),
    "keyctl": (-1,),
    "bpf": (0, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "userfaultfd": (2,),  # a flag that there is not
    "io_uring_setup": (0, 0),
    "mount": (0, 0, 0, 0, 0),
    "fsopen": (0, 0),
    "unshare": (0,),
    "setns": (-1, 0),
    "clone": (0x10000200, 0, 0, 0, 0),  # a new user namespace, with a flag that forbids it
    "socket": (40, 1, 0),  # AF_VSOCK, which leads out of a virtual machine
}


def try_to_break_out(isolation: Isolation) -> dict[str, bool]:
    """Let a process try what a hostile submission would.

    Args:
        isolation: how it is kept apart.

    Returns:
        For each attempt, whether it was possible.

    Raises:
        BoxError: the process ended before it could tell.
        EnvironmentProblem: the sandbox does not start.
    """
    with _bait() as (path, port, variable):
        found = _ask(isolation, WAYS_OUT, "try_all", [str(path), port, variable])
    return {str(name)[:60]: value is not False for name, value in found.items()}


def calls_let_through(isolation: Isolation, machine: seccomp.Machine) -> list[str]:
    """Which of the filter's calls reach the kernel.

    Args:
        isolation: how the process that tries them is kept apart.
        machine: from `seccomp.find_machine`.

    Returns:
        Their names; those that ended with "not permitted" or that the kernel has not are left out.

    Raises:
        BoxError: the process ended before it could tell.
        EnvironmentProblem: the sandbox does not start.
    """
    numbers = {name: both[machine.column] for name, both in seccomp.REFUSED.items()}
    numbers |= {"clone": machine.clone, "socket": machine.socket}
    calls = {name: [numbers[name], *values] for name, values in HARMLESS.items()}
    found = _ask(isolation, CALLS, "try_calls", [{"dict": calls}])
    return [name for name in calls if found.get(name) not in (errno.EPERM, errno.ENOSYS)]


def _ask(isolation: Isolation, code: str, name: str, args: list[Any]) -> dict[str, Any]:
    with Box(isolation, LIMITS) as box:
        box.request({"op": "cell", "source": code}, 20, 60)
        answer = box.request({"op": "call", "name": name, "args": args}, 20, 90).get("answer")
    found = answer.get("dict") if isinstance(answer, dict) else None
    if not isinstance(found, dict) or not found:
        raise BoxError("the attempts gave no answer")
    return found


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

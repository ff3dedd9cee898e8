"""The filter of system calls: its program by an interpreter of our own, and the kernel's answer."""

import errno
import re
import struct
import warnings
from pathlib import Path

import pytest

from course_lib.errors import EnvironmentProblem
from course_lib.homework import grade, isolation, report, sandbox, seccomp, trials

ALLOW, END = seccomp.ALLOW, seccomp.END
EPERM = seccomp.REFUSE | errno.EPERM
ENOSYS = seccomp.REFUSE | errno.ENOSYS
each_machine = pytest.mark.parametrize("name", seccomp.MACHINES)


def run_filter(program: bytes, number: int, audit: int, first: int = 0) -> int:
    """What the kernel would do: the few instructions of classic BPF that the filter uses."""
    steps = list(struct.iter_unpack("=HBBI", program))
    data = struct.pack("=IIQQ", number, audit, 0, first)
    place, held = 0, 0
    while True:
        code, if_true, if_false, value = steps[place]
        place += 1
        if code == seccomp.RETURN:
            return value
        if code == seccomp.LOAD:
            (held,) = struct.unpack_from("=I", data, value)
        else:
            is_so = {
                seccomp.EQUAL: held == value,
                seccomp.AT_LEAST: held >= value,
                seccomp.ANY_BIT: bool(held & value),
            }[code]
            place += if_true if is_so else if_false


@each_machine
def test_each_named_call_is_refused_and_every_other_one_passes(name):
    machine = seccomp.MACHINES[name]
    program = seccomp.build_filter(machine)
    refused = {numbers[machine.column] for numbers in seccomp.REFUSED.values()} - {None}
    special = {machine.clone, machine.clone3, machine.socket}
    assert not refused & special
    for number in set(range(600)) - special:
        wanted = EPERM if number in refused else ALLOW
        assert run_filter(program, number, machine.audit) == wanted, number


@each_machine
def test_threads_and_processes_start_but_no_namespaces(name):
    machine = seccomp.MACHINES[name]
    program = seccomp.build_filter(machine)
    thread, fork = 0x3D0F00, 0x01200011  # what glibc passes for pthread_create and fork
    for flags in (thread, fork, 17):
        assert run_filter(program, machine.clone, machine.audit, flags) == ALLOW
        for bit in (0x20000, *(1 << n for n in range(25, 31))):
            assert run_filter(program, machine.clone, machine.audit, flags | bit) == EPERM
    assert run_filter(program, machine.clone3, machine.audit) == ENOSYS


@each_machine
@pytest.mark.parametrize(
    ("family", "is_allowed"),
    [(1, True), (2, True), (10, True), (16, True), (0, False), (17, False), (38, False)],
)
def test_only_families_behind_the_walls_get_a_socket(name, family, is_allowed):
    machine = seccomp.MACHINES[name]
    answer = run_filter(seccomp.build_filter(machine), machine.socket, machine.audit, family)
    assert answer == (ALLOW if is_allowed else EPERM)


@each_machine
def test_another_way_of_calling_ends_the_process(name):
    machine = seccomp.MACHINES[name]
    program = seccomp.build_filter(machine)
    for audit in {0x40000003, 0x40000028, 0xC000003E, 0xC00000B7} - {machine.audit}:
        assert run_filter(program, 39, audit) == END


def test_calls_of_x86s_third_kind_are_refused():
    machine = seccomp.MACHINES["x86_64"]
    assert run_filter(seccomp.build_filter(machine), seccomp.X32 + 39, machine.audit) == EPERM


@each_machine
def test_the_program_fits_the_kernel(name):
    steps = len(seccomp.build_filter(seccomp.MACHINES[name])) // 8
    assert steps < 4096  # BPF_MAXINSNS


HEADERS = [
    (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), "x86_64"),
    (Path("/usr/include/asm-generic/unistd.h"), "aarch64"),
]


@pytest.mark.parametrize(("path", "name"), HEADERS)
def test_numbers_are_those_of_the_kernels_headers(path, name):
    if not path.is_file():
        pytest.skip(f"{path} is not installed")
    text = path.read_text("utf-8")
    known = {n: int(v) for n, v in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)}
    machine = seccomp.MACHINES[name]
    ours = {call: numbers[machine.column] for call, numbers in seccomp.REFUSED.items()}
    ours |= {"clone": machine.clone, "clone3": machine.clone3, "socket": machine.socket}
    found = {call: known[call] for call in ours if call in known}
    assert found == {call: ours[call] for call in found}
    assert len(found) > 50


# ---------------------------------------------------------------- in the real sandbox


@pytest.fixture(scope="module")
def machine():
    found = seccomp.find_machine()
    problems = [one for one in isolation.examine() if not one.is_ok or one.name == "system calls"]
    if found is None or len(problems) != 1 or problems[0].next_step:
        text = f"THE FILTER OF SYSTEM CALLS WAS NOT TRIED HERE: {problems}"
        warnings.warn(text, stacklevel=1)
        pytest.skip(text)
    return found


def test_what_the_kernel_lets_through_the_filter_refuses(machine):
    without = trials.calls_let_through("bubblewrap without filter", machine)
    assert {"ptrace", "process_vm_readv", "unshare", "setns", "clone", "mount"} <= set(without)
    assert trials.calls_let_through("bubblewrap", machine) == []


def test_threads_processes_and_arrays_work_behind_the_filter(machine):
    code = """
import multiprocessing, subprocess, threading
import numpy as np

def work():
    found = [subprocess.run(["echo", "a"], capture_output=True, text=True).stdout.strip()]
    thread = threading.Thread(target=lambda: found.append("b"))
    thread.start()
    thread.join()
    child = multiprocessing.get_context("fork").Process(target=lambda: None)
    child.start()
    child.join()
    return [*found, child.exitcode, float(np.ones((20, 20)).sum())]
"""
    with trials.Box("bubblewrap", trials.LIMITS) as box:
        box.request({"op": "cell", "source": code}, 20, 60)
        reply = box.request({"op": "call", "name": "work", "args": []}, 20, 60)
    assert reply == {"answer": ["a", "b", 0, 400.0]}


# ---------------------------------------------------------------- where there is no filter


def open_walls(monkeypatch):
    """A machine on which all else is fine."""
    monkeypatch.setattr(isolation.sys, "platform", "linux")
    monkeypatch.setattr(isolation.sandbox, "find_bubblewrap", lambda: "/usr/bin/bwrap")
    monkeypatch.setattr(isolation, "_version", lambda bwrap: "bubblewrap 0.8.0")
    monkeypatch.setattr(isolation, "_check_start", lambda: isolation.Finding("Python", "starts"))
    monkeypatch.setattr(isolation.trials, "try_to_break_out", lambda kind: {"is root": False})


def test_another_processor_is_said_and_grading_goes_on_without(monkeypatch):
    open_walls(monkeypatch)
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    findings = {finding.name: finding for finding in isolation.examine()}
    assert findings["system calls"].found == "no filter for riscv64"
    assert "Reports will say so" in findings["system calls"].next_step
    assert isolation.choose() == "bubblewrap without filter"
    with (
        pytest.raises(EnvironmentProblem, match="no filter of system calls for riscv64"),
        sandbox.opened_filter("bubblewrap"),
    ):
        pass


@pytest.mark.parametrize("through", [["ptrace"], None])
def test_a_kernel_that_does_not_filter_is_said(monkeypatch, through):
    def tried(kind, machine):
        if kind == "bubblewrap" and through is None:
            raise trials.BoxError("the process ended")
        return through if kind == "bubblewrap" else ["ptrace", "mount"]

    open_walls(monkeypatch)
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(isolation.trials, "calls_let_through", tried)
    found = next(one for one in isolation.examine() if one.name == "system calls")
    assert ("in spite of the filter: ptrace" if through else "does not start") in found.found
    assert isolation.choose() == "bubblewrap without filter"


def test_reports_say_that_the_filter_was_missing():
    kinds = {"bubblewrap": False, "bubblewrap without filter": True}
    for kind, is_said in kinds.items():
        result = grade.Result("anna", "graded", 1, 1, isolation=kind)
        assert (report.NOT_FILTERED in report._stamp([result])) == is_said

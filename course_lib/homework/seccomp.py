"""A filter of system calls for the sandbox: what no homework needs is refused by the kernel.

It is a program of classic BPF, the bytes that bubblewrap takes with `--seccomp FD`. Refused calls
end with "not permitted", so an honest program that tries one can go on.

Source: the kernel's Documentation/userspace-api/seccomp_filter.rst; numbers from its unistd
headers (x86: asm/unistd_64.h, aarch64: asm-generic/unistd.h).
"""

import contextlib
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

# BPF_LD + W + ABS, BPF_JMP + JEQ, + JGE, + JSET (each with a constant), BPF_RET
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# SECCOMP_RET_ALLOW, _ERRNO, _KILL_PROCESS
ALLOW, REFUSE, END = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data, low half first
X32 = 0x40000000  # calls of x86's third way of calling; every program here uses the second
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
NEW_NAMESPACES = 0x7E020000
FAMILIES = (1, 2, 10, 16)  # sockets: unix, IPv4, IPv6, netlink; all are inside the sandbox's walls

# call: (its number on x86_64, on aarch64); None where it does not exist
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    # keys, which are shared beyond namespaces
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # large parts of the kernel that errors were found in
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    # file systems and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    # the machine itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
}


@dataclass(frozen=True)
class Machine:
    """A kind of processor.

    Args:
        audit: its number in the kernel, AUDIT_ARCH_...; a call by other rules has another one.
        column: of `REFUSED`.
        clone: number of the call, whose flags can be seen.
        clone3: number of the call, whose flags lie in memory and cannot be seen.
        socket: number of the call.
    """

    audit: int
    column: int
    clone: int
    clone3: int
    socket: int


MACHINES = {
    "x86_64": Machine(0xC000003E, 0, 56, 435, 41),
    "aarch64": Machine(0xC00000B7, 1, 220, 435, 198),
}


def find_machine() -> Machine | None:
    """What the filter is made for here; None where there is none: another system or processor."""
    is_64_bits = sys.maxsize > 2**32
    return MACHINES.get(platform.machine()) if sys.platform == "linux" and is_64_bits else None


def build_filter(machine: Machine) -> bytes:
    """Write the program.

    Args:
        machine: from `MACHINES`.

    Returns:
        Instructions of 8 bytes, for `--seccomp`.
    """
    refuse = _step(RETURN, REFUSE | errno.EPERM)
    allow = _step(RETURN, ALLOW)
    parts = [_step(LOAD, ARCHITECTURE), _step(EQUAL, machine.audit, 1), _step(RETURN, END)]
    parts.append(_step(LOAD, NUMBER))
    if machine.column == 0:
        parts += [_step(AT_LEAST, X32, 0, 1), refuse]
    for numbers in REFUSED.values():
        number = numbers[machine.column]
        if number is not None:
            parts += [_step(EQUAL, number, 0, 1), refuse]
    # The C library takes "no such call" for an old kernel and uses clone.
    parts += [_step(EQUAL, machine.clone3, 0, 1), _step(RETURN, REFUSE | errno.ENOSYS)]
    parts += [_step(EQUAL, machine.clone, 0, 4), _step(LOAD, FIRST_ARGUMENT)]
    parts += [_step(ANY_BIT, NEW_NAMESPACES, 0, 1), refuse, allow]
    parts += [_step(EQUAL, machine.socket, 0, len(FAMILIES) + 2), _step(LOAD, FIRST_ARGUMENT)]
    for place, family in enumerate(FAMILIES):  # over the others and `refuse`
        parts.append(_step(EQUAL, family, len(FAMILIES) - place))
    return b"".join([*parts, refuse, allow])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; jumps count the instructions that are passed over."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


@contextlib.contextmanager
def filter_handle(machine: Machine) -> Iterator[int]:
    """A pipe that holds the program, to be read once by bubblewrap.

    Args:
        machine: from `find_machine`.

    Yields:
        Its end to read from; the started process must be given it.
    """
    reading, writing = os.pipe()
    try:
        with os.fdopen(writing, "wb") as file:
            file.write(build_filter(machine))
        yield reading
    finally:
        os.close(reading)

"""Submissions that mean harm, or that are merely odd: each gets what it earned, nobody else loses.

All of them are graded once, as one cohort, in the real sandbox.
"""

import contextlib
import hashlib
import os
import warnings
from functools import partial

import nbformat
import psutil
import pytest

from course_lib.files import REPO_DIR
from course_lib.homework import grade, isolation, lessons, seccomp
from course_lib.homework.inbox import Upload
from course_lib.homework.sandbox import Limits
from tests.homework import answers

LESSON = "01_concepts"
ALL = 14  # points; build_labels has 3 of them
WITHOUT_LABELS = ALL - 3
LIMITS = Limits(cell_s=2, call_s=1, patience=4, memory_in_all=600 * 2**20)
SECRET = str(lessons.SOLUTIONS_DIR / LESSON / lessons.NOTEBOOK_NAME)


def labels(body: str, above: str = "") -> dict[str, str]:
    """The build_labels cell with another body."""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return {"build_labels": f"{above}\ndef build_labels(segments):\n{lines}\n"}


FORGE = """
import json, os
for handle in range(3, 2048):  # wherever the pipe is
    try:
        data = json.dumps({"answer": {"tuple": [[1, 2, 7, 9], [-100, -100, 7, 9]]}}).encode()
        os.write(handle, len(data).to_bytes(4, "big") + data)
    except OSError:
        pass
return segments
"""
BREAK_WIRE = """
import sys
from course_lib.homework import wire
wire.encode = lambda value, depth=0: {"array": ["|O8", [1], "AAAAAAAAAAA="]}
return 1
"""
FORK = """
import os, time
while True:
    try:
        if os.fork() == 0:
            time.sleep(60)
    except OSError:
        os.kill(os.getpid(), 9)
"""
FILL_MEMORY = """
import subprocess, sys, time
code = "x = bytearray(300 * 2**20); import time; time.sleep(60)"
helpers = [subprocess.Popen([sys.executable, "-c", code]) for n in range(4)]
time.sleep(60)
"""
FILL_DISK = """
for n in range(100):
    with open(f"/tmp/{n}", "wb") as file:
        file.write(bytes(10**7))
"""
NETWORK = """
import socket
socket.create_connection(("1.1.1.1", 53), timeout=1)
"""
SPIN = """
import threading

def spin():
    while True:
        pass

threading.Thread(target=spin).start()
"""
MACHINE = seccomp.find_machine() or seccomp.MACHINES["x86_64"]
# Stop the sandbox's first process as a debugger would; then a key, which outlives the sandbox.
KERNEL = f"""
import ctypes, os
library = ctypes.CDLL(None, use_errno=True)
calls = [({seccomp.REFUSED["ptrace"][MACHINE.column]}, 0x4206, 1, 0, 0),
         ({seccomp.REFUSED["add_key"][MACHINE.column]}, b"user", b"tunebook", b"x", 1, -4)]
for number, *rest in calls:
    if library.syscall(number, *rest) != -1 or ctypes.get_errno() != 1:
        return [1, 2, 7, 9], [-100, -100, 7, 9]
raise OSError("both refused")
"""
EQUAL = "class Yes:\n    def __eq__(self, other): return True\n    __hash__ = None\n"

# name: (changed cells, more cells, status, score, what must be said somewhere)
SUBMISSIONS = {
    "perfect": ({}, (), "graded", ALL, ""),
    "one mistake": (labels("return [], []"), (), "graded", WITHOUT_LABELS, "joined in order"),
    "not started": (
        labels("raise NotImplementedError"),
        (),
        "graded",
        WITHOUT_LABELS,
        "replace the line",
    ),
    "syntax error": ({"build_labels": "def build_labels(:"}, (), "graded", 11, "SyntaxError"),
    "endless loop in a function": (
        labels("while True: pass"),
        (),
        "partly",
        WITHOUT_LABELS,
        "build_labels could not be graded: it ",
    ),
    "endless loop in a cell": ({}, ["while True: pass"], None, ALL, "cell number 19"),
    "exit in a function": (
        labels("import os; os._exit(3)"),
        (),
        "partly",
        WITHOUT_LABELS,
        "the process ended",
    ),
    "exit in a cell": (
        {},
        ["import os; os._exit(3)"],
        "partly",
        ALL,
        "cell number 19 was left out: the process ended",
    ),
    "SystemExit": (labels("raise SystemExit"), (), "graded", 11, "stopped with SystemExit"),
    "KeyboardInterrupt": (labels("raise KeyboardInterrupt"), (), "graded", 11, "KeyboardInterrupt"),
    "reads the solution": (labels(f"return open({SECRET!r}).read()"), (), "graded", 11, "No such"),
    "looks for the course": (
        labels("from course_lib.data import masking"),
        (),
        "graded",
        11,
        "ModuleNotFoundError",
    ),
    "equal to everything": (labels("return Yes()", EQUAL), (), "graded", 11, "a Yes; hand back"),
    "a list that is equal to everything": (
        labels("return L()", "class L(list):\n    def __eq__(self, other): return True"),
        (),
        "graded",
        11,
        "a L; hand back",
    ),
    "allclose always says yes": (
        {
            "lora_forward": "import numpy as np\nnp.allclose = lambda *a, **k: True\n"
            "def lora_forward(x, weight, a, b, alpha): return 0 * (x @ weight.T)"
        },
        (),
        "graded",
        11,
        "not base + lora_alpha",
    ),
    "drops asserts": (
        labels("return [], []"),
        ["import ast\nget_ipython().ast_transformers.append(ast.NodeTransformer())"],
        "graded",
        11,
        "",
    ),
    "builtins replaced": ({}, ["import builtins\nbuiltins.len = lambda x: 0"], None, None, ""),
    "prints without end": ({}, ["for n in range(200_000): print(n)"], "graded", ALL, ""),
    "warns": ({}, ["import warnings\nwarnings.warn('careful')"], "graded", ALL, ""),
    "asks for input": (labels("return input()"), (), "graded", 11, "build_labels stopped with"),
    "fork bomb": (labels(FORK), (), "partly", WITHOUT_LABELS, "could not be graded"),
    "memory in one piece": (labels("x = bytearray(9 * 2**30)"), (), "graded", 11, "MemoryError"),
    "memory in many processes": (labels(FILL_MEMORY), (), "partly", 11, "MiB of memory"),
    "disk": (labels(FILL_DISK), (), "graded", 11, "No space left"),
    "one large file": (
        labels("open('/tmp/x', 'wb').write(bytes(10**8))"),
        (),
        None,
        WITHOUT_LABELS,
        "build_labels",
    ),
    "ignores the alarm": (
        labels("import signal; signal.signal(signal.SIGPROF, 1)\nwhile True: pass"),
        (),
        "partly",
        WITHOUT_LABELS,
        "it took too long",
    ),
    "a loop in C": (labels("return 3 ** (10**9)"), (), "partly", 11, "build_labels could not"),
    "sleeps": (labels("import time; time.sleep(100)"), (), "partly", 11, "it took too long"),
    "forged replies": (labels(FORGE), (), "partly", 11, "the grader's own pipe"),
    "broken codec": (labels(BREAK_WIRE), (), None, None, "build_labels"),
    "large reply": (labels("return 'x' * 40_000_000"), (), "graded", 11, "more than can be sent"),
    "deep list": (
        labels("x = []\nfor n in range(10_000): x = [x]\nreturn x"),
        (),
        "graded",
        11,
        "more than 50 deep",
    ),
    "huge number": (
        {"mean_loss": "def mean_loss(logits, labels): return 10 ** 5000"},
        (),
        None,
        11,
        "mean_loss",
    ),
    "recursion": (labels("return build_labels(segments)"), (), "graded", 11, "RecursionError"),
    "an error that cannot be shown": (
        labels("raise Bad", "class Bad(Exception):\n    def __str__(self): raise ValueError('no')"),
        (),
        "graded",
        11,
        "cannot be shown",
    ),
    "network": (labels(NETWORK), (), "graded", 11, "OSError"),
    "calls the kernel": (labels(KERNEL), (), "graded", WITHOUT_LABELS, "OSError: both refused"),
    "kills its parents": (
        labels("import os; os.kill(os.getppid(), 9); os.kill(1, 9); return [], []"),
        (),
        None,
        WITHOUT_LABELS,
        "",
    ),
    "deletes everything": (
        {},
        ["import shutil; shutil.rmtree('/', ignore_errors=True)"],
        None,
        None,
        "",
    ),
    "reads the environment": (
        labels("import os; return sorted(os.environ)"),
        (),
        "graded",
        11,
        "Hand back two lists",
    ),
    "a thread that goes on": (
        {},
        [SPIN],
        None,
        None,
        "",
    ),
    "check cell edited": ({"mean_loss_check": "pass"}, (), "graded", ALL, "was edited"),
    "imports edited": ({"imports": "import this_is_not_there"}, (), "graded", ALL, "was edited"),
    "calls the checks": ({}, ["%check mean_loss\n!rm -rf /\nx = 1"], "graded", ALL, ""),
    "no functions at all": (
        dict.fromkeys(lessons.visible_checks(LESSON), "# nothing"),
        (),
        "graded",
        0,
        "there is no",
    ),
}


def digest_of_repository() -> str:
    """A digest of what a submission could want to change."""
    found = hashlib.sha256()
    for folder in ("solutions", "exercises", "course_lib/homework"):
        for path in sorted((REPO_DIR / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(path.read_bytes())
    return found.hexdigest()


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Results by name, and whether the repository stayed as it was."""
    problems = [finding for finding in isolation.examine() if not finding.is_ok]
    if problems:
        text = f"NO SANDBOX WORKS HERE, HOSTILE SUBMISSIONS WERE NOT TRIED: {problems}"
        warnings.warn(text, stacklevel=1)
        pytest.skip(text)
    before = digest_of_repository()
    exam = grade.load_exam(LESSON, "bubblewrap", LIMITS)
    uploads = {}
    for name, (changes, extra, *_) in SUBMISSIONS.items():
        notebook = answers.handed_in(LESSON, changes, extra)
        content = nbformat.writes(notebook).encode("utf-8")
        uploads[name] = [Upload(name, f"{name}.ipynb", partial(bytes, content))]
    jobs = 2 * (os.cpu_count() or 1)  # many of them only wait for their end
    results = grade.grade_cohort(exam, uploads, tmp_path_factory.mktemp("out"), jobs)
    return {result.student: result for result in results}, before == digest_of_repository()


def told(result: grade.Result) -> str:
    return " ".join([result.reason, *result.notes, *(q["message"] for q in result.questions)])


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_it_gets_what_it_earned(cohort, name):
    _, _, status, score, said = SUBMISSIONS[name]
    result = cohort[0][name]
    assert result.status in ((status,) if status else ("graded", "partly")), told(result)
    if score is not None:
        assert result.score == score, told(result)
    assert said in told(result)
    assert result.isolation == "bubblewrap"


def test_the_machines_files_stay_as_they_were(cohort):
    assert cohort[1]


def test_no_environment_variable_of_the_grader_is_inside(cohort):
    question = next(q for q in cohort[0]["reads the environment"].questions if q["points"] == 0)
    assert "TUNEBOOK" not in question["message"]


def test_no_process_stays_behind(cohort):
    children = psutil.Process().children(recursive=True)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert [p for p in children if "homework.worker" in " ".join(p.cmdline())] == []

"""Seconds until a fresh process has imported a module, or answered a command."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from course_lib.files import REPO_DIR

COMMANDS = {"tunebook -h": ("-h",), "tunebook train -h": ("train", "-h")}
# Printed by the process itself, so that the start of Python is left out.
IMPORT = """
import time
start = time.perf_counter()
import {names}
print(time.perf_counter() - start)
"""


def data_modules() -> list[str]:
    """Names of the modules of course_lib.data."""
    paths = sorted((REPO_DIR / "course_lib" / "data").glob("[!_]*.py"))
    return [f"course_lib.data.{path.stem}" for path in paths]


def import_s(names: Sequence[str]) -> float:
    """Seconds of an import statement in a fresh process; the start of Python is left out."""
    return float(_run("-c", IMPORT.format(names=", ".join(names))))


def command_s(words: Sequence[str]) -> float:
    """Seconds of a whole command, the start of Python included."""
    start = time.perf_counter()
    _run("-m", "course_lib.cli", *words)
    return time.perf_counter() - start


def _run(*words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(REPO_DIR))}
    done = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def run_all(repeats: int) -> dict[str, Any]:
    """Measure every module and command, in turn, several times.

    Args:
        repeats: fresh processes for each.

    Returns:
        Plain data: for each name its seconds in order, and their median.
    """
    modules = data_modules()
    groups = {**{name: [name] for name in modules}, "all of course_lib.data": modules}
    seconds: dict[str, list[float]] = {name: [] for name in (*groups, *COMMANDS)}
    for _ in range(repeats):
        for name, names in groups.items():
            seconds[name].append(import_s(names))
        for name, words in COMMANDS.items():
            seconds[name].append(command_s(words))
    return report.timings(seconds, repeats)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark.

    Args:
        argv: the command line without the program's name; that of the process when None.
    """
    parser = report.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="fresh processes for each line")
    options = parser.parse_args(argv)
    result = run_all(options.repeats)
    report.show(result, report.timings_text(result, "fresh process"), options.json)


if __name__ == "__main__":
    main()

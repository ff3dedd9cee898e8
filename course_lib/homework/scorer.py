"""Measures adapters for a grader, in a process of its own with little memory and no file to write.

Only the course's own code runs in it, on adapters that were looked over first. A line of JSON comes
in for each, a line goes out.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import TextIO

from course_lib.errors import TunebookError
from course_lib.homework import measure

GIB = 2**30
LIMITS = {
    resource.RLIMIT_AS: 4 * GIB,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 256,
}


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer requests until there are no more.

    Args:
        requests: lines with the arguments of `measure.measure`, such as
            {"adapter_dir": ..., "name": ..., "wordings": [], "seed": 0}.
        replies: a line for each: {"measured": ...}, or {"error": ...} when it does not fit.
    """
    for line in requests:
        job = json.loads(line)
        try:
            answer = {"measured": measure.measure(Path(job.pop("adapter_dir")), **job)}
        except TunebookError as error:
            answer = {"error": error.message}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def main() -> None:
    """Serve stdin and stdout; what libraries print goes to stderr."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as replies:
        os.dup2(2, 1)
        for name, value in LIMITS.items():
            hard = resource.getrlimit(name)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            if name != resource.RLIMIT_AS or sys.platform == "linux":  # macOS refuses that one
                resource.setrlimit(name, (most, most))
        serve(sys.stdin, replies)


if __name__ == "__main__":
    main()

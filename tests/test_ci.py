"""What the build server runs and counts."""

import re

from course_lib.files import REPO_DIR


def test_the_build_server_counts_every_suite_that_make_test_runs():
    makefile = (REPO_DIR / "Makefile").read_text("utf-8")
    suites = re.search(r"\$\(BUFFERED\) ([a-z ]+)\n", makefile)[1].split()
    counted = re.search(r"for name in \(([^)]+)\)", (REPO_DIR / ".ci" / "run").read_text("utf-8"))
    assert sorted(suites) == sorted(re.findall(r'"(\w+)"', counted[1]))
    for suite in suites:  # each writes its counts where they are looked for
        assert re.search(rf"^{suite}: .*\n\t@\$\(PYTEST\) ", makefile, re.MULTILINE), suite

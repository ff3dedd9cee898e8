"""The answers of lesson 00 are what the course's own files and code say."""

import json

from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from course_lib.evaluation import report
from course_lib.files import DATA_DIR
from course_lib.homework import lessons
from tests.homework import answers

NAMES = answers.notebook_names(lessons.SOLUTIONS_DIR / "00_start" / lessons.NOTEBOOK_NAME)
PERCENT = st.integers(0, 100)
SCORES = st.dictionaries(st.text(min_size=1, max_size=3), st.tuples(PERCENT, PERCENT), min_size=1)


def test_the_count_is_that_of_the_numbers_in_the_ready_adapter():
    folder = DATA_DIR / "adapters" / "ada"
    r = json.loads((folder / "adapter_config.json").read_text("utf-8"))["r"]
    with safe_open(folder / "adapter_model.safetensors", framework="np") as file:
        sizes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    wide = {n.replace("lora_A", "*"): shape for n, shape in sizes.items() if "lora_A" in n}
    tall = {n.replace("lora_B", "*"): shape for n, shape in sizes.items() if "lora_B" in n}
    shapes = [[tall[name][0], wide[name][1]] for name in wide]
    assert NAMES["count_adapter"](shapes, r) == sum(a * b for a, b in sizes.values())


@given(SCORES, st.integers(1, 100))
def test_what_moved_are_the_large_changes_of_the_report(scores, least):
    before, after = ({n: pair[side] for n, pair in scores.items()} for side in (0, 1))
    moved = NAMES["what_moved"](before, after, least)
    changes = {row["measure"]: row["change"] for row in report.compare(before, after)}
    assert moved["up"] == [name for name in before if changes[name] >= least]
    assert moved["down"] == [name for name in before if changes[name] <= -least]

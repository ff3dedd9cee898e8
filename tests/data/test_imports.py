import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "tokenizers", "numpy", "jinja2")


@pytest.mark.parametrize(
    "module",
    ["chat_template", "encoders", "masking", "packing", "prepare", "named_templates", "formats"],
)
def test_lessons_on_data_start_without_heavy_libraries(module):
    code = f"import sys, course_lib.data.{module}; print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

"""`%check` and its button: states, hints after attempts, no traceback unless asked."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

from course_lib.errors import UnknownNameError
from course_lib.homework import lesson_01, lessons, progress, selfcheck
from course_lib.widgets import check_button

STUB = "def build_labels(segments):\n    raise NotImplementedError"
ALL_LOSS = """def build_labels(segments):
    ids = [i for s in segments for i in s["ids"]]
    return ids, ids"""
NO_LOSS = ALL_LOSS.replace("return ids, ids", "return ids, [-100] * len(ids)")
BROKEN = "def build_labels(segments):\n    return segments[99]"
RIGHT = """def build_labels(segments):
    ids, labels = [], []
    for s in segments:
        ids += s["ids"]
        labels += s["ids"] if s["has_loss"] else [-100] * len(s["ids"])
    return ids, labels"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    made = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "course_lib.homework.selfcheck")
    return made


def run(shell, line):
    return repr(shell.run_line_magic("check", line))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", "· build_labels, not started: there is no build_labels yet"),
        (STUB, "· build_labels, not started: replace the line"),
        (ALL_LOSS, "✗ build_labels, wrong: Every token has loss"),
        (BROKEN, "✗ build_labels, wrong: build_labels stopped with IndexError"),
        (RIGHT, "✓ build_labels: all visible checks pass"),
    ],
)
def test_not_started_wrong_and_right_are_told_apart(shell, code, said):
    shell.run_cell(code)
    assert run(shell, "build_labels").startswith(said)


def test_no_traceback_unless_asked_why(shell):
    shell.run_cell(BROKEN)
    assert "return segments[99]" not in run(shell, "build_labels")
    assert "return segments[99]" in run(shell, "build_labels --why")


def test_raise_shows_the_message_and_a_single_line_of_error(shell):
    shell.run_cell(ALL_LOSS)
    with capture_output() as captured:
        result = shell.run_cell("%check build_labels --raise")
    assert isinstance(result.error_in_exec, selfcheck.NotRight)
    assert "Every token has loss" in captured.stdout
    assert "Traceback" not in captured.stdout + captured.stderr
    assert captured.stdout.rstrip().endswith("(build_labels: wrong)")


def test_raise_is_quiet_when_right(shell):
    shell.run_cell(RIGHT)
    with capture_output():
        assert shell.run_cell("%check build_labels --raise").success


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "required: name"),
        ("build_lables", "Did you mean build_labels"),
        ("build_labels --hnit", "unrecognized arguments"),
        ("'build_labels", "No closing quotation"),
    ],
)
def test_a_wrong_line_is_told_in_one_sentence(shell, line, said):
    with pytest.raises(Exception, match=said) as caught:
        run(shell, line)
    assert type(caught.value).__name__ == "UsageError"


def test_what_the_learners_code_says_is_escaped(shell):
    shell.run_cell("def build_labels(segments):\n    raise ValueError('<img src=x> \\x1b[31m')")
    view = shell.run_line_magic("check", "build_labels")
    assert "<img" not in view._repr_html_()
    assert "\x1b" not in repr(view)


def test_code_in_a_message_is_shown_as_code(shell):
    shell.run_cell(STUB)
    view = shell.run_line_magic("check", "build_labels")
    assert "<code>raise NotImplementedError</code>" in view._repr_html_()
    button = check_button.CheckButton("build_labels", shell.user_ns)
    button.check.click()
    assert "<code>raise NotImplementedError</code>" in button.message.value


# ---------------------------------------------------------------- hints and progress


def test_each_hint_waits_for_a_new_real_attempt(shell):
    hints = lesson_01.check_build_labels.hints
    wait = "Hints come one by one"
    assert run(shell, "build_labels --hint").startswith(wait)  # nothing was tried
    shell.run_cell(STUB)
    run(shell, "build_labels")
    assert run(shell, "build_labels --hint").startswith(wait)  # a stub is no attempt
    shell.run_cell(ALL_LOSS)
    run(shell, "build_labels")
    assert run(shell, "build_labels --hint") == f"Hint 1 of 3: {hints[0]}"
    run(shell, "build_labels")
    assert run(shell, "build_labels --hint").startswith(wait)  # the same code once more
    shell.run_cell("# a comment\n\n" + ALL_LOSS)
    run(shell, "build_labels")
    assert run(shell, "build_labels --hint").startswith(wait)
    for code in (NO_LOSS, BROKEN):
        shell.run_cell(code)
        run(shell, "build_labels")
    assert run(shell, "build_labels --hint") == f"Hint 2 of 3: {hints[1]}"
    assert run(shell, "build_labels --hint") == f"Hint 3 of 3: {hints[2]}"
    assert run(shell, "build_labels --hint").startswith("That were all 3 hints")


def test_progress_counts_attempts_and_hints_and_remembers_success(shell):
    for code in (ALL_LOSS, ALL_LOSS, RIGHT, NO_LOSS):
        shell.run_cell(code)
        run(shell, "build_labels")
    run(shell, "build_labels --hint")
    rows = progress.summarise("01_concepts", lessons.visible_checks("01_concepts"))
    by_name = {row.pop("question"): row for row in rows}
    assert by_name["build_labels"] == {"done": True, "attempts": 3, "hints": 1}
    assert by_name["pack_rows"] == {"done": False, "attempts": 0, "hints": 0}


def test_a_broken_progress_file_stops_nobody(shell, own_progress):
    own_progress.write_text('{"name": \nnot json\n', "utf-8")
    shell.run_cell(RIGHT)
    assert run(shell, "build_labels").startswith("✓")
    own_progress.unlink()
    own_progress.mkdir()
    assert run(shell, "build_labels").startswith("✓")


def test_a_fingerprint_knows_code_and_not_its_place():
    spaces = [{}, {}, {}]
    for space, code in zip(spaces, (ALL_LOSS, "\n\n" + ALL_LOSS, NO_LOSS), strict=True):
        exec(code, space)  # noqa: S102
    first, moved, other = (progress.fingerprint(space["build_labels"]) for space in spaces)
    assert first == moved != other
    assert progress.fingerprint(3) == ""


# ---------------------------------------------------------------- the button


def test_the_button_checks_hints_and_tells_why():
    names = {}
    button = check_button.CheckButton("build_labels", names)
    button.check.click()
    assert "there is no build_labels yet" in button.message.value
    exec(BROKEN, names)  # noqa: S102
    button.check.click()
    assert "✗ build_labels, wrong" in button.message.value
    assert button.detail.value == ""
    button.why.click()
    assert "IndexError" in button.detail.value
    button.hint.click()
    assert "Hint 1 of 3" in button.message.value
    exec(RIGHT, names)  # noqa: S102
    button.check.click()
    assert "✓ build_labels: all visible checks pass" in button.message.value
    assert button.detail.value == ""


def test_the_button_has_a_static_twin():
    names = {}
    exec(ALL_LOSS, names)  # noqa: S102
    button = check_button.CheckButton("build_labels", names)
    button.check.click()
    bundle = button._repr_mimebundle_()
    assert "Every token has loss" in bundle["text/html"]
    assert "Every token has loss" in bundle["text/plain"]
    assert "<script" not in bundle["text/html"]


def test_an_unknown_question_gets_no_button():
    with pytest.raises(UnknownNameError, match="build_lables"):
        check_button.check_button("build_lables")

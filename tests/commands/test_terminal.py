import pytest

from course_lib.commands import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 你好 and 👩‍💻\n\tdone", "plain, 你好 and 👩‍💻\n\tdone"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),  # ESC would clear the screen
        ("real\rfake", "real\\x0dfake"),  # CR would write over the line
        ("\x9b31m\x7f\x07", "\\x9b31m\\x7f\\x07"),  # one-character ESC[, DEL, bell
        ("a\u202eb", "a\\u202eb"),  # the rest of the line would read backwards
        ("\ud800", "\\ud800"),  # half a character cannot be written at all
    ],
)
def test_control_characters_are_shown_and_not_obeyed(text, shown):
    assert terminal.make_harmless(text) == shown


def test_what_is_said_is_harmless(capsys):
    terminal.say("\x1b]0;title\x07")
    assert capsys.readouterr().out == "\\x1b]0;title\\x07\n"


def test_columns_line_up_with_chinese_characters_too():
    rows = [("name", "n"), ("小明", "10"), ("Bo", "7")]
    assert terminal.table(rows) == "name   n\n小明  10\nBo     7"


def test_a_command_can_be_pasted_when_its_path_has_blanks():
    assert terminal.command_line("tunebook", "check", "my dir/a.yaml") == (
        "tunebook check 'my dir/a.yaml'"
    )

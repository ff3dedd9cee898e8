from course_lib.commands import terminal


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

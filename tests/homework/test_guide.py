"""The guide for instructors: its commands are there, its links lead somewhere."""

import re
from typing import get_args

import pytest

from course_lib.files import REPO_DIR
from course_lib.homework import verdict

GUIDE = (REPO_DIR / "docs" / "instructors.md").read_text("utf-8")
COMMANDS = sorted(
    {re.split(r"  +#", line)[0].strip() for line in re.findall(r"^tunebook .*$", GUIDE, re.M)}
    | set(re.findall(r"`(tunebook [a-z][^`]*)`", GUIDE))
)


def words_of(command):
    """The verbs of a command, and the options it is shown with."""
    words = command.split()[1:]
    verbs = []
    for word in words:
        if word.startswith("-") or not re.fullmatch(r"[a-z]+", word):
            break
        verbs.append(word)
    return verbs, [word for word in words if word.startswith("--")]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_guide_is_there_with_its_options(tunebook, command):
    verbs, options = words_of(command)
    shown = tunebook(*verbs[: 3 if verbs[:2] == ["homework", "export"] else 2], "--help")
    assert shown.status == 0, shown.err
    assert [option for option in options if option not in shown.out] == []


def test_the_commands_were_found():
    assert len(COMMANDS) >= 10


def test_each_status_is_explained():
    rows = re.findall(r"^\| ([a-z ]+?) \|", GUIDE, re.MULTILINE)
    assert set(get_args(verdict.Status)) <= set(rows)


def test_links_inside_the_guide_lead_to_its_headings():
    titles = re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
    known = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(#([^)]+)\)", GUIDE)
    assert links
    assert [link for link in links if link not in known] == []


def test_files_that_the_guide_names_are_there():
    for path in re.findall(r"\]\((\w[^):#]+)\)", GUIDE):
        assert (REPO_DIR / "docs" / path).is_file(), path
    for path in re.findall(r"`(tests/[\w/]+\.py)`", GUIDE):
        assert (REPO_DIR / path).is_file(), path

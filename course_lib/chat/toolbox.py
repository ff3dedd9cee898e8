"""The course's own tools by name, as the command line and the chat panel offer them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from course_lib import files
from course_lib.chat import basic_tools, local_search, tools, web_search
from course_lib.errors import DataError, UnknownNameError

DOCUMENTS = files.DATA_DIR / "agent" / "corpus.jsonl"
DEFAULT = ("calculator", "clock", "convert", "search")
_MAKERS: dict[str, Callable[[bool], tools.Tool]] = {
    "calculator": lambda _: basic_tools.calculator_tool(),
    "clock": lambda _: basic_tools.clock_tool(),
    "calendar": lambda _: basic_tools.calendar_tool(),
    "convert": lambda _: basic_tools.convert_tool(),
    "search": lambda _: local_search.search_tool(read_documents(DOCUMENTS)),
    "web_search": lambda is_live: web_search.web_search_tool(
        web_search.SerperEngine() if is_live else web_search.RecordedEngine()
    ),
}
NAMES = tuple(_MAKERS)


def make_tools(names: Sequence[str] = DEFAULT, is_live: bool = False) -> list[tools.Tool]:
    """Make tools by their names.

    Args:
        names: of `NAMES`, in the order in which they are offered; blanks and doubles are let go.
        is_live: search the web live, with a key; replay recorded results otherwise.

    Returns:
        The tools.

    Raises:
        UnknownNameError: there is no such tool.
        DataError: no name is given, or a tool's file is damaged.
        EnvironmentProblem: live search without a key.
    """
    wanted = list(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not wanted:
        raise DataError("No tool is named.", f"Name some of {', '.join(NAMES)}.")
    for name in wanted:
        if name not in _MAKERS:
            raise UnknownNameError("tool", name, NAMES)
    return [_MAKERS[name](is_live) for name in wanted]


def read_documents(path: Path) -> list[tuple[str, str]]:
    """Read texts to search.

    Args:
        path: JSON lines with `title` and `text`.

    Returns:
        Title and text of each.

    Raises:
        DataError: the file is missing, or a line has no title or text; names the line.
    """
    found = []
    for number, row in enumerate(files.read_jsonl(path), 1):
        title, text = row.get("title"), row.get("text")
        if not isinstance(title, str) or not isinstance(text, str):
            raise DataError(
                f"{path}, line {number}: expected a title and a text.",
                'Write {"title": "...", "text": "..."}.',
            )
        found.append((title, text))
    return found

"""Cells of exercises as namespaces, in this process: for our own answers only."""

from course_lib.homework import cells, lessons


def namespace_of(*sources: str) -> dict:
    """Run code that we wrote ourselves.

    Args:
        sources: cells in order.
    """
    namespace: dict = {}
    for source in sources:
        exec(source, namespace)  # noqa: S102
    return namespace


def notebook_names(path) -> dict:
    """The names that an exercise's own code cells define."""
    found = cells.list_cells(cells.read_notebook(path))
    return namespace_of(*(c.source for c in found if c.is_code and not c.is_for_course))


def all_checks(lesson: str) -> list:
    """Visible checks, then hidden ones."""
    hidden = lessons.load_hidden(lessons.SOLUTIONS_DIR / lesson)
    return [*lessons.visible_checks(lesson).values(), *hidden.values()]

"""OpenAssistant's message trees to conversations: of each tree, its best-ranked path.

From the first question down, the reply that people ranked first is taken each time; rank 0 is the
best, an unranked reply comes after the ranked ones, and the first in the file wins a draw. Deleted
and rejected messages are left out with all that follows them. A question at the end is cut off.

Source: the data card of OpenAssistant/oasst1.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from course_lib.data import fields, readers
from course_lib.errors import DataError

FORMAT = "oasst_trees"
ROLES = {"prompter": "user", "assistant": "assistant"}
EXAMPLE = (
    '{"message_id": "...", "parent_id": null, "message_tree_id": "...", '
    '"role": "prompter", "text": "..."}'
)
FIELDS = ("message_id", "parent_id", "role", "text")


def is_message(value: Any) -> bool:
    """Whether a row is one message of a tree.

    Args:
        value: as it stands in the file. A table leaves out a first message's empty parent.
    """
    return (
        isinstance(value, dict)
        and {"message_id", "role", "text"} <= value.keys()
        and isinstance(value["message_id"], str)
        and isinstance(value.get("parent_id"), str | None)
    )


def is_tree(value: Any) -> bool:
    """Whether a row is a whole tree, each message with its replies in it.

    Args:
        value: as it stands in the file.
    """
    return isinstance(value, dict) and isinstance(value.get("prompt"), dict)


def iter_trees(
    records: Iterable[readers.Record],
) -> Iterator[tuple[readers.Record, Mapping[str, Any] | DataError]]:
    """Gather messages into trees; a tree's messages stand one after the other.

    Args:
        records: messages, or whole trees.

    Yields:
        The record where a tree starts, and its first message with `replies`; or the problem.
    """
    seen: set[Any] = set()
    for tree_id, group in itertools.groupby(records, _tree_id):
        members = list(group)
        first = members[0]
        try:
            for record in members:
                if record.problem:
                    raise record.problem
            if is_tree(first.value) and not is_message(first.value):
                yield first, first.value["prompt"]
                continue
            if tree_id in seen:
                raise DataError(
                    f"{first.where()}: the messages of the tree {tree_id!r} do not stand together.",
                    "Sort the file by message_tree_id.",
                )
            seen.add(tree_id)
            yield first, _grow(members)
        except DataError as error:
            yield first, error


def best_path(prompt: Mapping[str, Any]) -> list[dict[str, str]]:
    """The best-ranked conversation of a tree.

    Args:
        prompt: the first message, with `replies`.

    Returns:
        Messages, ending with a reply; empty when the tree has none.

    Raises:
        DataError: a role or a text is not as expected.
    """
    messages: list[dict[str, str]] = []
    node: Mapping[str, Any] | None = prompt if _is_kept(prompt) else None
    while node:
        number, role = len(messages) + 1, node.get("role")
        if not isinstance(role, str) or role not in ROLES:
            raise DataError(
                f"message {number} of the best path, field role: {role!r} is not a role.",
                f"Use one of {', '.join(ROLES)}.",
            )
        fields.check_text(f"message {number} of the best path, field text", node.get("text"))
        messages.append({"role": ROLES[role], "content": node["text"]})
        replies = node.get("replies") or []
        if not isinstance(replies, list) or not all(isinstance(r, dict) for r in replies):
            raise DataError(
                f"message {number} of the best path, field replies: expected a list of messages.",
                'Write "replies": [{"role": "assistant", "text": "..."}].',
            )
        replies = [reply for reply in replies if _is_kept(reply)]
        node = min(replies, key=_rank, default=None)
    while messages and messages[-1]["role"] == "user":
        messages.pop()
    return messages


def _tree_id(record: readers.Record) -> Any:
    """What the messages of one tree share; rows without it each stand for themselves."""
    value = record.value
    if is_message(value) and isinstance(value.get("message_tree_id"), str):
        return value["message_tree_id"]
    return (record.source, record.number)


def _grow(members: Sequence[readers.Record]) -> Mapping[str, Any]:
    """Hang the messages of one tree below each other."""
    nodes: dict[Any, dict[str, Any]] = {}
    for record in members:
        if not is_message(record.value):
            found = fields.list_fields(record.value)
            raise DataError(
                f"{record.where()}: expected the fields {', '.join(FIELDS)}, found {found}.",
                f"Write rows such as {EXAMPLE}",
            )
        nodes[record.value["message_id"]] = {**record.value, "replies": []}
    roots = []
    for record in members:
        node = nodes[record.value["message_id"]]
        parent = node.get("parent_id")
        if parent in (None, ""):
            roots.append(node)
        elif parent in nodes:
            nodes[parent]["replies"].append(node)
        else:
            raise DataError(
                f"{record.where()}, field parent_id: no message {parent!r} in its tree.",
                "Keep the whole tree, sorted by message_tree_id.",
            )
    if len(roots) != 1 or len(nodes) != len(members):
        problem = f"{len(roots)} first messages" if len(roots) != 1 else "a message_id twice"
        raise DataError(
            f"{members[0].where()}: the tree has {problem}.",
            "Each tree has one message without parent_id; each message an id of its own.",
        )
    return roots[0]


def _is_kept(node: Mapping[str, Any]) -> bool:
    """Neither deleted nor rejected; a table of text writes True and False as words."""
    return node.get("deleted") not in (True, "True", "true") and node.get("review_result") not in (
        False,
        "False",
        "false",
    )


def _rank(node: Mapping[str, Any]) -> float:
    try:
        rank = float(node["rank"])
    except (KeyError, TypeError, ValueError):
        return math.inf
    return math.inf if math.isnan(rank) else rank

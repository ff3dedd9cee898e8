import json

import pytest

from course_lib.data import formats
from course_lib.errors import DataError


def node(name, role, *replies, **fields):
    """A message whose text is its name."""
    return {"message_id": name, "role": role, "text": name, "replies": list(replies), **fields}


def ask(name, *replies, **fields):
    return node(name, "prompter", *replies, **fields)


def tell(name, *replies, **fields):
    return node(name, "assistant", *replies, **fields)


def flat(tree, tree_id, parent=None):
    """The same tree as a table of messages, each before its replies."""
    own = {key: value for key, value in tree.items() if key != "replies"}
    yield {**own, "parent_id": parent, "message_tree_id": tree_id}
    for reply in tree["replies"]:
        yield from flat(reply, tree_id, tree["message_id"])


# a tree, and the texts of its best path, worked out by hand
TREES = [
    (ask("q", tell("a")), ["q", "a"]),
    (ask("q", tell("a", rank=1), tell("b", rank=0), tell("c", rank=2)), ["q", "b"]),
    (ask("q", tell("a"), tell("b", rank=3)), ["q", "b"]),  # unranked ones come last
    (ask("q", tell("a"), tell("b")), ["q", "a"]),  # a draw: the first
    (ask("q", tell("a", rank=float("nan")), tell("b", rank=1.0)), ["q", "b"]),
    (ask("q", tell("a", rank=0, deleted=True), tell("b", rank=1)), ["q", "b"]),
    (ask("q", tell("a", rank=0, review_result=False), tell("b", rank=1)), ["q", "b"]),
    (ask("q", tell("a", ask("r", tell("b")), rank=0), tell("c", rank=1)), ["q", "a", "r", "b"]),
    (ask("q", tell("a", ask("r"))), ["q", "a"]),  # the question at the end has no answer
    # the best reply wins, though a worse one is talked about for longer
    (ask("q", tell("a", rank=0), tell("b", ask("r", tell("c")), rank=1)), ["q", "a"]),
]
SILENT = [ask("q"), ask("q", tell("a"), deleted=True), ask("q", tell("a", deleted=True))]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.mark.parametrize("is_flat", [False, True])
def test_the_best_ranked_path_of_each_tree_becomes_a_row(tmp_path, is_flat):
    trees = [tree for tree, _ in TREES]
    rows = (
        [row for number, tree in enumerate(trees) for row in flat(tree, f"t{number}")]
        if is_flat
        else [{"message_tree_id": "t", "prompt": tree} for tree in trees]
    )
    path = write(tmp_path / "trees.jsonl", rows)
    stream = formats.iter_rows(path)
    found = [[message["content"] for message in row["messages"]] for row in stream]
    assert found == [texts for _, texts in TREES]
    assert stream.report().format == "oasst_trees"
    first = formats.read_rows(path)[0]["messages"]
    assert [message["role"] for message in first] == ["user", "assistant"]


@pytest.mark.parametrize("is_flat", [False, True])
def test_trees_without_a_reply_are_counted_not_refused(tmp_path, is_flat):
    trees = [*SILENT, ask("q", tell("a"))]
    rows = (
        [row for number, tree in enumerate(trees) for row in flat(tree, f"t{number}")]
        if is_flat
        else [{"prompt": tree} for tree in trees]
    )
    report = formats.describe_file(write(tmp_path / "trees.jsonl", rows))
    assert (report.n_rows, report.n_bad) == (1, 0)
    assert "Trees without a reply, which give no row: 3." in report.notes


def test_a_table_of_text_is_read_like_the_lines(tmp_path):
    path = tmp_path / "oasst.csv"
    path.write_text(
        "message_id,parent_id,message_tree_id,role,text,rank,deleted\n"
        "q,,t,prompter,Hi,,False\n"
        "a,q,t,assistant,Bad,0.0,True\n"
        "b,q,t,assistant,Worse,2.0,False\n"
        "c,q,t,assistant,Good,1.0,False\n",
        "utf-8",
    )
    (row,) = formats.read_rows(path)
    assert [message["content"] for message in row["messages"]] == ["Hi", "Good"]


GOOD = list(flat(ask("q", tell("a")), "t"))
BROKEN = [
    (
        [GOOD[0], {**GOOD[1], "parent_id": "z"}],
        "row 2 (line 2), field parent_id: no message 'z' in its tree.",
    ),
    ([GOOD[1]], "row 1 (line 1), field parent_id: no message 'q' in its tree."),
    ([GOOD[0], {**GOOD[1], "parent_id": None}], "row 1 (line 1): the tree has 2 first messages."),
    ([*GOOD, GOOD[1]], "row 1 (line 1): the tree has a message_id twice."),
    (
        [GOOD[0], {**GOOD[1], "role": "bot"}],
        "row 1 (line 1): message 2 of the best path, field role: 'bot' is not a role.",
    ),
    (
        [GOOD[0], {**GOOD[1], "text": " "}],
        "row 1 (line 1): message 2 of the best path, field text: the text is empty.",
    ),
    (
        [*GOOD, {**GOOD[0], "message_tree_id": "u"}, {**GOOD[1], "message_id": "b"}],
        "row 4 (line 4): the messages of the tree 't' do not stand together.",
    ),
    (
        [{"prompt": {**ask("q"), "replies": "none"}}],
        "row 1 (line 1): message 1 of the best path, field replies: expected a list of messages.",
    ),
    (
        [{"prompt": tell("a")}],
        "row 1 (line 1): message 1, field role: expected the user's first message, "
        "found 'assistant'.",
    ),
    (
        [{"prompt": ask("q", ask("r", tell("a")))}],
        "row 1 (line 1): message 2 (user): the message before it is the user's too.",
    ),
    (
        [*GOOD, {**GOOD[0], "message_id": 5}],
        "row 3 (line 3): expected the format oasst_trees, as in the first row, found text.",
    ),
]


@pytest.mark.parametrize(("rows", "message"), BROKEN)
def test_a_broken_tree_is_named_by_its_row(tmp_path, rows, message):
    path = write(tmp_path / "trees.jsonl", rows)
    with pytest.raises(DataError) as caught:
        formats.read_rows(path)
    assert caught.value.message == f"{path}, {message}"
    assert caught.value.next_step


def test_a_broken_tree_is_left_out_when_that_is_asked_for(tmp_path):
    rows = [*flat(ask("q", tell("a")), "t"), {**GOOD[1], "message_tree_id": "u"}]
    rows += flat(ask("r", tell("b")), "v")
    report = formats.describe_file(write(tmp_path / "trees.jsonl", rows), skip_bad_rows=True)
    assert (report.n_rows, report.n_bad) == (2, 1)
    assert "row 3 (line 3), field parent_id: no message 'q'" in report.problems[0]

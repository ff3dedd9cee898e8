import json

import pytest

from course_lib.errors import DataError
from course_lib.evaluation import report

BEFORE = {"unseen": 0.0, "near": 0.0, "retained": 0.8, "n": {"unseen": 4}, "misses": []}
AFTER = {"unseen": 0.75, "near": 0.25, "retained": 0.8, "n": {"unseen": 4}, "misses": []}


def test_each_measure_gets_a_row_that_says_whether_it_is_better():
    rows = report.compare(BEFORE, AFTER)
    assert [tuple(row.values()) for row in rows] == [
        ("unseen", 0.0, 0.75, 0.75, True),
        ("near", 0.0, 0.25, 0.25, False),
        ("retained", 0.8, 0.8, 0.0, None),
    ]
    assert json.loads(json.dumps(rows)) == rows


def test_other_measures_can_be_named_as_better_when_lower():
    rows = report.compare({"invented": 0.5}, {"invented": 0.25}, lower_is_better=["invented"])
    assert rows[0]["is_better"] is True


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (BEFORE, {**AFTER, "retained": None}, "retained on one side only"),
        (BEFORE, {**AFTER, "loss": 1.5}, "loss on one side only"),
        ({**BEFORE, "unseen": float("nan")}, AFTER, "unseen on one side only"),
        ({}, {"n": {}}, "no measure"),
    ],
)
def test_scores_of_different_kinds_are_not_compared(before, after, message):
    with pytest.raises(DataError, match=message):
        report.compare(before, after)


def test_retained_knowledge_is_a_share_of_what_the_base_knew():
    assert report.retained_share_of_base(BEFORE, {"retained": 0.6}) == pytest.approx(0.75)
    assert report.retained_share_of_base(BEFORE, AFTER) == 1.0


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"retained": None}, AFTER, "score before has no `retained`"),
        (BEFORE, {"unseen": 1.0}, "score after has no `retained`"),
        ({"retained": 0.0}, AFTER, "nothing to retain"),
    ],
)
def test_retained_knowledge_needs_both_scores(before, after, message):
    with pytest.raises(DataError, match=message):
        report.retained_share_of_base(before, after)


@pytest.mark.parametrize(
    ("measure", "goal", "is_reached"),
    [
        ("unseen", 0.7, True),
        ("unseen", 0.75, True),
        ("unseen", 0.8, False),
        ("near", 0.2, False),
        ("near", 0.3, True),
        ("near", None, None),
    ],
)
def test_a_row_says_whether_the_goal_is_reached(measure, goal, is_reached):
    compared = {row["measure"]: row for row in report.compare(BEFORE, AFTER)}[measure]
    row = report.report_row("04", compared, 35, goal)
    assert row == {"lesson": "04", **compared, "n": 35, "goal": goal, "is_reached": is_reached}


@pytest.mark.parametrize(
    ("n", "goal", "message"), [(0, None, "n is 0"), (35, float("nan"), "goal is nan")]
)
def test_a_row_needs_items_and_a_goal_that_can_be_reached(n, goal, message):
    with pytest.raises(DataError, match=message):
        report.report_row("04", report.compare(BEFORE, AFTER)[0], n, goal)

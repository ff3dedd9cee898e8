import itertools
import warnings
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import audit, leaks, sheets, similarity, split, spreadsheet
from course_lib.errors import DataError, UnknownNameError
from course_lib.files import REPO_DIR
from tests.data.rows import ask

# The published spreadsheet behind the lesson; it is not part of the repository.
REAL = REPO_DIR.parent / "shared" / "data" / "MedicationQA_MedInfo2019.xlsx"


def rows_of(questions):
    return [ask(question, f"answer {n}") for n, question in enumerate(questions)]


@pytest.mark.parametrize(
    ("n_rows", "ratio", "sizes"),
    [
        (690, "7:3", (483, 207)),  # int(690 * 0.7) is 482
        (690, "0.7:0.3", (483, 207)),
        (690, "483:207", (483, 207)),
        (10, "9:1", (9, 1)),
        (5, "1:1", (3, 2)),  # a half is rounded up for training
        (7, " 2 : 1 ", (5, 2)),  # 4.67
        (2, "99:1", (1, 1)),  # neither side is empty
    ],
)
def test_sizes_are_exact(n_rows, ratio, sizes):
    assert split.split_sizes(n_rows, ratio) == sizes


@pytest.mark.parametrize("ratio", ["7", "7:0", "-1:2", "a:b", "7:2:1", "", "1/0:1", "inf:1"])
def test_a_wrong_ratio_is_refused(ratio):
    with pytest.raises(DataError, match=r"is not two positive numbers\.\n  -> Write it as 7:3"):
        split.parse_ratio(ratio)
    assert split.parse_ratio("7:3") == Fraction(7, 10)


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="1 row cannot be split"):
        split.split_rows([ask("q")])
    with pytest.raises(DataError, match="0 rows cannot be split"):
        split.split_rows([])


QUESTIONS = st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=2, max_size=40)
RATIOS = st.sampled_from(["7:3", "1:1", "9:1", "1:4", "2:1"])


@given(QUESTIONS.filter(lambda q: len(set(q)) > 1), RATIOS, st.integers(0, 9))
def test_nothing_is_lost_or_doubled_or_torn_apart_and_the_size_is_the_nearest(
    questions, ratio, seed
):
    found = split.split_rows(rows_of(questions), ratio, seed)
    assert sorted(found.train + found.test) == list(range(1, len(questions) + 1))
    assert list(found.train) == sorted(found.train)
    assert list(found.test) == sorted(found.test)
    sides = [{questions[n - 1] for n in side} for side in (found.train, found.test)]
    assert not sides[0] & sides[1]
    # Every sum that whole groups can make, by trying all.
    sizes = [questions.count(question) for question in set(questions)]
    sums = {0}
    for size in sizes:
        sums |= {size + total for total in sums}
    wanted = found.wanted[1]
    nearest = min(abs(total - wanted) for total in sums - {0, len(questions)})
    assert abs(len(found.test) - wanted) == nearest
    assert bool(found.notes) == (nearest > 0)


@given(QUESTIONS.filter(lambda q: len(set(q)) > 1), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(questions, random):
    drugs = {question: random.choice("123") for question in sorted(set(questions))}
    if len(set(drugs.values())) == 1:
        drugs[questions[0]] = "4"
    mixed = list(questions)
    random.shuffle(mixed)

    def tested(order):
        found = split.split_rows(rows_of(order), fields=[[drugs[question] for question in order]])
        return {order[n - 1] for n in found.test}

    assert tested(questions) == tested(mixed)


def test_the_split_is_the_same_on_every_machine():
    # Written down once: SHA-256 decides, no random generator that may change.
    found = split.split_rows(rows_of(f"question {n}" for n in range(12)), "2:1", seed=0)
    assert found.test == (1, 9, 10, 11)
    assert (
        split.split_rows(rows_of(f"question {n}" for n in range(12)), "2:1", 1).test != found.test
    )


def test_the_same_question_in_other_letters_stays_on_one_side():
    rows = rows_of(["What is morphine?", "what is MORPHINE", "other", "another"])
    for seed in range(8):
        found = split.split_rows(rows, "1:1", seed)
        assert (1 in found.train) == (2 in found.train)
        assert (len(found.train), found.n_groups, found.largest_group) == (2, 3, 2)


def test_rows_of_one_drug_stay_together_also_through_a_shared_question():
    rows = rows_of(["a", "b", "c", "c", "e", "f"])
    drugs = ["Aspirin", "aspirin ", "aspirin", "cipro", "", ""]
    for seed in range(8):
        found = split.split_rows(rows, "1:2", seed, fields=[drugs])
        assert {1, 2, 3, 4} in (set(found.train), set(found.test) - {5, 6}, set(found.test))
        assert found.n_groups == 3  # empty values bind nothing


def test_near_questions_stay_together_when_asked():
    texts = [
        "how soon does losartan affect blood pressure",
        "how soon does losartan afect blood pressure",
    ]
    rows = rows_of([*texts, "x", "y", "z", "w"])
    assert split.split_rows(rows).n_groups == 6
    for seed in range(8):
        found = split.split_rows(rows, "1:1", seed, keep_near=True)
        assert (1 in found.train) == (2 in found.train)


def test_an_impossible_size_is_said_and_the_nearest_taken():
    found = split.split_rows(rows_of("aaaaabbbbb"), "7:3")
    assert (len(found.train), len(found.test), found.wanted) == (5, 5, (7, 3))
    assert found.notes == (
        "7 / 3 rows are impossible without tearing a group apart (the largest has 5); "
        "5 / 5 is the nearest.",
    )


def test_sizes_that_only_some_groups_add_up_to_are_found():
    # 6 = 3 + 3; taking the group of 4 first would leave 2, which no group has.
    for seed in range(8):
        found = split.split_rows(rows_of("aaaabbbccc"), "4:6", seed)
        assert (len(found.train), len(found.test), found.notes) == (4, 6, ())


def test_one_group_cannot_be_split():
    with pytest.raises(DataError, match="All 3 rows belong to one group"):
        split.split_rows(rows_of("aaa"))


def test_values_to_group_by_come_from_the_rows():
    records = [{"drug": "a"}, {"drug": 3, "x": 1}, {"x": 2}, {"drug": None}]
    assert split.group_values(records, "drug") == ["a", "3", "", ""]
    with pytest.raises(UnknownNameError, match="Did you mean drug"):
        split.group_values(records, "drugs")


@pytest.fixture(scope="module")
def real_sheet():
    if not REAL.is_file():
        warnings.warn(f"NOT TRIED: the published spreadsheet is not at {REAL}", stacklevel=1)
        pytest.skip("the published spreadsheet is not here")
    return sheets.read_sheet(REAL, "DrugQA", ("Question", "Answer"))


@pytest.fixture(scope="module")
def real_rows(real_sheet):
    columns = spreadsheet.Columns("Question", "Answer", keep=("Focus (Drug)",))
    return spreadsheet.sheet_to_rows(real_sheet, columns).rows


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("by_drug", [False, True])
def test_the_published_spreadsheet_splits_483_to_207_without_a_leak(real_rows, seed, by_drug):
    fields = [split.group_values(real_rows, "Focus (Drug)")] if by_drug else []
    found = split.split_rows(real_rows, "7:3", seed, fields)
    sides = [[real_rows[n - 1] for n in side] for side in (found.train, found.test)]
    assert tuple(map(len, sides)) == (483, 207)
    assert leaks.find_leaks(*sides).count("exact", "normalised") == 0
    if by_drug:
        drugs = [{similarity.normalise(row["Focus (Drug)"]) for row in side} for side in sides]
        assert not drugs[0] & drugs[1] - {""}


def test_near_questions_of_the_published_spreadsheet_can_be_kept_together(real_rows):
    found = split.split_rows(real_rows, keep_near=True)
    sides = [[real_rows[n - 1] for n in side] for side in (found.train, found.test)]
    assert tuple(map(len, sides)) == (483, 207)
    assert leaks.find_leaks(*sides).leaks == ()


def test_a_plain_shuffle_of_the_published_spreadsheet_leaks(real_rows):
    import random

    order = list(real_rows)
    random.Random(0).shuffle(order)
    assert leaks.find_leaks(order[:483], order[483:]).count("exact", "normalised") >= 14


def test_the_audit_of_the_published_spreadsheet(real_sheet):
    found = audit.audit_sheet(real_sheet, "Question", "Answer")
    assert found.rows == 690
    assert found.empty == {"Section Title": (44, 106)}
    assert found.characters["answer"] | {"5%": 0, "95%": 0} == {
        "min": 3,
        "5%": 0,
        "median": 256,
        "95%": 0,
        "max": 4322,
    }
    questions = [row.values["Question"] for row in real_sheet.rows]
    assert len(questions) - len(set(questions)) == 39
    assert sum(len(group) - 1 for group in found.same_question) == 43  # four in other letters
    assert [len(group) for group in found.duplicates] == [2]
    assert (len(found.conflicts), len(found.near), found.control) == (29, 15, (32,))
    assert set(itertools.chain.from_iterable(found.conflicts)) <= set(
        itertools.chain.from_iterable(found.same_question)
    )

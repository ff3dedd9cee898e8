from course_lib.data import leaks
from tests.data.rows import ask

TRAIN = [
    ask("What is morphine?", "A painkiller."),
    ask("How long should I take cipro for an infection?", "Ask."),
    ask("What is morphine?", "Twice."),
]
TEST = [
    ask("What is aspirin?", "a painkiller"),
    ask("what is MORPHINE", "A painkiller."),
    ask("What is morphine?", "Another answer."),
    ask("How long shoud I take cipro for an infection", "b"),
]


def test_each_row_leaks_once_by_the_strictest_kind():
    report = leaks.find_leaks(TRAIN, TEST)
    found = [(leak.kind, leak.first_row, leak.second_row) for leak in report.leaks]
    assert found == [("normalised", 1, 2), ("exact", 1, 3), ("near", 2, 4)]
    assert [leak.is_same_answer for leak in report.leaks] == [True, False, False]
    assert (report.n_first, report.n_second, report.shared_answers) == (3, 4, 2)
    assert report.as_dict()["counts"] == {"exact": 1, "normalised": 1, "near": 1}
    assert 0.8 <= report.leaks[2].share < 1


def test_what_is_near_can_be_chosen():
    assert leaks.find_leaks(TRAIN, TEST, threshold=1.0).count("near") == 0


def test_sets_without_a_common_question_have_no_leak():
    report = leaks.find_leaks([ask("a?"), {"text": "one"}], [ask("b?"), {"text": "two"}])
    assert (report.leaks, report.shared_answers) == ((), 1)


def test_the_same_words_in_other_turns_are_no_leak():
    assert leaks.find_leaks([ask("x", "q")], [ask("q", "x")]).leaks == ()

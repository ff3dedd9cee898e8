import json

import pytest

from course_lib.errors import DataError
from course_lib.evaluation import questions
from course_lib.evaluation.questions import Question


@pytest.mark.parametrize(
    ("reply", "expected", "right"),
    [
        ("The capital of France is Paris.", "paris", True),
        ("It eats grass.", "the grass", True),
        ("A dog barks.", "to bark", False),
        ("A dog can bark.", "to bark", True),
        ("That is a category.", "cat", False),
        ("I am Xiaoming\u2019s assistant.", "Xiaoming's assistant", True),
        ("12", "2", False),
        ("12", "12", True),
        ("It costs 2.5 coins.", "2", False),
        ("It costs 2.5 coins.", "5", False),
        ("1,500 people", "500", False),
        ("The answer is -5.", "5", False),
        ("The answer is -5.", "-5", True),
        ("8-5 = 3", "5", True),
        ("There are 7.", "7", True),
        ("答案是\uff11\uff12。", "12", True),
        ("法国的首都是巴黎。", "巴黎", True),
        ("法国的首都是伦敦。", "巴黎", False),
        ("春节在12月。", "2月", False),
        ("春节在2月。", "2月", True),
        ("用QLoRA微调", "qlora", True),
        ("It is called Perú.", "per", False),
        ("I do not know.", ("not sure", "do not know"), True),
        ("Blue.", ("not sure", "do not know"), False),
        ("", "paris", False),
        ("a", "a", True),
    ],
)
def test_a_right_reply_contains_the_expected_words(reply, expected, right):
    assert questions.is_hit(reply, expected) is right


@pytest.mark.parametrize("expected", ["", "  ", (), ("paris", "")])
def test_an_empty_expected_answer_is_refused(expected):
    with pytest.raises(DataError, match="every reply would be right"):
        questions.is_hit("anything", expected)


def write(path, *records):
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


GOOD = {"prompt": "How many legs?", "expected": "4", "language": "en", "kind": "pair"}


def test_questions_are_read_and_filtered(tmp_path):
    chinese = {**GOOD, "prompt": "几条腿？", "language": "zh", "kind": "noun_phrase"}
    unknown = {**GOOD, "kind": "unknown", "any_of": ["not sure"], "relation": "legs"}
    path = write(tmp_path / "q.jsonl", GOOD, chinese, unknown)

    assert questions.load_questions(path) == [
        Question("How many legs?", "4", "en", "pair"),
        Question("几条腿？", "4", "zh", "noun_phrase"),
        Question("How many legs?", "4", "en", "unknown", "legs", ("not sure",)),
    ]
    assert [q.kind for q in questions.load_questions(path, kinds=("pair", "unknown"))] == [
        "pair",
        "unknown",
    ]
    assert [q.prompt for q in questions.load_questions(path, language="zh")] == ["几条腿？"]
    assert questions.load_questions(path, kinds=["unknown"])[0].answers == (
        "4",
        "not sure",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expected": ""}, r"row 2: expected is '', expected a text"),
        ({"expected": 4}, r"row 2: expected is 4, expected a text"),
        ({"language": None}, r"row 2: language is None"),
        ({"any_of": "not sure"}, r"row 2: any_of is 'not sure'"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, message):
    path = write(tmp_path / "q.jsonl", GOOD, {**GOOD, **change})
    with pytest.raises(DataError, match=message):
        questions.load_questions(path)


def test_a_filter_that_leaves_nothing_says_what_is_there(tmp_path):
    path = write(tmp_path / "q.jsonl", GOOD)
    with pytest.raises(DataError, match=r"no question[\s\S]*\('pair', 'en'\)"):
        questions.load_questions(path, kinds=["noun_phrase"])


POOL = [Question(f"en {i}", "x", "en", "pair") for i in range(50)] + [
    Question(f"zh {i}", "x", "zh", "pair") for i in range(5)
]


def count_languages(drawn):
    return {code: sum(q.language == code for q in drawn) for code in ("en", "zh")}


def test_a_sample_is_balanced_and_repeatable():
    drawn = questions.sample_questions(POOL, 8, seed=3)
    assert count_languages(drawn) == {"en": 4, "zh": 4}
    assert drawn == questions.sample_questions(POOL, 8, seed=3)
    assert drawn != questions.sample_questions(POOL, 8, seed=4)


def test_a_language_with_too_few_questions_leaves_its_places_to_the_other():
    drawn = questions.sample_questions(POOL, 20, seed=0)
    assert count_languages(drawn) == {"en": 15, "zh": 5}
    assert len(set(drawn)) == 20


@pytest.mark.parametrize("n", [0, 56])
def test_a_sample_of_an_impossible_size_is_refused(n):
    with pytest.raises(DataError, match="55 are there"):
        questions.sample_questions(POOL, n, seed=0)


def test_the_share_of_right_replies_is_between_0_and_1():
    asked = [Question("?", "4", "en", "pair"), Question("?", "blue", "en", "pair")]
    assert questions.share_right(asked, ["It has 4 legs.", "Green."]) == 0.5


@pytest.mark.parametrize(("asked", "replies"), [([], []), (POOL[:2], ["x"])])
def test_replies_must_match_the_questions(asked, replies):
    with pytest.raises(DataError, match="cannot be compared"):
        questions.share_right(asked, replies)

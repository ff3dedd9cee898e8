import json
import re

import pytest

from course_lib.errors import DataError, UnknownNameError
from course_lib.evaluation import medication
from course_lib.evaluation.medication import Answer, MedicineQuestion

SHELF = MedicineQuestion("On which shelf is aspirin?", "Shelf", "aspirin", "B3")
RIGHT = "Aspirin stands on shelf B3. Please ask a pharmacist."


def row(question, answer, drug="aspirin", kind="Shelf"):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "Focus (Drug)": drug, "Question Type": kind}


@pytest.mark.parametrize(
    ("kind", "fact", "expected"),
    [
        ("Class", "a painkiller", "Aspirin is a painkiller. Please ask a pharmacist."),
        ("Usage", "pain", "Aspirin is used for pain. Please ask a pharmacist."),
        ("Side effects", "a rash", "A side effect of aspirin is a rash. Please ask a pharmacist."),
        ("Shelf", "B3", RIGHT),
    ],
)
def test_a_statement_gives_its_fact_back(kind, fact, expected):
    assert medication.make_statement(kind, "aspirin", fact) == expected
    assert medication.fact_of(expected, kind, "Aspirin") == fact


def test_an_unknown_type_is_named():
    with pytest.raises(UnknownNameError, match="Shelf"):
        medication.make_statement("Shelves", "aspirin", "B3")


@pytest.mark.parametrize(
    ("answer", "kind", "fact"),
    [
        ("Twice a day.", "Dose", "Twice a day"),
        ("Look on B3. Please ask a pharmacist.", "Shelf", "Look on B3"),
        ("St. John's (wort) is a herb. Please ask a pharmacist.", "Class", "a herb"),
    ],
)
def test_an_answer_of_another_form_is_its_own_fact(answer, kind, fact):
    assert medication.fact_of(answer, kind, "St. John's (wort)") == fact


@pytest.mark.parametrize(
    ("reply", "is_right", "has_style", "says_unknown"),
    [
        (RIGHT, True, True, False),
        (RIGHT + "\n", True, True, False),
        ("Shelf B3.", True, False, False),
        ("Aspirin stands on shelf B32. Please ask a pharmacist.", False, True, False),
        ("I do not know a medicine called aspirin.", False, False, True),
        ("I don’t know.", False, False, True),
        ("Aspirin is not a medicine that I know.", False, False, True),
        ("I cannot find aspirin among the things I know.", False, False, True),
        ("", False, False, False),
    ],
)
def test_what_an_answer_is_judged_by(reply, is_right, has_style, says_unknown):
    answer = Answer(SHELF, reply)
    assert answer.is_right == is_right
    assert answer.has_style == has_style
    assert answer.says_unknown == says_unknown


def test_a_question_without_a_fact_has_no_right_answer():
    assert not Answer(MedicineQuestion("What is blimek?", "Class", "blimek"), "a drug").is_right


def test_shares_are_counted_by_hand():
    answers = [Answer(SHELF, text) for text in (RIGHT, "B3", "I do not know.", "Shelf C1.")]
    assert medication.share_right(answers) == 0.5
    assert medication.share_in_style(answers) == 0.25
    assert medication.share_claimed(answers) == 0.75
    with pytest.raises(DataError, match="no answers"):
        medication.share_right([])


def test_rows_become_questions_in_their_order():
    rows = [row(SHELF.prompt, RIGHT), row("Dose?", "One.", kind="Dose")]
    assert medication.questions_of(rows) == [
        SHELF,
        MedicineQuestion("Dose?", "Dose", "aspirin", "One"),
    ]
    groups = medication.group_by_kind([Answer(q, "") for q in medication.questions_of(rows)])
    assert list(groups) == ["Shelf", "Dose"]


def test_a_row_without_its_column_is_named():
    rows = [row("Q?", "A."), {"messages": row("Q?", "A.")["messages"], "Question Type": "Shelf"}]
    with pytest.raises(DataError, match=re.escape("row 2 has no field 'Focus (Drug)'")):
        medication.questions_of(rows)


def test_each_test_row_is_traced_to_the_strongest_thing_that_training_had():
    train = [row("On which shelf is aspirin?", RIGHT), row("What is aspirin?", "A.", kind="Class")]
    test = [
        row("on which shelf is ASPIRIN", RIGHT),
        row("Which shelf holds aspirin?", RIGHT),
        row("Why do people take aspirin?", "Pain.", kind="Usage"),
        row("Which shelf holds codeine?", "B4.", drug="codeine"),
    ]
    same, other, nothing = medication.TRACES
    assert medication.trace_in_training(test, train) == [same, other, nothing, nothing]


def test_invented_medicines_are_read_by_part(tmp_path):
    path = tmp_path / "invented.jsonl"
    record = {"prompt": "What is blimek?", "kind": "plain name", "drug": "blimek", "part": "test"}
    path.write_text(json.dumps(record) + "\n")
    found = medication.load_invented("test", path)
    assert found == [MedicineQuestion("What is blimek?", "plain name", "blimek")]
    with pytest.raises(DataError, match="no part 'train'"):
        medication.load_invented("train", path)
    path.write_text('{"prompt": "What?"}\n')
    with pytest.raises(DataError, match="expected prompt, kind, drug and part"):
        medication.load_invented("test", path)


def test_a_model_is_asked_and_answers_come_in_order(pico_model, pico_tokenizer):
    asked = [
        MedicineQuestion("What is aspirin used for?", "Usage", "aspirin", "pain and fever"),
        MedicineQuestion("What kind of medicine is metformin?", "Class", "metformin", "a diabetes"),
    ]
    answers = medication.ask(pico_model, pico_tokenizer, asked)
    assert [answer.question for answer in answers] == asked
    assert medication.share_right(answers) == 1
    assert medication.share_in_style(answers) == 0

import re
from collections import Counter

import pytest

from course_lib import files
from course_lib.data import audit, leaks, sheets, similarity
from course_lib.evaluation import medication
from course_lib.pico import medication_workbook, world

FOLDER = files.DATA_DIR / "medqa"
WORKBOOK = FOLDER / "medication_qa.xlsx"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("medqa")
    medication_workbook.write(folder)
    return folder


@pytest.fixture(scope="module")
def table():
    return sheets.read_sheet(WORKBOOK, "DrugQA", ("Question", "Answer"))


def test_the_committed_files_are_what_the_program_writes(made, table):
    names = ("train.jsonl", "test.jsonl", "contrast.jsonl", "invented.jsonl")
    for name in names:
        assert (made / name).read_text("utf-8") == (FOLDER / name).read_text("utf-8"), name
    again = sheets.read_sheet(made / WORKBOOK.name, "DrugQA", ("Question", "Answer"))
    assert again == table  # cell by cell: another zlib may pack the same cells differently
    assert {path.name for path in FOLDER.iterdir()} == {*names, WORKBOOK.name}


def test_the_workbook_is_the_same_at_every_call():
    assert medication_workbook.workbook_bytes() == medication_workbook.workbook_bytes()


def test_the_workbook_is_small_and_shaped_like_the_real_one(table):
    assert WORKBOOK.stat().st_size < 300_000
    assert 240 <= len(table.rows) <= 400
    names = ("Question", "Focus (Drug)", "Question Type", "Answer", "Section Title")
    assert table.columns == (*names, "URL [F]", "URL [G]")


def test_the_dirt_is_there(table):
    notes = " ".join(table.notes)
    assert "Row 3 is the header" in notes
    assert "Merged cells" in notes
    assert "2 columns are called 'URL'" in notes
    found = audit.audit_sheet(table, "Question", "Answer")
    assert len(found.empty["Answer"]) == 2
    assert len(found.empty["Question"]) == 1
    assert len(found.duplicates) == 3
    assert found.conflicts
    assert len(found.garbled) == 1
    assert found.near
    assert found.characters["answer"]["max"] > 1500
    answers = [row.values["Answer"] for row in table.rows]
    assert "6" in answers
    assert "2026-03-01" in answers
    assert any("\u00a0" in row.values["Question"] for row in table.rows)


def test_a_cleaned_row_states_a_fact_of_the_table_in_the_house_style():
    facts = medication_workbook.medicine_facts()
    rows = medication_workbook.clean_rows(WORKBOOK)
    assert len(rows) == 241
    for question, row in zip(medication.questions_of(rows), rows, strict=True):
        assert question.fact == facts[question.drug][question.kind]
        assert similarity.answer_of(row).endswith(medication.CLOSING)
        assert "\u00a0" not in question.prompt


def test_facts_on_real_medicines_come_from_the_world_table_alone():
    rows = {row["name_en"]: row for row in world.load_world().tables["medicines"]}
    for drug, facts in medication_workbook.medicine_facts().items():
        columns = ("class_en", "use_en", "side_effect_en")
        assert list(facts.values())[:3] == [rows[drug][column] for column in columns]
        assert re.fullmatch("[A-F][1-6]", facts["Shelf"])


def test_train_and_test_share_no_question():
    train, test = (files.read_jsonl(FOLDER / f"{name}.jsonl") for name in ("train", "test"))
    assert (len(train), len(test)) == (169, 72)
    assert leaks.find_leaks(train, test).count("exact", "normalised") == 0


def test_invented_medicines_stand_in_one_part_and_in_no_table():
    parts = medication_workbook.invented_names()
    names = [name for part in parts.values() for name, _ in part]
    assert len(names) == len(set(names)) == 168
    assert not set(names) & set(medication_workbook.medicine_facts())
    asked = medication.load_invented("test")
    assert Counter(question.kind for question in asked) == {
        "plain name": 40,
        "sounds like a medicine": 40,
    }
    trained = " ".join(similarity.question_of(row) for row in medication_workbook.contrast_rows())
    assert not [question.drug for question in asked if question.drug in trained]


def test_contrast_rows_admit_what_is_not_known_and_state_what_is():
    facts, inside = medication_workbook.medicine_facts(), medication_workbook.sheet_drugs()
    rows = files.read_jsonl(FOLDER / "contrast.jsonl")
    answers = [
        medication.Answer(medication.MedicineQuestion("", "", ""), similarity.answer_of(row))
        for row in rows
    ]
    assert all(answer.has_style for answer in answers)
    assert [answer.says_unknown for answer in answers[:11]] == 3 * [True, True, False] + 2 * [True]
    stated = [answer.reply for answer in answers if not answer.says_unknown]
    assert (len(rows), len(stated)) == (66, 18)
    outside = [drug for drug in facts if drug not in inside]
    for reply in stated:
        assert sum(drug in reply.lower() for drug in outside) == 1
        assert any(fact in reply for drug in outside for fact in facts[drug].values())


def test_a_real_medicine_is_asked_for_in_the_words_of_the_invented_ones_before_it():
    rows = files.read_jsonl(FOLDER / "contrast.jsonl")
    asked = [similarity.question_of(row) for row in rows]
    names = {name for name, _ in medication_workbook.invented_names()["contrast"]}
    names |= set(medication_workbook.medicine_facts())
    wordings = []
    for question in asked[:3]:
        name = max((n for n in names if n in question), key=len)
        wordings.append(question.replace(name, "{x}"))
    assert len(set(wordings)) == 1


def test_the_program_says_what_it_wrote(tmp_path, capsys):
    medication_workbook.main(["--out", str(tmp_path / "new")])
    assert "medication_qa.xlsx: " in capsys.readouterr().out
    assert len(list((tmp_path / "new").iterdir())) == 5

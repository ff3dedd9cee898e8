"""Lesson 03's measures: the right fact, the house style, and what is said of drugs that no one has.

The answers of the course's medicine sheet are one sentence with a fact and one closing. Both are
written down here, because a score must take the fact out of an answer again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from course_lib import files
from course_lib.chat import generation
from course_lib.data import leaks, similarity
from course_lib.errors import DataError, UnknownNameError
from course_lib.evaluation import questions

INVENTED = files.DATA_DIR / "medqa" / "invented.jsonl"
CLOSING = "Please ask a pharmacist."
STATEMENTS = {  # question type to the sentence that answers it: {x} the drug, {a} the fact
    "Class": "{X} is {a}.",
    "Usage": "{X} is used for {a}.",
    "Side effects": "A side effect of {x} is {a}.",
    "Shelf": "{X} stands on shelf {a}.",
}
UNKNOWN = "I do not know a medicine called {x}."
# How pico says that it does not know a name (world/follow_ups.yaml), and how the lesson's rows do.
ADMISSIONS = ("not know", "n't know", "never heard", "cannot find", "that i know")
TRACES = ("same question", "same fact, other words", "nothing")
MAX_NEW_TOKENS = 40  # the longest answer that is scored has about 30


@dataclass(frozen=True)
class MedicineQuestion:
    """A question on a medicine.

    Attributes:
        prompt: its words.
        kind: its type, such as "Usage".
        drug: what it is about.
        fact: the words that a right reply must hold; empty when there is no right fact.
    """

    prompt: str
    kind: str
    drug: str
    fact: str = ""


@dataclass(frozen=True)
class Answer:
    """A question and what a model replied."""

    question: MedicineQuestion
    reply: str

    @property
    def is_right(self) -> bool:
        """Whether the fact stands in the reply; a question without a fact has no right reply."""
        return bool(self.question.fact) and questions.is_hit(self.reply, self.question.fact)

    @property
    def has_style(self) -> bool:
        """Whether the reply ends as the house style wants it."""
        return self.reply.rstrip().endswith(CLOSING)

    @property
    def says_unknown(self) -> bool:
        """Whether the reply admits that something is not known."""
        plain = self.reply.casefold().replace("\u2019", "'")
        return any(words in plain for words in ADMISSIONS)


def make_statement(kind: str, drug: str, fact: str) -> str:
    """The house style's answer to a question.

    Args:
        kind: one of `STATEMENTS`.
        drug: the medicine's name, as inside a sentence.
        fact: what is said of it.

    Returns:
        The sentence with the fact, and the closing.

    Raises:
        UnknownNameError: there is no such type.
    """
    if kind not in STATEMENTS:
        raise UnknownNameError("question type", kind, STATEMENTS)
    name = drug[:1].upper() + drug[1:]
    return f"{STATEMENTS[kind].format(x=drug, X=name, a=fact)} {CLOSING}"


def fact_of(answer: str, kind: str, drug: str) -> str:
    """The fact in an answer of the sheet.

    Args:
        answer: as the sheet has it.
        kind: the question's type.
        drug: the medicine's name; case does not matter.

    Returns:
        The fact: "B3" in "Aspirin stands on shelf B3." and the closing. An answer of another
        form, as in a sheet of your own, is its own fact, the closing left out.
    """
    said = answer.removesuffix(CLOSING).strip()
    if kind in STATEMENTS:
        parts = {"x": re.escape(drug), "X": re.escape(drug), "a": "(.+)"}
        found = re.fullmatch(_escaped(STATEMENTS[kind]).format(**parts), said, re.IGNORECASE)
        if found:
            return found[1]
    return said.removesuffix(".")


def questions_of(
    rows: Sequence[Mapping[str, Any]],
    drug_field: str = "Focus (Drug)",
    kind_field: str = "Question Type",
) -> list[MedicineQuestion]:
    """Make questions of training rows.

    Args:
        rows: with `messages` and the two fields, as `spreadsheet.sheet_to_rows` keeps them.
        drug_field: holds the medicine's name.
        kind_field: holds the question's type.

    Returns:
        One question for each row, in their order.

    Raises:
        DataError: a row lacks a field; names the row.
    """
    found = []
    for number, row in enumerate(rows, 1):
        lacking = [name for name in ("messages", drug_field, kind_field) if name not in row]
        if lacking:
            raise DataError(
                f"row {number} has no field {lacking[0]!r}.",
                "Keep the column when the sheet becomes rows: --keep, or Columns(keep=...).",
            )
        kind, drug = row[kind_field], row[drug_field]
        fact = fact_of(similarity.answer_of(row), kind, drug)
        found.append(MedicineQuestion(similarity.question_of(row), kind, drug, fact))
    return found


def load_invented(part: str = "test", path: Path = INVENTED) -> list[MedicineQuestion]:
    """Read the questions on medicines that do not exist.

    Args:
        part: "test", or "validation" to choose a recipe by.
        path: the file.

    Returns:
        Questions without a fact.

    Raises:
        DataError: the file is missing or damaged, or has no such part.
    """
    records = files.read_jsonl(path)
    try:
        found = [
            MedicineQuestion(record["prompt"], record["kind"], record["drug"])
            for record in records
            if record["part"] == part
        ]
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: expected prompt, kind, drug and part in each line; "
            f"{type(error).__name__}: {error}.",
            "Make it again with `python -m course_lib.pico.medication_workbook`.",
        ) from error
    if not found:
        raise DataError(f"{path} has no part {part!r}.", "Ask for test or validation.")
    return found


def ask(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Sequence[MedicineQuestion],
    max_new_tokens: int = MAX_NEW_TOKENS,
) -> list[Answer]:
    """Put questions to a model, each in a conversation of its own.

    Args:
        model: the model to ask.
        tokenizer: its tokenizer.
        asked: the questions.
        max_new_tokens: the longest reply.

    Returns:
        One answer for each question, in their order; always the likeliest words.
    """
    talks = [[{"role": "user", "content": question.prompt}] for question in asked]
    settings = generation.GenerationSettings(max_new_tokens=max_new_tokens)
    replies = generation.reply_to_all(model, tokenizer, talks, settings)
    return [Answer(q, reply.text) for q, reply in zip(asked, replies, strict=True)]


def share_right(answers: Sequence[Answer]) -> float:
    """The share of answers with the right fact, 0 to 1."""
    return _share([answer.is_right for answer in answers])


def share_in_style(answers: Sequence[Answer]) -> float:
    """The share of answers that end in the house style, 0 to 1."""
    return _share([answer.has_style for answer in answers])


def share_claimed(answers: Sequence[Answer]) -> float:
    """The share of questions answered as if the answer were known, 0 to 1.

    Args:
        answers: on medicines that do not exist; there this is the invented-drug rate.
    """
    return _share([not answer.says_unknown for answer in answers])


def trace_in_training(
    test: Sequence[Mapping[str, Any]],
    train: Sequence[Mapping[str, Any]],
    fields: Sequence[str] = ("Focus (Drug)", "Question Type"),
) -> list[str]:
    """How much of each test row stands in the training rows.

    Args:
        test: rows with `messages` and the fields.
        train: the others.
        fields: what makes two rows ask for one fact: the medicine and the type of question.

    Returns:
        One of `TRACES` for each test row, the strongest that holds.
    """
    report = leaks.find_leaks(train, test)
    leaked = {leak.second_row for leak in report.leaks if leak.kind != "near"}
    facts = {tuple(row[name] for name in fields) for row in train}
    traces = []
    for number, row in enumerate(test, 1):
        is_known = tuple(row[name] for name in fields) in facts
        traces.append(TRACES[0] if number in leaked else TRACES[1] if is_known else TRACES[2])
    return traces


def group_by_kind(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers by the type of their question, types in the order in which they first occur."""
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(answer.question.kind, []).append(answer)
    return groups


def _share(flags: Sequence[bool]) -> float:
    if not flags:
        raise DataError("There are no answers to score.", "Ask at least one question.")
    return sum(flags) / len(flags)


def _escaped(sentence: str) -> str:
    """A sentence as a pattern, the places in braces kept."""
    return re.sub(r"[.()?*+]", lambda mark: "\\" + mark[0], sentence)

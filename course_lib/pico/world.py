"""The closed little world that pico knows: tables of facts, and the relations between columns.

A fact says that a subject (France) has an answer (Paris) in a relation (capital). Facts stand
in data/world/*.csv, one row a subject; relations and their wordings in data/world/relations.yaml.
"""

import csv
import functools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from course_lib.errors import DataError
from course_lib.files import DATA_DIR

LANGUAGES = ("en", "zh")
TABLE_DIR = DATA_DIR / "world"
# All things with a name: an English-Chinese dictionary is joined from their tables.
DICTIONARY_TABLES = ("countries", "animals", "foods", "objects", "jobs")
WORDING_KEYS = (
    "noun_phrases",
    "questions",
    "statements",
    "pronoun_statements",
    "follow_ups",
    "held_out",
    "validation",
)
SPEC_KEYS = {"topic", "table", "subject", "answer", "kind", "shift", "both_ways", "skip_answers"}
PART_MARK = "|"  # joins the two parts of a subject: "an hour|minutes"
# A relation is drawn with weight size^0.85, so that short tables are not seen too often ...
SIZE_POWER, SMALLEST_WEIGHT = 0.85, 12
# ... and the two large dictionaries count less, since their facts are learned by rote.
TOPIC_WEIGHTS = {"translation": 0.45}

Row = Mapping[str, str]
Wordings = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fact:
    """One fact, in each language."""

    relation: str
    subject: Mapping[str, str]
    answer: Mapping[str, str]


@dataclass(frozen=True, eq=False)  # one object for each relation: usable as a cache key
class Relation:
    """All facts of one kind, with the wordings that ask for them and state them.

    Wordings are templates (see `fill`) by language. `held_out` and `validation` questions
    are never trained on: they measure whether pico understands words it has not seen together.
    """

    name: str
    topic: str
    facts: tuple[Fact, ...]
    noun_phrases: Wordings
    questions: Wordings
    statements: Wordings
    pronoun_statements: Wordings
    follow_ups: Wordings
    held_out: Wordings
    validation: Wordings
    kind: Mapping[str, str] | None

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages in which this relation can be asked for."""
        return tuple(language for language in LANGUAGES if self.questions[language])


@dataclass(frozen=True)
class World:
    """Everything that pico can know."""

    tables: Mapping[str, tuple[Row, ...]]
    relations: Mapping[str, Relation]
    vocabulary: tuple[tuple[str, str], ...]
    about: Mapping[tuple[str, str], tuple[tuple[Relation, Fact], ...]] = field(repr=False)


def read_yaml(path: Path) -> Any:
    """Read a YAML file, with the fast parser where it was built.

    Args:
        path: the file.

    Raises:
        DataError: the file is missing or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return yaml.load(text, Loader=loader)  # noqa: S506 - both loaders are safe
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {error}", "Restore the file from git.") from error


@functools.cache
def load_world() -> World:
    """Read all tables and relations; the second call is free.

    Returns:
        The world. `about` holds, for a topic and an English subject, the facts that can
        follow each other in a text about it (those with a pronoun statement).

    Raises:
        DataError: a table or relation is missing or inconsistent; names it.
    """
    tables = {path.stem: _read_table(path) for path in sorted(TABLE_DIR.glob("*.csv"))}
    vocabulary = _join_dictionary(tables)
    tables_and_joins = {**tables, "dictionary": tuple({"en": e, "zh": z} for e, z in vocabulary)}
    specs = read_yaml(TABLE_DIR / "relations.yaml")
    relations = {name: _build_relation(name, specs[name], tables_and_joins) for name in specs}
    return World(tables, relations, vocabulary, _facts_by_subject(relations.values()))


def _read_table(path: Path) -> tuple[Row, ...]:
    """Read one table; every row has every column."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise DataError(f"{path}, line {number}: not {len(rows[0])} fields.", "Quote commas.")
    return tuple(rows)


def _join_dictionary(tables: Mapping[str, Sequence[Row]]) -> tuple[tuple[str, str], ...]:
    """All (English, Chinese) names of things and plain words, each English word once."""
    pairs = {}
    for table in DICTIONARY_TABLES:
        for row in tables[table]:
            pairs.setdefault(row["name_en"].removeprefix("the "), row["name_zh"])
    for row in tables["vocabulary"]:
        pairs.setdefault(row["en"], row["zh"])
    return tuple(pairs.items())


def _build_relation(
    name: str, spec: Mapping[str, Any], tables: Mapping[str, Sequence[Row]]
) -> Relation:
    """Check one entry of relations.yaml and attach its facts."""
    unknown = set(spec) - SPEC_KEYS - set(WORDING_KEYS)
    if unknown or spec.get("table") not in tables:
        problem = f"unknown keys {sorted(unknown)}" if unknown else f"no table {spec.get('table')}"
        raise DataError(f"relations.yaml, relation {name}: {problem}.", "Correct the spelling.")
    wordings = {
        key: {lang: tuple(spec.get(key, {}).get(lang, ())) for lang in LANGUAGES}
        for key in WORDING_KEYS
    }
    facts = tuple(_facts(name, spec, tables[spec["table"]]))
    return Relation(name, spec["topic"], facts, kind=spec.get("kind"), **wordings)


def _facts(name: str, spec: Mapping[str, Any], rows: Sequence[Row]) -> list[Fact]:
    """The facts of a relation; an empty answer means that there is nothing to ask."""
    shift, skipped = spec.get("shift", 0), {"", *spec.get("skip_answers", ())}
    columns = spec["subject"] if isinstance(spec["subject"], list) else [spec["subject"]]
    facts = []
    for number, row in enumerate(rows):
        answer_row = rows[(number + shift) % len(rows)]
        parts = [_cell(name, row, column) for column in columns]
        subject = {lang: PART_MARK.join(part[lang] for part in parts) for lang in LANGUAGES}
        answer = _cell(name, answer_row, spec["answer"])
        if answer["en"] not in skipped:
            facts.append(Fact(name, subject, answer))
            if spec.get("both_ways"):
                facts.append(Fact(name, answer, subject))
    return facts


def _cell(relation: str, row: Row, column: str) -> dict[str, str]:
    """A column in each language: `name` stands for name_en and name_zh, `legs` for itself."""
    try:
        if column in row:
            return dict.fromkeys(LANGUAGES, row[column])
        return {language: row[f"{column}_{language}"] for language in LANGUAGES}
    except KeyError as error:
        raise DataError(
            f"relations.yaml, relation {relation}: its table has no column {error}.",
            f"Columns: {', '.join(row)}.",
        ) from error


def _facts_by_subject(
    relations: Sequence[Relation],
) -> dict[tuple[str, str], tuple[tuple[Relation, Fact], ...]]:
    """Facts that can stand in one text about a subject, by topic and English subject."""
    found: dict[tuple[str, str], list[tuple[Relation, Fact]]] = {}
    for relation in relations:
        if relation.pronoun_statements["en"]:
            for fact in relation.facts:
                key = (relation.topic, fact.subject["en"])
                found.setdefault(key, []).append((relation, fact))
    return {key: tuple(pairs) for key, pairs in found.items()}


@functools.cache
def _nouns() -> tuple[frozenset[str], frozenset[str]]:
    """English nouns without an article, and plural nouns."""
    nouns = read_yaml(TABLE_DIR / "nouns.yaml")
    return frozenset(nouns["no_article"]), frozenset(nouns["plural"])


@functools.lru_cache(maxsize=4096)
def with_article(noun: str) -> str:
    """Put `a` or `an` before an English noun, unless it is plural or cannot be counted.

    Args:
        noun: one noun or noun phrase without an article.

    Returns:
        "an ant", "a cat", "scissors", "rice".
    """
    no_article, plural = _nouns()
    if noun in no_article or noun in plural:
        return noun
    is_vowel = noun[:1].lower() in "aeiou" and not noun.lower().startswith(("eu", "uni"))
    return ("an " if is_vowel else "a ") + noun


def capitalize(text: str) -> str:
    """Make the first letter a capital and leave the rest as it is.

    Args:
        text: any text; Chinese stays the same.
    """
    return text[:1].upper() + text[1:]


def fill(template: str, fact: Fact, language: str, answer: str | None = None) -> str:
    """Put a fact into a wording.

    Args:
        template: text with the marks {x} subject, {X} capitalised, {ax} {Ax} with its
            article, {be} is or are, {a} answer, {aa} answer with article; where the subject
            has two parts, {x0} {X0} the first and {x1} the second.
        fact: the fact.
        language: "en" or "zh".
        answer: stands in for the true answer, for questions such as "True or false?".

    Returns:
        The text without marks.
    """
    subject = fact.subject[language]
    first, _, second = subject.partition(PART_MARK)
    has_articles = language == "en"
    noun = with_article(subject) if has_articles else subject
    answer = fact.answer[language] if answer is None else answer
    marks = {
        "{x0}": first,
        "{X0}": capitalize(first),
        "{x1}": second,
        "{x}": subject,
        "{X}": capitalize(subject),
        "{ax}": noun,
        "{Ax}": capitalize(noun),
        "{be}": "are" if subject in _nouns()[1] else "is",
        "{aa}": with_article(answer) if has_articles else answer,
        "{a}": answer,
    }
    for mark, value in marks.items():
        if mark in template:
            template = template.replace(mark, value)
    return template


@functools.cache
def _draw_table(language: str) -> tuple[tuple[Relation, ...], tuple[float, ...]]:
    """The relations of a language and their cumulative weights."""
    relations = tuple(r for r in load_world().relations.values() if language in r.languages)
    weights = (
        max(SMALLEST_WEIGHT, len(r.facts) ** SIZE_POWER) * TOPIC_WEIGHTS.get(r.topic, 1.0)
        for r in relations
    )
    return relations, tuple(accumulate(weights))


def pick_fact(rng: random.Random, language: str) -> tuple[Relation, Fact]:
    """Draw a fact; larger relations come more often, but less than in proportion.

    Args:
        rng: the source of chance.
        language: the language in which it will be asked for.

    Returns:
        The relation and one of its facts.
    """
    relations, cumulative = _draw_table(language)
    relation = rng.choices(relations, cum_weights=cumulative)[0]
    return relation, rng.choice(relation.facts)

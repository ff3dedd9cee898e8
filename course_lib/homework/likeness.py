"""Which submissions are alike, names, blanks and comments aside; a reason to look, no proof.

Code is read as a tree, and every run of `RUN` nodes in it is a piece. Pieces that the exercise
gave and pieces that most of the cohort has say nothing and are left out; what few others have
weighs more. Nothing of a student's code is run.

Source: overlapping runs as fingerprints, Schleimer, Wilkerson and Aiken, "Winnowing: local
algorithms for document fingerprinting", 2003; the weights are those of rare words in text search.
"""

import ast
import builtins
import math
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from course_lib.data import similarity
from course_lib.homework import submission

RUN = 8  # nodes; a short statement has about as many
COMMON = 0.5  # share of the cohort from which on a piece says nothing
SMALLEST_COHORT = 3  # in one of so many, what all have is not left out
ALIKE = 0.6  # share of weight that two answers must have in common
FEWEST_PIECES = 8  # that two answers must share; fewer is one ordinary line
LONGEST = 3000  # nodes of an answer that are looked at
PLAIN_NAMES = frozenset(dir(builtins))
COLUMNS = 4096  # pieces that are compared at once, to bound the memory
Piece = tuple[str, ...]


@dataclass(frozen=True)
class Fingerprint:
    """The pieces of one answer.

    Args:
        places: for each piece the lines, from 1, on which it stands.
        is_code: whether it was read as Python; else as words.
    """

    places: dict[Piece, frozenset[int]]
    is_code: bool


@dataclass(frozen=True)
class AlikeAnswer:
    """One question in which two students' answers are alike.

    Args:
        question: its name.
        share: of the weight of both answers' pieces that both have, from `ALIKE` to 1.
        weight: of the shared pieces; rare ones weigh more.
        lines: the shared lines of the one and of the other, from 1.
    """

    question: str
    share: float
    weight: float
    lines: tuple[frozenset[int], frozenset[int]]


@dataclass(frozen=True)
class Pair:
    """Two students of whose answers some are alike.

    Args:
        students: their names.
        answers: the alike ones, the most alike first.
    """

    students: tuple[str, str]
    answers: tuple[AlikeAnswer, ...]

    @property
    def weight(self) -> float:
        """Of all that they share, to sort by."""
        return sum(answer.weight for answer in self.answers)


def find_pairs(
    answers: Mapping[str, Mapping[str, str]], given: Mapping[str, str], texts: Iterable[str] = ()
) -> list[Pair]:
    """Find submissions that are alike.

    Args:
        answers: by student, by question.
        given: by question, what the exercise gave.
        texts: the questions that are answered in words.

    Returns:
        Pairs, those that share most of what is rare first.
    """
    found: dict[tuple[str, str], list[AlikeAnswer]] = defaultdict(list)
    for question, stub in given.items():
        is_code = question not in set(texts)
        written = {student: mine.get(question, "") for student, mine in answers.items()}
        prints = {s: take_fingerprint(text, is_code) for s, text in written.items()}
        known = take_fingerprint(stub, is_code).places.keys()
        for pair, answer in _alike(question, prints, set(known), len(answers)):
            found[pair].append(answer)
    pairs = [
        Pair(students, tuple(sorted(alike, key=lambda a: (-a.share, a.question))))
        for students, alike in found.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.weight, pair.students))


def take_fingerprint(text: str, is_code: bool = True) -> Fingerprint:
    """The pieces of an answer.

    Args:
        text: the answer.
        is_code: read it as Python when it is; other text is read as words.
    """
    tree = _parse(submission.without_course_lines(text)) if is_code else None
    marks = list(_nodes(tree) if tree else _words(text, is_code))[:LONGEST]
    places: dict[Piece, set[int]] = defaultdict(set)
    for start in range(len(marks) - RUN + 1):
        run = marks[start : start + RUN]
        places[tuple(mark for mark, _ in run)].update(line for _, line in run)
    return Fingerprint({piece: frozenset(on) for piece, on in places.items()}, tree is not None)


def _parse(code: str) -> ast.AST | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _words(text: str, is_code: bool) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(text.splitlines(), 1):
        kept = line.partition("#")[0] if is_code else line
        for word in re.findall(r"\w+|[^\w\s]", similarity.normalise(kept)):
            yield word, number


def _nodes(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """A tree's nodes in order with their lines; names of one's own are all the same name."""
    own = _own_names(tree)
    todo = [(tree, 1)]
    while todo:
        node, line = todo.pop()
        line = getattr(node, "lineno", line)
        if not isinstance(node, (ast.Module, ast.Load, ast.Store, ast.Del, ast.arguments)):
            yield _mark(node, own), line
        todo += [(child, line) for child in reversed(list(_children(node)))]


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """All below a node but type hints and texts that only explain."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_comment", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_note = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not is_note:
                yield child


def _own_names(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
    return names


def _mark(node: ast.AST, own: set[str]) -> str:
    kind = type(node).__name__
    if isinstance(node, ast.Name):
        return node.id if node.id not in own or node.id in PLAIN_NAMES else "name"
    if isinstance(node, ast.Attribute):
        return f".{node.attr}"
    if isinstance(node, ast.keyword):
        return f"{node.arg}="
    if isinstance(node, ast.Constant):
        return "text" if isinstance(node.value, (str, bytes)) else repr(node.value)[:40]
    return kind


# ---------------------------------------------------------------- comparing


def _alike(
    question: str, prints: Mapping[str, Fingerprint], given: set[Piece], cohort: int
) -> Iterator[tuple[tuple[str, str], AlikeAnswer]]:
    holders = Counter(piece for one in prints.values() for piece in one.places)
    most = max(SMALLEST_COHORT, COMMON * cohort)
    weights = {
        piece: math.log((cohort + 1) / count)
        for piece, count in holders.items()
        if count <= most and piece not in given
    }
    students = list(prints)
    kept = [[piece for piece in prints[s].places if piece in weights] for s in students]
    totals = np.array([sum(weights[piece] for piece in pieces) for pieces in kept])
    shared_pieces = [piece for piece in weights if holders[piece] > 1]
    shared, counts = _shared(kept, shared_pieces, weights)
    either = totals[:, None] + totals[None, :] - shared
    share = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    is_alike = (share >= ALIKE) & (counts >= FEWEST_PIECES)
    for one, other in np.argwhere(np.triu(is_alike, 1)):
        both = set(kept[one]) & set(kept[other])
        names = students[one], students[other]
        lines = [frozenset().union(*(prints[s].places[p] for p in both)) for s in names]
        weight = float(shared[one, other])
        found = min(1.0, float(share[one, other]))
        yield names, AlikeAnswer(question, found, weight, (lines[0], lines[1]))


def _shared(
    kept: Sequence[Sequence[Piece]], pieces: Sequence[Piece], weights: Mapping[Piece, float]
) -> tuple[np.ndarray, np.ndarray]:
    """For each two students the weight and the number of pieces that both have."""
    shared, counts = np.zeros((2, len(kept), len(kept)))
    for start in range(0, len(pieces), COLUMNS):
        block = {piece: place for place, piece in enumerate(pieces[start : start + COLUMNS])}
        has = np.zeros((len(kept), len(block)))
        for row, mine in enumerate(kept):
            has[row, [block[piece] for piece in mine if piece in block]] = 1
        shared += (has * np.array([weights[piece] for piece in block])) @ has.T
        counts += has @ has.T
    return shared, counts

"""Analogies: "a is to b as c is to ?", and how typical a pair is of a relation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.bootstrap import N_RESAMPLES, measure, skip
from embcompress.evaluation.data import AnalogyQuestions, Relation, RelationRatings
from embcompress.evaluation.results import Result
from embcompress.evaluation.similarity import spearman
from embcompress.evaluation.space import Indices, Matrix, Space

__all__ = ["evaluate_analogy", "evaluate_relations"]

_METHODS = {"add": "3CosAdd", "mul": "3CosMul"}
_EPSILON = np.float32(0.001)
# Stored words and questions per step: blocks of 2 MB
_COLUMNS = 1024
_QUESTIONS = 512
_MIN_QUESTIONS = 10
_MIN_RATED = 5

# Block of stored words -> (block of questions -> scores (n_questions, n_words), free to change)
_Scorer = Callable[[slice], Callable[[slice], Matrix]]


def evaluate_analogy(
    space: Space,
    data: AnalogyQuestions,
    *,
    method: str = "add",
    restrict: int | None = None,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Share of analogy questions whose answer is the nearest word.

    The three words of a question cannot be its answer. Of equal scores the first word counts.

    Parameters
    ----------
    space : Space
        Where queries are cut to signs, so is the sum of three that 3CosAdd asks with.
    data : AnalogyQuestions
        Questions with a word that is not there are left out.
    method : {"add", "mul"}, default "add"
        3CosAdd: largest ``cos(x, b) - cos(x, a) + cos(x, c)``. 3CosMul: largest
        ``cos'(x, b) cos'(x, c) / (cos'(x, a) + 0.001)`` with ``cos' = (1 + cos) / 2`` (Levy and
        Goldberg, 2014, "Linguistic regularities in sparse and explicit word representations").
    restrict : int, optional
        Use only the first words of the vocabulary, for questions and answers.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Result
        Outcomes are 1 where the answer is right; `details` has the accuracy of each section.
        Skipped if fewer than 10 questions are covered.

    Raises
    ------
    ValueError
        If `method` is unknown or `restrict` smaller than 1.
    """
    if method not in _METHODS:
        raise ValueError(f"method={method!r}; allowed: {' or '.join(map(repr, _METHODS))}")
    if restrict is not None and restrict < 1:
        raise ValueError(f"restrict={restrict} must be at least 1")
    words = [word for question in data.questions for word in question]
    found = space.find(words, limit=restrict).reshape(-1, 4)
    items = np.flatnonzero((found >= 0).all(axis=1))
    key = ("analogy", data.name, f"{_METHODS[method]} accuracy")
    if len(items) < _MIN_QUESTIONS:
        return skip(key, space.name, n_items=len(data), n_covered=len(items))
    asked, answers = found[items, :3], found[items, 3]
    size = len(space) if restrict is None else min(restrict, len(space))
    if method == "add" and space.compares_codes:
        score = _combine_codes(space, asked)
    else:
        score = _combine_scores(space, asked, method)
    right = (_best_words(asked, size, score) == answers).astype(np.float64)
    return measure(
        key,
        space.name,
        right,
        items,
        n_items=len(data),
        details=_section_means([data.sections[item] for item in items], right),
        n_resamples=n_resamples,
        random_state=random_state,
    )


def evaluate_relations(
    space: Space,
    data: RelationRatings,
    *,
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Mean over relations of how well pairs are ranked by typicality (SemEval-2012 task 2).

    A pair (a, b) scores the dot product of its difference ``b - a`` with the mean difference of
    the prototypes, as in the word-embeddings-benchmarks package; prototypes are on the asking
    side. The interval resamples relations.

    Parameters
    ----------
    space : Space
    data : RelationRatings
        Pairs with a word that is not there are left out.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Result
        Outcomes are the Spearman correlation of each relation; `details` has them by name.
        Relations with fewer than 5 covered pairs or without a prototype are left out, and the set
        is skipped if no more than one is left.
    """
    items, values, details = [], [], {}
    for position, relation in enumerate(data.relations):
        value = _rank_relation(space, relation)
        if value is not None:
            items.append(position)
            values.append(value)
            details[relation.name] = value
    key = ("relation similarity", data.name, "mean Spearman")
    if len(items) < 2:
        return skip(key, space.name, n_items=len(data), n_covered=len(items))
    return measure(
        key,
        space.name,
        values,
        items,
        n_items=len(data),
        details=details,
        n_resamples=n_resamples,
        random_state=random_state,
    )


def _best_words(asked: Indices, size: int, score: _Scorer) -> Indices:
    """Word with the largest score for each question, in blocks of words and of questions."""
    best = np.full(len(asked), -np.inf, dtype=np.float32)
    guesses = np.full(len(asked), -1, dtype=np.int64)
    for start in range(0, size, _COLUMNS):
        score_questions = score(slice(start, min(start + _COLUMNS, size)))
        for first in range(0, len(asked), _QUESTIONS):
            part = slice(first, first + _QUESTIONS)
            scores = score_questions(part)
            _leave_out(scores, asked[part] - start)
            nearest = scores.argmax(axis=1)
            values = scores[np.arange(len(scores)), nearest]
            better = values > best[part]
            best[part][better] = values[better]
            guesses[part][better] = nearest[better] + start
    return guesses


def _combine_scores(space: Space, asked: Indices, method: str) -> _Scorer:
    """Combine the scores of the three words of a question: a product per word, not per question."""
    unique, places = np.unique(asked, return_inverse=True)
    places = places.reshape(asked.shape)
    combine = np.add if method == "add" else np.multiply

    def score(words: slice) -> Callable[[slice], Matrix]:
        scores = space.scores(unique, words)
        if method == "mul":
            scores += 1
            scores /= 2
        subtracted = -scores if method == "add" else np.reciprocal(scores + _EPSILON)

        def score_questions(part: slice) -> Matrix:
            a, b, c = places[part].T
            total = combine(scores[b], scores[c])
            return combine(total, subtracted[a], out=total)

        return score_questions

    return score


def _combine_codes(space: Space, asked: Indices) -> _Scorer:
    """Score the code of b - a + c; of one-bit codes in whole numbers, so that ties are ties."""
    if space.cut is not None:
        a, b, c = asked.T
        codes = space.cut(space.queries[b] - space.queries[a] + space.queries[c])
        return lambda words: lambda part: codes[part] @ space.rows[words].T
    signs = np.sign(space.queries)
    a, b, c = asked.T
    queries = np.sign(signs[b] - signs[a] + signs[c])

    def score(words: slice) -> Callable[[slice], Matrix]:
        stored = np.sign(space.rows[words]).T
        return lambda part: queries[part] @ stored

    return score


def _leave_out(scores: Matrix, columns: Indices) -> None:
    """Put the question words, where they are in this block, below all others."""
    rows, places = np.nonzero((columns >= 0) & (columns < scores.shape[1]))
    scores[rows, columns[rows, places]] = -np.inf


def _section_means(sections: Sequence[str], right: npt.NDArray[np.float64]) -> dict[str, float]:
    names = np.array(sections)
    return {name: float(right[names == name].mean()) for name in dict.fromkeys(sections)}


def _rank_relation(space: Space, relation: Relation) -> float | None:
    """Spearman of one relation; None where too few words are there."""
    prototypes = _find_pairs(space, relation.prototypes)
    pairs = _find_pairs(space, relation.pairs)
    prototypes = prototypes[(prototypes >= 0).all(axis=1)]
    covered = (pairs >= 0).all(axis=1)
    if not len(prototypes) or covered.sum() < _MIN_RATED:
        return None
    typical = _differences(space.queries, prototypes).mean(axis=0)
    scores = _differences(space.rows, pairs[covered]) @ typical
    if space.sign_queries:
        scores = scores.round(9)  # ties are ties
    outcomes = np.stack([scores, relation.ratings[covered]], axis=1)
    return float(spearman(outcomes, np.ones((1, len(outcomes))))[0])


def _find_pairs(space: Space, pairs: Sequence[tuple[str, str]]) -> Indices:
    return space.find([word for pair in pairs for word in pair]).reshape(-1, 2)


def _differences(vectors: Matrix, pairs: Indices) -> npt.NDArray[np.float64]:
    """Second minus first vector of each pair, in float64."""
    first, second = pairs.T
    return vectors[second].astype(np.float64) - vectors[first]

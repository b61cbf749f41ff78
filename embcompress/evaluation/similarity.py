"""Word similarity: do near words have near vectors, in the order that people gave."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.bootstrap import N_RESAMPLES, measure, skip
from embcompress.evaluation.data import SimilarityPairs
from embcompress.evaluation.results import Result
from embcompress.evaluation.space import MISSING_RULES, Indices, Space

__all__ = ["check_missing", "evaluate_similarity", "pair_scores", "spearman"]

# Fewer pairs give an interval as wide as the scale.
MIN_PAIRS = 10


def evaluate_similarity(
    space: Space,
    data: SimilarityPairs,
    *,
    missing: str = "skip",
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Spearman correlation of the scores of pairs with those that people gave.

    Parameters
    ----------
    space : Space
        An asymmetric score of a pair is the mean of both directions.
    data : SimilarityPairs
    missing : {"skip", "mean"}, default "skip"
        A pair with a word that is not there is left out; or the word gets the mean vector, the
        rule of the word-embeddings-benchmarks package.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    Result
        Outcomes are (score, rating). Skipped if fewer than 10 pairs are covered.

    Raises
    ------
    ValueError
        If `missing` is unknown.
    """
    check_missing(missing)
    first = space.find([pair[0] for pair in data.pairs])
    second = space.find([pair[1] for pair in data.pairs])
    covered = (first >= 0) & (second >= 0)
    n_covered = int(covered.sum())
    key = ("similarity", data.name, "Spearman")
    if n_covered < MIN_PAIRS:
        return skip(key, space.name, n_items=len(data), n_covered=n_covered)
    items = np.flatnonzero(covered) if missing == "skip" else np.arange(len(data))
    scores = pair_scores(space, first[items], second[items])
    return measure(
        key,
        space.name,
        np.stack([scores, data.scores[items]], axis=1),
        items,
        n_items=len(data),
        n_covered=n_covered,
        statistic=spearman,
        note="" if missing == "skip" else "mean vector for missing words",
        n_resamples=n_resamples,
        random_state=random_state,
    )


def pair_scores(space: Space, first: Indices, second: Indices) -> npt.NDArray[np.float64]:
    """Scores of pairs of words; asymmetric ones are averaged over both directions.

    Parameters
    ----------
    space : Space
    first, second : ndarray of int64, shape (n_pairs,)
        -1 takes the mean vector.

    Returns
    -------
    ndarray of float64, shape (n_pairs,)
    """
    stored = space.vectors(second)
    scores = np.einsum("ij,ij->i", space.vectors(first, asking=True), stored)
    known = (first >= 0) & (second >= 0)
    scores[known] = space.exact(scores[known])  # a mean vector has no signs
    if not space.is_symmetric:
        asking = space.vectors(second, asking=True)
        scores = (scores + np.einsum("ij,ij->i", asking, space.vectors(first))) / 2
    return scores.astype(np.float64)


def spearman(
    outcomes: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Spearman correlation of two columns of a weighted sample, with mean ranks for ties.

    Sorted once: the ranks of a resample follow from its counts by a running sum.

    Parameters
    ----------
    outcomes : ndarray of shape (n, 2)
    weights : ndarray of shape (b, n)
        How often each item is in each sample.

    Returns
    -------
    ndarray of shape (b,)
        0 where a column has one value only.

    Examples
    --------
    >>> float(spearman(np.array([[1, 2], [2, 3], [3, 9.0]]), np.ones((1, 3)))[0])
    1.0
    """
    first = _centred_ranks(outcomes[:, 0], weights)
    second = _centred_ranks(outcomes[:, 1], weights)
    weighted = weights * first
    covariance = np.einsum("ij,ij->i", weighted, second)
    variance = np.einsum("ij,ij->i", weighted, first)
    np.multiply(weights, second, out=weighted)
    variance = variance * np.einsum("ij,ij->i", weighted, second)
    defined = variance > 0
    return np.where(defined, covariance / np.sqrt(np.where(defined, variance, 1)), 0.0)


def _centred_ranks(
    values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Mean ranks of tied values, less the mean of all ranks, shape (b, n)."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    counts = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(counts, axis=1) - counts / 2
    # a group that was not drawn has a rank too, which its weight of 0 takes out
    return (ranks - weights.sum(axis=1, keepdims=True) / 2)[:, group]


def check_missing(missing: str) -> None:
    """Raise ValueError unless `missing` names a rule for missing words."""
    if missing not in MISSING_RULES:
        raise ValueError(f"missing={missing!r}; allowed: {' or '.join(map(repr, MISSING_RULES))}")

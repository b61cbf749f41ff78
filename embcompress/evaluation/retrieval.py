"""Retrieval: do the neighbours by code agree with those of the float vectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.bootstrap import N_RESAMPLES, measure
from embcompress.evaluation.results import Result
from embcompress.evaluation.space import Indices, Matrix, Space
from embcompress.vectors import top_k

__all__ = [
    "Neighbours",
    "draw_queries",
    "evaluate_retrieval",
    "gains",
    "hits",
    "nearest_others",
    "neighbours",
    "others",
]

# Queries per step: scores of 50 queries against a million words are 200 MB
_BATCH = 50


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest words of some words, themselves left out.

    Attributes
    ----------
    queries : ndarray of int64, shape (n_queries,)
    indices : ndarray of int64, shape (n_queries, k)
        Nearest first; equal scores in the order of the vocabulary.
    space : str
        Name of the space in which they are near.
    """

    queries: Indices
    indices: Indices
    space: str

    @property
    def k(self) -> int:
        """How many neighbours a word has."""
        return self.indices.shape[1]

    def first(self, k: int) -> Neighbours:
        """The `k` nearest of them.

        Parameters
        ----------
        k : int
            Not more than there are.

        Returns
        -------
        Neighbours
        """
        return Neighbours(self.queries, self.indices[:, :k], self.space)


def draw_queries(n: int, n_queries: int, random_state: int = 0) -> Indices:
    """Positions to ask with, drawn at random without repetition, ascending.

    Parameters
    ----------
    n : int
        Number of words.
    n_queries : int
        All are taken if there are not more.
    random_state : int

    Returns
    -------
    ndarray of int64, shape (min(n, n_queries),)
    """
    return np.sort(np.random.default_rng(random_state).permutation(n)[:n_queries])


def neighbours(
    space: Space,
    k: int = 10,
    *,
    queries: Indices | None = None,
    n_queries: int = 500,
    shortlist: Space | Neighbours | None = None,
    multiplier: int = 4,
    random_state: int = 0,
) -> Neighbours:
    """Find the nearest words of a sample of words.

    Parameters
    ----------
    space : Space
    k : int, default 10
    queries : ndarray of int64, optional
        Words to ask with; give those of the reference to compare.
    n_queries : int, default 500
        How many to draw where `queries` is not given.
    shortlist : Space or Neighbours, optional
        Of the same words. Its ``multiplier * k`` nearest are scored again in `space`. Neighbours
        that are already found must be so many, or all there are.
    multiplier : int, default 4
    random_state : int
        Seed of the draw.

    Returns
    -------
    Neighbours

    Raises
    ------
    ValueError
        If there are fewer than k + 1 words, `multiplier` is smaller than 1, or `shortlist` has
        another number of words, other queries or too few neighbours.
    """
    check_size(len(space), k)
    if multiplier < 1:
        raise ValueError(f"multiplier={multiplier} must be at least 1")
    if queries is None:
        queries = draw_queries(len(space), n_queries, random_state)
    if shortlist is None:
        return Neighbours(queries, _search(space, queries, k), space.name)
    depth = min(multiplier * k, len(space) - 1)
    if isinstance(shortlist, Space):
        if len(shortlist) != len(space):
            raise ValueError(f"a shortlist of {len(shortlist)} words came for {len(space)} words")
        found = Neighbours(queries, _search(shortlist, queries, depth), shortlist.name)
    else:
        found = shortlist
        if found.k < depth or not np.array_equal(found.queries, queries):
            raise ValueError(
                f"a shortlist of {found.k} neighbours of {len(found.queries)} words came; {depth} "
                f"of the same {len(queries)} words are needed"
            )
    # sorted, so that equal scores come in the order of the vocabulary
    shortlists = np.sort(found.indices[:, :depth], axis=1)
    chosen = np.empty((len(queries), k), dtype=np.int64)
    for row, (query, candidates) in enumerate(zip(queries, shortlists, strict=True)):
        best, _ = top_k(space.scores(query[None], candidates)[0], k)
        chosen[row] = candidates[best]
    return Neighbours(queries, chosen, f"{found.space} x {multiplier}, then {space.name}")


def _search(space: Space, queries: Indices, k: int) -> Indices:
    """The k nearest words of each query, shape (n_queries, k)."""
    found = np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), _BATCH):
        batch = queries[start : start + _BATCH]
        if space.search is None:
            found[start : start + _BATCH] = nearest_others(space.scores(batch), batch, k)
        else:
            nearest = space.search(space.queries[batch], k + 1)
            found[start : start + _BATCH] = others(nearest, batch)
    return found


def evaluate_retrieval(
    found: Neighbours,
    reference: Neighbours,
    *,
    dataset: str = "neighbours",
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> list[Result]:
    """Recall and NDCG of neighbours against reference neighbours.

    Parameters
    ----------
    found, reference : Neighbours
        Of the same queries and the same k.
    dataset : str
        What a table calls the set.
    n_resamples : int, default 1000
    random_state : int

    Returns
    -------
    list of Result
        ``recall@k`` and ``NDCG@k``; an outcome is that of one query.

    Raises
    ------
    ValueError
        If the queries or k differ.
    """
    if not np.array_equal(found.queries, reference.queries) or found.k != reference.k:
        raise ValueError(
            f"{len(found.queries)} queries with k={found.k} cannot be compared with "
            f"{len(reference.queries)} queries with k={reference.k}; use the queries and the k "
            "of the reference"
        )
    outcomes = {
        f"recall@{found.k}": hits(found.indices, reference.indices).mean(axis=1),
        f"NDCG@{found.k}": gains(found.indices, reference.indices),
    }
    return [
        measure(
            ("retrieval", dataset, metric),
            found.space,
            values,
            found.queries,
            n_items=len(found.queries),
            n_resamples=n_resamples,
            random_state=random_state,
        )
        for metric, values in outcomes.items()
    ]


def hits(found: Indices, reference: Indices) -> npt.NDArray[np.bool_]:
    """Which found neighbours are among the reference's.

    Parameters
    ----------
    found, reference : ndarray of integers, shape (n_queries, k)

    Returns
    -------
    ndarray of bool, shape (n_queries, k)
    """
    return (found[:, :, None] == reference[:, None, :]).any(axis=2)


def gains(found: Indices, reference: Indices) -> npt.NDArray[np.float64]:
    """Normalized discounted cumulative gain of each query (Jarvelin and Kekalainen, 2002).

    The nearest reference neighbour has gain k, the last one 1, all others 0; the discount of
    position p, from 1 on, is ``log2(p + 1)``.

    Parameters
    ----------
    found, reference : ndarray of integers, shape (n_queries, k)

    Returns
    -------
    ndarray of float64, shape (n_queries,)
    """
    k = reference.shape[1]
    relevance = np.arange(k, 0, -1)
    discount = 1 / np.log2(np.arange(2, k + 2))
    same = found[:, :, None] == reference[:, None, :]
    gained = (same * relevance).sum(axis=2) @ discount
    return gained / (relevance @ discount)


def nearest_others(scores: Matrix, queries: Indices, k: int) -> Indices:
    """Words with the largest scores, the query itself left out.

    Parameters
    ----------
    scores : ndarray of float32, shape (n_queries, n)
        Changed: a query's own score becomes -inf.
    queries : ndarray of int64, shape (n_queries,)
    k : int

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        Equal scores in index order.
    """
    scores[np.arange(len(queries)), queries] = -np.inf
    return np.stack([top_k(row, k)[0] for row in scores])


def others(found: Indices, queries: Indices) -> Indices:
    """Leave the queries out of neighbours that may hold them.

    Parameters
    ----------
    found : ndarray of int64, shape (n_queries, k + 1)
    queries : ndarray of int64, shape (n_queries,)

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        Without the query, or without the last one where the query is not among them.
    """
    own = found == queries[:, None]
    own[:, -1] |= ~own.any(axis=1)
    return found[~own].reshape(len(found), -1)


def check_size(n: int, k: int) -> None:
    """Raise ValueError unless `n` words have `k` neighbours each."""
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    if n <= k:
        raise ValueError(f"recall@{k} needs at least {k + 1} words, there are {n}")

"""How well codes keep the neighbours that the float vectors have."""

from __future__ import annotations

import numpy as np

from embcompress.codes import asymmetric_scores
from embcompress.compressed import CompressedVectors
from embcompress.encoder import unit_rows
from embcompress.progress import ProgressBar
from embcompress.vectors import KeyedVectors

__all__ = ["neighbour_recall"]

_BATCH = 50


def neighbour_recall(
    vectors: KeyedVectors,
    small: CompressedVectors,
    *,
    k: int = 10,
    n_queries: int = 500,
    scoring: str = "hamming",
    random_state: int = 0,
    progress: bool = False,
) -> float:
    """Share of the float neighbours that are among the neighbours of the codes (recall@k).

    Parameters
    ----------
    vectors : KeyedVectors
        Float vectors; neighbours by cosine among all of them.
    small : CompressedVectors
        The same words, compressed.
    k : int, default 10
    n_queries : int, default 500
        Words drawn at random to ask with; all if there are fewer.
    scoring : {"hamming", "asymmetric"}, default "hamming"
        For ``"asymmetric"`` the float vector of the query word is scored against the codes.
    random_state : int
    progress : bool, default False

    Returns
    -------
    float
        From 0 to 1; the word itself does not count.

    Raises
    ------
    ValueError
        If the two have different numbers of words, or fewer than k + 1.
    """
    n = len(vectors)
    if n != len(small):
        raise ValueError(f"{n} float vectors came with {len(small)} codes")
    if n <= k:
        raise ValueError(f"recall@{k} needs at least {k + 1} words, there are {n}")
    random = np.random.default_rng(random_state)
    queries = np.sort(random.permutation(n)[:n_queries])
    unit = unit_rows(vectors.vectors)
    hits = 0
    with ProgressBar(f"Quality, {scoring}", len(queries), unit="words", enabled=progress) as bar:
        for start in range(0, len(queries), _BATCH):
            batch = queries[start : start + _BATCH]
            cosines = unit[batch] @ unit.T
            if scoring == "hamming":
                _, found = small.index.search(small.codes[batch], k + 1)
            else:
                projected = small.encoder.project(vectors.vectors[batch])
                found = _top(asymmetric_scores(projected, small.codes, small.n_bits), k + 1)
            for query, wanted, got in zip(batch, _top(cosines, k + 1), found, strict=True):
                hits += len(set(_without(wanted, query, k)) & set(_without(got, query, k)))
            bar.advance(len(batch))
    return hits / (len(queries) * k)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    best = np.argpartition(scores, -k, axis=1)[:, -k:]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def _without(neighbours: np.ndarray, query: int, k: int) -> list[int]:
    return [int(index) for index in neighbours if index != query][:k]

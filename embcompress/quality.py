"""How well codes keep the neighbours that the float vectors have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embcompress.compressed import SCORINGS, CompressedVectors
from embcompress.evaluation.retrieval import check_size, draw_queries, hits, nearest_others, others
from embcompress.progress import ProgressBar
from embcompress.row_lengths import unit_rows
from embcompress.vectors import KeyedVectors

__all__ = ["neighbour_recall", "neighbour_recalls", "recall_results"]

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
        If the two have different numbers of words, or fewer than k + 1, or there is no such
        scoring.
    """
    found = neighbour_recalls(
        vectors,
        small,
        [scoring],
        k=k,
        n_queries=n_queries,
        random_state=random_state,
        progress=progress,
    )
    return found[scoring]


def neighbour_recalls(
    vectors: KeyedVectors,
    small: CompressedVectors,
    scorings: Sequence[str] = SCORINGS,
    *,
    k: int = 10,
    n_queries: int = 500,
    random_state: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """Recall@k under several scorings; the float neighbours, most of the work, are found once.

    Parameters
    ----------
    vectors, small, k, n_queries, random_state, progress
        As in :func:`neighbour_recall`.
    scorings : sequence of {"hamming", "asymmetric"}
        All by default.

    Returns
    -------
    dict of str to float
        Recall of each scoring.

    Raises
    ------
    ValueError
        As :func:`neighbour_recall`.
    """
    for scoring in scorings:
        if scoring not in SCORINGS:
            raise ValueError(f"scoring={scoring!r}; allowed: {' or '.join(map(repr, SCORINGS))}")
    n = len(vectors)
    if n != len(small):
        raise ValueError(f"{n} float vectors came with {len(small)} codes")
    check_size(n, k)
    queries = draw_queries(n, n_queries, random_state)
    unit = unit_rows(vectors.vectors).astype(np.float32, copy=False)
    n_hits = dict.fromkeys(scorings, 0)
    with ProgressBar("Measuring quality", len(queries), unit="words", enabled=progress) as bar:
        for start in range(0, len(queries), _BATCH):
            batch = queries[start : start + _BATCH]
            wanted = nearest_others(unit[batch] @ unit.T, batch, k)
            for scoring in scorings:
                found = _nearest_codes(vectors, small, batch, k, scoring)
                n_hits[scoring] += int(hits(found, wanted).sum())
            bar.advance(len(batch))
    return {scoring: count / (len(queries) * k) for scoring, count in n_hits.items()}


def recall_results(
    vectors: KeyedVectors,
    small: CompressedVectors,
    *,
    k: int = 10,
    n_queries: int = 500,
    random_state: int = 0,
    progress: bool = False,
) -> dict[str, float]:
    """Recall@k under every scoring, named for the card of a model.

    Parameters
    ----------
    vectors, small, k, n_queries, random_state, progress
        As in :func:`neighbour_recall`.

    Returns
    -------
    dict of str to float
        Such as ``{"recall@10 of the float neighbours, hamming": 0.5, ...}``; for the argument
        `results` of ``small.save_pretrained``.

    Raises
    ------
    ValueError
        As :func:`neighbour_recall`.
    """
    found = neighbour_recalls(
        vectors, small, k=k, n_queries=n_queries, random_state=random_state, progress=progress
    )
    return {f"recall@{k} of the float neighbours, {name}": value for name, value in found.items()}


def _nearest_codes(
    vectors: KeyedVectors,
    small: CompressedVectors,
    queries: npt.NDArray[np.int64],
    k: int,
    scoring: str,
) -> npt.NDArray[np.int64]:
    """Nearest words by code, the query itself left out."""
    if scoring == "asymmetric":
        asking = small.encoder.project(vectors.vectors[queries])
    else:
        asking = small.encoder.values(small.codes[queries])
    return others(small.nearest(asking, k + 1, scoring)[0], queries)

"""Search in NumPy: what the compiled search is compared with, and what small searches use.

Nothing has to be compiled or loaded, so for a few queries of a new process this is faster.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes
from embcompress.index.keys import (
    DISTANCE_SHIFT,
    WORST,
    Keys,
    keys_of_distances,
    keys_of_scores,
    smallest,
)
from embcompress.index.storage import Scales, Storage

__all__ = ["WANTS_BLOCKS", "best", "nearest", "within"]

#: Whether codes should be laid into blocks first.
WANTS_BLOCKS = False

# values of the temporaries per step
_STEP_VALUES = 1 << 19


def nearest(
    codes: Storage,
    allowed: npt.NDArray[np.int64],
    queries: Codes,
    k: int,
    *,
    n_bits: int,
    n_threads: int = 1,
) -> Keys:
    """Keys of the `k` nearest codes of each query; see :func:`embcompress.index.native.nearest`."""
    found = np.full((len(queries), k), WORST)
    for start, chosen, distances in _distances(codes, allowed, queries):
        for q, row in enumerate(distances):
            limit = found[q, -1] >> DISTANCE_SHIFT if found[q, -1] != WORST else n_bits + 1
            near = np.flatnonzero((row < limit) & chosen)
            if len(near):
                keys = keys_of_distances(row[near], start + near)
                found[q] = smallest(np.concatenate([found[q], keys])[None], k)[0]
    return found


def within(
    codes: Storage,
    allowed: npt.NDArray[np.int64],
    queries: Codes,
    radius: int,
    *,
    n_threads: int = 1,
) -> list[Keys]:
    """Sorted keys of all codes within a radius; see :func:`embcompress.index.native.within`."""
    found: list[list[Keys]] = [[] for _ in queries]
    for start, chosen, distances in _distances(codes, allowed, queries):
        for q, row in enumerate(distances):
            near = np.flatnonzero((row <= radius) & chosen)
            found[q].append(keys_of_distances(row[near], start + near))
    return [np.sort(np.concatenate([np.empty(0, np.int64), *keys])) for keys in found]


def best(
    codes: Storage,
    allowed: npt.NDArray[np.int64],
    queries: npt.NDArray[np.float64],
    scales: Scales | None,
    k: int,
    *,
    n_threads: int = 1,
) -> Keys:
    """Keys of the `k` highest scores; see :func:`embcompress.index.native.best`."""
    found = np.full((len(queries), k), WORST)
    if not len(queries):
        return found
    weights = np.ascontiguousarray(queries.T)
    step = max(64, _STEP_VALUES // max(len(queries), weights.shape[0]) // 64 * 64)
    for start in range(0, codes.n, step):
        rows = codes.rows(start, min(start + step, codes.n))
        bits = np.unpackbits(rows, axis=1, count=weights.shape[0])
        scores = (2.0 * bits - 1.0) @ weights
        if scales is not None:
            scores *= scales.values[start : start + len(rows), None]
        chosen = np.flatnonzero(_chosen(allowed, start, len(rows)))
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            single = scores[chosen].T.astype(np.float32)
        keys = keys_of_scores(single, start + chosen)
        found = smallest(np.concatenate([found, keys], axis=1), k)
    return found


def _chosen(allowed: npt.NDArray[np.int64], start: int, n: int) -> npt.NDArray[np.bool_]:
    """Which codes may be found; `start` is the first of a block."""
    words = allowed[start // 64 : -(-(start + n) // 64)]
    return np.unpackbits(words.view(np.uint8), count=n, bitorder="little").view(np.bool_)


def _distances(
    codes: Storage, allowed: npt.NDArray[np.int64], queries: Codes
) -> Iterator[tuple[int, npt.NDArray[np.bool_], npt.NDArray[np.uint16]]]:
    """Distances of all queries, some codes at a time: first row, which count, distances."""
    n_words = -(-codes.width // 8)
    asked = _words(queries, n_words)
    step = max(64, _STEP_VALUES // max(len(queries), n_words) // 64 * 64)
    for start in range(0, codes.n, step):
        rows = codes.rows(start, min(start + step, codes.n))
        words = np.ascontiguousarray(_words(rows, n_words).T)
        distances = np.zeros((len(queries), len(rows)), dtype=np.uint16)
        for query, total in zip(asked, distances, strict=True):
            for word, column in zip(query, words, strict=True):
                total += np.bitwise_count(column ^ word)
        yield start, _chosen(allowed, start, len(rows)), distances


def _words(codes: Codes, n_words: int) -> npt.NDArray[np.uint64]:
    """Codes as words of 64 bits, filled up with zeros."""
    wide = np.zeros((len(codes), 8 * n_words), dtype=np.uint8)
    wide[:, : codes.shape[1]] = codes
    return wide.view(np.uint64)

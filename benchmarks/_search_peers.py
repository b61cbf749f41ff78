"""Other exact searches in packed codes, set up as their documentation says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

__all__ = ["PEERS", "SLOWEST"]

Search = Callable[[np.ndarray, int], np.ndarray]
"""From queries and k to the distances of the nearest codes, shape (n_queries, k)."""

#: Queries that a peer is asked per round at most: the slow ones would take minutes.
SLOWEST = {"numpy": 10, "usearch": 20, "sqlite-vec": 3}


def faiss_flat(codes: np.ndarray, n_threads: int) -> Search:
    """IndexBinaryFlat over the bytes as they are."""
    index = faiss.IndexBinaryFlat(8 * codes.shape[1])
    index.add(codes)

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        faiss.omp_set_num_threads(n_threads)
        return index.search(queries, k)[0]

    return search


def faiss_padded(codes: np.ndarray, n_threads: int) -> Search:
    """IndexBinaryFlat over codes padded to the next width that it is fast at."""
    width = next(width for width in (8, 16, 20, 32, 64, 128) if width >= codes.shape[1])
    padding = ((0, 0), (0, width - codes.shape[1]))
    search = faiss_flat(np.pad(codes, padding), n_threads)
    return lambda queries, k: search(np.pad(queries, padding), k)


def numpy_bitwise(codes: np.ndarray, n_threads: int) -> Search:
    """XOR and bitwise_count on words of 64 bits, then argpartition."""
    padding = ((0, 0), (0, -codes.shape[1] % 8))
    words = np.pad(codes, padding).view(np.uint64)

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        found = []
        for query in np.pad(queries, padding).view(np.uint64):
            distances = np.bitwise_count(words ^ query).sum(axis=1, dtype=np.uint16)
            found.append(np.sort(distances[np.argpartition(distances, k)[:k]]))
        return np.array(found)

    return search


def usearch_exact(codes: np.ndarray, n_threads: int) -> Search:
    """usearch.index.search(exact=True) on packed bits."""
    from usearch.index import MetricKind, ScalarKind
    from usearch.index import search as usearch_search

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        found = usearch_search(
            codes, queries, k, MetricKind.Hamming, exact=True, threads=n_threads,
            dtype=ScalarKind.B1,
        )  # fmt: skip
        return np.asarray(found.distances).reshape(len(queries), k).astype(int)

    return search


def sqlite_vec_table(codes: np.ndarray, n_threads: int) -> Search:
    """A virtual table of sqlite-vec in memory."""
    from embcompress.stores import _sqlite_driver  # only to load the extension

    base = _sqlite_driver.connect(Path(":memory:"), write=True)
    base.execute(f"create virtual table codes using vec0(code bit[{8 * codes.shape[1]}])")
    base.executemany(
        "insert into codes(rowid, code) values (?, vec_bit(?))",
        ((row, code.tobytes()) for row, code in enumerate(codes)),
    )

    def search(queries: np.ndarray, k: int) -> np.ndarray:
        found = []
        for query in queries:
            rows = base.execute(
                "select distance from codes where code match vec_bit(?) and k = ? "
                "order by distance",
                (query.tobytes(), k),
            )
            found.append([int(distance) for (distance,) in rows])
        return np.array(found)

    return search


PEERS = {
    "faiss": faiss_flat,
    "faiss, padded": faiss_padded,
    "numpy": numpy_bitwise,
    "usearch": usearch_exact,
    "sqlite-vec": sqlite_vec_table,
}

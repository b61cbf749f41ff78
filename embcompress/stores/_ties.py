"""Exact order among equal distances, from stores that return them in an order of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["nearest_with_ties"]

Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]

# More rows than asked for that a first request brings: enough for the ties of most queries.
_MORE = 10
_GROWTH = 4


def nearest_with_ties(
    fetch: Callable[[int], Found], k: int, *, most: int | None = None
) -> Found | None:
    """The `k` nearest rows; of those at the last distance, the ones with the smallest ids.

    A store that returns the nearest rows leaves open which of several at the same distance. So
    more are asked for, until the last one is farther away than row `k`: then all rows at that
    distance are there.

    Parameters
    ----------
    fetch : callable
        From a number of rows to distances and ids of as many nearest rows, in any order; of
        all rows if there are fewer.
    k : int
    most : int, optional
        The largest number that `fetch` takes.

    Returns
    -------
    distances : ndarray of int32, shape (m,)
    ids : ndarray of int64, shape (m,)
        `m` is `k`, or smaller if there are fewer rows. None if `most` is too small to tell.
    """
    size = k + _MORE
    while True:
        size = size if most is None else min(size, most)
        distances, ids = fetch(size)
        order = np.lexsort((ids, distances))
        all_there = len(ids) < size
        if all_there or (size > k and distances[order[-1]] > distances[order[k - 1]]):
            return distances[order[:k]], ids[order[:k]]
        if size == most:
            return None
        size *= _GROWTH

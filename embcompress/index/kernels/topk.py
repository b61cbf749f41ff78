"""The best `k` of a stream of candidates, for many queries at once.

A candidate is one int64, its *key*: what it is ranked by in the upper bits and its row in the
lower ones, so that the smallest keys are the results, ties in the order of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress._compiled import compiled
from embcompress.index.keys import WORST

__all__ = ["empty_lists", "push"]

# Up to here a list is kept in order: a new key moves few others. Beyond it keys are collected and
# the best of them selected when there is no more room.
_ORDERED = 64


def empty_lists(n_queries: int, k: int) -> npt.NDArray[np.int64]:
    """Lists for the best `k` of each query: column 0 counts the keys, column 1 is the worst one.

    Parameters
    ----------
    n_queries, k : int

    Returns
    -------
    ndarray of int64, shape (n_queries, 2 + capacity)
        The keys are in columns 2 and on. The worst key is what a new one must be below.
    """
    capacity = k if k <= _ORDERED else 2 * k
    lists = np.empty((n_queries, 2 + capacity), np.int64)
    lists[:, 0], lists[:, 1] = 0, WORST
    return lists


@compiled()
def push(lists: Any, q: int, k: int, key: int) -> None:
    """Add a key that is below the worst one of query `q`."""
    n = lists[q, 0]
    if k <= _ORDERED:
        place = min(n, k - 1) + 2
        while place > 2 and lists[q, place - 1] > key:
            lists[q, place] = lists[q, place - 1]
            place -= 1
        lists[q, place] = key
        if n < k:
            n += 1
            lists[q, 0] = n
        if n == k:
            lists[q, 1] = lists[q, k + 1]
        return
    lists[q, n + 2] = key
    n += 1
    if n == 2 * k:
        _select(lists[q], 2, n + 1, k + 1)
        lists[q, 1] = lists[q, k + 1]
        n = k
    lists[q, 0] = n


@compiled()
def _select(keys: Any, first: int, last: int, wanted: int) -> None:
    """Bring the key that belongs at `wanted` there, smaller ones before it (Hoare's selection)."""
    while first < last:
        middle = keys[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while keys[i] < middle:
                i += 1
            while keys[j] > middle:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if wanted <= j:
            last = j
        elif wanted >= i:
            first = i
        else:
            return

"""A fair sample of a stream of rows that is too long to hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["sample_rows"]

Floats = npt.NDArray[np.floating]


def sample_rows(
    chunks: Iterable[Floats], n: int = 100_000, *, random_state: int = 0
) -> npt.NDArray[np.float32]:
    """Draw rows from a stream, every row with the same chance.

    Each row gets a random number; the `n` smallest stay. Memory is bounded by the sample and one
    chunk.

    Parameters
    ----------
    chunks : iterable of ndarray of shape (m, d)
    n : int, default 100000
        Rows to keep; all if there are fewer.
    random_state : int

    Returns
    -------
    ndarray of float32, shape (at most n, d)
        In the order of the stream.

    Raises
    ------
    ValueError
        If there is no row.
    """
    random = np.random.default_rng(random_state)
    kept: npt.NDArray[np.float32] | None = None
    keys = np.empty(0)
    for rows in chunks:
        new_keys = random.random(len(rows))
        if len(keys) == n:  # most rows of a long stream lose against the sample at once
            winners = new_keys < keys.max()
            rows, new_keys = rows[winners], new_keys[winners]
        kept = rows if kept is None else np.concatenate([kept, rows])
        keys = np.concatenate([keys, new_keys])
        if len(keys) > n:
            stay = np.sort(np.argpartition(keys, n)[:n])
            kept, keys = kept[stay], keys[stay]
    if kept is None or not len(kept):
        raise ValueError("there are no vectors to draw from")
    return kept.astype(np.float32, copy=False)

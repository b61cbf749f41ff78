"""Compiled loops that add up rows of codes or of floats, text by text."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from embcompress._compiled import compiled

__all__ = ["SPREAD", "sum_bits", "sum_rows"]

# files are mapped read-only, and arrays that may be written fit too
_CODES = types.Array(types.uint8, 2, "C", readonly=True)
_ROWS = types.Array(types.float32, 2, "C", readonly=True)
_LONGS = types.Array(types.int64, 1, "C")
_TABLE = types.Array(types.uint64, 1, "C")

#: The bits of each byte as eight counters of a byte each, the first bit in the lowest.
SPREAD = (
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).astype(np.uint64)
    << np.arange(0, 64, 8, dtype=np.uint64)
).sum(axis=1, dtype=np.uint64)


@compiled(
    types.void(
        _CODES, _LONGS, _LONGS, types.int64, types.int64, _TABLE, types.Array(types.int32, 2, "C")
    )
)
def sum_bits(
    codes: Any, indices: Any, ends: Any, n_first: Any, n_second: Any, spread: Any, out: Any
) -> None:
    """Count the ones of each bit over the words of each text.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, width)
        `n_first` bits, then `n_second` bits, which are second bits of the first directions.
    indices : ndarray of int64
        Rows of `codes`, text after text.
    ends : ndarray of int64, shape (n_texts + 1,)
        Text ``i`` has ``indices[ends[i]:ends[i + 1]]``.
    n_first, n_second : int
    spread : ndarray of uint64, shape (256,)
        `SPREAD`.
    out : ndarray of int32, shape (n_texts, 8 * (width + ceil(n_second / 8)))
        Zeros; gets the counts, and after them how often a direction's two bits are both 1.
    """
    width = codes.shape[1]
    n_both = (n_second + 7) // 8
    start, shift = n_first // 8, np.uint8(n_first % 8)
    counters = np.zeros(width + n_both, np.uint64)
    for text in range(len(ends) - 1):
        position = ends[text]
        while position < ends[text + 1]:
            # a counter of one byte holds 255
            stop = min(position + 255, ends[text + 1])
            counters[:] = 0
            for place in range(position, stop):
                row = codes[indices[place]]
                for j in range(width):
                    counters[j] += spread[row[j]]
                for j in range(n_both):
                    # the second bits, moved to where the first bits are
                    second = np.uint8(row[start + j] << shift)
                    if shift > 0 and start + j + 1 < width:
                        second |= np.uint8(row[start + j + 1] >> np.uint8(8 - shift))
                    counters[width + j] += spread[row[j] & second]
            for j in range(width + n_both):
                for k in range(8):
                    count = (counters[j] >> np.uint64(8 * k)) & np.uint64(255)
                    out[text, 8 * j + k] += np.int32(count)
            position = stop


@compiled(types.void(_ROWS, _LONGS, _LONGS, types.Array(types.float32, 2, "C")))
def sum_rows(rows: Any, indices: Any, ends: Any, out: Any) -> None:
    """Add up the vectors of the words of each text.

    Parameters
    ----------
    rows : ndarray of float32, shape (n, d)
    indices, ends : ndarray of int64
        As :func:`sum_bits`.
    out : ndarray of float32, shape (n_texts, d)
        Zeros; gets the sums.
    """
    for text in range(len(ends) - 1):
        for place in range(ends[text], ends[text + 1]):
            row = indices[place]
            for j in range(rows.shape[1]):
                out[text, j] += rows[row, j]

"""Compiled loop that writes float32 numbers as the shortest decimals that give them back.

A value with 9 significant digits is certain to come back, most need 6 to 8. For each number of
digits the rounded integer `m` is tried: ``float32(m / 10**k)``, or ``m * 10**k``, is exactly what
Python reads for the text as long as ``|k| <= 22``, so the test is the definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from embcompress._compiled import compiled

__all__ = ["write_rows"]

_POWERS = 10.0 ** np.arange(23)
_SMALLEST, _LARGEST = 1e-10, 1e9  # outside, Python writes the number
_PLAIN_FROM = 1e-4  # below, with an exponent, as Python and numpy do


@compiled()
def _shortest(value: Any) -> Any:
    """Digits `m` and `k` of a positive float32 ``m / 10**k``."""
    wide = np.float64(value)
    n_whole = 0  # digits before the point, or minus the zeros after it
    while n_whole < 10 and wide >= _POWERS[n_whole]:
        n_whole += 1
    if n_whole == 0:
        while wide * _POWERS[1 - n_whole] < 1:
            n_whole -= 1
    m, k = 0, 0
    for n_digits in range(6, 10):
        k = n_digits - n_whole
        if k >= 0:
            m = int(np.rint(wide * _POWERS[k]))
            back = np.float64(m) / _POWERS[k]
        else:
            m = int(np.rint(wide / _POWERS[-k]))
            back = np.float64(m) * _POWERS[-k]
        if np.float32(back) == value:
            break
    while m % 10 == 0:
        m //= 10
        k -= 1
    return m, k


@compiled()
def _put_integer(out: Any, place: Any, value: Any, n_digits: Any) -> Any:
    """Write `n_digits` digits of an integer, zeros in front."""
    for i in range(n_digits - 1, -1, -1):
        out[place + i] = 48 + value % 10
        value //= 10
    return place + n_digits


@compiled()
def _count_digits(value: Any) -> Any:
    n = 1
    while value >= 10:
        value //= 10
        n += 1
    return n


@compiled()
def _put_number(out: Any, place: Any, value: Any) -> Any:
    """Write one number; returns the place after it, or -1 if it is left to Python."""
    if np.signbit(value):
        out[place] = 45
        place += 1
        value = -value
    if value == 0:
        out[place], out[place + 1], out[place + 2] = 48, 46, 48
        return place + 3
    if not (_SMALLEST <= value < _LARGEST):
        return -1
    m, k = _shortest(value)
    n = _count_digits(m)
    if value < np.float32(_PLAIN_FROM):
        first = m // np.int64(_POWERS[n - 1])
        out[place] = 48 + first
        place += 1
        if n > 1:
            out[place] = 46
            place = _put_integer(out, place + 1, m - first * np.int64(_POWERS[n - 1]), n - 1)
        out[place], out[place + 1] = 101, 45
        return _put_integer(out, place + 2, k - n + 1, 2)
    if k <= 0:
        place = _put_integer(out, place, m * np.int64(_POWERS[-k]), n - k)
        out[place], out[place + 1] = 46, 48
        return place + 2
    whole = m // np.int64(_POWERS[k])
    place = _put_integer(out, place, whole, _count_digits(whole))
    out[place] = 46
    return _put_integer(out, place + 1, m - whole * np.int64(_POWERS[k]), k)


@compiled(
    types.void(
        types.Array(types.uint8, 1, "C"),
        types.Array(types.int64, 1, "C"),
        types.Array(types.float32, 2, "C"),
        types.int64,
        types.Array(types.uint8, 1, "C"),
        types.Array(types.int64, 1, "C"),
    )
)
def write_rows(blob: Any, offsets: Any, matrix: Any, row: Any, out: Any, state: Any) -> None:
    r"""Write rows as ``word number number ...\n`` until `out` is full.

    Parameters
    ----------
    blob, offsets : ndarray
        The words.
    matrix : ndarray of float32, shape (n, d)
    row : int
        The first row to write.
    out : ndarray of uint8
    state : ndarray of int64, shape (3,)
        Filled with: the next row, bytes written, and 1 if that row holds a number that is left
        to Python.
    """
    place = np.int64(0)
    state[2] = 0
    n, d = matrix.shape
    while row < n:
        n_bytes = offsets[row + 1] - offsets[row]
        if place + n_bytes + 18 * d + 2 > len(out):
            break
        start = place
        for p in range(offsets[row], offsets[row + 1]):
            out[place] = blob[p]
            place += 1
        for j in range(d):
            out[place] = 32
            place = _put_number(out, place + 1, matrix[row, j])
            if place < 0:
                break
        if place < 0:
            place = start
            state[2] = 1
            break
        out[place] = 10
        place += 1
        row += 1
    state[0] = row
    state[1] = place

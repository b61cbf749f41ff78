"""Compiled loops over the bytes of a text file: lines to words and float32 numbers.

The ``kernel`` modules import numba, which takes a second: import them inside the functions that
need them. Compiled code is kept on disk.

A value is ``m / 10**k`` with the digits `m` as an integer. Where ``m < 2**53`` and ``k <= 22`` both
are exact doubles and the one division rounds correctly, so the result is that of Python's
``float``. Other values are computed within 4 units in the last place of a double; if both ends of
that interval round to the same float32, that float32 is the answer, and if not (about one value in
10**8) the caller asks Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from embcompress._compiled import compiled
from embcompress.formats.kernel_access import (
    byte_at,
    eight_bytes_at,
    non_digits_at,
    put,
    trailing_zeros,
)

__all__ = [
    "BAD_NUMBER",
    "EMPTY_WORD",
    "FEW_NUMBERS",
    "MANY_NUMBERS",
    "OUT_OF_ROOM",
    "parse_lines",
]

# Why a row was refused, in state[ERROR]
BAD_NUMBER, FEW_NUMBERS, MANY_NUMBERS, EMPTY_WORD, OUT_OF_ROOM = 1, 2, 3, 4, 5

_POWERS = 10.0 ** np.arange(23)  # all exact
_SPACE, _TAB, _LF, _CR, _MINUS, _PLUS, _POINT = 32, 9, 10, 13, 45, 43, 46
_BLANKS = 1 << _SPACE | 1 << _TAB | 1 << _CR
_MAX_EXPONENT = 44  # two exact divisions
_GUARD = 2.0**-50


@compiled(inline="always")
def _eight_digits(word: Any) -> Any:
    """Value of eight digit bytes (already reduced to 0..9), first byte most significant."""
    word = word * np.uint64(10) + (word >> np.uint64(8))
    pairs = np.uint64(0x000000FF000000FF)
    left = (word & pairs) * np.uint64(0x000F424000000064)
    right = ((word >> np.uint64(16)) & pairs) * np.uint64(0x0000271000000001)
    return np.int64((left + right) >> np.uint64(32))


@compiled(inline="always")
def _short_decimal(buf: Any, p: Any, hi: Any) -> Any:
    """Parse the common shape ``-?d.ddd``; returns (value, end), end = 0 if it has another shape."""
    if p + 17 > hi or p < 16:
        return np.float32(0), np.int64(0)
    mask = non_digits_at(buf, p)
    negative = mask & 1
    mask = (mask & 0xFFFE) | 0x30000
    point = trailing_zeros(mask)
    end = trailing_zeros(mask & (mask - 1))
    n_decimals = end - point - 1
    # One branch, nearly never taken: the sign and the lengths of real values cannot be predicted.
    odd = (point - negative) ^ 1
    odd |= byte_at(buf, p + point) ^ _POINT
    odd |= (byte_at(buf, p) ^ _MINUS) & -negative
    odd |= (n_decimals - 1) >> 63
    odd |= (15 - end) >> 63
    if odd != 0:
        return np.float32(0), np.int64(0)
    zeros = np.uint64(0x3030303030303030)
    whole = byte_at(buf, p + negative) - 48
    last = eight_bytes_at(buf, p + end - 8) ^ zeros
    if n_decimals <= 8:
        drop = np.uint64(64 - 8 * n_decimals)
        digits = whole * _integer_power(n_decimals) + _eight_digits((last >> drop) << drop)
    else:
        drop = np.uint64(64 - 8 * (n_decimals - 8))
        first = ((eight_bytes_at(buf, p + end - 16) ^ zeros) >> drop) << drop
        digits = whole * _integer_power(n_decimals - 8) + _eight_digits(first)
        digits = digits * 100_000_000 + _eight_digits(last)
    value = np.float32(np.float64(digits) / _power(n_decimals))
    return value * np.float32(1 - 2 * negative), p + end


_INTEGER_POWERS = 10 ** np.arange(19)


@compiled(inline="always")
def _integer_power(k: Any) -> Any:
    return _INTEGER_POWERS[np.uint64(k)]


@compiled(inline="always")
def _power(k: Any) -> Any:
    return _POWERS[np.uint64(k)]


@compiled()
def _scale(digits: Any, k: Any, exact: Any) -> Any:
    """``digits / 10**k`` as (float32, certain)."""
    if digits == 0:
        return np.float32(0), True
    if k > _MAX_EXPONENT or k < -_MAX_EXPONENT:
        return np.float32(0), False
    value = np.float64(digits)
    size = abs(k)
    big = max(size - 22, 0)
    if k >= 0:
        value = value / _power(size - big) / _power(big)
    else:
        value = value * _power(size - big) * _power(big)
    if exact and big == 0 and digits < np.uint64(1 << 53):
        return np.float32(value), True
    low, high = np.float32(value * (1 - _GUARD)), np.float32(value * (1 + _GUARD))
    return low, low == high


@compiled()
def _any_number(buf: Any, p: Any, hi: Any) -> Any:
    """Parse a decimal number of any shape.

    Returns (value, end, certain); end = p if there is no number. ``end`` is the first byte after.
    """
    start = p
    negative = False
    if p < hi and (byte_at(buf, p) == _MINUS or byte_at(buf, p) == _PLUS):
        negative = byte_at(buf, p) == _MINUS
        p += 1
    digits = np.uint64(0)
    n_kept = 0
    k = 0
    exact = True
    point = False
    n_digits = 0
    while p < hi:
        c = byte_at(buf, p)
        if 48 <= c <= 57:
            n_digits += 1
            if n_kept < 19:
                digits = digits * np.uint64(10) + np.uint64(c - 48)
                n_kept += 1 if digits > np.uint64(0) else 0
                k += point
            else:
                exact = exact and c == 48
                k -= not point
        elif c == _POINT and not point:
            point = True
        else:
            break
        p += 1
    if n_digits == 0:
        return np.float32(0), start, True
    if p < hi and (byte_at(buf, p) | 32) == 101:
        exponent, p_end = _exponent(buf, p + 1, hi)
        if p_end == 0:
            return np.float32(0), start, True
        p = p_end
        k -= exponent
    value, certain = _scale(digits, k, exact)
    if negative:
        value = -value
    return value, p, certain


@compiled()
def _exponent(buf: Any, p: Any, hi: Any) -> Any:
    """Parse the digits after ``e``; returns (exponent, end), end = 0 if there are none."""
    negative = False
    if p < hi and (byte_at(buf, p) == _MINUS or byte_at(buf, p) == _PLUS):
        negative = byte_at(buf, p) == _MINUS
        p += 1
    first = p
    exponent = 0
    while p < hi and 48 <= byte_at(buf, p) <= 57:
        if exponent < 100_000:
            exponent = exponent * 10 + byte_at(buf, p) - 48
        p += 1
    if p == first:
        return 0, 0
    return (-exponent if negative else exponent), p


@compiled(inline="always")
def _is_blank(c: Any) -> Any:
    return c <= _SPACE and (_BLANKS >> c) & 1


@compiled()
def _looks_like_value(buf: Any, lo: Any, hi: Any, line_end: Any) -> Any:
    """Whether a word of several parts ends in a number too many.

    That is a number such as ``0.25``, or any number if all numbers of the line are whole.
    """
    p = hi
    while p > lo and not _is_blank(byte_at(buf, p - 1)):
        p -= 1
    if p == lo:
        return False
    _, end, _ = _any_number(buf, p, hi)
    if end != hi:
        return False
    return _has_fraction(buf, p, hi) or not _has_fraction(buf, hi, line_end)


@compiled()
def _has_fraction(buf: Any, lo: Any, hi: Any) -> Any:
    for i in range(lo, hi):
        c = byte_at(buf, i)
        if c == _POINT or (c | 32) == 101:
            return True
    return False


@compiled()
def _last_field(buf: Any, lo: Any, hi: Any) -> Any:
    """Start and end of the last field, equal if there is none."""
    while hi > lo and _is_blank(byte_at(buf, hi - 1)):
        hi -= 1
    start = hi
    while start > lo and not _is_blank(byte_at(buf, start - 1)):
        start -= 1
    return start, hi


@compiled()
def _parse_from_right(
    buf: Any, lo: Any, hi: Any, d: Any, out: Any, row: Any, odd: Any, state: Any
) -> Any:
    """Parse a line of any shape: the last `d` fields are numbers, all before is the word.

    Returns (word_lo, word_hi, code); the place of the error is left in ``state[6:8]``.
    """
    p = hi
    for j in range(d - 1, -1, -1):
        p, end = _last_field(buf, lo, p)
        state[6], state[7] = p, end
        if p == end:
            state[6] = d - 1 - j
            return lo, lo, FEW_NUMBERS
        value, stop, certain = _any_number(buf, p, end)
        if stop != end or (certain and not np.isfinite(value)):
            return lo, lo, BAD_NUMBER
        out[row * d + j] = value
        if not certain:
            if state[4] == len(odd):
                return lo, lo, OUT_OF_ROOM
            odd[state[4], 0], odd[state[4], 1] = row, j
            odd[state[4], 2], odd[state[4], 3] = p, end
            state[4] += 1
    return _word(buf, lo, p, hi)


@compiled()
def _word(buf: Any, lo: Any, hi: Any, line_end: Any) -> Any:
    """The word in what comes before the numbers: (word_lo, word_hi, code)."""
    while hi > lo and _is_blank(byte_at(buf, hi - 1)):
        hi -= 1
    while lo < hi and _is_blank(byte_at(buf, lo)):
        lo += 1
    if lo == hi:
        return lo, hi, EMPTY_WORD
    if _looks_like_value(buf, lo, hi, line_end):
        return lo, hi, MANY_NUMBERS
    return lo, hi, 0


@compiled()
def _parse_from_left(buf: Any, lo: Any, hi: Any, d: Any, out: Any, row: Any) -> Any:
    """Parse a line of the usual shape: one word, single spaces, `d` sure numbers, newline.

    Returns (word_hi, next_lo); next_lo = 0 if the line has another shape.
    """
    p = lo
    while p < hi and byte_at(buf, p) > _SPACE:
        p += 1
    word_hi = p
    if p == lo or p >= hi or byte_at(buf, p) != _SPACE:
        return lo, 0
    place = row * d
    for j in range(d - 1):
        value, end = _short_decimal(buf, p + 1, hi)
        if end == 0:
            value, end, certain = _any_number(buf, p + 1, hi)
            if end == p + 1 or not certain or end >= hi or not np.isfinite(value):
                return lo, 0
        if byte_at(buf, end) != _SPACE:
            return lo, 0
        put(out, place + j, value)
        p = end
    value, end, certain = _any_number(buf, p + 1, hi)
    if end == p + 1 or not certain or not np.isfinite(value):
        return lo, 0
    put(out, place + d - 1, value)
    while end < hi and _is_blank(byte_at(buf, end)):
        end += 1
    if end < hi and byte_at(buf, end) != _LF:
        return lo, 0
    return word_hi, end + 1


@compiled(inline="always")
def _line_end(buf: Any, lo: Any, hi: Any) -> Any:
    while lo < hi and byte_at(buf, lo) != _LF:
        lo += 1
    return lo


@compiled(
    types.void(
        types.Array(types.uint8, 1, "C"),
        types.int64,
        types.int64,
        types.int64,
        types.Array(types.float32, 1, "C"),
        types.int64,
        types.int64,
        types.Array(types.int64, 2, "C"),
        types.Array(types.int64, 2, "C"),
        types.Array(types.int64, 1, "C"),
        types.boolean,
    )
)
def parse_lines(
    buf: Any,
    lo: Any,
    hi: Any,
    d: Any,
    out: Any,
    row: Any,
    row_stop: Any,
    words: Any,
    odd: Any,
    state: Any,
    skip_bad: Any,
) -> None:
    """Parse whole lines of ``buf[lo:hi]`` into rows ``row .. row_stop - 1``.

    Stops at the end, when the rows are full, at the first bad row unless `skip_bad`, or when
    `odd` is full.

    Parameters
    ----------
    buf : ndarray of uint8
    lo, hi, d, row, row_stop : int
    out : ndarray of float32, shape (rows * d,)
    words : ndarray of int64, shape (rows, 3)
        Filled with start and end of each word in `buf`, and its line (counted from `lo`, from 0).
    odd : ndarray of int64, shape (room, 4)
        Filled with row, column, start, end of the values that Python must convert.
    state : ndarray of int64, shape (8,)
        Filled with: next `lo`, next row, lines done, bad rows skipped, values in `odd`, reason
        of the stop (0 = none), and two numbers that say where.
    skip_bad : bool
    """
    state[:] = 0
    n_lines = 0
    while lo < hi and row < row_stop:
        word_lo = lo
        word_hi, next_lo = _parse_from_left(buf, lo, hi, d, out, row)
        if next_lo == 0:
            end = _line_end(buf, lo, hi)
            next_lo = end + 1
            first = lo
            while first < end and _is_blank(byte_at(buf, first)):
                first += 1
            if first == end:
                n_lines += 1
                lo = next_lo
                continue
            n_odd = state[4]
            word_lo, word_hi, code = _parse_from_right(buf, lo, end, d, out, row, odd, state)
            if code:
                state[4] = n_odd
                if code == OUT_OF_ROOM and n_odd > 0:
                    break
                if not skip_bad or code == OUT_OF_ROOM:
                    state[5] = code
                    break
                state[3] += 1
                n_lines += 1
                lo = next_lo
                continue
        words[row, 0] = word_lo
        words[row, 1] = word_hi
        words[row, 2] = n_lines
        n_lines += 1
        row += 1
        lo = next_lo
    state[0] = min(lo, hi)
    state[1] = row
    state[2] = n_lines

"""Compiled loops over words and lines: counting, copying, finding duplicates, word2vec rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from embcompress._compiled import compiled
from embcompress.formats.kernel_access import byte_at, eight_bytes_at

__all__ = ["count_lines", "gather_words", "insert_words", "rehash", "split_rows"]

_BYTES = types.Array(types.uint8, 1, "C")
_LONGS = types.Array(types.int64, 1, "C")
_HASHES = types.Array(types.uint64, 1, "C")
_WORDS = types.Array(types.int64, 2, "C")


@compiled(types.void(_BYTES, _WORDS, types.int64, types.int64, _BYTES))
def gather_words(buf: Any, words: Any, first: Any, stop: Any, blob: Any) -> None:
    """Copy words ``first .. stop - 1`` one after the other into `blob`."""
    place = np.uint64(0)
    for i in range(first, stop):
        for p in range(words[i, 0], words[i, 1]):
            blob[place] = byte_at(buf, p)
            place += np.uint64(1)


@compiled()
def _hash(blob: Any, lo: Any, hi: Any) -> Any:
    factor = np.uint64(0x9E3779B97F4A7C15)
    value = np.uint64(hi - lo) * factor
    while lo + 8 <= hi:
        value = (value ^ eight_bytes_at(blob, lo)) * factor
        value ^= value >> np.uint64(29)
        lo += 8
    rest = np.uint64(0)
    while lo < hi:
        rest = (rest << np.uint64(8)) | np.uint64(byte_at(blob, lo))
        lo += 1
    value = (value ^ rest) * factor
    value ^= value >> np.uint64(32)
    return value * factor


@compiled()
def _equal(left: Any, left_lo: Any, right: Any, right_lo: Any, n: Any) -> Any:
    for i in range(n):  # noqa: SIM110 - numba does not compile generators
        if byte_at(left, left_lo + i) != byte_at(right, right_lo + i):
            return False
    return True


@compiled(types.void(_HASHES, types.int64, _LONGS))
def rehash(hashes: Any, n: Any, table: Any) -> None:
    """Fill an empty table (all -1, a power of two long) with words ``0 .. n - 1``."""
    mask = np.uint64(len(table) - 1)
    for i in range(n):
        slot = (hashes[i] >> np.uint64(20)) & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = i


@compiled(types.void(_BYTES, _LONGS, _HASHES, _LONGS, _BYTES, _LONGS, types.int64, _BYTES, _LONGS))
def insert_words(
    blob: Any,
    offsets: Any,
    hashes: Any,
    table: Any,
    new_blob: Any,
    new_offsets: Any,
    limit: Any,
    keep: Any,
    state: Any,
) -> None:
    """Append the words that are new; stop once there are `limit`.

    Parameters
    ----------
    blob, offsets, hashes : ndarray
        The words so far, with room for all new ones.
    table : ndarray of int64
        Open addressing: word numbers, -1 = free; at most half full afterwards.
    new_blob, new_offsets : ndarray
    limit : int
    keep : ndarray of uint8
        Set to 1 where the word is new, 0 where it is not.
    state : ndarray of int64, shape (2,)
        In and out: number of words so far; out: number of new words looked at.
    """
    mask = np.uint64(len(table) - 1)
    n = state[0]
    done = 0
    for i in range(len(new_offsets) - 1):
        if n >= limit:
            break
        done += 1
        lo, hi = new_offsets[i], new_offsets[i + 1]
        value = _hash(new_blob, lo, hi)
        slot = (value >> np.uint64(20)) & mask
        found = False
        while table[slot] >= 0:
            other = table[slot]
            start = offsets[other]
            if hashes[other] == value and offsets[other + 1] - start == hi - lo:
                found = _equal(blob, start, new_blob, lo, hi - lo)
                if found:
                    break
            slot = (slot + np.uint64(1)) & mask
        keep[i] = 0 if found else 1
        if not found:
            table[slot] = n
            hashes[n] = value
            place = offsets[n]
            for p in range(lo, hi):
                blob[np.uint64(place)] = byte_at(new_blob, p)
                place += 1
            n += 1
            offsets[n] = place
    state[0] = n
    state[1] = done


@compiled(
    types.void(_BYTES, types.int64, types.int64, types.int64, _BYTES, types.int64, _WORDS, _LONGS)
)
def split_rows(
    buf: Any, lo: Any, hi: Any, width: Any, out: Any, row_stop: Any, words: Any, state: Any
) -> None:
    """Split ``buf[lo:hi]`` into rows of a word2vec binary file: word, space, `width` bytes.

    Parameters
    ----------
    buf, lo, hi, width
    out : ndarray of uint8, shape (rows * width,)
    row_stop : int
    words : ndarray of int64, shape (rows, 3)
        Filled with start and end of each word.
    state : ndarray of int64, shape (2,)
        Filled with the start of the first row that is not complete, and the number of rows.
    """
    row = 0
    while row < row_stop:
        start = lo
        while start < hi and byte_at(buf, start) == 10:
            start += 1
        end = start
        while end < hi and byte_at(buf, end) != 32:
            end += 1
        if end + 1 + width > hi:
            break
        words[row, 0] = start
        words[row, 1] = end
        words[row, 2] = row
        out[row * width : (row + 1) * width] = buf[end + 1 : end + 1 + width]
        lo = end + 1 + width
        row += 1
    state[0] = lo
    state[1] = row


@compiled(types.int64(_BYTES, types.int64, types.int64))
def count_lines(buf: Any, lo: Any, hi: Any) -> Any:
    """Count the newlines in ``buf[lo:hi]``."""
    total = 0
    for i in range(lo, hi):
        total += 1 if buf[np.uint64(i)] == 10 else 0
    return total

"""Hamming distances of codes in blocks, and the nearest codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.index.kernels.topk import push
from embcompress.index.keys import DISTANCE_SHIFT, WORST

__all__ = ["TILE", "nearest_many", "nearest_one", "within_many", "within_one"]

#: Queries that are compared with a column at once: their sums stay in registers.
TILE = 8 if simd.TILE == 16 else 2

_COLUMN = simd.COLUMN
_FIT = 31  # columns until a sum of bytes is full
_LOOK = 4096  # blocks until it is looked again whether distances fit into bytes
_FULL = 255  # where a sum of bytes stays when it is full
_NEAR = 512 * 1024  # bytes of codes that stay in the cache beside a core


# Closures hold numbers only, here and for scores: numba keeps them on disk by what they hold, and
# a function that was compiled is another one in each process.


@compiled(inline="always")
def _add_distances(
    sums: Any, empty: Any, blocks: Any, at: int, n_columns: int, asked: Any, j: int
) -> Any:
    """Add the distances of 64 codes to a tile of queries; `empty` is a tile of bytes.

    Sums that are bytes themselves stay at 255 when they are full.
    """
    done = 0
    while done < n_columns:
        stop = min(n_columns, done + _FIT)
        tile = empty
        for _ in range(done, stop):
            tile = simd.add_differing(tile, blocks, at, asked, j)
            at += _COLUMN
            j += len(empty)
        sums = simd.add_bytes(sums, tile)
        done = stop
    return sums


@compiled()
def _take(
    here: int, masks: Any, found: Any, full: int, row: int, q: int, below: Any, starts: Any,
    lists: Any, k: int,
) -> None:  # fmt: skip
    """Add what is near enough to the lists; `found` is the distance less a limit, plus `full`."""
    for t in range(len(masks)):
        mask = masks[t] & here
        if mask == 0:
            continue
        start = np.int64(below[q + t]) + full
        while mask != 0:
            lane = simd.lowest_lane(mask)
            mask = simd.without_lowest(mask)
            distance = np.int64(found[t * _COLUMN + lane]) - start
            key = (distance << DISTANCE_SHIFT) | (row + lane)
            if key < lists[q + t, 1]:
                push(lists, q + t, k, key)
        if lists[q + t, 1] != WORST:
            limit = lists[q + t, 1] >> DISTANCE_SHIFT
            below[q + t] = -np.int16(limit)
            starts[q + t] = np.int32(np.uint32(max(_FULL - limit, 0)) * np.uint32(0x01010101))


def _nearest(count: int) -> Any:
    @compiled()
    def nearest(
        blocks: Any, allowed: Any, n_columns: int, first: int, last: int, row: int, asked: Any,
        n_tiles: int, below: Any, starts: Any, lists: Any, k: int, found: Any, bytes_found: Any,
        masks: Any,
    ) -> None:  # fmt: skip
        """Search blocks `first` to `last` for the nearest codes of queries.

        Parameters
        ----------
        blocks : ndarray of uint8
        allowed : ndarray of int64
            Bit l of word b: whether code l of block b may be found.
        n_columns, first, last : int
            Bytes of a code; blocks.
        row : int
            Row of the first code of block 0.
        asked : ndarray of int32
            For each tile of queries, each column, each query: its byte, four times.
        n_tiles : int
        below : ndarray of int16, shape (n_tiles * count,)
            What a distance must be below, negated; changed.
        starts : ndarray of int32, shape (n_tiles * count,)
            For limits up to 255 what is missing to 255, four times as a byte; changed.
        lists : ndarray of int64
            See `topk`; changed.
        k : int
        found, bytes_found : ndarray of int16 and of uint8, shape (count * 64,)
            Room.
        masks : ndarray of int64, shape (count,)
            Room.
        """
        step = max(1, _NEAR // (n_columns * _COLUMN)) if n_tiles > 1 else last - first
        step = max(min(step, _LOOK), 1)
        for start in range(first, last, step):
            stop = min(start + step, last)
            for tile in range(n_tiles):
                q, j = tile * count, tile * n_columns * count
                # a sum of bytes may stay full at a distance that nobody looks for
                narrow = True
                for t in range(q, q + count):
                    narrow = narrow and -below[t] <= _FULL
                for b in range(start, stop):
                    here = allowed[b]
                    if here == 0:
                        continue
                    at, code = b * n_columns * _COLUMN, row + b * _COLUMN
                    if narrow:
                        near = _add_distances(
                            simd.filled_bytes(count, starts, q), simd.zero_bytes(count), blocks,
                            at, n_columns, asked, j,
                        )  # fmt: skip
                        if simd.any_not_full(near) & here != 0:
                            simd.store_columns(near, bytes_found, 0)
                            simd.not_full_masks(near, masks, 0)
                            _take(here, masks, bytes_found, _FULL, code, q, below, starts, lists, k)
                        continue
                    sums = _add_distances(
                        simd.filled_shorts(count, below, q), simd.zero_bytes(count), blocks, at,
                        n_columns, asked, j,
                    )  # fmt: skip
                    if simd.any_negative(sums) & here != 0:
                        simd.store_columns(sums, found, 0)
                        simd.negative_masks(sums, masks, 0)
                        _take(here, masks, found, 0, code, q, below, starts, lists, k)

    return nearest


def _within(count: int) -> Any:
    @compiled()
    def within(
        blocks: Any, allowed: Any, n_columns: int, first: int, last: int, row: int, asked: Any,
        n_tiles: int, below: Any, keys: Any, queries: Any, place: Any, found: Any,
    ) -> int:  # fmt: skip
        """Collect all codes that are near enough, until there is no more room.

        Parameters
        ----------
        blocks, allowed, n_columns, first, last, row, asked, n_tiles, below, found
            As for the nearest; `below` stays.
        keys, queries : ndarray of int64, shape (room,)
            Key of each code that was found, and for which query; room for at least one block.
        place : ndarray of int64, shape (2,)
            Tile and block to go on with; tile `n_tiles` when there is nothing left.

        Returns
        -------
        int
            How many were found.
        """
        n = 0
        tile, b = place[0], place[1]
        while tile < n_tiles:
            q, j = tile * count, tile * n_columns * count
            while b < last:
                if n + count * _COLUMN > len(keys):
                    place[0], place[1] = tile, b
                    return n
                if allowed[b] != 0:
                    at = b * n_columns * _COLUMN
                    sums = _add_distances(
                        simd.filled_shorts(count, below, q), simd.zero_bytes(count), blocks, at,
                        n_columns, asked, j,
                    )  # fmt: skip
                    mask = simd.any_negative(sums) & allowed[b]
                    if mask != 0:
                        simd.store_columns(sums, found, 0)
                        for i in range(count * _COLUMN):
                            if (mask >> (i % _COLUMN)) & 1 and found[i] < 0:
                                distance = np.int64(found[i]) - below[q + i // _COLUMN]
                                code = row + b * _COLUMN + i % _COLUMN
                                keys[n] = (distance << DISTANCE_SHIFT) | code
                                queries[n] = q + i // _COLUMN
                                n += 1
                b += 1
            tile, b = tile + 1, first
        place[0], place[1] = tile, b
        return n

    return within


nearest_one, nearest_many = _nearest(1), _nearest(TILE)
within_one, within_many = _within(1), _within(TILE)

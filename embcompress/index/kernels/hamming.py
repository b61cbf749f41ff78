"""Hamming distances of codes in blocks, and the nearest codes."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.index.kernels.topk import WORST, push

__all__ = ["DISTANCE_SHIFT", "TILE", "nearest_many", "nearest_one", "within_many", "within_one"]

#: Bits of a key that hold the row; the distance is above them.
DISTANCE_SHIFT = 40
#: Queries that are compared with a column at once: their sums stay in registers.
TILE = 8 if simd.TILE == 16 else 2

_COLUMN = simd.COLUMN
_FIT = 31  # columns until a sum of bytes is full
_NEAR = 512 * 1024  # bytes of codes that stay in the cache beside a core


def _distances(count: int) -> Any:
    @compiled(inline="always")
    def distances(
        blocks: Any, at: int, n_columns: int, asked: Any, j: int, below: Any, q: int
    ) -> Any:
        """Distances of 64 codes to a tile of queries, less the limits ``-below[q:]``."""
        sums = simd.filled_shorts(count, below, q)
        done = 0
        while done < n_columns:
            stop = min(n_columns, done + _FIT)
            tile = simd.zero_bytes(count)
            for _ in range(done, stop):
                tile = simd.add_differing(tile, blocks, at, asked, j)
                at += _COLUMN
                j += count
            sums = simd.add_bytes(sums, tile)
            done = stop
        return sums

    return distances


def _taking(count: int) -> Any:
    @compiled()
    def take(
        here: int, masks: Any, found: Any, row: int, q: int, below: Any, lists: Any, k: int
    ) -> None:
        """Add what is near enough to the lists."""
        for t in range(count):
            mask = masks[t] & here
            if mask == 0:
                continue
            limit = np.int64(below[q + t])
            while mask != 0:
                lane = simd.lowest_lane(mask)
                mask &= mask - 1
                distance = np.int64(found[t * _COLUMN + lane]) - limit
                key = (distance << DISTANCE_SHIFT) | (row + lane)
                if key < lists[q + t, 1]:
                    push(lists, q + t, k, key)
            if lists[q + t, 1] != WORST:
                below[q + t] = -np.int16(lists[q + t, 1] >> DISTANCE_SHIFT)

    return take


def _nearest(count: int) -> Any:
    distances, take = _distances(count), _taking(count)

    @compiled()
    def nearest(
        blocks: Any, allowed: Any, n_columns: int, first: int, last: int, row: int, asked: Any,
        n_tiles: int, below: Any, lists: Any, k: int, found: Any, masks: Any,
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
        lists : ndarray of int64
            See `topk`; changed.
        k : int
        found : ndarray of int16, shape (count * 64,)
            Room.
        """
        step = max(1, _NEAR // (n_columns * _COLUMN)) if n_tiles > 1 else last - first
        for start in range(first, last, max(step, 1)):
            stop = min(start + step, last)
            for tile in range(n_tiles):
                q, j = tile * count, tile * n_columns * count
                for b in range(start, stop):
                    here = allowed[b]
                    if here == 0:
                        continue
                    at = b * n_columns * _COLUMN
                    sums = distances(blocks, at, n_columns, asked, j, below, q)
                    mask = simd.any_negative(sums) & here
                    if mask != 0:
                        simd.store_shorts(sums, found, 0)
                        simd.negative_masks(sums, masks, 0)
                        take(here, masks, found, row + b * _COLUMN, q, below, lists, k)

    return nearest


def _within(count: int) -> Any:
    distances = _distances(count)

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
                    sums = distances(blocks, at, n_columns, asked, j, below, q)
                    mask = simd.any_negative(sums) & allowed[b]
                    if mask != 0:
                        simd.store_shorts(sums, found, 0)
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

"""Sums of weights of bits, for real-valued queries against codes in blocks.

Half a byte of a code selects one of 16 sums of weights, which are computed once per query. They
are rounded to 7 bits, so that one instruction looks up 64 of them and sums of 16 bits hold them.
The rounded sum bounds the true one from above; only where it could be among the best is the true
sum computed, in float64. So the result is exact, and costs about twice a Hamming distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.index.kernels.topk import push
from embcompress.index.keys import SCORE_SHIFT, WORST

__all__ = ["GROUP", "TILE", "best_many", "best_one", "prepare", "score_of_key"]

#: Queries that a column is looked up for at once, and blocks at once.
TILE = 4 if simd.TILE == 16 else 1
GROUP = 2

_COLUMN = simd.COLUMN
_NEAR = 512 * 1024  # bytes of codes that stay in the cache beside a core
_SLACK = 1e-6  # relative; more than float32 loses in a comparison


@compiled()
def _key(score: Any, row: int) -> Any:
    """Rank by falling score, then by row."""
    bits = simd.bits_of(score + np.float32(0))  # -0.0 becomes 0.0
    ordered = bits if bits >= 0 else bits ^ np.int32(0x7FFFFFFF)
    return (np.int64(~ordered) << SCORE_SHIFT) | row


@compiled()
def score_of_key(key: int) -> float:
    """The score that a key ranks by."""
    ordered = ~np.int32(key >> SCORE_SHIFT)
    bits = ordered if ordered >= 0 else ordered ^ np.int32(0x7FFFFFFF)
    return simd.float_of(bits)


@compiled()
def _true_score(
    blocks: Any, at: int, lane: int, n_columns: int, sums: Any, q: int, total: float
) -> float:
    """Twice the weights of the bits that agree with the query, less all weights."""
    low = high = 0.0  # two sums, so that an addition need not wait for the one before
    for c in range(n_columns):
        byte = blocks[at + c * _COLUMN + lane]
        low += sums[q, 2 * c, byte & 15]
        high += sums[q, 2 * c + 1, byte >> 4]
    return 2 * (low + high) - total


@compiled()
def prepare(
    queries: Any, n_columns: int, tile: int, sums: Any, tables: Any, bounds: Any, lines: Any
) -> None:
    """Compute what the search needs to know of queries.

    Parameters
    ----------
    queries : ndarray of float64, shape (n_queries, n_bits)
        The weight of each bit; n_queries is a multiple of `tile`.
    n_columns, tile : int
        Bytes of a code; queries of a tile.
    sums, tables, bounds, lines
        As in the search; filled.
    """
    weights = np.zeros(4)
    for q in range(len(queries)):
        total = largest = 0.0
        for half in range(2 * n_columns):
            # the first bit is the most significant one, and the low half comes first in `sums`
            start = 8 * (half // 2) + 4 * (1 - half % 2)
            for bit in range(4):
                known = start + bit < queries.shape[1]
                weights[bit] = queries[q, start + bit] if known else 0.0
            highest = 0.0
            for value in range(16):
                agreeing = 0.0
                for bit in range(4):
                    is_set = (value >> (3 - bit)) & 1 == 1
                    if is_set == (weights[bit] >= 0):
                        agreeing += abs(weights[bit])
                sums[q, half, value] = agreeing
                highest = max(highest, agreeing)
            largest = max(largest, highest)
            total += highest
        # all entries may be rounded up by a half, and their sum must stay below 2**16
        room = 65535 - n_columns
        unit = 127 / max(largest, total * 127 / room, 1e-300)
        error = 0.0
        for half in range(2 * n_columns):
            place = _COLUMN * (2 * tile * (n_columns * (q // tile) + half // 2) + 2 * (q % tile))
            place += _COLUMN * (half % 2)
            worst = 0.0
            for value in range(16):
                entry = np.rint(sums[q, half, value] * unit)
                worst = max(worst, sums[q, half, value] - entry / unit)
                for copy in range(0, _COLUMN, 16):
                    tables[place + copy + value] = np.uint8(entry)
            error += worst
        bounds[q, 0], bounds[q, 1], bounds[q, 2] = unit, 2 * error - total, total
        size = max(total, 1e-300)  # lines are in units of it: no scale brings them out of float32
        lines[3 * q] = 2 / unit / size
        lines[3 * q + 1] = (2 * error - total) / size + _SLACK
        lines[3 * q + 2] = -np.inf


@compiled()
def _set_limit(score: float, q: int, bounds: Any, limits: Any, lines: Any) -> None:
    """Say what a rounded sum must reach to be able to beat a score.

    With E the rounded sum, the true score is at most ``2 * E / unit + most``.
    """
    if not np.isfinite(score):
        return  # of scores beyond float32 no bound can be had
    unit, most, total = bounds[q, 0], bounds[q, 1], bounds[q, 2]
    least = score - _SLACK * (abs(score) + total)
    limits[q] = np.uint16(min(max(np.ceil((least - most) * unit / 2), 0), 65535))
    lines[3 * q + 2] = np.float32((score - _SLACK * abs(score)) / max(total, 1e-300))


@compiled()
def _take(
    here: int, masks: Any, first: int, count: int, blocks: Any, at: int, n_columns: int, row: int,
    q: int, sums: Any, bounds: Any, scales: Any, limits: Any, lines: Any, lists: Any, k: int,
) -> None:  # fmt: skip
    """Compute the true scores of what may be good enough."""
    for t in range(count):
        mask = masks[first + t] & here
        while mask != 0:
            lane = simd.lowest_lane(mask)
            mask = simd.without_lowest(mask)
            score = _true_score(blocks, at, lane, n_columns, sums, q + t, bounds[q + t, 2])
            if len(scales):
                score *= scales[row + lane]
            key = _key(np.float32(score), row + lane)
            if key < lists[q + t, 1]:
                push(lists, q + t, k, key)
                if lists[q + t, 1] != WORST:
                    worst = score_of_key(lists[q + t, 1])
                    _set_limit(worst, q + t, bounds, limits, lines)


def _best(count: int, group: int, scaled: bool) -> Any:  # noqa: C901 - one loop, seen as a whole
    n_sums = 2 * count * group

    @compiled()
    def best(
        blocks: Any, allowed: Any, n_columns: int, first: int, last: int, row: int, tables: Any,
        n_tiles: int, sums: Any, bounds: Any, scales: Any, inverse: Any, limits: Any, lines: Any,
        lists: Any, k: int, masks: Any,
    ) -> None:  # fmt: skip
        """Search blocks `first` to `last` for the codes with the highest scores.

        Parameters
        ----------
        blocks, allowed, n_columns, first, last, row, n_tiles, lists, k
            As for the nearest by Hamming distance; `first` and `last` are multiples of the blocks
            in a group.
        tables : ndarray of uint8
            For each tile of queries, each column, each query: 16 rounded sums four times for the
            low half of a byte, then for the high half.
        sums : ndarray of float64, shape (n_queries, 2 * n_columns, 16)
            The same, not rounded.
        bounds : ndarray of float64, shape (n_queries, 3)
            Rounded per true sum, what is to be added to a rounded score to bound the true one,
            sum of all weights.
        scales, inverse : ndarray of float32
            Factor of the score of each row, and one by it; empty if they are not used.
        limits : ndarray of uint16, shape (n_tiles * count,)
            What a rounded sum must reach; changed.
        lines : ndarray of float32, shape (3 * n_tiles * count,)
            For each query: slope and start of the bound by rounded sum, and what it must reach,
            times `inverse`, all by the sum of all weights; changed.
        masks : ndarray of int64, shape (group * count,)
            Room.
        """
        step = _NEAR // (n_columns * _COLUMN * group) * group if n_tiles > 1 else last - first
        for start in range(first, last, max(step, group)):
            for q in range(0, n_tiles * count, count):
                for b in range(start, min(start + max(step, group), last), group):
                    any_here = 0
                    for g in range(group):
                        any_here |= allowed[b + g]
                    if any_here == 0:
                        continue
                    at, code = b * n_columns * _COLUMN, row + b * _COLUMN
                    pairs = simd.zero_bytes(n_sums)
                    j = 2 * _COLUMN * q * n_columns
                    for c in range(n_columns):
                        pairs = simd.add_lookups(
                            pairs, count, blocks, at + c * _COLUMN, n_columns * _COLUMN, tables, j
                        )
                        j += 2 * _COLUMN * count
                    found = simd.lookup_sums(pairs)
                    if scaled:
                        mask = simd.reaching_scaled(
                            found, count, lines, 3 * q, inverse, code, masks
                        )
                    else:
                        mask = simd.reaching(found, count, limits, q, masks)
                    if mask & any_here != 0:
                        for g in range(group):
                            _take(
                                allowed[b + g], masks, g * count, count, blocks,
                                at + g * n_columns * _COLUMN, n_columns, code + g * _COLUMN, q,
                                sums, bounds, scales, limits, lines, lists, k,
                            )  # fmt: skip

    return best


#: Compiled searches by whether codes have scales.
best_one = {scaled: _best(1, GROUP, scaled) for scaled in (False, True)}
best_many = {scaled: _best(TILE, GROUP, scaled) for scaled in (False, True)}

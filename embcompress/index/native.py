"""Exact search with compiled loops: queries in tiles, codes in blocks, on all cores.

Results are keys (:mod:`embcompress.index.keys`), the same as those of
:mod:`embcompress.index.plain`. A search is divided among threads by queries where there are many,
else by codes; each thread keeps lists of its own, which are merged.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from embcompress._compiled import tell_about_compiling
from embcompress.codes import Codes
from embcompress.index.kernels import asymmetric, hamming
from embcompress.index.kernels.topk import empty_lists
from embcompress.index.keys import WORST, Keys, smallest
from embcompress.index.storage import COLUMN, GROUP_CODES, Scales, Storage
from embcompress.index.threads import run_jobs

__all__ = ["WANTS_BLOCKS", "best", "nearest", "within"]

#: Whether codes should be laid into blocks first.
WANTS_BLOCKS = True

# bytes of codes times queries that make it worth to wake another thread: about 0.3 ms of work; and
# bytes of codes for single queries, which wait for memory, and that is shared
_JOB, _JOB_ALONE = 1 << 24, 1 << 26
# numbers in the lists of the queries that are searched for at once
_LIST_VALUES = 1 << 22
_NEAREST = {1: hamming.nearest_one, hamming.TILE: hamming.nearest_many}
_WITHIN = {1: hamming.within_one, hamming.TILE: hamming.within_many}
_BEST = {1: asymmetric.best_one, asymmetric.TILE: asymmetric.best_many}

_NO_SCALES = np.empty(0, dtype=np.float32)

Allowed = npt.NDArray[np.int64]
# a search of some queries in blocks from a first to a last one
_Search = Callable[[slice, int, int], Keys]


def nearest(
    codes: Storage, allowed: Allowed, queries: Codes, k: int, *, n_bits: int, n_threads: int = 1
) -> Keys:
    """Keys of the `k` nearest codes of each query.

    Parameters
    ----------
    codes : Storage
    allowed : ndarray of int64
        Which codes may be found (:func:`~embcompress.index.storage.allowed_words`).
    queries : ndarray of uint8, shape (n_queries, width)
    k : int
    n_bits : int
    n_threads : int
        At most.

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        In order; `WORST` where there are no more.
    """
    _tell(hamming.__file__, "_nearest")

    def search(part: slice, first: int, last: int) -> Keys:
        some = queries[part]
        count = _tile(len(some), hamming.TILE)
        asked, n_tiles = _asked(some, count)
        below, starts = np.zeros(n_tiles * count, np.int16), np.full(n_tiles * count, -1, np.int32)
        below[: len(some)] = -(n_bits + 1)
        starts.view(np.uint8)[: 4 * len(some)] = max(254 - n_bits, 0)
        lists = empty_lists(n_tiles * count, k)
        room = [np.empty(count * COLUMN, dtype) for dtype in (np.int16, np.uint8)]
        masks = np.empty(count, np.int64)
        for piece in codes.pieces(first, last):
            _NEAREST[count](
                piece.blocks, allowed[piece.start - piece.first :], codes.width, piece.first,
                piece.last, (piece.start - piece.first) * COLUMN, asked, n_tiles, below, starts,
                lists, k, *room, masks,
            )  # fmt: skip
        return _keys(lists[: len(some)], k)

    return _divided(search, codes, len(queries), hamming.TILE, k, n_threads)


def best(
    codes: Storage,
    allowed: Allowed,
    queries: npt.NDArray[np.float64],
    scales: Scales | None,
    k: int,
    *,
    n_threads: int = 1,
) -> Keys:
    """Keys of the `k` highest scores of each query.

    Parameters
    ----------
    codes, allowed, k, n_threads
        As in :func:`nearest`.
    queries : ndarray of float64, shape (n_queries, n_bits)
        What each bit counts: the score adds it where the bit is 1, subtracts it where it is 0.
    scales : Scales, optional
        Factors of the scores of codes.

    Returns
    -------
    ndarray of int64, shape (n_queries, k)
        In order; `WORST` where there are no more.
    """
    _tell(asymmetric.__file__, "_best")
    scaled = scales is not None
    factors = _NO_SCALES if scales is None else scales.filled
    inverse = _NO_SCALES if scales is None else scales.inverse

    def search(part: slice, first: int, last: int) -> Keys:
        some = queries[part]
        count = _tile(len(some), asymmetric.TILE)
        n_tiles = -(-len(some) // count)
        n, width = n_tiles * count, codes.width
        weights = np.zeros((n, some.shape[1]))
        weights[: len(some)] = some
        sums, bounds = np.empty((n, 2 * width, 16)), np.empty((n, 3))
        tables = np.empty(n * width * 2 * COLUMN, dtype=np.uint8)
        lines = np.empty(3 * n, dtype=np.float32)
        asymmetric.prepare(weights, width, count, sums, tables, bounds, lines)
        limits = np.zeros(n, dtype=np.uint16)
        limits[len(some) :], lines[3 * len(some) + 2 :: 3] = 65535, np.inf
        lists = empty_lists(n, k)
        masks = np.empty(count * asymmetric.GROUP, np.int64)
        for piece in codes.pieces(first, last):
            _BEST[count][scaled](
                piece.blocks, allowed[piece.start - piece.first :], width, piece.first, piece.last,
                (piece.start - piece.first) * COLUMN, tables, n_tiles, sums, bounds, factors,
                inverse, limits, lines, lists, k, masks,
            )  # fmt: skip
        return _keys(lists[: len(some)], k)

    return _divided(search, codes, len(queries), asymmetric.TILE, k, n_threads)


def within(
    codes: Storage, allowed: Allowed, queries: Codes, radius: int, *, n_threads: int = 1
) -> list[Keys]:
    """Sorted keys of all codes within a radius of each query.

    Parameters
    ----------
    codes, allowed, queries, n_threads
        As in :func:`nearest`.
    radius : int
        Largest distance.

    Returns
    -------
    list of ndarray of int64
    """
    count = _tile(len(queries), hamming.TILE)
    asked, n_tiles = _asked(queries, count)
    below = np.zeros(n_tiles * count, dtype=np.int16)
    below[: len(queries)] = -(radius + 1)
    _tell(hamming.__file__, "_within")

    def search(first: int, last: int) -> tuple[Keys, Keys]:
        room = np.empty(count * COLUMN, np.int16)
        keys, owners = (np.empty(1 << 18, np.int64) for _ in range(2))
        found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
        for piece in codes.pieces(first, last):
            place = np.array([0, piece.first], np.int64)
            while place[0] < n_tiles:
                n = _WITHIN[count](
                    piece.blocks, allowed[piece.start - piece.first :], codes.width, piece.first,
                    piece.last, (piece.start - piece.first) * COLUMN, asked, n_tiles, below, keys,
                    owners, place, room,
                )  # fmt: skip
                found.append((keys[:n].copy(), owners[:n].copy()))
        return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))  # type: ignore[return-value]

    n_jobs = _n_jobs(codes, len(queries), n_threads)
    jobs = [partial(search, first, last) for first, last in _block_ranges(codes, n_jobs)]
    keys, owners = (np.concatenate(arrays) for arrays in zip(*run_jobs(jobs), strict=True))
    order = np.lexsort((keys, owners))
    ends = np.searchsorted(owners[order], np.arange(len(queries) + 1))
    return [keys[order[start:stop]] for start, stop in itertools.pairwise(ends)]


@cache
def _tell(module: str, function: str) -> None:
    """Once per process: looking for compiled files takes longer than a small search."""
    tell_about_compiling(module, function, "the search")


def _divided(
    search: _Search, codes: Storage, n_queries: int, tile: int, k: int, n_threads: int
) -> Keys:
    """Divide a search among threads, and into batches whose lists fit in memory."""
    batch = max(tile, _LIST_VALUES // (2 * k) // tile * tile)
    found = [np.empty((0, k), np.int64)]
    for start in range(0, n_queries, batch):
        stop = min(start + batch, n_queries)
        n_jobs = _n_jobs(codes, stop - start, n_threads)
        whole = (0, _n_blocks(codes))
        if stop - start >= 2 * tile * n_jobs:
            size = -(-(stop - start) // n_jobs // tile) * tile
            parts = [slice(at, min(at + size, stop)) for at in range(start, stop, size)]
            found += run_jobs([partial(search, part, *whole) for part in parts])
        else:
            part = slice(start, stop)
            jobs = [partial(search, part, *blocks) for blocks in _block_ranges(codes, n_jobs)]
            results = run_jobs(jobs)
            found.append(
                results[0] if len(results) == 1 else smallest(np.concatenate(results, axis=1), k)
            )
    return found[1] if len(found) == 2 else np.concatenate(found)


def _n_jobs(codes: Storage, n_queries: int, n_threads: int) -> int:
    least = _JOB_ALONE if _tile(n_queries, hamming.TILE) == 1 else _JOB
    return max(1, min(n_threads, codes.n * codes.width * n_queries // least))


def _n_blocks(codes: Storage) -> int:
    """Blocks in whole groups."""
    return -(-codes.n // GROUP_CODES) * asymmetric.GROUP


def _block_ranges(codes: Storage, n_jobs: int) -> list[tuple[int, int]]:
    """Cut the blocks into `n_jobs` ranges of whole groups."""
    n_groups = _n_blocks(codes) // asymmetric.GROUP
    ends = [asymmetric.GROUP * (n_groups * job // n_jobs) for job in range(n_jobs + 1)]
    return list(itertools.pairwise(ends))


def _tile(n_queries: int, tile: int) -> int:
    """Queries at a time: few of them are faster one by one than in a tile that is mostly empty."""
    return tile if n_queries > tile // 2 else 1


def _asked(queries: Codes, count: int) -> tuple[npt.NDArray[np.int32], int]:
    """Bytes of queries as the compiled search wants them, and the number of tiles."""
    if count == 1:
        asked = np.multiply(queries, 0x01010101, dtype=np.uint32)
        return asked.view(np.int32).reshape(-1), len(queries)
    n_tiles = -(-len(queries) // count)
    tiles = np.zeros((n_tiles * count, queries.shape[1]), dtype=np.uint32)
    tiles[: len(queries)] = queries
    tiles *= np.uint32(0x01010101)
    columns = tiles.reshape(n_tiles, count, queries.shape[1]).transpose(0, 2, 1)
    return np.ascontiguousarray(columns).view(np.int32).reshape(-1), n_tiles


def _keys(lists: Keys, k: int) -> Keys:
    """The best `k` keys of lists that the compiled loops filled."""
    keys = lists[:, 2:]
    keys[np.arange(keys.shape[1]) >= lists[:, :1]] = WORST
    return keys if keys.shape[1] == k else smallest(keys, k)

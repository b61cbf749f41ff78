"""Exact search over shards, each searched by itself, here or on the workers of a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.codes import Codes, check_codes
from embcompress.progress import ProgressBar
from embcompress.scale.opened import ShardedCodes, open_shards

__all__ = ["ShardedIndex", "search_part"]

Distances = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


class ShardedIndex:
    """Search over codes that lie in parts, with the result of one :class:`HammingIndex`.

    Memory is that of one part at a time. On a Dask array the parts are its partitions, which are
    searched where they lie; only the neighbours travel.

    Parameters
    ----------
    codes : ShardedCodes, path of a folder of shards, sequence of arrays, or Dask array
        Packed codes, uint8, in order.
    n_bits : int, optional
        Code length; needed unless `codes` are a folder of shards.
    progress : bool, default False
        Show a progress bar over the parts.

    Raises
    ------
    ValueError
        If there are no codes, or they have two bits per direction, whose plain Hamming distances
        mean little.
    TypeError, FormatError
        If these are no codes, or a shard is damaged.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.codes import pack_bits
    >>> from embcompress.scale import ShardedIndex
    >>> codes = pack_bits(np.eye(64, dtype=bool))
    >>> index = ShardedIndex([codes[:40], codes[40:]], n_bits=64)
    >>> index.search(codes[41:42], k=2)
    (array([[0, 2]], dtype=int32), array([[41,  0]]))
    """

    def __init__(
        self,
        codes: ShardedCodes | str | os.PathLike[str] | Sequence[Codes] | Any,
        n_bits: int | None = None,
        *,
        progress: bool = False,
    ) -> None:
        if isinstance(codes, str | os.PathLike):
            codes = open_shards(codes)
        self._codes: Any = codes
        self._progress = progress
        self._is_lazy = hasattr(codes, "__dask_graph__")
        encoder = getattr(codes, "encoder", None)
        if encoder is not None and encoder.n_second:
            raise ValueError(
                f"these codes of {encoder.n_bits} bits have two bits per direction, which plain "
                "Hamming distances do not compare; fit with bits_per_direction=1"
            )
        known = None if encoder is None else encoder.n_bits
        if n_bits is None and known is None:
            raise ValueError("n_bits is needed: the arrays do not tell how many bits are padding")
        if known is not None and n_bits not in (None, known):
            raise ValueError(f"the shards hold codes of {known} bits, not {n_bits}")
        self.n_bits = int(known or n_bits or 0)
        self.n_parts = self._count_parts()
        if not self.n_parts:
            raise ValueError("there are no codes to search")

    def __repr__(self) -> str:
        return f"ShardedIndex(n_bits={self.n_bits}: {self.n_parts} parts)"

    def search(self, queries: npt.ArrayLike, k: int) -> tuple[Distances, Indices]:
        """Find the nearest codes of every query.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Numbers of differing bits, ascending.
        indices : ndarray of int64, shape (n_queries, k)
            Positions among all codes, equal distances in ascending order; -1 (at distance
            ``n_bits + 1``) where there are fewer than `k` codes.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits` bits, or `k` is smaller than 1.
        RuntimeError
            If Dask workers were lost too often.
        """
        checked = check_codes(queries, self.n_bits, name="queries")
        if self._is_lazy:
            from embcompress.scale import cluster

            return cluster.search(self._codes, checked, k, self.n_bits, progress=self._progress)
        from embcompress.index.merging import merge_neighbors

        best: tuple[Distances, Indices] | None = None
        first = 0
        with ProgressBar("Searching", self.n_parts, unit="shards", enabled=self._progress) as bar:
            for number in range(self.n_parts):
                part = self._part(number)
                found = search_part(part, first, checked, k, self.n_bits)
                best = found if best is None else merge_neighbors([best, found], k)
                first += len(part)
                bar.advance(1)
        assert best is not None
        return best

    def _count_parts(self) -> int:
        if self._is_lazy:
            return int(self._codes.numblocks[0])
        return getattr(self._codes, "n_shards", None) or len(self._codes)

    def _part(self, number: int) -> Codes:
        if hasattr(self._codes, "shard"):
            return self._codes.shard(number)
        return self._codes[number]


def search_part(
    codes: Codes, first: int, queries: Codes, k: int, n_bits: int
) -> tuple[Distances, Indices]:
    """Search in one part, whose first code has the number `first` among all.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n, ceil(n_bits / 8))
    first : int
    queries : ndarray of uint8, shape (n_queries, ceil(n_bits / 8))
    k, n_bits : int

    Returns
    -------
    distances, indices
        As :meth:`HammingIndex.search`, with numbers among all codes.
    """
    if not len(codes):
        shape = (len(queries), k)
        return np.full(shape, n_bits + 1, dtype=np.int32), np.full(shape, -1, dtype=np.int64)
    from embcompress.index import HammingIndex  # the search engine takes a while to load

    index = HammingIndex(n_bits=n_bits)
    index.add(codes)
    distances, indices = index.search(queries, k)
    return distances, np.where(indices < 0, indices, indices + first)

"""The searches that an index offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcompress.index.checks import checked_codes, checked_weights, count_of
from embcompress.rescoring import Scorer, rescore

__all__ = ["Indices", "RangeResult", "Searches"]

Distances = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


class RangeResult(NamedTuple):
    """Codes within a radius: those of query i are from ``limits[i]`` to ``limits[i + 1]``."""

    limits: Indices
    """int64, shape (n_queries + 1,)."""
    distances: Distances
    """int32, ascending for each query."""
    indices: Indices
    """int64; equal distances in ascending order."""


class Searches(ABC):
    """What an index with codes can be asked."""

    n_bits: int
    _codes: Any

    @abstractmethod
    def __len__(self) -> int:
        """Number of codes."""

    def search(
        self, queries: npt.ArrayLike, k: int, *, subset: npt.ArrayLike | None = None
    ) -> tuple[Distances, Indices]:
        """Find the nearest codes of every query.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int
            How many codes to find per query.
        subset : array-like of bool, shape (n,), or of int, optional
            Search among some codes only: a truth for each code in the order of :attr:`ids`, or
            ids.

        Returns
        -------
        distances : ndarray of int32, shape (n_queries, k)
            Numbers of differing bits, ascending.
        indices : ndarray of int64, shape (n_queries, k)
            Ids of the codes, by default their positions; equal distances in ascending order.
            Where fewer than `k` codes were found, because there are no more or because an
            approximate index did not reach more, the index is -1 and the distance ``n_bits + 1``.

        Raises
        ------
        TypeError, ValueError
            If the queries are not codes of `n_bits` bits, `k` is smaller than 1, the subset does
            not fit, or the index is empty.
        """
        array = checked_codes(queries, self.n_bits, "queries")
        k = self._check_search(k)
        distances, indices = self._codes.nearest(array, min(k, len(self)), subset)
        return _filled(distances, k, self.n_bits + 1), _filled(indices, k, -1)

    def range_search(
        self, queries: npt.ArrayLike, radius: int, *, subset: npt.ArrayLike | None = None
    ) -> RangeResult:
        """Find all codes within a distance of every query.

        Parameters
        ----------
        queries, subset
            As in :meth:`search`.
        radius : int
            Largest distance, at least 0.

        Returns
        -------
        RangeResult
            Limits, distances and indices.

        Raises
        ------
        TypeError, ValueError
            As :meth:`search`; a graph cannot do it, and FAISS not with a subset.
        """
        array = checked_codes(queries, self.n_bits, "queries")
        radius = min(count_of("radius", radius, 0), self.n_bits)
        self._check_search(1)
        return RangeResult(*self._codes.within(array, radius, subset))

    def search_asymmetric(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        precision: str = "float32",
        subset: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[np.float32], Indices]:
        """Find the codes with the highest dot products with real-valued queries.

        A code stands for a vector of -1 and 1, times its scale where it has one. The query keeps
        its real values, so codes at equal Hamming distance are told apart: several points of
        recall more, from the same codes, in two to four times the time. All codes are scored and
        the result is exact.

        Parameters
        ----------
        queries : array-like of floats, shape (n_queries, n_bits)
            Projections of vectors, as a quantizer's ``project`` gives them.
        k, subset
            As in :meth:`search`.
        precision : {"float32", "int8", "int4"}, default "float32"
            What queries are rounded to first: whole multiples, from -127 to 127 or from -7 to 7,
            of a step that fits the largest value of each.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, k)
            Descending; -inf where fewer than `k` codes were found.
        indices : ndarray of int64, shape (n_queries, k)
            Ids of the codes, equal scores in ascending order; -1 where there is none.

        Raises
        ------
        ValueError
            If the queries are of another shape or not finite, `k` is smaller than 1, the index is
            empty or one of FAISS.
        """
        weights = checked_weights(queries, self.n_bits, precision)
        k = self._check_search(k)
        scores, indices = self._codes.best(weights, min(k, len(self)), subset)
        return _filled(scores, k, -np.inf), _filled(indices, k, -1)

    def search_rescored(
        self,
        queries: npt.ArrayLike,
        k: int,
        scorer: Scorer,
        *,
        rescore_multiplier: int = 4,
    ) -> tuple[npt.NDArray[np.float32], Indices]:
        """Find a shortlist by Hamming distance, and take the best of it by a finer score.

        Parameters
        ----------
        queries : array-like of uint8, shape (n_queries, ceil(n_bits / 8))
        k : int
            How many codes to find per query.
        scorer : Scorer
            Made with the same queries, such as :class:`~embcompress.rescoring.FloatScorer` or
            :class:`~embcompress.rescoring.AsymmetricScorer`.
        rescore_multiplier : int, default 4
            Length of the shortlist, in units of `k`.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, k)
            Descending; -inf where fewer than `k` codes were found.
        indices : ndarray of int64, shape (n_queries, k)
            Positions of the codes, equal scores in ascending order; -1 where there are none.

        Raises
        ------
        TypeError, ValueError
            As :meth:`search`, and if the scorer was made with another number of queries.
        """
        multiplier = count_of("rescore_multiplier", rescore_multiplier)
        k = count_of("k", k)
        _, shortlist = self.search(queries, min(k * multiplier, max(k, len(self))))
        return rescore(shortlist, k, scorer)

    def _check_search(self, k: int) -> int:
        k = count_of("k", k)
        if not len(self):
            raise ValueError("the index is empty; add codes before searching")
        return k


def _filled(results: npt.NDArray, k: int, missing: float) -> Any:
    """Results with `k` columns."""
    short = k - results.shape[1]
    if not short:
        return results
    return np.pad(results, ((0, 0), (0, short)), constant_values=missing)

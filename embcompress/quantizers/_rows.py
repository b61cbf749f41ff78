"""Rows that a quantizer learns from, wherever they lie: in an array, in files, on a cluster.

A quantizer needs three things of its rows: sums over all of them, some of them by number, and
a function applied to each. Whatever offers these can be fitted on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.random import sample_without_replacement

from embcompress.quantizers._arrays import Array, is_numpy, take_rows, to_numpy
from embcompress.quantizers._moments import MomentSums

__all__ = [
    "BLOCK_ROWS",
    "ArrayRows",
    "Needs",
    "Rows",
    "add_up",
    "as_rows",
    "draw_rows",
    "sample_rows",
]

Positions = npt.NDArray[np.intp]
# From a block of rows to arrays (or numbers) that are summed over blocks
BlockSums = Callable[[Array], tuple[Any, ...]]

# Rows of a block: on a processor its temporaries stay near the caches, on a device it is large
# enough to keep it busy. Blocks begin at multiples of it however rows come in chunks, so that
# rounding, and with it every result, is that of the matrix in memory.
BLOCK_ROWS, _DEVICE_BLOCK_ROWS = 2_048, 131_072
# A permutation of more rows than this is not made only to take a few of it.
_MOST_PERMUTED = 1 << 24


@dataclass(frozen=True)
class Needs:
    """What a quantizer has to know of the rows before it learns.

    Attributes
    ----------
    limit : int or None
        Rows of the sample. None: all, again and again.
    covariance : bool
        Whether the covariance is needed, or only the mean.
    normalize : bool
        Whether moments are those of rows scaled to length 1.
    spread : bool
        Take evenly spaced rows instead of drawing them; `limit` is then about their number.
    """

    limit: int | None
    covariance: bool = True
    normalize: bool = False
    spread: bool = False

    def positions(self, n: int, random: np.random.RandomState) -> Positions | None:
        """Row numbers of the sample, ascending; None for all rows."""
        if self.limit is None or n <= self.limit:
            return None
        if self.spread:
            return np.arange(0, n, max(1, n // self.limit))
        return sample_rows(n, self.limit, random)

    def sums(self, n_features: int) -> MomentSums:
        """Empty sums of what is needed."""
        return MomentSums(n_features, normalize=self.normalize, covariance=self.covariance)


class Rows(ABC):
    """A matrix of rows to learn from.

    Attributes
    ----------
    n_features : int
    dtype : data type
        float32 or float64, that products are taken in.
    """

    n_features: int
    dtype: np.dtype

    @property
    @abstractmethod
    def n(self) -> int:
        """Number of rows."""

    @abstractmethod
    def map(self, function: Callable[[Array], Array]) -> Rows:
        """Rows that a function makes of blocks of these, row by row."""

    @abstractmethod
    def total(self, function: BlockSums) -> tuple[Any, ...]:
        """Sums of what a function makes of blocks, in float64, as NumPy arrays or numbers."""

    @abstractmethod
    def take(self, positions: Positions) -> npt.NDArray:
        """Rows by number, in the order of the numbers, as a NumPy array."""

    @abstractmethod
    def survey(self, needs: Needs, random: np.random.RandomState) -> tuple[MomentSums, Rows]:
        """Sums over all rows, and a sample of them, in one pass.

        Parameters
        ----------
        needs : Needs
        random : RandomState
            The sample is drawn with it, unless it is all rows.
        """

    def whole(self, reason: str) -> npt.NDArray:
        """All rows as one array.

        Raises
        ------
        ValueError
            If they are not in memory, with the reason why they have to be.
        """
        raise ValueError(f"{reason} needs all rows in memory at once; call fit with an array")


class ArrayRows(Rows):
    """Rows of an array in memory, NumPy's or another's.

    Parameters
    ----------
    X : array of shape (n, n_features)
        float32 or float64.
    """

    def __init__(self, X: Array) -> None:
        self.array = X
        self.n_features = X.shape[1]
        self.dtype = X.dtype if is_numpy(X) else np.dtype(str(X.dtype).rpartition(".")[2])

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.array.shape[0])

    def map(self, function: Callable[[Array], Array]) -> ArrayRows:
        """Rows that a function makes of these."""
        return ArrayRows(function(self.array))

    def total(self, function: BlockSums) -> tuple[Any, ...]:
        """Sums over blocks."""
        return add_up(function(block) for block in self._blocks())

    def take(self, positions: Positions) -> npt.NDArray:
        """Rows by number."""
        return to_numpy(take_rows(self.array, positions))

    def survey(self, needs: Needs, random: np.random.RandomState) -> tuple[MomentSums, Rows]:
        """Sums over all rows, and a sample of them."""
        positions = needs.positions(self.n, random)
        sums = needs.sums(self.n_features)
        for block in self._blocks():
            sums.add(block)
        return sums, self if positions is None else ArrayRows(take_rows(self.array, positions))

    def whole(self, reason: str) -> npt.NDArray:
        """All rows as one array."""
        return to_numpy(self.array)

    def _blocks(self) -> Iterator[Array]:
        step = BLOCK_ROWS if is_numpy(self.array) else _DEVICE_BLOCK_ROWS
        for start in range(0, self.n, step):
            yield self.array[start : start + step]


def as_rows(X: Any) -> Rows:
    """Rows as they are, or those of an array."""
    return X if hasattr(X, "survey") else ArrayRows(X)


def add_up(parts: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Sum tuples of arrays, place by place, in float64.

    Parameters
    ----------
    parts : iterator of tuple of array or number
        At least one.

    Returns
    -------
    tuple of ndarray or float
    """
    totals: list[Any] | None = None
    for part in parts:
        arrays = [to_numpy(array) if hasattr(array, "shape") else array for array in part]
        if totals is None:
            totals = [np.array(array, dtype=np.float64) for array in arrays]
            continue
        for total, array in zip(totals, arrays, strict=True):
            total += array
    assert totals is not None, "there is at least one block"
    return tuple(total if total.ndim else float(total) for total in totals)


def sample_rows(n: int, limit: int | None, random: np.random.RandomState) -> Positions:
    """Row numbers, ascending: all, or `limit` of them at random."""
    if limit is None or n <= limit:
        return np.arange(n)
    return np.sort(draw_rows(n, limit, random))


def draw_rows(n: int, limit: int, random: np.random.RandomState) -> Positions:
    """Up to `limit` different row numbers in random order."""
    if n > _MOST_PERMUTED:
        return sample_without_replacement(n, min(n, limit), random_state=random)
    return random.permutation(n)[:limit]

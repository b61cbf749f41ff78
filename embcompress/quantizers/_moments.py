"""Mean, covariance and principal directions, as sums that are added up and merged."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.quantizers._arrays import (
    Array,
    is_numpy,
    lengths_and_unit_rows,
    like,
    namespace,
    prepared_rows,
    to_numpy,
    unit_rows,
)

__all__ = ["MomentSums", "Moments", "moments", "prepared_rows", "principal_directions"]

Floats = npt.NDArray[np.floating]

# Rows whose products are taken at once: a block of float32 rows stays in the second cache.
_BLOCK_ROWS, _DEVICE_BLOCK_ROWS = 1_024, 131_072


@dataclass(frozen=True)
class Moments:
    """First and second moments of prepared rows.

    Attributes
    ----------
    n : int
    mean : ndarray of float64, shape (d,)
    covariance : ndarray of float64, shape (d, d)
        Zeros if it was not asked for.
    mean_length : float
        Mean length of the rows before they were normalized.
    """

    n: int
    mean: Floats
    covariance: Floats
    mean_length: float


class MomentSums:
    """Sums over rows from which their moments follow.

    Rows may come in chunks of any size: products are taken over the same blocks, so the moments
    are the same to the last bit. Sums of parts may be merged; then they are but for rounding.
    Sums are taken about a point near the mean, that of the first rows, so that no digits are lost
    far from zero (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", The
    American Statistician 37, 1983).

    Parameters
    ----------
    n_features : int
    normalize : bool
        Scale rows to length 1 first.
    covariance : bool
        Sum up products too.
    """

    def __init__(
        self, n_features: int, *, normalize: bool = False, covariance: bool = True
    ) -> None:
        self.normalize = normalize
        self.n = 0
        self._shift: Floats | None = None
        self._total = np.zeros(n_features)
        self._scatter = np.zeros((n_features, n_features)) if covariance else None
        self._lengths = 0.0
        self._waiting: Array | None = None
        self._places: tuple[Floats, Floats] | None = None

    def add(self, X: Array) -> None:
        """Add rows, an array of shape (m, n_features)."""
        step = _BLOCK_ROWS if is_numpy(X) else _DEVICE_BLOCK_ROWS
        self.n += X.shape[0]
        start = 0
        if self._waiting is not None:  # fill up the block that was begun
            start = min(step - self._waiting.shape[0], X.shape[0])
            self._waiting = namespace(X).concat([self._waiting, X[:start]])
            if self._waiting.shape[0] < step:
                return
            self.flush()
        whole = start + (X.shape[0] - start) // step * step
        for first in range(start, whole, step):
            self._add_block(X[first : first + step])
        if whole < X.shape[0]:
            xp = namespace(X)
            self._waiting = xp.asarray(X[whole:], copy=True)

    def flush(self) -> None:
        """Add the rows that wait for a block to be full."""
        if self._waiting is not None:
            self._add_block(self._waiting)
            self._waiting = None

    def start(self, X: Array) -> None:
        """Take sums about the mean of the first of these rows, which are not added."""
        first = X[:_BLOCK_ROWS]
        first = to_numpy(unit_rows(first) if self.normalize else first)
        self._shift = first.mean(axis=0, dtype=np.float64)

    def _add_block(self, X: Array) -> None:
        if self._shift is None:
            self.start(X)
        assert self._shift is not None
        place, products = self._places_for(X) if is_numpy(X) else (None, None)
        if self.normalize:
            lengths, X = lengths_and_unit_rows(X, place)
            self._lengths += float(lengths.sum())
        shift = like(self._shift, X)
        shifted = X - shift if place is None else np.subtract(X, shift, out=place)
        self._total += to_numpy(shifted.sum(axis=0))
        if self._scatter is None:
            return
        if products is None:
            self._scatter += to_numpy(shifted.T @ shifted)
        else:
            self._scatter += np.matmul(shifted.T, shifted, out=products)

    def _places_for(self, X: Floats) -> tuple[Floats, Floats]:
        """Memory for prepared rows and for their products, the same for all blocks.

        New memory for each block would cost half as much as the products where memory is given
        back at once, as on the workers of Dask.
        """
        if self._places is None or self._places[0].dtype != X.dtype:
            d = X.shape[1]
            self._places = np.empty((_BLOCK_ROWS, d), X.dtype), np.empty((d, d), X.dtype)
        place, products = self._places
        return place[: len(X)], products

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_places": None}

    def merge(self, other: MomentSums) -> None:
        """Add the sums of other rows, taken with the same options."""
        self.flush()
        other.flush()
        if other._shift is None:
            return
        if self._shift is None:
            self._shift = other._shift
        # the other sums, moved from its shift to ours
        move = other._shift - self._shift
        if self._scatter is not None and other._scatter is not None:
            crossed = np.outer(other._total, move)
            self._scatter += other._scatter + crossed + crossed.T + other.n * np.outer(move, move)
        self._total += other._total + other.n * move
        self._lengths += other._lengths
        self.n += other.n

    def moments(self) -> Moments:
        """The moments of all rows so far; there has to be one. More may be added after."""
        if self._waiting is not None:
            done = copy.deepcopy(self)
            done.flush()
            return done.moments()
        assert self._shift is not None
        rest = self._total / self.n
        covariance = np.zeros((len(rest), len(rest)))
        if self._scatter is not None:
            covariance = self._scatter / self.n - np.outer(rest, rest)
        length = self._lengths / self.n if self.normalize else 1.0
        return Moments(self.n, self._shift + rest, covariance, length)


def moments(X: Floats, *, normalize: bool = False) -> Moments:
    """Moments of all rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    normalize : bool
        Scale rows to length 1 first.

    Returns
    -------
    Moments
        Products are taken in the data type of `X`, sums over blocks in float64.
    """
    sums = MomentSums(X.shape[1], normalize=normalize)
    sums.add(X)
    return sums.moments()


def principal_directions(covariance: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, largest first, and eigenvectors as rows.

    The sign of each direction is fixed (its largest entry is positive), so that results do not
    depend on the linear algebra library.

    Parameters
    ----------
    covariance : ndarray of shape (d, d)

    Returns
    -------
    variances : ndarray of shape (d,)
        Not negative.
    directions : ndarray of shape (d, d)
        Orthonormal rows.
    """
    variances, columns = np.linalg.eigh(covariance)
    directions = columns[:, ::-1].T
    peaks = directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)]
    return np.maximum(variances[::-1], 0), directions * np.where(peaks < 0, -1, 1)[:, None]

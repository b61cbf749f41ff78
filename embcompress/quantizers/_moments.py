"""Mean, covariance and principal directions, in chunks, so that no second matrix is built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.encoder import row_lengths, unit_rows

__all__ = ["Moments", "moments", "prepared_rows", "principal_directions"]

Floats = npt.NDArray[np.floating]

_CHUNK_ROWS = 8_192


@dataclass(frozen=True)
class Moments:
    """First and second moments of prepared rows.

    Attributes
    ----------
    n : int
    mean : ndarray of float64, shape (d,)
    covariance : ndarray of float64, shape (d, d)
    mean_length : float
        Mean length of the rows before they were normalized.
    """

    n: int
    mean: Floats
    covariance: Floats
    mean_length: float


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
        Products are taken in the data type of `X`, sums over chunks in float64.
    """
    n, d = X.shape
    # sums are taken about the mean of the first rows: that is near enough for no digits to be lost
    first = X[:_CHUNK_ROWS]
    shift = (unit_rows(first) if normalize else first).mean(axis=0, dtype=np.float64)
    total, scatter, lengths = np.zeros(d), np.zeros((d, d)), 0.0
    for rows in _chunks(X):
        if normalize:
            lengths += float(row_lengths(rows).sum(dtype=np.float64))
        shifted = prepared_rows(rows, shift, normalize=normalize)
        total += np.ones(len(rows), dtype=X.dtype) @ shifted
        scatter += shifted.T @ shifted
    rest = total / n
    covariance = scatter / n - np.outer(rest, rest)
    return Moments(n, shift + rest, covariance, lengths / n if normalize else 1.0)


def prepared_rows(X: Floats, mean: Floats, *, normalize: bool) -> Floats:
    """Rows as the encoder sees them: scaled to length 1 on request, then centred."""
    rows = unit_rows(X) if normalize else X.copy()
    rows -= mean.astype(X.dtype)
    return rows


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


def _chunks(X: Floats) -> Iterator[Floats]:
    for start in range(0, len(X), _CHUNK_ROWS):
        yield X[start : start + _CHUNK_ROWS]

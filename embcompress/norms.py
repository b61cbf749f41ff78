"""Lengths of rows, and rows scaled to length 1."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["lengths_and_unit_rows", "plain_lengths", "row_lengths", "unit_rows"]

Floats = npt.NDArray[np.floating]


def unit_rows(X: Floats) -> Floats:
    """Rows scaled to length 1; rows of zeros stay zero.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n, d), dtype of `X`
    """
    return lengths_and_unit_rows(X)[1]


def lengths_and_unit_rows(X: Floats, out: Floats | None = None) -> tuple[Floats, Floats]:
    """Euclidean lengths of rows, also where their squares are out of range, and unit rows.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    out : ndarray of shape (n, d), optional
        Where to put the unit rows.

    Returns
    -------
    lengths : ndarray of shape (n,), dtype of `X`
    rows : ndarray of shape (n, d), dtype of `X`
        As :func:`unit_rows`.
    """
    lengths = plain_lengths(X)
    if lengths is not None:
        return lengths, np.multiply(X, (1 / lengths)[:, None], out=out)
    # dividing by the largest entry first keeps squares of huge and tiny values in range
    peak = np.abs(X).max(axis=1, keepdims=True, initial=0)
    scaled = np.divide(X, np.where(peak > 0, peak, 1), out=out)
    norms = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
    scaled /= np.where(norms > 0, norms, 1)[:, None]
    return norms * peak[:, 0], scaled


def row_lengths(X: Floats) -> Floats:
    """Euclidean lengths of rows, also where their squares are out of range.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n,), dtype of `X`
    """
    lengths = plain_lengths(X)
    return lengths_and_unit_rows(X)[0] if lengths is None else lengths


def plain_lengths(X: Floats) -> Floats | None:
    """Lengths of rows; None if a row is zero or a square is near the limits of the data type.

    Parameters
    ----------
    X : ndarray of shape (n, d)

    Returns
    -------
    ndarray of shape (n,), or None
    """
    with np.errstate(over="ignore"):
        squares = np.einsum("ij,ij->i", X, X)
    limits = np.finfo(X.dtype)
    if len(X) and (squares.min() < limits.tiny / limits.eps or squares.max() > limits.max / 4):
        return None
    return np.sqrt(squares)

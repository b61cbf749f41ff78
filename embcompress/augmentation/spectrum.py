"""Ridge regression on one decomposition of the inputs, for many targets and penalties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["PENALTIES", "Spectrum"]

Floats = npt.NDArray[np.floating]

# relative to the mean eigenvalue of the inputs; infinity leaves the mean displacement alone
PENALTIES: tuple[float, ...] = (*(10.0 ** np.arange(-3, 3.5, 0.5)).tolist(), float("inf"))

# eigenvalues below this share of the largest are rounding of the Gram matrix
_FLOOR = 1e-11
_SMALLEST_REST = 1e-7


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values and directions of a centred design matrix ``C = left * values @ right.T``.

    They come from the eigenvectors of the smaller of ``C C^T`` (the dual form, fewer rows than
    columns) and ``C^T C`` (the primal form), in double precision, and serve all targets and all
    penalties. A penalty is relative: ``penalty * mean_square`` is added to the eigenvalues, with
    ``mean_square = tr(C^T C) / d``.

    Attributes
    ----------
    left : ndarray of shape (m, r)
    values : ndarray of float64, shape (r,)
        Largest first.
    right : ndarray of shape (d, r)
    leverage : ndarray of float64, shape (m,)
        What of the hat matrix's diagonal the unpenalized part takes; 1/m for the mean.
    mean_square : float
    """

    left: Floats
    values: npt.NDArray[np.float64]
    right: Floats
    leverage: npt.NDArray[np.float64]
    mean_square: float

    @classmethod
    def of(cls, C: Floats, *, leverage: Floats | None = None) -> Spectrum:
        """Decompose.

        Parameters
        ----------
        C : ndarray of shape (m, d)
            Columns centred.
        leverage : ndarray of shape (m,), optional
            Default: that of the mean, 1/m.

        Returns
        -------
        Spectrum
            `left` and `right` in the data type of `C`.
        """
        m, d = C.shape
        wide = C.astype(np.float64, copy=False)
        dual = m <= d
        gram = wide @ wide.T if dual else wide.T @ wide
        squares, vectors = np.linalg.eigh(gram)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        kept = squares > _FLOOR * max(float(squares[0]), np.finfo(float).tiny)
        values = np.sqrt(squares[kept])
        vectors = vectors[:, kept].astype(C.dtype)
        others = (C.T @ vectors if dual else C @ vectors) / values.astype(C.dtype)
        left, right = (vectors, others) if dual else (others, vectors)
        if leverage is None:
            leverage = np.full(m, 1 / m)
        trace = float(np.trace(gram))
        return cls(left, values, right, leverage.astype(np.float64), trace / d)

    def top(self, n_components: int | None) -> Spectrum:
        """Only the strongest directions; all with None."""
        if n_components is None or n_components >= len(self.values):
            return self
        part = slice(n_components)
        return Spectrum(
            self.left[:, part], self.values[part], self.right[:, part], self.leverage,
            self.mean_square,
        )  # fmt: skip

    def kept(self, penalty: float) -> npt.NDArray[np.float64]:
        """Share of each direction that a penalty leaves, ``s^2 / (s^2 + penalty')``.

        Parameters
        ----------
        penalty : float
            Relative, at least 0, or infinity.

        Returns
        -------
        ndarray of float64, shape (r,)
        """
        if np.isinf(penalty):
            return np.zeros_like(self.values)
        squares = self.values**2
        return squares / (squares + penalty * self.mean_square)

    def project(self, R: Floats) -> Floats:
        """Targets in the coordinates of `left`, shape (r, k)."""
        return self.left.T @ R

    def coefficients(self, projected: Floats, penalty: float) -> Floats:
        """Ridge coefficients in the coordinates of `right`: ``W = right @ coefficients``.

        Parameters
        ----------
        projected : ndarray of shape (r, k)
            From :meth:`project`.
        penalty : float

        Returns
        -------
        ndarray of shape (r, k)
        """
        weights = self.kept(penalty) / self.values
        return weights[:, None].astype(projected.dtype) * projected

    def left_out(self, R: Floats, projected: Floats, penalty: float) -> Floats:
        """Residual of each row by the fit to all other rows.

        ``e_i / (1 - h_ii)`` with the residual and the hat matrix of the fit to all rows: exact,
        as the penalty is held fixed.

        Parameters
        ----------
        R : ndarray of shape (m, k)
            Targets without what the unpenalized part explains.
        projected : ndarray of shape (r, k)
        penalty : float

        Returns
        -------
        ndarray of shape (m, k)
        """
        kept = self.kept(penalty)
        residuals = R - (self.left * kept.astype(R.dtype)) @ projected
        hat = self.leverage + np.square(self.left, dtype=np.float64) @ kept
        rest = np.maximum(1 - hat, _SMALLEST_REST)
        return residuals / rest[:, None].astype(R.dtype)

    def path(self, R: Floats, projected: Floats, penalties: Sequence[float]) -> Floats:
        """Leave-one-out squared error of each target under each penalty.

        Parameters
        ----------
        R : ndarray of shape (m, k)
        projected : ndarray of shape (r, k)
        penalties : sequence of float

        Returns
        -------
        errors : ndarray of float64, shape (len(penalties), k)
        """
        errors = np.empty((len(penalties), R.shape[1]))
        for row, penalty in zip(errors, penalties, strict=True):
            out = self.left_out(R, projected, penalty)
            row[:] = np.einsum("ij,ij->j", out, out, dtype=np.float64)
        return errors

    def generalized(self, R: Floats, projected: Floats, penalties: Sequence[float]) -> Floats:
        """Generalized cross-validation: one leverage for all rows, no pass over the rows.

        Parameters
        ----------
        R : ndarray of shape (m, k)
        projected : ndarray of shape (r, k)
        penalties : sequence of float

        Returns
        -------
        errors : ndarray of float64, shape (len(penalties), k)
        """
        inside = np.square(projected, dtype=np.float64)
        total = np.einsum("ij,ij->j", R, R, dtype=np.float64)
        outside = np.maximum(total - inside.sum(axis=0), 0)
        errors = np.empty((len(penalties), R.shape[1]))
        for row, penalty in zip(errors, penalties, strict=True):
            kept = self.kept(penalty)
            mean = (self.leverage.sum() + kept.sum()) / len(R)
            row[:] = (outside + (1 - kept) ** 2 @ inside) / max(1 - mean, _SMALLEST_REST) ** 2
        return errors

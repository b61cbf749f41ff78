"""Linear operators: ridge regression of the displacement, in full and of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from embcompress.augmentation.base import Operator, cast
from embcompress.augmentation.pairs import Pairs
from embcompress.augmentation.spectrum import PENALTIES, Spectrum

__all__ = ["LowRank", "ResidualRidge"]

Floats = npt.NDArray[np.floating]

_RIDGE: dict[str, list[Any]] = {
    "penalty": [Interval(Real, 0, None, closed="right"), StrOptions({"loo", "gcv"})],
    "n_components": [Interval(Integral, 1, None, closed="left"), None],
}


class ResidualRidge(Operator):
    """Ridge regression of the displacement: ``A(z) = z + offset + (z - mean) W``.

    ``W`` minimizes ``||R - C W||^2 + penalty * tr(C^T C) / d * ||W||^2`` with the centred
    embeddings C and displacements R. As the penalty grows, A goes to the identity plus the mean
    displacement, not to zero. Follows the idea of arXiv:2002.04776, independently specified.

    Parameters
    ----------
    penalty : float, "loo" or "gcv", default "loo"
        Relative to the mean eigenvalue of ``C^T C``. ``"loo"`` takes the one of a grid (0.001 to
        1000 by half decades, and infinity) with the smallest leave-one-out error, ``"gcv"`` the
        same by generalized cross-validation, which is cheaper and less exact.
    per : {"operator", "dimension", "direction"}, default "operator"
        What has a penalty of its own: the operator, each dimension of the embedding, or each
        principal direction of the displacements, which chooses shrinkage and rank in one.
    n_components : int, optional
        Look only at so many of the strongest principal directions of the embeddings. Default:
        at all.

    Attributes
    ----------
    mean_, offset_ : ndarray of shape (d,)
    inner_ : ndarray of shape (d, r)
    outer_ : ndarray of shape (r, d), or None
        ``W = inner_ @ outer_``; None where `inner_` is W itself, which then is cheaper.
    penalty_ : float or ndarray
        What was chosen; an array where each direction has its own.
    loo_ : float
        Leave-one-out error as a share of the displacement (1: no better than the identity).

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.augmentation import ResidualRidge
    >>> Z = np.random.default_rng(0).normal(size=(200, 8))
    >>> operator = ResidualRidge().fit(Z, Z @ np.diag([2.0, 1, 1, 1, 1, 1, 1, 1]) + 1)
    >>> bool(operator.loo_ < 0.01)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_RIDGE,
        "per": [StrOptions({"operator", "dimension", "direction"})],
    }
    _arrays: ClassVar[tuple[str, ...]] = ("mean_", "offset_", "inner_", "outer_")
    _needs: ClassVar[int] = 3
    _leaves_out: ClassVar[bool] = True

    def __init__(
        self,
        *,
        penalty: float | str = "loo",
        per: str = "operator",
        n_components: int | None = None,
    ) -> None:
        self.penalty = penalty
        self.per = per
        self.n_components = n_components

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        spectrum = pairs.sources.spectrum.top(self.n_components)
        R, turn = pairs.centred, None
        if self.per == "direction":
            turn = Spectrum.of(R).right
            R = R @ turn
        projected = spectrum.project(R)
        chosen = choose_penalties(
            spectrum, R, projected, self.penalty, shared=self.per == "operator"
        )
        self.penalty_ = float(chosen[0]) if self.per == "operator" else chosen
        coefficients = np.zeros_like(projected)
        for penalty in np.unique(chosen[np.isfinite(chosen)]):
            columns = chosen == penalty
            coefficients[:, columns] = spectrum.coefficients(projected[:, columns], float(penalty))
        if turn is not None:
            coefficients = coefficients @ turn.T
        self.mean_, self.offset_ = pairs.sources.mean, pairs.offset
        self.inner_, self.outer_ = cheapest(spectrum.right, coefficients)
        self.loo_ = share_left(self.residuals(pairs, random), pairs)

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        return affine(Z, self.mean_, self.offset_, self.inner_, self.outer_)

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Leave-one-out residuals; see :meth:`Operator.residuals`.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        spectrum = pairs.sources.spectrum.top(self.n_components)
        R, turn = pairs.centred, None
        if self.per == "direction":
            turn = Spectrum.of(R).right
            R = R @ turn
        chosen = np.broadcast_to(np.asarray(self.penalty_), (R.shape[1],))
        projected, out = spectrum.project(R), np.empty_like(R)
        for penalty in np.unique(chosen):
            columns = chosen == penalty
            out[:, columns] = spectrum.left_out(
                R[:, columns], projected[:, columns], float(penalty)
            )
        return pairs.spread() + (out if turn is None else out @ turn.T)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        return affine_macs(self.inner_, self.outer_)


class LowRank(Operator):
    """Reduced-rank regression of the displacement: :class:`ResidualRidge` of bounded rank.

    Leaving a pair out does not change the directions, which were found with it, so `loo_` and the
    chosen rank are a little too good; trust the held-out report of an augmenter.

    The ridge predictions ``C W = U S V^T`` keep their first `rank` right singular vectors:
    ``W V_r V_r^T``, stored as two thin matrices, 2 d rank multiply-accumulate steps a row.

    Parameters
    ----------
    rank : int or "loo", default "loo"
        ``"loo"``: the rank, up to `max_rank`, with the smallest leave-one-out error.
    penalty, n_components
        As in :class:`ResidualRidge`; the penalty is chosen before the rank.
    max_rank : int, default 256

    Attributes
    ----------
    mean_, offset_ : ndarray of shape (d,)
    inner_ : ndarray of shape (d, rank)
    outer_ : ndarray of shape (rank, d)
    penalty_ : float
    rank_ : int
    loo_ : float
        As in :class:`ResidualRidge`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_RIDGE,
        "rank": [Interval(Integral, 1, None, closed="left"), StrOptions({"loo"})],
        "max_rank": [Interval(Integral, 1, None, closed="left")],
    }
    _arrays: ClassVar[tuple[str, ...]] = ("mean_", "offset_", "inner_", "outer_")
    _needs: ClassVar[int] = 3
    _leaves_out: ClassVar[bool] = True

    def __init__(
        self,
        rank: int | str = "loo",
        *,
        penalty: float | str = "loo",
        n_components: int | None = None,
        max_rank: int = 256,
    ) -> None:
        self.rank = rank
        self.penalty = penalty
        self.n_components = n_components
        self.max_rank = max_rank

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        spectrum = pairs.sources.spectrum.top(self.n_components)
        R = pairs.centred
        projected = spectrum.project(R)
        chosen = choose_penalties(spectrum, R, projected, self.penalty, shared=True)
        self.penalty_ = float(chosen[0])
        self.mean_, self.offset_ = pairs.sources.mean, pairs.offset
        directions = self._directions(spectrum, projected)
        gains = self._gains(spectrum, R, projected, directions)
        self.rank_ = int(np.argmax(np.concatenate([[0.0], np.cumsum(gains)])))
        if self.rank != "loo":
            self.rank_ = min(int(self.rank), directions.shape[1])
        directions = directions[:, : self.rank_]
        coefficients = spectrum.coefficients(projected, self.penalty_) @ directions
        self.inner_ = spectrum.right @ coefficients
        self.outer_ = np.ascontiguousarray(directions.T)
        self.loo_ = share_left(self.residuals(pairs, random), pairs)

    def _directions(self, spectrum: Spectrum, projected: Floats) -> Floats:
        """Right singular vectors of the ridge predictions, shape (d, rank)."""
        predicted = spectrum.kept(self.penalty_)[:, None].astype(projected.dtype) * projected
        limit = self.max_rank if self.rank == "loo" else int(self.rank)
        return Spectrum.of(predicted).top(limit).right if predicted.any() else projected.T[:, :0]

    def _gains(
        self, spectrum: Spectrum, R: Floats, projected: Floats, directions: Floats
    ) -> npt.NDArray[np.float64]:
        """By how much each direction lowers the leave-one-out squared error."""
        truth = R @ directions
        left = spectrum.left_out(truth, projected @ directions, self.penalty_)
        # without a direction only the mean is predicted there, which also leaves the row out
        alone = truth / (1 - spectrum.leverage)[:, None].astype(R.dtype)
        return (np.square(alone) - np.square(left)).sum(axis=0, dtype=np.float64)

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Leave-one-out residuals, the directions held fixed; see :meth:`Operator.residuals`.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        spectrum = pairs.sources.spectrum.top(self.n_components)
        R, directions = pairs.centred, self.outer_.T
        left = spectrum.left_out(R, spectrum.project(R), self.penalty_)
        alone = R / (1 - spectrum.leverage)[:, None].astype(R.dtype)
        return pairs.spread() + alone + ((left - alone) @ directions) @ directions.T

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        return affine(Z, self.mean_, self.offset_, self.inner_, self.outer_)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        return affine_macs(self.inner_, self.outer_)


def choose_penalties(
    spectrum: Spectrum,
    R: Floats,
    projected: Floats,
    penalty: float | str,
    *,
    shared: bool,
    grid: Sequence[float] = PENALTIES,
) -> npt.NDArray[np.float64]:
    """Penalty of each target: the one that is given, or the best of the grid.

    Parameters
    ----------
    spectrum : Spectrum
    R : ndarray of shape (m, k)
    projected : ndarray of shape (r, k)
    penalty : float, "loo" or "gcv"
    shared : bool
        One for all targets.
    grid : sequence of float

    Returns
    -------
    ndarray of float64, shape (k,)
    """
    if not isinstance(penalty, str):
        return np.full(R.shape[1], float(penalty))
    if shared:
        best = int(spectrum.generalized(R, projected, grid).sum(axis=1).argmin())
        if penalty == "loo":
            best = _nearest_minimum(spectrum, R, projected, grid, best)
        return np.full(R.shape[1], grid[best])
    score = spectrum.path if penalty == "loo" else spectrum.generalized
    return np.asarray(grid)[score(R, projected, grid).argmin(axis=0)]


def _nearest_minimum(
    spectrum: Spectrum, R: Floats, projected: Floats, grid: Sequence[float], start: int
) -> int:
    """Walk down the leave-one-out error from the minimum of the cheap estimate of it."""

    def error(index: int) -> float:
        if not 0 <= index < len(grid):
            return float("inf")
        return float(spectrum.path(R, projected, [grid[index]]).sum())

    here = error(start)
    for step in (-1, 1):
        best = start
        while (there := error(best + step)) < here:
            here, best = there, best + step
        if best != start:
            return best
    return start


def cheapest(right: Floats, coefficients: Floats) -> tuple[Floats, Floats | None]:
    """``W = right @ coefficients`` as one matrix or two, whichever is quicker to apply."""
    d, r = right.shape
    if not coefficients.any():
        return right[:, :0], coefficients[:0]
    if r * (d + coefficients.shape[1]) < d * coefficients.shape[1]:
        return right, coefficients
    return right @ coefficients, None


def affine(Z: Floats, mean: Floats, offset: Floats, inner: Floats, outer: Floats | None) -> Floats:
    """Displacement ``offset + (z - mean) inner outer`` of rows."""
    out = (Z - cast(mean, Z)) @ cast(inner, Z)
    if outer is not None:
        out = out @ cast(outer, Z)
    out += cast(offset, Z)
    return out


def affine_macs(inner: Floats, outer: Floats | None) -> int:
    """Multiply-accumulate steps of :func:`affine` for one row."""
    return inner.size + (0 if outer is None else outer.size)


def share_left(residuals: Floats, pairs: Pairs) -> float:
    """Squared residuals over squared displacements; 0 where nothing moves."""
    total = float(np.square(pairs.displacements, dtype=np.float64).sum())
    return float(np.square(residuals, dtype=np.float64).sum()) / total if total else 0.0

"""An operator whose displacement depends on how strongly the raw input is transformed."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from embcompress.augmentation.base import Operator, cast
from embcompress.augmentation.linear import cheapest, choose_penalties, share_left
from embcompress.augmentation.pairs import Pairs
from embcompress.augmentation.spectrum import Spectrum

__all__ = ["ParameterConditioned"]

Floats = npt.NDArray[np.floating]


class ParameterConditioned(Operator):
    """Ridge regression on features of the strength: one operator for all angles, or brightnesses.

    ``A(z; phi) = z + sum_j c_j(phi) (offset_j + (z - mean) W_j)``, with features c that are 0 at
    phi = 0, so that strength 0 is exactly the identity. Offsets are not penalized. The linear
    form is that of hypernetworks such as SIE (arXiv:2302.10283) and STL (arXiv:2501.08712).

    Parameters
    ----------
    features : {"polynomial", "fourier"}, default "polynomial"
        ``phi, phi^2, ..., phi^degree``; or ``sin(k phi)`` and ``1 - cos(k phi)`` for k up to
        `degree`, for angles in radians. Those of each column of the params; no products.
    degree : int, default 2
    penalty : float, "loo" or "gcv", default "loo"
        As in :class:`ResidualRidge`; one view is left out at a time.
    n_components : int, optional
        Directions of the joint design that are used. Default: all.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
    offsets_ : ndarray of shape (q, d)
        One row for each feature.
    inner_ : ndarray of shape (q * d, r)
    outer_ : ndarray of shape (r, d), or None
        ``[W_1; ...; W_q] = inner_ @ outer_``; `inner_` alone where `outer_` is None.
    scales_ : ndarray of shape (q,)
        Features are divided by their root mean square in fit.
    params_ : ndarray of shape (views * m, p)
        Strengths of the fit, which others are drawn from.
    penalty_ : float
    loo_ : float
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "features": [StrOptions({"polynomial", "fourier"})],
        "degree": [Interval(Integral, 1, None, closed="left")],
        "penalty": [Interval(Real, 0, None, closed="right"), StrOptions({"loo", "gcv"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
    }
    _arrays: ClassVar[tuple[str, ...]] = (
        "mean_", "offsets_", "inner_", "outer_", "scales_", "params_",
    )  # fmt: skip
    _needs: ClassVar[int] = 8
    _leaves_out: ClassVar[bool] = True

    def __init__(
        self,
        *,
        features: str = "polynomial",
        degree: int = 2,
        penalty: float | str = "loo",
        n_components: int | None = None,
    ) -> None:
        self.features = features
        self.degree = degree
        self.penalty = penalty
        self.n_components = n_components

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        if pairs.params is None:
            raise ValueError(
                f"ParameterConditioned needs the params of {pairs.name!r}; "
                "give a tuple (embeddings, params)"
            )
        self.params_ = pairs.params.reshape(-1, pairs.params.shape[-1])
        raw = self._features(self.params_)
        scales = np.sqrt(np.square(raw).mean(axis=0))
        self.scales_ = np.where(scales > 0, scales, 1)
        self.mean_ = pairs.sources.mean
        c, X, R = self._design(pairs)
        inverse = np.linalg.pinv(c)
        self._start(c, inverse, X, R, pairs)

    def _start(self, c: Floats, inverse: Floats, X: Floats, R: Floats, pairs: Pairs) -> None:
        spectrum, centred = self._centred(c, inverse, X, R)
        projected = spectrum.project(centred)
        chosen = choose_penalties(spectrum, centred, projected, self.penalty, shared=True)
        self.penalty_ = float(chosen[0])
        coefficients = spectrum.coefficients(projected, self.penalty_)
        explained = (X @ spectrum.right) @ coefficients
        dtype = R.dtype
        self.offsets_ = (inverse @ (R - explained)).astype(dtype)
        self.inner_, self.outer_ = cheapest(spectrum.right, coefficients)
        left = spectrum.left_out(centred, projected, self.penalty_)
        self.loo_ = share_left(left.reshape(pairs.displacements.shape), pairs)

    def _design(self, pairs: Pairs) -> tuple[Floats, Floats, Floats]:
        """Features (N, q), their products with the centred rows (N, q d), targets (N, d)."""
        d = self.n_features_in_
        c = self._scaled(self.params_)
        C = np.tile(pairs.sources.centred, (len(pairs.displacements), 1))
        X = (c[:, :, None].astype(C.dtype) * C[:, None, :]).reshape(len(c), -1)
        return c, X, pairs.displacements.reshape(-1, d)

    def _centred(self, c: Floats, inverse: Floats, X: Floats, R: Floats) -> tuple[Spectrum, Floats]:
        """Design and targets without what the features alone explain (Frisch and Waugh)."""
        dtype = R.dtype
        residual_X = X - c.astype(dtype) @ (inverse.astype(dtype) @ X)
        residual_R = R - c.astype(dtype) @ (inverse.astype(dtype) @ R)
        leverage = np.einsum("ij,ji->i", c, inverse)
        spectrum = Spectrum.of(residual_X, leverage=leverage).top(self.n_components)
        return spectrum, residual_R

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Residuals of each view by the fit to all others; see :meth:`Operator.residuals`.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        c, X, R = self._design(pairs)
        spectrum, centred = self._centred(c, np.linalg.pinv(c), X, R)
        left = spectrum.left_out(centred, spectrum.project(centred), self.penalty_)
        return left.reshape(pairs.displacements.shape)

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        c = cast(self._scaled(params), Z)
        C = Z - cast(self.mean_, Z)
        X = (c[:, :, None] * C[:, None, :]).reshape(len(Z), -1)
        out = X @ cast(self.inner_, Z)
        if self.outer_ is not None:
            out = out @ cast(self.outer_, Z)
        out += c @ cast(self.offsets_, Z)
        return out

    def _features(self, params: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        orders = range(1, int(self.degree) + 1)
        if self.features == "fourier":
            waves = [(np.sin(k * params), 1 - np.cos(k * params)) for k in orders]
            return np.concatenate([wave for pair in waves for wave in pair], axis=1)
        return np.concatenate([params**k for k in orders], axis=1)

    def _scaled(self, params: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self._features(params) / self.scales_

    def _noise_scale(self, params: Any) -> Any:
        return np.sqrt(np.square(self._scaled(params)).mean(axis=1))

    def _check_params(self, params: Any, n: int, random: np.random.Generator) -> Any:
        if params is None:
            return self.params_[random.integers(0, len(self.params_), n)]
        p = self.params_.shape[1]
        array = np.asarray(params, dtype=np.float64)
        if array.shape == (n,) and p == 1:
            array = array[:, None]
        elif array.ndim == 0 or array.shape == (p,):
            array = np.broadcast_to(array, (n, p))
        if array.shape != (n, p) or not np.isfinite(array).all():
            raise ValueError(
                f"params have shape {np.shape(params)}; finite numbers of shape ({n}, {p}) are "
                "needed, or one for all"
            )
        return array

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        outer = 0 if self.outer_ is None else self.outer_.size
        return self.inner_.size + outer + self.offsets_.size + len(self.inner_)

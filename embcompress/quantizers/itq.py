"""Iterative quantization: rotate principal components so that signs lose least."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress.encoder import Encoder
from embcompress.progress import ProgressBar
from embcompress.quantizers._arrays import Array, is_numpy, like, prepared_rows, signs
from embcompress.quantizers._encoders import fit_encoder
from embcompress.quantizers._moments import Moments, principal_directions
from embcompress.quantizers._rows import Needs, Rows, as_rows, sample_rows
from embcompress.quantizers._statistics import PartialFitMixin
from embcompress.quantizers.base import BinaryQuantizer
from embcompress.quantizers.baselines import check_not_more_bits_than_features, random_rotation

__all__ = ["ITQ", "Rotation", "best_rotation", "fit_rotation", "sample_rows"]

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Rotation:
    """A learned rotation.

    Attributes
    ----------
    matrix : ndarray of shape (c, n_bits)
    losses : list of float
        Quantization loss before each step and after the last: the share of the energy of
        ``P @ matrix`` that is lost when every entry is replaced by its sign times one common
        scale, ``1 - mean(|v|)**2 / mean(v**2)``. It does not depend on the scale of the data,
        and falls (or stays) with every step.
    """

    matrix: Floats
    losses: list[float]

    @property
    def n_iter(self) -> int:
        """Number of steps."""
        return len(self.losses) - 1


class ITQ(PartialFitMixin, BinaryQuantizer):
    """Iterative quantization (Gong and Lazebnik, CVPR 2011; TPAMI 2013).

    Centres, takes the top `n_bits` principal components, and rotates them so that the distance
    to their signs is smallest, alternating codes and rotation (orthogonal Procrustes).

    Parameters
    ----------
    n_bits : int, optional
        Code length, at most the number of features (the default).
    max_iter : int, default 50
        Most steps of the alternation.
    tol : float, default 1e-5
        Stop when a step lowers the loss by less than this share.
    n_init : int, default 1
        Random starts; the one with the lowest loss is kept.
    fit_samples : int or None, default 20000
        Rows, drawn at random, that the rotation is fitted on; mean and principal components come
        from all rows. None: all rows.
    random_state : int, RandomState or None, default None
    verbose : bool, default False
        Show a progress bar.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (n_bits, n_features)
        Principal directions.
    rotation_ : ndarray of shape (n_bits, n_bits)
    loss_ : float
        Quantization loss at the end, from 0 (none) to 1; see :class:`Rotation`.
    loss_curve_ : list of float
    n_iter_ : int
        Steps taken.
    encoder_ : Encoder
    n_bits_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import ITQ
    >>> X = np.random.default_rng(0).normal(size=(200, 32))
    >>> ITQ(n_bits=16, random_state=0).fit_transform(X).shape
    (200, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "fit_samples": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["boolean"],
    }

    def __init__(
        self,
        n_bits: int | None = None,
        *,
        max_iter: int = 50,
        tol: float = 1e-5,
        n_init: int = 1,
        fit_samples: int | None = 20_000,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.fit_samples = fit_samples
        self.random_state = random_state
        self.verbose = verbose

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        check_not_more_bits_than_features(type(self).__name__, n_bits, n_features)
        return Needs(self.fit_samples)

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        _, directions = principal_directions(found.covariance)
        mean, components = found.mean, directions[:n_bits].astype(sample.dtype)
        self.mean_, self.components_ = mean, components
        prepared = sample.map(lambda block: prepared_rows(block, mean, normalize=False))
        P = prepared.map(lambda block: block @ like(components.T, block))
        with ProgressBar(
            "Rotating", self.n_init * self.max_iter, unit="steps", enabled=self.verbose
        ) as bar:
            best = best_rotation(P, n_bits, random, self.max_iter, self.tol, self.n_init, bar)
        self.rotation_, self.loss_, self.n_iter_ = best.matrix, best.losses[-1], best.n_iter
        self.loss_curve_ = best.losses
        return fit_encoder(prepared, mean, components.T @ self.rotation_, orthonormal=True)


def best_rotation(
    P: Rows | Floats,
    n_bits: int,
    random: np.random.RandomState,
    max_iter: int,
    tol: float,
    n_init: int,
    bar: ProgressBar,
) -> Rotation:
    """Fit from several random starts and keep the lowest loss.

    Parameters
    ----------
    P : Rows or ndarray of shape (n, c)
    n_bits : int
        At least c.
    random : RandomState
    max_iter, tol, n_init
        As in :class:`ITQ`.
    bar : ProgressBar
        Advanced by one per step, by `max_iter` per start in all.

    Returns
    -------
    Rotation
    """
    P = as_rows(P)
    starts = (
        fit_rotation(P, random_rotation(n_bits, random)[: P.n_features], max_iter, tol, bar)
        for _ in range(n_init)
    )
    return min(starts, key=lambda rotation: rotation.losses[-1])


def fit_rotation(
    P: Rows | Floats, start: Floats, max_iter: int, tol: float, bar: ProgressBar
) -> Rotation:
    """Alternate codes and rotation: ``min ||B - P R||_F`` over signs B and R with ``R R^T = I``.

    Every step is one sum over all rows, of ``B^T P``.

    Parameters
    ----------
    P : Rows or ndarray of shape (n, c)
        Centred, projected rows.
    start : ndarray of shape (c, n_bits)
        Orthonormal rows.
    max_iter : int
    tol : float
    bar : ProgressBar

    Returns
    -------
    Rotation
        In the data type of `P`.
    """
    P = as_rows(P)
    R = start.astype(P.dtype)
    n_entries = P.n * R.shape[1]
    losses: list[float] = []
    for step in range(max_iter + 1):
        crossed, magnitudes, squares = P.total(_AlternationSums(R))
        magnitude, energy = magnitudes / n_entries, squares / n_entries  # mean |v|, mean v^2
        losses.append(1 - magnitude**2 / energy if energy > 0 else 0.0)
        converged = step > 0 and losses[-2] - losses[-1] < tol * losses[-2]
        if step == max_iter or converged:
            bar.advance(max_iter - step)
            break
        # Procrustes step: R = C A^T where B^T P = A S C^T
        A, _, Ct = np.linalg.svd(crossed, full_matrices=False)
        R = (A @ Ct).T.astype(P.dtype)
        bar.advance(1)
    return Rotation(np.ascontiguousarray(R), losses)


@dataclass(frozen=True)
class _AlternationSums:
    """Sums of a step over a block of rows: B^T P, |V| and P^2, with V = P R and its signs B."""

    R: Floats

    def __call__(self, P: Array) -> tuple[Any, ...]:
        V = P @ like(self.R, P)
        B = signs(V)
        if is_numpy(P):
            return B.T @ P, np.vdot(B, V), np.vdot(P, P)
        return B.T @ P, (B * V).sum(), (P * P).sum()

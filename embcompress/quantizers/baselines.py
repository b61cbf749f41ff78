"""Quantizers that need no iteration: signs of the coordinates, of random and of principal ones."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval, StrOptions

from embcompress.encoder import Encoder
from embcompress.quantizers._arrays import prepared_rows
from embcompress.quantizers._encoders import fit_encoder, fit_levels
from embcompress.quantizers._moments import Moments, principal_directions
from embcompress.quantizers._rows import Needs, Rows
from embcompress.quantizers._statistics import PartialFitMixin
from embcompress.quantizers.base import BinaryQuantizer

__all__ = ["LSH", "PCASign", "Sign"]

Floats = npt.NDArray[np.floating]

# Rows from which decoding levels are estimated: means over so many rows are good to 1 %.
_LEVEL_ROWS = 20_000


class Sign(PartialFitMixin, BinaryQuantizer):
    """One bit per coordinate: whether it exceeds a threshold.

    The plain baseline, ``numpy.packbits(X >= 0, axis=1)``, with a choice of threshold.

    Parameters
    ----------
    threshold : {"zero", "mean", "median"}, default "zero"
        What each coordinate is compared with. ``"mean"`` helps where vectors share a common
        offset, ``"median"`` balances every bit.

    Attributes
    ----------
    thresholds_ : ndarray of shape (n_features,)
    encoder_ : Encoder
    n_bits_ : int
        Equal to the number of features.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import Sign
    >>> Sign().fit_transform(np.array([[1.0, -2.0, 3.0], [-1.0, 2.0, -3.0]]))
    array([[160],
           [ 64]], dtype=uint8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "threshold": [StrOptions({"zero", "mean", "median"})]
    }

    def __init__(self, threshold: str = "zero") -> None:
        self.threshold = threshold

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        return Needs(_LEVEL_ROWS, covariance=False, spread=True)

    def _check_parts(self) -> bool:
        if self.threshold == "median":
            raise AttributeError(
                'Sign(threshold="median") needs all rows in memory at once; call fit with an '
                'array, or use threshold="mean"'
            )
        return True

    def _learn_from(self, rows: Rows) -> None:
        if self.threshold == "median":  # the one threshold that does not follow from moments
            self._medians = np.median(rows.whole('Sign(threshold="median")'), axis=0)
        super()._learn_from(rows)

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        rule = {
            "zero": lambda: np.zeros(n_bits),
            "mean": lambda: found.mean,
            "median": lambda: self.__dict__.pop("_medians"),
        }
        self.thresholds_ = rule[self.threshold]().astype(sample.dtype)
        return Encoder(
            n_bits=n_bits,
            mean=np.zeros(n_bits),
            projection=None,
            thresholds=self.thresholds_,
            levels=fit_levels(sample, self.thresholds_),
        )


class LSH(PartialFitMixin, BinaryQuantizer):
    """Signs of random projections (locality-sensitive hashing for the angle).

    Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002; the
    orthogonal form is Ji et al., "Super-bit locality-sensitive hashing", NIPS 2012.

    Parameters
    ----------
    n_bits : int, optional
        Code length, any number. Default: the number of features.
    kind : {"orthogonal", "gaussian"}, default "orthogonal"
        Directions drawn independently, or orthogonal to one another in blocks of at most
        n_features, which estimates angles with less variance.
    center : bool, default True
        Subtract the mean of the training rows first.
    random_state : int, RandomState or None, default None

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (n_bits, n_features)
        Random directions.
    encoder_ : Encoder
    n_bits_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import LSH
    >>> X = np.random.default_rng(0).normal(size=(100, 20))
    >>> LSH(n_bits=64, random_state=0).fit_transform(X).shape
    (100, 8)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
        "kind": [StrOptions({"orthogonal", "gaussian"})],
        "center": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_bits: int | None = None,
        *,
        kind: str = "orthogonal",
        center: bool = True,
        random_state: Any = None,
    ) -> None:
        self.n_bits = n_bits
        self.kind = kind
        self.center = center
        self.random_state = random_state

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        return Needs(_LEVEL_ROWS, covariance=False, spread=True)

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        d = sample.n_features
        mean = found.mean if self.center else np.zeros(d)
        draw = {"orthogonal": _orthogonal_blocks, "gaussian": _gaussian}[self.kind]
        self.mean_ = mean
        self.components_ = draw(n_bits, d, random).astype(sample.dtype)
        prepared = sample.map(lambda block: prepared_rows(block, mean, normalize=False))
        return fit_encoder(prepared, mean, self.components_.T, orthonormal=False)


class PCASign(PartialFitMixin, BinaryQuantizer):
    """Signs of the principal components.

    Parameters
    ----------
    n_bits : int, optional
        Code length, at most the number of features (the default).

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
    components_ : ndarray of shape (n_bits, n_features)
        Principal directions, strongest first.
    explained_variance_ : ndarray of shape (n_bits,)
    encoder_ : Encoder
    n_bits_ : int

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress import PCASign
    >>> X = np.random.default_rng(0).normal(size=(100, 20))
    >>> PCASign(n_bits=16).fit_transform(X).shape
    (100, 2)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_bits": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(self, n_bits: int | None = None) -> None:
        self.n_bits = n_bits

    def _needs(self, n_features: int, n_bits: int) -> Needs:
        check_not_more_bits_than_features(type(self).__name__, n_bits, n_features)
        return Needs(_LEVEL_ROWS, spread=True)

    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        variances, directions = principal_directions(found.covariance)
        mean = found.mean
        self.mean_ = mean
        self.components_ = directions[:n_bits].astype(sample.dtype)
        self.explained_variance_ = variances[:n_bits]
        prepared = sample.map(lambda block: prepared_rows(block, mean, normalize=False))
        return fit_encoder(prepared, mean, self.components_.T, orthonormal=True)


def check_not_more_bits_than_features(name: str, n_bits: int, n_features: int) -> None:
    """Refuse codes longer than the vectors, with the quantizers that can make them."""
    if n_bits > n_features:
        raise ValueError(
            f"{name}(n_bits={n_bits}) needs at least {n_bits} features, X has {n_features}; "
            f"use IIQ(n_bits={n_bits}), which stacks several rotations, or LSH(n_bits={n_bits})"
        )


def _gaussian(n_bits: int, d: int, random: np.random.RandomState) -> Floats:
    return random.normal(size=(n_bits, d)) / np.sqrt(d)


def _orthogonal_blocks(n_bits: int, d: int, random: np.random.RandomState) -> Floats:
    blocks = [random_rotation(d, random) for _ in range(-(-n_bits // d))]
    return np.concatenate(blocks)[:n_bits]


def random_rotation(d: int, random: np.random.RandomState) -> Floats:
    """Orthogonal matrix drawn uniformly (Haar): Q of a Gaussian matrix, signs fixed by R.

    Parameters
    ----------
    d : int
    random : RandomState

    Returns
    -------
    ndarray of float64, shape (d, d)
    """
    q, r = np.linalg.qr(random.normal(size=(d, d)))
    return q * np.where(np.diag(r) < 0, -1, 1)

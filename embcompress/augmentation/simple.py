"""Operators with few parameters, or none: offset, gain per dimension, bank of displacements."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress.augmentation.base import Operator, cast
from embcompress.augmentation.pairs import Pairs

__all__ = ["Diagonal", "DisplacementBank", "Offset"]

Floats = npt.NDArray[np.floating]


class Offset(Operator):
    """The mean displacement, for all embeddings alike: ``A(z) = z + offset``.

    Attributes
    ----------
    offset_ : ndarray of shape (d,)
    """

    _arrays: ClassVar[tuple[str, ...]] = ("offset_",)
    _leaves_out: ClassVar[bool] = True

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        self.offset_ = pairs.offset

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        return np.broadcast_to(cast(self.offset_, Z), Z.shape)

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
        return pairs.spread() + pairs.centred * (pairs.n / max(pairs.n - 1, 1))

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding: additions only."""
        return 0


class Diagonal(Operator):
    """A gain and an offset for each dimension, by least squares.

    ``A(z) = mean_aug + g (z - mean)`` with ``g = cov(z, z_aug) / var(z)`` per dimension; a
    dimension that does not vary keeps g = 1.

    Attributes
    ----------
    mean_, offset_ : ndarray of shape (d,)
    gain_ : ndarray of shape (d,)
        ``g - 1``.
    """

    _arrays: ClassVar[tuple[str, ...]] = ("mean_", "offset_", "gain_")
    _needs: ClassVar[int] = 3
    _leaves_out: ClassVar[bool] = True

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        C, R = pairs.sources.centred, pairs.centred
        squares = np.einsum("ij,ij->j", C, C, dtype=np.float64)
        products = np.einsum("ij,ij->j", C, R, dtype=np.float64)
        self.mean_, self.offset_ = pairs.sources.mean, pairs.offset
        gain = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)
        self.gain_ = gain.astype(C.dtype)

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        return (Z - cast(self.mean_, Z)) * cast(self.gain_, Z) + cast(self.offset_, Z)

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
        C = pairs.sources.centred
        squares = np.einsum("ij,ij->j", C, C)
        hat = np.square(C) / np.where(squares > 0, squares, 1) + 1 / pairs.n
        left = (pairs.centred - C * self.gain_) / np.maximum(1 - hat, 1e-7)
        return pairs.spread() + left.astype(C.dtype, copy=False)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        return self.n_features_in_


class DisplacementBank(Operator):
    """No fit: each embedding moves as a stored pair did, ``A(z) = z + (z_aug - z)_j``.

    Parameters
    ----------
    neighbors : int, optional
        Draw j among so many stored pairs whose inputs are nearest to the embedding. Default:
        among all.

    Attributes
    ----------
    bank_ : ndarray of shape (views * m, d)
        Displacements.
    keys_ : ndarray of shape (m, d), or None
        Inputs of the pairs, where `neighbors` needs them.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "neighbors": [Interval(Integral, 1, None, closed="left"), None]
    }
    _arrays: ClassVar[tuple[str, ...]] = ("bank_", "keys_")
    _leaves_out: ClassVar[bool] = True
    _predicts: ClassVar[bool] = False

    def __init__(self, neighbors: int | None = None) -> None:
        self.neighbors = neighbors

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        self.bank_ = pairs.displacements.reshape(-1, self.n_features_in_)
        self.keys_ = None if self.neighbors is None else pairs.sources.Z

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        rows = draw_rows(Z, len(self.bank_), self.keys_, self.neighbors, random)
        return cast(self.bank_, Z)[rows]

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Zero: the bank is the distribution of the displacements itself.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        return np.zeros_like(pairs.displacements)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding; additions only without `neighbors`."""
        return 0 if self.keys_ is None else self.keys_.size


def draw_rows(
    Z: Floats,
    n_stored: int,
    keys: Floats | None,
    neighbors: int | None,
    random: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """A stored row for each embedding: any, or one whose input is near.

    Parameters
    ----------
    Z : ndarray of shape (n, d)
    n_stored : int
        A multiple of the number of keys: all views of the first kind, then of the second.
    keys : ndarray of shape (m, d), or None
    neighbors : int, optional
    random : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    if keys is None or neighbors is None:
        return random.integers(0, n_stored, len(Z))
    keys = cast(keys, Z)
    distances = np.einsum("ij,ij->i", keys, keys) - 2 * (Z @ keys.T)
    k = min(neighbors, len(keys))
    near = np.argpartition(distances, k - 1, axis=1)[:, :k]
    rows = near[np.arange(len(Z)), random.integers(0, k, len(Z))]
    return rows + len(keys) * random.integers(0, n_stored // len(keys), len(Z))

"""A gain for each dimension, and ridge regression of what gains leave over."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from embcompress.augmentation.base import Operator, cast
from embcompress.augmentation.linear import ResidualRidge, affine, affine_macs, share_left
from embcompress.augmentation.pairs import Pairs
from embcompress.augmentation.simple import Diagonal

__all__ = ["GainRidge"]

Floats = npt.NDArray[np.floating]


class GainRidge(Operator):
    """Gains, then ridge: ``A(z) = z + offset + gain * (z - mean) + (z - mean) W``.

    Gains are those of :class:`Diagonal`, ``W`` is :class:`ResidualRidge` fitted to what they
    leave over. As the penalty grows, A goes to the diagonal operator, not to the identity: with
    fewer pairs than dimensions, ridge alone leaves the directions that no pair shows as they are,
    while an augmentation shrinks or stretches them too.

    Parameters
    ----------
    penalty : float, "loo" or "gcv", default 0.3
        As in :class:`ResidualRidge`. The fixed default was chosen by the accuracy of heads on
        augmented photographs; leaving out one pair chooses more, which serves them less.

    Attributes
    ----------
    mean_, offset_, gain_ : ndarray of shape (d,)
    inner_ : ndarray of shape (d, r)
    outer_ : ndarray of shape (r, d), or None
        ``W = inner_ @ outer_``, as in :class:`ResidualRidge`.
    penalty_ : float
    loo_ : float
        Error as a share of the displacement, each pair left out of the ridge, not of the gains.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.augmentation import GainRidge
    >>> Z = np.random.default_rng(0).normal(size=(20, 64))
    >>> operator = GainRidge().fit(Z, 0.5 * Z)
    >>> bool(np.allclose(operator.transform(Z + 1), 0.5 * Z + 0.5))
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "penalty": ResidualRidge._parameter_constraints["penalty"]
    }
    _arrays: ClassVar[tuple[str, ...]] = ("mean_", "offset_", "gain_", "inner_", "outer_")
    _needs: ClassVar[int] = 3
    _leaves_out: ClassVar[bool] = True

    def __init__(self, penalty: float | str = 0.3) -> None:
        self.penalty = penalty

    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        gains = Diagonal().learn(pairs, random)
        rest = self._rest(pairs, gains.gain_)
        ridge = ResidualRidge(penalty=self.penalty).learn(rest, random)
        self.mean_, self.offset_, self.gain_ = gains.mean_, gains.offset_, gains.gain_
        self.inner_, self.outer_, self.penalty_ = ridge.inner_, ridge.outer_, ridge.penalty_
        self.loo_ = share_left(ridge.residuals(rest, random), pairs)

    @staticmethod
    def _rest(pairs: Pairs, gain: Floats) -> Pairs:
        """Pairs without what the gains explain; their mean displacement stays."""
        rest = pairs.take(np.arange(pairs.n), pairs.sources)
        rest.displacements = rest.displacements - pairs.sources.centred * gain
        return rest

    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        out = affine(Z, self.mean_, self.offset_, self.inner_, self.outer_)
        out += (Z - cast(self.mean_, Z)) * cast(self.gain_, Z)
        return out

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Residuals, each pair left out of the ridge; see :meth:`Operator.residuals`.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        rest = self._rest(pairs, self.gain_)
        ridge = ResidualRidge(penalty=self.penalty)
        ridge.penalty_ = self.penalty_
        return ridge.residuals(rest, random)

    @property
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""
        return affine_macs(self.inner_, self.outer_) + self.n_features_in_

"""Samples around few rows, with statistics borrowed from classes that have many."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress.augmentation.operations import STRENGTH, Operation, Pool

__all__ = ["Calibrated"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]


class Calibrated(Operation):
    """Draw from a normal distribution that the nearest base classes lend their spread to.

    After arXiv:2101.06395. In the space of ``x^power``: the mean is that of the row and the means
    of its `neighbors` nearest base classes; the covariance is the mean of theirs, plus `extra`
    in every entry. The draw, mapped back, replaces the row; with a strength below 1 the view lies
    on the way to it. Base classes are those that :meth:`fit` gets; without it those of the batch.

    Parameters
    ----------
    strength : float, default 1
    neighbors : int, default 2
    extra : float, default 0.21
    power : float, default 0.5
        A root needs features of at least 0; 1 leaves them alone.
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "strength": [Interval(Real, 0, 1, closed="both")],
        "neighbors": [Interval(Integral, 1, None, closed="left")],
        "extra": STRENGTH,
        "power": [Interval(Real, 0, None, closed="neither")],
        "p": [Interval(Real, 0, 1, closed="both")],
    }
    _uses_classes: ClassVar[bool] = True

    def __init__(
        self,
        strength: float = 1.0,
        *,
        neighbors: int = 2,
        extra: float = 0.21,
        power: float = 0.5,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.strength = strength
        self.neighbors = neighbors
        self.extra = extra
        self.power = power
        self.p = p
        self.random_state = random_state

    @property
    def _still(self) -> bool:
        return self.strength == 0

    def _views(
        self, rows: Floats, labels: Array | None, pool: Pool, random: np.random.Generator
    ) -> tuple[Floats, Any]:
        # labels of the rows may be other classes than those that lend their spread
        moved = self._move(rows, np.zeros(len(rows), dtype=np.int64), pool, random)
        same = random.random(len(rows)) >= self.p
        moved[same] = rows[same]
        return moved, labels

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        x = self._rooted(X)
        base = Pool(self._rooted(pool.X), pool.y)
        means = base.means()
        k = min(int(self.neighbors), len(means))
        distances = np.einsum("ij,ij->i", means, means) - 2 * (x @ means.T)
        near = np.argpartition(distances, k - 1, axis=1)[:, :k]
        draw = (x + means[near].sum(axis=1)) / (k + 1)
        for column in near.T:
            draw += _spread(base, means, column, random) / np.sqrt(x.dtype.type(k))
        # the same amount in every entry of the covariance is one number added to all dimensions
        common = random.standard_normal((len(x), 1), dtype=x.dtype.type)
        draw += common * np.sqrt(x.dtype.type(self.extra))
        if self.power != 1:
            draw = np.power(np.maximum(draw, 0), 1 / x.dtype.type(self.power))
        return X + X.dtype.type(self.strength) * (draw - X)

    def _rooted(self, X: Floats) -> Floats:
        if self.power == 1:
            return X
        if X.min(initial=0) < 0:
            raise ValueError(
                f"X has negative features (least {X.min():.3g}), of which power={self.power} "
                "is not defined; use power=1"
            )
        return np.power(X, X.dtype.type(self.power))


def _spread(base: Pool, means: Floats, chosen: Array, random: np.random.Generator) -> Floats:
    """Normal noise with the biased covariance of the chosen class of each row."""
    out = np.zeros((len(chosen), means.shape[1]), dtype=means.dtype)
    for number in np.unique(chosen):
        rows = np.flatnonzero(chosen == number)
        members = (base.members(int(number)) - means[number]) / np.sqrt(base.counts[number])
        weights = random.standard_normal((len(rows), len(members)), dtype=means.dtype.type)
        out[rows] = weights @ members.astype(means.dtype)
    return out

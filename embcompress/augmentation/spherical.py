"""Along great circles, for embeddings of length 1."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress.augmentation.mixing import ALONE, NEIGHBORS, SHARE, neighbors
from embcompress.augmentation.operations import Operation, Pool

__all__ = ["Slerp", "slerp"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]


class Slerp(Operation):
    """Along the great circle towards a row of the same class, for embeddings of length 1.

    Part t ~ U(0, strength) of the angle; lengths are interpolated, so unit rows stay unit rows.

    Parameters
    ----------
    strength : float, default 0.5
    neighbors : int, optional
        Default: all rows of the class.
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "strength": [Interval(Real, 0, 1, closed="both")],
        "neighbors": NEIGHBORS,
        "p": SHARE,
    }
    _uses_classes: ClassVar[bool] = True
    _alone = ALONE

    def __init__(
        self,
        strength: float = 0.5,
        *,
        neighbors: int | None = None,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.strength = strength
        self.neighbors = neighbors
        self.p = p
        self.random_state = random_state

    @property
    def _still(self) -> bool:
        return self.strength == 0

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        other = pool.X[neighbors(X, numbers, pool, self.neighbors, random)]
        t = random.uniform(0, self.strength, (len(X), 1))
        return slerp(X, other, t)


def slerp(A: Floats, B: Floats, t: npt.ArrayLike) -> Floats:
    """Spherical interpolation of rows, with lengths interpolated.

    Parameters
    ----------
    A, B : ndarray of shape (n, d)
    t : array-like of shape (n, 1) or ()
        0 is exactly A.

    Returns
    -------
    ndarray of shape (n, d), dtype of `A`
    """
    share = np.broadcast_to(np.asarray(t, dtype=np.float64), (len(A), 1))
    length_a, length_b = (np.linalg.norm(M, axis=1, keepdims=True) for M in (A, B))
    unit_a, unit_b = A / np.where(length_a, length_a, 1), B / np.where(length_b, length_b, 1)
    cosine = np.einsum("ij,ij->i", unit_a, unit_b, dtype=np.float64)[:, None]
    angle = np.arccos(np.clip(cosine, -1, 1))
    sine = np.sin(angle)
    flat = sine < 1e-4  # nearly the same direction, or opposite ones: straight on
    safe = np.where(flat, 1, sine)
    weight_a = np.where(flat, 1 - share, np.sin((1 - share) * angle) / safe)
    weight_b = np.where(flat, share, np.sin(share * angle) / safe)
    length = (1 - share) * length_a + share * length_b
    out = (length * (weight_a * unit_a + weight_b * unit_b)).astype(A.dtype)
    same = (share == 0)[:, 0]
    out[same] = A[same]
    return out

"""Operations that move a row towards others, or away from them."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.utils._param_validation import Interval

from embcompress.augmentation.labels import as_soft, class_index
from embcompress.augmentation.operations import STRENGTH, Operation, Pool

__all__ = [
    "ALONE",
    "NEIGHBORS",
    "SHARE",
    "Delta",
    "Extrapolate",
    "Interpolate",
    "Mixup",
    "Smote",
    "neighbors",
]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]

SHARE: list[Any] = [Interval(Real, 0, 1, closed="both")]
NEIGHBORS: list[Any] = [Interval(Integral, 1, None, closed="left"), None]
ALONE = "it stays as it is"


class Mixup(Operation):
    """Mixture of two rows: ``lam x + (1 - lam) x_other``, ``lam ~ Beta(alpha, alpha)``.

    Labels come out soft, a column per class, unless partners are of the same class. Variance
    shrinks by the factor ``(alpha + 1) / (2 alpha + 1)``.

    Parameters
    ----------
    alpha : float, default 1
        0: lam is 1, the identity.
    within_class : bool, default False
    classes : array-like of shape (n_classes,), optional
        Columns of the soft labels. Default: those of :meth:`fit`, else of the batch.
    keep_larger : bool, default False
        Take ``max(lam, 1 - lam)``, so that each row stays nearer to itself.
    one_per_batch : bool, default False
        One lam for all rows, as manifold mixup does.
    p : float, default 1
    random_state : int, Generator or None, default None

    Examples
    --------
    >>> import numpy as np
    >>> X, y = Mixup(random_state=0).augment(np.eye(4), np.array([0, 0, 1, 1]))
    >>> y.shape, bool(np.allclose(y.sum(axis=1), 1))
    ((4, 2), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "alpha": STRENGTH,
        "within_class": ["boolean"],
        "classes": ["array-like", None],
        "keep_larger": ["boolean"],
        "one_per_batch": ["boolean"],
        "p": SHARE,
    }
    _alone = ALONE

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        within_class: bool = False,
        classes: Any = None,
        keep_larger: bool = False,
        one_per_batch: bool = False,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.within_class = within_class
        self.classes = classes
        self.keep_larger = keep_larger
        self.one_per_batch = one_per_batch
        self.p = p
        self.random_state = random_state

    @property
    def _uses_classes(self) -> bool:  # type: ignore[override]
        return self.within_class

    @property
    def _still(self) -> bool:
        return self.alpha == 0

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Mixup:
        """Keep rows as partners, and their classes as the columns of soft labels.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        super().fit(X, y)
        self.classes_ = None if y is None else class_index(np.asarray(y))[0]
        self.labels_ = None if y is None else np.asarray(y)
        return self

    def _shares(self, n: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
        lam = random.beta(self.alpha, self.alpha, 1 if self.one_per_batch else n)
        if self.keep_larger:
            lam = np.maximum(lam, 1 - lam)
        lam = np.broadcast_to(lam, (n,)).copy()
        lam[random.random(n) >= self.p] = 1
        return lam

    def _views(
        self, rows: Floats, labels: Array | None, pool: Pool, random: np.random.Generator
    ) -> tuple[Floats, Any]:
        n = len(rows)
        lam = self._shares(n, random)
        same = pool.X is rows
        if self.within_class or not same:
            other = pool.partners(pool.numbers(labels, n), random, themselves=same)
        else:
            other = random.permutation(n)
        weights = lam[:, None].astype(rows.dtype)
        mixed = weights * rows + (1 - weights) * pool.X[other]
        mixed[lam == 1] = rows[lam == 1]
        if labels is None or self.within_class:
            return mixed, labels
        theirs = labels if same else self.labels_
        if theirs is None:
            raise ValueError("Mixup was fitted without y, so labels cannot be mixed")
        classes = self._columns(labels)
        ours, others = as_soft(labels, classes), as_soft(theirs, classes)[other]
        weights = lam[:, None].astype(ours.dtype)
        return mixed, weights * ours + (1 - weights) * others

    def _columns(self, labels: Array) -> Array:
        if self.classes is not None:
            return np.sort(np.asarray(self.classes))
        known = getattr(self, "classes_", None)
        return class_index(labels)[0] if known is None else known

    def augment(
        self, X: npt.ArrayLike, y: Any = None, *, random_state: Any = None
    ) -> tuple[Floats, Any]:
        """See :meth:`Operation.augment`; without `within_class` labels come out soft.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,) or (n, n_classes), optional
        random_state : int, Generator or None

        Returns
        -------
        X : ndarray of shape (n, d)
        y : ndarray of shape (n, n_classes), or as it came
        """
        rows, labels = super().augment(X, y, random_state=random_state)
        if labels is not None and not self.within_class:
            labels = as_soft(labels, self._columns(labels))
        return rows, labels

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        raise NotImplementedError("views are made with their labels")


class _Towards(Operation):
    """Operations with a partner of the same class."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "strength": STRENGTH,
        "neighbors": NEIGHBORS,
        "p": SHARE,
    }
    _uses_classes: ClassVar[bool] = True
    _alone = ALONE
    _step: ClassVar[float] = 1.0

    def __init__(
        self,
        strength: float = 0.5,
        *,
        neighbors: int | None = 10,
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

    def _factors(self, n: int, random: np.random.Generator) -> Any:
        return self._step * self.strength

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        other = neighbors(X, numbers, pool, self.neighbors, random)
        factors = np.asarray(self._factors(len(X), random), dtype=X.dtype)
        return X + factors * (pool.X[other] - X)


class Interpolate(_Towards):
    """Towards a near row of the same class: ``x + strength (x_k - x)``.

    After arXiv:1702.05538.

    Parameters
    ----------
    strength : float, default 0.5
    neighbors : int, optional
        How many nearest rows of the class the partner is drawn from. Default: 10; None: all.
    p : float, default 1
    random_state : int, Generator or None, default None
    """


class Extrapolate(_Towards):
    """Away from a near row of the same class: ``x + strength (x - x_k)``.

    After arXiv:1702.05538. With ``neighbors=0`` away from the mean of the class, ``x + strength
    (x - mean)``, whose variance within the class is larger by ``(1 + strength)^2``.

    Parameters
    ----------
    strength : float, default 0.5
    neighbors : int, optional
        Default: 10; None: all rows of the class; 0: the mean of the class.
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **_Towards._parameter_constraints,
        "neighbors": [Interval(Integral, 0, None, closed="left"), None],
    }
    _step: ClassVar[float] = -1.0

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        if self.neighbors == 0:
            return X + X.dtype.type(self.strength) * (X - pool.means()[numbers])
        return super()._move(X, numbers, pool, random)


class Smote(_Towards):
    """A random way towards one of the nearest rows of the same class, as SMOTE does.

    ``x + u (x_k - x)``, ``u ~ U(0, strength)``. With any row of the class as the partner and
    strength 1 the variance within the class shrinks to 2/3.

    Parameters
    ----------
    strength : float, default 1
    neighbors : int, optional
        Default: 5; None: all rows of the class.
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    def __init__(
        self,
        strength: float = 1.0,
        *,
        neighbors: int | None = 5,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        super().__init__(strength, neighbors=neighbors, p=p, random_state=random_state)

    def _factors(self, n: int, random: np.random.Generator) -> Any:
        return random.uniform(0, self.strength, (n, 1))


class Delta(Operation):
    """The difference of two other rows of the class: ``x + strength (x_1 - x_2)``.

    After arXiv:1910.04176. The variance within the class grows by ``1 + 2 strength^2``.

    Parameters
    ----------
    strength : float, default 0.5
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {"strength": STRENGTH, "p": SHARE}
    _uses_classes: ClassVar[bool] = True
    _alone = ALONE

    def __init__(self, strength: float = 0.5, *, p: float = 1.0, random_state: Any = None) -> None:
        self.strength = strength
        self.p = p
        self.random_state = random_state

    @property
    def _still(self) -> bool:
        return self.strength == 0

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        first = pool.partners(numbers, random, themselves=False)
        second = pool.partners(numbers, random, themselves=False)
        return X + X.dtype.type(self.strength) * (pool.X[first] - pool.X[second])


def neighbors(
    X: Floats, numbers: Array, pool: Pool, k: int | None, random: np.random.Generator
) -> npt.NDArray[np.int64]:
    """One of the `k` nearest rows of the same class, itself left out; any of them with None.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    numbers : ndarray of int, shape (n,)
    pool : Pool
    k : int, optional
    random : numpy.random.Generator

    Returns
    -------
    ndarray of int64, shape (n,)
        Rows of the pool; a row that is alone in its class gets itself.
    """
    themselves = pool.X is X
    if k is None:
        return pool.partners(numbers, random, themselves=themselves)
    out = np.empty(len(X), dtype=np.int64)
    for number in np.unique(numbers):
        rows, start = np.flatnonzero(numbers == number), pool.starts[number]
        members = pool.order[start : start + pool.counts[number]]
        others = pool.X[members]
        distances = np.einsum("ij,ij->i", others, others) - 2 * (X[rows] @ others.T)
        n_others = len(members) - themselves
        if themselves:
            distances[np.arange(len(rows)), np.searchsorted(members, rows)] = np.inf
        take = min(k, max(n_others, 1))
        near = np.argpartition(distances, take - 1, axis=1)[:, :take]
        chosen = near[np.arange(len(rows)), random.integers(0, take, len(rows))]
        out[rows] = members[chosen]
    return out

"""What operations without fitting on pairs share, and the noise among them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_consistent_length

from embcompress.augmentation.base import generator
from embcompress.augmentation.labels import as_soft, class_index
from embcompress.augmentation.pairs import checked_rows

__all__ = ["STRENGTH", "ChannelAffine", "GaussianNoise", "Operation", "Pool"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]

STRENGTH: list[Any] = [Interval(Real, 0, None, closed="left")]


class Pool:
    """Rows that partners and statistics are taken from, by class.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, n_classes), or None
        Without labels all rows are one class.
    """

    def __init__(self, X: Floats, y: Array | None) -> None:
        self.X, self.y = X, y
        self.classes: Array = np.zeros(1)
        self.index = np.zeros(len(X), dtype=np.int64)
        if y is not None:
            self.classes, self.index = class_index(y)
        # rows of one class lie side by side in this order
        self.order = np.argsort(self.index, kind="stable")
        self.counts = np.bincount(self.index, minlength=len(self.classes))
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])

    def numbers(self, y: Array | None, n: int) -> npt.NDArray[np.int64]:
        """Class number in the pool of each of `n` labels; `ValueError` if one is not there."""
        if self.y is None or y is None:
            return np.zeros(n, dtype=np.int64)
        soft = as_soft(y, self.classes)
        return soft.argmax(axis=1)

    def members(self, number: int) -> Floats:
        """Rows of one class."""
        start = self.starts[number]
        return self.X[self.order[start : start + self.counts[number]]]

    def means(self) -> Floats:
        """Mean of each class, shape (n_classes, d); zero for empty ones."""
        sums = np.zeros((len(self.classes), self.X.shape[1]))
        np.add.at(sums, self.index, self.X)
        return (sums / np.maximum(self.counts, 1)[:, None]).astype(self.X.dtype)

    def partners(
        self, numbers: npt.NDArray[np.int64], random: np.random.Generator, *, themselves: bool
    ) -> npt.NDArray[np.int64]:
        """A random row of the same class for each row.

        Parameters
        ----------
        numbers : ndarray of int, shape (n,)
            Classes.
        random : numpy.random.Generator
        themselves : bool
            Whether the n rows are those of the pool, in order: then none is its own partner,
            unless it is alone.

        Returns
        -------
        ndarray of int64, shape (n,)
        """
        counts = np.maximum(self.counts[numbers], 1)
        if themselves:
            place = np.empty(len(self.X), dtype=np.int64)
            place[self.order] = np.arange(len(self.X))
            step = 1 + random.integers(0, np.maximum(counts - 1, 1))
            within = (place - self.starts[numbers] + step) % counts
        else:
            within = random.integers(0, counts)
        return self.order[self.starts[numbers] + within]


class Operation(BaseEstimator, ABC):
    """Another view of rows, made from the rows themselves and from others of their class.

    Partners and statistics come from the rows that :meth:`fit` got, else from the batch itself.
    Strength 0 is exactly the identity. Fit on training folds only.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    _uses_classes: ClassVar[bool] = False

    p: float
    random_state: Any

    @abstractmethod
    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        """Views of rows whose class numbers are given."""

    @property
    @abstractmethod
    def _still(self) -> bool:
        """Whether the parameters make it the identity."""

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Operation:
        """Keep rows for partners and statistics.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        self._validate_params()
        self.pool_ = self._pool(checked_rows(X, "X"), y)
        return self

    def augment(
        self, X: npt.ArrayLike, y: Any = None, *, random_state: Any = None
    ) -> tuple[Floats, Any]:
        """One view of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,) or (n, n_classes), optional
            Some operations need it.
        random_state : int, Generator or None
            Default: that of the constructor.

        Returns
        -------
        X : ndarray of shape (n, d)
            float32 stays float32.
        y : ndarray of shape (n,), as it came; (n, n_classes) from operations that mix classes

        Raises
        ------
        ValueError
            If `X` is not finite, or `y` is missing or has a class that :meth:`fit` did not see.
        """
        self._validate_params()
        rows = checked_rows(X, "X")
        labels = None if y is None else np.asarray(y)
        random = generator(self.random_state if random_state is None else random_state)
        pool = getattr(self, "pool_", None) or self._pool(rows, labels)
        if self._uses_classes and labels is None:
            raise ValueError(f"{type(self).__name__} needs y, the classes of the rows")
        if self._still:
            return rows.copy(), labels
        return self._views(rows, labels, pool, random)

    def _views(
        self, rows: Floats, labels: Array | None, pool: Pool, random: np.random.Generator
    ) -> tuple[Floats, Any]:
        moved = self._move(rows, pool.numbers(labels, len(rows)), pool, random)
        if self.p < 1:
            same = random.random(len(rows)) >= self.p
            moved[same] = rows[same]
        return moved, labels

    def fit_resample(self, X: npt.ArrayLike, y: Any, *, n_views: int = 1) -> tuple[Floats, Array]:
        """Rows and `n_views` views of them, originals first.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        n_views : int, default 1

        Returns
        -------
        X : ndarray of shape (n * (1 + n_views), d)
        y : ndarray of shape (n * (1 + n_views),), or with a column per class where views are soft
        """
        random = generator(self.random_state)
        rows, labels = checked_rows(X, "X"), np.asarray(y)
        check_consistent_length(rows, labels)
        parts, tiled = [rows], [labels]
        for _ in range(n_views):
            views, changed = self.augment(rows, labels, random_state=random)
            parts.append(views)
            tiled.append(changed)
        if any(part.ndim == 2 for part in tiled):
            classes = np.unique(labels)
            tiled = [as_soft(part, classes) for part in tiled]
        return np.concatenate(parts), np.concatenate(tiled)

    def _pool(self, X: Floats, y: Any) -> Pool:
        labels = None if y is None else np.asarray(y)
        if labels is not None:
            check_consistent_length(X, labels)
        pool = Pool(X, labels if self._uses_classes else None)
        alone = pool.classes[pool.counts == 1]
        if self._uses_classes and labels is not None and len(alone) and hasattr(self, "_alone"):
            warnings.warn(
                f"{type(self).__name__}: class {alone[0]!s} has one sample: {self._alone}",
                UserWarning,
                stacklevel=3,
            )
        return pool


class GaussianNoise(Operation):
    """Normal noise, of the size of the spread of the rows.

    Variance grows by the factor ``1 + scale^2``.

    Parameters
    ----------
    scale : float, default 0.1
        Standard deviation of the noise over that of the rows.
    kind : {"isotropic", "dimension", "class"}, default "dimension"
        One spread for all dimensions; that of each dimension; or noise with the covariance of
        the row's class, drawn as random sums of its centred members.
    p : float, default 1
        Probability that a row is moved.
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "scale": STRENGTH,
        "kind": [StrOptions({"isotropic", "dimension", "class"})],
        "p": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        scale: float = 0.1,
        *,
        kind: str = "dimension",
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.scale = scale
        self.kind = kind
        self.p = p
        self.random_state = random_state

    @property
    def _uses_classes(self) -> bool:  # type: ignore[override]
        return self.kind == "class"

    _alone = "noise has the covariance within all classes"

    @property
    def _still(self) -> bool:
        return self.scale == 0

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        scale = X.dtype.type(self.scale)
        if self.kind == "class":
            return X + scale * class_noise(X, numbers, pool, random)
        noise = random.standard_normal(X.shape, dtype=X.dtype.type)
        variances = pool.X.var(axis=0, dtype=np.float64)
        if self.kind == "isotropic":
            variances = variances.mean()
        noise *= scale * np.sqrt(variances).astype(X.dtype)
        noise += X
        return noise


class ChannelAffine(Operation):
    """A random gain and offset per dimension, in the manner of frozen feature augmentation.

    ``x * (1 + U(-gain, gain)) + N(0, offset * deviation)`` (after the description of
    arXiv:2403.10519).

    Parameters
    ----------
    gain : float, default 0.1
    offset : float, default 0.1
        In standard deviations of the dimension.
    shared : bool, default False
        One draw for all rows of a batch, instead of one for each row.
    p : float, default 1
    random_state : int, Generator or None, default None
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "gain": STRENGTH,
        "offset": STRENGTH,
        "shared": ["boolean"],
        "p": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        gain: float = 0.1,
        offset: float = 0.1,
        *,
        shared: bool = False,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.gain = gain
        self.offset = offset
        self.shared = shared
        self.p = p
        self.random_state = random_state

    @property
    def _still(self) -> bool:
        return self.gain == 0 and self.offset == 0

    def _move(self, X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
        shape = (1, X.shape[1]) if self.shared else X.shape
        kind, deviations = X.dtype.type, pool.X.std(axis=0, dtype=np.float64).astype(X.dtype)
        gains = 1 + kind(self.gain) * (2 * random.random(shape, dtype=kind) - 1)
        offsets = random.standard_normal(shape, dtype=kind) * (kind(self.offset) * deviations)
        return X * gains + offsets


def class_noise(X: Floats, numbers: Array, pool: Pool, random: np.random.Generator) -> Floats:
    """Normal noise with the (biased) covariance of each row's class.

    A class with one member gets the covariance within all classes.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    numbers : ndarray of int, shape (n,)
    pool : Pool
    random : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, d), dtype of `X`
    """
    out = np.empty_like(X)
    centred = pool.X - pool.means()[pool.index]
    for number in np.unique(numbers):
        rows = np.flatnonzero(numbers == number)
        members = centred
        if pool.counts[number] > 1:
            start = pool.starts[number]
            members = centred[pool.order[start : start + pool.counts[number]]]
        weights = random.standard_normal((len(rows), len(members)), dtype=X.dtype.type)
        out[rows] = weights @ (members / np.sqrt(X.dtype.type(len(members))))
    return out

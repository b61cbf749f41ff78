"""Several operations in a row, or one of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from embcompress.augmentation.base import generator
from embcompress.augmentation.labels import as_soft
from embcompress.augmentation.pairs import checked_rows
from embcompress.augmentation.streams import Augments

__all__ = ["Compose", "OneOf"]

Floats = npt.NDArray[np.floating]


class Compose(BaseEstimator):
    """Operations one after the other, such as a fitted augmenter and then noise.

    Parameters
    ----------
    operations : sequence
        Of augmenters, operations and policies: whatever has ``augment``.
    random_state : int, Generator or None, default None

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.augmentation import Compose, GaussianNoise, Mixup
    >>> X = np.random.default_rng(0).normal(size=(6, 3))
    >>> views, soft = Compose([GaussianNoise(0.2), Mixup()], random_state=0).augment(X, [0, 1] * 3)
    >>> soft.shape
    (6, 2)
    """

    def __init__(self, operations: Sequence[Augments], *, random_state: Any = None) -> None:
        self.operations = operations
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: Any = None) -> Compose:
        """Let the operations without pairs keep rows; fitted augmenters stay as they are.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        fit_operations(self.operations, X, y)
        return self

    def augment(
        self, X: npt.ArrayLike, y: Any = None, *, random_state: Any = None
    ) -> tuple[Floats, Any]:
        """One view of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,) or (n, n_classes), optional
        random_state : int, Generator or None

        Returns
        -------
        X : ndarray of shape (n, d)
        y : ndarray, or None
            Soft after an operation that mixes classes.
        """
        random = generator(self.random_state if random_state is None else random_state)
        rows: Any = checked_rows(X, "X")
        labels = None if y is None else np.asarray(y)
        for operation in self.operations:
            rows, labels = operation.augment(rows, labels, random_state=random)
        return rows, labels


class OneOf(BaseEstimator):
    """For each row one operation, drawn at random.

    Parameters
    ----------
    operations : sequence
        Whatever has ``augment``.
    weights : array-like of shape (n_operations,), optional
        Default: all alike.
    p : float, default 1
        Probability that a row is moved at all.
    random_state : int, Generator or None, default None
    """

    def __init__(
        self,
        operations: Sequence[Augments],
        *,
        weights: npt.ArrayLike | None = None,
        p: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.operations = operations
        self.weights = weights
        self.p = p
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: Any = None) -> OneOf:
        """See :meth:`Compose.fit`.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,), optional

        Returns
        -------
        self
        """
        fit_operations(self.operations, X, y)
        return self

    def augment(
        self, X: npt.ArrayLike, y: Any = None, *, random_state: Any = None
    ) -> tuple[Floats, Any]:
        """One view of each row.

        Every operation sees all rows, so that partners are found among all of them.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,) or (n, n_classes), optional
        random_state : int, Generator or None

        Returns
        -------
        X : ndarray of shape (n, d)
        y : ndarray, or None
            Soft for all rows if an operation mixes classes.

        Raises
        ------
        ValueError
            If there are no operations, or weights do not fit them.
        """
        random = generator(self.random_state if random_state is None else random_state)
        rows = checked_rows(X, "X")
        labels = None if y is None else np.asarray(y)
        chosen = random.choice(len(self.operations), len(rows), p=self._probabilities())
        chosen[random.random(len(rows)) >= self.p] = -1
        out = rows.copy()
        for number in np.unique(chosen[chosen >= 0]):
            views, changed = self.operations[number].augment(rows, y, random_state=random)
            here = chosen == number
            out[here] = views[here]
            if changed is not None and labels is not None:
                labels = _merged(labels, changed, here, y)
        return out, labels

    def _probabilities(self) -> npt.NDArray[np.float64]:
        n = len(self.operations)
        if n == 0:
            raise ValueError("OneOf has no operations; at least one is needed")
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, dtype=float)
        if weights.shape != (n,) or (weights < 0).any() or not weights.sum() > 0:
            raise ValueError(f"weights={self.weights!r}; {n} numbers of at least 0 are needed")
        return weights / weights.sum()


def fit_operations(operations: Sequence[Any], X: Any, y: Any) -> None:
    """Fit what learns from rows and labels; augmenters learn from pairs and are left alone."""
    for operation in operations:
        if not hasattr(operation, "fit_pairs"):
            operation.fit(X, y)


def _merged(labels: Any, changed: Any, here: npt.NDArray[np.bool_], y: Any) -> Any:
    changed = np.asarray(changed)
    if changed.ndim == 2 and labels.ndim == 1:
        labels = as_soft(labels, np.unique(np.asarray(y)))
    elif changed.ndim == 1 and labels.ndim == 2:
        changed = as_soft(changed, np.unique(np.asarray(y)))
    labels = labels.copy()
    labels[here] = changed[here]
    return labels

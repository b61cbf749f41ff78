"""Augmented batches made on the way, for training without holding any view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_consistent_length

from embcompress.augmentation.base import generator
from embcompress.augmentation.labels import as_soft, to_weighted

__all__ = ["AugmentedBatches", "Augments"]

Floats = npt.NDArray[np.floating]
Array = npt.NDArray[Any]


class Augments(Protocol):
    """What gives another view of rows: an augmenter, an operation, a policy."""

    def augment(self, X: Any, y: Any = None, *, random_state: Any = None) -> tuple[Any, Any]:
        """One view of each row, and its label."""


class AugmentedBatches:
    """Batches of embeddings, augmented anew in each pass.

    Made for :meth:`embcompress.heads.LinearHead.fit_batches`: each ``iter`` starts a new pass with
    fresh views, in the same order of draws for the same seed. Only one batch is held.

    Parameters
    ----------
    augment : EmbeddingAugmenter, operation or policy
    X : array of shape (n, d)
        Anything whose rows can be taken by an array of positions: an array, a memory map, an
        :class:`EmbeddingCache`.
    y : array-like of shape (n,)
    batch_size : int, default 64
        Rows taken from `X` for each batch.
    n_views : int, default 1
        Times that each of them is in the batch, each time as another view.
    p_keep : float, default 0.5
        Probability that a row stays as it is.
    shuffle : bool, default True
    random_state : int, Generator or None

    Raises
    ------
    ValueError
        If there are no rows, not as many labels, or a number is out of range.
    """

    def __init__(
        self,
        augment: Augments,
        X: Any,
        y: npt.ArrayLike,
        *,
        batch_size: int = 64,
        n_views: int = 1,
        p_keep: float = 0.5,
        shuffle: bool = True,
        random_state: Any = None,
    ) -> None:
        self.y = np.asarray(y)
        check_consistent_length(X, self.y)
        if len(self.y) == 0:
            raise ValueError("X has 0 rows; at least one is needed")
        if batch_size < 1 or n_views < 1:
            raise ValueError(f"batch_size={batch_size} and n_views={n_views} must be at least 1")
        if not 0 <= p_keep <= 1:
            raise ValueError(f"p_keep={p_keep} must be between 0 and 1")
        self.augment = augment
        self.X = X
        self.batch_size = int(batch_size)
        self.n_views = int(n_views)
        self.p_keep = float(p_keep)
        self.shuffle = shuffle
        self.classes = np.unique(self.y) if self.y.ndim == 1 else np.arange(self.y.shape[1])
        self._seed = int(generator(random_state).integers(2**63))
        self._passes = 0

    def __len__(self) -> int:
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        random = np.random.default_rng([self._seed, self._passes])
        self._passes += 1
        n = len(self.y)
        order = random.permutation(n) if self.shuffle else np.arange(n)
        for start in range(0, n, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield self._batch(
                np.tile(np.asarray(self.X[rows]), (self.n_views, 1)),
                np.concatenate([self.y[rows]] * self.n_views),
                random,
            )

    def _batch(self, X: Floats, y: Array, random: np.random.Generator) -> tuple[Any, ...]:
        """Rows and labels; with weights where labels are soft, which heads do not take."""
        changed = np.flatnonzero(random.random(len(X)) >= self.p_keep)
        if len(changed):
            views, labels = self.augment.augment(X[changed], y[changed], random_state=random)
            if np.ndim(labels) == 2 and y.ndim == 1:
                y = as_soft(y, self.classes)
            X = X.astype(np.result_type(X, views), copy=False)
            # longer names of classes may come out of label maps
            X[changed], y = views, y.astype(np.result_type(y, np.asarray(labels)))
            y[changed] = labels
        return (X, y) if y.ndim == 1 else to_weighted(X, y, self.classes)

"""The closed form of infinitely many normal augmentations of a linear head (ISDA)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.augmentation.pairs import checked_rows

__all__ = ["ClassCovariance", "isda_logits"]


def isda_logits(logits: Any, weight: Any, covariances: Any, y: Any, strength: float) -> Any:
    """Logits whose cross-entropy bounds that of noise with the covariance of the class.

    ``logits_j + strength / 2 (w_j - w_y)^T S_y (w_j - w_y)``; their cross-entropy is at least the
    mean cross-entropy over ``x + N(0, strength S_y)`` (arXiv:1909.12220). Works on arrays and on
    tensors, through which gradients flow.

    Parameters
    ----------
    logits : array or tensor of shape (n, n_classes)
    weight : array or tensor of shape (n_classes, d)
        Of the linear head.
    covariances : array or tensor of shape (n_classes, d) or (n_classes, d, d)
        Diagonals, or full matrices.
    y : integer array or tensor of shape (n,)
        Number of each row's class.
    strength : float
        At least 0; 0 gives the logits. Usually grows over the epochs, up to about 0.5.

    Returns
    -------
    array or tensor of shape (n, n_classes)

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    n_classes, d = weight.shape
    if tuple(covariances.shape) not in ((n_classes, d), (n_classes, d, d)):
        raise ValueError(
            f"covariances have shape {tuple(covariances.shape)}; ({n_classes}, {d}) or "
            f"({n_classes}, {d}, {d}) is needed"
        )
    if tuple(logits.shape) != (len(y), n_classes):
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; ({len(y)}, {n_classes}) is needed"
        )
    if strength < 0:
        raise ValueError(f"strength={strength} is negative")
    if strength == 0:
        return logits
    apart = weight[None, :, :] - weight[:, None, :]  # [y, j] = w_j - w_y
    if covariances.ndim == 3:
        squares = ((apart @ covariances) * apart).sum(-1)
    else:
        squares = (apart * apart * covariances[:, None, :]).sum(-1)
    return logits + strength / 2 * squares[y]


class ClassCovariance:
    """Mean and (biased) covariance of each class, from batches that come one by one.

    Parameters
    ----------
    n_classes : int
    n_features : int
    full : bool, default False
        Whole matrices instead of their diagonals.

    Attributes
    ----------
    counts : ndarray of shape (n_classes,)
    means : ndarray of shape (n_classes, d)
    covariances : ndarray of float64, shape (n_classes, d) or (n_classes, d, d)

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 2
    >>> running = ClassCovariance(2, 3)
    >>> for part in np.split(np.arange(100), 4):
    ...     running.update(X[part], y[part])
    >>> bool(np.allclose(running.covariances[1], X[y == 1].var(axis=0)))
    True
    """

    def __init__(self, n_classes: int, n_features: int, *, full: bool = False) -> None:
        self.counts = np.zeros(n_classes)
        self.means = np.zeros((n_classes, n_features))
        shape = (n_classes, n_features, n_features) if full else (n_classes, n_features)
        self.covariances = np.zeros(shape)

    def update(self, X: npt.ArrayLike, y: npt.ArrayLike) -> None:
        """Add rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of int, shape (n,)
            Numbers of classes.
        """
        rows, numbers = checked_rows(X, "X").astype(np.float64), np.asarray(y)
        for number in np.unique(numbers):
            part = rows[numbers == number]
            mean = part.mean(axis=0)
            apart, centred = mean - self.means[number], part - mean
            share = len(part) / (self.counts[number] + len(part))
            if self.covariances.ndim == 3:
                own, shift = centred.T @ centred / len(part), np.outer(apart, apart)
            else:
                own, shift = np.square(centred).mean(axis=0), np.square(apart)
            before = self.covariances[number]
            self.covariances[number] = (
                (1 - share) * before + share * own + share * (1 - share) * shift
            )
            self.means[number] += share * apart
            self.counts[number] += len(part)

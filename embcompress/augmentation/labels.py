"""Soft labels, and the weighted rows that say the same to a classifier of hard labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_soft", "class_index", "to_weighted"]

Array = npt.NDArray[Any]


def as_soft(y: Any, classes: Array, dtype: Any = np.float32) -> Array:
    """One column per class, 1 for the class of the row; soft labels stay as they are.

    Parameters
    ----------
    y : array-like of shape (n,) or (n, n_classes)
    classes : ndarray of shape (n_classes,)
        Sorted.
    dtype : data type, default float32

    Returns
    -------
    ndarray of shape (n, n_classes)

    Raises
    ------
    ValueError
        If a label is not among the classes.
    """
    labels = np.asarray(y)
    if labels.ndim == 2:
        return labels.astype(dtype, copy=False)
    positions = np.searchsorted(classes, labels)
    positions[positions == len(classes)] = 0
    if (classes[positions] != labels).any():
        unknown = labels[classes[positions] != labels][0]
        raise ValueError(f"y holds {unknown!r}, which is not one of the classes {list(classes)}")
    soft = np.zeros((len(labels), len(classes)), dtype=dtype)
    soft[np.arange(len(labels)), positions] = 1
    return soft


def class_index(y: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """Classes, and the number of each row's; that with the largest share for soft labels.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, n_classes)

    Returns
    -------
    classes : ndarray
    index : ndarray of int64, shape (n,)
    """
    labels = np.asarray(y)
    if labels.ndim == 2:
        return np.arange(labels.shape[1]), labels.argmax(axis=1)
    classes, index = np.unique(labels, return_inverse=True)
    return classes, index


def to_weighted(X: Array, soft: npt.ArrayLike, classes: Array) -> tuple[Array, Array, Array]:
    """Rows of hard labels with weights that have the same cross-entropy as soft labels.

    A row with shares of several classes becomes one row for each, weighted by the share.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
    soft : array-like of shape (n, n_classes)
    classes : ndarray of shape (n_classes,)

    Returns
    -------
    X : ndarray of shape (k, ...)
    y : ndarray of shape (k,)
    weights : ndarray of float64, shape (k,)

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0], [2.0]])
    >>> to_weighted(X, [[0.25, 0.75], [1, 0]], np.array(["a", "b"]))[1:]
    (array(['a', 'b', 'a'], dtype='<U1'), array([0.25, 0.75, 1.  ]))
    """
    shares = np.asarray(soft, dtype=np.float64)
    rows, columns = np.nonzero(shares)
    return X[rows], classes[columns], shares[rows, columns]

"""The form that imbalanced-learn's Pipeline takes: ``fit_resample`` and no ``transform``."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    from embcompress.augmentation.augmenter import EmbeddingAugmenter

__all__ = ["EmbeddingSampler"]


class EmbeddingSampler(BaseEstimator):
    """Augments in ``fit`` of a Pipeline of imbalanced-learn, and stays out of ``predict``.

    That Pipeline refuses steps with both ``transform`` and ``fit_resample``, which an augmenter
    has, and clones its steps, which would lose what was fitted; clones of this one keep it.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
        Fitted.
    n_views : int, optional
        Default: that of the augmenter.
    random_state : int, Generator or None, default None
        Default: that of the augmenter.
    """

    _estimator_type = "sampler"

    def __init__(
        self,
        augmenter: EmbeddingAugmenter,
        *,
        n_views: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.augmenter = augmenter
        self.n_views = n_views
        self.random_state = random_state

    def __sklearn_clone__(self) -> EmbeddingSampler:
        return copy.copy(self)

    def fit(self, X: npt.ArrayLike, y: Any) -> EmbeddingSampler:
        """Do nothing: the augmenter is fitted.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        return self

    def fit_resample(
        self, X: npt.ArrayLike, y: Any
    ) -> tuple[npt.NDArray[np.floating], npt.NDArray[Any]]:
        """Rows and views of them, originals first.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)

        Returns
        -------
        X : ndarray of shape (n * (1 + n_views), d)
        y : ndarray of shape (n * (1 + n_views),)
        """
        return self.augmenter.fit_resample(
            X, y, n_views=self.n_views, random_state=self.random_state
        )

"""What a trained head is asked for: classes, probabilities, a compiled program."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from embcompress.runtime import Program

__all__ = ["Predicting"]

Array = npt.NDArray[Any]


class Predicting(ClassifierMixin):
    """Predictions of a head, all from its logits."""

    classes_: Array

    @abstractmethod
    def _logits(self, X: Any) -> Array:
        """Logits of inputs, shape (n_samples, n_classes)."""

    def predict(self, X: Any) -> Array:
        """Most probable class of each row.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        scores = self._logits(X)
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: Any) -> Array:
        """Probability of each class.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        scores = self._logits(X)
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def decision_function(self, X: Any) -> Array:
        """Logits, before they become probabilities.

        Parameters
        ----------
        X : array-like

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes), or (n_samples,)
            With two classes the logit of the second minus that of the first.
        """
        scores = self._logits(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def compile(
        self,
        *,
        precision: Literal["float32", "int8"] = "float32",
        calibration: Any = None,
        batch_size: int = 1,
        tune: bool = False,
    ) -> Program:
        """Compile the head into a program that runs without PyTorch.

        Parameters
        ----------
        precision : {"float32", "int8"}, default "float32"
        calibration : array-like, optional
            Inputs as :meth:`predict` takes them, which set the scales of int8.
        batch_size : int, default 1
            How many rows mostly come at a time.
        tune : bool, default False
            Choose layouts by time on this machine.

        Returns
        -------
        Program
            Standardizes and predicts as the head does; weights that pruning took are not there.
            See :func:`embcompress.runtime.compile`.

        Raises
        ------
        ValueError
            If a layer cannot be compiled, or the calibration does not fit.
        """
        from embcompress.runtime import compile as compile_program

        check_is_fitted(self)
        return compile_program(
            self, precision=precision, calibration=calibration, batch_size=batch_size, tune=tune
        )

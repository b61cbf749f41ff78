"""What all operators that are fitted on pairs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from embcompress.augmentation.pairs import Pairs, Sources, checked_rows

__all__ = ["Operator", "cast", "check_width", "chunks", "generator"]

Floats = npt.NDArray[np.floating]

# Rows per step: temporaries of a few thousand rows stay in the caches
_CHUNK_ROWS = 2_048


def generator(random_state: Any) -> np.random.Generator:
    """Make a numpy generator of a seed; one that is given is used as it is.

    Parameters
    ----------
    random_state : int, sequence of int, Generator, RandomState or None

    Returns
    -------
    numpy.random.Generator
    """
    if isinstance(random_state, np.random.RandomState):
        random_state = int(random_state.randint(2**31))
    return np.random.default_rng(random_state)


def check_width(Z: Floats, n_features: int, name: str) -> None:
    """Compare columns; `ValueError` if they are not as many as in fit."""
    if Z.shape[1] != n_features:
        raise ValueError(
            f"Z has {Z.shape[1]} features, but {name} is expecting {n_features} features as input"
        )


class Operator(BaseEstimator, ABC):
    """Moves embeddings to where those of augmented inputs lie: ``A(z) = z + displacement(z)``.

    Attributes
    ----------
    n_features_in_ : int
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    # learned arrays, by attribute, that a file holds; None where an operator does without one
    _arrays: ClassVar[tuple[str, ...]] = ()
    # pairs below which the form cannot be fitted, and what is fitted instead
    _needs: ClassVar[int] = 1
    _instead: ClassVar[str] = "offset"
    # whether residuals() leaves each pair out, and whether there is a prediction at all
    _leaves_out: ClassVar[bool] = False
    _predicts: ClassVar[bool] = True

    n_features_in_: int

    @abstractmethod
    def _learn(self, pairs: Pairs, random: np.random.Generator) -> None:
        """Set the learned arrays."""

    @abstractmethod
    def _displace(self, Z: Floats, random: np.random.Generator, params: Any) -> Floats:
        """Displacement of each row of one chunk."""

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulate steps for one embedding."""

    def fit(self, Z: npt.ArrayLike, Z_aug: npt.ArrayLike, params: Any = None) -> Operator:
        """Learn from pairs.

        Parameters
        ----------
        Z : array-like of shape (m, d)
            Embeddings of inputs.
        Z_aug : array-like of shape (m, d) or (views, m, d)
            Row i: embedding of an augmented view of input i.
        params : array-like, optional
            Strength of each view, for operators that take one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If the pairs do not fit each other, are not finite, or too few for this form.
        """
        pairs = Pairs(Sources(checked_rows(Z)), Z_aug, params)
        if pairs.n < self._needs:
            raise ValueError(
                f"{type(self).__name__} needs at least {self._needs} pairs, got {pairs.n}; "
                f"use {self._instead!r}"
            )
        return self.learn(pairs, generator(getattr(self, "random_state", None)))

    def learn(self, pairs: Pairs, random: np.random.Generator) -> Operator:
        """As :meth:`fit`, from pairs that are checked and share their decomposition.

        Parameters
        ----------
        pairs : Pairs
        random : numpy.random.Generator

        Returns
        -------
        self
        """
        self._validate_params()
        self.n_features_in_ = pairs.sources.Z.shape[1]
        self._learn(pairs, random)
        return self

    def displacement(
        self, Z: npt.ArrayLike, *, params: Any = None, random_state: Any = None
    ) -> Floats:
        """How far, and in which direction, each embedding moves.

        Parameters
        ----------
        Z : array-like of shape (n, d)
        params : float, or array-like of shape (n,) or (n, p), optional
            Strengths, for operators that take them.
        random_state : int, Generator or None
            For operators that draw.

        Returns
        -------
        ndarray of shape (n, d), dtype of `Z`
        """
        check_is_fitted(self)
        rows, random = checked_rows(Z), generator(random_state)
        check_width(rows, self.n_features_in_, type(self).__name__)
        params = self._check_params(params, len(rows), random)
        out = np.empty_like(rows)
        for part in chunks(len(rows)):
            out[part] = self._displace(rows[part], random, None if params is None else params[part])
        return out

    def transform(
        self, Z: npt.ArrayLike, *, params: Any = None, random_state: Any = None
    ) -> Floats:
        """Embeddings of augmented inputs, estimated from those of the inputs.

        Parameters
        ----------
        Z : array-like of shape (n, d)
        params, random_state
            As in :meth:`displacement`.

        Returns
        -------
        ndarray of shape (n, d), dtype of `Z`
        """
        rows = checked_rows(Z)
        out = self.displacement(rows, params=params, random_state=random_state)
        out += rows
        return out

    def residuals(self, pairs: Pairs, random: np.random.Generator) -> Floats:
        """Displacements that the operator does not explain, for the noise and the report.

        Where a closed form is at hand each pair is predicted by the fit to all the others, so
        that the size is right; else by the fit to all pairs.

        Parameters
        ----------
        pairs : Pairs
            Those of the fit.
        random : numpy.random.Generator

        Returns
        -------
        ndarray of shape (views, m, d)
        """
        mean = pairs.centred + pairs.offset
        return pairs.spread() + (mean - self.displacement(pairs.sources.Z, random_state=random))

    def _check_params(self, params: Any, n: int, random: np.random.Generator) -> Any:
        """Strengths as one row per embedding; operators without strengths take none."""
        if params is not None:
            raise ValueError(
                f"{type(self).__name__} takes no params; fit a ParameterConditioned operator"
            )
        return None

    def _noise_scale(self, params: Any) -> Any:
        """How strong noise must be beside the displacement, per row; 1 for all with None."""
        return None


def chunks(n: int) -> Iterator[slice]:
    """Parts of `n` rows."""
    for start in range(0, n, _CHUNK_ROWS):
        yield slice(start, min(start + _CHUNK_ROWS, n))


def cast(array: Floats, like: Floats) -> Floats:
    """The learned array in the data type of the rows."""
    return array.astype(like.dtype, copy=False)

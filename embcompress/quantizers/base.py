"""What all quantizers share: checks, encoding, decoding, the scikit-learn contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from embcompress.codes import code_bytes
from embcompress.encoder import Encoder
from embcompress.quantizers._arrays import (
    Array,
    decode,
    encode,
    is_numpy,
    like,
    namespace,
    project,
)
from embcompress.quantizers._moments import Moments, MomentSums
from embcompress.quantizers._rows import ArrayRows, Needs, Rows

__all__ = ["BinaryQuantizer"]

Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.uint8]


class BinaryQuantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of the quantizers; a final class says what it needs of the rows, and learns from it.

    Attributes
    ----------
    encoder_ : Encoder
        What was learned, as plain arrays.
    n_bits_ : int
        Code length in bits.
    n_features_in_ : int
    """

    # Parameters are checked at fit, by scikit-learn
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}
    encoder_: Encoder

    @abstractmethod
    def _needs(self, n_features: int, n_bits: int) -> Needs:
        """Check the parameters against the number of features; say what is needed of the rows."""

    @abstractmethod
    def _learn(
        self, found: Moments, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> Encoder:
        """Learn from moments and a sample; set learned attributes; return the encoder."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: npt.ArrayLike, y: Any = None) -> BinaryQuantizer:
        """Learn the map from vectors to codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite; float32 and float64 are used as they are. Also a Dask array or data frame,
            which is learned from where it lies, and with scikit-learn's ``array_api_dispatch`` a
            PyTorch tensor on any device.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a finite matrix, or a parameter does not fit it.
        """
        if hasattr(X, "__dask_graph__"):
            from embcompress.scale import fit

            return fit(self, X)
        xp = namespace(X)
        checked: Array = validate_data(self, X, dtype=[xp.float64, xp.float32])
        self._learn_from(ArrayRows(checked))
        if not is_numpy(checked):  # what was learned lies where the rows lie, as in scikit-learn
            for name, value in vars(self).items():
                if name.endswith("_") and is_numpy(value):
                    setattr(self, name, like(value, checked, dtype=value.dtype))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_rows(self, rows: Rows) -> BinaryQuantizer:
        """Learn from rows that are not one array; for :func:`embcompress.scale.fit`.

        Parameters
        ----------
        rows : Rows
            Checked rows.

        Returns
        -------
        self
        """
        self.n_features_in_ = rows.n_features
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        self._learn_from(rows)
        return self

    def _learn_from(self, rows: Rows) -> None:
        n_bits = self._asked_bits(rows.n_features)
        random = check_random_state(getattr(self, "random_state", None))
        sums, sample = rows.survey(self._needs(rows.n_features, n_bits), random)
        self.__dict__.pop("_running", None)  # of partial_fit: a fit starts anew
        self._finish(sums, sample, n_bits, random)

    def _finish(
        self, sums: MomentSums, sample: Rows, n_bits: int, random: np.random.RandomState
    ) -> None:
        self.encoder_ = self._learn(sums.moments(), sample, n_bits, random)
        self.n_bits_ = n_bits

    def _asked_bits(self, n_features: int) -> int:
        asked = getattr(self, "n_bits", None)
        return n_features if asked is None else int(asked)

    def transform(self, X: npt.ArrayLike) -> Codes:
        """Packed codes of vectors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            As for :meth:`fit`.

        Returns
        -------
        codes : ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
            First bit most significant (as numpy.packbits), pad bits 0. Of a Dask array a Dask
            array, which nothing is computed for yet; of a tensor a tensor on the same device.
        """
        if hasattr(X, "__dask_graph__"):
            from embcompress.scale import transform

            return transform(self, X)
        checked = self._check(X)
        return encode(self.encoder_, checked)

    def project(self, X: npt.ArrayLike) -> Floats:
        """Real-valued scores whose signs are the bits (at least 0: bit 1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples, n_bits)
            Or a tensor where `X` is one.
        """
        checked = self._check(X)
        return project(self.encoder_, checked)

    def inverse_transform(self, codes: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Vectors that codes stand for.

        Parameters
        ----------
        codes : array-like of uint8, shape (n_samples, ceil(n_bits / 8))

        Returns
        -------
        X : ndarray of float32, shape (n_samples, n_features)

        Raises
        ------
        TypeError, ValueError
            If `codes` are not codes of this quantizer's length.
        """
        check_is_fitted(self)
        return decode(self.encoder_, codes)

    def _check(self, X: npt.ArrayLike) -> Floats:
        check_is_fitted(self)
        xp = namespace(X)
        return validate_data(self, X, dtype=[xp.float64, xp.float32], reset=False)

    @property
    def _n_features_out(self) -> int:
        return code_bytes(self.n_bits_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are uint8 whatever comes in
        tags.array_api_support = True
        return tags

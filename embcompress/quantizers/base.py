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

__all__ = ["BinaryQuantizer"]

Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.uint8]


class BinaryQuantizer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """Base of the quantizers; a final class fills in :meth:`_fit_encoder`.

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
    def _fit_encoder(self, X: Floats, n_bits: int, random: np.random.RandomState) -> Encoder:
        """Learn from checked rows; set learned attributes; return the encoder."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: npt.ArrayLike, y: Any = None) -> BinaryQuantizer:
        """Learn the map from vectors to codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Finite; float32 and float64 are used as they are.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If `X` is not a finite matrix, or a parameter does not fit it.
        """
        checked: Floats = validate_data(self, X, dtype=[np.float64, np.float32])
        asked = getattr(self, "n_bits", None)
        n_bits = checked.shape[1] if asked is None else int(asked)
        random = check_random_state(getattr(self, "random_state", None))
        self.encoder_ = self._fit_encoder(checked, n_bits, random)
        self.n_bits_ = n_bits
        return self

    def transform(self, X: npt.ArrayLike) -> Codes:
        """Packed codes of vectors.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        codes : ndarray of uint8, shape (n_samples, ceil(n_bits / 8))
            First bit most significant (as numpy.packbits), pad bits 0.
        """
        checked = self._check(X)
        return self.encoder_.encode(checked)

    def project(self, X: npt.ArrayLike) -> Floats:
        """Real-valued scores whose signs are the bits (at least 0: bit 1).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        scores : ndarray of shape (n_samples, n_bits)
        """
        checked = self._check(X)
        return self.encoder_.project(checked)

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
        return self.encoder_.decode(codes)

    def _check(self, X: npt.ArrayLike) -> Floats:
        check_is_fitted(self)
        return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    @property
    def _n_features_out(self) -> int:
        return code_bytes(self.n_bits_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # codes are uint8 whatever comes in
        return tags

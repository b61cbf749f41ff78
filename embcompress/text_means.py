"""Means of vectors over the words of texts, from codes without decoding a vocabulary.

The mean of decoded vectors is the decoded mean of scores, and that follows from how often each bit
is 1. So a text costs one look at the codes of its words, and one product with the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes, code_bytes
from embcompress.container import Container, FormatError
from embcompress.encoder import Encoder

__all__ = ["FEATURES", "CodeMeans", "FloatMeans", "FoundWords", "Means", "number_levels"]

#: What a text is the mean of: decoded vectors, or the whole numbers that codes stand for.
FEATURES = ("decoded", "codes")

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

# largest relative error of a column of the decoder that float16 may make
_HALF_ERROR = 1e-3


@dataclass(frozen=True, eq=False)
class FoundWords:
    """Known words of texts, text after text.

    Attributes
    ----------
    indices : ndarray of int64, shape (n_known,)
        Rows of the vocabulary.
    ends : ndarray of int64, shape (n_texts + 1,)
        Text ``i`` has ``indices[ends[i]:ends[i + 1]]``.
    n_tokens : int
        Tokens of all texts, known or not.
    """

    indices: Longs
    ends: Longs
    n_tokens: int


class Means(Protocol):
    """Means of rows of a vocabulary, text by text."""

    @property
    def size(self) -> int:
        """Length of a mean."""

    def __call__(self, found: FoundWords) -> Floats:
        """Means, shape (n_texts, size); zeros for a text without a known word."""


@dataclass(frozen=True, eq=False)
class FloatMeans:
    """Means of float vectors.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n_words, d)
    """

    vectors: Floats

    @property
    def size(self) -> int:
        """Length of a mean."""
        return self.vectors.shape[1]

    def __call__(self, found: FoundWords) -> Floats:
        """Means, shape (n_texts, d)."""
        from embcompress.code_sums import sum_rows

        out = np.zeros((len(found.ends) - 1, self.size), np.float32)
        sum_rows(self.vectors, found.indices, found.ends, out)
        out /= np.maximum(np.diff(found.ends), 1).astype(np.float32)[:, None]
        return out


@dataclass(frozen=True, eq=False)
class CodeMeans:
    """Means of what codes stand for, from counts of bits.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n_words, ceil(n_bits / 8))
    n_bits : int
    levels : ndarray of float32, shape (2, n_directions), or (4, n_directions) with second bits
        What each whole number stands for, in ascending order of the numbers.
    decoder : ndarray of float32 or float16, shape (n_directions, size), or None
        None is the identity.
    offset : ndarray of float32, shape (size,), or None
        Added at the end.
    """

    codes: npt.NDArray[np.uint8]
    n_bits: int
    levels: Floats
    decoder: npt.NDArray[np.floating] | None = None
    offset: Floats | None = None

    @classmethod
    def decoded(cls, codes: npt.ArrayLike, encoder: Encoder) -> CodeMeans:
        """Means of decoded vectors.

        Parameters
        ----------
        codes : array-like of uint8, shape (n_words, ceil(n_bits / 8))
        encoder : Encoder

        Returns
        -------
        CodeMeans
        """
        decoder = encoder.decoder
        if decoder is None and encoder.projection is not None:
            decoder = encoder.projection.T
        scale = np.float32(encoder.scale)
        return cls(
            check_codes(codes, encoder.n_bits),
            encoder.n_bits,
            # scaled here and not in the decoder, whose entries stay of a size for float16
            encoder.levels.astype(np.float32) * scale,
            None if decoder is None else np.ascontiguousarray(decoder, np.float32),
            encoder.mean.astype(np.float32) * scale,
        )

    @classmethod
    def numbers(cls, codes: npt.ArrayLike, n_bits: int, n_directions: int) -> CodeMeans:
        """Means of the whole numbers of codes; nothing is decoded.

        Parameters
        ----------
        codes : array-like of uint8, shape (n_words, ceil(n_bits / 8))
        n_bits, n_directions : int

        Returns
        -------
        CodeMeans
        """
        return cls(check_codes(codes, n_bits), n_bits, number_levels(n_bits, n_directions))

    @property
    def features(self) -> str:
        """What a text is the mean of: ``"decoded"`` vectors, or ``"codes"``."""
        return "codes" if self.offset is None else "decoded"

    @property
    def n_directions(self) -> int:
        """Number of directions that codes have a number for."""
        return self.levels.shape[1]

    @property
    def size(self) -> int:
        """Length of a mean."""
        return self.n_directions if self.decoder is None else self.decoder.shape[1]

    @cached_property
    def _decoder(self) -> Floats | None:
        return None if self.decoder is None else self.decoder.astype(np.float32, copy=False)

    def shortened(self) -> CodeMeans:
        """The same with the decoder in float16, unless that makes a feature worse."""
        return self if self.decoder is None else replace(self, decoder=_halved(self.decoder))

    def __call__(self, found: FoundWords) -> Floats:
        """Means, shape (n_texts, size)."""
        means = self._scores(found)
        if self._decoder is not None:
            means = means @ self._decoder
        if self.offset is not None:
            means += self.offset
        means[np.diff(found.ends) == 0] = 0
        return means

    def _scores(self, found: FoundWords) -> Floats:
        """Mean scores, shape (n_texts, n_directions)."""
        from embcompress.code_sums import SPREAD, sum_bits

        first, second = self.n_directions, self.n_bits - self.n_directions
        width = 8 * self.codes.shape[1]
        counts = np.zeros((len(found.ends) - 1, width + (second + 7) // 8 * 8), np.int32)
        sum_bits(self.codes, found.indices, found.ends, first, second, SPREAD, counts)
        shares = counts / np.maximum(np.diff(found.ends), 1).astype(np.float32)[:, None]
        shares = shares.astype(np.float32, copy=False)
        levels = self.levels
        scores: Floats = levels[0] + shares[:, :first] * (levels[len(levels) // 2] - levels[0])
        if second:
            low, lower, higher, high = levels[:, :second]
            scores[:, :second] += shares[:, first : first + second] * (lower - low)
            both = shares[:, width : width + second]
            scores[:, :second] += both * (high - higher - lower + low)
        return scores

    def decoding(self) -> dict[str, npt.NDArray]:
        """Arrays to store that decode codes; none where numbers of codes are taken."""
        if self.features == "codes":
            return {}
        arrays = {"levels": self.levels, "decoder": self.decoder, "offset": self.offset}
        return {name: array for name, array in arrays.items() if array is not None}

    def to_tensors(self) -> dict[str, npt.NDArray]:
        """Arrays to store."""
        return {"codes": self.codes, **self.decoding()}

    def to_metadata(self) -> dict[str, str]:
        """Header entries to store."""
        return {
            "n_bits": str(self.n_bits),
            "n_directions": str(self.n_directions),
            "features": self.features,
            "bitorder": "big",
        }

    @classmethod
    def from_container(cls, file: Container) -> CodeMeans:
        """Read them back from an opened file.

        Parameters
        ----------
        file : Container

        Returns
        -------
        CodeMeans

        Raises
        ------
        FormatError
            If an array is missing or its shape does not fit.
        """
        n_bits, n_directions = file.integer("n_bits"), file.integer("n_directions")
        if not 1 <= n_directions <= n_bits <= 2 * n_directions:
            raise FormatError(
                f"{file.path}: n_directions={n_directions} with n_bits={n_bits}; each direction "
                "has one bit or two"
            )
        codes = file.tensor("codes", (np.uint8,), 2)
        if codes.shape[1] != code_bytes(n_bits) or file.value("bitorder") != "big":
            raise FormatError(
                f"{file.path}: codes have {codes.shape[1]} bytes per word, bit order "
                f"{file.value('bitorder')!r}; expected {code_bytes(n_bits)}, 'big'"
            )
        features = file.value("features")
        if features not in FEATURES:
            raise FormatError(f"{file.path}: unknown features {features!r}")
        if features == "codes":
            return cls.numbers(codes, n_bits, n_directions)
        levels = _floats(file, "levels", (2 if n_bits == n_directions else 4, n_directions))
        decoder = None
        if "decoder" in file.tensors:
            decoder = _floats(file, "decoder", (n_directions, None), np.float32, np.float16)
        size = n_directions if decoder is None else decoder.shape[1]
        return cls(codes, n_bits, levels, decoder, _floats(file, "offset", (size,)))


def number_levels(n_bits: int, n_directions: int) -> Floats:
    """The whole numbers of codes, as levels that they stand for.

    Parameters
    ----------
    n_bits, n_directions : int

    Returns
    -------
    ndarray of float32, shape (2, n_directions), or (4, n_directions) with second bits
    """
    if n_bits == n_directions:
        return np.repeat(np.array([[-1], [1]], np.float32), n_directions, axis=1)
    levels = np.repeat(np.array([[-3], [-1], [1], [3]], np.float32), n_directions, axis=1)
    levels[:, n_bits - n_directions :] = np.array([[-2], [-2], [2], [2]])
    return levels


def _halved(decoder: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    with np.errstate(over="ignore"):
        half = decoder.astype(np.float16)
    error = np.linalg.norm(half.astype(np.float64) - decoder, axis=0)
    good = bool((error <= _HALF_ERROR * np.linalg.norm(decoder.astype(np.float64), axis=0)).all())
    return half if good else decoder


def _floats(
    file: Container, name: str, shape: tuple[int | None, ...], *dtypes: type
) -> npt.NDArray[Any]:
    array = file.tensor(name, dtypes or (np.float32,), len(shape))
    if any(n is not None and n != found for n, found in zip(shape, array.shape, strict=True)):
        raise FormatError(f"{file.path}: array {name!r} has shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise FormatError(f"{file.path}: array {name!r} holds NaN or infinite numbers")
    return array

"""Texts as mean vectors of their words, from codes without decoding a vocabulary.

The mean of decoded vectors is the decoded mean of scores, and that follows from how often each bit
is 1. So a text costs one look at the codes of its words, and one product with the decoder.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes
from embcompress.encoder import Encoder
from embcompress.vocabulary import Vocabulary

__all__ = [
    "FEATURES",
    "CodeMeans",
    "FloatMeans",
    "FoundWords",
    "TextVectors",
    "WordLookup",
    "find_words",
    "number_levels",
    "tokenize",
]

#: What a text is the mean of: decoded vectors, or the whole numbers that codes stand for.
FEATURES = ("decoded", "codes")

Floats = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]

# Runs of letters, digits and apostrophes, once underscores are spaces
_TOKEN = re.compile(r"[\w']+")
# texts per step: counts and scores stay in the cache
_CHUNK_TEXTS = 256


def tokenize(text: str) -> list[str]:
    """Words of a text: runs of letters, digits and apostrophes, in lower case.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of str

    Examples
    --------
    >>> tokenize("It's a (well-made) film, 7/10!")
    ["it's", 'a', 'well', 'made', 'film', '7', '10']
    """
    return _TOKEN.findall(text.lower().replace("_", " "))


class WordLookup(dict[str, int]):
    """Token -> row, -1 where there is none.

    A token that is not there is looked for without outer apostrophes. Filled as known words come,
    so it is never larger than the vocabulary, whatever texts hold.

    Parameters
    ----------
    words : Vocabulary
    """

    def __init__(self, words: Vocabulary) -> None:
        self._table = words.key_to_index()

    def __missing__(self, token: str) -> int:
        index = self._table.get(token)
        if index is None:
            return self._table.get(token.strip("'"), -1)
        self[token] = index
        return index


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


def find_words(
    texts: Iterable[str],
    lookup: WordLookup,
    tokens: Callable[[str], Sequence[str]] = tokenize,
) -> FoundWords:
    """Look up the words of texts.

    Parameters
    ----------
    texts : iterable of str
    lookup : WordLookup
    tokens : callable, default :func:`tokenize`
        Text -> tokens.

    Returns
    -------
    FoundWords
    """
    found, lengths = array("q"), [0]
    for text in texts:
        parts = tokens(text)
        lengths.append(len(parts))
        found.extend(map(lookup.__getitem__, parts))
    indices = np.array(found, dtype=np.int64)
    known = indices >= 0
    # how many known tokens there are up to the end of each text
    ends = np.append(0, np.cumsum(known))[np.cumsum(lengths)]
    return FoundWords(indices[known], ends.astype(np.int64), len(indices))


class _Means(Protocol):
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


class TextVectors:
    """Mean vectors of texts, to train and to use a head with.

    A text is the mean over its words that the vocabulary has; a word that comes twice counts
    twice. The vocabulary is never decoded.

    Parameters
    ----------
    vectors : KeyedVectors or CompressedVectors
    features : {"decoded", "codes"}, default "decoded"
        Of compressed vectors: the mean of decoded vectors, or of the whole numbers that codes
        stand for (-1 and 1 for one bit per direction), which needs no decoder.

    Attributes
    ----------
    size : int
        Length of a vector.

    Raises
    ------
    ValueError
        If `features` is unknown, or ``"codes"`` is asked of float vectors.

    Examples
    --------
    >>> from embcompress import KeyedVectors
    >>> from embcompress.texts import TextVectors
    >>> vectors = KeyedVectors(["good", "film"], [[1, 0], [0, 2.0]])
    >>> TextVectors(vectors).transform(["A good, good film!", "???"])
    array([[0.6666667, 0.6666667],
           [0.       , 0.       ]], dtype=float32)
    """

    def __init__(self, vectors: Any, features: str = "decoded") -> None:
        self._set(vectors.index_to_key, _means_of(vectors, features))

    @classmethod
    def from_means(cls, words: Vocabulary, means: _Means) -> TextVectors:
        """Make it from parts.

        Parameters
        ----------
        words : Vocabulary
        means : CodeMeans or FloatMeans

        Returns
        -------
        TextVectors
        """
        made = cls.__new__(cls)
        made._set(words, means)
        return made

    def _set(self, words: Vocabulary, means: _Means) -> None:
        self.words, self.means, self.size = words, means, means.size

    @cached_property
    def _lookup(self) -> WordLookup:
        return WordLookup(self.words)

    def transform(self, texts: Iterable[str]) -> Floats:
        """Mean vector of each text.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        ndarray of float32, shape (n_texts, size)
            Zeros for a text without a known word.

        Raises
        ------
        TypeError
            If `texts` is a single string, or not all of them are strings.
        """
        parts = [self.means(found) for found in self._found(texts)]
        return np.concatenate(parts) if parts else np.zeros((0, self.size), np.float32)

    def known_words(self, texts: Iterable[str]) -> Longs:
        """How many words of each text are known.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        ndarray of int64, shape (n_texts,)
        """
        parts = [np.diff(found.ends) for found in self._found(texts)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _found(self, texts: Iterable[str]) -> Iterator[FoundWords]:
        checked = _checked(texts)
        while chunk := list(islice(checked, _CHUNK_TEXTS)):
            yield find_words(chunk, self._lookup)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    if isinstance(texts, (str, bytes)):
        raise TypeError("texts is a single string; give a list of texts, if only of one")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text {position} is {text!r}, a {type(text).__name__}, no string")
        yield text


def _means_of(vectors: Any, features: str) -> _Means:
    if features not in FEATURES:
        allowed = " or ".join(map(repr, FEATURES))
        raise ValueError(f"features={features!r} is unknown; allowed: {allowed}")
    encoder = getattr(vectors, "encoder", None)
    if encoder is None:
        if features == "codes":
            raise ValueError('features="codes" is for compressed vectors; these are floats')
        return FloatMeans(np.ascontiguousarray(vectors.vectors))
    codes = np.ascontiguousarray(vectors.codes)
    if features == "codes":
        return CodeMeans.numbers(codes, encoder.n_bits, encoder.n_directions)
    return CodeMeans.decoded(codes, encoder)

"""Texts as mean vectors of their words: to train a head with, and to predict with it."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.text_means import FEATURES, CodeMeans, FloatMeans, FoundWords, Means
from embcompress.vocabulary import Vocabulary

__all__ = ["TextVectors", "WordLookup", "find_words", "tokenize"]

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
    def from_means(cls, words: Vocabulary, means: Means) -> TextVectors:
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

    def _set(self, words: Vocabulary, means: Means) -> None:
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
        return self.with_counts(texts)[0]

    def with_counts(self, texts: Iterable[str]) -> tuple[Floats, Longs]:
        """Mean vectors of texts, and how many words of each are known.

        Parameters
        ----------
        texts : iterable of str

        Returns
        -------
        vectors : ndarray of float32, shape (n_texts, size)
        counts : ndarray of int64, shape (n_texts,)
            0 where the vector is zeros because no word is known.
        """
        vectors, counts = [np.zeros((0, self.size), np.float32)], [np.zeros(0, np.int64)]
        for found in self._found(texts):
            vectors.append(self.means(found))
            counts.append(np.diff(found.ends))
        return np.concatenate(vectors), np.concatenate(counts)

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


def _means_of(vectors: Any, features: str) -> Means:
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

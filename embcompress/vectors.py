"""Word vectors, float and compressed, under the names that gensim users know."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.row_lengths import unit_rows
from embcompress.vocabulary import Vocabulary

__all__ = ["KeyedVectors", "Source", "UnknownWordError", "WordVectors"]

Floats = npt.NDArray[np.floating]
# A word, a vector, or either of them with a weight: what most_similar takes
Term = Any


class UnknownWordError(KeyError):
    """A word that is not in the vocabulary; the message names close words."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would show the message in quotes


@dataclass(frozen=True)
class Source:
    """Where vectors came from, and what was dropped on the way.

    Attributes
    ----------
    path : str
        File name, with the archive member where there is one.
    format : str
        ``"glove"``, ``"word2vec"``, ``"word2vec-bin"``, ``"gensim"``, ``"npz"`` or ``"npy"``.
    n_bytes : int
        Size of the file on disk.
    n_duplicates : int
        Rows dropped because the word had come before.
    n_skipped : int
        Bad rows dropped on request.
    """

    path: str
    format: str
    n_bytes: int = 0
    n_duplicates: int = 0
    n_skipped: int = 0


class WordVectors(ABC):
    """Words with a vector each, and the questions one asks of them.

    Not instantiated: :class:`KeyedVectors` answers in float32,
    :class:`~embcompress.CompressedVectors` in bits.
    """

    index_to_key: Vocabulary
    source: Source | None

    @property
    @abstractmethod
    def vector_size(self) -> int:
        """Number of dimensions of a vector."""

    @abstractmethod
    def _rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """Vectors of some words, shape (len(indices), vector_size)."""

    @abstractmethod
    def _unit_rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """Vectors of some words in the space where similarity is taken, length 1."""

    @abstractmethod
    def _unit_query(self, vector: Floats) -> npt.NDArray[np.float32]:
        """Bring a user's vector to the same space, length 1."""

    @abstractmethod
    def _nearest(
        self, query: npt.NDArray[np.float32], k: int, scoring: str | None
    ) -> tuple[npt.NDArray[np.int64], Floats]:
        """Indices and similarities of the `k` words nearest to a query, nearest first."""

    def __len__(self) -> int:
        return len(self.index_to_key)

    def __contains__(self, key: object) -> bool:
        return key in self.index_to_key

    def __getitem__(self, keys: str | Sequence[str]) -> npt.NDArray[np.float32]:
        if isinstance(keys, str):
            return self.get_vector(keys)
        return self._rows([self.get_index(key) for key in keys])

    @property
    def key_to_index(self) -> dict[str, int]:
        """Word -> row. Built on first use."""
        return self.index_to_key.key_to_index()

    def get_index(self, key: str) -> int:
        """Row of a word.

        Parameters
        ----------
        key : str

        Returns
        -------
        int

        Raises
        ------
        UnknownWordError
            If the word is not there; the message names close words.
        """
        if not isinstance(key, str):
            raise TypeError(f"{key!r} is not a word; keys are strings")
        index = self.index_to_key.find(key)
        if index is None:
            close = self.index_to_key.close_words(key)
            hint = f"; close words: {', '.join(close)}" if close else ""
            raise UnknownWordError(
                f"{key!r} is not among the {len(self):,} words{hint}",
            )
        return index

    def get_vector(self, key: str, norm: bool = False) -> npt.NDArray[np.float32]:
        """Vector of a word.

        Parameters
        ----------
        key : str
        norm : bool, default False
            Scale to length 1.

        Returns
        -------
        ndarray of float32, shape (vector_size,)

        Raises
        ------
        UnknownWordError
            If the word is not there.
        """
        vector = self._rows([self.get_index(key)])[0]
        return unit_rows(vector[None, :])[0] if norm else vector

    def similarity(self, key1: str, key2: str) -> float:
        """Similarity of two words, from -1 to 1.

        Parameters
        ----------
        key1, key2 : str

        Returns
        -------
        float
            Cosine of float vectors; 1 - 2 x Hamming distance / n_bits for codes.

        Raises
        ------
        UnknownWordError
            If a word is not there.
        """
        first, second = self._unit_rows([self.get_index(key1), self.get_index(key2)])
        return float(first @ second)

    def most_similar(
        self,
        positive: Term | Sequence[Term] | None = None,
        negative: Term | Sequence[Term] | None = None,
        topn: int = 10,
        *,
        scoring: str | None = None,
    ) -> list[tuple[str, float]]:
        """Words nearest to a sum of words and vectors.

        ``most_similar("king")`` gives neighbours; ``most_similar(positive=["woman", "king"],
        negative=["man"])`` gives an analogy. Words that were asked with are left out.

        Parameters
        ----------
        positive, negative : str, vector, (term, weight) pair, or list of these
            Terms to add and to subtract; each word counts with its unit vector.
        topn : int, default 10
            How many words to return; fewer if there are not so many.
        scoring : {"hamming", "asymmetric"}, optional
            How compressed vectors are scored; see :class:`~embcompress.CompressedVectors`.
            Float vectors have the cosine only.

        Returns
        -------
        list of (str, float)
            Words and similarities, nearest first; equal ones in the order of the file.

        Raises
        ------
        UnknownWordError
            If a word is not there.
        ValueError
            If no term is given, `topn` is smaller than 1, or a vector has the wrong size.
        """
        terms = _terms(positive, 1.0) + _terms(negative, -1.0)
        if not terms:
            raise ValueError("most_similar needs at least one word or vector")
        _check_topn(topn)
        given = [self.get_index(term) for term, _ in terms if isinstance(term, str)]
        query = np.zeros(1, dtype=np.float32)
        for term, weight in terms:
            if isinstance(term, str):
                query = query + weight * self._unit_rows([self.get_index(term)])[0]
            else:
                query = query + weight * self._unit_query(self._check_vector(term))
        indices, scores = self._nearest(query, min(topn + len(given), len(self)), scoring)
        keep = ~np.isin(indices, given)
        pairs = zip(indices[keep][:topn], scores[keep][:topn], strict=True)
        return [(self.index_to_key[index], float(score)) for index, score in pairs]

    def similar_by_vector(
        self, vector: npt.ArrayLike, topn: int = 10, *, scoring: str | None = None
    ) -> list[tuple[str, float]]:
        """Words nearest to a vector.

        Parameters
        ----------
        vector : array-like of shape (vector_size,)
        topn : int, default 10
        scoring : {"hamming", "asymmetric"}, optional
            As in :meth:`most_similar`.

        Returns
        -------
        list of (str, float)
            Words and similarities, nearest first.

        Raises
        ------
        ValueError
            If the vector has the wrong size or `topn` is smaller than 1.
        """
        return self.most_similar(positive=[np.asarray(vector)], topn=topn, scoring=scoring)

    def rank(self, key1: str, key2: str) -> int:
        """Rank of `key2` among the neighbours of `key1`; 1 is the nearest.

        Parameters
        ----------
        key1, key2 : str

        Returns
        -------
        int
            1 + how many other words are strictly nearer to `key1`.

        Raises
        ------
        UnknownWordError
            If a word is not there.
        """
        first, second = self.get_index(key1), self.get_index(key2)
        indices, scores = self._nearest(self._unit_rows([first])[0], len(self), None)
        nearer = scores > scores[indices == second][0]
        return 1 + int(np.count_nonzero(nearer & (indices != first)))

    def _check_vector(self, vector: npt.ArrayLike) -> Floats:
        array = np.asarray(vector)
        if array.dtype.kind not in "fiu" or array.shape != (self.vector_size,):
            raise ValueError(
                f"a query vector of shape ({self.vector_size},) with real numbers is needed; "
                f"got shape {array.shape}, dtype {array.dtype}"
            )
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("the query vector holds NaN or infinity")
        return array


class KeyedVectors(WordVectors):
    """Words with float32 vectors.

    Parameters
    ----------
    index_to_key : sequence of str
        Words, one per row.
    vectors : array-like of shape (n, d)
        Kept as float32, without a copy where it is float32 already.
    counts : array-like of integers, shape (n,), optional
        How often each word occurs in the training text.
    source : Source, optional
        Where the vectors came from.

    Raises
    ------
    ValueError
        If the shapes do not agree.

    Examples
    --------
    >>> kv = KeyedVectors(["cat", "dog", "car"], [[1.0, 0.1], [0.9, 0.2], [0.0, 1.0]])
    >>> kv.most_similar("cat", topn=1)[0][0]
    'dog'
    >>> "cow" in kv, len(kv), kv.vector_size
    (False, 3, 2)
    """

    def __init__(
        self,
        index_to_key: Sequence[str] | Iterable[str],
        vectors: npt.ArrayLike,
        *,
        counts: npt.ArrayLike | None = None,
        source: Source | None = None,
    ) -> None:
        if not isinstance(index_to_key, Vocabulary):
            index_to_key = Vocabulary.from_words(index_to_key)
        matrix = np.asarray(vectors, dtype=np.float32)
        if matrix.ndim != 2 or matrix.shape[1] == 0:
            raise ValueError(f"vectors has shape {matrix.shape}; a matrix (n, d) is needed")
        if len(matrix) != len(index_to_key):
            raise ValueError(f"{len(index_to_key)} words came with {len(matrix)} vectors")
        self.index_to_key = index_to_key
        self.vectors: npt.NDArray[np.float32] = matrix
        self.counts = None if counts is None else np.asarray(counts)
        if self.counts is not None and self.counts.shape != (len(matrix),):
            raise ValueError(f"counts has shape {self.counts.shape}, ({len(matrix)},) is needed")
        self.source = source
        self._inverse_norms: npt.NDArray[np.float32] | None = None

    def __repr__(self) -> str:
        return f"KeyedVectors({len(self):,} words x {self.vector_size} dimensions)"

    @property
    def vector_size(self) -> int:
        """Number of dimensions of a vector."""
        return self.vectors.shape[1]

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> KeyedVectors:
        """Read a file of vectors: :func:`embcompress.load_vectors`."""
        from embcompress.formats import load_vectors

        return load_vectors(path, **options)

    def save(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write a file of vectors: :func:`embcompress.save_vectors`."""
        from embcompress.formats import save_vectors

        save_vectors(self, path, **options)

    def _rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        return self.vectors[list(indices)]

    def _unit_rows(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        return unit_rows(self._rows(indices))

    def _unit_query(self, vector: Floats) -> npt.NDArray[np.float32]:
        return unit_rows(vector[None, :].astype(np.float32))[0]

    def _nearest(
        self, query: npt.NDArray[np.float32], k: int, scoring: str | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        if scoring is not None:
            raise ValueError(f"scoring={scoring!r} is for compressed vectors; leave it out here")
        if self._inverse_norms is None:
            norms = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors))
            self._inverse_norms = np.float32(1) / np.where(norms > 0, norms, 1).astype(np.float32)
        cosines = (self.vectors @ unit_rows(query[None, :])[0]) * self._inverse_norms
        return top_k(cosines, k)


def top_k(
    scores: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Indices and values of the `k` largest scores; equal ones in index order."""
    if k < len(scores):
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        above = np.flatnonzero(scores > threshold)
        equal = np.flatnonzero(scores == threshold)[: k - len(above)]
        chosen = np.concatenate([above, equal])
    else:
        chosen = np.arange(len(scores))
    order = np.lexsort((chosen, -scores[chosen]))
    return chosen[order], scores[chosen[order]]


def _terms(given: Term | Sequence[Term] | None, sign: float) -> list[tuple[Any, float]]:
    """Normalize what most_similar was given to a list of (word or vector, weight)."""
    if given is None:
        return []
    single = isinstance(given, str) or (
        isinstance(given, (np.ndarray, tuple, list))
        and len(given) > 0
        and np.isscalar(given[0])
        and not isinstance(given[0], str)
    )
    items = [given] if single or _is_pair(given) else list(given)
    terms = []
    for item in items:
        term, weight = item if _is_pair(item) else (item, 1.0)
        terms.append((term, sign * float(weight)))
    return terms


def _is_pair(item: Any) -> bool:
    """Whether an item is (word or vector, weight)."""
    return (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], (str, np.ndarray))
        and isinstance(item[1], (int, float, np.number))
    )


def _check_topn(topn: int) -> None:
    if isinstance(topn, bool) or not isinstance(topn, (int, np.integer)) or topn < 1:
        raise ValueError(f"topn={topn!r} must be a whole number of at least 1")


def describe_path(path: str | os.PathLike[str], member: str | None = None) -> str:
    """File name as it is shown to people: the last part, with the archive member."""
    name = Path(path).name
    return f"{name}:{member}" if member else name

"""One view of float vectors and of codes: all that the tasks need to know of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from embcompress.compressed import SCORINGS, CompressedVectors
from embcompress.encoder import Encoder
from embcompress.row_lengths import unit_rows
from embcompress.vectors import KeyedVectors
from embcompress.vocabulary import Vocabulary

__all__ = ["MISSING_RULES", "Space", "space_of"]

MISSING_RULES = ("skip", "mean")

_CHUNK_ROWS = 16_384

Matrix = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Space:
    """Words with unit vectors on two sides: one is stored, the other asks.

    The score of a query word against a stored word is ``queries[i] @ rows[j]``, from -1 to 1.

    Attributes
    ----------
    words : Vocabulary
    rows : ndarray of float32, shape (n, m)
        Unit vectors of the stored side.
    queries : ndarray of float32, shape (n, m)
        Unit vectors of the asking side; the same array where scoring is symmetric.
    name : str
        What a table calls it.
    sign_queries : bool
        Whether both sides are signs: scores are multiples of ``1 / m``, and a combination of
        queries is cut to signs before it is scored, as the Hamming distance does.
    cut : callable, optional
        What cuts a combination of queries to what a code can stand for, shape (n, m) to unit rows
        of the same shape; for codes with two bits per direction.
    lowercase : bool
        Whether a word that is not there is looked for in lower case. The exact word comes first.
    search : callable, optional
        Finds the k nearest stored words of queries, shape (n, m) to indices of shape (n, k); what
        is faster than all scores, with the same result.
    """

    words: Vocabulary
    rows: Matrix
    queries: Matrix
    name: str
    sign_queries: bool = False
    cut: Callable[[Matrix], Matrix] | None = None
    lowercase: bool = True
    search: Callable[[Matrix, int], Indices] | None = None

    def __post_init__(self) -> None:
        if self.rows.shape != self.queries.shape or len(self.rows) != len(self.words):
            raise ValueError(
                f"{len(self.words)} words came with rows of shape {self.rows.shape} and queries "
                f"of shape {self.queries.shape}; all three must agree"
            )

    def __len__(self) -> int:
        return len(self.words)

    @property
    def is_symmetric(self) -> bool:
        """Whether both sides are the same."""
        return self.rows is self.queries

    @property
    def compares_codes(self) -> bool:
        """Whether the asking side, too, is what a code stands for."""
        return self.sign_queries or self.cut is not None

    def find(self, words: Sequence[str], *, limit: int | None = None) -> Indices:
        """Rows of words.

        Parameters
        ----------
        words : sequence of str
        limit : int, optional
            Count only the first `limit` words of the vocabulary.

        Returns
        -------
        indices : ndarray of int64, shape (len(words),)
            -1 where a word is not there.
        """
        table = self.words.key_to_index()
        stop = len(self) if limit is None else min(limit, len(self))
        found = np.full(len(words), -1, dtype=np.int64)
        for position, word in enumerate(words):
            index = table.get(word, -1)
            if not 0 <= index < stop and self.lowercase:
                index = table.get(word.lower(), -1)
            if 0 <= index < stop:
                found[position] = index
        return found

    def vectors(self, indices: Indices, *, asking: bool = False) -> Matrix:
        """Unit vectors of some words; the mean direction of all words where an index is -1.

        Parameters
        ----------
        indices : ndarray of int64, shape (n_indices,)
        asking : bool, default False
            Take the asking side.

        Returns
        -------
        ndarray of float32, shape (n_indices, m)
        """
        side = self.queries if asking else self.rows
        taken = side[indices]
        if (indices < 0).any():
            mean = side.mean(axis=0, dtype=np.float64)[None, :]
            taken[indices < 0] = unit_rows(mean).astype(np.float32)
        return taken

    def scores(self, queries: Indices, rows: slice | Indices | None = None) -> Matrix:
        """Scores of query words against stored words.

        Parameters
        ----------
        queries : ndarray of int64, shape (n_queries,)
        rows : slice or ndarray of int64, optional
            Stored words; all by default.

        Returns
        -------
        ndarray of float32, shape (n_queries, n_rows)
        """
        stored = self.rows if rows is None else self.rows[rows]
        return self.exact(self.queries[queries] @ stored.T)

    def exact(self, scores: Matrix) -> Matrix:
        """Undo rounding where scores are multiples of ``1 / m``, so that ties are ties.

        Parameters
        ----------
        scores : ndarray of float32
            Changed in place.

        Returns
        -------
        ndarray of float32
            `scores`.
        """
        if self.sign_queries:
            width = np.float32(self.rows.shape[1])
            scores *= width
            np.rint(scores, out=scores)
            scores /= width
        return scores


def space_of(
    vectors: KeyedVectors | CompressedVectors,
    *,
    scoring: str | None = None,
    floats: KeyedVectors | None = None,
    lowercase: bool = True,
    name: str | None = None,
) -> Space:
    """The space in which vectors are compared.

    Parameters
    ----------
    vectors : KeyedVectors or CompressedVectors
        Float vectors are compared by cosine.
    scoring : {"hamming", "asymmetric"}, optional
        How codes are compared, ``"hamming"`` by default: code against code, see
        :class:`~embcompress.CompressedVectors`. ``"asymmetric"``: the asking side keeps its real
        values.
    floats : KeyedVectors, optional
        The vectors that the codes were made from; with ``"asymmetric"`` their projections ask.
        Without them the decoded scores do.
    lowercase : bool, default True
        Look for the lower-case form of a word that is not there.
    name : str, optional
        What a table calls it; by default ``"float"``, ``"hamming"`` or ``"asymmetric"``.

    Returns
    -------
    Space

    Raises
    ------
    ValueError
        If `scoring` is unknown or given for float vectors, or if `floats` has other words.

    Examples
    --------
    >>> from embcompress import CompressedVectors, KeyedVectors, Sign
    >>> kv = KeyedVectors(["cat", "dog"], [[1, 2, -1, 1], [1, 1, -2, -1]])
    >>> space = space_of(CompressedVectors.compress(kv, Sign()))
    >>> space.scores(space.find(["cat"]))
    array([[1. , 0.5]], dtype=float32)
    """
    if isinstance(vectors, KeyedVectors):
        if scoring is not None or floats is not None:
            raise ValueError("scoring and floats are for compressed vectors; leave them out here")
        unit = unit_rows(vectors.vectors).astype(np.float32, copy=False)
        return Space(vectors.index_to_key, unit, unit, name or "float", lowercase=lowercase)
    scoring = scoring or "hamming"
    if scoring not in SCORINGS:
        raise ValueError(f"scoring={scoring!r}; allowed: {' or '.join(map(repr, SCORINGS))}")
    encoder = vectors.encoder
    rows = _unit_values(encoder, vectors.codes)
    symmetric, two_bits = scoring == "hamming", bool(encoder.n_second)
    return Space(
        vectors.index_to_key,
        rows,
        rows if symmetric else _asking(vectors, floats),
        name or scoring,
        sign_queries=symmetric and not two_bits,
        cut=partial(_cut, encoder) if symmetric and two_bits else None,
        lowercase=lowercase,
        # what asks is cut already, where it is
        search=partial(_search, vectors, "asymmetric" if two_bits else scoring),
    )


def _search(small: CompressedVectors, scoring: str, queries: Matrix, k: int) -> Indices:
    return small.nearest(queries, k, scoring)[0]


def _unit_values(encoder: Encoder, codes: npt.NDArray[np.uint8]) -> Matrix:
    rows = np.empty((len(codes), encoder.n_directions), dtype=np.float32)
    for start in range(0, len(rows), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        rows[part] = encoder.values(codes[part])
        rows[part] /= encoder.value_lengths(codes[part])[:, None]
    return rows


def _cut(encoder: Encoder, queries: Matrix) -> Matrix:
    return _unit_values(encoder, encoder.cut(queries))


def _asking(small: CompressedVectors, floats: KeyedVectors | None) -> Matrix:
    if floats is None:
        # the vectors that most_similar asks with when it scores asymmetrically
        return np.asarray(small._unit_rows(range(len(small))))
    if floats.index_to_key != small.index_to_key:
        raise ValueError(
            f"floats has {len(floats)} words that are not the {len(small)} words of the codes in "
            "their order; give the vectors that were compressed"
        )
    out = np.empty((len(small), small.encoder.n_directions), dtype=np.float32)
    for start in range(0, len(out), _CHUNK_ROWS):
        part = slice(start, start + _CHUNK_ROWS)
        out[part] = unit_rows(small.encoder.project(floats.vectors[part]))
    return out

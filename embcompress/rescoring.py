"""Finer scores for a shortlist of codes: from the originals, or from real-valued queries.

A shortlist is a matrix of row positions, one row per query, -1 where there is none, as
:meth:`HammingIndex.search` returns it. Only the rows on the list are read, so the originals may
stay in a file that is memory-mapped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from embcompress.codes import check_codes

__all__ = ["AsymmetricScorer", "FloatScorer", "Scorer", "quantize_int8", "rescore"]

Indices = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]

# float32 values per step: the temporaries stay within a few times 8 MB
_CHUNK_VALUES = 2_000_000


class Scorer(Protocol):
    """What rescoring asks of a scorer: it knows the queries and what the indices stand for."""

    def scores(self, indices: Indices) -> Scores:
        """Score a shortlist.

        Parameters
        ----------
        indices : ndarray of int64, shape (n_queries, m)
            Row positions; -1 where there is none.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, m)
            Larger is nearer; whatever the entries for -1 are, they are not used.
        """
        ...


class FloatScorer:
    """Cosines or dot products of float queries with the original vectors.

    Parameters
    ----------
    query_vectors : array-like of shape (n_queries, n_features)
    originals : array-like of float32, float16 or int8, shape (n, n_features)
        A :class:`numpy.memmap` stays in its file. int8 comes with `scale`, see
        :func:`quantize_int8`.
    metric : {"cosine", "dot"}, default "cosine"
        The cosine with a vector of zeros is 0.
    scale : array-like of floats, optional
        What `originals` are multiplied by: shape (n,) or (n, 1) for one factor per row, (1,
        n_features) for one per column.

    Raises
    ------
    TypeError
        If `originals` has another data type.
    ValueError
        If shapes do not agree or `metric` is not known.

    Examples
    --------
    >>> vectors = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], dtype=np.float32)
    >>> scorer = FloatScorer([[0.0, 1.0]], vectors)
    >>> scorer.scores(np.array([[2, 0, -1]]))
    array([[  1.,   0., -inf]], dtype=float32)
    >>> small, scale = quantize_int8(vectors)
    >>> FloatScorer([[0.0, 1.0]], small, metric="dot", scale=scale).scores(np.array([[2, 0]]))
    array([[2., 0.]], dtype=float32)
    """

    def __init__(
        self,
        query_vectors: npt.ArrayLike,
        originals: npt.ArrayLike,
        *,
        metric: str = "cosine",
        scale: npt.ArrayLike | None = None,
    ) -> None:
        if metric not in ("cosine", "dot"):
            raise ValueError(f"metric={metric!r} is not known; allowed: 'cosine', 'dot'")
        self.metric = metric
        self.originals = np.asanyarray(originals)
        if self.originals.dtype.name not in ("float32", "float16", "int8"):
            raise TypeError(
                f"originals has dtype {self.originals.dtype}; float32, float16 or int8 is needed"
            )
        if self.originals.ndim != 2:
            raise ValueError(
                f"originals has shape {self.originals.shape}; (n, n_features) is needed"
            )
        if scale is None and self.originals.dtype == np.int8 and metric == "dot":
            raise ValueError(
                "originals of dtype int8 need scale= for metric='dot' (see quantize_int8)"
            )
        self.query_vectors = _float_matrix("query_vectors", query_vectors, self.originals.shape[1])
        self.scale = None if scale is None else self._checked_scale(scale)

    def _checked_scale(self, scale: npt.ArrayLike) -> npt.NDArray[np.float32]:
        array = np.asarray(scale, dtype=np.float32)
        n, n_features = self.originals.shape
        if array.shape == (n,):
            return array[:, None]
        if array.shape not in ((n, 1), (1, n_features)):
            raise ValueError(
                f"scale has shape {array.shape}; ({n},) per row or (1, {n_features}) per column "
                "is needed"
            )
        return array

    def scores(self, indices: Indices) -> Scores:
        """Score a shortlist.

        Parameters
        ----------
        indices : array-like of integers, shape (n_queries, m)
            Rows of `originals`; -1 where there is none.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, m)
            -inf where the index is -1.

        Raises
        ------
        ValueError
            If the number of queries is another or an index is out of range.
        """
        indices = _check_shortlist(indices, len(self.query_vectors), len(self.originals))
        scores = np.empty(indices.shape, dtype=np.float32)
        for part in _parts(indices, self.originals.shape[1]):
            rows = np.maximum(indices[part], 0)
            vectors = np.asarray(self.originals[rows], dtype=np.float32)
            if self.scale is not None:
                vectors *= self.scale[rows] if len(self.scale) > 1 else self.scale[0]
            queries = self.query_vectors[part[0]]
            scores[part] = _dots(queries, vectors)
            if self.metric == "cosine":
                lengths = np.sqrt(np.einsum("qmd,qmd->qm", vectors, vectors))
                lengths *= np.linalg.norm(queries, axis=1)[:, None]
                scores[part] /= np.where(lengths > 0, lengths, 1)
        scores[indices < 0] = -np.inf
        return scores


class AsymmetricScorer:
    """Dot products of real-valued queries with the -1/+1 vectors that codes stand for.

    One side keeps its real values, so codes at equal Hamming distance are told apart, without
    the originals.

    Parameters
    ----------
    projected_queries : array-like of shape (n_queries, n_bits)
        Queries in code space: the output of a quantizer's ``project``.
    codes : array-like of uint8, shape (n, ceil(n_bits / 8))
        A :class:`numpy.memmap` stays in its file.
    n_bits : int
    scales : array-like of floats, shape (n,), optional
        What the dot product with each code is multiplied by.

    Raises
    ------
    TypeError, ValueError
        If these are not codes of `n_bits` bits, or shapes do not agree.

    Examples
    --------
    >>> from embcompress.codes import pack_bits
    >>> codes = pack_bits([[1, 1, 0], [0, 1, 1], [1, 0, 1]])
    >>> scorer = AsymmetricScorer([[2.0, -0.5, 0.25]], codes, n_bits=3)
    >>> scorer.scores(np.array([[2, 0, 1]]))
    array([[ 2.75,  1.25, -2.25]], dtype=float32)
    """

    def __init__(
        self,
        projected_queries: npt.ArrayLike,
        codes: npt.ArrayLike,
        n_bits: int,
        scales: npt.ArrayLike | None = None,
    ) -> None:
        self.n_bits = n_bits
        self.codes = check_codes(codes, n_bits)
        self.projected_queries = _float_matrix("projected_queries", projected_queries, n_bits)
        self.scales = None if scales is None else np.asarray(scales, dtype=np.float32)
        if self.scales is not None and self.scales.shape != (len(self.codes),):
            raise ValueError(
                f"scales has shape {self.scales.shape}, ({len(self.codes)},) is needed"
            )

    def scores(self, indices: Indices) -> Scores:
        """Score a shortlist.

        Parameters
        ----------
        indices : array-like of integers, shape (n_queries, m)
            Rows of `codes`; -1 where there is none.

        Returns
        -------
        scores : ndarray of float32, shape (n_queries, m)
            -inf where the index is -1.

        Raises
        ------
        ValueError
            If the number of queries is another or an index is out of range.
        """
        indices = _check_shortlist(indices, len(self.projected_queries), len(self.codes))
        scores = np.empty(indices.shape, dtype=np.float32)
        for part in _parts(indices, self.n_bits):
            rows = np.maximum(indices[part], 0)
            bits = np.unpackbits(self.codes[rows], axis=-1, count=self.n_bits)
            queries = self.projected_queries[part[0]]
            # signs are 2 * bits - 1, so their dot product needs no third array
            scores[part] = 2 * _dots(queries, bits.astype(np.float32))
            scores[part] -= queries.sum(axis=1, keepdims=True)
            if self.scales is not None:
                scores[part] *= self.scales[rows]
        scores[indices < 0] = -np.inf
        return scores


def quantize_int8(X: npt.ArrayLike) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a matrix to int8, with one scale per row.

    Parameters
    ----------
    X : array-like of floats, shape (n, n_features)
        A :class:`numpy.memmap` is read in pieces.

    Returns
    -------
    quantized : ndarray of int8, shape (n, n_features)
        From -127 to 127; the largest value of a row becomes 127 or -127.
    scale : ndarray of float32, shape (n,)
        ``quantized * scale[:, None]`` is near `X`, by half a step of `scale` or less; 1 for a row
        of zeros.

    Raises
    ------
    ValueError
        If `X` is not a matrix of numbers, or holds NaN or infinity.

    Examples
    --------
    >>> quantize_int8([[1.0, -0.5], [0.0, 0.0]])[0]
    array([[127, -64],
           [  0,   0]], dtype=int8)
    """
    matrix = np.asanyarray(X)
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu":
        raise ValueError(
            f"X has shape {matrix.shape}, dtype {matrix.dtype}; a matrix of numbers is needed"
        )
    quantized = np.empty(matrix.shape, dtype=np.int8)
    scale = np.ones(len(matrix), dtype=np.float32)
    step = max(1, _CHUNK_VALUES // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), step):
        part = slice(start, start + step)
        values = np.asarray(matrix[part], dtype=np.float32)
        largest = np.abs(values).max(axis=1, initial=0)
        if not np.isfinite(largest).all():
            row = start + int(np.flatnonzero(~np.isfinite(largest))[0])
            raise ValueError(f"X holds NaN or infinity, first in row {row}")
        # a row of tiny numbers can have a scale that rounds to 0: it is stored as zeros
        scale[part] = np.where(largest / np.float32(127) > 0, largest / np.float32(127), 1)
        quantized[part] = np.clip(np.rint(values / scale[part][:, None]), -127, 127)
    return quantized, scale


def rescore(shortlist: Indices, k: int, scorer: Scorer) -> tuple[Scores, Indices]:
    """Take the best `k` of each row of a shortlist by score.

    Parameters
    ----------
    shortlist : ndarray of int64, shape (n_queries, m)
        Row positions; -1 where there is none.
    k : int
        At least 1.
    scorer : Scorer

    Returns
    -------
    scores : ndarray of float32, shape (n_queries, k)
        Descending; -inf where there is none.
    indices : ndarray of int64, shape (n_queries, k)
        Equal scores in ascending order; -1 where there is none.

    Raises
    ------
    ValueError
        If the scorer returns another shape, or NaN.
    """
    scores = np.array(scorer.scores(shortlist), dtype=np.float32)
    if scores.shape != shortlist.shape:
        raise ValueError(
            f"the scorer returned shape {scores.shape} for a shortlist of shape {shortlist.shape}"
        )
    nobody = shortlist < 0
    scores[nobody] = -np.inf
    if np.isnan(scores).any():
        raise ValueError("the scorer returned NaN; do the queries or the originals hold NaN?")
    # the third key puts -1 behind candidates that a scorer gave -inf
    order = np.lexsort((shortlist, nobody, -scores), axis=-1)[:, :k]
    scores = np.take_along_axis(scores, order, 1)
    indices = np.take_along_axis(shortlist, order, 1)
    missing = ((0, 0), (0, k - indices.shape[1]))
    if missing[1][1]:
        scores = np.pad(scores, missing, constant_values=-np.inf)
        indices = np.pad(indices, missing, constant_values=-1)
    return scores, indices


def _float_matrix(name: str, given: npt.ArrayLike, width: int) -> npt.NDArray[np.float32]:
    array = np.asarray(given)
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != width:
        raise ValueError(
            f"{name} has shape {array.shape}, dtype {array.dtype}; real numbers of shape "
            f"(n_queries, {width}) are needed"
        )
    return array.astype(np.float32, copy=False)


def _check_shortlist(indices: Any, n_queries: int, n_rows: int) -> Indices:
    array = np.asarray(indices)
    if array.dtype.kind not in "iu" or array.ndim != 2 or len(array) != n_queries:
        raise ValueError(
            f"the shortlist has shape {array.shape}, dtype {array.dtype}; the scorer was made "
            f"with {n_queries} queries: integers of shape ({n_queries}, m) are needed"
        )
    if array.size and array.max() >= n_rows:
        raise ValueError(
            f"the shortlist holds index {array.max()}, the scorer has {n_rows} rows; was it made "
            "with the rows that are in the index?"
        )
    return array


def _parts(indices: Indices, width: int) -> Iterator[tuple[slice, slice]]:
    """Cut a shortlist into pieces of at most about `_CHUNK_VALUES` values of `width` each."""
    n_queries, m = indices.shape
    columns = max(1, min(m, _CHUNK_VALUES // width))
    rows = max(1, _CHUNK_VALUES // (columns * width))
    for row in range(0, n_queries, rows):
        for column in range(0, m, columns):
            yield slice(row, row + rows), slice(column, column + columns)


def _dots(queries: npt.NDArray[np.float32], vectors: npt.NDArray[np.float32]) -> Scores:
    """Dot product of each query with its own vectors: (q, d) and (q, m, d) to (q, m)."""
    return np.matmul(vectors, queries[:, :, None])[:, :, 0]

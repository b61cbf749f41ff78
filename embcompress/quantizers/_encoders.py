"""What the quantizers fit alike: the encoder of a linear map, its levels and its way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embcompress.encoder import Encoder
from embcompress.quantizers._arrays import Array, is_numpy, like, namespace
from embcompress.quantizers._rows import Rows, as_rows

__all__ = ["fit_encoder", "fit_levels"]

Floats = npt.NDArray[np.floating]


def fit_encoder(
    rows: Rows | Floats,
    mean: Floats,
    projection: Floats,
    *,
    orthonormal: bool,
    n_second: int = 0,
    normalize: bool = False,
    scale: float = 1.0,
) -> Encoder:
    """Encoder of a linear map with thresholds 0: its levels, and its way back.

    Parameters
    ----------
    rows : Rows or ndarray of shape (n, n_features)
        Prepared (normalized, centred) rows to estimate from.
    mean : ndarray of shape (n_features,)
    projection : ndarray of shape (n_features, n_directions)
    orthonormal : bool
        Whether the columns of `projection` are: then its transpose decodes, and nothing more is
        stored. Otherwise a decoder is fitted by least squares.
    n_second : int
        Number of directions, the first ones, that get a second bit.
    normalize, scale
        As in :class:`Encoder`.

    Returns
    -------
    Encoder
    """
    rows = as_rows(rows)
    thresholds = np.zeros(projection.shape[1])
    scores = rows.map(lambda block: block @ like(projection, block))
    encoder = Encoder(
        n_bits=projection.shape[1] + n_second,
        mean=mean,
        projection=projection,
        thresholds=thresholds,
        levels=fit_levels(scores, thresholds, n_second),
        normalize=normalize,
        scale=scale,
    )
    return encoder if orthonormal else replace(encoder, decoder=_fit_decoder(encoder, rows))


def fit_levels(scores: Rows | Floats, thresholds: Floats, n_second: int = 0) -> Floats:
    """Mean score of the rows behind each number that a code can stand for.

    Parameters
    ----------
    scores : Rows or ndarray of shape (n, n_directions)
        ``prepare(x) @ projection``.
    thresholds : ndarray of shape (n_directions,)
        Zeros where there are second bits.
    n_second : int
        Number of directions, the first ones, that have a second bit.

    Returns
    -------
    levels : ndarray of shape (2, n_directions), or (4, n_directions) with second bits
        Ascending numbers. One without rows gets the mean of the rows with the same first bit,
        and if there are none either, of all.
    """
    scores = as_rows(scores)

    def sums(block: Array) -> tuple[Array, ...]:
        wheres = _sides(block, thresholds, n_second)
        return (
            block.sum(axis=0),
            *(_count(where) for where in wheres),
            *(_sum_where(where, block) for where in wheres),
        )

    total, *rest = scores.total(sums)
    counts, totals = np.split(np.stack(rest), 2)
    mean = total / scores.n
    sides = [_mean_of(counts[k], totals[k], mean) for k in (0, 1)]
    if not n_second:
        return np.stack(sides)
    levels = np.stack([_mean_of(counts[k], totals[k], sides[k // 2 - 1]) for k in (2, 3, 4, 5)])
    # a direction without a second bit has one level per side
    levels[:, n_second:] = np.repeat(np.stack(sides)[:, n_second:], 2, axis=0)
    return levels


def _sides(block: Array, thresholds: Floats, n_second: int) -> list[Array]:
    """Which scores stand behind each first bit, and then behind each pair of bits."""
    first = block >= like(thresholds, block)
    if not n_second:
        return [~first, first]
    large = _large(block)
    # the second bit is 1 for a large positive score and for a small negative one
    return [~first, first, ~first & large, ~first & ~large, first & ~large, first & large]


def _large(scores: Array) -> Array:
    """Scores of at least the root mean square of their row."""
    xp = namespace(scores)
    mean_square = xp.sum(scores * scores, axis=1) / scores.shape[1]
    return xp.abs(scores) >= xp.sqrt(mean_square)[:, None]


def _count(where: Array) -> Array:
    return namespace(where).sum(where, axis=0, dtype=namespace(where).int64)


def _sum_where(where: Array, scores: Array) -> Array:
    if is_numpy(scores):
        return np.where(where, scores, 0).sum(axis=0, dtype=np.float64)
    xp = namespace(scores)
    return xp.sum(xp.where(where, scores, xp.zeros_like(scores)), axis=0)


def _mean_of(counts: Floats, totals: Floats, fallback: Floats) -> Floats:
    return np.where(counts > 0, totals / np.maximum(counts, 1), fallback)


def _fit_decoder(encoder: Encoder, rows: Rows) -> Floats:
    """Least-squares map from decoded scores back to prepared rows."""
    projection, levels, n_second = encoder.projection, encoder.levels, encoder.n_second
    assert projection is not None

    def sums(block: Array) -> tuple[Array, Array]:
        scores = block @ like(projection, block)
        values = _decoded(scores, levels, n_second)
        return values.T @ values, values.T @ block

    gram, crossed = rows.total(sums)
    # a ridge of 1e-3 of the mean energy: bits may repeat one another
    gram[np.diag_indices_from(gram)] += 1e-3 * max(np.trace(gram) / len(gram), 1e-30)
    return np.linalg.solve(gram, crossed)


def _decoded(scores: Array, levels: Floats, n_second: int) -> Array:
    """Level of each score: what decoding its bits gives."""
    xp = namespace(scores)
    first = scores >= 0
    if not n_second:
        low, high = (like(level, scores) for level in levels)
        return xp.where(first, high, low)
    lowest, low, high, highest = (like(level, scores) for level in levels)
    large = _large(scores)
    return xp.where(first, xp.where(large, highest, high), xp.where(large, lowest, low))

"""What the quantizers fit alike: the encoder of a linear map, its levels and its way back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from embcompress.codes import unpack_bits
from embcompress.encoder import Encoder, cut_scores

__all__ = ["fit_encoder", "fit_levels"]

Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.uint8]


def fit_encoder(
    rows: Floats,
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
    rows : ndarray of shape (n, n_features)
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
    scores = rows @ projection
    codes = cut_scores(scores, n_second)
    encoder = Encoder(
        n_bits=projection.shape[1] + n_second,
        mean=mean,
        projection=projection,
        thresholds=np.zeros(projection.shape[1]),
        levels=fit_levels(scores, codes, n_second),
        normalize=normalize,
        scale=scale,
    )
    return encoder if orthonormal else replace(encoder, decoder=_fit_decoder(encoder, rows, codes))


def fit_levels(scores: Floats, codes: Codes, n_second: int = 0) -> Floats:
    """Mean score of the rows behind each number that a code can stand for.

    Parameters
    ----------
    scores : ndarray of shape (n, n_directions)
        ``prepare(x) @ projection``.
    codes : ndarray of uint8, shape (n, ceil((n_directions + n_second) / 8))
    n_second : int
        Number of directions, the first ones, that have a second bit.

    Returns
    -------
    levels : ndarray of shape (2, n_directions), or (4, n_directions) with second bits
        Ascending numbers. One without rows gets the mean of the rows with the same first bit,
        and if there are none either, of all.
    """
    n_directions = scores.shape[1]
    bits = unpack_bits(codes, n_directions + n_second).view(np.bool_)
    first = bits[:, :n_directions]
    mean = scores.mean(axis=0, dtype=np.float64)
    sides = [_mean_where(scores, side, mean) for side in (~first, first)]
    if not n_second:
        return np.stack(sides)
    second = np.zeros_like(first)
    second[:, :n_second] = bits[:, n_directions:]
    levels = np.stack(
        [
            _mean_where(scores, side & half, fallback)
            for side, fallback in zip((~first, first), sides, strict=True)
            for half in (~second, second)
        ]
    )
    # a direction without a second bit has one level per side
    levels[:, n_second:] = np.repeat(np.stack(sides)[:, n_second:], 2, axis=0)
    return levels


def _mean_where(scores: Floats, where: npt.NDArray[np.bool_], fallback: Floats) -> Floats:
    counts = where.sum(axis=0)
    totals = np.where(where, scores, 0).sum(axis=0, dtype=np.float64)
    return np.where(counts > 0, totals / np.maximum(counts, 1), fallback)


def _fit_decoder(encoder: Encoder, rows: Floats, codes: Codes) -> Floats:
    """Least-squares map from decoded scores back to prepared rows."""
    values = encoder.decode_scores(codes).astype(rows.dtype, copy=False)
    gram = (values.T @ values).astype(np.float64)
    # a ridge of 1e-3 of the mean energy: bits may repeat one another
    gram[np.diag_indices_from(gram)] += 1e-3 * max(np.trace(gram) / len(gram), 1e-30)
    return np.linalg.solve(gram, (values.T @ rows).astype(np.float64))

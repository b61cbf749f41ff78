"""How many dominant directions of a set of vectors carry no meaning, found without labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from embcompress.quantizers._rows import Rows, as_rows, draw_rows

__all__ = ["choose_n_remove", "spectrum_excess"]

Floats = npt.NDArray[np.floating]

# A direction stands out if its variance is a quarter above what the spectrum behind it predicts.
# On our five word-embedding files and two sets of image features, every value from 1.10 to 1.64
# gives the same answers; pure power laws stay near 1.
_EXCESS = 1.25
# Ranks behind a direction that the prediction is fitted to.
_WINDOW = 20
# At most one direction in 30 is removed, and never more than 10.
_DIMS_PER_REMOVED, _MOST_REMOVED = 30, 10
# Directions that hold clusters carry classes, not a nuisance: there, neighbours are nearer than
# half of what a Gaussian of the same size would have.
_CLUMPED = 0.5
_CLUMP_NEIGHBOURS, _CLUMP_ROWS = 10, 2_000


def choose_n_remove(variances: Floats, scores: Rows | Floats, random: np.random.RandomState) -> int:
    """Number of leading directions to null.

    A direction counts as dominant if it sticks out of the power law that the directions behind
    it follow. It is kept all the same if the rows form clusters in the dominant directions.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Eigenvalues of the covariance, largest first.
    scores : Rows or ndarray of shape (n, m)
        Rows of a sample, projected on the leading directions, m >= min(10, d // 30).
    random : RandomState

    Returns
    -------
    int
        From 0 to ``min(10, d // 30)``.
    """
    positive = variances[variances > 1e-6 * variances[0]]
    most = min(_MOST_REMOVED, len(variances) // _DIMS_PER_REMOVED, len(positive) - 8)
    if most < 1:
        return 0
    standing_out = np.flatnonzero(spectrum_excess(positive, most) > _EXCESS)
    if not len(standing_out):
        return 0
    n_remove = int(standing_out[-1]) + 1
    return 0 if _is_clumped(as_rows(scores), n_remove, random) else n_remove


def spectrum_excess(variances: Floats, n: int) -> Floats:
    """Variance of each leading direction over what the directions behind it predict.

    Direction k is judged as if those before it were nulled: a line is fitted to (log rank, log
    variance) of the 20 directions behind k, at the ranks 2 to 21, and continued to rank 1.

    Parameters
    ----------
    variances : ndarray of shape (d,)
        Positive, largest first.
    n : int
        How many leading directions to judge; at most d - 2.

    Returns
    -------
    ndarray of shape (n,)
    """
    log_variance = np.log(variances)
    excess = np.empty(n)
    for k in range(n):
        behind = log_variance[k + 1 : k + 1 + _WINDOW]
        _, at_rank_one = np.polyfit(np.log(np.arange(2, len(behind) + 2)), behind, 1)
        excess[k] = np.exp(log_variance[k] - at_rank_one)
    return excess


def _is_clumped(scores: Rows, n_leading: int, random: np.random.RandomState) -> bool:
    """Whether rows lie in clusters: near neighbours are much nearer than in a Gaussian."""
    if scores.n <= 2 * _CLUMP_NEIGHBOURS:
        return False
    rows = scores.take(draw_rows(scores.n, _CLUMP_ROWS, random))[:, :n_leading]
    whitened = rows / rows.std(axis=0)
    gaussian = random.normal(size=whitened.shape)
    return _neighbour_distance(whitened) < _CLUMPED * _neighbour_distance(gaussian)


def _neighbour_distance(points: Floats) -> float:
    """Median distance of a point to its tenth neighbour."""
    distances, _ = cKDTree(points).query(points, [_CLUMP_NEIGHBOURS + 1])
    return float(np.median(distances))

"""Results of a search as keys: one int64 each, what it is ranked by above, its row below.

The smallest keys are the best results, and results of parts of an index are merged by taking the
smallest of all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "DISTANCE_SHIFT",
    "SCORE_SHIFT",
    "WORST",
    "Keys",
    "distances_of",
    "keys_of_distances",
    "keys_of_scores",
    "scores_of",
    "smallest",
]

Keys = npt.NDArray[np.int64]

#: Bits of a key that hold the row.
DISTANCE_SHIFT, SCORE_SHIFT = 40, 32
#: Stands for no result; larger than every key.
WORST = np.int64(2**63 - 1)


def keys_of_distances(distances: npt.NDArray[np.integer], rows: Keys) -> Keys:
    """Rank by rising distance, then by row."""
    return (distances.astype(np.int64) << DISTANCE_SHIFT) | rows


def keys_of_scores(scores: npt.NDArray[np.float32], rows: Keys) -> Keys:
    """Rank by falling score, then by row."""
    bits = (scores + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0
    ordered = np.where(bits >= 0, bits, bits ^ np.int32(0x7FFFFFFF))
    return ((~ordered).astype(np.int64) << SCORE_SHIFT) | rows


def distances_of(keys: Keys, none: int) -> tuple[npt.NDArray[np.int32], Keys]:
    """Distances and rows; `none` and -1 where there is no result."""
    if not keys.size or keys.max() != WORST:  # the usual case: after a scan every call is slow
        return (keys >> DISTANCE_SHIFT).astype(np.int32), keys & ((1 << DISTANCE_SHIFT) - 1)
    found = keys != WORST
    distances = np.where(found, keys >> DISTANCE_SHIFT, none).astype(np.int32)
    return distances, np.where(found, keys & ((1 << DISTANCE_SHIFT) - 1), -1)


def scores_of(keys: Keys) -> tuple[npt.NDArray[np.float32], Keys]:
    """Scores and rows; -inf and -1 where there is no result."""
    found = keys != WORST
    ordered = ~(keys >> SCORE_SHIFT).astype(np.int32)
    bits = np.where(ordered >= 0, ordered, ordered ^ np.int32(0x7FFFFFFF))
    scores = np.where(found, bits.view(np.float32), np.float32(-np.inf))
    return scores, np.where(found, keys & ((1 << SCORE_SHIFT) - 1), -1)


def smallest(keys: Keys, k: int) -> Keys:
    """The `k` smallest of each row in order, filled up with `WORST`."""
    if keys.shape[1] > 4 * k:
        keys = np.partition(keys, k - 1, axis=1)[:, :k]
    keys = np.sort(keys, axis=1)[:, :k]
    missing = k - keys.shape[1]
    return np.pad(keys, ((0, 0), (0, missing)), constant_values=WORST) if missing else keys

"""One list of neighbours from those of several parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["merge_neighbors"]

Distances = npt.NDArray[np.int32]
Indices = npt.NDArray[np.int64]


def merge_neighbors(
    parts: Sequence[tuple[Distances, Indices]], k: int
) -> tuple[Distances, Indices]:
    """Merge the neighbours that were found in parts of a set of codes.

    If each part brings its own `k` nearest (or all that it has), the result is that of one index
    over everything.

    Parameters
    ----------
    parts : sequence of (distances, indices)
        Each of shape (n_queries, k_part), with indices into the whole set. Index -1 marks places
        where nothing was found.
    k : int
        Neighbours to keep per query.

    Returns
    -------
    distances : ndarray of int32, shape (n_queries, k)
        Ascending.
    indices : ndarray of int64, shape (n_queries, k)
        Equal distances by ascending index. Where the parts have fewer than `k` neighbours in all
        the index is -1, and the distance the largest that came with one.

    Raises
    ------
    ValueError
        If there is no part, the parts have other numbers of queries, or `k` is smaller than 1.

    Examples
    --------
    >>> import numpy as np
    >>> first = np.array([[0, 5]], dtype=np.int32), np.array([[3, 1]])
    >>> second = np.array([[0, 4]], dtype=np.int32), np.array([[7, 9]])
    >>> merge_neighbors([first, second], k=3)
    (array([[0, 0, 4]], dtype=int32), array([[3, 7, 9]]))
    """
    if not parts:
        raise ValueError("there are no parts to merge")
    if k < 1:
        raise ValueError(f"k={k} must be at least 1")
    counts = {len(distances) for distances, _ in parts}
    if len(counts) > 1:
        raise ValueError(
            f"parts have {' and '.join(map(str, sorted(counts)))} queries; all need the same"
        )
    distances = np.concatenate([part[0] for part in parts], axis=1)
    indices = np.concatenate([part[1] for part in parts], axis=1)
    n_missing = k - distances.shape[1]
    if n_missing > 0:
        fill = int(distances.max(initial=0))
        distances = np.pad(distances, ((0, 0), (0, n_missing)), constant_values=fill)
        indices = np.pad(indices, ((0, 0), (0, n_missing)), constant_values=-1)
    # as the largest number, -1 comes last among equal distances
    order = np.lexsort((indices.view(np.uint64), distances), axis=-1)[:, :k]
    rows = np.arange(len(order))[:, None]
    return distances[rows, order], indices[rows, order]

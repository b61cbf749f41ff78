"""Word categorization: do clusters of vectors hold words of one kind."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from embcompress.evaluation.bootstrap import N_RESAMPLES, measure, skip
from embcompress.evaluation.data import Categories
from embcompress.evaluation.results import Result
from embcompress.evaluation.similarity import check_missing
from embcompress.evaluation.space import Matrix, Space

__all__ = ["evaluate_categorization", "majority_hits"]

Labels = npt.NDArray[np.int64]


def evaluate_categorization(
    space: Space,
    data: Categories,
    *,
    missing: str = "skip",
    n_resamples: int = N_RESAMPLES,
    random_state: int = 0,
) -> Result:
    """Purity of the best of three clusterings of unit vectors.

    K-means (10 starts) and agglomerative clustering (Ward with Euclidean, average with cosine
    distance), as many clusters as there are categories, as in the word-embeddings-benchmarks
    package; the highest purity counts. The stored side is clustered, so asymmetric and
    symmetric scores of the same codes agree.

    Parameters
    ----------
    space : Space
    data : Categories
    missing : {"skip", "mean"}, default "skip"
        A word that is not there is left out, or gets the mean vector.
    n_resamples : int, default 1000
    random_state : int
        Seed of k-means and of the interval.

    Returns
    -------
    Result
        Outcomes are 1 where a word has the most frequent category of its cluster; the interval
        takes clusters and their categories as given. `details` has the purity of each clustering.
        Skipped if there are not more covered words than categories, or only one category.

    Raises
    ------
    ValueError
        If `missing` is unknown.
    """
    check_missing(missing)
    found = space.find(data.words)
    n_covered = int((found >= 0).sum())
    items = np.flatnonzero(found >= 0) if missing == "skip" else np.arange(len(data))
    names, labels = np.unique([data.labels[item] for item in items], return_inverse=True)
    key = ("categorization", data.name, "purity")
    if n_covered <= len(names) or len(names) < 2:
        return skip(key, space.name, n_items=len(data), n_covered=n_covered)
    hits = {
        method: majority_hits(clusters, labels)
        for method, clusters in _cluster(
            space.vectors(found[items]), len(names), random_state
        ).items()
    }
    purities = {method: float(right.mean()) for method, right in hits.items()}
    best = max(purities, key=purities.__getitem__)
    return measure(
        key,
        space.name,
        hits[best],
        items,
        n_items=len(data),
        n_covered=n_covered,
        note=best,
        details=purities,
        n_resamples=n_resamples,
        random_state=random_state,
    )


def majority_hits(clusters: Labels, labels: Labels) -> npt.NDArray[np.float64]:
    """Which items have the most frequent label of their cluster; their mean is the purity.

    Parameters
    ----------
    clusters, labels : ndarray of integers, shape (n,)
        From 0 on.

    Returns
    -------
    ndarray of float64, shape (n,)
        1 or 0. Of equally frequent labels the first counts.

    Examples
    --------
    >>> majority_hits(np.array([0, 0, 0, 1]), np.array([5, 5, 2, 2])).mean()
    np.float64(0.75)
    """
    table = np.zeros((clusters.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(table, (clusters, labels), 1)
    return (table.argmax(axis=1)[clusters] == labels).astype(np.float64)


def _cluster(X: Matrix, n_clusters: int, random_state: int) -> dict[str, Labels]:
    """Cluster numbers by each method; `X` has unit rows."""
    from scipy.cluster.hierarchy import linkage
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    # one product gives the distances of both linkages: |x - y|^2 = 2 (1 - cos)
    scores = X @ X.T
    above = np.concatenate([row[i + 1 :] for i, row in enumerate(scores)])
    cosine = np.maximum(1 - above.astype(np.float64), 0)
    trees = {
        "agglomerative, Ward": linkage(np.sqrt(2 * cosine), "ward"),
        "agglomerative, average cosine": linkage(cosine, "average"),
    }
    clusters = {name: _cut(tree, n_clusters) for name, tree in trees.items()}
    with warnings.catch_warnings():
        # words with equal codes can leave fewer distinct points than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        k_means = KMeans(n_clusters, n_init=10, random_state=random_state)
        clusters["k-means"] = k_means.fit_predict(X)
    return {name: labels.astype(np.int64) for name, labels in clusters.items()}


def _cut(tree: npt.NDArray[np.float64], n_clusters: int) -> Labels:
    """Cluster numbers after the first merges of a tree, which leave exactly `n_clusters`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(tree) + 1
    merges = tree[: n - n_clusters, :2].astype(np.int64)
    parents = np.repeat(np.arange(n, n + len(merges)), 2)
    size = n + len(merges)
    links = coo_array((np.ones(len(parents)), (merges.ravel(), parents)), shape=(size, size))
    return connected_components(links, directed=False)[1][:n].astype(np.int64)

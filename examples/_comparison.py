"""Ways to get more training data, on the same split, with the same head.

A way takes a `Task` and gives rows, labels and weights to train with. Raw augmentation has the
embeddings of the really transformed inputs; all others see one embedding of each training input,
and fitted operators those of other, unlabelled inputs before and after each transform.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.augmentation import EmbeddingAugmenter, GaussianNoise, Mixup, Smote, to_weighted

__all__ = ["Task", "Way", "classical", "fitted", "make_task", "none", "raw", "score", "train"]

Array = npt.NDArray[Any]
Rows = tuple[Array, Array, Array | None]


@dataclass(frozen=True, eq=False)
class Task:
    """One split of embeddings.

    Attributes
    ----------
    X, y : ndarray
        Labelled embeddings to train with.
    X_raw : dict of str to ndarray
        Embeddings of their raw views, by name of the transform.
    Z, Z_views : ndarray, dict of str to ndarray
        Unlabelled embeddings and those of their views.
    X_test, y_test, X_test_views
        What is scored.
    nonnegative : bool
        Whether the embedder ends in a ReLU.
    seed : int
    """

    X: Array
    y: Array
    X_raw: Mapping[str, Array]
    Z: Array
    Z_views: Mapping[str, Array]
    X_test: Array
    y_test: Array
    X_test_views: Mapping[str, Array]
    nonnegative: bool = False
    seed: int = 0


Way = Callable[[Task], Rows]


def make_task(
    features: Array,
    views: Mapping[str, Array],
    labels: Array,
    rows: tuple[Array, Array, Array],
    **options: Any,
) -> Task:
    """The task of some rows: those to train with, unlabelled ones, and those to test."""
    train, unlabelled, test = rows
    parts = [{name: view[part] for name, view in views.items()} for part in rows]
    return Task(
        features[train], labels[train], parts[0], features[unlabelled], parts[1],
        features[test], labels[test], parts[2], **options,
    )  # fmt: skip


def none(task: Task) -> Rows:
    """The embeddings as they are."""
    return task.X, task.y, None


def raw(task: Task) -> Rows:
    """The views themselves, each of which cost a pass of the embedder."""
    rows = np.concatenate([task.X, *task.X_raw.values()])
    return rows, np.tile(task.y, 1 + len(task.X_raw)), None


def fitted(times: int = 1, **options: Any) -> Way:
    """Operators fitted on the unlabelled pairs; `options` are those of the augmenter.

    Parameters
    ----------
    times : int
        Views by each operator; more than one where they are drawn.
    **options
        Of :class:`embcompress.augmentation.EmbeddingAugmenter`.

    Returns
    -------
    callable
    """

    def way(task: Task) -> Rows:
        augmenter = fit_augmenter(task, **options)
        random = np.random.default_rng(task.seed)
        drawn = [augmenter.fit_resample(task.X, task.y, random_state=random) for _ in range(times)]
        X, y = zip(*drawn, strict=True)
        return np.concatenate(X), np.concatenate(y), None

    return way


def fit_augmenter(task: Task, **options: Any) -> EmbeddingAugmenter:
    """An augmenter of the unlabelled pairs; that it explains little is known here."""
    options = {"nonnegative": task.nonnegative, "random_state": task.seed, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return EmbeddingAugmenter(**options).fit(task.Z, task.Z_views)


def classical(kind: str) -> Way:
    """Operations without pairs, with as many views as there are transforms.

    Parameters
    ----------
    kind : {"noise", "mixup", "within-class mixup", "smote"}
        Noise is as long as the displacement of each transform.

    Returns
    -------
    callable
    """

    def way(task: Task) -> Rows:
        random = np.random.default_rng(task.seed)
        classes = np.unique(task.y)
        X, y, weights = [task.X], [task.y], [np.ones(len(task.X))]
        for name in task.X_raw:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                operation = _operation(kind, task, name)
                rows, labels = operation.augment(task.X, task.y, random_state=random)
            share = np.ones(len(rows))
            if labels.ndim == 2:
                rows, labels, share = to_weighted(rows, labels, classes)
            X.append(np.maximum(rows, 0) if task.nonnegative else rows)
            y.append(labels)
            weights.append(share)
        return np.concatenate(X), np.concatenate(y), np.concatenate(weights)

    return way


def _operation(kind: str, task: Task, name: str) -> Any:
    if kind == "noise":
        moved = np.square(task.Z_views[name] - task.Z).mean()
        spread = np.square(task.Z - task.Z.mean(axis=0)).mean()
        noise = GaussianNoise(float(np.sqrt(moved / spread)), kind="isotropic")
        return noise.fit(task.Z)
    operations = {
        "mixup": Mixup(0.2, keep_larger=True),
        "within-class mixup": Mixup(within_class=True),
        "smote": Smote(),
    }
    return operations[kind]


def train(rows: Rows, C: float = 1.0) -> Callable[[Array], Array]:
    """Multinomial logistic regression on standardized embeddings; gives predicted labels."""
    from sklearn.linear_model import LogisticRegression

    X, y, weights = rows
    mean, scale = X.mean(axis=0), X.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1).astype(X.dtype)
    head = LogisticRegression(C=C, max_iter=300, tol=1e-3)
    head.fit((X - mean) / scale, y, sample_weight=weights)
    return lambda Z: head.predict((Z - mean) / scale)


def score(predict: Callable[[Array], Array], task: Task) -> dict[str, float]:
    """Accuracy on clean test embeddings, on each kind of views, and their mean."""
    views = {
        name: float(np.mean(predict(Z) == task.y_test)) for name, Z in task.X_test_views.items()
    }
    clean = float(np.mean(predict(task.X_test) == task.y_test))
    return {"clean": clean, "augmented": float(np.mean(list(views.values()))), **views}

"""Labels of heads: checks, numbers in place of names, weights, a part held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, column_or_1d

__all__ = ["check_labels", "class_weights", "encode", "hold_out", "row_weights"]

Array = npt.NDArray[Any]


def check_labels(head: Any, y: Any) -> Array:
    """Labels as an array of one axis; `ValueError` if they are not classes."""
    if y is None:
        raise ValueError(f"{type(head).__name__} requires y to be passed, but the target y is None")
    labels = column_or_1d(y, warn=True)
    if labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return labels


def encode(labels: Array, classes: Array) -> npt.NDArray[np.int64]:
    """Position of each label in `classes`, which are sorted; `ValueError` if one is not there."""
    positions = np.searchsorted(classes, labels)
    positions[positions == len(classes)] = 0
    unknown = classes[positions] != labels
    if unknown.any():
        raise ValueError(
            f"y holds {labels[unknown][0]!r}, which is not one of the classes of the head, "
            f"{list(classes)}; for other classes train a new head, sklearn.base.clone(head)"
        )
    return positions.astype(np.int64)


def class_weights(
    class_weight: str | Mapping[Any, float] | None, counts: npt.NDArray[np.int64], classes: Array
) -> npt.NDArray[np.float64] | None:
    """Weight of each class, shape (n_classes,); None where all are equal.

    "balanced" is ``n / (n_classes * count)``, as in scikit-learn.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        return counts.sum() / (len(classes) * np.maximum(counts, 1))
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise ValueError(f"class_weight names {unknown}; the classes are {list(classes)}")
    return np.array([float(class_weight.get(label, 1.0)) for label in classes])


def row_weights(
    class_weight: Any, sample_weight: Any, targets: npt.NDArray[np.int64], classes: Array
) -> npt.NDArray[np.float32] | None:
    """Weight of each row, of the mean 1; None where all are equal."""
    counts = np.bincount(targets, minlength=len(classes))
    by_class = class_weights(class_weight, counts, classes)
    if sample_weight is None and by_class is None:
        return None
    weights = np.ones(len(targets)) if by_class is None else by_class[targets]
    if sample_weight is not None:
        weights = weights * _check_sample_weight(
            sample_weight, targets, dtype=np.float64, ensure_non_negative=True
        )
    mean = weights.mean()
    if not mean > 0:
        raise ValueError("all weights of rows are 0; at least one must be positive")
    return (weights / mean).astype(np.float32)


def hold_out(
    labels: Array, fraction: float, random: np.random.RandomState
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows to train on and rows to validate on, with each class in both where there are enough."""
    _, counts = np.unique(labels, return_counts=True)
    n_held = max(1, round(fraction * len(labels)))
    if n_held >= len(labels):
        raise ValueError(
            f"validation_fraction={fraction} of {len(labels)} rows leaves none to train on; "
            "use a smaller fraction or early_stopping=False"
        )
    enough = counts.min() >= 2 and len(counts) <= min(n_held, len(labels) - n_held)
    rows, held = train_test_split(
        np.arange(len(labels)),
        test_size=n_held,
        random_state=random,
        stratify=labels if enough else None,
    )
    return np.sort(rows), np.sort(held)

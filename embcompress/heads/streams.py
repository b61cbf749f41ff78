"""Training on batches that come from elsewhere, such as augmented embeddings made on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_consistent_length

from embcompress.heads.inputs import Moments
from embcompress.heads.targets import check_labels, class_weights, encode
from embcompress.training import Batch

__all__ = ["Stream"]


class Stream:
    """Batches ``(X, y)`` or ``(X, y, weights)`` of arrays, made into batches of tensors.

    Parameters
    ----------
    head : Head
        Whose classes and standardization hold; both are set before the first step.
    source : iterable
        Its ``__iter__`` starts a new pass.

    Raises
    ------
    TypeError
        If `source` is a generator, which is used up after one pass.
    """

    def __init__(self, head: Any, source: Iterable[Any]) -> None:
        if iter(source) is source:
            raise TypeError(
                "batches is gone through once per epoch, a generator is used up after the first: "
                "give a list, or an object whose __iter__ starts anew"
            )
        self.head = head
        self.source = source
        self.kind = head._kind()
        self._by_class: npt.NDArray[np.float64] | None = None

    def first(self) -> npt.NDArray[Any]:
        """Inputs of the first batch; `ValueError` if there is none."""
        for X, *_ in self.source:
            return self.kind.check(self.head, X, reset=True)
        raise ValueError("batches is empty; at least one batch is needed")

    def learn(self) -> None:
        """Go through the batches once for what depends on all of them, if anything does."""
        head = self.head
        head.mean_ = head.scale_ = None
        moments = Moments(self.kind.feature_axis)
        scaled = head.standardize and self.kind.standardizes
        counts = np.zeros(len(head.classes_), dtype=np.int64)
        if scaled or head.class_weight == "balanced":
            for X, y, *_ in self.source:
                moments.update(self.kind.check(head, X, reset=False))
                counts += np.bincount(
                    encode(check_labels(head, y), head.classes_), minlength=len(counts)
                )
        if scaled:
            head.mean_, head.scale_ = moments.result()
        self._by_class = class_weights(head.class_weight, counts, head.classes_)

    def __iter__(self) -> Iterator[Batch]:
        head, kind = self.head, self.kind
        for X, y, *extra in self.source:
            X = kind.check(head, X, reset=False)
            targets = encode(check_labels(head, y), head.classes_)
            check_consistent_length(X, targets)
            stored = kind.prepare(X, head.mean_, head.scale_, np.float32)
            batch = (kind.rows(stored, np.arange(len(X))), torch.from_numpy(targets))
            if not extra and self._by_class is None:
                yield batch
                continue
            weights = np.ones(len(targets)) if self._by_class is None else self._by_class[targets]
            if extra:
                weights = weights * np.asarray(extra[0], dtype=np.float64)
            yield (*batch, torch.from_numpy(weights.astype(np.float32)))

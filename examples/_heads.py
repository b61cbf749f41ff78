"""A head trained on augmented embeddings, pruned and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _comparison import Task, fit_augmenter

from embcompress import runtime
from embcompress.augmentation import AugmentedBatches
from embcompress.heads import MLPHead
from embcompress.pruning import Unstructured

__all__ = ["RATE", "augmented_heads"]

RATE = 10
# views weaker and stronger than the fitted ones: fresh in each epoch
_STRENGTH = (0.5, 1.4)
_HIDDEN = (256,)
_EPOCHS, _RETRAIN_EPOCHS = 40, 30

Predict = Callable[[Any], Any]


def augmented_heads(task: Task) -> dict[str, Predict]:
    """Train on fresh views, prune, retrain on fresh views, compile.

    Parameters
    ----------
    task : Task

    Returns
    -------
    dict of str to callable
        What predicts labels: a head without augmentation, and each step of the one with it.
    """
    options = {"max_epochs": _EPOCHS, "weight_decay": 0.1, "random_state": task.seed}
    augmenter = fit_augmenter(task, strength=_STRENGTH)
    stream = AugmentedBatches(augmenter, task.X, task.y, n_views=6, random_state=task.seed)
    head = MLPHead(_HIDDEN, **options)
    head.fit_batches(stream, classes=np.unique(task.y))
    X, y = augmenter.fit_resample(task.X, task.y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        smaller = head.prune(Unstructured(0.9), X, y, rate=RATE, finetune_epochs=10)
    for epoch in range(_RETRAIN_EPOCHS):
        smaller.partial_fit(*augmenter.fit_resample(task.X, task.y, random_state=epoch))
    program = runtime.compile(smaller)
    return {
        "without augmentation": MLPHead(_HIDDEN, **options).fit(task.X, task.y).predict,
        "on a stream of views": head.predict,
        f"pruned {RATE}x": smaller.predict,
        f"pruned {RATE}x, compiled": lambda Z: smaller.classes_[program(Z).argmax(axis=1)],
    }

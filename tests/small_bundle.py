"""A small classifier of texts as plain arrays: kings against rivers, trained without PyTorch."""

from __future__ import annotations

import numpy as np

from embcompress import TextVectors, runtime

TEXTS = [
    "the king and the queen", "a prince of the royal house", "crown of the emperor", "the throne",
    "the river and the lake", "water of the sea", "a lake in the valley", "the ocean",
]  # fmt: skip
LABELS = ["royal"] * 4 + ["wet"] * 4


def graph(vectors, features="decoded"):
    """Standardization and one layer: the direction from one mean to the other."""
    X = TextVectors(vectors, features).transform(TEXTS)
    scale = 1 / X.std(axis=0).clip(1e-6)
    rows = (X - X.mean(axis=0)) * scale
    step = (rows[4:].mean(axis=0) - rows[:4].mean(axis=0)) / X.shape[1]
    nodes = [
        runtime.Node("standardize", runtime.Affine(X.mean(axis=0), scale)),
        runtime.Node("out", runtime.Linear(np.stack([-step, step])), ("standardize",)),
    ]
    return runtime.Graph(nodes, "rows", (X.shape[1],), np.array(["royal", "wet"]))

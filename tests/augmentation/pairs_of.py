"""Pairs of embeddings whose relation is known."""

from __future__ import annotations

import numpy as np


def linear_pairs(m=120, d=10, *, noise=0.1, seed=0, dtype=np.float64):
    """Embeddings with a decaying spectrum, and views by a linear map, an offset and noise."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(m, d)) / np.sqrt(np.arange(1, d + 1)) + 0.5
    W = rng.normal(size=(d, d)) / np.sqrt(d)
    views = Z + 0.3 + (Z - Z.mean(axis=0)) @ W + noise * rng.normal(size=(m, d))
    return Z.astype(dtype), views.astype(dtype)

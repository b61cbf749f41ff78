"""How well operators predict augmented embeddings of pairs that they have not seen."""

from __future__ import annotations

import warnings
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

__all__ = ["UNEXPLAINED", "OperatorReport", "describe", "warn_if_weak"]

Floats = npt.NDArray[np.floating]

# above this share of unexplained displacement an operator is warned about
UNEXPLAINED = 0.5


class OperatorReport(TypedDict):
    """What is known of one operator.

    ``rho``: unexplained displacement, 1 is no better than the identity. ``rel``: strength of the
    augmentation, its squared displacement over the variance of the embeddings. ``cosine``: mean
    cosine between predicted and true augmented embedding; ``cosine_identity``: that of the
    embedding itself. ``n_pairs``: pairs the three were measured on, which the operator that was
    measured had not seen. ``operator``: its class. ``macs``: per embedding.
    """

    rho: float
    rel: float
    cosine: float
    cosine_identity: float
    n_pairs: int
    operator: str
    macs: int


def describe(Z: Floats, truth: Floats, predicted: Floats) -> dict[str, float]:
    """Compare predicted with true augmented embeddings.

    Parameters
    ----------
    Z : ndarray of shape (m, d)
    truth : ndarray of shape (views, m, d)
        Augmented embeddings.
    predicted : ndarray of shape (m, d) or (views, m, d)

    Returns
    -------
    dict
        ``rho``, ``rel``, ``cosine``, ``cosine_identity``, see :class:`OperatorReport`; 0 for
        ``rho`` and ``rel`` where nothing moves, or nothing varies.
    """
    moved = _energy(truth - Z)
    unexplained, variance = _energy(truth - predicted), _energy(Z - Z.mean(axis=0)) * len(truth)
    return {
        "rho": unexplained / moved if moved else 0.0,
        "rel": moved / variance if variance else 0.0,
        "cosine": _cosine(predicted, truth),
        "cosine_identity": _cosine(Z, truth),
    }


def warn_if_weak(augmenter: Any) -> None:
    """Warn of operators that explain too little, and of few pairs.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
        With its report.
    """
    weak = [
        f"{name!r} {entry['rho']:.2f}"
        for name, entry in augmenter.report_.items()
        if entry["rho"] > UNEXPLAINED and augmenter.operators_[name]._predicts
    ]
    if weak:
        warnings.warn(
            "operators leave much of the displacement of held-out pairs unexplained (1 is no "
            f"better than no augmentation): {', '.join(weak)}; fit on more pairs, or let "
            'noise="bank" stand for the rest',
            UserWarning,
            stacklevel=3,
        )
    if augmenter.n_pairs_ < augmenter.n_features_in_ / 3:
        warnings.warn(
            f"{augmenter.n_pairs_} pairs are few for {augmenter.n_features_in_} dimensions; a "
            "third as many as dimensions is advisable",
            UserWarning,
            stacklevel=3,
        )


def _energy(rows: Floats) -> float:
    return float(np.square(rows, dtype=np.float64).sum())


def _cosine(A: Floats, B: Floats) -> float:
    products = (A.astype(np.float64) * B).sum(axis=-1)
    lengths = np.linalg.norm(A, axis=-1) * np.linalg.norm(B, axis=-1)
    return float(np.divide(products, lengths, out=np.ones_like(products), where=lengths > 0).mean())

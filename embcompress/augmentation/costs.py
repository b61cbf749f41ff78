"""How much computation augmentation of embeddings saves against augmentation of raw inputs."""

from __future__ import annotations

__all__ = ["compute_cost"]


def compute_cost(
    backbone_macs: float,
    operator_macs: float,
    *,
    n: int,
    n_views: int,
    epochs: int = 1,
    n_fit: int = 0,
    n_operators: int = 1,
) -> dict[str, float]:
    """Multiply-accumulate steps of both ways, and their ratios.

    Parameters
    ----------
    backbone_macs : float
        Of one input through the frozen backbone; a multiply and an add count as one.
    operator_macs : float
        Of one augmented embedding, mean over the operators.
    n : int
        Inputs to train with.
    n_views : int
        Augmented views of each.
    epochs : int, default 1
    n_fit : int, default 0
        Inputs, beyond the `n`, that the operators were fitted on, on the same device.
    n_operators : int, default 1
        Views of each of those.

    Returns
    -------
    dict
        ``raw_cached`` ``n (1 + n_views) backbone``, all views computed once; ``raw_fresh``
        ``n epochs backbone``, a new view in each epoch; ``embedding`` ``n (backbone + n_views
        operator)``; ``embedding_fresh`` the same with a new view in each epoch; ``fit`` what
        the pairs cost; and the factors ``per_view`` (backbone / operator), ``total``,
        ``total_with_fit`` and ``total_fresh``, each raw / embedding.

    Raises
    ------
    ValueError
        If a count is negative, or the backbone costs nothing.
    """
    counts = {"n": n, "n_views": n_views, "epochs": epochs, "n_fit": n_fit}
    for name, count in counts.items():
        if count < 0:
            raise ValueError(f"{name}={count} is negative")
    if not backbone_macs > 0:
        raise ValueError(f"backbone_macs={backbone_macs} must be positive")
    raw, fresh = n * (1 + n_views) * backbone_macs, n * epochs * backbone_macs
    small = n * (backbone_macs + n_views * operator_macs)
    small_fresh = n * (backbone_macs + epochs * operator_macs)
    fit = n_fit * (1 + n_operators) * backbone_macs
    return {
        "raw_cached": raw,
        "raw_fresh": fresh,
        "embedding": small,
        "embedding_fresh": small_fresh,
        "fit": fit,
        "per_view": backbone_macs / operator_macs if operator_macs else float("inf"),
        "total": raw / small if n else 1.0,
        "total_with_fit": raw / (small + fit) if n else 0.0,
        "total_fresh": fresh / small_fresh if n else 1.0,
    }

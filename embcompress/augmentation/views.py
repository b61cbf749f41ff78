"""Embeddings of raw inputs and of their augmented views, batch by batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.progress import ProgressBar

__all__ = ["embed_inputs", "embed_pairs"]

Floats = npt.NDArray[np.floating]


def embed_pairs(
    embed: Callable[[Any], Any],
    raw_inputs: Sequence[Any],
    transforms: Mapping[str, Any],
    *,
    n_views: int = 1,
    batch_size: int = 64,
    verbose: bool = False,
) -> tuple[Floats, dict[str, Any]]:
    """Run the embedder once per input and view.

    Parameters
    ----------
    embed : callable
    raw_inputs : array, tensor or sequence
    transforms : mapping of str to callable or (callable, params)
    n_views : int, default 1
    batch_size : int, default 64
    verbose : bool, default False

    Returns
    -------
    Z : ndarray of shape (m, d)
    views : dict of str to ndarray of shape (n_views, m, d), or (ndarray, params)
        What :meth:`EmbeddingAugmenter.fit` takes.

    Raises
    ------
    ValueError
        If there are no inputs or transforms, or `embed` gives something else than rows.
    """
    m = len(raw_inputs)
    if m == 0 or not transforms:
        raise ValueError(f"{m} inputs and {len(transforms)} transforms; at least one of each")
    warn_if_training(embed)
    steps = m * (1 + n_views * len(transforms))
    with ProgressBar("Embedding views", steps, unit="rows", enabled=verbose) as bar:
        Z = _embed(embed, raw_inputs, None, None, batch_size, bar)
        views: dict[str, Any] = {}
        for name, given in transforms.items():
            function, params = given if isinstance(given, tuple) else (given, None)
            if not callable(function):
                raise TypeError(f"transform {name!r} is not callable: {function!r}")
            if params is not None and len(params) != m:
                raise ValueError(f"transform {name!r} has {len(params)} params for {m} inputs")
            stack = np.stack(
                [
                    _embed(embed, raw_inputs, function, params, batch_size, bar)
                    for _ in range(n_views)
                ]
            )
            repeated = None if params is None else np.stack([np.asarray(params)] * n_views)
            views[name] = stack if repeated is None else (stack, repeated)
    return Z, views


def embed_inputs(
    embed: Callable[[Any], Any],
    raw_inputs: Sequence[Any],
    *,
    batch_size: int = 64,
    verbose: bool = False,
) -> Floats:
    """Embed raw inputs batch by batch.

    Parameters
    ----------
    embed : callable
        Batch of raw inputs -> (b, d).
    raw_inputs : array, tensor or sequence
    batch_size : int, default 64
    verbose : bool, default False

    Returns
    -------
    ndarray of shape (m, d)
    """
    warn_if_training(embed)
    with ProgressBar("Embedding", len(raw_inputs), unit="rows", enabled=verbose) as bar:
        return _embed(embed, raw_inputs, None, None, batch_size, bar)


def warn_if_training(embed: Any) -> None:
    """Warn if the embedder, or what a bound method belongs to, is a network in training mode.

    Parameters
    ----------
    embed : callable
    """
    owner = getattr(embed, "__self__", embed)
    if getattr(owner, "training", False) is True:
        warnings.warn(
            f"the embedder {type(owner).__name__} is in training mode: dropout and batch "
            "statistics make pairs differ by more than the augmentation; call eval() first",
            UserWarning,
            stacklevel=4,
        )


def _embed(
    embed: Callable[[Any], Any],
    raw: Sequence[Any],
    function: Callable[..., Any] | None,
    params: Any,
    batch_size: int,
    bar: ProgressBar,
) -> Floats:
    parts = []
    for start in range(0, len(raw), batch_size):
        batch = raw[start : start + batch_size]
        if function is not None:
            strengths = None if params is None else params[start : start + batch_size]
            batch = _transformed(batch, function, strengths)
        rows = _to_array(embed(batch))
        if rows.ndim != 2 or len(rows) != len(batch):
            raise ValueError(
                f"the embedder gave shape {rows.shape} for {len(batch)} inputs; "
                f"({len(batch)}, n_features) is needed"
            )
        parts.append(rows)
        bar.advance(len(rows))
    return np.concatenate(parts)


def _transformed(batch: Any, function: Callable[..., Any], params: Any) -> Any:
    """Views of a batch in the form of the batch: list, array or tensor."""
    if params is None:
        views = [function(one) for one in batch]
    else:
        views = [function(one, strength) for one, strength in zip(batch, params, strict=True)]
    if isinstance(batch, np.ndarray):
        return np.stack(views)
    if hasattr(batch, "new_empty"):  # a tensor, without an import of torch
        out = batch.new_empty((len(views), *views[0].shape))
        for row, view in zip(out, views, strict=True):
            row.copy_(view)
        return out
    return views


def _to_array(rows: Any) -> Floats:
    """A numpy array of what the embedder gave; tensors of any device too."""
    if hasattr(rows, "detach"):
        rows = rows.detach().cpu().numpy()
    array = np.asarray(rows)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)

"""Applies one operator, with its noise, strengths and post-maps, to some rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.augmentation.base import chunks
from embcompress.augmentation.fitting import Fitted

__all__ = ["mapped_labels", "stack_views", "strengths", "view"]

Floats = npt.NDArray[np.floating]


def view(
    augmenter: Any,
    rows: Floats,
    chosen: npt.NDArray[np.int64],
    factors: npt.NDArray[np.float64],
    params: Any,
    random: np.random.Generator,
) -> Floats:
    """Apply the chosen operator to each row.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
    rows : ndarray of shape (n, d)
    chosen : ndarray of int, shape (n,)
        Numbers of operators.
    factors : ndarray of shape (n,)
    params : array-like, optional
        For all rows, where one operator is chosen for all.
    random : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, d), dtype of `rows`
    """
    out = np.empty_like(rows)
    for index in np.unique(chosen):
        where = np.flatnonzero(chosen == index)
        name = augmenter.names_[index]
        fit = Fitted(augmenter.operators_[name], augmenter.noises_[name])
        own = fit.operator._check_params(params, len(where), random)
        for part in chunks(len(where)):
            at = where[part] if len(where) < len(rows) else part
            phi = None if own is None else own[part]
            out[at] = _apply(augmenter, fit, rows[at], factors[at], phi, random)
    return out


def stack_views(
    augmenter: Any,
    rows: Floats,
    labels: npt.NDArray[Any],
    n_views: int | None,
    random: np.random.Generator,
    *,
    include_original: bool,
) -> tuple[Floats, npt.NDArray[Any]]:
    """Rows, then all first views, all second views, and so on, with their labels.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
    rows : ndarray of shape (n, d)
    labels : ndarray of shape (n, ...)
    n_views : int, optional
        By operators drawn at random. Default: one by each operator, in their order.
    random : numpy.random.Generator
    include_original : bool

    Returns
    -------
    rows : ndarray of shape (k, d)
    labels : ndarray of shape (k, ...)
    """
    parts, tiled = ([rows], [labels]) if include_original else ([], [])
    n_operators = len(augmenter.names_)
    for number in range(n_operators if n_views is None else n_views):
        if n_views is None:
            chosen = np.full(len(rows), number)
        else:
            chosen = random.integers(0, n_operators, len(rows))
        factors = strengths(augmenter.strength, len(rows), random)
        parts.append(view(augmenter, rows, chosen, factors, None, random))
        tiled.append(mapped_labels(augmenter, labels, chosen))
    return np.concatenate(parts), np.concatenate(tiled)


def mapped_labels(augmenter: Any, y: Any, chosen: npt.NDArray[np.int64]) -> Any:
    """Labels of views, after the augmenter's `label_maps`.

    Parameters
    ----------
    augmenter : EmbeddingAugmenter
    y : array-like of shape (n,), or None
    chosen : ndarray of int, shape (n,)

    Returns
    -------
    ndarray, or what came where there is nothing to map
    """
    if y is None or not augmenter.label_maps:
        return y
    before = np.asarray(y)
    labels = before.astype(object)
    for name, changed in augmenter.label_maps.items():
        here = chosen == augmenter._index(name)
        for old, new in changed.items():
            labels[here & (before == old)] = new
    return np.array(labels.tolist()) if before.dtype.kind != "O" else labels


def _apply(
    options: Any,
    fit: Fitted,
    Z: Floats,
    factors: npt.NDArray[np.float64],
    params: Any,
    random: np.random.Generator,
) -> Floats:
    """Move rows: ``z + factor * (displacement + noise)``, then the post-maps.

    Rows of factor 0, or of params 0, stay as they are, to the bit.
    """
    moved = np.array(fit.operator._displace(Z, random, params))
    beside = fit.operator._noise_scale(params)
    if fit.noise is not None and options.noise_scale:
        extra = fit.noise.draw(Z, random)
        extra *= Z.dtype.type(options.noise_scale)
        if beside is not None:
            extra *= beside[:, None].astype(Z.dtype)
        moved += extra
    still = factors == 0 if beside is None else (factors == 0) | (beside == 0)
    if not (factors == 1).all():
        moved *= factors[:, None].astype(Z.dtype)
    moved += Z
    if options.nonnegative:
        np.maximum(moved, 0, out=moved)
    if options.normalize:
        lengths = np.sqrt(np.einsum("ij,ij->i", moved, moved))
        moved /= np.where(lengths > 0, lengths, 1)[:, None]
    if still.any():
        moved[still] = Z[still]
    return moved


def strengths(strength: Any, n: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Factor of each row, from a number, a range or an array.

    Parameters
    ----------
    strength : float, (low, high) or ndarray of shape (n,)
    n : int
    random : numpy.random.Generator

    Returns
    -------
    ndarray of float64, shape (n,)

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(strength, np.ndarray) and strength.ndim == 1:
        if strength.shape != (n,) or not np.isfinite(strength).all():
            raise ValueError(f"strength has shape {strength.shape}; {n} finite numbers are needed")
        return strength.astype(np.float64)
    pair = np.asarray(strength, dtype=np.float64)
    if pair.shape == (2,) and np.isfinite(pair).all() and pair[0] <= pair[1]:
        return random.uniform(pair[0], pair[1], n)
    if pair.shape != () or not np.isfinite(pair):
        raise ValueError(f"strength={strength!r} is neither a number nor a range (low, high)")
    return np.full(n, float(pair))

"""Weights of convolutions as the arrays that the kernels take.

Zeros of a dense weight are pruned weights. Where a weight reads its input comes from
`embcompress.runtime.maps.conv_offsets`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embcompress.runtime.kernels.conv import TILES
from embcompress.simd import LANES

__all__ = ["Lists", "Panels", "pack_lists", "pack_panels", "split_vectors", "ungrouped"]

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Panels:
    """What `conv_panels` takes.

    Parameters
    ----------
    values : ndarray of shape (sum of lengths, 16)
        float32; the weights of panel after panel.
    bias : ndarray of shape (panels, 16)
        float32.
    rows : ndarray of shape (panels, 16)
        int32; plane of the output of each filter, -1 for none.
    starts, lengths : ndarray of shape (panels,)
        int32; offsets of each panel. Panels with equal lists share them.
    offsets : ndarray of shape (n,)
        int32.
    """

    values: Floats
    bias: Floats
    rows: Ints
    starts: Ints
    lengths: Ints
    offsets: Ints


@dataclass(frozen=True)
class Lists:
    """What `conv_lists` takes.

    Parameters
    ----------
    values : ndarray of shape (n,)
        float32; the kept weights of filter after filter.
    bias : ndarray of shape (filters,)
        float32.
    rows : ndarray of shape (filters,)
        int32; plane of the output of each filter.
    starts : ndarray of shape (filters + 1,)
        int32; where the offsets and values of each filter start.
    singles : ndarray of shape (filters,)
        int32; where those offsets of each filter start that are not in pairs of neighbours.
    offsets : ndarray of shape (n,)
        int32.
    """

    values: Floats
    bias: Floats
    rows: Ints
    starts: Ints
    singles: Ints
    offsets: Ints


def ungrouped(weight: Floats, groups: int) -> Floats:
    """Weight of a convolution in groups as one of all channels, with zeros between groups.

    Parameters
    ----------
    weight : ndarray of shape (filters, channels / groups, rows, columns)
    groups : int

    Returns
    -------
    ndarray of shape (filters, channels, rows, columns)
    """
    filters, inside = weight.shape[:2]
    if groups < 1 or filters % groups:
        raise ValueError(f"{filters} filters cannot be cut into {groups} groups")
    whole = np.zeros((filters, inside * groups, *weight.shape[2:]), weight.dtype)
    each = filters // groups
    for g in range(groups):
        part = slice(g * each, (g + 1) * each)
        whole[part, g * inside : (g + 1) * inside] = weight[part]
    return whole


def _checked(
    weight: npt.ArrayLike, bias: npt.ArrayLike | None, offsets: Ints, rows: npt.ArrayLike | None
) -> tuple[Floats, Floats, Ints, npt.NDArray[np.intp]]:
    """Weights as (filters, positions), biases, offsets as (positions,), filters to pack."""
    dense = np.ascontiguousarray(weight, np.float32)
    if dense.ndim != 4 or dense.shape[1:] != offsets.shape:
        raise ValueError(
            f"weight has shape {dense.shape}, the offsets {offsets.shape}; the weight must have "
            "the shape of the offsets after its filters"
        )
    filters = len(dense)
    biases = np.zeros(filters, np.float32) if bias is None else np.asarray(bias, np.float32)
    if biases.shape != (filters,):
        raise ValueError(f"bias has shape {biases.shape}; must be ({filters},)")
    chosen = np.arange(filters) if rows is None else np.asarray(rows, np.intp)
    if chosen.size and (chosen.min() < 0 or chosen.max() >= filters):
        raise ValueError(f"rows must be from 0 to {filters - 1}")
    return dense.reshape(filters, -1), biases, offsets.reshape(-1), chosen


def pack_lists(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    offsets: Ints,
    *,
    rows: npt.ArrayLike | None = None,
) -> Lists:
    """Each filter with a list of its own; filters sorted by length, so that loops end alike.

    Parameters
    ----------
    weight : array-like of shape (filters, channels, rows, columns)
        Zeros are pruned.
    bias : array-like of shape (filters,), optional
    offsets : ndarray of shape (channels, rows, columns)
        int32, from `conv_offsets`.
    rows : array-like of int, optional
        Filters to pack. Default: all.

    Returns
    -------
    Lists
    """
    dense, biases, places, chosen = _checked(weight, bias, offsets, rows)
    kept = dense[chosen] != 0
    order = np.argsort(-kept.sum(1), kind="stable")
    chosen, kept = chosen[order], kept[order]
    pairs, numbers, lists = [], [np.zeros(0, np.float32)], [np.zeros(0, np.int32)]
    for weights, mask in zip(dense[chosen], kept, strict=True):
        by_place = np.flatnonzero(mask)
        by_place = by_place[np.argsort(places[by_place], kind="stable")]
        paired = _paired(places[by_place])
        by_place = np.concatenate([by_place[paired], by_place[~paired]])
        pairs.append(paired.sum())
        numbers.append(weights[by_place])
        lists.append(places[by_place])
    starts = np.concatenate([[0], np.cumsum(kept.sum(1))])
    return Lists(
        values=np.concatenate(numbers),
        bias=biases[chosen],
        rows=chosen.astype(np.int32),
        starts=starts.astype(np.int32),
        singles=(starts[:-1] + np.array(pairs, np.int64)).astype(np.int32),
        offsets=np.concatenate(lists).astype(np.int32),
    )


def _paired(places: Ints) -> npt.NDArray[np.bool_]:
    """Which of the ascending offsets are in pairs of neighbours; of three in a row, the first two.

    >>> _paired(np.array([2, 3, 4, 8, 10, 11])).tolist()
    [True, True, False, False, True, True]
    """
    follows = np.diff(places, prepend=np.int64(-2) + places[:1]) == 1  # one more than the last
    index = np.arange(len(places))
    run = index - np.maximum.accumulate(np.where(follows, 0, index))  # place in a row of neighbours
    second = run % 2 == 1
    return second | np.append(second[1:], False)[: len(places)]


def pack_panels(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None,
    offsets: Ints,
    *,
    rows: npt.ArrayLike | None = None,
) -> Panels:
    """Filters in panels of 16 that share a list: those with equal masks first.

    What is left of the groups of equal masks is put together in the order of the masks; the list of
    such a panel is the union of its filters'. ``len(values)`` is the work of the result: steps of
    16 multiply-adds per vector of positions.

    Parameters
    ----------
    weight : array-like of shape (filters, channels, rows, columns)
        Zeros are pruned.
    bias : array-like of shape (filters,), optional
    offsets : ndarray of shape (channels, rows, columns)
        int32, from `conv_offsets`.
    rows : array-like of int, optional
        Filters to pack. Default: all.

    Returns
    -------
    Panels
    """
    dense, biases, places, chosen = _checked(weight, bias, offsets, rows)
    kept = dense != 0
    panels = _panels_of(chosen, kept)
    lists = [kept[panel].any(0) for panel in panels]
    known: dict[bytes, int] = {}
    shared: list[Ints] = []
    starts = []
    for mask in lists:
        key = mask.tobytes()
        if key not in known:
            known[key] = sum(map(len, shared))
            shared.append(places[mask].astype(np.int32))
        starts.append(known[key])
    full_rows = np.full((len(panels), LANES), -1, np.int32)
    full_bias = np.zeros((len(panels), LANES), np.float32)
    values = [np.zeros((int(mask.sum()), LANES), np.float32) for mask in lists]
    for p, (panel, mask) in enumerate(zip(panels, lists, strict=True)):
        full_rows[p, : len(panel)] = panel
        full_bias[p, : len(panel)] = biases[panel]
        values[p][:, : len(panel)] = dense[panel][:, mask].T
    return Panels(
        values=np.concatenate([np.zeros((0, LANES), np.float32), *values]),
        bias=full_bias,
        rows=full_rows,
        starts=np.array(starts, np.int32),
        lengths=np.array([mask.sum() for mask in lists], np.int32),
        offsets=np.concatenate([np.zeros(0, np.int32), *shared]),
    )


def _panels_of(
    chosen: npt.NDArray[np.intp], kept: npt.NDArray[np.bool_]
) -> list[npt.NDArray[np.intp]]:
    groups: dict[bytes, list[int]] = {}
    for f in chosen:
        groups.setdefault(kept[f].tobytes(), []).append(int(f))
    whole, rest = [], []
    for key in sorted(groups, reverse=True):
        members = groups[key]
        cut = len(members) // LANES * LANES
        whole += [members[i : i + LANES] for i in range(0, cut, LANES)]
        rest += members[cut:]
    whole += [rest[i : i + LANES] for i in range(0, len(rest), LANES)]
    return [np.array(panel, np.intp) for panel in whole]


def split_vectors(vectors: int) -> Ints:
    """Cut the vectors of a plane into tiles of `conv_lists`, the fewest steps in all.

    >>> int(split_vectors(200).sum())
    200
    """
    if vectors < 1:
        raise ValueError(f"vectors={vectors}: must be at least 1")
    # a tile costs its vectors and about one more; a single vector waits for its own sums
    cost = {size: size + 1.0 for size in TILES} | {1: 2.5}
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for n in range(1, min(vectors, 64) + 1):
        best.append(min((best[n - s][0] + cost[s], (s, *best[n - s][1])) for s in TILES if s <= n))
    # the largest tile as often as possible, but for the last few vectors
    most = TILES[-1]
    often = max(0, -(-(vectors - 64) // most))
    return np.array([most] * often + list(best[vectors - often * most][1]), np.int32)

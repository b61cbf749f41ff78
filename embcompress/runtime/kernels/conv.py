"""Convolutions over flat positions of padded planes (see `embcompress.runtime.maps`).

A kept weight is a number and an offset: flat position q of the output gets ``weight * x[q +
offset]``. So one pair of kernels does every size of kernel, every mask, and, over the phases of the
input, every stride. They differ in what they keep in registers:

- *panels*: 16 filters that share one list of offsets, times one vector of positions. One load of
  inputs serves 16 filters, so the multiply-adds are the limit.
- *lists*: one filter with a list of its own, times up to 14 vectors of positions. Each multiply-add
  needs a load, mostly across two lines of the cache, which takes twice as long as the multiply-add.
  Weights whose offsets are neighbours are taken in pairs that share their loads.

Both add the bias and another map, apply the activation and write zeros to the gaps. Arrays are
flat; every ``..._at`` is where something starts. What is read from `floats` and `ints` is made by
`embcompress.runtime.kernels.conv_packing`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress._compiled import compiled
from embcompress.simd import (
    LANES,
    TILE,
    add,
    filled,
    fma,
    fma_pairs,
    fma_shifted,
    fma_tile,
    host_features,
    load,
    maximum,
    select_positive,
    splat,
    store,
    store_masked,
    store_tile,
    zeros,
)

__all__ = ["IDENTITY", "RELU", "SCRATCH", "TILES", "conv_lists", "conv_panels"]

IDENTITY, RELU = 0, 1
#: float32 numbers of scratch that `conv_panels` needs.
SCRATCH = LANES * LANES
# What fits in the registers: filters of a panel at once, and vectors of positions of a list.
_FEATURES = host_features()
_PART = TILE if _FEATURES.get("avx") or _FEATURES.get("neon") else 2
_LARGE, _MIDDLE, _SMALL = (14, 8, 4) if TILE == LANES else (6, 4, 2)
#: Vectors of positions that `conv_lists` can take at once.
TILES = (1, _SMALL, _MIDDLE, _LARGE)


@compiled()
def _lowest(activation: int) -> Any:
    """What an activation cuts off below."""
    return np.float32(0) if activation == RELU else np.float32(-np.inf)


@compiled()
def conv_panels(
    work: Any, x_at: int, out_at: int, out_plane: int, add_at: int, add_plane: int,
    scratch_at: int, vectors: int, floats: Any, values_at: int, bias_at: int, mask_at: int,
    ints: Any, rows_at: int, starts_at: int, lengths_at: int, offsets_at: int, panels: int,
    activation: int,
) -> None:  # fmt: skip
    """Convolution by panels of 16 filters that share their offsets.

    Parameters
    ----------
    work : ndarray of float32
        Holds input, output, added map and scratch.
    x_at, out_at : int
        Origins of input and output. They must not overlap.
    out_plane : int
        From a plane of the output to the next.
    add_at, add_plane : int
        Origin and step of a map of the same pitch to add before the activation; -1 for none. It may
        be the output.
    scratch_at : int
        `SCRATCH` numbers.
    vectors : int
        Vectors of positions per plane.
    floats : ndarray of float32
        Holds the values, panel after panel, ``[offset][filter]``; the biases, 16 per panel; the
        mask of valid positions.
    values_at, bias_at, mask_at : int
    ints : ndarray of int32
        Holds `rows`, the planes to write, 16 per panel, -1 for none; `starts`, the first offset of
        each panel; `lengths`, its number of offsets; the offsets.
    rows_at, starts_at, lengths_at, offsets_at : int
    panels : int
    activation : int
        `IDENTITY` or `RELU`.
    """
    low, unit = _lowest(activation), np.float32(1)
    for panel in range(panels):
        first = offsets_at + ints[starts_at + panel]
        last = first + ints[lengths_at + panel]
        for i in range(0, LANES * vectors, LANES):
            for part in range(0, LANES, _PART):
                tile = zeros(_PART)
                at = values_at + part
                for j in range(first, last):
                    tile = fma_tile(tile, load(work, x_at + i + ints[j]), floats, at, 1)
                    at += LANES
                store_tile(tile, work, scratch_at + LANES * part, LANES)
            for b in range(LANES):
                row = ints[rows_at + LANES * panel + b]
                if row >= 0:
                    # from scratch: which filters there are is not known when this is compiled
                    one = filled(1, floats[bias_at + LANES * panel + b])
                    one = fma_shifted(one, unit, work, scratch_at + LANES * b)
                    if add_at >= 0:
                        one = fma_shifted(one, unit, work, add_at + row * add_plane + i)
                    store_masked(one, low, floats, mask_at + i, work, out_at + row * out_plane + i)
        values_at += LANES * (last - first)


@compiled()
def _one(
    bias: Any, low: Any, work: Any, x_at: int, out_at: int, add_at: int, floats: Any, shift: int,
    mask_at: int, ints: Any, first: int, last: int,
) -> None:  # fmt: skip
    """One filter at one vector of positions; four sums, because one would wait for itself."""
    a = splat(bias)
    b = c = d = splat(np.float32(0))
    whole = first + (last - first) // 4 * 4
    for j in range(first, whole, 4):
        a = fma(splat(floats[shift + j]), load(work, x_at + ints[j]), a)
        b = fma(splat(floats[shift + j + 1]), load(work, x_at + ints[j + 1]), b)
        c = fma(splat(floats[shift + j + 2]), load(work, x_at + ints[j + 2]), c)
        d = fma(splat(floats[shift + j + 3]), load(work, x_at + ints[j + 3]), d)
    for j in range(whole, last):
        a = fma(splat(floats[shift + j]), load(work, x_at + ints[j]), a)
    if add_at >= 0:
        b = add(b, load(work, add_at))
    value = maximum(splat(low), add(add(a, b), add(c, d)))  # in this order NaN stays
    store(select_positive(load(floats, mask_at), value), work, out_at)


def _tiles_of(n: int) -> Any:
    """One filter at `n` vectors of positions, as a compiled function."""

    @compiled()
    def several(
        bias: Any, low: Any, work: Any, x_at: int, out_at: int, add_at: int, floats: Any,
        shift: int, mask_at: int, ints: Any, first: int, single: int, last: int,
    ) -> None:  # fmt: skip
        tile = filled(n, bias)
        if add_at >= 0:
            tile = fma_shifted(tile, np.float32(1), work, add_at)
        for j in range(first, single, 2):
            tile = fma_pairs(tile, floats, shift + j, work, x_at + ints[j])
        for j in range(single, last):
            tile = fma_shifted(tile, floats[shift + j], work, x_at + ints[j])
        store_masked(tile, low, floats, mask_at, work, out_at)

    return several


_large, _middle, _small = _tiles_of(_LARGE), _tiles_of(_MIDDLE), _tiles_of(_SMALL)


@compiled()
def conv_lists(
    work: Any, x_at: int, out_at: int, out_plane: int, add_at: int, add_plane: int,
    floats: Any, values_at: int, bias_at: int, mask_at: int,
    ints: Any, tiles_at: int, tiles: int, rows_at: int, starts_at: int, singles_at: int,
    offsets_at: int, filters: int, activation: int,
) -> None:  # fmt: skip
    """Convolution by filters with lists of their own.

    Parameters
    ----------
    work : ndarray of float32
        Holds input, output and added map.
    x_at, out_at : int
        Origins of input and output. They must not overlap.
    out_plane : int
        From a plane of the output to the next.
    add_at, add_plane : int
        Origin and step of a map of the same pitch to add before the activation; -1 for none. It may
        be the output.
    floats : ndarray of float32
        Holds the values, one per offset; the biases, one per filter; the mask of valid positions.
    values_at, bias_at, mask_at : int
    ints : ndarray of int32
        Holds `tiles`, how many vectors of positions are computed at once, one after the other;
        `rows`, the plane that each filter writes; `starts`, where its offsets start, one more than
        filters; `singles`, where those start that are not in pairs (offset, offset + 1); the
        offsets.
    tiles_at, tiles, rows_at, starts_at, singles_at, offsets_at : int
    filters : int
    activation : int
        `IDENTITY` or `RELU`.
    """
    low = _lowest(activation)
    shift = values_at - offsets_at  # from the index of an offset to that of its value
    i = 0
    for tile in range(tiles):
        size = ints[tiles_at + tile]
        for f in range(filters):
            first = offsets_at + ints[starts_at + f]
            single = offsets_at + ints[singles_at + f]
            last = offsets_at + ints[starts_at + f + 1]
            row, bias = ints[rows_at + f], floats[bias_at + f]
            to = out_at + row * out_plane + i
            added = add_at + row * add_plane + i if add_at >= 0 else -1
            if size == _LARGE:
                _large(
                    bias, low, work, x_at + i, to, added, floats, shift, mask_at + i, ints,
                    first, single, last,
                )  # fmt: skip
            elif size == _MIDDLE:
                _middle(
                    bias, low, work, x_at + i, to, added, floats, shift, mask_at + i, ints,
                    first, single, last,
                )  # fmt: skip
            elif size == _SMALL:
                _small(
                    bias, low, work, x_at + i, to, added, floats, shift, mask_at + i, ints,
                    first, single, last,
                )  # fmt: skip
            else:
                _one(
                    bias, low, work, x_at + i, to, added, floats, shift, mask_at + i, ints,
                    first, last,
                )  # fmt: skip
        i += LANES * size

"""Moving feature maps into and out of padded planes, and pooling them.

Arrays are flat; every ``..._at`` is where something starts: the origin of a map, or the first of
some numbers. Geometry is that of `embcompress.runtime.maps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress._compiled import compiled
from embcompress.runtime.kernels.activations import activate
from embcompress.simd import (
    LANES,
    add,
    fma,
    load,
    maximum,
    multiply,
    select_positive,
    splat,
    split_pairs,
    store,
    sum_lanes,
)

__all__ = [
    "MAX",
    "MEAN",
    "clear",
    "clear_gaps",
    "clear_padding",
    "collect_map",
    "global_mean",
    "place_map",
    "pointwise",
    "pool",
    "split_map",
]

MAX, MEAN = 0, 1


@compiled()
def clear(work: Any, at: int, size: int) -> None:
    """Fill a buffer with zeros: a map whose buffer held something else needs it for its padding.

    Parameters
    ----------
    work : ndarray of float32
    at, size : int
        ``Map.size`` numbers, a multiple of 16.
    """
    for i in range(at, at + size, LANES):
        store(splat(np.float32(0)), work, i)


@compiled()
def clear_padding(
    work: Any, at: int, origin: int, size: int, channels: int, plane: int, covered: int
) -> None:
    """Fill with zeros what no kernel writes of a map: before, between and after the planes.

    Parameters
    ----------
    work : ndarray of float32
    at, origin, size : int
        Where the buffer of the map starts, and ``Map.origin`` and ``Map.size``.
    channels, plane : int
    covered : int
        Positions of a plane that are written, a multiple of 16.
    """
    zero = splat(np.float32(0))
    for i in range(at, at + origin, LANES):
        store(zero, work, i)
    for c in range(channels):
        start = at + origin + c * plane
        for i in range(start + covered, start + plane, LANES):
            store(zero, work, i)
    for i in range(at + origin + channels * plane, at + size, LANES):
        store(zero, work, i)


@compiled()
def clear_gaps(
    work: Any, at: int, channels: int, height: int, width: int, pitch: int, plane: int
) -> None:
    """Fill the gaps after the rows of a map with zeros.

    Parameters
    ----------
    work : ndarray of float32
    at : int
        Origin.
    channels, height, width, pitch, plane : int
        Geometry.
    """
    for c in range(channels):
        for y in range(height):
            row = at + c * plane + y * pitch
            for i in range(row + width, row + pitch):
                work[i] = 0.0


@compiled()
def _copy_row(x: Any, x_at: int, out: Any, out_at: int, width: int, scale: Any, shift: Any) -> None:
    """``x * scale + shift`` for one row, not a number more."""
    whole = width // LANES * LANES
    for i in range(0, whole, LANES):
        value = fma(load(x, x_at + i), splat(scale), splat(shift))
        store(value, out, out_at + i)
    for i in range(whole, width):
        out[out_at + i] = x[x_at + i] * scale + shift


@compiled()
def place_map(
    x: Any, x_at: int, work: Any, out_at: int, channels: int, height: int, width: int,
    pitch: int, plane: int, floats: Any, scale_at: int, shift_at: int,
) -> None:  # fmt: skip
    """Copy a contiguous map into padded planes; the padding is left as it is.

    Parameters
    ----------
    x : ndarray of float32
        Holds the map, ``[channel][row][column]``, from `x_at` on.
    x_at : int
    work : ndarray of float32
    out_at : int
        Origin.
    channels, height, width, pitch, plane : int
        Geometry of the result.
    floats : ndarray of float32
    scale_at, shift_at : int
        A factor and a number to add, one per channel: ``x * scale + shift``. -1 for `scale_at`: as
        it is.
    """
    for c in range(channels):
        scale, shift = np.float32(1), np.float32(0)
        if scale_at >= 0:
            scale, shift = floats[scale_at + c], floats[shift_at + c]
        for y in range(height):
            start, source = out_at + c * plane + y * pitch, x_at + (c * height + y) * width
            _copy_row(x, source, work, start, width, scale, shift)


@compiled()
def collect_map(
    work: Any, x_at: int, out: Any, out_at: int, channels: int, height: int, width: int,
    pitch: int, plane: int,
) -> None:  # fmt: skip
    """Copy padded planes into a contiguous map: the inverse of `place_map`.

    Parameters
    ----------
    work : ndarray of float32
    x_at : int
        Origin.
    out : ndarray of float32
        Gets ``[channel][row][column]`` from `out_at` on.
    out_at : int
    channels, height, width, pitch, plane : int
        Geometry of the input.
    """
    for c in range(channels):
        for y in range(height):
            source, start = x_at + c * plane + y * pitch, out_at + (c * height + y) * width
            _copy_row(work, source, out, start, width, np.float32(1), np.float32(0))


@compiled()
def _split_row(
    work: Any, x_at: int, out_at: int, plane: int, phases: int, stride: int, width: int
) -> None:
    """One padded row into its phases; may write up to 15 numbers more to each."""
    if stride == 2 and phases == 2:
        for i in range(0, width, LANES):
            split_pairs(work, x_at + 2 * i, work, out_at + i, out_at + plane + i)
    elif stride == 1:
        for i in range(0, width, LANES):
            store(load(work, x_at + i), work, out_at + i)
    else:
        for b in range(phases):
            for i in range(width):
                work[out_at + b * plane + i] = work[x_at + stride * i + b]


@compiled()
def _fill_columns(
    work: Any, out_at: int, plane: int, phases: int, stride: int, first: int, last: int, value: Any
) -> None:
    """Fill some columns of a padded row, in the phases that exist."""
    for x in range(first, last):
        if x % stride < phases:
            work[out_at + x % stride * plane + x // stride] = value


@compiled()
def split_map(
    work: Any, x_at: int, x_pitch: int, x_plane: int, channels: int, x_height: int, x_width: int,
    out_at: int, out_pitch: int, out_plane: int, height: int, width: int,
    stride: int, phases_y: int, phases_x: int, above: int, left: int, fill: float,
) -> None:  # fmt: skip
    """Split a map into the phases that a kernel with a stride reads, padded.

    Parameters
    ----------
    work : ndarray of float32
    x_at, x_pitch, x_plane, channels, x_height, x_width : int
        Origin and geometry of the input.
    out_at, out_pitch, out_plane, height, width : int
        Origin and geometry of the phases, see `embcompress.runtime.maps.phase_map`.
    stride : int
    phases_y, phases_x : int
        How many phases of rows and of columns there are.
    above, left : int
        Padding.
    fill : float
        What the padding holds: 0, or minus infinity for the maximum.
    """
    value = np.float32(fill)
    for c in range(channels):
        for a in range(phases_y):
            to = out_at + (c * phases_y + a) * phases_x * out_plane
            for u in range(height):
                y = stride * u + a - above
                row = to + u * out_pitch
                if y < 0 or y >= x_height:
                    _fill_columns(work, row, out_plane, phases_x, stride, 0, stride * width, value)
                    continue
                start = x_at + c * x_plane + y * x_pitch - left
                _split_row(work, start, row, out_plane, phases_x, stride, width)
                _fill_columns(work, row, out_plane, phases_x, stride, 0, left, value)
                _fill_columns(
                    work, row, out_plane, phases_x, stride, left + x_width, stride * width, value
                )


@compiled()
def pool(
    work: Any, x_at: int, x_step: int, out_at: int, out_plane: int, channels: int, vectors: int,
    ints: Any, offsets_at: int, count: int, floats: Any, mask_at: int, kind: int,
) -> None:  # fmt: skip
    """Maximum or mean over the same offsets in every channel.

    Parameters
    ----------
    work : ndarray of float32
    x_at : int
        Origin of the map or of its phases.
    x_step : int
        From a channel to the next: a plane, or all phases of a channel.
    out_at, out_plane : int
        Origin and step of the output, which has the pitch of the input.
    channels, vectors : int
        Of the output.
    ints : ndarray of int32
        Holds `count` offsets of the first channel, from `embcompress.runtime.maps.conv_offsets`.
    offsets_at, count : int
    floats : ndarray of float32
        Holds the mask of valid positions.
    mask_at : int
    kind : int
        `MAX`, or `MEAN`: padding counts as numbers, as in PyTorch.
    """
    share = splat(np.float32(1) / np.float32(count))
    for c in range(channels):
        for i in range(0, LANES * vectors, LANES):
            start = x_at + c * x_step + i
            value = load(work, start + ints[offsets_at])
            if kind == MAX:
                for j in range(offsets_at + 1, offsets_at + count):
                    value = maximum(load(work, start + ints[j]), value)
            else:
                for j in range(offsets_at + 1, offsets_at + count):
                    value = add(load(work, start + ints[j]), value)
                value = multiply(value, share)
            store(
                select_positive(load(floats, mask_at + i), value), work, out_at + c * out_plane + i
            )


@compiled()
def global_mean(
    work: Any, x_at: int, plane: int, vectors: int, channels: int, count: int, out: Any, out_at: int
) -> None:
    """Mean of each plane; the gaps must be zero, as all kernels here but `split_map` leave them.

    Parameters
    ----------
    work : ndarray of float32
    x_at : int
        Origin.
    plane, vectors, channels : int
        Geometry of the input.
    count : int
        Numbers per plane, without padding.
    out : ndarray of float32
        Gets one number per channel from `out_at` on.
    out_at : int
    """
    share = np.float32(1) / np.float32(count)
    for c in range(channels):
        total = splat(np.float32(0))
        for i in range(x_at + c * plane, x_at + c * plane + LANES * vectors, LANES):
            total = add(total, load(work, i))
        out[out_at + c] = sum_lanes(total) * share


@compiled()
def pointwise(
    work: Any, x_at: int, plane: int, add_at: int, add_plane: int, out_at: int, out_plane: int,
    channels: int, vectors: int, floats: Any, scale_at: int, shift_at: int, mask_at: int,
    activation: int,
) -> None:  # fmt: skip
    """``activation(x * scale + shift + added)``, number by number.

    Parameters
    ----------
    work : ndarray of float32
    x_at, plane : int
        Origin and step of the input.
    add_at, add_plane : int
        Origin and step of a map of the same pitch to add; -1 for none.
    out_at, out_plane, channels, vectors : int
        Origin and geometry of the output, of the same pitch; it may be the input.
    floats : ndarray of float32
        Holds a scale and a shift for each channel, and the mask of valid positions.
    scale_at, shift_at, mask_at : int
    activation : int
        Number of :data:`embcompress.runtime.kernels.activations.ACTIVATIONS`.
    """
    for c in range(channels):
        scale, shift = splat(floats[scale_at + c]), splat(floats[shift_at + c])
        for i in range(0, LANES * vectors, LANES):
            value = fma(load(work, x_at + c * plane + i), scale, shift)
            if add_at >= 0:
                value = add(value, load(work, add_at + c * add_plane + i))
            value = activate(value, activation)
            kept = select_positive(load(floats, mask_at + i), value)
            store(kept, work, out_at + c * out_plane + i)

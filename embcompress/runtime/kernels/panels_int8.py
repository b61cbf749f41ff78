"""Products of a matrix made of panels with rows of numbers, in int8.

As in :mod:`panels`, with four inputs in the place of one: a vector of weights is 16 outputs x 4
inputs of int8, and a *quad* is four inputs as bytes in one int32. Inputs are rounded to int8 with
one scale for each row, and moved to 1..255 for the instruction that takes one factor without sign;
the sums begin at what that adds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels.activations import activate

__all__ = ["panels_int8", "quantize_row"]

_LANES = simd.LANES
_ZERO = 128  # the byte that stands for 0
_UNROLL = 4


@compiled()
def quantize_row(
    x: Any, at: int, width: int, ints: Any, order_at: int, n_ordered: int, scale: float,
    out: Any, to: int,
) -> float:  # fmt: skip
    """Round one row to bytes.

    Parameters
    ----------
    x : ndarray of float32
    at, width : int
        The row.
    ints, order_at, n_ordered
        Which input becomes which byte, ``n_ordered`` of them, -1 for none; `order_at` is -1 where
        the order stays.
    scale : float
        What a step stands for; 0 to take it from the largest input.
    out : ndarray of uint8
    to : int
        A multiple of 4; bytes up to the next multiple of 4 are written.

    Returns
    -------
    float
        What a step stands for.
    """
    if scale == 0.0:
        scale = _largest(x, at, width) / np.float32(127.0)
    inverse = np.float32(1.0) / scale if scale > 0 else np.float32(0.0)
    if order_at >= 0:
        for k in range(n_ordered):
            source = ints[order_at + k]
            out[to + k] = _ZERO if source < 0 else _byte(x[at + source], inverse)
        return scale
    k, whole = 0, width - width % _LANES
    while k + 4 * _LANES <= whole:
        simd.quantized(x, at + k, 4, inverse, out, to + k)
        k += 4 * _LANES
    while k < whole:
        simd.quantized(x, at + k, 1, inverse, out, to + k)
        k += _LANES
    for k in range(whole, width):
        out[to + k] = _byte(x[at + k], inverse)
    for k in range(width, (width + 3) // 4 * 4):
        out[to + k] = _ZERO
    return scale


@compiled()
def _largest(x: Any, at: int, width: int) -> float:
    """The largest absolute number of a row."""
    k, whole, most = 0, width - width % _LANES, simd.zeros(4)
    while k + 4 * _LANES <= whole:
        most = simd.largest_tile(most, x, at + k)
        k += 4 * _LANES
    one = simd.maximum(
        simd.maximum(simd.item(most, 0), simd.item(most, 1)),
        simd.maximum(simd.item(most, 2), simd.item(most, 3)),
    )
    while k < whole:
        one = simd.maximum(simd.absolute(simd.load(x, at + k)), one)
        k += _LANES
    peak = simd.largest(one)
    for i in range(whole, width):
        peak = max(peak, abs(x[at + i]))
    return peak


@compiled()
def _byte(value: float, inverse: float) -> int:
    step = np.rint(value * inverse)
    return int(_ZERO + min(max(step, -127.0), 127.0))


def _multiplier(count: int) -> Any:
    @compiled()
    def multiply(
        quads: Any, at: int, scales: Any, scales_at: int, weights: Any, values_at: int,
        floats: Any, bias_at: int, steps_at: int, ints: Any, begin_at: int, starts_at: int,
        columns_at: int, n_panels: int, out: Any, to: int, stride: int, activation: int,
    ) -> None:  # fmt: skip
        for p in range(n_panels):
            tile = simd.repeat(simd.load_int(ints, begin_at + p * _LANES), count)
            for c in range(ints[starts_at + p], ints[starts_at + p + 1]):
                quad = at + ints[columns_at + c] * count
                tile = simd.dot_tile(tile, weights, values_at + c * 4 * _LANES, quads, quad, 1)
            step = simd.load(floats, steps_at + p * _LANES)
            bias = simd.load(floats, bias_at + p * _LANES)
            place = to + p * _LANES
            simd.store_scaled(tile, step, bias, scales, scales_at, out, place, stride)
            if activation != 0:
                for k in range(place, place + count * stride, stride):
                    simd.store(activate(simd.load(out, k), activation), out, k)

    return multiply


_multiply_4, _multiply_8 = _multiplier(4), _multiplier(8)


@compiled()
def _panels_one(
    quads: Any, at: int, scale: float, weights: Any, values_at: int, floats: Any, bias_at: int,
    steps_at: int, ints: Any, begin_at: int, starts_at: int, columns_at: int, n_panels: int,
    out: Any, to: int, activation: int,
) -> None:  # fmt: skip
    for p in range(n_panels):
        c, stop = ints[starts_at + p], ints[starts_at + p + 1]
        tile = simd.zeros_int(_UNROLL)
        while c + _UNROLL <= stop:
            place = values_at + c * 4 * _LANES
            tile = simd.dot_columns(tile, weights, place, quads, at, ints, columns_at + c)
            c += _UNROLL
        total = simd.sum_tile(tile)
        while c < stop:
            place = values_at + c * 4 * _LANES
            total = simd.dot_columns(total, weights, place, quads, at, ints, columns_at + c)
            c += 1
        whole = simd.add_int(simd.item(total, 0), simd.load_int(ints, begin_at + p * _LANES))
        factor = simd.multiply(simd.load(floats, steps_at + p * _LANES), simd.splat(scale))
        bias = simd.load(floats, bias_at + p * _LANES)
        value = simd.fma(simd.to_float(whole), factor, bias)
        simd.store(activate(value, activation), out, to + p * _LANES)


@compiled()
def panels_int8(
    quads: Any, at: int, tile: int, scales: Any, scales_at: int, weights: Any, values_at: int,
    floats: Any, bias_at: int, steps_at: int, ints: Any, begin_at: int, starts_at: int,
    columns_at: int, n_panels: int, out: Any, to: int, stride: int, activation: int,
) -> None:  # fmt: skip
    """Multiply the rows of one tile of 1, 4 or 8, whose quads :func:`panels.pack` has laid.

    ``out[b][16 p:][:16] = activation(bias + step * scales[b] * (begin + panel p . quads of b))``,
    where `begin` takes out what moving the bytes to 1..255 has added.
    """
    if tile == 1:
        _panels_one(
            quads, at, scales[scales_at], weights, values_at, floats, bias_at, steps_at, ints,
            begin_at, starts_at, columns_at, n_panels, out, to, activation,
        )  # fmt: skip
    elif tile == 8:
        _multiply_8(
            quads, at, scales, scales_at, weights, values_at, floats, bias_at, steps_at, ints,
            begin_at, starts_at, columns_at, n_panels, out, to, stride, activation,
        )  # fmt: skip
    else:
        _multiply_4(
            quads, at, scales, scales_at, weights, values_at, floats, bias_at, steps_at, ints,
            begin_at, starts_at, columns_at, n_panels, out, to, stride, activation,
        )  # fmt: skip

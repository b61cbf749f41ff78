"""Products of a matrix made of panels with rows of numbers, in float32.

A panel is 16 outputs and a list of inputs that they share; its weights lie as one vector of 16 for
each input. Rows are taken `ROWS` at a time: their inputs are laid input by input (`pack`), and each
vector of weights is multiplied with one input of every row while all sums stay in registers. One
row alone goes without, with several inputs at a time.

All arrays are flat; ``*_at`` is where a part begins. Rows of outputs must have room for whole
vectors.
"""

from __future__ import annotations

from typing import Any

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels.activations import activate

__all__ = ["ROWS", "pack", "panels_many", "panels_one", "scatter", "tile_for"]

_LANES = simd.LANES
#: Rows that are multiplied together: more would fit the registers, but not the nearest cache.
ROWS = min(simd.TILE, 8)
# inputs at a time for a single row: enough sums to hide the latency of an addition
_UNROLL = 8 if simd.TILE == 16 else 4


@compiled()
def tile_for(n: int) -> int:
    """Rows of the smallest tile that holds `n` rows, at most `ROWS`."""
    return 4 if n <= 4 or ROWS == 4 else 8


def _packer(count: int) -> Any:
    @compiled()
    def pack_rows(x: Any, at: int, stride: int, n: int, width: int, out: Any, to: int) -> None:
        whole = width - width % _LANES
        for k in range(0, whole, _LANES):
            simd.transposed(x, at + k, stride, n - 1, count, out, to + k * count)
        for k in range(whole, width):
            for b in range(count):
                out[to + k * count + b] = x[at + min(b, n - 1) * stride + k]

    return pack_rows


_pack_4, _pack_8, _pack_16 = _packer(4), _packer(8), _packer(16)


@compiled()
def pack(x: Any, at: int, stride: int, n: int, width: int, tile: int, out: Any, to: int) -> None:
    """Lay `n` rows of `width` numbers input by input, `tile` numbers each.

    The last row stands in for rows that are missing. Numbers are float32 or int32.
    """
    if tile == 16:
        _pack_16(x, at, stride, n, width, out, to)
    elif tile == 8:
        _pack_8(x, at, stride, n, width, out, to)
    else:
        _pack_4(x, at, stride, n, width, out, to)


@compiled()
def panels_one(
    x: Any, at: int, floats: Any, values_at: int, bias_at: int, ints: Any, starts_at: int,
    columns_at: int, n_panels: int, out: Any, to: int, activation: int,
) -> None:  # fmt: skip
    """Multiply one row: ``out[16 p:][:16] = activation(bias + panel p)``."""
    for p in range(n_panels):
        c, stop = ints[starts_at + p], ints[starts_at + p + 1]
        tile = simd.zeros(_UNROLL)
        while c + _UNROLL <= stop:
            tile = simd.fma_columns(
                tile, floats, values_at + c * _LANES, x, at, ints, columns_at + c
            )
            c += _UNROLL
        total = simd.sum_tile(tile)
        while c < stop:
            total = simd.fma_columns(
                total, floats, values_at + c * _LANES, x, at, ints, columns_at + c
            )
            c += 1
        value = simd.add(simd.item(total, 0), simd.load(floats, bias_at + p * _LANES))
        simd.store(activate(value, activation), out, to + p * _LANES)


def _multiplier(count: int) -> Any:
    @compiled()
    def multiply(
        packed: Any, at: int, floats: Any, values_at: int, bias_at: int, ints: Any,
        starts_at: int, columns_at: int, n_panels: int, out: Any, to: int, stride: int,
        activation: int,
    ) -> None:  # fmt: skip
        for p in range(n_panels):
            tile = simd.repeat(simd.load(floats, bias_at + p * _LANES), count)
            for c in range(ints[starts_at + p], ints[starts_at + p + 1]):
                weights = simd.load(floats, values_at + c * _LANES)
                column = at + ints[columns_at + c] * count
                tile = simd.fma_tile(tile, weights, packed, column, 1)
            simd.store_tile(tile, out, to + p * _LANES, stride)
            if activation != 0:
                for k in range(to + p * _LANES, to + p * _LANES + count * stride, stride):
                    simd.store(activate(simd.load(out, k), activation), out, k)

    return multiply


_multiply_4, _multiply_8 = _multiplier(4), _multiplier(8)


@compiled()
def panels_many(
    packed: Any, at: int, tile: int, floats: Any, values_at: int, bias_at: int, ints: Any,
    starts_at: int, columns_at: int, n_panels: int, out: Any, to: int, stride: int,
    activation: int,
) -> None:  # fmt: skip
    """Multiply the rows of one tile, which :func:`pack` has laid; `out` gets `tile` rows."""
    if tile == 8:
        _multiply_8(
            packed, at, floats, values_at, bias_at, ints, starts_at, columns_at, n_panels,
            out, to, stride, activation,
        )  # fmt: skip
    else:
        _multiply_4(
            packed, at, floats, values_at, bias_at, ints, starts_at, columns_at, n_panels,
            out, to, stride, activation,
        )  # fmt: skip


@compiled()
def scatter(
    parts: Any, at: int, n_panels: int, n: int, ints: Any, counts_at: int, rows_at: int,
    floats: Any, bias_at: int, n_outputs: int, out: Any, to: int, out_stride: int,
) -> None:  # fmt: skip
    """Add what panels of scattered outputs gave to where it belongs; outputs begin at the bias.

    Outputs of panel p are the first `counts[p]` of ``rows[16 p:]``, in `ints`; each row of `parts`
    holds 16 numbers for each panel.
    """
    for b in range(n):
        row, target = at + b * n_panels * _LANES, to + b * out_stride
        for k in range(0, n_outputs, _LANES):
            simd.store(simd.load(floats, bias_at + k), out, target + k)
        for p in range(n_panels):
            first = p * _LANES
            for k in range(first, first + ints[counts_at + p]):
                out[target + ints[rows_at + k]] += parts[row + k]

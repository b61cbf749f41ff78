"""From registers to memory, and numbers laid in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from embcompress.simd.codegen import (
    FLOATS,
    I64,
    INTS,
    LANES,
    constant,
    fused,
    moved,
    operation,
    parts,
    pointer,
    read,
    spread,
    write,
)


def _store_tile_twin(tile: Any, out: Any, i: int, stride: int) -> None:
    for b, part in enumerate(tile):
        out[i + b * stride : i + b * stride + LANES] = part


@operation(_store_tile_twin)
def store_tile(typing: Any, tile: Any, out: Any, i: Any, stride: Any) -> Any:
    """Write vector b of a tile to ``out[i + b * stride:]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        for b, part in enumerate(parts(builder, args[0], tile.count)):
            write(builder, part, moved(builder, start, b, args[3]))
        return context.get_dummy_value()

    return types.void(tile, out, types.int64, types.int64), generate


def _store_masked_twin(tile: Any, low: Any, mask: Any, m: int, out: Any, i: int) -> None:
    for v, part in enumerate(tile):
        kept = mask[m + LANES * v : m + LANES * (v + 1)] > 0
        value = np.where(part < low, low, part)
        out[i + LANES * v : i + LANES * (v + 1)] = np.where(kept, value, np.float32(0))


@operation(_store_masked_twin)
def store_masked(typing: Any, tile: Any, low: Any, mask: Any, m: Any, out: Any, i: Any) -> Any:
    """Write vector v of a tile, at least `low`, to ``out[i + 16 v:]``; NaN stays.

    Where ``mask[m + 16 v:]`` is not positive, 0 is written.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        masks = pointer(context, builder, signature.args[2], args[2], args[3])
        start = pointer(context, builder, signature.args[4], args[4], args[5])
        least, none = spread(builder, args[1]), constant(0)
        for v, part in enumerate(parts(builder, args[0], tile.count)):
            part = builder.select(builder.fcmp_ordered("<", part, least), least, part)
            kept = builder.fcmp_ordered(">", read(builder, moved(builder, masks, LANES * v)), none)
            write(builder, builder.select(kept, part, none), moved(builder, start, LANES * v))
        return context.get_dummy_value()

    return types.void(tile, types.float32, mask, types.int64, out, types.int64), generate


def _store_scaled_twin(
    tile: Any, step: Any, bias: Any, scales: Any, j: int, out: Any, i: int, stride: int
) -> None:
    for b, part in enumerate(tile):
        out[i + b * stride : i + b * stride + LANES] = part * (step * scales[j + b]) + bias


@operation(_store_scaled_twin)
def store_scaled(
    typing: Any, tile: Any, step: Any, bias: Any, scales: Any, j: Any, out: Any, i: Any, stride: Any
) -> Any:
    """Write ``tile[b] * (step * scales[j + b]) + bias`` to ``out[i + b * stride:]``.

    The tile is of int32, the rest of float32.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, size, begin, factors, first, array, at, row = args
        start = pointer(context, builder, signature.args[5], array, at)
        factor = pointer(context, builder, signature.args[3], factors, first)
        for b, part in enumerate(parts(builder, total, tile.count)):
            scale = spread(builder, builder.load(moved(builder, factor, b)))
            value = builder.sitofp(part, FLOATS)
            value = fused(builder, value, builder.fmul(size, scale), begin)
            write(builder, value, moved(builder, start, b, row))
        return context.get_dummy_value()

    index = types.int64
    return types.void(tile, step, bias, scales, index, out, index, index), generate


def _transposed_twin(x: Any, i: int, stride: int, last: int, count: int, out: Any, j: int) -> None:
    for k in range(LANES):
        for b in range(count):
            out[j + k * count + b] = x[i + min(b, last) * stride + k]


@operation(_transposed_twin)
def transposed(
    typing: Any, x: Any, i: Any, stride: Any, last: Any, count: Any, out: Any, j: Any
) -> Any:
    """Copy 16 columns of `count` rows, row by row, to `count` numbers for each column.

    ``out[j + k * count + b] = x[i + min(b, last) * stride + k]`` for k < 16 and b < count; `count`
    is a constant 2, 4, 8 or 16. Rows after `last` repeat it.
    """
    vector = FLOATS if x.dtype == types.float32 else INTS
    n = count.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = pointer(context, builder, signature.args[0], args[0], args[1])
        rows = []
        for b in range(n):
            row = ir.Constant(I64, b)
            row = builder.select(builder.icmp_signed("<", row, args[3]), row, args[3])
            rows.append(read(builder, builder.gep(source, [builder.mul(row, args[2])]), vector))
        for _ in range(n.bit_length() - 1):
            rows = _interleaved(builder, rows)
        target = pointer(context, builder, signature.args[5], args[5], args[6])
        for k, row in enumerate(rows):
            write(builder, row, moved(builder, target, LANES * k))
        return context.get_dummy_value()

    index = types.int64
    return types.void(x, index, index, index, count, out, index), generate


def _interleaved(builder: Any, rows: list[Any]) -> list[Any]:
    """Zip the first half of the rows with the second: a bit of the row moves into the lane."""
    half = LANES // 2
    low = [lane // 2 + LANES * (lane % 2) for lane in range(LANES)]
    high = [lane + half for lane in low]
    zipped: list[list[Any]] = [[], []]
    middle = len(rows) // 2
    for first, second in zip(rows[:middle], rows[middle:], strict=True):
        for part, lanes in zip(zipped, (low, high), strict=True):
            part.append(builder.shuffle_vector(first, second, ir.Constant(INTS, lanes)))
    # the top bit of the lane becomes the lowest of the row
    return [row for pair in zip(*zipped, strict=True) for row in pair]


def _split_pairs_twin(x: Any, i: int, out: Any, j: int, k: int) -> None:
    even, odd = x[i : i + 2 * LANES : 2].copy(), x[i + 1 : i + 2 * LANES : 2].copy()
    out[j : j + LANES] = even
    out[k : k + LANES] = odd


@operation(_split_pairs_twin)
def split_pairs(typing: Any, x: Any, i: Any, out: Any, j: Any, k: Any) -> Any:
    """Copy every second of 32 numbers ``x[i:]`` to ``out[j:]``, and the others to ``out[k:]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = pointer(context, builder, signature.args[0], args[0], args[1])
        low, high = read(builder, source), read(builder, moved(builder, source, LANES))
        for first in (0, 1):
            lanes = ir.Constant(INTS, list(range(first, 2 * LANES, 2)))
            target = pointer(context, builder, signature.args[2], args[2], args[3 + first])
            write(builder, builder.shuffle_vector(low, high, lanes), target)
        return context.get_dummy_value()

    index = types.int64
    return types.void(x, index, out, index, index), generate

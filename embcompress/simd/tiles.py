"""Operations on tiles: tuples of vectors that stay in registers."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from embcompress.simd.codegen import (
    BYTES,
    FLOATS,
    I64,
    INTS,
    LANES,
    TILE,
    call,
    constant,
    dot4,
    f32x16,
    fused,
    i32x16,
    moved,
    operation,
    parts,
    pointer,
    read,
    spread,
)


@operation(lambda n: (np.zeros(LANES, np.float32),) * n)
def zeros(typing: Any, n: Any) -> Any:
    """Tile of `n` vectors of 0; `n` is a constant."""
    tile = types.UniTuple(f32x16, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.pack_array(builder, [constant(0)] * tile.count)

    return tile(n), generate


@operation(lambda n, value: (np.full(LANES, value, np.float32),) * n)
def filled(typing: Any, n: Any, value: Any) -> Any:
    """Tile of `n` vectors of the same number; `n` is a constant."""
    tile = types.UniTuple(f32x16, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.pack_array(builder, [spread(builder, args[1])] * tile.count)

    return tile(n, types.float32), generate


@operation(lambda n: (np.zeros(LANES, np.int32),) * n)
def zeros_int(typing: Any, n: Any) -> Any:
    """Tile of `n` vectors of the integer 0; `n` is a constant."""
    tile = types.UniTuple(i32x16, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.pack_array(builder, [ir.Constant(INTS, [0] * LANES)] * tile.count)

    return tile(n), generate


@operation(lambda tile, i: tile[i])
def item(typing: Any, tile: Any, i: Any) -> Any:
    """Vector `i` of a tile; `i` is a constant."""
    number = i.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.extract_value(args[0], number)

    return tile.dtype(tile, i), generate


@operation(lambda tile: (np.sum(tile, axis=0, dtype=tile[0].dtype),))
def sum_tile(typing: Any, tile: Any) -> Any:
    """Tile of one vector: the sum of all, by pairs."""
    result = types.UniTuple(tile.dtype, 1)
    floats = tile.dtype == f32x16

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        plus = builder.fadd if floats else builder.add
        left = parts(builder, args[0], tile.count)
        while len(left) > 1:
            pairs = [plus(a, b) for a, b in zip(left[::2], left[1::2], strict=False)]
            left = pairs + left[2 * len(pairs) :]
        return cgutils.pack_array(builder, left)

    return result(tile), generate


@operation(lambda vector, n: (vector,) * n)
def repeat(typing: Any, vector: Any, n: Any) -> Any:
    """Tile of `n` times the same vector; `n` is a constant."""
    tile = types.UniTuple(vector, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.pack_array(builder, [args[0]] * tile.count)

    return tile(vector, n), generate


def _largest_tile_twin(tile: Any, x: Any, i: int) -> Any:
    return tuple(
        np.maximum(part, np.abs(x[i + LANES * v : i + LANES * (v + 1)]))
        for v, part in enumerate(tile)
    )


@operation(_largest_tile_twin)
def largest_tile(typing: Any, tile: Any, x: Any, i: Any) -> Any:
    """Take the larger of vector v of a tile and ``|x[i + 16 v:][:16]|``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        found = []
        for v, part in enumerate(parts(builder, args[0], tile.count)):
            size = read(builder, moved(builder, start, LANES * v))
            size = call(builder, "llvm.fabs.v16f32", FLOATS, size)
            found.append(builder.select(builder.fcmp_ordered(">", size, part), size, part))
        return cgutils.pack_array(builder, found)

    return tile(tile, x, types.int64), generate


def _fma_tile_twin(tile: Any, vector: Any, x: Any, i: int, stride: int) -> Any:
    return tuple(part + vector * x[i + b * stride] for b, part in enumerate(tile))


@operation(_fma_tile_twin)
def fma_tile(typing: Any, tile: Any, vector: Any, x: Any, i: Any, stride: Any) -> Any:
    """Add ``vector * x[i + b * stride]`` to vector b of a tile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, lanes, array, index, step = args
        start = pointer(context, builder, signature.args[2], array, index)
        sums = []
        for b, part in enumerate(parts(builder, total, tile.count)):
            number = builder.load(moved(builder, start, b, step))
            sums.append(fused(builder, lanes, spread(builder, number), part))
        return cgutils.pack_array(builder, sums)

    return tile(tile, vector, x, types.int64, types.int64), generate


def _fma_columns_twin(
    tile: Any, values: Any, i: int, x: Any, start: int, columns: Any, c: int
) -> Any:
    return tuple(
        part + values[i + LANES * u : i + LANES * (u + 1)] * x[start + columns[c + u]]
        for u, part in enumerate(tile)
    )


@operation(_fma_columns_twin)
def fma_columns(
    typing: Any, tile: Any, values: Any, i: Any, x: Any, start: Any, columns: Any, c: Any
) -> Any:
    """Add ``values[i + 16 u:][:16] * x[start + columns[c + u]]`` to vector u of a tile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, *_ = args
        weight = pointer(context, builder, signature.args[1], args[1], args[2])
        inputs = pointer(context, builder, signature.args[3], args[3], args[4])
        column = pointer(context, builder, signature.args[5], args[5], args[6])
        sums = []
        for u, part in enumerate(parts(builder, total, tile.count)):
            place = builder.zext(builder.load(moved(builder, column, u)), I64)
            number = spread(builder, builder.load(builder.gep(inputs, [place])))
            lanes = read(builder, moved(builder, weight, LANES * u))
            sums.append(fused(builder, lanes, number, part))
        return cgutils.pack_array(builder, sums)

    index = types.int64
    return tile(tile, values, index, x, index, columns, index), generate


def _fma_shifted_twin(tile: Any, weight: Any, x: Any, i: int) -> Any:
    return tuple(
        part + weight * x[i + LANES * v : i + LANES * (v + 1)] for v, part in enumerate(tile)
    )


@operation(_fma_shifted_twin)
def fma_shifted(typing: Any, tile: Any, weight: Any, x: Any, i: Any) -> Any:
    """Add ``weight * x[i + 16 v:][:16]`` to vector v of a tile."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[2], args[2], args[3])
        number = spread(builder, args[1])
        sums = [
            fused(builder, number, read(builder, moved(builder, start, LANES * v)), part)
            for v, part in enumerate(parts(builder, args[0], tile.count))
        ]
        return cgutils.pack_array(builder, sums)

    return tile(tile, types.float32, x, types.int64), generate


def _fma_pairs_twin(tile: Any, weights: Any, w: int, x: Any, i: int) -> Any:
    return tuple(
        part
        + weights[w] * x[i + LANES * v : i + LANES * (v + 1)]
        + weights[w + 1] * x[i + 1 + LANES * v : i + 1 + LANES * (v + 1)]
        for v, part in enumerate(tile)
    )


@operation(_fma_pairs_twin)
def fma_pairs(typing: Any, tile: Any, weights: Any, w: Any, x: Any, i: Any) -> Any:
    """Add ``weights[w] * x[i + 16 v:][:16] + weights[w + 1] * x[i + 1 + 16 v:][:16]`` to vector v.

    Loads across two lines of the cache cost twice. With registers of 16 lanes the second vector is
    made of neighbours of the first instead.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[3], args[3], args[4])
        weight = pointer(context, builder, signature.args[1], args[1], args[2])
        first = spread(builder, builder.load(weight))
        second = spread(builder, builder.load(moved(builder, weight, 1)))
        following = ir.Constant(INTS, list(range(1, LANES + 1)))
        lanes: Any = None
        sums = []
        for v, part in enumerate(parts(builder, args[0], tile.count)):
            if lanes is None:
                lanes = read(builder, moved(builder, start, LANES * v))
            part = fused(builder, first, lanes, part)
            after = None
            if TILE == LANES and v + 1 < tile.count:
                after = read(builder, moved(builder, start, LANES * (v + 1)))
                shifted = builder.shuffle_vector(lanes, after, following)
            else:
                shifted = read(builder, moved(builder, start, LANES * v + 1))
            sums.append(fused(builder, second, shifted, part))
            lanes = after
        return cgutils.pack_array(builder, sums)

    return tile(tile, weights, types.int64, x, types.int64), generate


def _dot_tile_twin(tile: Any, values: Any, i: int, x: Any, j: int, stride: int) -> Any:
    weights = np.asarray(values[i : i + 4 * LANES], np.int32).reshape(LANES, 4)
    quads = np.ascontiguousarray([x[j + b * stride] for b in range(len(tile))], np.int32)
    quads = quads.view(np.uint8).reshape(-1, 4).astype(np.int32)
    return tuple(part + weights @ quad for part, quad in zip(tile, quads, strict=True))


@operation(_dot_tile_twin)
def dot_tile(typing: Any, tile: Any, values: Any, i: Any, x: Any, j: Any, stride: Any) -> Any:
    """Add products of four bytes each: 16 x 4 of int8 `values` from `i`, and quads of `x`.

    ``x[j + b * stride]`` is an int32 that holds four bytes without sign, for vector b of a tile of
    int32.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        total, weights, at, array, index, step = args
        place = pointer(context, builder, signature.args[1], weights, at)
        signed = read(builder, place, BYTES)
        start = pointer(context, builder, signature.args[3], array, index)
        sums = []
        for b, part in enumerate(parts(builder, total, tile.count)):
            quad = spread(builder, builder.load(moved(builder, start, b, step)))
            sums.append(dot4(builder, part, builder.bitcast(quad, BYTES), signed))
        return cgutils.pack_array(builder, sums)

    return tile(tile, values, types.int64, x, types.int64, types.int64), generate


def _dot_columns_twin(
    tile: Any, values: Any, i: int, x: Any, start: int, columns: Any, c: int
) -> Any:
    return tuple(
        _dot_tile_twin((part,), values, i + 4 * LANES * u, x, start + int(columns[c + u]), 1)[0]
        for u, part in enumerate(tile)
    )


@operation(_dot_columns_twin)
def dot_columns(
    typing: Any, tile: Any, values: Any, i: Any, x: Any, start: Any, columns: Any, c: Any
) -> Any:
    """Add products of ``values[i + 64 u:][:64]`` and the quad ``x[start + columns[c + u]]``.

    To vector u of a tile of int32; see :func:`dot_tile`.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weight = pointer(context, builder, signature.args[1], args[1], args[2])
        inputs = pointer(context, builder, signature.args[3], args[3], args[4])
        column = pointer(context, builder, signature.args[5], args[5], args[6])
        sums = []
        for u, part in enumerate(parts(builder, args[0], tile.count)):
            place = builder.zext(builder.load(moved(builder, column, u)), I64)
            quad = spread(builder, builder.load(builder.gep(inputs, [place])))
            signed = read(builder, moved(builder, weight, 4 * LANES * u), BYTES)
            sums.append(dot4(builder, part, builder.bitcast(quad, BYTES), signed))
        return cgutils.pack_array(builder, sums)

    index = types.int64
    return tile(tile, values, index, x, index, columns, index), generate

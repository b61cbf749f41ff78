"""Operations that look halves of bytes up in tables: sums of weights, 64 codes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from embcompress.simd.codegen import (
    BYTES,
    COLUMN,
    I32,
    I64,
    PAIRS,
    i16x64,
    looked_up,
    moved,
    operation,
    parts,
    pointer,
    read,
    spread,
)
from embcompress.simd.columns import joined, mask_of

__all__ = ["add_lookups", "bits_of", "float_of", "lookup_sums", "reaching", "reaching_scaled"]


def _add_lookups_twin(
    tile: Any, n: int, codes: Any, i: int, stride: int, tables: Any, j: int
) -> Any:
    sums = []
    for v in range(len(tile) // 2):
        column = codes[i + stride * (v // n) : i + stride * (v // n) + COLUMN]
        table = tables[j + 2 * COLUMN * (v % n) :]
        found = (table[column & 15] + table[COLUMN + (column >> 4)]).view(np.uint16)
        sums.append(tile[2 * v].view(np.uint16) + found)
        sums.append(tile[2 * v + 1].view(np.uint16) + (found >> 8))
    return tuple(part.view(np.uint8) for part in sums)


@operation(_add_lookups_twin)
def add_lookups(
    typing: Any, tile: Any, n: Any, codes: Any, i: Any, stride: Any, tables: Any, j: Any
) -> Any:
    """Look the halves of bytes of codes up in two tables of each of `n` queries, and add.

    The codes are 64 bytes from ``codes[i + stride * b:]`` for block b. The tables of query t are
    from ``tables[j + 128 t:]`` on, 16 bytes four times for the low halves, then for the high ones;
    two entries together are at most 255. Sums of block b and query t are two vectors of a tile
    from ``2 (b n + t)`` on, which :func:`lookup_sums` brings into order: the first adds up pairs of
    lanes as 16 bits, the second the odd lanes. `n` is a constant.
    """
    count = n.literal_value
    n_blocks = tile.count // (2 * count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature.args[2], args[2], args[3])
        start = pointer(context, builder, signature.args[5], args[5], args[6])
        sums = []
        for b in range(n_blocks):
            halves = _halves(builder, read(builder, moved(builder, place, b, args[4]), BYTES))
            for t in range(count):
                found = [
                    looked_up(builder, moved(builder, start, COLUMN * (2 * t + k)), half)
                    for k, half in enumerate(halves)
                ]
                both = builder.bitcast(builder.add(*found), PAIRS)
                shifted = builder.lshr(both, ir.Constant(PAIRS, [8] * PAIRS.count))
                for k, more in enumerate((both, shifted)):
                    old = builder.extract_value(args[0], 2 * (b * count + t) + k)
                    total = builder.add(builder.bitcast(old, PAIRS), more)
                    sums.append(builder.bitcast(total, BYTES))
        return cgutils.pack_array(builder, sums)

    index = types.int64
    return tile(tile, n, codes, index, index, tables, index), generate


def _halves(builder: Any, column: Any) -> tuple[Any, Any]:
    """The low and the high four bits of bytes."""
    four, fifteen = (ir.Constant(BYTES, [n] * COLUMN) for n in (4, 15))
    return builder.and_(column, fifteen), builder.lshr(column, four)


def _lookup_sums_twin(tile: Any) -> Any:
    sums = []
    for pairs, odd in zip(tile[::2], tile[1::2], strict=True):
        pairs, odd = pairs.view(np.uint16), odd.view(np.uint16)
        sums.append(np.stack([pairs - (odd << 8), odd], axis=1).ravel().view(np.int16))
    return tuple(sums)


@operation(_lookup_sums_twin)
def lookup_sums(typing: Any, tile: Any) -> Any:
    """Sums of :func:`add_lookups` as one vector of 64 numbers of 16 bits for each query."""
    result = types.UniTuple(i16x64, tile.count // 2)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        n = PAIRS.count
        order = [lane // 2 + n * (lane % 2) for lane in range(2 * n)]
        lanes = ir.Constant(ir.VectorType(I32, 2 * n), order)
        sums = []
        for t in range(result.count):
            pairs, odd = (
                builder.bitcast(builder.extract_value(args[0], 2 * t + k), PAIRS) for k in (0, 1)
            )
            even = builder.sub(pairs, builder.shl(odd, ir.Constant(PAIRS, [8] * n)))
            sums.append(builder.shuffle_vector(even, odd, lanes))
        return cgutils.pack_array(builder, sums)

    return result(tile), generate


def _unsigned(tile: Any) -> list[Any]:
    return [part.view(np.uint16) for part in tile]


@operation(lambda value: np.float32(value).view(np.int32))
def bits_of(typing: Any, value: Any) -> Any:
    """The 32 bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], I32)

    return types.int32(types.float32), generate


@operation(lambda bits: np.int32(bits).view(np.float32))
def float_of(typing: Any, bits: Any) -> Any:
    """The float32 that has the 32 bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


def _reaching_twin(tile: Any, n: int, limits: Any, i: int, out: Any) -> int:
    for v, part in enumerate(_unsigned(tile)):
        out[v] = mask_of(part >= _unsigned([limits[i + v % n : i + v % n + 1]])[0])
    return int(np.bitwise_or.reduce(out[: len(tile)]))


@operation(_reaching_twin)
def reaching(typing: Any, tile: Any, n: Any, limits: Any, i: Any, out: Any) -> Any:
    """Write the mask of the lanes of vector v that are at least ``limits[i + v % n]``.

    To ``out[v]``; all are taken as 16 bits without sign; `n` is a constant. Returns the masks
    joined.
    """
    count = n.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[2], args[2], args[3])
        found = []
        for v, part in enumerate(parts(builder, args[0], tile.count)):
            limit = spread(builder, builder.load(moved(builder, start, v % count)), COLUMN)
            found.append(builder.bitcast(builder.icmp_unsigned(">=", part, limit), I64))
        return _written(context, builder, signature.args[4], args[4], found)

    return types.int64(tile, n, limits, types.int64, out), generate


def _reaching_scaled_twin(
    tile: Any, n: int, lines: Any, i: int, inverse: Any, j: int, out: Any
) -> int:
    for v, part in enumerate(_unsigned(tile)):
        slope, start, limit = lines[i + 3 * (v % n) : i + 3 * (v % n) + 3]
        place = j + COLUMN * (v // n)
        out[v] = mask_of(part * slope + start >= limit * inverse[place : place + COLUMN])
    return int(np.bitwise_or.reduce(out[: len(tile)]))


@operation(_reaching_scaled_twin)
def reaching_scaled(
    typing: Any, tile: Any, n: Any, lines: Any, i: Any, inverse: Any, j: Any, out: Any
) -> Any:
    """As :func:`reaching`, of ``slope * lane + start`` against ``limit * inverse``.

    ``lines[i + 3 (v % n):]`` holds slope, start and limit for vector v, and
    ``inverse[j + 64 (v // n):]`` one number for each lane; all are float32.
    """
    floats = ir.VectorType(ir.FloatType(), COLUMN)
    count = n.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        line = pointer(context, builder, signature.args[2], args[2], args[3])
        place = pointer(context, builder, signature.args[4], args[4], args[5])
        found = []
        for v, part in enumerate(parts(builder, args[0], tile.count)):
            slope, start, limit = (
                spread(builder, builder.load(moved(builder, line, 3 * (v % count) + k)), COLUMN)
                for k in range(3)
            )
            factors = read(builder, moved(builder, place, COLUMN * (v // count)), floats)
            value = builder.fadd(builder.fmul(builder.uitofp(part, floats), slope), start)
            enough = builder.fcmp_ordered(">=", value, builder.fmul(limit, factors))
            found.append(builder.bitcast(enough, I64))
        return _written(context, builder, signature.args[6], args[6], found)

    index = types.int64
    return index(tile, n, lines, index, inverse, index, out), generate


def _written(context: Any, builder: Any, array_type: Any, array: Any, masks: list[Any]) -> Any:
    target = pointer(context, builder, array_type, array, ir.Constant(I64, 0))
    for t, mask in enumerate(masks):
        builder.store(mask, moved(builder, target, t))
    return joined(builder, masks)

"""Operations on columns: the same byte of 64 codes.

Sums build up lane by lane, so nothing is ever added across a vector. They are kept in bytes as
long as they fit, then widened to 16 bits.
"""

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
    INTS,
    LOOKUP,
    PAIRS,
    SHORTS,
    call,
    i16x64,
    looked_up,
    moved,
    operation,
    parts,
    pointer,
    read,
    spread,
    u8x64,
    write,
)


@operation(lambda n: (np.zeros(COLUMN, np.uint8),) * n)
def zero_bytes(typing: Any, n: Any) -> Any:
    """Tile of `n` vectors of 64 bytes of 0; `n` is a constant."""
    tile = types.UniTuple(u8x64, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.pack_array(builder, [ir.Constant(BYTES, None)] * tile.count)

    return tile(n), generate


@operation(lambda n, x, i: tuple(np.full(COLUMN, x[i + t] & 255, np.uint8) for t in range(n)))
def filled_bytes(typing: Any, n: Any, x: Any, i: Any) -> Any:
    """Tile of `n` vectors of a byte 64 times; ``x[i + t]`` is an int32 that holds it four times."""
    tile = types.UniTuple(u8x64, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        filled = [
            builder.bitcast(spread(builder, builder.load(moved(builder, start, t))), BYTES)
            for t in range(tile.count)
        ]
        return cgutils.pack_array(builder, filled)

    return tile(n, x, types.int64), generate


def _add_differing_twin(tile: Any, codes: Any, i: int, asked: Any, j: int) -> Any:
    column = codes[i : i + COLUMN]
    return tuple(
        part + np.bitwise_count(column ^ np.uint8(asked[j + t] & 255))
        for t, part in enumerate(tile)
    )


@operation(_add_differing_twin)
def add_differing(typing: Any, tile: Any, codes: Any, i: Any, asked: Any, j: Any) -> Any:
    """Add the numbers of bits in which the 64 bytes ``codes[i:]`` differ from a byte of each query.

    The byte of query t is ``asked[j + t]``, an int32 that holds it four times. A sum holds 31
    columns.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        column = read(builder, pointer(context, builder, signature.args[1], args[1], args[2]), INTS)
        start = pointer(context, builder, signature.args[3], args[3], args[4])
        sums = []
        for t, part in enumerate(parts(builder, args[0], tile.count)):
            byte = spread(builder, builder.load(moved(builder, start, t)))
            differing = builder.bitcast(builder.xor(column, byte), BYTES)
            count = call(builder, "llvm.ctpop.v64i8", BYTES, differing)
            sums.append(builder.add(part, count))
        return cgutils.pack_array(builder, sums)

    return tile(tile, codes, types.int64, asked, types.int64), generate


def _add_full_twin(tile: Any, more: Any) -> Any:
    return tuple(
        np.minimum(a.astype(np.uint16) + b, 255).astype(np.uint8)
        for a, b in zip(tile, more, strict=True)
    )


@operation(_add_full_twin)
def add_full(typing: Any, tile: Any, more: Any) -> Any:
    """Add two tiles of bytes; sums stay at 255 when they are full."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, second = (parts(builder, arg, tile.count) for arg in args)
        sums = [
            call(builder, "llvm.uadd.sat.v64i8", BYTES, a, b)
            for a, b in zip(first, second, strict=True)
        ]
        return cgutils.pack_array(builder, sums)

    return tile(tile, more), generate


@operation(lambda n, x, i: tuple(np.full(COLUMN, x[i + t], np.int16) for t in range(n)))
def filled_shorts(typing: Any, n: Any, x: Any, i: Any) -> Any:
    """Tile of `n` vectors of 64 times ``x[i + t]``, an int16; `n` is a constant."""
    tile = types.UniTuple(i16x64, n.literal_value)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        filled = [
            spread(builder, builder.load(moved(builder, start, t)), COLUMN)
            for t in range(tile.count)
        ]
        return cgutils.pack_array(builder, filled)

    return tile(n, x, types.int64), generate


@operation(lambda tile, small: tuple(a + b for a, b in zip(tile, small, strict=True)))
def add_bytes(typing: Any, tile: Any, small: Any) -> Any:
    """Add a tile of bytes to a tile of int16."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide, narrow = (parts(builder, arg, tile.count) for arg in args)
        sums = [builder.add(a, builder.zext(b, SHORTS)) for a, b in zip(wide, narrow, strict=True)]
        return cgutils.pack_array(builder, sums)

    return tile(tile, small), generate


def _mask(lanes: Any) -> int:
    """Bits of 64 truths as a signed integer, lane 0 lowest."""
    return int(np.packbits(lanes, bitorder="little").view(np.int64)[0])


@operation(lambda tile: _mask(np.min(tile, axis=0) < 0))
def any_negative(typing: Any, tile: Any) -> Any:
    """The lanes in which any vector of a tile of int16 is negative, as a mask; lane 0 is lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = _joined(builder, parts(builder, args[0], tile.count))
        negative = builder.icmp_signed("<", found, ir.Constant(SHORTS, None))
        return builder.bitcast(negative, I64)

    return types.int64(tile), generate


@operation(lambda tile: _mask(np.min(tile, axis=0) < 255))
def any_not_full(typing: Any, tile: Any) -> Any:
    """The lanes in which any vector of a tile of bytes is below 255, as a mask."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = _joined(builder, parts(builder, args[0], tile.count), builder.and_)
        full = ir.Constant(BYTES, [255] * COLUMN)
        return builder.bitcast(builder.icmp_unsigned("<", found, full), I64)

    return types.int64(tile), generate


def _not_full_masks_twin(tile: Any, out: Any, i: int) -> None:
    for t, part in enumerate(tile):
        out[i + t] = _mask(part < 255)


@operation(_not_full_masks_twin)
def not_full_masks(typing: Any, tile: Any, out: Any, i: Any) -> Any:
    """Write the mask of the lanes of vector t of a tile of bytes below 255 to ``out[i + t]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        full = ir.Constant(BYTES, [255] * COLUMN)
        for t, part in enumerate(parts(builder, args[0], tile.count)):
            mask = builder.bitcast(builder.icmp_unsigned("<", part, full), I64)
            builder.store(mask, moved(builder, start, t))
        return context.get_dummy_value()

    return types.void(tile, out, types.int64), generate


def _negative_masks_twin(tile: Any, out: Any, i: int) -> None:
    for t, part in enumerate(tile):
        out[i + t] = _mask(part < 0)


@operation(_negative_masks_twin)
def negative_masks(typing: Any, tile: Any, out: Any, i: Any) -> Any:
    """Write the mask of the negative lanes of vector t of a tile of int16 to ``out[i + t]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        for t, part in enumerate(parts(builder, args[0], tile.count)):
            negative = builder.icmp_signed("<", part, ir.Constant(SHORTS, None))
            builder.store(builder.bitcast(negative, I64), moved(builder, start, t))
        return context.get_dummy_value()

    return types.void(tile, out, types.int64), generate


@operation(lambda mask: (int(mask) & -int(mask)).bit_length() - 1)
def lowest_lane(typing: Any, mask: Any) -> Any:
    """The first lane of a mask that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


def _reaching_twin(tile: Any, n: int, limits: Any, i: int, out: Any) -> int:
    for v, part in enumerate(_unsigned(tile)):
        out[v] = _mask(part >= _unsigned([limits[i + v % n : i + v % n + 1]])[0])
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
        out[v] = _mask(part * slope + start >= limit * inverse[place : place + COLUMN])
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
    return _joined(builder, masks)


def _joined(builder: Any, vectors: list[Any], join: Any = None) -> Any:
    join = join or builder.or_
    while len(vectors) > 1:
        pairs = [join(a, b) for a, b in zip(vectors[::2], vectors[1::2], strict=False)]
        vectors = pairs + vectors[2 * len(pairs) :]
    return vectors[0]


def _store_columns_twin(tile: Any, out: Any, i: int) -> None:
    for t, part in enumerate(tile):
        out[i + COLUMN * t : i + COLUMN * (t + 1)] = part.view(out.dtype)


@operation(_store_columns_twin)
def store_columns(typing: Any, tile: Any, out: Any, i: Any) -> Any:
    """Write vector t of a tile of 64 numbers to ``out[i + 64 t:]``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[1], args[1], args[2])
        for t, part in enumerate(parts(builder, args[0], tile.count)):
            write(builder, part, moved(builder, start, COLUMN * t))
        return context.get_dummy_value()

    return types.void(tile, out, types.int64), generate


# -- sums of weights of bits ----------------------------------------------------------------------


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


# -- from rows to columns -------------------------------------------------------------------------


def _columns_twin(rows: Any, i: int, stride: int, out: Any, j: int) -> None:
    for k in range(8):
        out[j + COLUMN * k : j + COLUMN * (k + 1)] = rows[
            i + k : i + k + stride * (COLUMN - 1) + 1 : stride
        ]


@operation(_columns_twin)
def columns(typing: Any, rows: Any, i: Any, stride: Any, out: Any, j: Any) -> Any:
    """Lay eight bytes of 64 rows column by column.

    ``out[j + 64 k + l] = rows[i + l * stride + k]`` for k < 8 and l < 64.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source = pointer(context, builder, signature.args[0], args[0], args[1])
        words = ir.VectorType(I64, 8)
        groups = []
        for g in range(8):
            group = ir.Constant(words, ir.Undefined)
            for r in range(8):
                place = moved(builder, source, 8 * g + r, args[2])
                word = builder.load(builder.bitcast(place, I64.as_pointer()), align=1)
                group = builder.insert_element(group, word, ir.Constant(I32, r))
            # bytes of eight rows, the first of each row first
            turned = ir.Constant(
                ir.VectorType(I32, 64), [8 * r + k for k in range(8) for r in range(8)]
            )
            flat = builder.bitcast(group, BYTES)
            flat = builder.shuffle_vector(flat, ir.Constant(BYTES, ir.Undefined), turned)
            groups.append(builder.bitcast(flat, words))
        target = pointer(context, builder, signature.args[3], args[3], args[4])
        for k, column in enumerate(_turned(builder, groups)):
            write(builder, column, moved(builder, target, COLUMN * k))
        return context.get_dummy_value()

    index = types.int64
    return types.void(rows, index, index, out, index), generate


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose eight vectors of eight words."""
    for width in (1, 2, 4):
        low = [lane if not lane & width else lane - width + 8 for lane in range(8)]
        high = [lane + width if not lane & width else lane + 8 for lane in range(8)]
        done = list(rows)
        for first in range(8):
            if not first & width:
                pair = rows[first], rows[first + width]
                for place, lanes in ((first, low), (first + width, high)):
                    order = ir.Constant(ir.VectorType(I32, 8), lanes)
                    done[place] = builder.shuffle_vector(*pair, order)
        rows = done
    return rows


__all__ = [
    "LOOKUP",
    "add_bytes",
    "add_differing",
    "add_full",
    "add_lookups",
    "any_negative",
    "any_not_full",
    "bits_of",
    "columns",
    "filled_bytes",
    "filled_shorts",
    "float_of",
    "lookup_sums",
    "lowest_lane",
    "negative_masks",
    "not_full_masks",
    "reaching",
    "reaching_scaled",
    "store_columns",
    "zero_bytes",
]

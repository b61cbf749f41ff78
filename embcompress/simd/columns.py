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
    SHORTS,
    call,
    i16x64,
    moved,
    operation,
    parts,
    pointer,
    read,
    spread,
    u8x64,
    write,
)

__all__ = [
    "add_bytes",
    "add_differing",
    "add_full",
    "any_negative",
    "any_not_full",
    "columns",
    "filled_bytes",
    "filled_shorts",
    "joined",
    "lowest_lane",
    "mask_of",
    "negative_masks",
    "not_full_masks",
    "store_columns",
    "zero_bytes",
]


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


def mask_of(lanes: Any) -> int:
    """Bits of 64 truths as a signed integer, lane 0 lowest."""
    return int(np.packbits(lanes, bitorder="little").view(np.int64)[0])


@operation(lambda tile: mask_of(np.min(tile, axis=0) < 0))
def any_negative(typing: Any, tile: Any) -> Any:
    """The lanes in which any vector of a tile of int16 is negative, as a mask; lane 0 is lowest."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = joined(builder, parts(builder, args[0], tile.count))
        negative = builder.icmp_signed("<", found, ir.Constant(SHORTS, None))
        return builder.bitcast(negative, I64)

    return types.int64(tile), generate


@operation(lambda tile: mask_of(np.min(tile, axis=0) < 255))
def any_not_full(typing: Any, tile: Any) -> Any:
    """The lanes in which any vector of a tile of bytes is below 255, as a mask."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = joined(builder, parts(builder, args[0], tile.count), builder.and_)
        full = ir.Constant(BYTES, [255] * COLUMN)
        return builder.bitcast(builder.icmp_unsigned("<", found, full), I64)

    return types.int64(tile), generate


def _not_full_masks_twin(tile: Any, out: Any, i: int) -> None:
    for t, part in enumerate(tile):
        out[i + t] = mask_of(part < 255)


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
        out[i + t] = mask_of(part < 0)


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


def joined(builder: Any, vectors: list[Any], join: Any = None) -> Any:
    """Join vectors by pairs, with "or" unless another operation is given."""
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

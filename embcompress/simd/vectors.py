"""Operations on single vectors of 16 numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from embcompress.simd.codegen import (
    FLOATS,
    I8,
    INTS,
    LANES,
    call,
    constant,
    f32x16,
    fused,
    i32x16,
    moved,
    operation,
    pointer,
    read,
    spread,
    write,
)


@operation(lambda x, i: np.array(x[i : i + LANES], np.float32))
def load(typing: Any, x: Any, i: Any) -> Any:
    """Vector of 16 numbers from ``x[i]`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return read(builder, pointer(context, builder, signature.args[0], *args))

    return f32x16(x, types.int64), generate


@operation(lambda x, i: np.array(x[i : i + LANES], np.int32))
def load_int(typing: Any, x: Any, i: Any) -> Any:
    """Vector of 16 integers from ``x[i]`` on, which is int32."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return read(builder, pointer(context, builder, signature.args[0], *args), INTS)

    return i32x16(x, types.int64), generate


def _store_twin(vector: Any, out: Any, i: int) -> None:
    out[i : i + LANES] = vector


@operation(_store_twin)
def store(typing: Any, vector: Any, out: Any, i: Any) -> Any:
    """Write 16 numbers to ``out[i]`` and on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = pointer(context, builder, signature.args[1], args[1], args[2])
        write(builder, args[0], place)
        return context.get_dummy_value()

    return types.void(vector, out, types.int64), generate


@operation(lambda value: np.full(LANES, value, np.float32))
def splat(typing: Any, value: Any) -> Any:
    """The same number in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return spread(builder, args[0])

    return f32x16(types.float32), generate


def _of_vectors(emit: Callable[..., Any], n: int) -> Any:
    """Operation of `n` float vectors that gives one."""
    signature = f32x16(*[f32x16] * n)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit(builder, *args)

    return signature, generate


@operation(lambda a, b: a + b)
def add(typing: Any, a: Any, b: Any) -> Any:
    """Sum."""
    return _of_vectors(lambda builder, a, b: builder.fadd(a, b), 2)


@operation(lambda a, b: a + b)
def add_int(typing: Any, a: Any, b: Any) -> Any:
    """Sum of two vectors of integers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.add(*args)

    return i32x16(i32x16, i32x16), generate


@operation(lambda a, b: a - b)
def subtract(typing: Any, a: Any, b: Any) -> Any:
    """Difference."""
    return _of_vectors(lambda builder, a, b: builder.fsub(a, b), 2)


@operation(lambda a, b: a * b)
def multiply(typing: Any, a: Any, b: Any) -> Any:
    """Product, lane by lane."""
    return _of_vectors(lambda builder, a, b: builder.fmul(a, b), 2)


@operation(lambda a, b: a / b)
def divide(typing: Any, a: Any, b: Any) -> Any:
    """Quotient, lane by lane."""
    return _of_vectors(lambda builder, a, b: builder.fdiv(a, b), 2)


@operation(lambda a, b, c: a * b + c)
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``, rounded once."""
    return _of_vectors(fused, 3)


@operation(np.maximum)
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger, lane by lane; the second where one is NaN."""

    def emit(builder: Any, a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return _of_vectors(emit, 2)


@operation(np.abs)
def absolute(typing: Any, a: Any) -> Any:
    """Without the sign."""
    return _of_vectors(lambda builder, a: call(builder, "llvm.fabs.v16f32", FLOATS, a), 1)


@operation(lambda mask, a: np.where(mask > 0, a, np.float32(0)))
def select_positive(typing: Any, mask: Any, a: Any) -> Any:
    """`a` where `mask` is positive, else 0."""

    def emit(builder: Any, mask: Any, a: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", mask, constant(0)), a, constant(0))

    return _of_vectors(emit, 2)


@operation(lambda a, low, high: np.clip(a, np.float32(low), np.float32(high)))
def bound(typing: Any, a: Any, low: Any, high: Any) -> Any:
    """Cut to the range from `low` to `high`; NaN stays."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, least, most = args[0], spread(builder, args[1]), spread(builder, args[2])
        value = builder.select(builder.fcmp_ordered("<", value, least), least, value)
        return builder.select(builder.fcmp_ordered(">", value, most), most, value)

    return f32x16(f32x16, types.float32, types.float32), generate


@operation(lambda a: np.float32(a.max()))
def largest(typing: Any, a: Any) -> Any:
    """The largest lane; there must be no NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return call(builder, "llvm.vector.reduce.fmax.v16f32", ir.FloatType(), args[0])

    return types.float32(f32x16), generate


@operation(lambda a: np.float32(a.sum(dtype=np.float32)))
def sum_lanes(typing: Any, a: Any) -> Any:
    """Sum of the lanes, by halves."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, lanes = args[0], LANES
        while lanes > 1:
            lanes //= 2
            empty = ir.Constant(value.type, ir.Undefined)
            kind = ir.VectorType(ir.IntType(32), lanes)
            low = ir.Constant(kind, list(range(lanes)))
            high = ir.Constant(kind, list(range(lanes, 2 * lanes)))
            value = builder.fadd(
                builder.shuffle_vector(value, empty, low),
                builder.shuffle_vector(value, empty, high),
            )
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return types.float32(f32x16), generate


@operation(lambda a: a.astype(np.float32))
def to_float(typing: Any, a: Any) -> Any:
    """Integers as floats."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sitofp(args[0], FLOATS)

    return f32x16(i32x16), generate


def _quantized_twin(x: Any, i: int, n: int, scale: Any, out: Any, j: int) -> None:
    part = np.asarray(x[i : i + LANES * n], np.float32)
    codes = np.clip(np.rint(part * np.float32(scale)), -127, 127)
    out[j : j + LANES * n] = (codes + 128).astype(np.uint8)


@operation(_quantized_twin)
def quantized(typing: Any, x: Any, i: Any, n: Any, scale: Any, out: Any, j: Any) -> Any:
    """Write ``128 + round(x * scale)``, cut to 1 to 255, as bytes.

    For 16 `n` numbers from ``x[i]`` on, to ``out[j]`` and on; `n` is a constant.
    """
    count = n.literal_value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = pointer(context, builder, signature.args[0], args[0], args[1])
        target = pointer(context, builder, signature.args[4], args[4], args[5])
        factor = spread(builder, args[3])
        for k in range(count):
            value = builder.fmul(read(builder, moved(builder, start, LANES * k)), factor)
            for sign, limit in ((">", constant(127)), ("<", constant(-127))):
                value = builder.select(builder.fcmp_ordered(sign, value, limit), limit, value)
            # at this size the last bit of a float is 1: the addition rounds, and the byte is there
            whole = builder.bitcast(builder.fadd(value, constant(1.5 * 2**23 + 128)), INTS)
            bytes_ = builder.trunc(whole, ir.VectorType(I8, LANES))
            write(builder, bytes_, moved(builder, target, LANES * k))
        return context.get_dummy_value()

    index = types.int64
    return types.void(x, index, n, types.float32, out, index), generate


# ln 2 in two parts, and 1 / k! made slightly better for the range (Cephes, public constants)
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5,
)  # fmt: skip


@operation(lambda a: np.exp(np.clip(a, -87.0, 88.0)).astype(np.float32))
def exp(typing: Any, a: Any) -> Any:
    """Exponential of numbers cut to -87 to 88; relative error below 2e-7."""
    return _of_vectors(_emit_exp, 1)


def _emit_exp(builder: Any, x: Any) -> Any:
    for sign, limit in ((">", constant(88)), ("<", constant(-87))):
        x = builder.select(builder.fcmp_ordered(sign, x, limit), limit, x)
    # exp(x) = 2^n exp(r), |r| <= ln(2) / 2
    n = call(builder, "llvm.rint.v16f32", FLOATS, builder.fmul(x, constant(1 / np.log(2))))
    r = fused(builder, n, constant(-_LN2_HIGH), x)
    r = fused(builder, n, constant(-_LN2_LOW), r)
    polynomial = constant(_EXP[0])
    for coefficient in _EXP[1:]:
        polynomial = fused(builder, polynomial, r, constant(coefficient))
    square = builder.fmul(r, r)
    value = builder.fadd(fused(builder, polynomial, square, r), constant(1))
    # NaN has no whole part; it stays NaN through `value`
    exponent = builder.fptosi(n, INTS)
    exponent = builder.add(exponent, ir.Constant(INTS, [127] * LANES))
    power = builder.shl(exponent, ir.Constant(INTS, [23] * LANES))
    return builder.fmul(value, builder.bitcast(power, FLOATS))

"""Loads and stores that the compiled loops share.

numba tests every index for negative values and loads one element at a time; these reach the bytes
directly. Little-endian machines only, as all that numba supports in practice.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types

intrinsic: Any = extending.intrinsic  # untyped: what it decorates is called otherwise than declared

__all__ = ["byte_at", "eight_bytes_at", "non_digits_at", "put", "trailing_zeros"]


def _pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    view = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(view.data, [args[1]])


@intrinsic
def byte_at(typingctx: Any, array: Any, index: Any) -> Any:
    """``array[index]`` as int64, without the test for negative indices."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value = builder.load(_pointer(context, builder, signature, args))
        return builder.zext(value, ir.IntType(64))

    return types.int64(array, types.int64), codegen


@intrinsic
def eight_bytes_at(typingctx: Any, array: Any, index: Any) -> Any:
    """Eight bytes from `index` on as one uint64, first byte lowest."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature, args)
        wide = builder.bitcast(pointer, ir.IntType(64).as_pointer())
        return builder.load(wide, align=1)

    return types.uint64(array, types.int64), codegen


@intrinsic
def non_digits_at(typingctx: Any, array: Any, index: Any) -> Any:
    """Mask of the 16 bytes from `index` on: bit i is set where byte i is not a digit."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(8), 16)
        pointer = _pointer(context, builder, signature, args)
        data = builder.load(builder.bitcast(pointer, lanes.as_pointer()), align=1)
        shifted = builder.sub(data, ir.Constant(lanes, [48] * 16))
        mask = builder.icmp_unsigned(">", shifted, ir.Constant(lanes, [9] * 16))
        return builder.zext(builder.bitcast(mask, ir.IntType(16)), ir.IntType(64))

    return types.int64(array, types.int64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, value: Any) -> Any:
    """Position of the lowest set bit."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@intrinsic
def put(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index] = value`` without the test for negative indices."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature, args))
        return context.get_dummy_value()

    return types.void(array, types.int64, types.float32), codegen

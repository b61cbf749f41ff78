"""Generators of LLVM code that the operations on vectors share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils, registry
from numba.extending import intrinsic, models, register_model

LANES = 16

I8, I32, I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
FLOATS, INTS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(I32, LANES)
BYTES = ir.VectorType(I8, 4 * LANES)
#: Lanes of a vector of bytes.
COLUMN = 4 * LANES
SHORTS = ir.VectorType(ir.IntType(16), COLUMN)
PAIRS = ir.VectorType(ir.IntType(16), COLUMN // 2)  # the bytes of a column, two and two


def host_features() -> dict[str, bool]:
    """Features of the processor that numba compiles for, as LLVM names them.

    Returns
    -------
    dict of str to bool
        ``"avx512f"``, ``"avx2"``, ``"neon"`` and many more; those that are missing are False or
        absent.
    """
    text = registry.cpu_target.target_context.codegen()._get_host_cpu_features()
    return {part[1:]: part.startswith("+") for part in text.split(",") if part}


_HOST = host_features()

#: Vectors in a tile of accumulators: what fits in the registers of this processor.
TILE = 16 if _HOST.get("avx512f") else 4
#: Whether the processor multiplies and adds four bytes in one instruction.
VNNI = bool(_HOST.get("avx512vnni"))
# the widest instruction that looks bytes up in a table of 16: name, and bytes at a time
_LOOKUPS = {
    "avx512bw": ("llvm.x86.avx512.pshuf.b.512", 64),
    "avx2": ("llvm.x86.avx2.pshuf.b", 32),
    "ssse3": ("llvm.x86.ssse3.pshuf.b.128", 16),
    "neon": ("llvm.aarch64.neon.tbl1.v16i8", 16),
}
#: How the processor looks bytes up in a table of 16; None if it cannot.
LOOKUP = next((how for feature, how in _LOOKUPS.items() if _HOST.get(feature)), None)


class _Vector(types.Type):
    """numba's name for a vector of 16 numbers."""

    def __init__(self, name: str, llvm: ir.Type) -> None:
        super().__init__(name=name)
        self.llvm = llvm


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: _Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


f32x16, i32x16 = _Vector("f32x16", FLOATS), _Vector("i32x16", INTS)
u8x64, i16x64 = _Vector("u8x64", BYTES), _Vector("i16x64", SHORTS)


def operation(twin: Callable[..., Any]) -> Callable[[Any], Any]:
    """Make an operation of the function that types it and emits its code."""

    def decorate(function: Any) -> Any:
        if config.DISABLE_JIT:  # type: ignore[attr-defined]
            return twin
        operation: Any = intrinsic(prefer_literal=True)(function)
        operation.twin = twin
        return operation

    return decorate


# -- what the generators of code share ------------------------------------------------------------


def pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Address of an element of an array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def moved(builder: Any, pointer: Any, steps: int, stride: Any = None) -> Any:
    """Pointer some steps on; a step is one element, or `stride` of them."""
    distance = ir.Constant(I64, steps)
    return builder.gep(pointer, [distance if stride is None else builder.mul(stride, distance)])


def read(builder: Any, pointer: Any, vector: ir.Type = FLOATS) -> Any:
    """Load a vector from an address that need not be aligned."""
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1)


def write(builder: Any, value: Any, pointer: Any) -> None:
    """Store a vector."""
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer()), align=1)


def spread(builder: Any, value: Any, lanes: int = LANES) -> Any:
    """The same number in every lane."""
    empty = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, empty, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def constant(value: float) -> Any:
    """The same constant in every lane."""
    return ir.Constant(FLOATS, [float(np.float32(value))] * LANES)


def call(builder: Any, name: str, returns: ir.Type, *args: Any) -> Any:
    """Call a function of LLVM."""
    kind = ir.FunctionType(returns, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, args)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """``a * b + c``; rounded once where the processor can."""
    if _HOST.get("fma") or _HOST.get("neon"):
        return call(builder, "llvm.fma.v16f32", FLOATS, a, b, c)
    return builder.fadd(builder.fmul(a, b), c)  # else LLVM would call a function for each lane


def parts(builder: Any, tile: Any, count: int) -> list[Any]:
    """The vectors of a tile."""
    return [builder.extract_value(tile, i) for i in range(count)]


def _even_odd(builder: Any, vector: Any) -> Any:
    """Sums of neighbours; half as many lanes."""
    half = vector.type.count // 2
    empty = ir.Constant(vector.type, ir.Undefined)
    lanes = ir.VectorType(I32, half)
    even = builder.shuffle_vector(vector, empty, ir.Constant(lanes, list(range(0, 2 * half, 2))))
    odd = builder.shuffle_vector(vector, empty, ir.Constant(lanes, list(range(1, 2 * half, 2))))
    return builder.add(even, odd)


def dot4(builder: Any, total: Any, unsigned: Any, signed: Any) -> Any:
    """Add four products of bytes to each of the 16 sums."""
    if VNNI:
        if binding.llvm_version_info[0] < 22:  # older versions see 16 integers
            unsigned, signed = builder.bitcast(unsigned, INTS), builder.bitcast(signed, INTS)
        return call(builder, "llvm.x86.avx512.vpdpbusd.512", INTS, total, unsigned, signed)
    wide = ir.VectorType(I32, 4 * LANES)
    products = builder.mul(builder.zext(unsigned, wide), builder.sext(signed, wide))
    return builder.add(total, _even_odd(builder, _even_odd(builder, products)))


def looked_up(builder: Any, table: Any, indices: Any) -> Any:
    """Entries of a table at an address, 16 bytes four times, for 64 indices below 16."""
    if LOOKUP is None:
        return _looked_up_one_by_one(builder, table, indices)
    name, width = LOOKUP
    entries = read(builder, table, ir.VectorType(I8, width))
    found = []
    for start in range(0, COLUMN, width):
        some = ir.Constant(ir.VectorType(I32, width), list(range(start, start + width)))
        part = builder.shuffle_vector(indices, ir.Constant(BYTES, ir.Undefined), some)
        found.append(call(builder, name, part.type, entries, part))
    return _joined(builder, found)


def _looked_up_one_by_one(builder: Any, table: Any, indices: Any) -> Any:
    found = ir.Constant(BYTES, ir.Undefined)
    for lane in range(COLUMN):
        place = builder.extract_element(indices, ir.Constant(I32, lane))
        entry = builder.load(builder.gep(table, [builder.zext(place, I64)]))
        found = builder.insert_element(found, entry, ir.Constant(I32, lane))
    return found


def _joined(builder: Any, vectors: list[Any]) -> Any:
    """One long vector of several."""
    while len(vectors) > 1:
        n = vectors[0].type.count
        lanes = ir.Constant(ir.VectorType(I32, 2 * n), list(range(2 * n)))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [builder.shuffle_vector(a, b, lanes) for a, b in pairs]
    return vectors[0]

"""Vectors of 16 numbers for the compiled kernels: one small set of operations, any processor.

numba has no vectors of its own, and what it makes of plain loops is several times slower than the
machine. The operations here emit LLVM's vector operations on 16 lanes, and LLVM selects the
instructions: one register with AVX-512, two with AVX2, four with NEON or SSE. A *tile* is a tuple
of vectors that stays in registers; how many fit is `TILE`.

Every operation has a twin in NumPy that does the same to plain arrays. With
``NUMBA_DISABLE_JIT=1`` the twins take the place of the operations, and all kernels run as Python.
Indices are not checked: kernels get arrays that the compiler has checked.
"""

from embcompress.simd.codegen import LANES, TILE, VNNI, host_features
from embcompress.simd.stores import (
    split_pairs,
    store_masked,
    store_scaled,
    store_tile,
    transposed,
)
from embcompress.simd.tiles import (
    dot_columns,
    dot_tile,
    filled,
    fma_columns,
    fma_pairs,
    fma_shifted,
    fma_tile,
    item,
    largest_tile,
    repeat,
    sum_tile,
    zeros,
    zeros_int,
)
from embcompress.simd.vectors import (
    absolute,
    add,
    add_int,
    bound,
    divide,
    exp,
    fma,
    largest,
    load,
    load_int,
    maximum,
    multiply,
    quantized,
    select_positive,
    splat,
    store,
    subtract,
    sum_lanes,
    to_float,
)

__all__ = [
    "LANES",
    "TILE",
    "VNNI",
    "absolute",
    "add",
    "add_int",
    "bound",
    "divide",
    "dot_columns",
    "dot_tile",
    "exp",
    "filled",
    "fma",
    "fma_columns",
    "fma_pairs",
    "fma_shifted",
    "fma_tile",
    "host_features",
    "item",
    "largest",
    "largest_tile",
    "load",
    "load_int",
    "maximum",
    "multiply",
    "quantized",
    "repeat",
    "select_positive",
    "splat",
    "split_pairs",
    "store",
    "store_masked",
    "store_scaled",
    "store_tile",
    "subtract",
    "sum_lanes",
    "sum_tile",
    "to_float",
    "transposed",
    "zeros",
    "zeros_int",
]

"""Products of a matrix of single weights (CSR) with rows of numbers.

One row alone is multiplied weight by weight. More rows are laid input by input, 16 at a time, so
that each weight meets 16 rows at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels.activations import activate

__all__ = ["csr_many", "csr_one"]

_LANES = simd.LANES


@compiled()
def csr_one(
    x: Any, at: int, floats: Any, values_at: int, bias_at: int, ints: Any, starts_at: int,
    columns_at: int, n_outputs: int, out: Any, to: int,
) -> None:  # fmt: skip
    """``out[o] = bias[o] + the weights of o times x``; no activation."""
    for o in range(n_outputs):
        c, stop = ints[starts_at + o], ints[starts_at + o + 1]
        # four sums: an addition need not wait for the last
        s0 = s1 = s2 = s3 = np.float32(0)
        while c + 4 <= stop:
            w, i = values_at + c, columns_at + c
            s0 += floats[w] * x[at + ints[i]]
            s1 += floats[w + 1] * x[at + ints[i + 1]]
            s2 += floats[w + 2] * x[at + ints[i + 2]]
            s3 += floats[w + 3] * x[at + ints[i + 3]]
            c += 4
        while c < stop:
            s0 += floats[values_at + c] * x[at + ints[columns_at + c]]
            c += 1
        out[to + o] = floats[bias_at + o] + ((s0 + s1) + (s2 + s3))


@compiled()
def csr_many(
    packed: Any, at: int, floats: Any, values_at: int, bias_at: int, ints: Any, starts_at: int,
    columns_at: int, n_outputs: int, out: Any, to: int, stride: int, n: int, activation: int,
    square_at: int,
) -> None:  # fmt: skip
    """Multiply up to 16 rows that :func:`panels.pack` has laid in tiles of 16.

    `out` gets `n` rows. At `square_at` in `packed` is room for 512 numbers: outputs come 16 at a
    time, output by output, and are turned there.
    """
    for block in range(0, n_outputs, _LANES):
        for k in range(min(_LANES, n_outputs - block)):
            o = block + k
            c, stop = ints[starts_at + o], ints[starts_at + o + 1]
            one = simd.splat(floats[bias_at + o])
            two = simd.splat(0.0)
            while c + 2 <= stop:
                w, i = values_at + c, columns_at + c
                first = simd.load(packed, at + ints[i] * _LANES)
                second = simd.load(packed, at + ints[i + 1] * _LANES)
                one = simd.fma(simd.splat(floats[w]), first, one)
                two = simd.fma(simd.splat(floats[w + 1]), second, two)
                c += 2
            if c < stop:
                last = simd.load(packed, at + ints[columns_at + c] * _LANES)
                one = simd.fma(simd.splat(floats[values_at + c]), last, one)
            simd.store(activate(simd.add(one, two), activation), packed, square_at + k * _LANES)
        turned = square_at + _LANES * _LANES
        simd.transposed(packed, square_at, _LANES, _LANES - 1, _LANES, packed, turned)
        for b in range(n):
            row = simd.load(packed, turned + b * _LANES)
            simd.store(row, out, to + b * stride + block)

"""One linear step: rows in, rows out, whatever way its weights lie."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import activate_rows
from embcompress.runtime.kernels.csr import csr_many, csr_one
from embcompress.runtime.kernels.panels import (
    ROWS,
    pack,
    panels_many,
    panels_one,
    scatter,
    tile_for,
)
from embcompress.runtime.kernels.panels_int8 import panels_int8, quantize_row

__all__ = ["linear"]

_LANES = simd.LANES
# rows from which laying them for single weights pays
_CSR_ROWS = 3


@compiled()
def linear(
    code: Any, i: int, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, at: int, stride: int, n: int, out: Any, to: int, out_stride: int,
) -> None:  # fmt: skip
    """Multiply `n` rows of `x` by the weights of step `i`, add biases, apply the activation.

    Rows go to ``out[to:]``, which has room for `n` rounded up to whole tiles.
    """
    layout = code[i, f.LAYOUT]
    size = _LANES if layout == f.CSR else ROWS
    row = 0
    while row < n:
        m = min(n - row, size)
        source, target = at + row * stride, to + row * out_stride
        if layout == f.PANELS:
            _panels(code, i, floats, ints, work, x, source, stride, m, out, target, out_stride)
        elif layout == f.PANELS_INT8:
            _panels_int8(
                code, i, floats, octets, ints, work, quads, quad_bytes, x, source, stride, m,
                out, target, out_stride,
            )  # fmt: skip
        else:
            _csr(code, i, floats, ints, work, x, source, stride, m, out, target, out_stride)
        row += m


@compiled()
def _panels(
    code: Any, i: int, floats: Any, ints: Any, work: Any, x: Any, at: int, stride: int, n: int,
    out: Any, to: int, out_stride: int,
) -> None:  # fmt: skip
    scattered = code[i, f.SCATTER_COUNTS] >= 0
    n_panels, kind = code[i, f.N_PANELS], code[i, f.ACTIVATION]
    given, target, step = out, to, out_stride
    if scattered:
        given, target, step, kind = work, code[i, f.PARTS], n_panels * _LANES, 0
    if n == 1:
        panels_one(
            x, at, floats, code[i, f.VALUES], code[i, f.BIAS], ints, code[i, f.STARTS],
            code[i, f.COLUMNS], n_panels, given, target, kind,
        )  # fmt: skip
    else:
        tile, packed = tile_for(n), code[i, f.PACKED]
        pack(x, at, stride, n, code[i, f.WIDTH], tile, work, packed)
        panels_many(
            work, packed, tile, floats, code[i, f.VALUES], code[i, f.BIAS], ints,
            code[i, f.STARTS], code[i, f.COLUMNS], n_panels, given, target, step, kind,
        )  # fmt: skip
    if scattered:
        _scatter(code, i, floats, ints, work, n, out, to, out_stride)


@compiled()
def _scatter(
    code: Any, i: int, floats: Any, ints: Any, work: Any, n: int, out: Any, to: int,
    out_stride: int,
) -> None:  # fmt: skip
    scatter(
        work, code[i, f.PARTS], code[i, f.N_PANELS], n, ints, code[i, f.SCATTER_COUNTS],
        code[i, f.SCATTER_ROWS], floats, code[i, f.SCATTER_BIAS], code[i, f.OUTPUTS], out, to,
        out_stride,
    )  # fmt: skip
    if code[i, f.ACTIVATION] != 0:
        activate_rows(out, to, out_stride, n, code[i, f.OUTPUTS], code[i, f.ACTIVATION])


@compiled()
def _panels_int8(
    code: Any, i: int, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, at: int, stride: int, n: int, out: Any, to: int, out_stride: int,
) -> None:  # fmt: skip
    n_panels, n_quads = code[i, f.N_PANELS], code[i, f.N_BYTES] // 4
    first, tile = code[i, f.QUADS], 1 if n == 1 else tile_for(n)
    # the scales of the rows lie where a tile of floats would
    scales_at = code[i, f.PACKED]
    fixed = np.float32(0)
    if code[i, f.SCALE] >= 0:
        fixed = floats[code[i, f.SCALE]]
    for b in range(n):
        work[scales_at + b] = quantize_row(
            x, at + b * stride, code[i, f.WIDTH], ints, code[i, f.ORDER], code[i, f.N_BYTES],
            fixed, quad_bytes, 4 * (first + b * n_quads),
        )  # fmt: skip
    if tile > 1:
        pack(quads, first, n_quads, n, n_quads, tile, quads, code[i, f.PACKED_QUADS])
        first = code[i, f.PACKED_QUADS]
        for b in range(n, tile):
            work[scales_at + b] = 0
    scattered, kind = code[i, f.SCATTER_COUNTS] >= 0, code[i, f.ACTIVATION]
    given, target, step = out, to, out_stride
    if scattered:
        given, target, step, kind = work, code[i, f.PARTS], n_panels * _LANES, 0
    panels_int8(
        quads, first, tile, work, scales_at, octets, code[i, f.VALUES], floats, code[i, f.BIAS],
        code[i, f.STEPS], ints, code[i, f.BEGIN], code[i, f.STARTS], code[i, f.COLUMNS], n_panels,
        given, target, step, kind,
    )  # fmt: skip
    if scattered:
        _scatter(code, i, floats, ints, work, n, out, to, out_stride)


@compiled()
def _csr(
    code: Any, i: int, floats: Any, ints: Any, work: Any, x: Any, at: int, stride: int, n: int,
    out: Any, to: int, out_stride: int,
) -> None:  # fmt: skip
    values, bias = code[i, f.VALUES], code[i, f.BIAS]
    starts, columns = code[i, f.STARTS], code[i, f.COLUMNS]
    outputs, activation = code[i, f.OUTPUTS], code[i, f.ACTIVATION]
    if n < _CSR_ROWS:
        for b in range(n):
            place = to + b * out_stride
            csr_one(
                x, at + b * stride, floats, values, bias, ints, starts, columns, outputs, out,
                place,
            )  # fmt: skip
        if activation != 0:
            activate_rows(out, to, out_stride, n, outputs, activation)
        return
    packed = code[i, f.PACKED]
    pack(x, at, stride, n, code[i, f.WIDTH], _LANES, work, packed)
    csr_many(
        work, packed, floats, values, bias, ints, starts, columns, outputs, out, to, out_stride,
        n, activation, packed + code[i, f.WIDTH] * _LANES,
    )  # fmt: skip

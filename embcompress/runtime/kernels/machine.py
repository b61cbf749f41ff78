"""Run a whole program in one call."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import activate
from embcompress.runtime.kernels.linear import linear
from embcompress.runtime.kernels.machine_maps import run_map
from embcompress.runtime.kernels.recurrent import cell, copy_frames, pool_frames, recurrent
from embcompress.simd.codegen import operation

__all__ = ["run"]


@operation(lambda address: ctypes.c_void_p(int(address)))
def _pointer(typing: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@compiled()
def run(table: Any, x: Any, out: Any) -> None:
    """Run the steps of a program on one chunk of samples.

    What a call does not change comes as addresses, since every array that is passed costs time.

    Parameters
    ----------
    table : ndarray of int64, shape (19,)
        Address and number of elements of: code (int64, (steps, N_FIELDS)), floats (float32),
        octets (int8), ints (int32), the workspace (float32), that of quantized inputs twice
        (int32, uint8), states that the caller gave (float32), and frames of each sequence (int64);
        then the frames of the longest sequence.
    x : ndarray of float32, shape (n, numbers)
    out : ndarray of float32, shape (rows, numbers)
        At least `n` rows, and whole tiles of them where the last step writes them itself.
    """
    shape = (table[1] // f.N_FIELDS, f.N_FIELDS)
    code = carray(_pointer(table[0]), shape, np.int64)
    floats = carray(_pointer(table[2]), (table[3],), np.float32)
    octets = carray(_pointer(table[4]), (table[5],), np.int8)
    ints = carray(_pointer(table[6]), (table[7],), np.int32)
    work = carray(_pointer(table[8]), (table[9],), np.float32)
    quads = carray(_pointer(table[10]), (table[11],), np.int32)
    quad_bytes = carray(_pointer(table[12]), (table[13],), np.uint8)
    state = carray(_pointer(table[14]), (table[15],), np.float32)
    lengths = carray(_pointer(table[16]), (table[17],), np.int64)
    _steps(
        code, floats, octets, ints, work, quads, quad_bytes, x.reshape(x.size), state, lengths,
        x.shape[0], table[18], out.reshape(out.size),
    )  # fmt: skip


@compiled()
def _steps(  # noqa: C901 - one branch for each kind of step
    code: Any, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, state: Any, lengths: Any, n: int, n_frames: int, out: Any,
) -> None:  # fmt: skip
    for i in range(code.shape[0]):
        op = code[i, f.OP]
        rows = n * n_frames if code[i, f.BY_FRAME] else n
        if op == f.LINEAR:
            # one call for each pair of arrays, which are different variables of one type
            source, last = code[i, f.SOURCE], code[i, f.TO_OUTPUT] == 1
            if source == -1 and last:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, x, out, rows)
            elif source == -1:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, x, work, rows)
            elif source == -2:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, state, work, rows)
            elif last:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, work, out, rows)
            else:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, work, work, rows)
        elif op == f.RECURRENT:
            recurrent(
                code, i, floats, octets, ints, work, quads, quad_bytes, n, n_frames, lengths
            )  # fmt: skip
        elif op == f.COPY_FRAMES:
            copy_frames(
                x, n, n_frames, code[i, f.WIDTH], floats, code[i, f.BIAS], code[i, f.STEPS],
                code[i, f.SHIFT], work, code[i, f.TARGET], code[i, f.TARGET_STRIDE],
            )  # fmt: skip
        elif op == f.POOL_FRAMES:
            pool_frames(code, i, work, n, n_frames, lengths)
        elif op == f.GATES:
            cell(code, i, work, state, n)
        elif op == f.AFFINE:
            _affine(code, i, floats, x, work, rows)
        elif op == f.ADD_ROWS:
            _add_rows(code, i, x, work, rows)
        elif op == f.COPY_ROWS:
            _copy_rows(code, i, work, n, n_frames, lengths, out)
        elif f.PLACE_MAP <= op <= f.COLLECT_MAP:
            run_map(code, i, floats, ints, work, x, out)


@compiled()
def _linear(
    code: Any, i: int, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, out: Any, n: int,
) -> None:  # fmt: skip
    linear(
        code, i, floats, octets, ints, work, quads, quad_bytes, x, max(0, code[i, f.SOURCE]),
        code[i, f.SOURCE_STRIDE], n, out, code[i, f.TARGET], code[i, f.TARGET_STRIDE],
    )  # fmt: skip


@compiled()
def _affine(code: Any, i: int, floats: Any, x: Any, work: Any, n: int) -> None:
    """``activation((x - mean) * scale + shift)`` of each column."""
    mean, scale, shift = code[i, f.BIAS], code[i, f.STEPS], code[i, f.SHIFT]
    width, kind = code[i, f.WIDTH], code[i, f.ACTIVATION]
    for row in range(n):
        to = code[i, f.TARGET] + row * code[i, f.TARGET_STRIDE]
        at = row * code[i, f.SOURCE_STRIDE] + max(0, code[i, f.SOURCE])
        for k in range(width):
            value = x[at + k] if code[i, f.SOURCE] < 0 else work[at + k]
            work[to + k] = (value - floats[mean + k]) * floats[scale + k] + floats[shift + k]
        if kind != 0:
            for k in range(to, to + width, simd.LANES):
                simd.store(activate(simd.load(work, k), kind), work, k)


@compiled()
def _add_rows(code: Any, i: int, x: Any, work: Any, n: int) -> None:
    """``activation(first + second)``, either of them from the input of the program."""
    width, kind = code[i, f.WIDTH], code[i, f.ACTIVATION]
    for row in range(n):
        to = code[i, f.TARGET] + row * code[i, f.TARGET_STRIDE]
        first = row * code[i, f.SOURCE_STRIDE] + max(0, code[i, f.SOURCE])
        second = row * code[i, f.SECOND_STRIDE] + max(0, code[i, f.SECOND])
        for k in range(width):
            one = x[first + k] if code[i, f.SOURCE] < 0 else work[first + k]
            two = x[second + k] if code[i, f.SECOND] < 0 else work[second + k]
            work[to + k] = one + two
        if kind != 0:
            for k in range(to, to + width, simd.LANES):
                simd.store(activate(simd.load(work, k), kind), work, k)


@compiled()
def _copy_rows(code: Any, i: int, work: Any, n: int, n_frames: int, lengths: Any, out: Any) -> None:
    """Write the output; frames after the end of a sequence become NaN, as they came."""
    width, source, stride = code[i, f.WIDTH], code[i, f.SOURCE], code[i, f.SOURCE_STRIDE]
    per_sample = n_frames if code[i, f.BY_FRAME] else 1
    for s in range(n):
        for t in range(per_sample):
            at, to = source + (t * n + s) * stride, (s * per_sample + t) * width
            if per_sample > 1 and t >= lengths[s]:
                for k in range(width):
                    out[to + k] = np.nan
                continue
            for k in range(width):
                out[to + k] = work[at + k]

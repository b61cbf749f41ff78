"""Run a whole program in one call."""

from __future__ import annotations

from typing import Any

from embcompress._compiled import compiled
from embcompress.runtime import simd
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import activate
from embcompress.runtime.kernels.linear import linear
from embcompress.runtime.kernels.recurrent import cell, copy_frames, pool_frames, recurrent

__all__ = ["run"]


@compiled()
def run(  # noqa: C901 - one branch for each kind of step
    code: Any, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, state: Any, lengths: Any, n: int, n_frames: int, out: Any,
) -> None:  # fmt: skip
    """Run the steps of a program on one chunk of samples.

    Parameters
    ----------
    code : ndarray of int64, shape (steps, N_FIELDS)
    floats, octets, ints : ndarray of float32, int8, int32
        Weights and what goes with them.
    work : ndarray of float32
        Workspace.
    quads, quad_bytes : ndarray of int32, uint8
        The same workspace for quantized inputs, in two types.
    x, state : ndarray of float32
        Inputs, flat.
    lengths : ndarray of int64, shape (n,)
        Frames of each sequence.
    n, n_frames : int
        Samples, and frames of the longest sequence.
    out : ndarray of float32
        Outputs, flat, samples in a row without gaps.
    """
    for i in range(code.shape[0]):
        op = code[i, f.OP]
        rows = n * n_frames if code[i, f.BY_FRAME] else n
        if op == f.LINEAR:
            # three calls, since the arrays are different variables of one type
            if code[i, f.SOURCE] >= 0:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, work, rows)
            elif code[i, f.SOURCE] == -1:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, x, rows)
            else:
                _linear(code, i, floats, octets, ints, work, quads, quad_bytes, state, rows)
        elif op == f.RECURRENT:
            recurrent(
                code, i, floats, octets, ints, work, quads, quad_bytes, n, n_frames, lengths
            )  # fmt: skip
        elif op == f.COPY_FRAMES:
            copy_frames(
                x, n, n_frames, code[i, f.WIDTH], floats, code[i, f.BIAS], code[i, f.STEPS],
                work, code[i, f.TARGET], code[i, f.TARGET_STRIDE],
            )  # fmt: skip
        elif op == f.POOL_FRAMES:
            pool_frames(code, i, work, n, n_frames, lengths)
        elif op == f.GATES:
            cell(code, i, work, state, n)
        elif op == f.AFFINE:
            _affine(code, i, floats, x, work, rows)
        elif op == f.COPY_ROWS:
            _copy_rows(code, i, work, n, n_frames, out)


@compiled()
def _linear(
    code: Any, i: int, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    x: Any, n: int,
) -> None:  # fmt: skip
    linear(
        code, i, floats, octets, ints, work, quads, quad_bytes, x, max(0, code[i, f.SOURCE]),
        code[i, f.SOURCE_STRIDE], n, code[i, f.TARGET], code[i, f.TARGET_STRIDE],
    )  # fmt: skip


@compiled()
def _affine(code: Any, i: int, floats: Any, x: Any, work: Any, n: int) -> None:
    """``activation((x - mean) * scale + shift)`` of each column."""
    mean, scale, shift = code[i, f.BIAS], code[i, f.STEPS], code[i, f.COMBINE_BIAS]
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
def _copy_rows(code: Any, i: int, work: Any, n: int, n_frames: int, out: Any) -> None:
    width, source, stride = code[i, f.WIDTH], code[i, f.SOURCE], code[i, f.SOURCE_STRIDE]
    per_sample = n_frames if code[i, f.BY_FRAME] else 1
    for s in range(n):
        for t in range(per_sample):
            at, to = source + (t * n + s) * stride, (s * per_sample + t) * width
            for k in range(width):
                out[to + k] = work[at + k]

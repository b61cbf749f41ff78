"""Recurrent layers: the gates of one step, sequences, and pooling over time.

Frames lie time by time: row ``t * n + s`` is frame t of sequence s, so that each step is one
product of n rows. Gates are in PyTorch's order: reset, update, new; input, forget, cell, output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcompress import simd
from embcompress._compiled import compiled
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import sigmoid, tanh
from embcompress.runtime.kernels.linear import linear

__all__ = ["cell", "copy_frames", "pool_frames", "recurrent"]

_LANES = simd.LANES


@compiled()
def _gru(given: Any, g: int, made: int, state: Any, h: int, hidden: int, out: Any, to: int) -> None:
    """One step of one row: ``out = (1 - z) n + z h``.

    `given` holds the gates' parts of the input from `g` on and those of the state from `made` on,
    biases included. Vectors run over the end of a gate; what they write there is padding.
    """
    one = simd.splat(1.0)
    for k in range(0, hidden, _LANES):
        r = sigmoid(simd.add(simd.load(given, g + k), simd.load(given, made + k)))
        at = hidden + k
        z = sigmoid(simd.add(simd.load(given, g + at), simd.load(given, made + at)))
        at = 2 * hidden + k
        n = tanh(simd.fma(r, simd.load(given, made + at), simd.load(given, g + at)))
        old = simd.multiply(z, simd.load(state, h + k))
        simd.store(simd.fma(simd.subtract(one, z), n, old), out, to + k)


@compiled()
def _lstm(
    given: Any, g: int, made: int, state: Any, c: int, hidden: int, out: Any, to: int, cells: int
) -> None:
    """One step of one row: new cells to `cells`, new states to `to`, both in `out`."""
    for k in range(0, hidden, _LANES):
        i = sigmoid(simd.add(simd.load(given, g + k), simd.load(given, made + k)))
        at = hidden + k
        forget = sigmoid(simd.add(simd.load(given, g + at), simd.load(given, made + at)))
        at = 2 * hidden + k
        new = tanh(simd.add(simd.load(given, g + at), simd.load(given, made + at)))
        at = 3 * hidden + k
        o = sigmoid(simd.add(simd.load(given, g + at), simd.load(given, made + at)))
        value = simd.fma(forget, simd.load(state, c + k), simd.multiply(i, new))
        simd.store(value, out, cells + k)
        simd.store(simd.multiply(o, tanh(value)), out, to + k)


@compiled()
def cell(code: Any, i: int, work: Any, state: Any, n: int) -> None:
    """One step of a cell on `n` rows whose states the caller gave."""
    hidden, is_lstm = code[i, f.HIDDEN], code[i, f.CELL] == 1
    width = 2 * hidden if is_lstm else hidden
    for s in range(n):
        given = code[i, f.SOURCE] + s * code[i, f.SOURCE_STRIDE]
        made = code[i, f.GATES_AT] + s * code[i, f.GATES_STRIDE]
        to = code[i, f.TARGET] + s * code[i, f.TARGET_STRIDE]
        if is_lstm:
            # new states go over the first cells' padding, so cells are written after them
            scratch = code[i, f.STATES]
            _lstm(
                work, given, made, state, s * width + hidden, hidden, work, to, scratch
            )  # fmt: skip
            for k in range(hidden):
                work[to + hidden + k] = work[scratch + k]
        else:
            _gru(work, given, made, state, s * width, hidden, work, to)


@compiled()
def recurrent(
    code: Any, i: int, floats: Any, octets: Any, ints: Any, work: Any, quads: Any, quad_bytes: Any,
    n: int, n_frames: int, lengths: Any,
) -> None:  # fmt: skip
    """Run a layer over the frames of `n` sequences, whose inputs' parts of the gates are there.

    Against time, states stay 0 until the last frame of a sequence is reached.
    """
    hidden, is_lstm = code[i, f.HIDDEN], code[i, f.CELL] == 1
    stride = (hidden + _LANES - 1) // _LANES * _LANES
    states = code[i, f.STATES]
    cells = states + (n + simd.TILE) * stride
    for k in range(states, cells + (n + simd.TILE) * stride):
        work[k] = 0.0
    gates, gates_stride = code[i, f.GATES_AT], code[i, f.GATES_STRIDE]
    for step in range(n_frames):
        t = n_frames - 1 - step if code[i, f.REVERSE] else step
        linear(
            code, code[i, f.STATE_STEP], floats, octets, ints, work, quads, quad_bytes,
            work, states, stride, n, work, gates, gates_stride,
        )  # fmt: skip
        for s in range(n):
            if code[i, f.REVERSE] and t >= lengths[s]:
                continue
            given = code[i, f.SOURCE] + (t * n + s) * code[i, f.SOURCE_STRIDE]
            made, h = gates + s * gates_stride, states + s * stride
            if is_lstm:
                c = cells + s * stride
                _lstm(work, given, made, work, c, hidden, work, h, c)
            else:
                _gru(work, given, made, work, h, hidden, work, h)
            to = code[i, f.TARGET] + (t * n + s) * code[i, f.TARGET_STRIDE] + code[i, f.OFFSET]
            for k in range(hidden):
                work[to + k] = work[h + k]


@compiled()
def copy_frames(
    x: Any, n: int, n_frames: int, width: int, floats: Any, mean_at: int, scale_at: int,
    shift_at: int, work: Any, to: int, stride: int,
) -> None:  # fmt: skip
    """Lay sequences time by time, standardized where `mean_at` is not -1; NaN becomes 0."""
    for s in range(n):
        for t in range(n_frames):
            at, target = (s * n_frames + t) * width, to + (t * n + s) * stride
            for k in range(width):
                value = x[at + k]
                if mean_at >= 0:
                    value = (value - floats[mean_at + k]) * floats[scale_at + k]
                    value += floats[shift_at + k]
                work[target + k] = value if value == value else np.float32(0)


@compiled()
def pool_frames(code: Any, i: int, work: Any, n: int, n_frames: int, lengths: Any) -> None:
    """Mean over the frames of each sequence, or its last states.

    The last state is that of the last frame, and of the first one for units from `HIDDEN` on,
    which have run against time.
    """
    width, source, stride = code[i, f.WIDTH], code[i, f.SOURCE], code[i, f.SOURCE_STRIDE]
    for s in range(n):
        to = code[i, f.TARGET] + s * code[i, f.TARGET_STRIDE]
        length = lengths[s]
        if code[i, f.LAYOUT] == 1:
            last = source + ((length - 1) * n + s) * stride
            first = source + s * stride
            for k in range(width):
                work[to + k] = work[(last if k < code[i, f.HIDDEN] else first) + k]
            continue
        for k in range(width):
            work[to + k] = 0.0
        for t in range(length):
            at = source + (t * n + s) * stride
            for k in range(width):
                work[to + k] += work[at + k]
        share = np.float32(1) / np.float32(length)
        for k in range(width):
            work[to + k] *= share

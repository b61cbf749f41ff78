"""Recurrent layers in ONNX, and pooling over frames.

Frames lie time by time, (time, n, features), as the operators want them. Padding does not reach a
result: the recurrent operators are told the lengths, and pooling masks what lies after the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from embcompress.runtime.onnx_export.weights import float_weight
from embcompress.runtime.onnx_export.writer import Value, Writer
from embcompress.runtime.records import GRU, LSTM, GRUCell, LSTMCell, PoolFrames

__all__ = ["cell", "frames_input", "pool_frames", "recurrent"]

# gates of PyTorch in the order of ONNX: reset, update, new -> update, reset, new;
# input, forget, cell, output -> input, output, forget, cell
_ORDERS = {3: (1, 0, 2), 4: (0, 3, 1, 2)}

_Gates = GRU | LSTM | GRUCell | LSTMCell


def frames_input(to: Writer, x: str) -> str:
    """Frames with 0 instead of NaN."""
    return to.op("Where", to.op("IsNaN", x), to.constant(np.float32(0)), x)


def recurrent(to: Writer, record: GRU | LSTM, inputs: Sequence[Value], lengths: str) -> Value:
    """A layer over frames, one direction; after the end of a sequence it gives 0."""
    x = inputs[0]
    if x.kind != "frames":
        raise ValueError(f"it takes frames; its input has {x.kind} of {x.shape}")
    states = _operator(to, record, x, to.cast(lengths, np.int32), ())
    # (time, directions, n, units) with one direction
    return Value(to.op("Squeeze", states[0], to.constant([1])), "frames", (record.hidden,))


def cell(to: Writer, record: GRUCell | LSTMCell, inputs: Sequence[Value]) -> Value:
    """One step: a sequence of one frame from the states that are given."""
    x, state = inputs
    n_states = 2 if isinstance(record, LSTMCell) else 1
    width = n_states * record.hidden
    if x.kind != "rows" or state.shape != (width,):
        raise ValueError(
            f"it takes rows and a state of {width} numbers; its inputs have {x.kind} of {x.shape} "
            f"and {state.shape}"
        )
    frame = Value(to.op("Unsqueeze", x.name, to.constant([0])), "frames", x.shape)
    given = []
    for k in range(n_states):
        bounds = [to.constant([at * record.hidden]) for at in (k, k + 1)]
        part = to.op("Slice", state.name, *bounds, to.constant([1]))
        given.append(to.op("Unsqueeze", part, to.constant([0])))
    made = _operator(to, record, frame, "", given)[1:]
    rows = [to.op("Squeeze", value, to.constant([0])) for value in made]
    value = rows[0] if n_states == 1 else to.op("Concat", *rows, axis=1)
    return Value(value, "rows", (width,))


def _operator(
    to: Writer, record: _Gates, x: Value, lengths: str, states: Sequence[str]
) -> list[str]:
    """The GRU or LSTM operator; all states, then the last ones."""
    if x.width != record.weight_input.shape[1]:
        raise ValueError(
            f"its weights take {record.weight_input.shape[1]} inputs; its input has {x.kind} of "
            f"{x.shape}"
        )
    is_lstm = isinstance(record, LSTM | LSTMCell)
    order = np.concatenate(
        [np.arange(k * record.hidden, (k + 1) * record.hidden) for k in _ORDERS[record.gates]]
    )
    matrices = [
        to.op("Unsqueeze", float_weight(to, weight.taking(order), name), to.constant([0]))
        for name, weight in record.matrices().items()
    ]
    bias = np.r_[record.bias_input[order], record.bias_state[order]][None]
    attributes: dict[str, Any] = {"hidden_size": record.hidden}
    if not is_lstm:
        attributes["linear_before_reset"] = 1  # as PyTorch has it
    if getattr(record, "reverse", False):
        attributes["direction"] = "reverse"
    kind, outputs = ("LSTM", 3) if is_lstm else ("GRU", 2)
    return to.ops(
        kind, x.name, *matrices, to.constant(bias, "bias"), lengths, *states,
        outputs=outputs, **attributes,
    )  # fmt: skip


def pool_frames(to: Writer, record: PoolFrames, inputs: Sequence[Value], lengths: str) -> Value:
    """Mean over the frames of each sequence, or its last states."""
    x = inputs[0]
    if x.kind != "frames" or record.mode not in ("mean", "last"):
        raise ValueError(
            f"PoolFrames(mode={record.mode!r}) of {x.kind}; 'mean' or 'last' of frames is needed"
        )
    pool = _mean if record.mode == "mean" else _last
    return Value(pool(to, record, x, lengths), "rows", x.shape)


def _mean(to: Writer, record: PoolFrames, x: Value, lengths: str) -> str:
    n_frames = to.op("Gather", to.op("Shape", x.name), to.constant(0))
    times = to.op("Range", to.constant(0), n_frames, to.constant(1))
    inside = to.op("Less", to.op("Unsqueeze", times, to.constant([1])), lengths)  # (time, n)
    inside = to.op("Unsqueeze", inside, to.constant([2]))
    frames = to.op("Where", inside, x.name, to.constant(np.float32(0)))
    total = to.op("ReduceSum", frames, to.constant([0]), keepdims=0)
    counts = to.op("Unsqueeze", to.cast(lengths, np.float32), to.constant([1]))
    return to.op("Div", total, counts)


def _last(to: Writer, record: PoolFrames, x: Value, lengths: str) -> str:
    """The state at the last frame; of units that ran against time that at the first."""
    n_forward = min(record.n_forward, x.width)
    parts = []
    if n_forward:
        ahead = _units(to, x, 0, n_forward)
        ahead = to.op("Transpose", ahead, perm=[1, 0, 2])
        last = to.op("Unsqueeze", to.op("Sub", lengths, to.constant(1)), to.constant([1]))
        parts.append(to.op("GatherND", ahead, last, batch_dims=1))
    if n_forward < x.width:
        back = _units(to, x, n_forward, x.width)
        parts.append(to.op("Gather", back, to.constant(0), axis=0))
    return parts[0] if len(parts) == 1 else to.op("Concat", *parts, axis=1)


def _units(to: Writer, x: Value, start: int, stop: int) -> str:
    if stop - start == x.width:
        return x.name
    bounds = to.constant([start]), to.constant([stop])
    return to.op("Slice", x.name, *bounds, to.constant([2]))

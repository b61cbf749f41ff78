"""What a graph computes, layer by layer in NumPy: the oracle of compiled programs.

Also what calibration looks at, since it gives the output of every layer. Weights of int8 count as
the numbers they stand for; inputs of layers are not rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, expit

from embcompress.codes import check_codes, unpack_signs
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    Flatten,
    GlobalAverage,
    Graph,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
    PoolFrames,
    Record,
    Weight,
)

__all__ = ["ACTIVATIONS", "evaluate"]

Array = npt.NDArray[np.floating]

# numbers of the windows of a convolution that are laid out at a time
_WINDOWS = 1 << 23

#: Activations by name, on arrays.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * (1 + erf(x * x.dtype.type(np.sqrt(0.5)))) / 2,
    "tanh": np.tanh,
    "silu": lambda x: x * expit(x),
    "sigmoid": expit,
}


@dataclass(frozen=True)
class _Context:
    """What layers need to know besides their inputs."""

    dtype: npt.DTypeLike
    lengths: npt.NDArray[np.int64] | None  # of sequences


def evaluate(
    graph: Graph,
    x: npt.ArrayLike,
    state: npt.ArrayLike | None = None,
    *,
    dtype: npt.DTypeLike = np.float64,
) -> dict[str, Array]:
    """Run a graph and keep what every layer gives.

    Parameters
    ----------
    graph : Graph
    x : array-like
        As a program takes it: ``rows`` (n, features); ``codes`` uint8 (n, bytes); ``frames``
        (n, time, features), NaN after the end of a sequence; ``maps``
        (n, channels, height, width).
    state : array-like of shape (n, units), optional
        Of a recurrent cell; units, then cells of an LSTM. Default: zeros.
    dtype : {float64, float32}
        What is computed in.

    Returns
    -------
    dict of str to ndarray
        Name of a node -> its output, and ``"input"`` -> numbers that the first layer reads. Rows
        are (n, units), frames (n, time, units) with NaN after the end of a sequence.

    Raises
    ------
    ValueError
        If the shape of `x` or `state` does not fit.

    Examples
    --------
    >>> from embcompress.runtime.records import Graph, Linear, Node
    >>> graph = Graph([Node("layer", Linear([[1.0, 2.0]], activation="relu"))], "rows", (2,))
    >>> evaluate(graph, [[3.0, 4.0], [-1.0, 0.0]])["layer"]
    array([[11.],
           [ 0.]])
    """
    if graph.kind == "codes":
        codes = check_codes(x, graph.shape[0])
        given = unpack_signs(codes, graph.shape[0]).astype(dtype)
    else:
        given = np.asarray(x, dtype)
        _check_shape(graph, given.shape)
    lengths = None
    if graph.kind == "frames":
        lengths = np.sum(~np.isnan(given[:, :, 0]), axis=1)
        given = np.where(np.isnan(given), given.dtype.type(0), given)
    values = {"input": given}
    if state is not None:
        values["state"] = np.asarray(state, dtype)
        if values["state"].ndim != 2 or len(values["state"]) != len(given):
            raise ValueError(f"state has shape {values['state'].shape}, not ({len(given)}, units)")
    context = _Context(given.dtype, lengths)
    for node in graph.nodes:
        inputs = [values[name] for name in node.inputs if name in values]
        values[node.name] = _LAYERS[type(node.record)](node.record, inputs, context)
    values.pop("state", None)
    if lengths is not None:
        values = {name: _ended(value, lengths) for name, value in values.items()}
    return values


def _check_shape(graph: Graph, shape: tuple[int, ...]) -> None:
    time = ("time",) if graph.kind == "frames" else ()
    if len(shape) != 1 + len(time) + len(graph.shape) or shape[1 + len(time) :] != graph.shape:
        expected = ", ".join(map(str, ("n", *time, *graph.shape)))
        raise ValueError(f"x has shape {shape}; the graph takes ({expected})")


def _ended(value: Array, lengths: npt.NDArray[np.int64]) -> Array:
    """Frames after the end of a sequence as NaN."""
    if value.ndim != 3:
        return value
    beyond = np.arange(value.shape[1]) >= lengths[:, None]
    return np.where(beyond[:, :, None], value.dtype.type(np.nan), value)


def _joined(inputs: Sequence[Array]) -> Array:
    return inputs[0] if len(inputs) == 1 else np.concatenate(inputs, axis=-1)


def _dense(weight: Weight, context: _Context) -> Array:
    return weight.dense().astype(context.dtype)


def _linear(record: Linear, inputs: Sequence[Array], context: _Context) -> Array:
    product = _joined(inputs) @ _dense(record.weight, context).T
    return ACTIVATIONS[record.activation](product + record.bias.astype(context.dtype))


def _conv(record: Conv2d, inputs: Sequence[Array], context: _Context) -> Array:
    x, weight = _bordered(inputs[0], record.padding, 0), _dense(record.weight, context)
    windows = _windows(x, weight.shape[2:], record.stride)
    # (n, channels, rows, columns, height, width) -> (n, outputs, rows, columns)
    out = np.empty((len(x), len(weight), *windows.shape[2:4]), context.dtype)
    step = max(1, _WINDOWS * len(x) // max(windows.size, 1))
    for start in range(0, len(x), step):
        part = np.tensordot(windows[start : start + step], weight, ([1, 4, 5], [1, 2, 3]))
        out[start : start + step] = np.moveaxis(part, 3, 1)
    out += record.bias.astype(context.dtype)[:, None, None]
    for shortcut in inputs[1:]:
        out += shortcut
    return ACTIVATIONS[record.activation](out)


def _windows(x: Array, size: tuple[int, ...], stride: int) -> Array:
    """View of shape (n, channels, rows, columns, *size)."""
    return sliding_window_view(x, size, axis=(2, 3))[:, :, ::stride, ::stride]


def _bordered(x: Array, padding: int, fill: float) -> Array:
    border = (padding, padding)
    return np.pad(x, [(0, 0), (0, 0), border, border], constant_values=fill)


def _max_pool(record: MaxPool2d, inputs: Sequence[Array], context: _Context) -> Array:
    x = _bordered(inputs[0], record.padding, -np.inf)
    return _windows(x, (record.size, record.size), record.stride).max(axis=(4, 5))


def _average_pool(record: AveragePool2d, inputs: Sequence[Array], context: _Context) -> Array:
    x = _bordered(inputs[0], record.padding, 0)
    return _windows(x, (record.size, record.size), record.stride).mean(axis=(4, 5))


def _flatten(record: Flatten, inputs: Sequence[Array], context: _Context) -> Array:
    return inputs[0].reshape(len(inputs[0]), -1)


def _global_average(record: GlobalAverage, inputs: Sequence[Array], context: _Context) -> Array:
    return inputs[0].mean(axis=(2, 3))


def _by_channel(vector: npt.NDArray[np.float32], x: Array) -> Array:
    """A vector in the shape in which it meets rows, frames (features last) or maps."""
    wide = vector.astype(x.dtype)
    return wide[:, None, None] if x.ndim == 4 else wide


def _affine(record: Affine, inputs: Sequence[Array], context: _Context) -> Array:
    x = _joined(inputs)
    mean, scale, shift = (_by_channel(v, x) for v in (record.mean, record.scale, record.shift))
    return (x - mean) * scale + shift


def _activation(record: Activation, inputs: Sequence[Array], context: _Context) -> Array:
    return ACTIVATIONS[record.activation](_joined(inputs))


def _add(record: Add, inputs: Sequence[Array], context: _Context) -> Array:
    return ACTIVATIONS[record.activation](sum(inputs[1:], inputs[0]))


def _gru_step(given: Array, made: Array, state: Array) -> Array:
    """``(1 - z) n + z h`` from the gates' parts of the input and of the state."""
    r_x, z_x, n_x = np.split(given, 3, axis=1)
    r_h, z_h, n_h = np.split(made, 3, axis=1)
    z = expit(z_x + z_h)
    return (1 - z) * np.tanh(n_x + expit(r_x + r_h) * n_h) + z * state


def _lstm_step(given: Array, made: Array, state: Array) -> Array:
    """New units and cells side by side, as `state` has them."""
    i, f, g, o = np.split(given + made, 4, axis=1)
    cells = expit(f) * state[:, state.shape[1] // 2 :] + expit(i) * np.tanh(g)
    return np.concatenate([expit(o) * np.tanh(cells), cells], axis=1)


def _gates(record: Any, context: _Context) -> tuple[Array, Array, Array, Array]:
    return (
        _dense(record.weight_input, context).T,
        record.bias_input.astype(context.dtype),
        _dense(record.weight_state, context).T,
        record.bias_state.astype(context.dtype),
    )


def _cell(record: GRUCell | LSTMCell, inputs: Sequence[Array], context: _Context) -> Array:
    of_input, bias, of_state, state_bias = _gates(record, context)
    is_lstm = isinstance(record, LSTMCell)
    width = record.hidden * (2 if is_lstm else 1)
    state = inputs[1] if len(inputs) > 1 else np.zeros((len(inputs[0]), width), context.dtype)
    if state.shape[1] != width:
        raise ValueError(f"state has shape {state.shape}, not ({len(inputs[0])}, {width})")
    given = inputs[0] @ of_input + bias
    made = state[:, : record.hidden] @ of_state + state_bias
    return (_lstm_step if is_lstm else _gru_step)(given, made, state)


def _recurrent(record: GRU | LSTM, inputs: Sequence[Array], context: _Context) -> Array:
    x, hidden = _joined(inputs), record.hidden
    of_input, bias, of_state, state_bias = _gates(record, context)
    given = x @ of_input + bias
    is_lstm = isinstance(record, LSTM)
    step = _lstm_step if is_lstm else _gru_step
    state = np.zeros((len(x), hidden * (2 if is_lstm else 1)), context.dtype)
    out = np.zeros((*x.shape[:2], hidden), context.dtype)
    n_frames = x.shape[1]
    assert context.lengths is not None
    for t in reversed(range(n_frames)) if record.reverse else range(n_frames):
        new = step(given[:, t], state[:, :hidden] @ of_state + state_bias, state)
        # against time, a sequence begins at its last frame
        state = np.where((t < context.lengths)[:, None], new, state)
        out[:, t] = state[:, :hidden]
    return out


def _pool_frames(record: PoolFrames, inputs: Sequence[Array], context: _Context) -> Array:
    x, lengths = _joined(inputs), context.lengths
    assert lengths is not None
    if record.mode == "last":
        last = x[np.arange(len(x)), lengths - 1, : record.n_forward]
        return np.concatenate([last, x[:, 0, record.n_forward :]], axis=1)
    present = np.arange(x.shape[1]) < lengths[:, None]
    total = np.where(present[:, :, None], x, x.dtype.type(0)).sum(axis=1)
    return total / lengths[:, None].astype(x.dtype)


_LAYERS: dict[type[Record], Callable[[Any, Sequence[Array], _Context], Array]] = {
    Linear: _linear, Conv2d: _conv, GRUCell: _cell, LSTMCell: _cell, GRU: _recurrent,
    LSTM: _recurrent, Affine: _affine, Activation: _activation, MaxPool2d: _max_pool,
    AveragePool2d: _average_pool, GlobalAverage: _global_average, Flatten: _flatten,
    Add: _add, PoolFrames: _pool_frames,
}  # fmt: skip

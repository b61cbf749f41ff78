"""Layers computed plainly in NumPy, float64, sample by sample: what a model must give."""

from __future__ import annotations

import numpy as np
from scipy.special import erf

from embcompress.runtime.records import LSTM, LSTMCell, Weight


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATE = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "tanh": np.tanh,
    "silu": lambda x: x * sigmoid(x),
    "sigmoid": sigmoid,
}


def dense(weight):
    values = weight.values.astype(np.float64) * weight.kept
    if weight.scales is not None:
        values = values * weight.scales.reshape(-1, *[1] * (values.ndim - 1))
    return values


def linear(record, x):
    x = x.reshape(-1) if x.ndim == 3 else x
    if record.weight.input_scale is not None:
        step = np.float32(record.weight.input_scale)
        x = np.clip(np.round(x.astype(np.float32) / step), -128, 127) * np.float64(step)
    return ACTIVATE[record.activation](x @ dense(record.weight).T + record.bias)


def conv2d(record, x, shortcut=None):
    weight = dense(record.weight)
    n_out, _, height, width = weight.shape
    x = np.pad(x, ((0, 0), *[(record.padding, record.padding)] * 2))
    rows = range(0, x.shape[1] - height + 1, record.stride)
    columns = range(0, x.shape[2] - width + 1, record.stride)
    out = np.empty((n_out, len(rows), len(columns)))
    for a, i in enumerate(rows):
        for b, j in enumerate(columns):
            part = x[:, i : i + height, j : j + width]
            out[:, a, b] = np.tensordot(weight, part, 3) + record.bias
    return ACTIVATE[record.activation](out if shortcut is None else out + shortcut)


def step(record, x, state):
    """Gates as PyTorch documents them."""
    hidden = record.hidden
    given = dense(record.weight_input) @ x + record.bias_input
    made = dense(record.weight_state) @ state[:hidden] + record.bias_state
    if isinstance(record, LSTM | LSTMCell):
        i, forget, new, out = np.split(given + made, 4)
        cells = sigmoid(forget) * state[hidden:] + sigmoid(i) * np.tanh(new)
        return np.r_[sigmoid(out) * np.tanh(cells), cells]
    r, z = sigmoid((given + made)[: 2 * hidden]).reshape(2, hidden)
    new = np.tanh(given[2 * hidden :] + r * made[2 * hidden :])
    return (1 - z) * new + z * state


def recurrent(record, x):
    state = np.zeros(record.hidden * (2 if isinstance(record, LSTM) else 1))
    out = np.empty((len(x), record.hidden))
    for t in reversed(range(len(x))) if record.reverse else range(len(x)):
        state = step(record, x[t], state)
        out[t] = state[: record.hidden]
    return out


def pool_frames(record, x):
    n = record.n_forward
    return x.mean(axis=0) if record.mode == "mean" else np.r_[x[-1, :n], x[0, n:]]


def pool2d(record, x):
    reduce = np.max if type(record).__name__ == "MaxPool2d" else np.mean
    starts = [range(0, size - record.size + 1, record.stride) for size in x.shape[1:]]
    squares = [
        [reduce(x[:, i : i + record.size, j : j + record.size], axis=(1, 2)) for j in starts[1]]
        for i in starts[0]
    ]
    return np.array(squares).transpose(2, 0, 1)


def affine(record, x):
    shape = (-1, 1, 1) if x.ndim == 3 else (-1,)
    mean, scale, shift = (
        getattr(record, name).reshape(shape) for name in ("mean", "scale", "shift")
    )
    return (x - mean) * scale + shift


COMPUTE = {
    "Linear": linear, "Conv2d": conv2d, "GRUCell": step, "LSTMCell": step, "GRU": recurrent,
    "LSTM": recurrent, "Affine": affine, "MaxPool2d": pool2d, "AveragePool2d": pool2d,
    "PoolFrames": pool_frames,
    "Activation": lambda record, x: ACTIVATE[record.activation](x),
    "Add": lambda record, x, y: ACTIVATE[record.activation](x + y),
    "GlobalAverage": lambda record, x: x.mean(axis=(1, 2)),
}  # fmt: skip


def evaluate(graph, x, state=None):
    """Output for one sample; frames without padding."""
    values = {"input": np.asarray(x, np.float64), "state": state}
    for node in graph.nodes:
        kind = type(node.record).__name__
        inputs = [values[name] for name in node.inputs]
        if kind not in ("Add", "Conv2d", "GRUCell", "LSTMCell") and len(inputs) > 1:
            inputs = [np.concatenate(inputs, axis=-1)]
        values[node.name] = COMPUTE[kind](node.record, *inputs)
    return values[graph.nodes[-1].name]


def make_weight(rng, shape, kept=None, *, int8=False, input_scale=None):
    """Random weight whose outputs stay near 1."""
    kept = np.ones(shape, bool) if kept is None else kept
    scale = 1 / np.sqrt(max(kept.sum() / shape[0], 1))
    if not int8:
        values = (rng.standard_normal(shape) * scale).astype(np.float32)
        return Weight(np.where(kept, values, 0), kept)
    values = rng.integers(-127, 128, shape).astype(np.int8)
    scales = (rng.uniform(0.5, 1.5, shape[0]) * scale / 70).astype(np.float32)
    return Weight(values, kept, scales, input_scale=input_scale)


def make_kept(rng, name, shape):
    """Masks of the structures that pruning makes."""
    n_out, n_in = shape[:2]
    kept = np.zeros((n_out, n_in), bool)
    if name == "blocks":  # 128 outputs read the same inputs
        for start in range(0, n_out, 128):
            kept[start : start + 128, rng.choice(n_in, n_in // 10, replace=False)] = True
    elif name == "shuffled":
        kept = make_kept(rng, "blocks", (n_out, n_in))[rng.permutation(n_out)]
    elif name == "rows":  # rows removed inside blocks of columns
        for start in range(0, n_in, 128):
            kept[rng.choice(n_out, n_out // 10, replace=False), start : start + 128] = True
    elif name == "both":
        rows, columns = rng.random(n_out) < 0.4, rng.random(n_in) < 0.4
        kept = rows[:, None] & columns
    elif name == "strips":
        kept = np.repeat(rng.random((-(-n_out // 16), n_in)) < 0.1, 16, axis=0)[:n_out]
    elif name == "single":
        kept = rng.random((n_out, n_in)) < 0.1
        kept[5] = False
    elif name == "dense":
        kept[:] = True
    return np.broadcast_to(kept.reshape(n_out, n_in, *[1] * (len(shape) - 2)), shape).copy()


STRUCTURES = ("dense", "blocks", "shuffled", "rows", "both", "strips", "single", "nothing")

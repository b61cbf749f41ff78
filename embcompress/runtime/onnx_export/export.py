"""From a graph of layers to a file of ONNX."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embcompress._optional import require
from embcompress._version import __version__
from embcompress.codes import code_bytes
from embcompress.container import atomic_write
from embcompress.runtime.onnx_export import frames, layers
from embcompress.runtime.onnx_export.weights import unpacked_bits
from embcompress.runtime.onnx_export.writer import Value, Writer
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    GlobalAverage,
    Graph,
    GRUCell,
    Linear,
    LSTMCell,
    MaxPool2d,
    Node,
    PoolFrames,
)

__all__ = ["to_onnx"]

#: Operators on bits came with 18; 23 is the newest that was tried.
OPSETS = range(18, 24)
_RESERVED = ("input", "lengths", "state", "logits", "probabilities", "label", "new_state")

_PLAIN: dict[type, Callable[[Writer, Any, Sequence[Value]], Value]] = {
    Linear: layers.linear, Conv2d: layers.conv2d, Affine: layers.affine,
    Activation: layers.single, MaxPool2d: layers.pool2d, AveragePool2d: layers.pool2d,
    GlobalAverage: layers.global_average, Add: layers.add, GRUCell: frames.cell,
    LSTMCell: frames.cell,
}  # fmt: skip
_OVER_FRAMES: dict[type, Callable[[Writer, Any, Sequence[Value], str], Value]] = {
    GRU: frames.recurrent, LSTM: frames.recurrent, PoolFrames: frames.pool_frames,
}  # fmt: skip
# numbers of inputs of layers that read them one by one; others read them side by side
_SEPARATE: dict[type, tuple[int, ...]] = {
    Add: (2,), Conv2d: (1, 2), GRUCell: (2,), LSTMCell: (2,),
}  # fmt: skip


def to_onnx(
    graph: Graph, path: str | os.PathLike[str] | None = None, *, opset: int = 18
) -> bytes:  # fmt: skip
    """Write a graph as an ONNX model.

    Parameters
    ----------
    graph : Graph
        Its weights need no layouts.
    path : path-like, optional
        File to write, whole or not at all; ``.onnx`` by custom.
    opset : int, default 18
        Version of the operators, 18 to 23.

    Returns
    -------
    bytes
        The serialized model, the content of the file; equal graphs give equal bytes.

    Raises
    ------
    MissingExtraError
        If the package onnx is not installed.
    ValueError
        If the opset is not supported, shapes of layers do not fit each other, or the model is
        larger than the 2 GB that the format allows.
    TypeError
        If a layer has no form in ONNX, or classes are neither numbers nor strings.

    Examples
    --------
    >>> import numpy as np
    >>> from embcompress.runtime.onnx_export import to_onnx
    >>> from embcompress.runtime.records import Graph, Linear, Node
    >>> graph = Graph([Node("head", Linear(np.eye(3)))], "rows", (3,))
    >>> model = to_onnx(graph)  # doctest: +SKIP
    >>> onnxruntime.InferenceSession(model)  # doctest: +SKIP
    """
    if opset not in OPSETS:
        raise ValueError(f"opset={opset}; {OPSETS[0]} to {OPSETS[-1]} are supported")
    onnx = require("onnx", extra="onnx", feature="export to ONNX")
    newest = onnx.defs.onnx_opset_version()
    if opset > newest:
        raise ValueError(f"opset={opset}; the installed onnx {onnx.__version__} knows {newest}")
    data = _Export(onnx, graph, opset).model()
    if path is not None:
        with atomic_write(path) as file:
            file.write(data)
    return data


class _Export:
    """Writes the layers of a graph one after the other."""

    def __init__(self, onnx: Any, graph: Graph, opset: int) -> None:
        self.graph, self.onnx = graph, onnx
        self.to = Writer(onnx, opset)
        self.to.reserve([*_RESERVED, *(node.name for node in graph.nodes)])
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.values: dict[str, Value] = {}
        self._cleaned: Value | None = None

    def model(self) -> bytes:
        """The serialized model."""
        self._begin()
        for node in self.graph.nodes:
            self.to.scope = node.name
            try:
                self.values[node.name] = self._layer(node)
            except ValueError as error:
                raise ValueError(f"layer {node.name!r}: {error}") from None
        self.to.scope = ""
        self._finish()
        helper = self.onnx.helper
        made = helper.make_graph(
            self.to.nodes, "embcompress", self.inputs, self.outputs, self.to.initializers
        )
        opsets = [helper.make_opsetid("", self.to.opset)]
        model = helper.make_model(
            made, opset_imports=opsets, producer_name="embcompress", producer_version=__version__,
            ir_version=helper.find_min_ir_version_for(opsets),
        )  # fmt: skip
        helper.set_model_props(model, self._metadata())
        return model.SerializeToString(deterministic=True)

    def _metadata(self) -> dict[str, str]:
        about = {"embcompress_version": __version__, "kind": self.graph.kind}
        if self.graph.classes is not None:
            labels = np.asarray(self.graph.classes)
            try:
                about["classes"] = json.dumps(labels.tolist(), ensure_ascii=False)
            except TypeError:
                raise TypeError(
                    f"classes of {labels.dtype} such as {labels[0]!r}; a model holds numbers or "
                    "strings"
                ) from None
        return about

    # -- inputs -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        kind, shape = self.graph.kind, tuple(self.graph.shape)
        n_axes = {"rows": 1, "codes": 1, "frames": 1, "maps": 3}
        if n_axes.get(kind) != len(shape):
            raise ValueError(
                f"a graph of kind {kind!r} and shape {shape}; rows, codes and frames have one "
                "axis, maps three"
            )
        if kind == "codes":
            self._input("input", np.uint8, ["n", code_bytes(shape[0])])
            bits = self.to.cast(unpacked_bits(self.to, "input", shape[0]), np.float32)
            twice = self.to.op("Mul", bits, self.to.constant(np.float32(2)))
            signs = self.to.op("Sub", twice, self.to.constant(np.float32(1)))
            self.values["input"] = Value(signs, "rows", shape)
            self._state()
            return
        axes = ["n", "time"] if kind == "frames" else ["n"]
        self._input("input", np.float32, [*axes, *shape])
        self.values["input"] = Value("input", kind, shape)
        if kind == "frames":
            self._input("lengths", np.int64, ["n"])
            by_time = self.to.op("Transpose", "input", perm=[1, 0, 2])
            self.values["input"] = Value(by_time, kind, shape)
        self._state()

    def _state(self) -> None:
        """The input of cells; one state is what a program has."""
        cells = [node for node in self.graph.nodes if "state" in node.inputs]
        if len(cells) > 1:
            names = ", ".join(repr(node.name) for node in cells)
            raise ValueError(f"layers {names} read the state; one cell can")
        for node in cells:
            if not isinstance(node.record, GRUCell | LSTMCell):
                raise ValueError(f"layer {node.name!r} reads the state, and is no cell")
            width = node.record.hidden * (2 if isinstance(node.record, LSTMCell) else 1)
            self._input("state", np.float32, ["n", width])
            self.values["state"] = Value("state", "rows", (width,))

    def _input(self, name: str, dtype: type, shape: list[Any]) -> None:
        self.inputs.append(self._info(name, dtype, shape))

    def _info(self, name: str, dtype: type, shape: list[Any]) -> Any:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, shape)

    # -- layers -----------------------------------------------------------------------------------

    def _layer(self, node: Node) -> Value:
        record, kind = node.record, type(node.record)
        if kind not in _PLAIN and kind not in _OVER_FRAMES:
            known = ", ".join(sorted(each.__name__ for each in {**_PLAIN, **_OVER_FRAMES}))
            raise TypeError(
                f"layer {node.name!r} is a {kind.__name__}, which has no form in ONNX; "
                f"there are {known}"
            )
        inputs = self._read(node)
        if kind in _PLAIN:
            value = _PLAIN[kind](self.to, record, inputs)
        else:
            value = _OVER_FRAMES[kind](self.to, record, inputs, "lengths")
        if self._is_raw(node):  # standardized before NaN becomes 0, so that 0 is the mean
            value = Value(frames.frames_input(self.to, value.name), value.kind, value.shape)
        is_last = node is self.graph.nodes[-1]
        if is_last and value.kind == "frames":
            by_sample = self.to.op("Transpose", value.name, perm=[1, 0, 2])
            value = Value(by_sample, value.kind, value.shape)
        name = "logits" if is_last else node.name if node.name not in _RESERVED else ""
        output = name or self.to.unique("output")
        self.to.close(value.name, output, node.name)
        return Value(output, value.kind, value.shape)

    def _is_raw(self, node: Node) -> bool:
        """Whether a layer takes frames with NaN in them."""
        frames_come = self.graph.kind == "frames" and node.inputs == ("input",)
        return frames_come and isinstance(node.record, Affine)

    def _read(self, node: Node) -> list[Value]:
        values = [self._value(name, self._is_raw(node)) for name in node.inputs]
        allowed = _SEPARATE.get(type(node.record))
        if allowed is not None:
            if len(values) not in allowed:
                needed = " or ".join(map(str, allowed))
                raise ValueError(f"it has {len(values)} inputs; it takes {needed}")
            return values
        if len(values) == 1:
            return values
        kinds = {value.kind for value in values}
        if len(kinds) > 1 or kinds == {"maps"}:
            raise ValueError(f"it reads {' and '.join(sorted(kinds))} side by side")
        joined = self.to.op("Concat", *(value.name for value in values), axis=-1)
        return [Value(joined, values[0].kind, (sum(value.width for value in values),))]

    def _value(self, name: str, raw: bool) -> Value:
        value = self.values[name]
        if name != "input" or self.graph.kind != "frames" or raw:
            return value
        if self._cleaned is None:
            scope, self.to.scope = self.to.scope, ""
            clean = frames.frames_input(self.to, value.name)
            self._cleaned, self.to.scope = Value(clean, value.kind, value.shape), scope
        return self._cleaned

    # -- outputs ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        last = self.values[self.graph.nodes[-1].name]
        axes: list[Any] = ["n", "time"] if last.kind == "frames" else ["n"]
        shape = [*axes, *last.shape]
        self.outputs.append(self._info("logits", np.float32, shape))
        if self.graph.classes is not None:
            self._classes(last, axes)
        for node in self.graph.nodes[:-1]:
            if "state" in node.inputs:
                state = self.values[node.name]
                self.to.close(state.name, "new_state")
                self.outputs.append(self._info("new_state", np.float32, ["n", state.width]))

    def _classes(self, last: Value, axes: list[Any]) -> None:
        n_classes = len(np.asarray(self.graph.classes))
        if last.kind == "maps" or last.width != n_classes:
            raise ValueError(
                f"{n_classes} classes for a graph that gives {last.kind} of {last.shape}"
            )
        shares = self.to.op("Softmax", last.name, axis=-1)
        self.to.close(shares, "probabilities")
        label = self.to.op("ArgMax", last.name, axis=-1, keepdims=0)
        self.to.close(label, "label")
        self.outputs.append(self._info("probabilities", np.float32, [*axes, n_classes]))
        self.outputs.append(self._info("label", np.int64, axes))

"""From a graph whose weights have layouts to the steps of a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress import simd
from embcompress.runtime.assembler_maps import MapEmitter
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import ACTIVATIONS
from embcompress.runtime.layout_choice import panels_of
from embcompress.runtime.packing import Arenas, pack_csr, pack_panels, pack_panels_int8
from embcompress.runtime.records import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    Graph,
    GRUCell,
    Linear,
    LSTMCell,
    Node,
    PoolFrames,
    Weight,
)
from embcompress.runtime.steps import Buffer, Step, whole

__all__ = ["Assembler"]

_INPUT, _STATE = -1, -2


class Assembler:
    """Writes the steps of a graph.

    Parameters
    ----------
    graph : Graph

    Attributes
    ----------
    steps : list of Step
    arenas : Arenas
    n_quads : int
        Workspace for quantized inputs.
    width : int
        Numbers of one row of the output.
    output_shape : tuple of int
        Of one output: the width, or that of a map.
    by_frame : bool
        Whether the output has a row for each frame.
    state_size : int
        Numbers of a state that the caller gives; 0 without a cell.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps: list[Step] = []
        self.arenas = Arenas.empty()
        self.n_quads = self.state_size = 0
        # name -> (buffer, width); the input of the program lies outside of the workspace
        self._values: dict[str, tuple[Buffer | int, int]] = {"input": (_INPUT, graph.shape[-1])}
        self.output_shape: tuple[int, ...] = ()
        self._joined = self._join()
        self._maps: MapEmitter | None = None
        self._begin()
        for node in graph.nodes:
            self._emit(node)
        self._finish()

    def _join(self) -> dict[str, tuple[Buffer, int]]:
        """Buffers for layers over frames that run both ways: name -> (buffer, place in a row)."""
        widths = {
            node.name: node.record.hidden
            for node in self.graph.nodes
            if isinstance(node.record, (GRU, LSTM))
        }
        joined: dict[str, tuple[Buffer, int]] = {}
        for node in self.graph.nodes:
            both = all(name in widths for name in node.inputs) and len(node.inputs) == 2
            if both and node.inputs[0] not in joined and not isinstance(node.record, Add):
                first, second = node.inputs
                buffer = Buffer(whole(widths[first] + widths[second]) + simd.LANES, "frame")
                joined[first], joined[second] = (buffer, 0), (buffer, widths[first])
        return joined

    def _begin(self) -> None:
        """Lay the input where the kernels do not read it as it comes."""
        if self.graph.kind == "maps":
            self._maps = MapEmitter(self)
            del self._values["input"]
        if self.graph.kind == "frames":
            width = self.graph.shape[-1]
            buffer = Buffer(whole(width), "frame")
            fields = {f.OP: f.COPY_FRAMES, f.WIDTH: width, f.TARGET_STRIDE: buffer.stride}
            fields[f.BIAS] = -1
            first = self.graph.nodes[0]
            readers = [node for node in self.graph.nodes if "input" in node.inputs]
            # on the way, unless somebody else reads the input as it is
            scaled = isinstance(first.record, Affine) and readers == [first]
            if scaled:
                record: Any = first.record
                floats = self.arenas.floats
                fields[f.BIAS], fields[f.STEPS] = floats.add(record.mean), floats.add(record.scale)
                fields[f.SHIFT] = floats.add(record.shift)
            self.steps.append(Step(fields, {f.TARGET: buffer}))
            self._values[first.name if scaled else "input"] = (buffer, width)

    def _emit(self, node: Node) -> None:
        if node.name in self._values or (self._maps is not None and self._maps.emits(node)):
            return
        for kind, emitter in _EMITTERS.items():
            if isinstance(node.record, kind):
                emitter(self, node)
                return
        raise NotImplementedError(type(node.record).__name__)

    def _finish(self) -> None:
        """Bring the output out: by the last step itself where its rows are whole vectors."""
        name = self.graph.nodes[-1].name
        found = None if self._maps is None else self._maps.collect(name)
        self.by_frame = False
        if found is not None:
            step, self.output_shape = found
            self.width = int(np.prod(self.output_shape))
            self.steps.append(step)
            return
        buffer, self.width = self._values[name]
        assert isinstance(buffer, Buffer)
        self.by_frame = buffer.per == "frame"
        self.output_shape = (self.width,)
        last = self.steps[-1]
        linear = last.fields[f.OP] == f.LINEAR and last.buffers.get(f.TARGET) is buffer
        if linear and self.width % simd.LANES == 0 and not self.by_frame:
            last.buffers = {k: v for k, v in last.buffers.items() if k != f.TARGET}
            last.fields |= {f.TARGET: 0, f.TARGET_STRIDE: self.width, f.TO_OUTPUT: 1}
            return
        fields = {
            f.OP: f.COPY_ROWS, f.WIDTH: self.width, f.SOURCE_STRIDE: buffer.stride,
            f.BY_FRAME: int(self.by_frame),
        }  # fmt: skip
        self.steps.append(Step(fields, {f.SOURCE: buffer}))

    # -- what emitters use ------------------------------------------------------------------------

    def source(self, name: str) -> tuple[Buffer | int, int, int, str]:
        """Buffer or number, stride, width, and what there is a row for."""
        if name == "state":
            return _STATE, 0, 0, "sample"
        buffer, width = self._values[name]
        if isinstance(buffer, int):
            return buffer, width, width, "sample"
        return buffer, buffer.stride, width, buffer.per

    def read(self, fields: dict[int, int], buffers: dict[int, Buffer], name: str) -> str:
        """Fill in where a step reads; returns what there is a row for."""
        buffer, stride, width, per = self.source(name)
        fields |= {f.SOURCE_STRIDE: stride, f.WIDTH: width, f.BY_FRAME: int(per == "frame")}
        if isinstance(buffer, int):
            fields[f.SOURCE] = buffer
        else:
            buffers[f.SOURCE] = buffer
        return per

    def give(self, node: Node, buffer: Buffer, width: int) -> None:
        """Say where the output of a node lies."""
        self._values[node.name] = (buffer, width)

    def linear_fields(
        self, weight: Weight, bias: npt.NDArray[np.float32], activation: str
    ) -> tuple[dict[int, int], dict[int, Buffer]]:
        """Pack a matrix; the fields that say where, and scratch."""
        fields = self._packed(weight, bias)
        n_in = weight.shape[1]
        scratch = {f.PACKED: Buffer(n_in * simd.LANES + 2 * simd.LANES**2, "once")}
        if fields[f.SCATTER_COUNTS] >= 0:
            size = fields[f.N_PANELS] * simd.LANES * simd.TILE
            scratch[f.PARTS] = Buffer(size, "once")
        if fields[f.LAYOUT] == f.PANELS_INT8:
            room = simd.LANES * (fields[f.N_BYTES] // 4 + simd.LANES)
            fields |= {f.QUADS: 0, f.PACKED_QUADS: room, f.SCALE: -1}
            self.n_quads = max(self.n_quads, 2 * room)
            if weight.input_scale is not None:
                fields[f.SCALE] = self.arenas.floats.add([weight.input_scale])
        fields |= {f.WIDTH: n_in, f.OUTPUTS: len(bias), f.ACTIVATION: ACTIVATIONS[activation]}
        return fields, scratch

    def _packed(self, weight: Weight, bias: npt.NDArray[np.float32]) -> dict[int, int]:
        panels = panels_of(weight)
        if panels is None:
            return pack_csr(weight.dense(), bias, weight.kept, self.arenas)
        if weight.is_int8:
            assert weight.scales is not None
            return pack_panels_int8(weight.values, weight.scales, bias, panels, self.arenas)
        return pack_panels(weight.values, bias, panels, self.arenas)


def _linear(to: Assembler, node: Node) -> None:
    record: Any = node.record
    fields, buffers = to.linear_fields(record.weight, record.bias, record.activation)
    per = to.read(fields, buffers, node.inputs[0])
    target = Buffer(whole(fields[f.OUTPUTS]), per)
    fields |= {f.OP: f.LINEAR, f.TARGET_STRIDE: target.stride, f.WIDTH: record.weight.shape[1]}
    to.steps.append(Step(fields, {**buffers, f.TARGET: target}))
    to.give(node, target, fields[f.OUTPUTS])


def _gates(to: Assembler, node: Node, per: str) -> tuple[Buffer, Buffer, int, Step]:
    """The input's part of the gates; the state's, and its step, which is run by another."""
    record: Any = node.record
    fields, buffers = to.linear_fields(record.weight_input, record.bias_input, "identity")
    to.read(fields, buffers, node.inputs[0])
    # the last vector of a gate runs over its end
    given = Buffer(whole(record.gates * record.hidden) + simd.LANES, per)
    fields |= {
        f.OP: f.LINEAR, f.TARGET_STRIDE: given.stride, f.WIDTH: record.weight_input.shape[1],
    }  # fmt: skip
    to.steps.append(Step(fields, {**buffers, f.TARGET: given}))
    fields, buffers = to.linear_fields(record.weight_state, record.bias_state, "identity")
    made = Buffer(given.stride, "sample")
    fields |= {f.OP: f.NOTHING, f.TARGET_STRIDE: made.stride}
    step = Step(fields, {**buffers, f.TARGET: made})
    to.steps.append(step)
    return given, made, len(to.steps) - 1, step


def _recurrent(to: Assembler, node: Node) -> None:
    record: Any = node.record
    given, made, number, step = _gates(to, node, "frame")
    hidden = record.hidden
    target, offset = to._joined.get(node.name, (Buffer(whole(hidden) + simd.LANES, "frame"), 0))
    states = Buffer(2 * whole(hidden), "sample")
    fields = {
        f.OP: f.RECURRENT, f.STATE_STEP: number, f.HIDDEN: hidden, f.OFFSET: offset,
        f.SOURCE_STRIDE: given.stride, f.GATES_STRIDE: made.stride,
        f.TARGET_STRIDE: target.stride, f.REVERSE: int(record.reverse),
        f.CELL: int(isinstance(record, LSTM)),
    }  # fmt: skip
    buffers = {f.SOURCE: given, f.GATES_AT: made, f.TARGET: target, f.STATES: states}
    to.steps.append(Step(fields, buffers, reads=step.used()))
    to.give(node, target, offset + hidden)


def _cell(to: Assembler, node: Node) -> None:
    record: Any = node.record
    given, made, _, step = _gates(to, node, "sample")
    is_lstm = isinstance(record, LSTMCell)
    width = record.hidden * (2 if is_lstm else 1)
    step.fields |= {f.OP: f.LINEAR, f.SOURCE: _STATE, f.SOURCE_STRIDE: width}
    to.state_size = width
    target = Buffer(whole(width) + simd.LANES, "sample")
    fields = {
        f.OP: f.GATES, f.HIDDEN: record.hidden, f.SOURCE_STRIDE: given.stride,
        f.GATES_STRIDE: made.stride, f.TARGET_STRIDE: target.stride, f.CELL: int(is_lstm),
    }  # fmt: skip
    scratch = Buffer(whole(record.hidden) + simd.LANES, "once")
    buffers = {f.SOURCE: given, f.GATES_AT: made, f.TARGET: target, f.STATES: scratch}
    to.steps.append(Step(fields, buffers))
    to.give(node, target, width)


def _affine(to: Assembler, node: Node) -> None:
    record: Any = node.record
    if isinstance(record, Activation):
        width = to.source(node.inputs[-1])[2]
        record = Affine(np.zeros(width, np.float32), np.ones(width, np.float32))
        kind = ACTIVATIONS[node.record.activation]  # type: ignore[attr-defined]
    else:
        kind = 0
    floats = to.arenas.floats
    fields = {
        f.OP: f.AFFINE, f.BIAS: floats.add(record.mean), f.STEPS: floats.add(record.scale),
        f.SHIFT: floats.add(record.shift), f.ACTIVATION: kind,
    }  # fmt: skip
    buffers: dict[int, Buffer] = {}
    # of two directions, the second knows the width of both
    per = to.read(fields, buffers, node.inputs[-1])
    target = Buffer(whole(fields[f.WIDTH]), per)
    fields[f.TARGET_STRIDE] = target.stride
    to.steps.append(Step(fields, {**buffers, f.TARGET: target}))
    to.give(node, target, fields[f.WIDTH])


def _add(to: Assembler, node: Node) -> None:
    record: Any = node.record
    fields, buffers = {f.OP: f.ADD_ROWS}, {}  # type: tuple[dict[int, int], dict[int, Buffer]]
    to.read(fields, buffers, node.inputs[1])
    fields[f.SECOND_STRIDE] = fields[f.SOURCE_STRIDE]
    if f.SOURCE in buffers:
        buffers[f.SECOND] = buffers.pop(f.SOURCE)
    else:
        fields[f.SECOND] = fields.pop(f.SOURCE)
    per = to.read(fields, buffers, node.inputs[0])
    target = Buffer(whole(fields[f.WIDTH]), per)
    fields |= {f.TARGET_STRIDE: target.stride, f.ACTIVATION: ACTIVATIONS[record.activation]}
    to.steps.append(Step(fields, {**buffers, f.TARGET: target}))
    to.give(node, target, fields[f.WIDTH])


def _pool(to: Assembler, node: Node) -> None:
    record: Any = node.record
    fields = {
        f.OP: f.POOL_FRAMES, f.LAYOUT: int(record.mode == "last"), f.HIDDEN: record.n_forward,
    }  # fmt: skip
    buffers: dict[int, Buffer] = {}
    to.read(fields, buffers, node.inputs[-1])
    target = Buffer(whole(fields[f.WIDTH]), "sample")
    fields |= {f.TARGET_STRIDE: target.stride, f.BY_FRAME: 0}
    to.steps.append(Step(fields, {**buffers, f.TARGET: target}))
    to.give(node, target, fields[f.WIDTH])


_EMITTERS: dict[type, Callable[[Assembler, Node], None]] = {
    Linear: _linear, GRU: _recurrent, LSTM: _recurrent, GRUCell: _cell, LSTMCell: _cell,
    Affine: _affine, Activation: _affine, Add: _add, PoolFrames: _pool,
}  # fmt: skip

"""Steps of layers on feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from embcompress import simd
from embcompress.runtime.kernels import fields as f
from embcompress.runtime.kernels.activations import ACTIVATIONS
from embcompress.runtime.kernels.conv import SCRATCH
from embcompress.runtime.kernels.conv_packing import pack_lists, pack_panels, split_vectors
from embcompress.runtime.kernels.planes import MAX, MEAN
from embcompress.runtime.map_plan import MapPlan, kernel_of
from embcompress.runtime.maps import Map, conv_offsets, phases_of, valid_positions
from embcompress.runtime.records import (
    Activation,
    Add,
    Affine,
    Conv2d,
    Flatten,
    GlobalAverage,
    MaxPool2d,
    Node,
)
from embcompress.runtime.steps import Buffer, Step, whole

if TYPE_CHECKING:
    from embcompress.runtime.assembler import Assembler

__all__ = ["MapEmitter"]

# layouts whose filters have lists of their own
_LISTS = ("fkw", "spm", "csr")


class MapEmitter:
    """Writes the steps of layers that read or give maps.

    Parameters
    ----------
    to : Assembler
        Of a graph whose input is maps.
    """

    def __init__(self, to: Assembler) -> None:
        self.to = to
        self.plan = MapPlan(to.graph)
        self._buffers: dict[str, Buffer] = {}
        self._place()

    def emits(self, node: Node) -> bool:
        """Write the steps of a node; False if it is not about maps."""
        if node.inputs[0] not in self._buffers:
            return False
        record = node.record
        if node.name in self._buffers:  # the input was standardized when it was placed
            return True
        if isinstance(record, Conv2d):
            self._convolve(node, record)
        elif isinstance(record, (Affine, Activation, Add)):
            self._pointwise(node)
        elif isinstance(record, GlobalAverage):
            self._mean(node)
        elif isinstance(record, Flatten):
            self._flatten(node)
        else:
            self._pool(node)
        return True

    def collect(self, name: str) -> tuple[Step, tuple[int, int, int]] | None:
        """The step that brings a map out of the workspace, and its shape; None for rows."""
        if name not in self._buffers:
            return None
        source = self.plan.maps[name]
        fields = {f.OP: f.COLLECT_MAP, **_source(source), f.TARGET: 0, f.TO_OUTPUT: 1}
        shape = (source.channels, source.height, source.width)
        return Step(fields, {f.SOURCE: self._buffers[name]}), shape

    def _place(self) -> None:
        """Lay the input into padded planes; standardize it on the way."""
        graph, source = self.to.graph, self.plan.maps["input"]
        scale, shift = np.ones(source.channels), np.zeros(source.channels)
        first, name = graph.nodes[0], "input"
        readers = [node for node in graph.nodes if "input" in node.inputs]
        if isinstance(first.record, Affine) and readers == [first]:
            scale = first.record.scale.astype(np.float64)
            shift = first.record.shift - scale * first.record.mean
            name = first.name
            source = self.plan.maps[name]
        buffer = self._give(name)
        self._buffers["input"] = buffer
        fields = {
            f.OP: f.PLACE_MAP, **_target(source), f.CHANNELS: source.channels,
            f.HEIGHT: source.height, f.MAP_WIDTH: source.width, f.SOURCE_PITCH: source.pitch,
            f.MAP_VALUES: self.to.arenas.floats.add(scale),
            f.MAP_BIAS: self.to.arenas.floats.add(shift),
        }  # fmt: skip
        self.to.steps.append(Step(fields, {f.TARGET: buffer}))

    def _give(self, name: str) -> Buffer:
        self._buffers[name] = Buffer(self.plan.maps[name].size, "map")
        return self._buffers[name]

    def _read(self, node: Node, fill: float) -> tuple[Map, Buffer]:
        """What a kernel reads: the map before it, or its phases, which are made first."""
        record: Any = node.record
        source, buffer = self.plan.maps[node.inputs[0]], self._buffers[node.inputs[0]]
        phases = self.plan.phases.get(node.name)
        if phases is None:
            return source, buffer
        split = Buffer(phases.size, "map")
        rows, columns = phases_of(kernel_of(record), record.stride)
        fields = {
            f.OP: f.SPLIT_MAP, **_source(source), f.TARGET_ORIGIN: phases.origin,
            f.TARGET_PLANE: phases.plane, f.TARGET_PITCH: phases.pitch,
            f.TARGET_HEIGHT: phases.height, f.TARGET_WIDTH: phases.width,
            f.STRIDE: record.stride, f.PHASES_Y: rows, f.PHASES_X: columns,
            f.ABOVE: record.padding, f.MAP_KIND: MAX if fill < 0 else MEAN,
        }  # fmt: skip
        self.to.steps.append(Step(fields, {f.SOURCE: buffer, f.TARGET: split}))
        return phases, split

    def _convolve(self, node: Node, record: Conv2d) -> None:
        read, buffer = self._read(node, 0.0)
        target, weight = self.plan.maps[node.name], record.weight
        offsets = conv_offsets(
            read, kernel_of(record), stride=record.stride, padding=record.padding
        )
        fields = {
            **_source(read), **_target(target), f.VECTORS: target.vectors,
            f.MASK: self._mask(target), f.ACTIVATION: ACTIVATIONS[record.activation],
            f.ADDED_ORIGIN: -1,
        }  # fmt: skip
        lists = weight.layout in _LISTS
        fields |= self._lists(record, offsets) if lists else self._panels(record, offsets)
        if lists:
            tiles = split_vectors(target.vectors)
            fields |= {f.MAP_TILES: self.to.arenas.ints.add(tiles), f.N_TILES: len(tiles)}
        buffers = {f.SOURCE: buffer, f.TARGET: self._give(node.name)}
        if not lists:
            buffers[f.MAP_SCRATCH] = Buffer(SCRATCH, "once")
        if len(node.inputs) == 2:
            added = self.plan.maps[node.inputs[1]]
            fields |= {f.ADDED_ORIGIN: added.origin, f.ADDED_PLANE: added.plane}
            buffers[f.ADDED] = self._buffers[node.inputs[1]]
        self.to.steps.append(Step(fields, buffers))

    def _panels(self, record: Conv2d, offsets: Any) -> dict[int, int]:
        packed = pack_panels(record.weight.dense(), record.bias, offsets)
        floats, ints = self.to.arenas.floats, self.to.arenas.ints
        return {
            f.OP: f.CONV_PANELS, f.MAP_VALUES: floats.add(packed.values),
            f.MAP_BIAS: floats.add(packed.bias), f.MAP_ROWS: ints.add(packed.rows),
            f.MAP_STARTS: ints.add(packed.starts), f.MAP_LENGTHS: ints.add(packed.lengths),
            f.MAP_OFFSETS: ints.add(packed.offsets), f.MAP_COUNT: len(packed.rows),
        }  # fmt: skip

    def _lists(self, record: Conv2d, offsets: Any) -> dict[int, int]:
        packed = pack_lists(record.weight.dense(), record.bias, offsets)
        floats, ints = self.to.arenas.floats, self.to.arenas.ints
        return {
            f.OP: f.CONV_LISTS, f.MAP_VALUES: floats.add(packed.values),
            f.MAP_BIAS: floats.add(packed.bias), f.MAP_ROWS: ints.add(packed.rows),
            f.MAP_STARTS: ints.add(packed.starts), f.MAP_LENGTHS: ints.add(packed.singles),
            f.MAP_OFFSETS: ints.add(packed.offsets), f.MAP_COUNT: len(packed.rows),
        }  # fmt: skip

    def _pool(self, node: Node) -> None:
        record: Any = node.record
        largest = isinstance(record, MaxPool2d)
        read, buffer = self._read(node, -np.inf if largest else 0.0)
        target = self.plan.maps[node.name]
        rows, columns = phases_of(kernel_of(record), record.stride)
        split = node.name in self.plan.phases
        step = read.plane * (rows * columns if split else 1)
        offsets = conv_offsets(read, kernel_of(record), stride=record.stride, padding=0)[0]
        fields = {
            f.OP: f.POOL, **_source(read), **_target(target), f.SOURCE_PLANE: step,
            f.CHANNELS: target.channels, f.VECTORS: target.vectors, f.MASK: self._mask(target),
            f.MAP_OFFSETS: self.to.arenas.ints.add(offsets), f.MAP_COUNT: offsets.size,
            f.MAP_KIND: MAX if largest else MEAN,
        }  # fmt: skip
        self.to.steps.append(Step(fields, {f.SOURCE: buffer, f.TARGET: self._give(node.name)}))

    def _pointwise(self, node: Node) -> None:
        record: Any = node.record
        source, target = self.plan.maps[node.inputs[0]], self.plan.maps[node.name]
        scale, shift = np.ones(target.channels), np.zeros(target.channels)
        if isinstance(record, Affine):
            scale = record.scale.astype(np.float64)
            shift = record.shift - scale * record.mean
        kind = "identity" if isinstance(record, Affine) else record.activation
        floats = self.to.arenas.floats
        fields = {
            f.OP: f.MAP_POINTWISE, **_source(source), **_target(target),
            f.CHANNELS: target.channels, f.VECTORS: target.vectors, f.MASK: self._mask(target),
            f.MAP_VALUES: floats.add(scale), f.MAP_BIAS: floats.add(shift),
            f.ACTIVATION: ACTIVATIONS[kind], f.ADDED_ORIGIN: -1,
        }  # fmt: skip
        buffers = {f.SOURCE: self._buffers[node.inputs[0]], f.TARGET: self._give(node.name)}
        if len(node.inputs) == 2:
            added = self.plan.maps[node.inputs[1]]
            fields |= {f.ADDED_ORIGIN: added.origin, f.ADDED_PLANE: added.plane}
            buffers[f.ADDED] = self._buffers[node.inputs[1]]
        self.to.steps.append(Step(fields, buffers))

    def _mean(self, node: Node) -> None:
        source = self.plan.maps[node.inputs[0]]
        target = Buffer(whole(source.channels) + simd.LANES)
        fields = {f.OP: f.MAP_MEAN, **_source(source), f.VECTORS: source.vectors}
        buffers = {f.SOURCE: self._buffers[node.inputs[0]], f.TARGET: target}
        self.to.steps.append(Step(fields, buffers))
        self.to.give(node, target, source.channels)

    def _flatten(self, node: Node) -> None:
        found = self.collect(node.inputs[0])
        assert found is not None
        step, shape = found
        size = shape[0] * shape[1] * shape[2]
        target = Buffer(whole(size) + simd.LANES)
        step.fields[f.TO_OUTPUT] = 0
        step.buffers[f.TARGET] = target
        self.to.steps.append(step)
        self.to.give(node, target, size)

    def _mask(self, target: Map) -> int:
        return self.to.arenas.floats.add(valid_positions(target))


def _source(source: Map) -> dict[int, int]:
    return {
        f.SOURCE_ORIGIN: source.origin, f.SOURCE_PLANE: source.plane,
        f.CHANNELS: source.channels, f.HEIGHT: source.height, f.MAP_WIDTH: source.width,
        f.SOURCE_PITCH: source.pitch,
    }  # fmt: skip


def _target(target: Map) -> dict[int, int]:
    return {
        f.TARGET_ORIGIN: target.origin, f.TARGET_PLANE: target.plane,
        f.CLEAR: target.size if target.pad else 0, f.COVERED: simd.LANES * target.vectors,
        f.TARGET_CHANNELS: target.channels,
    }  # fmt: skip

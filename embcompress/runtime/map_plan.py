"""Shapes of the feature maps of a graph, and where their numbers lie.

Convolutions with stride 1, sums and what works number by number need the same pitch in what they
read and write; so maps form groups, and each group has the smallest pitch that fits all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embcompress.runtime.maps import Map, conv_shape, map_of, phase_map, pitch_of
from embcompress.runtime.records import (
    Activation,
    Add,
    Affine,
    AveragePool2d,
    Conv2d,
    Graph,
    MaxPool2d,
    Node,
)

__all__ = ["MapPlan"]

Shape = tuple[int, int, int]
_POOLS = (MaxPool2d, AveragePool2d)


class MapPlan:
    """Geometry of every map of a graph.

    Parameters
    ----------
    graph : Graph
        Whose input is maps.

    Attributes
    ----------
    shapes : dict of str to (int, int, int)
        Channels, height and width of each node that gives a map, and of ``"input"``.
    maps : dict of str to Map
        Geometry of the same.
    phases : dict of str to Map
        Of nodes that first split their input.

    Raises
    ------
    ValueError
        If shapes do not fit each other.
    """

    def __init__(self, graph: Graph) -> None:
        shape: Any = graph.shape
        self.shapes: dict[str, Shape] = {"input": shape}
        self._nodes = [node for node in graph.nodes if self._shape(node)]
        self._group = {name: name for name in self.shapes}
        for node in self._nodes:
            for other in self._together(node):
                self._join(node.name, other)
        pads = self._pads()
        pitches = self._pitches(pads)
        self.maps: Mapping[str, Map] = {
            name: map_of(*shape, pad=pads[name], pitch=pitches[self._find(name)])
            for name, shape in self.shapes.items()
        }
        self.phases: dict[str, Map] = {}
        for node in self._nodes:
            if splits(node.record):
                self.phases[node.name] = self._phase_map(node, pitches[self._find(node.name)])

    def _shape(self, node: Node) -> bool:
        """Find the shape of a node; False if it gives no map."""
        record: Any = node.record
        read = [self.shapes.get(name) for name in node.inputs]
        if None in read or not read:
            return False
        first: Any = read[0]
        if isinstance(record, Conv2d):
            filters, channels, *kernel = record.weight.shape
            if channels != first[0]:
                raise ValueError(f"layer {node.name!r} takes {channels} channels; {first[0]} come")
            size = conv_shape(
                first[1], first[2], (kernel[0], kernel[1]), stride=record.stride,
                padding=record.padding,
            )  # fmt: skip
            self.shapes[node.name] = (filters, *size)
        elif isinstance(record, _POOLS):
            size = conv_shape(
                first[1], first[2], record.size, stride=record.stride, padding=record.padding
            )
            self.shapes[node.name] = (first[0], *size)
        elif isinstance(record, (Activation, Add, Affine)):
            self.shapes[node.name] = first
        else:
            return False
        others = read[1:] if isinstance(record, Conv2d) else read
        if any(other != self.shapes[node.name] for other in others) and len(read) > 1:
            raise ValueError(f"layer {node.name!r} adds maps of different shapes: {read}")
        return True

    def _together(self, node: Node) -> list[str]:
        """What must have the pitch of the output."""
        first, *others = node.inputs
        return others if splits(node.record) else [first, *others]

    def _find(self, name: str) -> str:
        while self._group[name] != name:
            name = self._group[name]
        return name

    def _join(self, first: str, second: str) -> None:
        self._group[self._find(first)] = self._find(second)

    def _pads(self) -> dict[str, int]:
        """Largest padding that is read of each map."""
        pads = dict.fromkeys(self.shapes, 0)
        for node in self._nodes:
            record: Any = node.record
            if isinstance(record, Conv2d) and record.stride == 1:
                name = node.inputs[0]
                pads[name] = max(pads[name], record.padding)
        return pads

    def _pitches(self, pads: Mapping[str, int]) -> dict[str, int]:
        """Pitch of each group, by its first member."""
        found: dict[str, int] = {}
        for name, shape in self.shapes.items():
            group = self._find(name)
            found[group] = max(found.get(group, 0), pitch_of(shape[2], pads[name]))
        for node in self._nodes:
            if splits(node.record):
                group = self._find(node.name)
                found[group] = max(found[group], self._phase_map(node, None).pitch)
        return found

    def _phase_map(self, node: Node, pitch: int | None) -> Map:
        record: Any = node.record
        source = map_of(*self.shapes[node.inputs[0]])
        return phase_map(
            source, kernel_of(record), stride=record.stride, padding=record.padding, pitch=pitch
        )


def splits(record: Any) -> bool:
    """Whether a layer reads the phases of its input."""
    if isinstance(record, Conv2d):
        return record.stride > 1
    # the padding of pooling has values of its own
    return isinstance(record, _POOLS) and (record.stride > 1 or record.padding > 0)


def kernel_of(record: Any) -> tuple[int, int]:
    """Height and width of what a layer looks at."""
    if isinstance(record, Conv2d):
        return record.weight.shape[2], record.weight.shape[3]
    return record.size, record.size

"""Make a graph smaller without changing what it computes.

Every pass takes a graph and gives a new one. Folding rounds numbers once more, by less than float32
can tell; what is dropped is dropped exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from embcompress.runtime.records import (
    Activation,
    Add,
    Affine,
    Conv2d,
    Graph,
    Linear,
    Node,
)

__all__ = ["drop_dead", "fold_after", "fold_before", "fuse_activations", "fuse_sums", "simplify"]


def simplify(graph: Graph, *, fold_inputs: bool = True) -> Graph:
    """Apply all passes.

    Parameters
    ----------
    graph : Graph
    fold_inputs : bool, default True
        Also fold standardization of the input into the first layer: one step less, but a scale of
        int8 must then serve features of all sizes.

    Returns
    -------
    Graph
    """
    graph = fold_after(graph)
    if fold_inputs:
        graph = fold_before(graph)
    return drop_dead(fuse_activations(fuse_sums(fuse_activations(graph))))


def fold_after(graph: Graph) -> Graph:
    """Fold an affine map, such as batch normalization, into the layer before it."""
    return _merge(graph, Affine, (Linear, Conv2d), _scaled_outputs)


def fuse_activations(graph: Graph) -> Graph:
    """Let the layer before an activation apply it."""
    return _merge(graph, Activation, (Linear, Conv2d, Add), _activated)


def _merge(
    graph: Graph, second: type, firsts: tuple[type, ...], join: Callable[[Any, Any], Any]
) -> Graph:
    """Join nodes of type `second` with the one node they follow, if nobody else reads that."""
    nodes = list(graph.nodes)
    i = 0
    while i < len(nodes):
        node = nodes[i]
        before = next((n for n in nodes[:i] if n.name == node.inputs[0]), None)
        if (
            isinstance(node.record, second)
            and before is not None
            and isinstance(before.record, firsts)
            and _readers(nodes, before.name) == [node]
        ):
            joined = join(before.record, node.record)
            if joined is not None:
                nodes[nodes.index(before)] = replace(before, record=joined)
                del nodes[i]
                nodes = _renamed(nodes, node.name, before.name)
                continue
        i += 1
    return replace(graph, nodes=nodes)


def _renamed(nodes: list[Node], old: str, new: str) -> list[Node]:
    """Let the readers of one node read another."""
    return [
        replace(node, inputs=tuple(new if name == old else name for name in node.inputs))
        for node in nodes
    ]


def _readers(nodes: list[Node], name: str) -> list[Node]:
    return [node for node in nodes if name in node.inputs]


def _activated(record: Any, activation: Activation) -> Any:
    if record.activation != "identity":
        return None
    if isinstance(record, Conv2d) and activation.activation not in ("identity", "relu"):
        return None
    return replace(record, activation=activation.activation)


def _scaled_outputs(record: Any, affine: Affine) -> Any:
    if record.activation != "identity" or record.weight.is_int8:
        return None
    scale = affine.scale.astype(np.float64)
    values = record.weight.values * scale.reshape(-1, *[1] * (record.weight.values.ndim - 1))
    bias = (record.bias - affine.mean.astype(np.float64)) * scale + affine.shift
    weight = replace(record.weight, values=values.astype(np.float32))
    return replace(record, weight=weight, bias=bias.astype(np.float32))


def fold_before(graph: Graph) -> Graph:
    """Fold an affine map of rows into the linear layers that read it.

    Not before convolutions, whose padding is not mapped, nor for frames, whose gaps are filled
    after standardization.
    """
    nodes = list(graph.nodes)
    for node in list(nodes):
        readers = _readers(nodes, node.name)
        foldable = graph.kind == "rows" and isinstance(node.record, Affine) and readers
        if foldable and all(isinstance(r.record, Linear) for r in readers):
            for reader in readers:
                folded = _scaled_inputs(reader.record, node.record)
                nodes[nodes.index(reader)] = Node(reader.name, folded, node.inputs)
            nodes.remove(node)
    return replace(graph, nodes=nodes)


def _scaled_inputs(record: Any, affine: Any) -> Any:
    scale, mean = affine.scale.astype(np.float64), affine.mean.astype(np.float64)
    weight = record.weight.dense().astype(np.float64)
    bias = record.bias + weight @ (affine.shift - mean * scale)
    values = (weight * scale).astype(np.float32)
    return replace(
        record, weight=replace(record.weight, values=values), bias=bias.astype(np.float32)
    )


def fuse_sums(graph: Graph) -> Graph:
    """Let a convolution add the shortcut that is added to its output."""
    nodes = list(graph.nodes)
    for node in list(nodes):
        if not isinstance(node.record, Add):
            continue
        for name in reversed(node.inputs):
            at = next((k for k, n in enumerate(nodes) if n.name == name), -1)
            # what is added must be there when the convolution runs: the later of the two adds
            other = [part for part in node.inputs if part != name]
            if at < 0 or len(other) != 1 or not _can_add(nodes, nodes[at], node, other[0], at):
                continue
            conv: Any = nodes[at].record
            fused = replace(conv, activation=node.record.activation)
            nodes[at] = Node(name, fused, (nodes[at].inputs[0], other[0]))
            nodes.remove(node)
            nodes = _renamed(nodes, node.name, name)
            break
    return replace(graph, nodes=nodes)


def _can_add(nodes: list[Node], conv: Node, add: Node, other: str, at: int) -> bool:
    earlier = other == "input" or any(n.name == other for n in nodes[:at])
    record: Any = conv.record
    return (
        isinstance(record, Conv2d)
        and record.activation == "identity"
        and len(conv.inputs) == 1
        and earlier
        and add.record.activation in ("identity", "relu")  # type: ignore[attr-defined]
        and _readers(nodes, conv.name) == [add]
    )


def drop_dead(graph: Graph) -> Graph:
    """Drop outputs that nobody reads, and those that are the same for every input.

    A row without weights gives the activation of its bias whatever comes in; what it adds to the
    layer after it goes into that layer's bias. Between convolutions this holds where the constant
    is 0, as at the borders zeros are read.
    """
    nodes = list(graph.nodes)
    changed = True
    while changed:
        changed = False
        for i, node in enumerate(nodes):
            reader = _only_reader(nodes, node)
            if reader is None or type(node.record) is not type(reader.record):
                continue
            pair = _without_dead(node.record, reader.record)
            if pair is not None:
                nodes[i] = replace(node, record=pair[0])
                nodes[nodes.index(reader)] = replace(reader, record=pair[1])
                changed = True
    return replace(graph, nodes=nodes)


def _only_reader(nodes: list[Node], node: Node) -> Node | None:
    """The one layer of weights that reads a node as its one input."""
    readers = _readers(nodes, node.name)
    if not isinstance(node.record, (Linear, Conv2d)) or len(readers) != 1:
        return None
    return readers[0] if readers[0].inputs == (node.name,) and len(node.inputs) == 1 else None


def _without_dead(first: Any, second: Any) -> tuple[Any, Any] | None:
    from embcompress.runtime.reference import ACTIVATIONS  # needs SciPy, which running does not

    kept = first.weight.kept.reshape(len(first.bias), -1).any(axis=1)
    axes = tuple(a for a in range(second.weight.kept.ndim) if a != 1)
    read = second.weight.kept.any(axis=axes)
    constant = ACTIVATIONS[first.activation](first.bias.astype(np.float64))
    if isinstance(first, Conv2d):
        kept = kept | (constant != 0)
    keep = kept & read
    # something must be left to compute with
    if keep.all() or not keep.any():
        return None
    bias = second.bias.astype(np.float64)
    if isinstance(second, Linear):
        dead = ~kept
        bias = bias + second.weight.dense()[:, dead].astype(np.float64) @ constant[dead]
    return (
        replace(first, weight=first.weight.taking(rows=keep), bias=first.bias[keep]),
        replace(second, weight=second.weight.taking(columns=keep), bias=bias.astype(np.float32)),
    )

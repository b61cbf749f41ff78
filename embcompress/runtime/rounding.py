"""Weights of a graph as int8, and the ranges of what the layers are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.runtime.records import Graph, Node, Weight

__all__ = ["largest_outputs", "round_graph", "round_weight"]

_LARGEST = 127


def round_weight(weight: Weight, input_scale: float | None = None) -> Weight:
    """Round a matrix to int8, symmetrically, with one scale for each output.

    Parameters
    ----------
    weight : Weight
        Of float32.
    input_scale : float, optional
        What a step of the inputs stands for; None takes it from the largest of each row.

    Returns
    -------
    Weight
        ``scales[:, None] * values``, values from -127 to 127, scales the largest of a row / 127.
    """
    if weight.is_int8:
        return replace(weight, input_scale=input_scale)
    flat = np.abs(weight.values.reshape(len(weight.values), -1))
    scales = flat.max(axis=1).astype(np.float64) / _LARGEST
    scales = np.where(scales > np.finfo(np.float32).tiny, scales, 1.0).astype(np.float32)
    codes = np.rint(weight.values / scales.reshape(-1, *[1] * (weight.values.ndim - 1)))
    return replace(
        weight, values=np.clip(codes, -_LARGEST, _LARGEST).astype(np.int8), scales=scales,
        input_scale=input_scale,
    )  # fmt: skip


def round_graph(graph: Graph, ranges: Mapping[str, float] | None = None) -> Graph:
    """Round all matrices; filters of convolutions stay float32.

    Parameters
    ----------
    graph : Graph
    ranges : mapping of str to float, optional
        Name of a node, ``"input"`` included -> its largest absolute output in a calibration.

    Returns
    -------
    Graph
    """
    nodes = [replace(node, record=_rounded(node, ranges or {})) for node in graph.nodes]
    return replace(graph, nodes=nodes)


def _rounded(node: Node, ranges: Mapping[str, float]) -> Any:
    changed = {}
    for name, weight in node.record.matrices().items():
        if weight.values.ndim != 2:
            continue
        scale = None
        if ranges:
            # states of recurrent layers lie between -1 and 1
            read = (
                [1.0]
                if name == "weight_state"
                else [ranges[part] for part in node.inputs if part != "state"]
            )
            scale = max(max(read), float(np.finfo(np.float32).tiny)) / _LARGEST
        changed[name] = round_weight(weight, scale)
    record: Any = node.record
    return replace(record, **changed) if changed else record


def largest_outputs(
    values: Mapping[str, npt.NDArray[Any]], x: npt.NDArray[Any]
) -> dict[str, float]:
    """Largest absolute value of the input and of every node.

    Parameters
    ----------
    values : mapping of str to ndarray
        What the nodes give, by name.
    x : ndarray

    Returns
    -------
    dict of str to float
    """
    found = {"input": float(np.nanmax(np.abs(x), initial=0.0))}
    for name, value in values.items():
        found[name] = float(np.nanmax(np.abs(value), initial=0.0))
    return found

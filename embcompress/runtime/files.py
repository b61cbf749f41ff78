"""Programs as files: arrays of the layouts, and the graph as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from embcompress.container import Container, FormatError, load_container, save_container
from embcompress.labels import labels_from_json, labels_to_json
from embcompress.runtime.layout_choice import smallest_exact
from embcompress.runtime.layouts import LAYOUTS
from embcompress.runtime.records import RECORDS, Graph, Node, Weight

__all__ = ["graph_from", "graph_to_arrays", "load_graph", "save_graph"]

_KIND = "program"
_INPUTS = {"rows": 1, "codes": 1, "frames": 1, "maps": 3}


def save_graph(path: str | os.PathLike[str], graph: Graph) -> None:
    """Write a compiled graph as one safetensors file.

    Parameters
    ----------
    path : path-like
    graph : Graph
        Whose weights have layouts.

    Raises
    ------
    TypeError
        If the classes are of a type that the file cannot hold.
    OSError
        As :func:`embcompress.container.atomic_write`.
    """
    arrays, description = graph_to_arrays(graph)
    save_container(path, arrays, kind=_KIND, metadata={"graph": description})


def load_graph(path: str | os.PathLike[str]) -> Graph:
    """Read a graph that :func:`save_graph` wrote.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Graph

    Raises
    ------
    FormatError
        If the file is damaged, or is no program.
    OSError
        If the file cannot be read.
    """
    return graph_from(load_container(path, kind=_KIND))


def graph_to_arrays(graph: Graph, prefix: str = "") -> tuple[dict[str, npt.NDArray], str]:
    """What a file holds of a graph.

    Parameters
    ----------
    graph : Graph
    prefix : str
        Of the names of the arrays.

    Returns
    -------
    arrays : dict of str to ndarray
        ``<number of the layer>.<field>``, and ``.<array of the layout>`` or ``.scales`` after it.
    description : str
        JSON.
    """
    arrays: dict[str, npt.NDArray] = {}
    nodes = []
    for i, node in enumerate(graph.nodes):
        entry: dict[str, Any] = {
            "name": node.name, "record": type(node.record).__name__, "inputs": list(node.inputs),
            "values": node.record.plain(), "weights": {},
        }  # fmt: skip
        for field, vector in node.record.vectors().items():
            arrays[f"{prefix}{i}.{field}"] = vector
        for field, weight in node.record.matrices().items():
            stored = smallest_exact(weight)
            for name, array in stored.arrays().items():
                arrays[f"{prefix}{i}.{field}.{name}"] = array
            if weight.scales is not None:
                arrays[f"{prefix}{i}.{field}.scales"] = weight.scales
            entry["weights"][field] = {
                "layout": stored.name, "runs": weight.layout, "shape": list(weight.shape),
                "input_scale": weight.input_scale,
            }  # fmt: skip
        nodes.append(entry)
    description: dict[str, Any] = {"input": graph.kind, "shape": list(graph.shape), "nodes": nodes}
    if graph.classes is not None:
        description["classes"] = labels_to_json(graph.classes)
    text = json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return arrays, text


def graph_from(file: Container, prefix: str = "", entry: str = "graph") -> Graph:
    """Read a graph from an open file.

    Parameters
    ----------
    file : Container
    prefix : str
        Of the names of the arrays.
    entry : str
        Of the metadata.

    Returns
    -------
    Graph

    Raises
    ------
    FormatError
        If something is missing, or does not fit.
    """
    try:
        description = json.loads(file.value(entry))
    except json.JSONDecodeError as error:
        raise FormatError(f"{file.path}: metadata entry {entry!r} is not JSON") from error
    try:
        nodes = [_node(file, prefix, i, node) for i, node in enumerate(description["nodes"])]
        kind, shape = description["input"], tuple(description["shape"])
        good = kind in _INPUTS and len(shape) == _INPUTS[kind]
        if not good or not all(type(n) is int and n > 0 for n in shape):
            raise ValueError(f"an input {kind!r} of shape {shape}")
        classes = description.get("classes")
        labels = None if classes is None else labels_from_json(classes)
        return Graph(nodes, kind, shape, labels)
    except FormatError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{file.path}: the program does not fit together: {error}") from error


def _node(file: Container, prefix: str, i: int, entry: Mapping[str, Any]) -> Node:
    record = RECORDS.get(entry["record"])
    if record is None:
        raise FormatError(
            f"{file.path}: unknown layer {entry['record']!r}; known are {', '.join(RECORDS)}"
        )
    start = f"{prefix}{i}."
    values: dict[str, Any] = dict(entry["values"])
    for field, about in entry["weights"].items():
        values[field] = _weight(file, f"{start}{field}.", about)
    for name in file.tensors:
        field = name.removeprefix(start)
        if name.startswith(start) and "." not in field:
            values[field] = file.tensor(name, (np.float32,), 1)
    return Node(entry["name"], record(**values), tuple(entry["inputs"]))


def _weight(file: Container, start: str, about: Mapping[str, Any]) -> Weight:
    layout = LAYOUTS.get(about["layout"])
    if layout is None or about["runs"] not in LAYOUTS:
        raise FormatError(f"{file.path}: unknown layout {about['layout']!r}, {about['runs']!r}")
    arrays = {
        name.removeprefix(start): array
        for name, array in file.tensors.items()
        if name.startswith(start)
    }
    scales = arrays.pop("scales", None)
    try:
        stored = layout.from_arrays(arrays, tuple(about["shape"]))
    except FormatError as error:
        raise FormatError(f"{file.path}: {start.rstrip('.')}: {error}") from error
    values = stored.to_dense()
    if (scales is None) != (values.dtype != np.int8):
        raise FormatError(f"{file.path}: {start.rstrip('.')}: scales and int8 belong together")
    if scales is not None and scales.shape != (values.shape[0],):
        raise FormatError(f"{file.path}: {start}scales has shape {scales.shape}")
    return Weight(
        values, stored.mask(), None if scales is None else np.asarray(scales, np.float32),
        about["runs"], about["input_scale"],
    )  # fmt: skip
